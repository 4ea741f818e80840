//! Caches and repositories in folders with unusual names.

use std::fs;
use std::path::Path;

use super::mounted::Unmount;
use super::{TOOL, example};
use crate::support::{Drive, Project, skipped};

const TARGET: &str = r#"env: {TOOL: "{{mount_point}}"}}], script: 'type "%TOOL%library\fixed.peb"'}"#;

#[test]
fn a_cache_in_a_folder_with_blanks_and_foreign_letters_works() {
    let project = Project::with_tool("");
    let cache = "zwischen speicher & Größe 日本 (1)";
    project.write(
        "project/gonto.yaml",
        format!(
            "gonto: {{cache_dir: '../{cache}', repository: ../repository}}\ntargets: {{one: {{requires: [{{{TOOL}, {TARGET}}}"
        ),
    );
    check(&project, "");
    assert!(project.path(cache).join("tool/tool_v1.0_multi.vhd").exists());
}

/// The letter has to be recognised afterwards, however the folder was written.
#[test]
fn a_cache_that_is_written_with_slashes_works() {
    let project = Project::with_tool("");
    let cache = project.path("cache").to_str().unwrap().replace('\\', "/");
    project.write(
        "project/gonto.yaml",
        format!(
            "gonto: {{cache_dir: '{cache}', repository: ../repository}}
targets:
  one: {{requires: [{{{TOOL}, mount_point: 'N:\\'}}], script: 'type N:\\library\\fixed.peb'}}"
        ),
    );
    let _drive = Drive::new('N', &project, "one", "tool");
    let _unmount = Unmount(&project, &["one"]);
    let fixed = example("library/fixed.peb");
    for _ in 0..2 {
        project.gonto(&["run", "one"]).run().ends_with(0).prints(&fixed);
        project.gonto(&["mount", "one"]).run().ends_with(0);
        project.gonto(&["mount", "one"]).run().ends_with(0).mentions(" is mounted tool/");
        assert_eq!(fs::read_to_string(r"N:\library\fixed.peb").unwrap(), fixed);
        project.gonto(&["umount", "one"]).run().ends_with(0).says("  unmounted N:\\\n");
        project.assert_clean();
    }
}

#[test]
fn a_cache_on_a_share_works() {
    let project = Project::with_tool("");
    let local = project.path("cache");
    fs::create_dir(&local).unwrap();
    // What administrators have of every disk.
    let share = format!(r"\\localhost\{}", local.to_str().unwrap().replacen(':', "$", 1));
    if !Path::new(&share).is_dir() {
        skipped(&format!("there is no share {share}"));
        return;
    }
    project.write(
        "project/gonto.yaml",
        format!(
            "gonto: {{cache_dir: '{share}', repository: ../repository}}\ntargets: {{one: {{requires: [{{{TOOL}, {TARGET}}}"
        ),
    );
    check(&project, &share);
}

#[track_caller]
fn check(project: &Project, place: &str) {
    let fixed = example("library/fixed.peb");
    let output = project.gonto(&["run", "--backend", "extract", "one"]).run().ends_with(0).prints(&fixed);
    output.mentions(place);
    project.gonto(&["run", "one"]).run().ends_with(0).prints(&fixed);
}
