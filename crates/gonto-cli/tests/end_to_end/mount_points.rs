//! Where images appear, and what becomes of folders that were made for them.

use std::fs;

use crate::support::{Caller, Project, callers, skipped};

/// A target that shows its mount point and holds until it is told to go on.
fn holding(mount_point: &str) -> String {
    format!(
        "build:
  requires: [{{name: tool, version: '1.0', platform: multi, mount_point: '{mount_point}', env: {{T: '{{{{mount_point}}}}'}}}}]
  script: |
    echo $T $(ls $T)
    echo ready; read x
    echo $(ls $T)
"
    )
}

/// A target that shows its mount point.
fn showing(mount_point: &str) -> String {
    format!(
        "build:
  requires: [{{name: tool, version: '1.0', platform: multi, mount_point: '{mount_point}', env: {{T: '{{{{mount_point}}}}'}}}}]
  script: echo $T $(ls $T)
"
    )
}

const FILES: &str = "bin compiler library";

#[test]
fn each_kind_of_mount_point_ends_with_the_separator_and_is_the_same_every_time() {
    for caller in Caller::all() {
        for (mount_point, folder) in [
            ("", "ROOT/state/mnt/tool_v1.0_multi/"),
            ("U:\\", "ROOT/state/mnt/U/"),
            ("ROOT/home/tool", "ROOT/home/tool/"),
            ("ROOT/home/deep/in/folders/", "ROOT/home/deep/in/folders/"),
            ("ROOT/home/with a blank", "ROOT/home/with a blank/"),
        ] {
            let project = Project::of(caller, &showing(mount_point).replace("$(ls $T)", "$(ls \"$T\")"));
            for _ in 0..2 {
                let output = project.gonto(&["run", "build"]).run().ends_with(0);
                output.prints(&format!("{folder} {FILES}\n"));
                assert_eq!(
                    fs::read_dir(project.path("home")).unwrap().count(),
                    0,
                    "{caller:?} {mount_point}"
                );
                project.assert_clean();
            }
        }
    }
}

#[test]
fn a_folder_that_is_there_stays_with_its_files() {
    for caller in callers() {
        let project = Project::of(caller, &showing("ROOT/home"));
        project.write("home/file", "mine");
        project.give_away();
        let output = project.gonto(&["run", "build"]).run().ends_with(0);
        output.prints(&format!("ROOT/home/ {FILES}\n"));
        assert_eq!(project.read("home/file"), "mine");
        project.assert_clean();
    }
}

#[test]
fn a_folder_that_was_made_stays_until_the_last_run_that_uses_it_has_ended() {
    for caller in callers() {
        for first_ends_first in [true, false] {
            let project = Project::of(caller, &holding("ROOT/home/made/tool"));
            let mut runs = [(); 2].map(|()| {
                let mut run = project.gonto(&["run", "build"]).start();
                run.wait_for("ready");
                run
            });
            if !first_ends_first {
                runs.reverse();
            }
            for mut run in runs {
                run.tell("go");
                run.end().ends_with(0).prints(&format!("ROOT/home/made/tool/ {FILES}\nready\n{FILES}\n"));
            }
            assert!(!project.path("home/made").exists());
            project.assert_clean();
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_a_remedy() {
    for caller in callers() {
        let project = Project::of(caller, &showing("/proc/gonto-test/tool"));
        let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("");
        output.mentions("the mount point /proc/gonto-test/tool cannot be made: create the folder, or choose");
        project.assert_clean();
    }
}

#[test]
fn a_user_cannot_mount_below_a_folder_of_somebody_else() {
    if !callers().contains(&Caller::Ordinary) {
        return;
    }
    let project = Project::of(Caller::Ordinary, &showing("ROOT/closed/tool"));
    fs::create_dir(project.path("closed")).unwrap();
    let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("");
    output.mentions("the mount point ROOT/closed/tool cannot be made").mentions("Permission denied");
    project.assert_clean();

    // A folder that root has prepared is enough.
    fs::create_dir(project.path("closed/tool")).unwrap();
    let output = project.gonto(&["run", "build"]).run().ends_with(0);
    output.prints(&format!("ROOT/closed/tool/ {FILES}\n"));
    assert!(project.path("closed/tool").is_dir());
    project.assert_clean();
}

#[test]
fn a_file_in_the_way_is_an_error_and_stays() {
    for caller in callers() {
        for mount_point in ["ROOT/home/file", "ROOT/home/file/below"] {
            let project = Project::of(caller, &showing(mount_point));
            project.write("home/file", "mine");
            project.give_away();
            let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("");
            output.mentions("the mount point ROOT/home/file is not a folder: move it away or choose another");
            assert_eq!(project.read("home/file"), "mine");
            project.assert_clean();
        }
    }
}

#[test]
fn two_images_at_one_mount_point_are_an_error() {
    for caller in callers() {
        for mount_point in ["U:\\", "ROOT/home/tool"] {
            let project = Project::of(
                caller,
                &format!(
                    "build:
  requires:
    - {{name: tool, version: '1.0', platform: multi, mount_point: '{mount_point}'}}
    - {{name: tool, version: '2.0', platform: multi, mount_point: '{mount_point}'}}
  script: echo script
"
                ),
            );
            project.publish(
                "tool",
                "2.0",
                &fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap(),
            );
            let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("");
            output
                .mentions("error: the volume of tool/tool_v2.0_multi.vhd is not mounted")
                .mentions("have the same mount point");
            assert!(!project.path("home/tool").exists());
            project.assert_clean();
        }
    }
}

#[test]
fn an_image_inside_another_ones_mount_point_is_seen() {
    for caller in [Caller::Current, Caller::Ordinary] {
        if !callers().contains(&caller) {
            skipped("only root can run the program as somebody else");
            continue;
        }
        let project = Project::of(
            caller,
            "build:
  requires:
    - {name: tool, version: '1.0', platform: multi, mount_point: ROOT/home/outer}
    - {name: tool, version: '2.0', platform: multi, mount_point: ROOT/home/outer/library}
  script: ls ROOT/home/outer ROOT/home/outer/library
",
        );
        project.publish(
            "tool",
            "2.0",
            &fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap(),
        );
        let output = project.gonto(&["run", "build"]).run();
        output.ends_with(0).prints(
            "ROOT/home/outer:\nbin\ncompiler\nlibrary\n\nROOT/home/outer/library:\nbin\ncompiler\nlibrary\n",
        );
        assert!(!project.path("home/outer").exists());
        project.assert_clean();
    }
}
