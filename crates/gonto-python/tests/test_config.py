"""read_config() and validate_config()."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import Gonto, Project
from gonto.config import read_config, validate_config
from gonto.target import Target

MINIMAL = "gonto: {cache_dir: c, repository: 'http://localhost/r'}\ntargets: {build: {script: 'true'}}\n"


def test_files_are_merged_and_paths_are_absolute(project: Project) -> None:
    (project.root / "home/gonto.yml").write_text("gonto: {cache_dir: ~/c, repository: r}\ntargets: {a: {script: x}}")
    Path(".gonto.yaml").write_text("targets: {a: {env: {X: '1'}}, b: {script: y}}")
    config = read_config()
    home = project.root / "home"
    assert config == {
        "gonto": {"cache_dir": f"{home}/c", "repository": f"{home}/r/"},
        "targets": {"a": {"script": "x", "env": {"X": "1"}}, "b": {"script": "y"}},
    }
    assert list(config["targets"]) == ["a", "b"]
    assert validate_config(config) == (True, "")
    assert Target("b", config).has_script("script")


def test_what_was_read_is_a_plain_dict_that_can_be_changed(project: Project) -> None:
    Path("gonto.yaml").write_text(MINIMAL)
    config = read_config()
    assert type(config) is dict and type(config["targets"]) is dict
    config["targets"]["mine"] = {"script": "echo mine"}
    assert Target("mine", config).name == "mine"


def test_every_type_comes_and_goes(project: Project) -> None:
    Path("gonto.yaml").write_text("targets: {a: [1, 1.5, true, null, 'x', {y: [], 2: z}, 0x10, -5, 1e3]}")
    assert read_config() == {"targets": {"a": [1, 1.5, True, None, "x", {"y": [], 2: None}, 16, -5, 1000.0]}}


def test_no_file_at_all(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    config = read_config()
    assert config == {}
    assert "no configuration file was found" in caplog.text
    assert caplog.records[0].name == "gonto"
    valid, message = validate_config(config)
    assert not valid and "`gonto` is missing" in message and "`targets` is missing" in message


@pytest.mark.parametrize("text", ["targets: [", "a: 2020-01-31", "\t", "- a"])
def test_what_cannot_be_read(project: Project, text: str) -> None:
    Path("gonto.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"gonto\.yaml:1:"):
        read_config()


def test_every_mistake_is_told_with_its_line(project: Project) -> None:
    config = project.config(skript="x", requires=[{"name": "a", "version": 1.10}])
    valid, message = validate_config(config)
    assert not valid
    for part in ["did you mean `script`?", "`targets.build.requires[0].version` must be a string", "1.1", "^"]:
        assert part in message
    with pytest.raises(ValueError) as raised:
        Target("build", config)
    assert str(raised.value) == message


def recursive() -> dict[str, Any]:
    config: dict[str, Any] = {}
    config["targets"] = [config]
    return config


def bomb() -> Any:
    value: Any = []
    for _ in range(40):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (None, "`gonto` is missing"),
        ("text", "must hold a mapping"),
        ([], "must hold a mapping"),
        ({1: 2}, "the key `1` must be a string"),
        ({"targets": datetime.date(2020, 1, 31)}, "config['targets'] must be a dict, list, str or int, not date"),
        ({"targets": {"a": [b"x"]}}, "config['targets']['a'][0] must be a dict, list, str or int, not bytes"),
        ({"targets": 1 << 200}, "config['targets'] is too large a number"),
        ({"targets": "\ud800"}, "surrogates not allowed"),
        (recursive(), "holds itself"),
        (bomb(), "too large for a configuration"),
    ],
)
def test_what_is_no_configuration(config: Any, why: str) -> None:
    valid, message = validate_config(config)
    assert valid is False and why in message
    if isinstance(config, dict):
        with pytest.raises((ValueError, TypeError)) as raised:
            Target("build", config)
        assert str(raised.value) == message


def test_tuples_are_lists(project: Project) -> None:
    config = project.config(requires=({"name": "a", "version": "1"},))
    assert validate_config(config) == (True, "")


def test_relative_paths_of_a_dict_are_meant_from_the_current_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.publish()
    requirement = {"name": "pebble", "version": "1.0", "platform": "multi"}
    config = project.config(requires=[requirement])
    config["gonto"] = {"cache_dir": "../here", "repository": "../repository"}
    target = Target("build", config)
    monkeypatch.chdir("/")
    target.download_missing_images()
    assert (project.root / "here/pebble/pebble_v1.0_multi.vhd").exists()


def test_tilde_and_variables_in_a_dict(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "there")
    config = project.config(requires=[{"name": "pebble", "version": "1.0", "platform": "multi"}])
    config["gonto"]["cache_dir"] = "~/${WHERE}"
    Target("build", config).download_missing_images()
    assert (project.root / "home/there/pebble/pebble_v1.0_multi.vhd").exists()


def test_the_program_reads_the_same(project: Project, gonto: Gonto) -> None:
    Path("gonto.yaml").write_text(MINIMAL.replace("build", "one"))
    (project.root / "home/.gonto.yaml").write_text("targets: {two: {script: x}}")
    assert gonto("list").stdout.split() == list(read_config()["targets"]) == ["two", "one"]
