"""Real images from a real server: downloaded, mounted, seen, unmounted."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import IS_ROOT, PEBBLE, Gonto, Project, pebble
from gonto.target import SCRIPT_TYPE, MissingImage, Target, VolumeNotMounted, VolumeNotReady

PATH = "pebble/pebble_v1.0_multi.vhd"

#: What the Python programs below begin with.
PRELUDE = """
import os, sys
from gonto.target import Target
root = sys.argv[1]
requirement = {"name": "pebble", "version": "1.0", "platform": "multi"}
settings = {"cache_dir": root + "/cache", "repository": root + "/repository"}
config = {"gonto": settings, "targets": {"build": {"requires": [requirement], "script": "true"}}}
target = Target("build", config)
target.download_missing_images()
"""


def folder_of(target: Target) -> Path:
    return Path(target.mount_points[PATH])


def test_a_download_is_told_step_by_step(project: Project) -> None:
    project.publish(version="2.0")
    target = project.target(pebble(), pebble(version="2.0"))
    told: list[tuple[int, int, str, float]] = []
    target.download_missing_images(callback=lambda *step: told.append(step))
    assert [step[:3] for step in told if step[3] == 1.0] == [(1, 2, "pebble"), (2, 2, "pebble")]
    assert all(type(step[3]) is float and 0.0 <= step[3] <= 1.0 for step in told)
    assert told == sorted(told)
    assert project.cached().read_bytes() == PEBBLE.read_bytes()
    assert list(target.list_missing_images()) == []
    assert len(project.server.requests) == 2
    target.download_missing_images(lambda *step: pytest.fail("nothing is missing"))
    target.download_missing_images(None)
    target.download_missing_images()
    assert len(project.server.requests) == 2


def test_scripts_and_the_calling_process_see_the_images(project: Project) -> None:
    target = project.target(
        pebble(env={"PEBBLE": "{{mount_point}}bin"}),
        env={"PEBBLE": "overridden", "OTHER": "value"},
        script='test -x "$PEBBLE/pebble" && echo "$OTHER" > out && echo x > "$PEBBLE/new" && test -e "$PEBBLE/new"',
    )
    assert target.environment == {"PEBBLE": "overridden", "OTHER": "value"}
    target.download_missing_images()
    target.mount_images()
    folder = folder_of(target)
    assert str(folder) + os.sep == target.mount_points[PATH]
    assert target.environment == {"PEBBLE": f"{folder}{os.sep}bin", "OTHER": "value"}
    assert sorted(path.name for path in folder.iterdir()) == ["bin", "compiler", "library"]
    assert repr(target).endswith(", mounted>")
    target.run_script(SCRIPT_TYPE.SCRIPT)
    assert Path("out").read_text() == "value\n"
    # As root there is one mount; an ordinary user's scripts have theirs, above the bare image.
    assert (folder / "bin/new").exists() == IS_ROOT
    target.umount_images()
    assert not (folder / "bin").exists() and target.mount_points == {}
    assert project.cached().read_bytes() == PEBBLE.read_bytes()


def test_programs_of_an_image_run_without_a_script(project: Project) -> None:
    target = project.target(pebble(env={"PEBBLE_HOME": "{{mount_point}}"}))
    target.download_missing_images()
    with target.mounted():
        program = folder_of(target) / "bin/pebble"
        environment = {**os.environ, **target.environment}
        ran = subprocess.run([program, "--help"], env=environment, capture_output=True, text=True, check=False)
    assert "pebble" in ran.stdout + ran.stderr


def test_an_open_file_keeps_an_image_and_that_is_told(project: Project) -> None:
    target = project.target(pebble())
    target.download_missing_images()
    target.mount_images()
    folder = folder_of(target)
    if folder.is_symlink():
        target.umount_images()
        pytest.skip("unpacked files can be taken away while they are open")
    with (folder / "bin/pebble").open() as file:
        with pytest.raises(OSError, match="cannot unmount .* used by .*: end that first"):
            target.umount_images()
        assert file.read(1)
    del target
    project.assert_tidy()


def test_with_mounted(project: Project) -> None:
    target = project.target(pebble())
    target.download_missing_images()
    error = RuntimeError("the block fails")
    with pytest.raises(RuntimeError) as raised, target.mounted():
        folder = folder_of(target)
        assert (folder / "bin").is_dir()
        raise error
    assert raised.value is error
    assert not (folder / "bin").exists()
    with target.mounted():
        assert (folder / "bin").is_dir()
    assert not (folder / "bin").exists()


def test_what_is_dropped_is_unmounted(project: Project) -> None:
    target = project.target(pebble())
    target.download_missing_images()
    target.mount_images()
    folder = folder_of(target)
    assert (folder / "bin").is_dir()
    del target
    assert not folder.exists()


def test_the_end_of_python_unmounts(project: Project) -> None:
    # Held by a cycle and by a thread that never ends, so that nothing but the end of Python lets go of it.
    script = PRELUDE + """
import threading
target.mount_images()
cycle = [target]
cycle.append(cycle)
threading.Thread(target=lambda kept: threading.Event().wait(), args=(target,), daemon=True).start()
folder = target.mount_points["pebble/pebble_v1.0_multi.vhd"]
assert os.listdir(folder)
print(folder)
sys.exit(3)
"""
    process = project.python(script)
    out, err = process.communicate()
    assert process.returncode == 3, err
    assert not Path(out.strip()).exists() and project.leftovers() == []


def test_what_a_killed_python_leaves_is_swept(project: Project) -> None:
    script = PRELUDE + """
target.mount_images()
print(target.mount_points["pebble/pebble_v1.0_multi.vhd"], flush=True)
import signal
signal.pause()
"""
    with project.python(script) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert (folder / "bin").is_dir()
        process.send_signal(signal.SIGKILL)
    target = project.target(pebble())
    with target.mounted():
        assert folder_of(target) == folder and (folder / "bin").is_dir()
    del target
    project.assert_tidy()


def test_a_copy_of_the_process_has_no_part_in_it(project: Project) -> None:
    script = PRELUDE + """
target.mount_images()
folder = target.mount_points["pebble/pebble_v1.0_multi.vhd"]
child = os.fork()
if child == 0:
    try:
        target.umount_images()
    except RuntimeError as error:
        print(error, flush=True)
    del target
    sys.exit(0)  # runs what runs at the end of Python
assert os.waitpid(child, 0)[1] == 0
assert os.listdir(folder)
target.umount_images()
"""
    process = project.python(script)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "belongs to the process that made it" in out


def test_two_targets_share_what_everybody_sees(project: Project) -> None:
    first, second = project.target(pebble()), project.target(pebble())
    first.download_missing_images()
    first.mount_images()
    with second.mounted():
        assert folder_of(first) == folder_of(second)
    assert (folder_of(first) / "bin").is_dir()
    first.umount_images()


def test_permanent(project: Project, gonto: Gonto) -> None:
    script = PRELUDE + """
target.mount_images(permanent=True)
print(target.mount_points["pebble/pebble_v1.0_multi.vhd"])
"""
    process = project.python(script)
    out, err = process.communicate()
    assert process.returncode == 0, err
    folder = Path(out.strip())
    assert (folder / "bin").is_dir()
    project.target().umount_images()
    assert not folder.exists(), "a target of that name has mounted it in this folder"

    target = project.target(pebble())
    target.mount_images(True)
    (project.root / "project/gonto.yaml").write_text(
        f"gonto: {{cache_dir: ../cache, repository: '{project.server.address}'}}\n"
        "targets: {build: {script: x, requires: [{name: pebble, version: '1.0', platform: multi}]}}\n"
    )
    unmounted = gonto("umount", "build")
    assert unmounted.returncode == 0 and str(folder) in unmounted.stderr, unmounted.stderr
    assert not folder.exists()


def test_missing_image(project: Project) -> None:
    with pytest.raises(MissingImage, match=f"{PATH} is missing") as raised:
        project.target(pebble()).mount_images()
    assert str(project.cached()) in str(raised.value)


@pytest.mark.parametrize("content", [b"no image at all", b"\0" * 100_000])
def test_volume_not_ready(project: Project, content: bytes) -> None:
    project.publish(image=content)
    target = project.target(pebble())
    target.download_missing_images()
    with pytest.raises(VolumeNotReady, match=f"the volume of {PATH} is not ready: .*"):
        target.mount_images()
    assert target.mount_points == {}


def test_volume_not_mounted(project: Project) -> None:
    project.publish(version="2.0")
    first = project.target(pebble(mount_point="U:\\"))
    second = project.target(pebble(version="2.0", mount_point="U:\\"))
    for target in [first, second]:
        target.download_missing_images()
    with first.mounted():
        with pytest.raises(VolumeNotMounted, match="pebble_v2.0_multi.vhd is not mounted: .*pebble_v1.0"):
            second.mount_images()
        assert (folder_of(first) / "bin").is_dir()
    with second.mounted():
        pass


def test_what_fails_half_way_leaves_nothing(project: Project) -> None:
    project.publish("broken", image=b"no image")
    target = project.target(pebble(), {"name": "broken", "version": "1.0", "platform": "multi"})
    target.download_missing_images()
    with pytest.raises(VolumeNotReady):
        target.mount_images()
    assert project.mounts() == [] and target.mount_points == {}


def test_notices_are_logged(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    config = project.config(requires=[pebble()])
    config["gonto"]["backend"] = "extract"
    target = Target("build", config)
    target.download_missing_images()
    with caplog.at_level("WARNING", logger="gonto"), target.mounted():
        pass
    assert any("unpack" in record.getMessage() for record in caplog.records), caplog.text
