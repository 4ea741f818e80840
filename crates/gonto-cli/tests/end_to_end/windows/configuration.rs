//! Where the configuration comes from, and what `gonto doctor` makes of it.

use std::fs;

use crate::support::Project;

/// A folder of its own for the program: what lies beside the one that is tested would be read by every test.
#[test]
fn the_folders_of_the_program_the_profile_and_the_caller_are_read_and_merged_in_this_order() {
    let project = Project::new("");
    project.write(
        "program/gonto.yaml",
        "gonto: {cache_dir: c, repository: r}
targets:
  every: {env: {A: program, B: program, C: program}, script: 'echo %A% %B% %C%'}
  of-the-program: {script: x}
",
    );
    project.write(
        "home/.gonto.yml",
        "targets: {of-the-profile: {script: x}, every: {env: {B: profile, C: profile}}}",
    );
    project.write("project/gonto.yaml", "targets: {every: {env: {C: caller}}, of-the-caller: {script: x}}");
    let program = project.path("program").join("gonto.exe");
    // No hard link: it could not be removed as long as the program runs in another test.
    fs::copy(env!("CARGO_BIN_EXE_gonto"), &program).unwrap();

    let listed = project.gonto_at(&program, &["list"]).run().ends_with(0);
    listed.prints("every\nof-the-program\nof-the-profile\nof-the-caller\n").says("");
    let run = project.gonto_at(&program, &["run", "every"]).run().ends_with(0);
    run.prints("program profile caller\n").says("    running script\n$ echo %A% %B% %C%\n");
}

#[test]
fn without_a_state_folder_of_its_own_gonto_uses_that_of_the_profile() {
    let project = Project::with_tool("one: {script: 'echo done'}");
    let local = project.path("home").join("Local");
    fs::create_dir(&local).unwrap();
    let gonto = project.gonto(&["run", "one"]).env("GONTO_STATE_DIR", "");
    gonto.env("LOCALAPPDATA", local.to_str().unwrap()).run().ends_with(0).prints("done\n");
    assert_eq!(project.names("home/Local/gonto/register"), ["lock"]);
}

#[test]
fn doctor_tells_what_works_and_leaves_nothing() {
    let project = Project::with_tool("one: {script: x}");
    let doctor = project.gonto(&["doctor"]).run().says("");
    for title in ["roads of gonto run:\n", "roads of gonto mount:\n"] {
        let (_, section) = doctor.stdout.split_once(title).unwrap_or_else(|| panic!("{}", doctor.stdout));
        let line = |road: &str| section.lines().find(|line| line.trim_start().starts_with(road)).unwrap();
        assert!(line("extract").ends_with(" works"), "{}", doctor.stdout);
        // Those who may not attach disks are told how to get there.
        let attaching = line("virtdisk");
        let attaches = attaching.ends_with(" works");
        assert!(attaches || attaching.contains(". Remedy: "), "{}", doctor.stdout);
        assert_eq!(doctor.status, i32::from(!attaches), "unpacking is not mounting");
    }
    for (name, ending) in
        [("cache folder", " works"), ("state folder", " works"), ("drive letters", " works")]
    {
        let line = doctor.stdout.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        assert!(line.ends_with(ending), "{line}");
    }
    assert_eq!(project.names("cache/.gonto"), [""; 0]);
    assert_eq!(project.names("state"), [""; 0]);
}
