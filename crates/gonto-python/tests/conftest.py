"""A project of its own for each test: configuration, repository behind a real server, cache, state."""

import functools
import gc
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gonto.target import Target

ROOT = Path(__file__).resolve().parents[3]

#: A dynamic VHD with a compiler of a few files.
PEBBLE = ROOT / "examples/pebble/repository/pebble/pebble_v1.0_multi.vhd"

IS_ROOT = os.geteuid() == 0

#: How the program `gonto` is run.
Gonto = Callable[..., "subprocess.CompletedProcess[str]"]


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        #: Images are sent up to their middle, and the rest once this is set.
        self.go_on = threading.Event()
        self.go_on.set()
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.SimpleHTTPRequestHandler):
    def copyfile(self, source: Any, outputfile: Any) -> None:
        assert isinstance(self.server, Server)
        self.server.requests.append(self.path)
        content = source.read()
        middle = len(content) // 2
        try:
            outputfile.write(content[:middle])
            outputfile.flush()
            self.server.go_on.wait(60)
            outputfile.write(content[middle:])
        except ConnectionError:
            # The client has seen enough.
            pass

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Project:
    def __init__(self, root: Path, server: Server) -> None:
        self.root = root
        self.server = server

    def publish(self, name: str = "pebble", version: str = "1.0", image: Path | bytes = PEBBLE) -> None:
        path = self.root / f"repository/{name}/{name}_v{version}_multi.vhd"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image if isinstance(image, bytes) else image.read_bytes())

    def config(self, **target: Any) -> dict[str, Any]:
        """A configuration with one target, `build`."""
        settings = {"cache_dir": str(self.root / "cache"), "repository": self.server.address}
        return {"gonto": settings, "targets": {"build": {"script": "true", **target}}}

    def target(self, *requires: dict[str, Any], **target: Any) -> Target:
        return Target("build", self.config(requires=list(requires), **target))

    def cached(self, path: str = "pebble/pebble_v1.0_multi.vhd") -> Path:
        return self.root / "cache" / path

    def python(self, script: str, *arguments: str) -> "subprocess.Popen[str]":
        """Another Python that runs a script; its first argument is the folder of all this."""
        return subprocess.Popen(
            [sys.executable, "-c", script, str(self.root), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def mounts(self) -> list[str]:
        """What is mounted in the project's folders, for everybody."""
        table = Path("/proc/self/mountinfo").read_text()
        return [line for line in table.splitlines() if str(self.root) in line]

    def leftovers(self) -> list[str]:
        """What should be gone when nothing runs any more."""
        left = self.mounts()
        for folder in ["state/register", "state/mnt", "cache/.gonto/layers", "cache/.gonto/partial"]:
            if (self.root / folder).is_dir():
                left += [str(path) for path in (self.root / folder).iterdir() if path.name != "lock"]
        return left

    def assert_tidy(self) -> None:
        """Nothing is left. What is still used for a moment, such as by the server of what was unmounted, the next one removes."""
        deadline = time.monotonic() + 20
        while self.leftovers() and time.monotonic() < deadline:
            Target("tidy", {**self.config(), "targets": {"tidy": {"script": "true"}}}).umount_images()
        assert self.leftovers() == []


def pebble(**more: Any) -> dict[str, Any]:
    """A requirement."""
    return {"name": "pebble", "version": "1.0", "platform": "multi", **more}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    # Mount tables show real paths.
    root = tmp_path.resolve()
    for folder in ["project", "home", "repository"]:
        (root / folder).mkdir()
    monkeypatch.chdir(root / "project")
    monkeypatch.setenv("HOME", str(root / "home"))
    monkeypatch.setenv("GONTO_STATE_DIR", str(root / "state"))
    server = Server(root / "repository")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    project = Project(root, server)
    project.publish()
    yield project
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()
    # Caught exceptions hold frames, and frames hold targets.
    gc.collect()
    project.assert_tidy()


@pytest.fixture(scope="session")
def gonto() -> Gonto:
    """The program, of the same source."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = os.environ.get("GONTO", str(target / "debug/gonto"))
    if not shutil.which(program):
        pytest.skip(f"there is no program {program}: cargo build --package gonto-cli")

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    return run
