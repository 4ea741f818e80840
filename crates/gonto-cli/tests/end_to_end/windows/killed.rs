//! What a killed gonto leaves does not stop the next one.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::{TOOL, example};
use crate::support::{Drive, Project};

#[test]
fn what_a_run_leaves_that_is_killed_in_its_script_is_removed_by_the_next() {
    let project = Project::with_tool(&format!(
        "one:
  requires: [{{{TOOL}, mount_point: 'M:\\'}}]
  script: |
    echo mine> M:\\bin\\pebble
    echo there
    set /p go=
two: {{requires: [{{{TOOL}, mount_point: 'M:\\'}}], script: 'type M:\\bin\\pebble'}}"
    ));
    let _drive = Drive::new('M', &project, "two", "tool");
    let mut run = project.gonto(&["run", "one"]).start();
    run.wait_for("there");
    run.kill();
    assert_eq!(project.names("state/register").len(), 3, "the entry, its lock and that of the register");
    let next = project.gonto(&["run", "two"]).run().ends_with(0).prints(&example("bin/pebble"));
    next.mentions("warning: removed what a killed gonto had left at M:\\\n");
    project.assert_clean();
}

#[test]
fn what_a_run_leaves_that_is_killed_while_it_unpacks_is_put_right_by_the_next() {
    let project = Project::new("");
    for number in 0..600 {
        let content = format!("file {number}\n").repeat(500);
        project.write(&format!("project/in/folder-{}/{number}.txt", number % 7), content);
    }
    let image = r"..\repository\big\big_v1_multi.vhdx";
    fs::create_dir_all(project.path("repository/big")).unwrap();
    project.gonto(&["create", "in", image]).run().ends_with(0);
    let big = "name: big, version: '1', platform: multi, format: vhdx, env: {BIG: '{{mount_point}}'}";
    project.configure(&format!(
        "one: {{requires: [{{{big}}}], script: 'type \"%BIG%folder-0\\7.txt\" \"%BIG%folder-3\\598.txt\"'}}"
    ));
    // A machine that is busy elsewhere may look too late.
    let in_time = (0..10).any(|_| {
        let _ = fs::remove_dir_all(project.path("cache/.gonto/trees"));
        kill_while_unpacking(&project)
    });
    assert!(in_time);
    let next = project.gonto(&["run", "--backend", "extract", "one"]).run().ends_with(0);
    let content = |number: u32| format!("file {number}\n").repeat(500);
    assert!(next.stdout == content(7) + &content(598), "{}", next.stdout);
    next.mentions("warning: removed what a killed gonto had left at ");
    project.assert_clean();
    // All of it is there.
    let [copy] = &project.copies("big")[..] else { panic!("one copy is expected") };
    for number in 0..600 {
        let file = copy.join(format!("folder-{}", number % 7)).join(format!("{number}.txt"));
        assert!(fs::read_to_string(&file).unwrap() == content(number), "{}", file.display());
    }
}

/// False when all was unpacked before the run was killed.
fn kill_while_unpacking(project: &Project) -> bool {
    let run = project.gonto(&["run", "--backend", "extract", "one"]).start();
    let deadline = Instant::now() + Duration::from_secs(120);
    let has_files = |copy: &PathBuf| copy.read_dir().is_ok_and(|mut found| found.next().is_some());
    while !project.copies("big").iter().any(has_files) {
        assert!(Instant::now() < deadline, "nothing is unpacked");
        thread::sleep(Duration::from_millis(1));
    }
    !run.kill().stderr.contains("mounted big/")
}
