//! Caches and repositories in folders with unusual names.

use std::fs;
use std::path::Path;

use super::{TOOL, example};
use crate::support::{Project, skipped};

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
