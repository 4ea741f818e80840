//! Damaged images, broken repositories, folders that cannot be used: a clear error with a remedy, exit status 1, and
//! everything as before.

use std::fs;
use std::process::Command;

use crate::support::{Behaviour, Caller, Project, Server, callers, is_root, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi}";

fn target() -> String {
    format!(
        "build: {{requires: [{TOOL}], before_script: echo before, script: echo script, after_script: echo after}}"
    )
}

/// A FAT12 volume, as far as its first sector goes.
fn fat() -> Vec<u8> {
    let mut image = vec![0; 1 << 20];
    image[..11].copy_from_slice(b"\xeb\x3c\x90MSDOS5.0");
    image[11..13].copy_from_slice(&512u16.to_le_bytes());
    image[13] = 4;
    image[54..62].copy_from_slice(b"FAT12   ");
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

#[test]
fn an_image_that_cannot_be_read_is_named_with_the_remedy() {
    for caller in callers() {
        let project = Project::of(caller, &target());
        let whole = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
        let mut no_footer = whole.clone();
        no_footer[..512].fill(0);
        let length = no_footer.len();
        no_footer[length - 512..].fill(0);
        let cases = [
            ("truncated", whole[..whole.len() / 2].to_vec()),
            ("a few bytes", whole[..700].to_vec()),
            ("garbage", (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
            ("zeroes", vec![0; 1 << 20]),
            ("no footer", no_footer),
            ("FAT", fat()),
            ("text", b"<html>not an image</html>".to_vec()),
        ];
        for (name, image) in cases {
            for command in ["run", "mount"] {
                let _ = fs::remove_dir_all(project.path("cache"));
                project.publish("tool", "1.0", &image);
                let output = project.gonto(&[command, "build"]).run().ends_with(1);
                let stdout = if command == "run" { "before\n" } else { "" };
                let output = output
                    .prints(stdout)
                    .mentions("error: the volume of tool/tool_v1.0_multi.vhd is not ready\n");
                let output = output.mentions("tool_v1.0_multi.vhd (remove it to have it fetched again)\n");
                assert!(output.stderr.matches("caused by: ").count() >= 2, "{name}: {}", output.stderr);
                assert!(
                    fs::read(project.cached("tool", "1.0")).unwrap() == image,
                    "{name}: the image has changed"
                );
                project.assert_clean();
            }
        }
    }
}

#[test]
fn a_vhdx_that_is_cut_short_is_told_as_such() {
    let project = Project::of(Caller::Current, &target().replace("multi", "multi, format: vhdx"));
    project.write("repository/tool/tool_v1.0_multi.vhdx", [b"vhdxfile".as_slice(), &[0; 100_000]].concat());
    let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("before\n");
    output.mentions("the VHDX's header section at byte 0x186a8 is damaged").mentions("it is cut short");
    project.assert_clean();
}

#[test]
fn repositories_that_do_not_work_leave_nothing_in_the_cache() {
    let unused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for caller in callers() {
        let project = Project::of(caller, "");
        let broken = Server::start(&project.path("repository"), Behaviour::CloseMidBody);
        let empty = Server::start(&project.path("home"), Behaviour::Good);
        let cases = [
            (project.path("nowhere").to_string_lossy().into_owned(), "the repository folder ROOT/nowhere"),
            (
                project.path("home").to_string_lossy().into_owned(),
                "check the name, version, platform and format",
            ),
            (format!("file://{}", project.path("nowhere").display()), "the repository folder ROOT/nowhere"),
            (format!("http://127.0.0.1:{unused}/"), "check the repository's address, the network"),
            (empty.url(), "check the name, version, platform and format"),
            (broken.url(), "try again, and if it stays so, check the repository's file"),
            ("gopher://example.com/".to_owned(), "gonto.yaml"),
        ];
        for (repository, remedy) in cases {
            project.configure_with(&repository, &target());
            for command in ["run", "pull", "mount"] {
                let output = project.gonto(&[command, "build"]).run().ends_with(1).mentions(remedy);
                assert!(!output.stdout.contains("script"), "{repository}: {}", output.stdout);
                assert!(!project.cached("tool", "1.0").exists());
                let partial = fs::read_dir(project.path("cache/.gonto/partial")).into_iter().flatten();
                assert_eq!(partial.count(), 0, "{repository}");
            }
        }
    }
}

#[test]
fn a_cache_without_space_is_an_error_that_says_so() {
    if !is_root() {
        skipped("only root can mount a small file system");
        return;
    }
    for caller in callers() {
        let project = Project::of(caller, &target());
        fs::create_dir(project.path("cache")).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs"])
            .arg(project.path("cache"))
            .status()
            .unwrap();
        assert!(mounted.success());
        let output = project.gonto(&["run", "build"]).run();
        let left = fs::read_dir(project.path("cache/.gonto/partial")).unwrap().count();
        let there = project.cached("tool", "1.0").exists();
        rustix::mount::unmount(project.path("cache"), rustix::mount::UnmountFlags::DETACH).unwrap();
        let output =
            output.ends_with(1).prints("before\n").mentions("error: cannot fetch tool/tool_v1.0_multi.vhd\n");
        output
            .mentions("no space left in ROOT/project/../cache")
            .mentions("set cache_dir to a folder on a larger disk");
        assert_eq!((left, there), (0, false));
    }
}

/// The layer for writes lies in the cache, if it can.
#[test]
fn writes_beyond_the_space_of_the_cache_fail_in_the_script_only() {
    if !is_root() {
        skipped("only root can mount a small file system");
        return;
    }
    for caller in callers() {
        let line = "head -c 20000000 /dev/zero >ROOT/state/mnt/tool_v1.0_multi/big";
        let project = Project::of(caller, &format!("build: {{requires: [{TOOL}], script: '{line}'}}"));
        fs::create_dir(project.path("cache")).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=10m,mode=0777", "tmpfs"])
            .arg(project.path("cache"))
            .status()
            .unwrap();
        assert!(mounted.success());
        let output = project.gonto(&["run", "build"]).run();
        let layers = fs::read_dir(project.path("cache/.gonto/layers")).unwrap().count();
        rustix::mount::unmount(project.path("cache"), rustix::mount::UnmountFlags::DETACH).unwrap();
        output.ends_with(1).mentions("No space left on device").mentions("error: script failed");
        assert_eq!(layers, 0);
        project.assert_clean();
    }
}

#[test]
fn folders_that_a_user_may_not_use_are_named() {
    if !callers().contains(&Caller::Ordinary) {
        skipped("only root can make folders that the caller may not use");
        return;
    }
    let closed = |path: &str, project: &Project| {
        fs::create_dir_all(project.path(path)).unwrap();
        std::os::unix::fs::chown(project.path(path), Some(0), Some(0)).unwrap();
        fs::set_permissions(project.path(path), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    };
    let project = Project::of(Caller::Ordinary, &target());
    closed("cache", &project);
    let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("before\n");
    output.mentions("cache").mentions("check that cache_dir is a folder in which you may write");
    project.assert_clean();

    let project = Project::of(Caller::Ordinary, &target());
    closed("state", &project);
    let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("");
    output
        .mentions("cannot use the state folder ROOT/state")
        .mentions("set GONTO_STATE_DIR to a folder that is");

    // The image itself.
    let project = Project::of(Caller::Ordinary, &target());
    project.gonto(&["pull", "build"]).run().ends_with(0);
    std::os::unix::fs::chown(project.cached("tool", "1.0"), Some(0), Some(0)).unwrap();
    fs::set_permissions(project.cached("tool", "1.0"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("before\n");
    output.mentions("cannot open the image").mentions("Permission denied");
    project.assert_clean();

    let project = Project::of(Caller::Ordinary, &target());
    closed("repository", &project);
    let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("before\n");
    output.mentions("repository").mentions("Permission denied");
    project.assert_clean();
}

/// A cache that somebody else fills and the caller can only read is enough for `run`: writes then stay in memory.
#[test]
fn a_cache_that_can_only_be_read_is_enough_for_a_run() {
    if !callers().contains(&Caller::Ordinary) {
        skipped("only root can make folders that the caller may not write");
        return;
    }
    let line = "echo x >ROOT/state/mnt/tool_v1.0_multi/new && ls ROOT/state/mnt/tool_v1.0_multi";
    let project = Project::of(Caller::Ordinary, &format!("build: {{requires: [{TOOL}], script: '{line}'}}"));
    project.gonto(&["pull", "build"]).run().ends_with(0);
    let status = Command::new("chown").args(["-R", "0:0"]).arg(project.path("cache")).status().unwrap();
    assert!(status.success());
    let output = project.gonto(&["run", "build"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\nnew\n");
    output.mentions("is kept in memory, because");
    project.assert_clean();
}

#[test]
fn state_that_somebody_has_damaged_is_put_right() {
    for caller in callers() {
        let project = Project::of(
            caller,
            &format!("build: {{requires: [{TOOL}], script: 'ls ROOT/state/mnt/tool_v1.0_multi'}}"),
        );
        project.write("state/register/run-XXXXXX.json", "{ half");
        project.write("state/register/mount-YYYYYY.json", "");
        project.write("state/register/mount-ZZZZZZ.json", "{\"mount_point\": 1}");
        project.give_away();
        project.gonto(&["run", "build"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\n");
        // Another version of gonto may understand it.
        fs::remove_file(project.path("state/register/mount-ZZZZZZ.json")).unwrap();
        project.assert_clean();
    }
}
