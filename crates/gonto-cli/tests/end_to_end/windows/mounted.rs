//! Images that are mounted until `umount`.

use std::fs;
use std::path::Path;

use super::{TOOL, example};
use crate::support::{Drive, Project};

/// A test that fails must not leave a letter to the next one.
pub(super) struct Unmount<'a>(pub(super) &'a Project, pub(super) &'a [&'a str]);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        for target in self.1 {
            self.0.gonto(&["umount", target]).run();
        }
    }
}

#[test]
fn what_is_mounted_is_seen_by_every_process_until_it_is_unmounted() {
    let project = Project::with_tool(&format!(
        "one: {{requires: [{{{TOOL}, mount_point: 'K:\\'}}], script: echo never}}
also: {{requires: [{{{TOOL}, mount_point: 'K:\\'}}], script: echo never}}
look: {{script: 'type K:\\library\\fixed.peb & type K:\\new.txt'}}"
    ));
    let fixed = example("library/fixed.peb");
    let _unmount = Unmount(&project, &["one", "also"]);
    let _drive = Drive::new('K', &project, "one", "tool");
    let gonto = |arguments: &[&str]| project.gonto(arguments).run();
    gonto(&["umount", "one"]).ends_with(0).says("    unmount nothing is mounted for one\n");

    gonto(&["mount", "one"]).ends_with(0).mentions("    mounted tool/tool_v1.0_multi.vhd at K:\\\n");
    gonto(&["mount", "one"]).ends_with(0).mentions(" is mounted tool/tool_v1.0_multi.vhd at K:\\\n");
    gonto(&["mount", "also"]).ends_with(0).mentions("    mounted tool/tool_v1.0_multi.vhd at K:\\\n");
    fs::write(r"K:\new.txt", "kept").unwrap();
    gonto(&["run", "look"]).ends_with(0).prints(&format!("{fixed}kept"));

    let refused = gonto(&["run", "one"]).ends_with(1).prints("");
    refused.mentions("mounted for target one of ROOT\\project and target also of ROOT\\project: ");
    // Another target needs it still.
    gonto(&["umount", "one"]).ends_with(0).says("  unmounted K:\\\n");
    gonto(&["run", "look"]).ends_with(0).prints(&format!("{fixed}kept"));
    gonto(&["umount", "also"]).ends_with(0).says("  unmounted K:\\\n");
    gonto(&["umount", "also"]).ends_with(0).says("    unmount nothing is mounted for also\n");
    project.assert_clean();
    // What was written to it has gone with it.
    gonto(&["mount", "one"]).ends_with(0);
    assert!(!fs::exists(r"K:\new.txt").unwrap());
    gonto(&["umount", "one"]).ends_with(0);
    project.assert_clean();
}

/// A copy that is mounted for everybody has no process that holds it.
#[test]
fn runs_leave_alone_what_is_mounted() {
    let requires = format!("requires: [{{{TOOL}, env: {{TOOL: '{{{{mount_point}}}}'}}}}]");
    let project = Project::with_tool(&format!(
        "one: {{{requires}, script: 'echo mine> \"%TOOL%bin\\pebble\" & echo %TOOL%'}}"
    ));
    let _unmount = Unmount(&project, &["one"]);
    let mounted = project.gonto(&["mount", "one"]).run().ends_with(0);
    let at = mounted
        .stderr
        .rsplit_once(" at ")
        .unwrap()
        .1
        .trim_end()
        .replace("ROOT", project.root.to_str().unwrap());
    let tool = Path::new(&at).join(r"bin\pebble");
    let before = fs::read(&tool).unwrap();
    let run = project.gonto(&["run", "one"]).run().ends_with(0);
    assert_ne!(run.stdout.trim_end().replace("ROOT", project.root.to_str().unwrap()), at);
    assert!(fs::read(&tool).unwrap() == before);
    project.gonto(&["umount", "one"]).run().ends_with(0).mentions("  unmounted ");
    project.assert_clean();
}

#[test]
fn messages_name_paths_as_people_write_them() {
    let project = Project::with_tool(&format!("one: {{requires: [{{{TOOL}}}], script: echo done}}"));
    let _unmount = Unmount(&project, &["one"]);
    let mut told = String::new();
    for arguments in [&["run", "one", "--backend", "extract"][..], &["mount", "one"], &["umount", "one"]] {
        told += &project.gonto(arguments).run().ends_with(0).stderr;
    }
    project.publish("tool", "1.0", b"damaged");
    fs::copy(project.path("repository/tool/tool_v1.0_multi.vhd"), project.cached("tool", "1.0")).unwrap();
    told += &project.gonto(&["run", "one"]).run().ends_with(1).stderr;
    assert!(!told.contains(r"\\?\"), "{told}");
}
