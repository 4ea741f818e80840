"""The worked example of docs/python.md works."""

import re
import shutil
import subprocess
import sys

from conftest import ROOT, Project


def test_the_example(project: Project) -> None:
    text = (ROOT / "docs/python.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    folder = project.root / "pebble"
    shutil.copytree(ROOT / "examples/pebble", folder, ignore=shutil.ignore_patterns(".cache", "build"))
    (folder / "example.py").write_text(example)
    ran = subprocess.run(
        [sys.executable, "example.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "missing: ['pebble/pebble_v1.0_multi.vhd']\n1/1 pebble: " in ran.stdout
    assert "1/1 pebble: 100%\n" in ran.stdout
    assert "pebble ['bin', 'compiler', 'library']\n" in ran.stdout
    language = subprocess.run([folder / "build/again"], capture_output=True, text=True, check=True)
    assert language.stdout == (folder / "src/language.expected").read_text()
    strict = [sys.executable, "-m", "mypy", "--strict", "example.py"]
    checked = subprocess.run(strict, cwd=folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
