"""The package as it is installed: its types, and what its import costs."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import gonto
from conftest import ROOT

#: Milliseconds that the import may take beyond Python's own start.
LIMIT = 20.0


def test_the_import_is_quick() -> None:
    def cost() -> float:
        command = [sys.executable, "-X", "importtime", "-c", "import gonto.target"]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        found = re.search(r"(\d+) \| gonto\.target$", report, re.MULTILINE)
        assert found, report
        return int(found[1]) / 1000

    # Another program may want the processor just then.
    costs = [cost() for _ in range(7)]
    assert min(costs) < LIMIT, costs


def test_the_import_brings_no_more_than_it_needs() -> None:
    script = "import sys; import gonto.target, gonto.config; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert {"logging", "subprocess", "typing", "threading"}.isdisjoint(modules.split())


def test_types_are_marked_and_right(tmp_path: Path) -> None:
    folder = Path(gonto.__file__).parent
    assert (folder / "py.typed").exists()
    for command in [["mypy", "--strict", "-p", "gonto"], ["mypy.stubtest", "gonto"]]:
        checked = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_version_is_that_of_the_program() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert version and gonto.__version__ == version[1] == importlib.metadata.version("gonto")
