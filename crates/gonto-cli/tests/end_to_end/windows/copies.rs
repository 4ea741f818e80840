//! What is written to an image is for the run that writes it.

use std::fs;
use std::os::windows::fs::OpenOptionsExt;

use super::{TOOL, example};
use crate::support::{Project, is_wine};

/// Others may read the file, and not write or delete it.
const FILE_SHARE_READ: u32 = 1;

fn requires(more: &str) -> String {
    format!("requires: [{{{TOOL}, env: {{TOOL: '{{{{mount_point}}}}'}}}}]{more}")
}

#[test]
fn what_a_run_does_to_an_image_is_seen_by_the_run_and_undone_for_the_next() {
    let requires = requires("");
    let project = Project::with_tool(&format!(
        "change:
  {requires}
  script: |
    echo mine> \"%TOOL%new.txt\"
    mkdir \"%TOOL%folder\\deep\"
    echo changed> \"%TOOL%bin\\pebble\"
    echo changed>> \"%TOOL%compiler\\elf.awk\"
    del \"%TOOL%compiler\\main.awk\"
    rmdir /s /q \"%TOOL%library\"
    type \"%TOOL%new.txt\" \"%TOOL%bin\\pebble\"
    if not exist \"%TOOL%library\" if not exist \"%TOOL%compiler\\main.awk\" echo gone
look:
  {requires}
  script: |
    if exist \"%TOOL%new.txt\" echo left
    if exist \"%TOOL%folder\" echo left
    type \"%TOOL%compiler\\main.awk\" \"%TOOL%library\\fixed.peb\" \"%TOOL%bin\\pebble\" \"%TOOL%compiler\\elf.awk\""
    ));
    let look = |project: &Project| project.gonto(&["run", "look"]).run().ends_with(0).stdout;
    let before = look(&project);
    let changed = project.gonto(&["run", "change"]).run().ends_with(0);
    assert!(changed.stdout.contains("mine\n") && changed.stdout.contains("changed\n"), "{}", changed.stdout);
    assert!(changed.stdout.ends_with("gone\n"), "{}", changed.stdout);
    assert_eq!(look(&project), before);
    assert!(before.lines().count() > 20 && !before.contains("left"), "{before}");
    project.assert_clean();
    assert!(project.copies("tool").len() <= 1, "the same copy is used again");
}

#[test]
fn runs_at_the_same_time_do_not_see_each_other() {
    let requires = requires("");
    let project = Project::with_tool(&format!(
        "first:
  {requires}
  script: |
    echo first> \"%TOOL%bin\\pebble\"
    echo written
    set /p go=
    type \"%TOOL%bin\\pebble\"
    if not exist \"%TOOL%second.txt\" echo alone
second:
  {requires}
  script: |
    echo second> \"%TOOL%second.txt\"
    type \"%TOOL%bin\\pebble\""
    ));
    let mut first = project.gonto(&["run", "first"]).start();
    first.wait_for("written");
    let second = project.gonto(&["run", "second"]).run().ends_with(0);
    assert_eq!(second.stdout, example("bin/pebble"));
    first.tell("go");
    first.end().ends_with(0).prints("written\nfirst\nalone\n");
    project.assert_clean();
}

#[test]
fn what_is_in_an_image_without_a_layer_stays_as_it_is() {
    let requires = requires("");
    // Wine asks the system below, where root may write everything.
    let write = if is_wine() { "rem" } else { "echo x>" };
    let project = Project::with_tool(&format!(
        "one:
  {requires}
  script: |
    type \"%TOOL%library\\fixed.peb\"
    {write} \"%TOOL%library\\fixed.peb\" & exit 0
    del \"%TOOL%library\\fixed.peb\" & exit 0
    type \"%TOOL%library\\fixed.peb\""
    ));
    let text = example("library/fixed.peb");
    for _ in 0..2 {
        let output = project.gonto(&["run", "--layer", "none", "one"]).run().ends_with(0);
        output.prints(&format!("{text}{text}"));
        project.assert_clean();
    }
}

#[test]
fn runs_that_only_read_share_a_copy_and_do_not_wait_for_each_other() {
    let requires = requires("");
    let project = Project::with_tool(&format!(
        "first:
  {requires}
  script: |
    echo %TOOL%
    set /p go=
second: {{{requires}, script: echo %TOOL%}}"
    ));
    let reading = ["--layer", "none", "--backend", "extract"];
    let mut first = project.gonto(&[&["run", "first"][..], &reading].concat()).start();
    first.wait_for_message("set /p");
    let second = project.gonto(&[&["run", "second"][..], &reading].concat()).run().ends_with(0);
    first.tell("go");
    first.end().ends_with(0).prints(&second.stdout);
    project.assert_clean();
}

/// An editor, a virus scanner, a program that has outlived its run by other means.
#[test]
fn a_file_of_a_copy_that_somebody_else_uses_does_not_stop_a_run() {
    let requires = requires("");
    let project = Project::with_tool(&format!(
        "one:
  {requires}
  script: |
    type \"%TOOL%library\\fixed.peb\"
    echo changed> \"%TOOL%library\\fixed.peb\""
    ));
    let text = example("library/fixed.peb");
    let run = || project.gonto(&["run", "--backend", "extract", "one"]).run();
    run().ends_with(0).prints(&text);
    let file = project.copies("tool").remove(0).join("library").join("fixed.peb");
    let user = fs::File::options().read(true).share_mode(FILE_SHARE_READ).open(file).unwrap();
    run().ends_with(0).prints(&text);
    drop(user);
    run().ends_with(0).prints(&text);
    project.assert_clean();
}
