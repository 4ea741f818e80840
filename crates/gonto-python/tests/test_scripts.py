"""Scripts give the same results through the module as through the program."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import Gonto, Project, pebble
from gonto.target import SCRIPT_TYPE, Target

#: What `gonto run` does, through the module; the exit status is the program's rule.
RUN = """
import json, subprocess, sys
from gonto.config import read_config, validate_config
from gonto.target import SCRIPT_TYPE, Target

config = read_config()
valid, message = validate_config(config)
assert valid, message
target = Target("build", config)
try:
    target.run_script(SCRIPT_TYPE.BEFORE_SCRIPT)
    target.download_missing_images()
    with target.mounted():
        target.run_script(SCRIPT_TYPE.SCRIPT)
    target.run_script(SCRIPT_TYPE.AFTER_SCRIPT)
except subprocess.CalledProcessError as error:
    print(error.cmd, file=sys.stderr)
    sys.exit(error.returncode if error.returncode > 0 else 128 - error.returncode)
"""

#: Targets by what they are about.
TARGETS: dict[str, dict[str, Any]] = {
    "each line is a command": {"script": "\n  cd /  \n\n\tpwd\nX=1\necho \"[$X]\" '%PATH%' \\\\ \"$0\"\n"},
    "the first failure ends it": {"script": "echo one\nexit 7\necho never", "after_script": "echo never"},
    "a signal": {"script": "kill -15 $$"},
    "a command that does not exist": {"script": "no-such-command-anywhere 2>/dev/null"},
    "before_script fails": {"before_script": "exit 3", "script": "echo never"},
    "variables": {
        "requires": [pebble(env={"B": "{{mount_point}}|{{mount_point}}", "C": "image"})],
        "env": {"A": "a b", "B": "target", "C": "target"},
        "before_script": 'echo "$A,$B,$C"',
        "script": 'echo "$A,$B,$C"',
        "after_script": 'echo "$A,$B,$C"',
    },
    "the image": {
        "requires": [pebble(env={"P": "{{mount_point}}"})],
        "script": 'cd "$P" && find . -type f -exec sha256sum {} + | sort\nstat -c "%n %s %a %u" "$P"bin/*\nid -u',
    },
    "writes": {
        "requires": [pebble(env={"P": "{{mount_point}}"})],
        "script": 'echo new > "${P}bin/new" && rm -r "${P}library" && mv "${P}bin/pebble" "${P}pebble"\nls -R "$P"\n'
        'df --output=fstype "$P"',
        "after_script": 'test ! -e "$P"/bin',
    },
    "a compiler": {
        "requires": [pebble(mount_point="U:\\", env={"P": "{{mount_point}}"})],
        "script": 'test -d "${P}compiler"\necho "$P"\n"${P}bin/pebble" --version; true',
    },
    "processes": {"script": 'sleep 1000 &\necho "$(ps -o comm= -p 1 2>/dev/null || true)" | wc -l\necho $$ | wc -w'},
    "streams": {"script": "cat; echo error >&2; echo out"},
}


def written(project: Project, target: dict[str, Any]) -> None:
    configuration = project.config(**target)
    # JSON is YAML, too.
    (project.root / "project/gonto.yaml").write_text(json.dumps(configuration))


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_results(project: Project, gonto: Gonto, name: str) -> None:
    written(project, TARGETS[name])
    by_program = gonto("run", "build")
    process = project.python(RUN)
    out, err = process.communicate()
    assert (out, process.returncode) == (by_program.stdout, by_program.returncode), err + by_program.stderr
    if by_program.returncode == 0:
        assert out or name == "before_script fails"


def test_the_folder_and_the_environment_are_those_of_the_call(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = project.target(script='echo "$PWD $NEW" > out')
    (project.root / "elsewhere").mkdir()
    monkeypatch.chdir(project.root / "elsewhere")
    monkeypatch.setenv("NEW", "set since")
    target.run_script(SCRIPT_TYPE.SCRIPT)
    assert Path("out").read_text() == f"{project.root}/elsewhere set since\n"


def test_a_failing_line(project: Project) -> None:
    target = project.target(script="true\n  exit 7 \nfalse", after_script="kill -9 $$")
    with pytest.raises(subprocess.CalledProcessError) as raised:
        target.run_script(SCRIPT_TYPE.SCRIPT)
    assert (raised.value.cmd, raised.value.returncode) == ("exit 7", 7)
    with pytest.raises(subprocess.CalledProcessError, match="SIGKILL") as raised:
        target.run_script(SCRIPT_TYPE.AFTER_SCRIPT)
    assert raised.value.returncode == -9


def test_a_script_that_is_not_there(project: Project) -> None:
    project.target().run_script(SCRIPT_TYPE.BEFORE_SCRIPT)


def test_what_a_script_leaves_running_ends_with_the_target(project: Project) -> None:
    os.mkfifo("alive")
    target = project.target(script="sleep 1000 > alive &")
    # Opens as soon as the other side does, and is read to its end as soon as that is gone.
    reader = os.open("alive", os.O_RDONLY | os.O_NONBLOCK)
    target.run_script(SCRIPT_TYPE.SCRIPT)
    os.set_blocking(reader, True)
    del target
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_two_targets_of_one_configuration(project: Project) -> None:
    config = project.config()
    config["targets"]["other"] = {"script": "echo other > out"}
    Target("other", config).run_script("script")
    assert Path("out").read_text() == "other\n"
