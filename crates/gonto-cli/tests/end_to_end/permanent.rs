//! `mount` and `umount`: images that every process of the user sees.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::support::{Caller, Project, callers_by_roads, is_root, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi}";
const FOLDER: &str = "state/mnt/tool_v1.0_multi";

/// Those who can mount for all processes; unpacking is tested with the other roads.
fn mounting() -> Vec<Caller> {
    let mut mounting = callers_by_roads();
    let all = mounting.len();
    mounting.retain(|caller| caller.is_root() || Path::new("/usr/bin/fusermount3").exists());
    if mounting.len() < all {
        skipped("an ordinary user needs fusermount3 to mount for all processes");
    }
    mounting
}

/// Those of them whose images are served by a process.
fn served() -> Vec<Caller> {
    let mut served = mounting();
    served.retain(|caller| *caller != Caller::Current || !caller.is_root());
    served
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What the caller sees; FUSE shows its files to nobody else, not even to root.
fn listed(project: &Project, folder: &str) -> String {
    let mut command = Command::new("ls");
    if project.caller == Caller::Ordinary {
        command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "ls"]);
    }
    let output = command.arg(project.path(folder)).output().unwrap();
    String::from_utf8_lossy(&output.stdout).replace('\n', " ") + &String::from_utf8_lossy(&output.stderr)
}

const FILES: &str = "bin compiler library ";

#[test]
fn mount_shows_an_image_until_umount() {
    for caller in mounting() {
        let project = Project::of(
            caller,
            &format!(
                "build: {{requires: [{TOOL}], before_script: echo no, script: echo no, after_script: echo no}}"
            ),
        );
        let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
        let output = project.gonto(&["mount", "build"]).run().ends_with(0).prints("");
        output.mentions("    mounted tool/tool_v1.0_multi.vhd at ROOT/state/mnt/tool_v1.0_multi/\n");
        assert_eq!(listed(&project, FOLDER), FILES);

        // Told, not done.
        let again = project.gonto(&["mount", "build"]).run().ends_with(0).prints("");
        again.mentions(" is mounted tool/tool_v1.0_multi.vhd at ROOT/state/mnt/tool_v1.0_multi/\n");
        assert_eq!(listed(&project, FOLDER), FILES);

        let output = project.gonto(&["umount", "build"]).run().ends_with(0).prints("");
        output.says("  unmounted ROOT/state/mnt/tool_v1.0_multi\n");
        project.assert_clean();
        assert!(fs::read(project.cached("tool", "1.0")).unwrap() == image, "the image has changed");

        let nothing = project.gonto(&["umount", "build"]).run().ends_with(0).prints("");
        nothing.says("    unmount nothing is mounted for build\n");
        project.assert_clean();
    }
}

#[test]
fn two_targets_share_an_image_until_the_second_umount() {
    for caller in mounting() {
        let project = Project::of(
            caller,
            &format!("one: {{requires: [{TOOL}], script: x}}\ntwo: {{requires: [{TOOL}], script: x}}"),
        );
        for target in ["one", "two"] {
            project.gonto(&["mount", target]).run().ends_with(0);
        }
        project.gonto(&["umount", "one"]).run().ends_with(0);
        assert_eq!(listed(&project, FOLDER), FILES);
        project.gonto(&["umount", "one"]).run().ends_with(0).mentions("nothing is mounted");
        assert_eq!(listed(&project, FOLDER), FILES);
        project.gonto(&["umount", "two"]).run().ends_with(0);
        project.assert_clean();
    }
}

#[test]
fn two_projects_share_an_image_of_the_same_cache() {
    for caller in mounting() {
        let project = Project::of(caller, &format!("build: {{requires: [{TOOL}], script: x}}"));
        project.write("other/deep/gonto.yaml", project.read("project/gonto.yaml").replace("../", "../../"));
        project.give_away();
        project.gonto(&["mount", "build"]).run().ends_with(0);
        project.gonto(&["-C", "../other/deep", "mount", "build"]).run().ends_with(0);
        project.gonto(&["umount", "build"]).run().ends_with(0).mentions("unmounted");
        assert_eq!(listed(&project, FOLDER), FILES);
        project.gonto(&["-C", "../other/deep", "umount", "build"]).run().ends_with(0).mentions("unmounted");
        project.assert_clean();
    }
}

#[test]
fn umount_goes_by_what_was_mounted_and_not_by_todays_configuration() {
    for caller in mounting() {
        let project = Project::of(caller, &format!("build: {{requires: [{TOOL}], script: x}}"));
        project.publish(
            "tool",
            "2.0",
            &fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap(),
        );
        project.gonto(&["mount", "build"]).run().ends_with(0);
        project.configure(&format!("build: {{requires: [{}], script: x}}", TOOL.replace("1.0", "2.0")));
        let output = project.gonto(&["umount", "build"]).run().ends_with(0);
        output.says("  unmounted ROOT/state/mnt/tool_v1.0_multi\n");
        project.assert_clean();
    }
}

#[test]
fn several_images_are_unmounted_last_first_and_inner_before_outer() {
    for caller in mounting() {
        let project = Project::of(
            caller,
            &format!(
                "build:
  requires:
    - {TOOL}
    - {{name: tool, version: '2.0', platform: multi, mount_point: 'U:\\'}}
    - {{name: tool, version: '3.0', platform: multi, mount_point: ROOT/home/tool}}
  script: x
"
            ),
        );
        let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
        project.publish("tool", "2.0", &image);
        project.publish("tool", "3.0", &image);
        project.gonto(&["mount", "build"]).run().ends_with(0);
        for folder in [FOLDER, "state/mnt/U", "home/tool"] {
            assert_eq!(listed(&project, folder), FILES, "{folder}");
        }
        project.gonto(&["umount", "build"]).run().ends_with(0).says(
            "  unmounted ROOT/home/tool\n  unmounted ROOT/state/mnt/U\n  unmounted ROOT/state/mnt/tool_v1.0_multi\n",
        );
        assert!(!project.path("home/tool").exists());
        project.assert_clean();
    }
}

#[test]
fn a_mount_that_fails_takes_back_what_it_has_mounted() {
    for caller in mounting() {
        let project = Project::of(
            caller,
            &format!(
                "build:
  requires: [{TOOL}, {{name: tool, version: '2.0', platform: multi}}]
  script: x
"
            ),
        );
        project.publish("tool", "2.0", &[7; 100_000]);
        let output = project.gonto(&["mount", "build"]).run().ends_with(1).prints("");
        output.mentions("error: the volume of tool/tool_v2.0_multi.vhd is not ready");
        project.assert_clean();
    }
}

#[test]
fn a_mount_that_fails_leaves_what_was_mounted_before() {
    for caller in mounting() {
        let project = Project::of(caller, &format!("build: {{requires: [{TOOL}], script: x}}"));
        let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
        project.publish("tool", "2.0", &image);
        project.publish("tool", "3.0", &[7; 100_000]);
        project.gonto(&["mount", "build"]).run().ends_with(0);
        project.configure(&format!(
            "build: {{requires: [{TOOL}, {}, {}], script: x}}",
            TOOL.replace("1.0", "2.0"),
            TOOL.replace("1.0", "3.0")
        ));
        let output = project.gonto(&["mount", "build"]).run().ends_with(1).prints("");
        let output = output.mentions("    mounted tool/tool_v2.0_multi.vhd at");
        output.mentions("error: the volume of tool/tool_v3.0_multi.vhd is not ready");
        assert_eq!(listed(&project, FOLDER), FILES);
        let output = project.gonto(&["umount", "build"]).run().ends_with(0);
        output.says("  unmounted ROOT/state/mnt/tool_v1.0_multi\n");
        project.assert_clean();
    }
}

#[test]
fn a_project_is_the_same_by_every_path() {
    for caller in mounting() {
        let project = Project::of(caller, &format!("build: {{requires: [{TOOL}], script: x}}"));
        std::os::unix::fs::symlink(project.path("project"), project.path("link")).unwrap();
        let real = ["-C", "../project"];
        let calls = [real, ["--config", "../link/gonto.yaml"], ["-C", "../link"], ["--config", "gonto.yaml"]];
        for call in calls {
            project.gonto(&[call[0], call[1], "mount", "build"]).run().ends_with(0);
            let again = project.gonto(&[real[0], real[1], "mount", "build"]).run().ends_with(0);
            again.mentions(" is mounted tool/");
            project.gonto(&[real[0], real[1], "umount", "build"]).run().ends_with(0).mentions("  unmounted ");
            project.assert_clean();
        }
    }
}

#[test]
fn a_mount_in_use_is_named_with_its_user_and_stays() {
    for caller in mounting() {
        let project = Project::of(caller, &format!("build: {{requires: [{TOOL}], script: x}}"));
        project.gonto(&["mount", "build"]).run().ends_with(0);
        // Root cannot enter what an ordinary user has mounted by FUSE, so the shell of that user does.
        let mut shell = Command::new("sh");
        if caller == Caller::Ordinary {
            shell.uid(65534).gid(65534);
        }
        let line = "cd \"$1\" && echo there && exec sleep 1000";
        shell.args(["-c", line, "sh"]).arg(project.path(FOLDER)).stdout(Stdio::piped());
        let mut user = shell.spawn().unwrap();
        let mut there = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(user.stdout.take().unwrap()), &mut there)
            .unwrap();
        assert_eq!(there, "there\n");

        let output = project.gonto(&["umount", "build"]).run();
        let still_there = listed(&project, FOLDER);
        let pid = user.id();
        user.kill().unwrap();
        user.wait().unwrap();
        let output = output.ends_with(1).prints("");
        output.mentions(&format!(
            "cannot unmount ROOT/{FOLDER}, which is used by sleep ({pid}): end that first"
        ));
        assert_eq!(still_there, FILES);

        project.gonto(&["umount", "build"]).run().ends_with(0).says(&format!("  unmounted ROOT/{FOLDER}\n"));
        project.assert_clean();
    }
}

#[test]
fn a_dead_server_is_cleared_away_by_the_next_command() {
    for caller in served() {
        let run = format!("build: {{requires: [{TOOL}], script: 'ls ROOT/{FOLDER}'}}");
        for command in ["mount", "umount", "run"] {
            let project = Project::of(caller, &run);
            project.gonto(&["mount", "build"]).run().ends_with(0);
            for server in servers(&project) {
                rustix::process::kill_process(server, Signal::KILL).unwrap();
            }
            wait_until_dead(&project);
            let output = project.gonto(&[command, "build"]).run().ends_with(0);
            let output = output.mentions(&format!("removed what a killed gonto had left at ROOT/{FOLDER}"));
            if command == "mount" {
                assert_eq!(listed(&project, FOLDER), FILES);
                project.gonto(&["umount", "build"]).run().ends_with(0);
            }
            if command == "run" {
                output.prints("bin\ncompiler\nlibrary\n");
            }
            project.assert_clean();
        }
    }
}

/// Half of the images are there when the program is killed: the next command knows about them.
#[test]
fn a_killed_mount_is_gone_on_with_or_taken_back() {
    for caller in mounting() {
        for next in ["mount", "umount"] {
            let project = Project::of(
                caller,
                "build:
  requires:
    - {name: tool, version: '1.0', platform: multi}
    - {name: tool, version: '2.0', platform: multi, mount_point: ROOT/home/made/tool}
    - {name: tool, version: '3.0', platform: multi, mount_point: ROOT/home/made/other}
  script: x
",
            );
            let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
            for version in ["2.0", "3.0"] {
                project.publish("tool", version, &image);
            }
            for message in ["cached tool/tool_v3.0", "mounted tool/tool_v1.0", "mounted tool/tool_v2.0"] {
                project.gonto(&["pull", "build"]).run().ends_with(0);
                let mut mount = project.gonto(&["mount", "build"]).start();
                mount.wait_for_message(message);
                mount.signal(Signal::KILL);
                mount.end();
                project.gonto(&[next, "build"]).run().ends_with(0);
                if next == "mount" {
                    assert_eq!(listed(&project, "home/made/other"), FILES, "{message}");
                    project.gonto(&["umount", "build"]).run().ends_with(0);
                }
                assert!(!project.path("home/made").exists(), "{message}");
                project.assert_clean();
            }
        }
    }
}

/// A run sees its own layer above what is mounted for everybody, and leaves that alone.
#[test]
fn a_run_beside_a_mount_writes_to_itself_only() {
    for caller in mounting() {
        let project = Project::of(
            caller,
            &format!("build: {{requires: [{TOOL}], script: 'echo x >ROOT/{FOLDER}/new; ls ROOT/{FOLDER}'}}"),
        );
        project.gonto(&["mount", "build"]).run().ends_with(0);
        project.gonto(&["run", "build"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\nnew\n");
        assert_eq!(listed(&project, FOLDER), FILES);
        project.gonto(&["umount", "build"]).run().ends_with(0);
        project.assert_clean();
    }
}

/// Whoever mounts as root, mounts for all.
#[test]
fn what_root_mounts_is_seen_by_others_and_can_be_written() {
    if !Caller::Current.is_root() {
        skipped("only root mounts for other users");
        return;
    }
    let project = Project::of(Caller::Current, &format!("build: {{requires: [{TOOL}], script: x}}"));
    project.gonto(&["mount", "build"]).run().ends_with(0);
    assert_eq!(names(&project.path(FOLDER)), ["bin", "compiler", "library"]);
    project.write(&format!("{FOLDER}/new"), "new");
    assert_eq!(project.read(&format!("{FOLDER}/new")), "new");
    let reader = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "cat"])
        .arg(project.path(FOLDER).join("bin/pebble"))
        .output()
        .unwrap();
    assert!(reader.status.success(), "{}", String::from_utf8_lossy(&reader.stderr));
    project.gonto(&["umount", "build"]).run().ends_with(0);
    project.assert_clean();
    project.gonto(&["mount", "build"]).run().ends_with(0);
    assert_eq!(
        names(&project.path(FOLDER)),
        ["bin", "compiler", "library"],
        "a new mount begins with a new layer"
    );
    project.gonto(&["umount", "build"]).run().ends_with(0);
    project.assert_clean();
}

/// The kernel has ended a server when it has closed the file by which others see that it lives. A program of its own
/// looks at that: a lock of ours would be inherited by what other tests start just then.
fn wait_until_dead(project: &Project) {
    for entry in fs::read_dir(project.path("state/register")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("/mount-") && path.extension().is_some_and(|end| end == "lock") {
            assert!(Command::new("flock").arg(path).arg("true").status().unwrap().success());
        }
    }
}

fn servers(project: &Project) -> Vec<Pid> {
    let servers = project.processes("gonto");
    assert!(!servers.is_empty(), "no server runs");
    servers
}

/// With FUSE a process answers; with EROFS the kernel does, and nothing has to run.
#[test]
fn nothing_runs_for_what_the_kernel_reads() {
    if !Caller::Current.is_root() {
        skipped("only root has the kernel read images");
        return;
    }
    let project = Project::of(Caller::Current, &format!("build: {{requires: [{TOOL}], script: x}}"));
    for (backend, processes) in [("erofs", 0), ("fuse", 1), ("extract", 0)] {
        project.gonto(&["mount", "build", "--backend", backend]).run().ends_with(0);
        assert_eq!(project.processes("gonto").len(), processes, "{backend}");
        assert_eq!(listed(&project, FOLDER), FILES);
        let locks = fs::read_dir(project.path("state/register")).unwrap().map(|entry| entry.unwrap().path());
        let locks = locks.filter(|path| path.to_string_lossy().contains("/mount-"));
        let locks = locks.filter(|path| path.extension().is_some_and(|end| end == "lock")).count();
        assert_eq!(locks, processes, "{backend}");
        project.gonto(&["umount", "build"]).run().ends_with(0);
        project.assert_clean();
    }
}

/// Everything that was mounted is gone, or (what no restart leaves, but an image of a running system) still there.
#[test]
fn a_restart_of_the_system_is_cleared_away_by_the_next_command() {
    for caller in mounting() {
        for is_there in [true, false] {
            if !is_there && !is_root() {
                skipped("only root can unmount without gonto");
                continue;
            }
            let run = format!("build: {{requires: [{TOOL}], script: 'ls ROOT/{FOLDER}'}}");
            for command in ["mount", "umount", "run"] {
                let project = Project::of(caller, &run);
                project.gonto(&["mount", "build"]).run().ends_with(0);
                if !is_there {
                    unmount_all(&project);
                    project.assert_nothing_runs();
                }
                restart(&project);
                let output = project.gonto(&[command, "build"]).run().ends_with(0);
                let output =
                    output.mentions(&format!("removed what a killed gonto had left at ROOT/{FOLDER}"));
                match command {
                    "mount" => {
                        assert_eq!(listed(&project, FOLDER), FILES);
                        project.gonto(&["umount", "build"]).run().ends_with(0);
                    }
                    "run" => drop(output.prints("bin\ncompiler\nlibrary\n")),
                    _ => drop(output.mentions("nothing is mounted for build")),
                }
                project.assert_clean();
            }
        }
    }
}

/// What the register says of the start of the system becomes another one.
fn restart(project: &Project) {
    let now = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mut changed = 0;
    for entry in fs::read_dir(project.path("state/register")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if text.contains(now.trim()) {
            fs::write(&path, text.replace(now.trim(), "00000000-0000-4000-8000-000000000000")).unwrap();
            changed += 1;
        }
    }
    assert_eq!(changed, 1);
}

/// As no command of gonto does it.
fn unmount_all(project: &Project) {
    let table = String::from_utf8_lossy(&fs::read("/proc/self/mountinfo").unwrap()).into_owned();
    let below = table.lines().filter_map(|line| line.split(' ').nth(4));
    let below: Vec<_> = below.filter(|path| path.starts_with(&*project.root.to_string_lossy())).collect();
    for path in below.into_iter().rev() {
        rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

/// At any moment, not only between two steps that are told.
#[test]
fn whenever_a_mount_is_killed_the_next_command_clears_it_away() {
    for caller in mounting() {
        let project = Project::of(caller, &format!("build: {{requires: [{TOOL}], script: x}}"));
        project.gonto(&["pull", "build"]).run().ends_with(0);
        let begun = std::time::Instant::now();
        project.gonto(&["mount", "build"]).run().ends_with(0);
        let takes = begun.elapsed();
        project.gonto(&["umount", "build"]).run().ends_with(0);
        for moment in 0..24 {
            if moment % 3 == 0 {
                // Some make an index, too.
                let _ = fs::remove_dir_all(project.path("cache/.gonto/index"));
            }
            let mount = project.gonto(&["mount", "build"]).start();
            std::thread::sleep(takes * moment / 24);
            mount.signal(Signal::KILL);
            mount.end();
            project.gonto(&["umount", "build"]).run().ends_with(0);
            project.assert_clean();
        }
        project.gonto(&["mount", "build"]).run().ends_with(0);
        assert_eq!(listed(&project, FOLDER), FILES);
        project.gonto(&["umount", "build"]).run().ends_with(0);
        project.assert_clean();
    }
}

#[test]
fn a_mount_that_is_read_all_the_time_can_be_unmounted_in_between() {
    for caller in mounting() {
        let project = Project::of(caller, &format!("build: {{requires: [{TOOL}], script: x}}"));
        project.gonto(&["mount", "build"]).run().ends_with(0);
        let mut readers: Vec<_> = (0..3)
            .map(|_| {
                let mut shell = Command::new("sh");
                if caller == Caller::Ordinary {
                    shell.uid(65534).gid(65534);
                }
                // Now and then it has nothing open.
                let line = "while cat \"$1\"/library/* \"$1\"/bin/*; do sleep 0.02; done";
                shell.args(["-c", line, "sh"]).arg(project.path(FOLDER));
                shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        let unmounted = loop {
            let output = project.gonto(&["umount", "build"]).run();
            if output.status == 0 {
                break output;
            }
            // It is as whole as before.
            output.ends_with(1).mentions(&format!("cannot unmount ROOT/{FOLDER}"));
        };
        // They end when the files have gone.
        for reader in &mut readers {
            reader.wait().unwrap();
        }
        unmounted.mentions(&format!("  unmounted ROOT/{FOLDER}\n"));
        project.assert_clean();
    }
}
