"""Every item of the reference page of gonto.target, by its name."""

import copy
import doctest
import enum
import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import gonto.target
from conftest import Project, pebble
from gonto.target import (
    SCRIPT_TYPE,
    MissingImage,
    Target,
    TargetDoesNotExist,
    VolumeNotMounted,
    VolumeNotReady,
    requirement_to_image_path,
)

EXAMPLES = """
>>> requirement_to_image_path({"name": "foobar", "version": "1.2.3"})
'foobar/foobar_v1.2.3_win64.vhd'
>>> requirement_to_image_path(
...     {"name": "foobar", "version": "42", "platform": "multi", "format": "vhdx"}
... )
'foobar/foobar_v42_multi.vhdx'
"""


@pytest.mark.parametrize("text", [EXAMPLES, requirement_to_image_path.__doc__], ids=["page", "docstring"])
def test_the_examples_of_the_page(text: str) -> None:
    names = {"requirement_to_image_path": requirement_to_image_path}
    test = doctest.DocTestParser().get_doctest(text, names, "examples", None, None)
    outcome = doctest.DocTestRunner().run(test)
    assert (outcome.failed, outcome.attempted) == (0, 2)


def test_script_type() -> None:
    assert issubclass(SCRIPT_TYPE, enum.StrEnum)
    assert {member.name: member.value for member in SCRIPT_TYPE} == {
        "AFTER_SCRIPT": "after_script",
        "BEFORE_SCRIPT": "before_script",
        "SCRIPT": "script",
    }
    assert SCRIPT_TYPE("script") is SCRIPT_TYPE.SCRIPT
    assert pickle.loads(pickle.dumps(SCRIPT_TYPE.SCRIPT)) is SCRIPT_TYPE.SCRIPT


@pytest.mark.parametrize(
    ("exception", "base"),
    [
        (TargetDoesNotExist, ValueError),
        (MissingImage, Exception),
        (VolumeNotMounted, Exception),
        (VolumeNotReady, Exception),
    ],
)
def test_exceptions(exception: type[Exception], base: type[Exception]) -> None:
    assert exception.__bases__ == (base,)
    assert exception.__module__ == "gonto.target"
    assert getattr(gonto.target, exception.__name__) is exception
    again = pickle.loads(pickle.dumps(exception("why")))
    assert type(again) is exception and again.args == ("why",)


def test_target_and_its_methods() -> None:
    parameters: dict[str, dict[str, Any]] = {
        "download_missing_images": {"callback": None},
        "has_script": {"script_type": inspect.Parameter.empty},
        "list_missing_images": {},
        "list_required_images": {},
        "mount_images": {"permanent": False},
        "run_script": {"script_type": inspect.Parameter.empty},
        "umount_images": {},
    }
    for name, expected in parameters.items():
        found = dict(inspect.signature(getattr(Target, name)).parameters)
        del found["self"]
        assert {parameter.name: parameter.default for parameter in found.values()} == expected, name
    assert list(inspect.signature(Target).parameters) == ["target_name", "config"]


@pytest.mark.parametrize("name", [*gonto.target.__all__, *(name for name in dir(Target) if name[0] != "_")])
def test_help_says_something(name: str) -> None:
    thing = getattr(gonto.target, name, None) or getattr(Target, name)
    text = inspect.getdoc(thing)
    assert text and all(len(line) <= 82 for line in text.splitlines()), text


def test_a_target_by_the_names_of_its_parameters(project: Project) -> None:
    assert Target(target_name="build", config=project.config()).name == "build"


def test_a_target_that_does_not_exist(project: Project) -> None:
    with pytest.raises(TargetDoesNotExist, match='"biuld" does not exist: did you mean "build"'):
        Target("biuld", project.config())


def test_a_target_has_a_copy_of_its_configuration(project: Project) -> None:
    config = project.config(requires=[pebble()])
    before = copy.deepcopy(config)
    target = Target("build", config)
    assert config == before
    config["targets"].clear()
    assert len(list(target.list_required_images())) == 1


def test_has_script(project: Project) -> None:
    target = project.target(before_script="true", script="true")
    assert target.has_script(SCRIPT_TYPE.BEFORE_SCRIPT) is True
    assert target.has_script(script_type=SCRIPT_TYPE.SCRIPT) is True
    assert target.has_script(SCRIPT_TYPE.AFTER_SCRIPT) is False
    assert target.has_script("script") is True
    with pytest.raises(ValueError, match="there are before_script, script, after_script"):
        target.has_script("skript")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        target.has_script(None)  # type: ignore[arg-type]


def test_image_definitions(project: Project) -> None:
    value = {"root": "HKEY_CURRENT_USER", "name": "N", "data": 7, "type": "REG_DWORD"}
    full = pebble(format="vhdx", mount_point="U:\\", env={"B": "{{mount_point}}", "A": ""}, reg=[value])
    target = project.target({"name": "foobar", "version": "1.2.3"}, full)
    images = target.list_required_images()
    assert isinstance(images, Iterator)
    expected: list[dict[str, Any]] = [
        {
            "path": "foobar/foobar_v1.2.3_win64.vhd",
            "name": "foobar",
            "version": "1.2.3",
            "platform": "win64",
            "format": "vhd",
            "mount_point": "",
            "env": {},
            "reg": [],
        },
        {
            "path": "pebble/pebble_v1.0_multi.vhdx",
            "name": "pebble",
            "version": "1.0",
            "platform": "multi",
            "format": "vhdx",
            "mount_point": "U:\\",
            "env": {"B": "{{mount_point}}", "A": ""},
            "reg": [{**value, "path": ""}],
        },
    ]
    found = list(images)
    assert found == expected
    assert [list(image) for image in found] == [list(image) for image in expected]
    missing = target.list_missing_images()
    assert isinstance(missing, Iterator) and list(missing) == expected
    assert requirement_to_image_path(found[1]) == found[1]["path"], "a definition is a requirement too"


@pytest.mark.parametrize(
    ("requirement", "why"),
    [
        ({"name": "foobar"}, "`version` is missing"),
        ({"name": "foobar", "version": 42}, "`version` must be a string"),
        ({"name": "../../foobar", "version": "42"}, "../../foobar"),
        ({"name": "foobar", "version": "42", "platform": "amiga"}, "`amiga` is not a known platform"),
    ],
)
def test_what_names_no_image(requirement: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match="error: ") as raised:
        requirement_to_image_path(requirement)
    assert why in str(raised.value)


def test_repr(project: Project) -> None:
    assert repr(project.target(pebble())) == "<Target 'build': ['pebble/pebble_v1.0_multi.vhd']>"


def test_a_subclass(project: Project) -> None:
    class Mine(Target):
        unmounted = False

        def umount_images(self) -> None:
            self.unmounted = True
            super().umount_images()

    target = Mine("build", project.config())
    with target.mounted() as same:
        assert same is target
    assert target.unmounted
