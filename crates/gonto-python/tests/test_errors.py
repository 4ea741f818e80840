"""Errors of the system are OSErrors of the right kind, whose text tells the whole story."""

import errno
import socket
from pathlib import Path

import pytest

from conftest import IS_ROOT, Project, pebble
from gonto.target import Target


def target(project: Project, **settings: str) -> Target:
    config = project.config(requires=[pebble()])
    config["gonto"].update(settings)
    return Target("build", config)


def test_nobody_answers(project: Project) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(ConnectionRefusedError, match=f"cannot fetch pebble.*{address}.*refused") as raised:
            target(project, repository=address).download_missing_images()
    assert raised.value.errno == errno.ECONNREFUSED


def test_the_repository_does_not_have_it(project: Project) -> None:
    with pytest.raises(OSError, match="cannot fetch pebble.*the repository has no http.*/elsewhere/"):
        target(project, repository=project.server.address + "elsewhere/").download_missing_images()


def test_the_cache_cannot_be_a_folder(project: Project) -> None:
    Path("file").write_text("")
    with pytest.raises(NotADirectoryError) as raised:
        target(project, cache_dir="file/cache").download_missing_images()
    assert raised.value.errno == errno.ENOTDIR and "file/cache" in str(raised.value)


@pytest.mark.skipif(IS_ROOT, reason="root may write everywhere")
def test_the_cache_cannot_be_written(project: Project) -> None:
    Path("cache").mkdir(mode=0o555)
    with pytest.raises(PermissionError) as raised:
        target(project, cache_dir="cache").download_missing_images()
    assert raised.value.errno == errno.EACCES


def test_the_repository_is_a_folder_without_it(project: Project) -> None:
    with pytest.raises(OSError, match="cannot fetch pebble"):
        target(project, repository="nowhere").download_missing_images()


def test_the_repository_is_no_address(project: Project) -> None:
    with pytest.raises(ValueError, match="has the scheme `ftp`"):
        target(project, repository="ftp://localhost/")


def test_the_folder_is_gone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    made = project.target()
    gone = project.root / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError):
        made.run_script("script")
    with pytest.raises(FileNotFoundError, match="change to one that exists"):
        project.target()


def test_the_state_folder_cannot_be_made(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("GONTO_STATE_DIR", "file/state")
    made = project.target()
    with pytest.raises(NotADirectoryError, match="cannot use the state folder .*set GONTO_STATE_DIR"):
        made.run_script("script")


def test_wrong_arguments(project: Project) -> None:
    with pytest.raises(TypeError):
        Target("build")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Target("build", None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Target(1, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        target(project).download_missing_images(42)  # type: ignore[arg-type]
    assert not project.cached().exists()
