"""What stops a call: a callback that raises, Ctrl-C, other signals."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from conftest import PEBBLE, Project, pebble
from gonto.target import Target


class Enough(Exception):
    pass


@pytest.mark.parametrize("error", [Enough("for now"), KeyboardInterrupt(), SystemExit(3)])
def test_a_callback_that_raises_ends_the_download(project: Project, error: BaseException) -> None:
    project.server.go_on.clear()
    target = project.target(pebble())

    def callback(current: int, count: int, name: str, progress: float) -> None:
        if progress > 0.4:
            raise error

    with pytest.raises(type(error)) as raised:
        target.download_missing_images(callback)
    assert raised.value is error
    assert [image["name"] for image in target.list_missing_images()] == ["pebble"]
    assert project.leftovers() == []
    project.server.go_on.set()
    target.download_missing_images()
    assert project.cached().read_bytes() == PEBBLE.read_bytes()


def test_the_first_call_may_raise_already(project: Project) -> None:
    with pytest.raises(Enough):
        project.target(pebble()).download_missing_images(lambda *step: (_ for _ in ()).throw(Enough()))
    assert not project.cached().exists()


def test_a_callback_runs_in_the_thread_of_the_call(project: Project) -> None:
    threads: set[threading.Thread] = set()
    project.target(pebble()).download_missing_images(lambda *step: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}


#: Ctrl-C is typed at the process that runs this, when it has printed a line.
PRELUDE = """
import os, sys, signal
from gonto.target import Target
root, address = sys.argv[1:]
def target(script="true", **more):
    settings = {"cache_dir": root + "/cache", "repository": address}
    requirement = {"name": "pebble", "version": "1.0", "platform": "multi"}
    return Target("build", {"gonto": settings, "targets": {"build": {"script": script, "requires": [requirement], **more}}})
def is_gone(path):
    return not os.path.exists(path)
"""


def interrupted(project: Project, script: str, signals: tuple[int, ...] = (signal.SIGINT,)) -> str:
    """Sends the signals to Python when the script has printed a line for each, and returns what it prints then."""
    with project.python(PRELUDE + script, project.server.address) as process:
        assert process.stdout is not None and process.stderr is not None
        for number in signals:
            line = process.stdout.readline()
            assert line == "ready\n", line + process.stderr.read()
            process.send_signal(number)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err
    return out


def test_ctrl_c_ends_a_script_and_the_run(project: Project) -> None:
    # The script says when it has begun.
    script = """
build = target("trap 'echo cleaning up; exit 1' INT; echo ready; while :; do sleep 0.05; done")
build.download_missing_images()
build.mount_images()
folder = build.mount_points["pebble/pebble_v1.0_multi.vhd"]
try:
    build.run_script("script")
except KeyboardInterrupt as error:
    print(f"interrupted {error}".strip(), is_gone(folder), build.mount_points, flush=True)
# The same target can be used again.
build.mount_images()
assert os.listdir(folder)
build.umount_images()
"""
    assert interrupted(project, script) == "cleaning up\ninterrupted True {}\n"


def test_a_second_ctrl_c_does_not_wait(project: Project) -> None:
    script = """
build = target("trap 'echo ready' INT; echo ready; while :; do sleep 0.05; done")
try:
    build.run_script("script")
except KeyboardInterrupt:
    print("interrupted")
"""
    begun = time.monotonic()
    assert interrupted(project, script, (signal.SIGINT, signal.SIGINT)) == "interrupted\n"
    assert time.monotonic() - begun < 9, "a script has ten seconds after the first one"


def test_ctrl_c_ends_a_download_from_a_silent_server(project: Project) -> None:
    project.server.go_on.clear()
    script = """
def callback(*step):
    if step[3] > 0.4 and not told:
        told.append(step)
        print("ready", flush=True)
told = []
try:
    target().download_missing_images(callback)
except KeyboardInterrupt:
    print("interrupted", is_gone(root + "/cache/pebble/pebble_v1.0_multi.vhd"))
"""
    assert interrupted(project, script) == "interrupted True\n"


def test_ctrl_c_while_another_thread_works_stops_only_the_wait(project: Project) -> None:
    script = """
import threading
build = target("cat fifo > /dev/null; echo went on")
os.mkfifo("fifo")
thread = threading.Thread(target=build.run_script, args=("script",))
thread.start()
# Opens when the script does, which then runs until this is closed.
writer = open("fifo", "w")
try:
    print("ready", flush=True)
    build.umount_images()
except KeyboardInterrupt:
    print("interrupted", flush=True)
writer.close()
thread.join()
"""
    assert interrupted(project, script) == "interrupted\nwent on\n"


def test_what_a_signal_handler_raises_comes_out(project: Project) -> None:
    script = """
def handler(number, frame):
    raise TimeoutError("too long")
signal.signal(signal.SIGTERM, handler)
build = target("echo ready; exec sleep 1000")
try:
    build.run_script("script")
except TimeoutError as error:
    print(error)
"""
    assert interrupted(project, script, (signal.SIGTERM,)) == "too long\n"


def test_a_signal_handler_that_returns_stops_nothing(project: Project) -> None:
    script = """
signal.signal(signal.SIGTERM, lambda number, frame: open("heard", "w").close())
target("echo ready; while ! test -e heard; do sleep 0.01; done; echo went on").run_script("script")
"""
    assert interrupted(project, script, (signal.SIGTERM,)) == "went on\n"


def test_a_signal_handler_that_calls_the_target_is_told(project: Project) -> None:
    script = """
def handler(number, frame):
    build.umount_images()
signal.signal(signal.SIGTERM, handler)
build = target("echo ready; exec sleep 1000")
try:
    build.run_script("script")
except RuntimeError as error:
    print(error)
"""
    assert "at work in this very thread" in interrupted(project, script, (signal.SIGTERM,))


def test_threads_run_while_a_script_runs(project: Project) -> None:
    os.mkfifo("fifo")
    target = project.target(script="cat fifo > read")

    def write() -> None:
        with open("fifo", "w") as fifo:
            fifo.write("written by a thread")

    thread = threading.Thread(target=write)
    thread.start()
    target.run_script("script")
    thread.join()
    assert Path("read").read_text() == "written by a thread"


def test_threads_take_a_target_in_turn(project: Project) -> None:
    # Two lines that ran at the same time would find the folder of the other.
    target = project.target(pebble(), script="mkdir alone && ls > /dev/null && rmdir alone")
    target.download_missing_images()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                target.run_script("script")
                assert target.has_script("script")
                assert len(list(target.list_required_images())) == 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_threads_with_targets_of_their_own(project: Project) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            target = project.target(pebble(env={"P": "{{mount_point}}"}), script=f'test -d "$P"bin && echo {number} > {number}')
            target.download_missing_images()
            with target.mounted():
                target.run_script("script")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(path.name for path in Path().iterdir()) == [str(number) for number in range(8)]
    assert len(project.server.requests) == 1, "one downloads, the others wait for it"


def test_the_end_of_python_stops_threads_that_do_not_end(project: Project) -> None:
    script = """
import threading
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
build = target("echo ready; exec sleep 1000")
threading.Thread(target=build.run_script, args=("script",), daemon=True).start()
threading.Event().wait()
"""
    assert interrupted(project, script, (signal.SIGTERM,)) == ""


def test_an_exit_status_is_no_interrupt(project: Project) -> None:
    # What a shell says of a command that Ctrl-C has ended.
    with pytest.raises(subprocess.CalledProcessError) as raised:
        Target("build", project.config(script="exit 130")).run_script("script")
    assert raised.value.returncode == 130
