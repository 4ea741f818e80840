//! Drive letters.

use super::TOOL;
use super::mounted::Unmount;
use crate::support::{Drive, Project};

#[test]
fn an_image_is_shown_at_its_letter_as_often_as_it_is_asked_for() {
    let project = Project::with_tool(&format!(
        "one:
  requires: [{{{TOOL}, mount_point: 'H:\\', env: {{TOOL: '{{{{mount_point}}}}'}}}}]
  script: |
    echo %TOOL%
    echo mine> H:\\new.txt
    if exist H:\\bin\\pebble if exist \"%TOOL%new.txt\" echo there"
    ));
    let _drive = Drive::new('H', &project, "one", "tool");
    for _ in 0..2 {
        let output = project.gonto(&["run", "one"]).run().ends_with(0).prints("H:\\\nthere\n");
        output.mentions("    mounted tool/tool_v1.0_multi.vhd at H:\\\n");
        project.assert_clean();
    }
}

#[test]
fn a_letter_is_for_one_run_at_a_time_and_the_other_is_told_who_has_it() {
    let project = Project::with_tool(&format!(
        "first:
  requires: [{{{TOOL}, mount_point: 'I:\\'}}]
  script: |
    echo there
    set /p go=
second: {{requires: [{{{TOOL}, mount_point: 'I:\\'}}], script: echo never}}"
    ));
    let _drive = Drive::new('I', &project, "second", "tool");
    let mut first = project.gonto(&["run", "first"]).start();
    first.wait_for("there");
    let refused = project.gonto(&["run", "second"]).run().ends_with(1).prints("");
    let refused = refused
        .mentions("error: the volume of tool/tool_v1.0_multi.vhd is not mounted\n")
        .mentions("caused by: the mount point I:\\ holds ")
        .mentions("tool_v1.0_multi.vhd already, mounted for a run (process ")
        .mentions("): unmount that first, or choose another mount_point\n");
    assert!(!refused.stderr.contains("unpacking"), "{}", refused.stderr);
    first.tell("go");
    first.end().ends_with(0);
    project.gonto(&["run", "second"]).run().ends_with(0).prints("never\n");
    project.assert_clean();
}

#[test]
fn one_target_cannot_have_two_images_at_a_letter() {
    let project = Project::with_tool(&format!(
        "one: {{requires: [{{{TOOL}, mount_point: 'L:\\'}}, {{name: other, version: '2', platform: multi, mount_point: 'L:\\'}}], script: x}}"
    ));
    let image = std::fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
    project.publish("other", "2", &image);
    let _drive = Drive::new('L', &project, "one", "tool");
    let refused = project.gonto(&["run", "one"]).run().ends_with(1).prints("");
    refused.mentions("have the same mount point L:\\: choose another mount_point for one of them\n");
    project.assert_clean();
}

/// To one gonto, what another one with another state folder has is anybody's.
#[test]
fn a_letter_that_something_else_has_is_an_error_that_tells_what_and_how_to_free_it() {
    let one = format!("one: {{requires: [{{{TOOL}, mount_point: 'J:\\'}}], script: echo never}}");
    let (somebody, project) = (Project::with_tool(&one), Project::with_tool(&one));
    let drive = Drive::new('J', &somebody, "one", "tool");
    let _unmount = Unmount(&somebody, &["one"]);
    somebody.gonto(&["mount", "one", "--backend", "extract"]).run().ends_with(0);
    let folder = somebody.copies("tool").remove(0);
    for command in ["run", "mount"] {
        let refused = project.gonto(&[command, "one"]).run().ends_with(1).prints("");
        refused.mentions(&format!(
            "  caused by: the drive J: is in use by {}: free it (subst J: /d, net use J: /delete, mountvol J:\\ /d), or choose \
             another mount_point\n",
            folder.display()
        ));
        project.assert_clean();
    }
    somebody.gonto(&["umount", "one"]).run().ends_with(0);
    drop(drive);
    let _drive = Drive::new('J', &project, "one", "tool");
    project.gonto(&["run", "one"]).run().ends_with(0).prints("never\n");
}
