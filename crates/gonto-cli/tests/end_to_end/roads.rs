//! What the program does where the system closes the best road: it takes another one, says so once, and the run works.

use std::fs;

use crate::support::{Caller, Project, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi, env: {T: '{{mount_point}}'}}";

fn project(caller: Caller) -> Option<Project> {
    if !caller.is_possible() {
        return None;
    }
    Some(Project::of(
        caller,
        &format!("build: {{requires: [{TOOL}], script: 'ls $T', after_script: echo after}}"),
    ))
}

#[test]
fn without_fuse_an_ordinary_users_image_is_unpacked_once() {
    let Some(project) = project(Caller::OrdinaryWithoutFuse) else { return };
    let first = project.gonto(&["run", "build"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\nafter\n");
    assert_eq!(first.stderr.matches("warning: ").count(), 1, "{}", first.stderr);
    first.mentions("warning: unpacking ").mentions("into the cache, because /dev/fuse cannot be used");
    let second =
        project.gonto(&["run", "build"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\nafter\n");
    assert_eq!(second.stderr.matches("warning: ").count(), 0, "{}", second.stderr);
    project.assert_clean();
}

/// The kernel needs nobody to answer it.
#[test]
fn without_fuse_root_mounts_all_the_same() {
    let Some(project) = project(Caller::RootWithoutFuse) else { return };
    let output =
        project.gonto(&["run", "build"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\nafter\n");
    assert!(!output.stderr.contains("warning: "), "{}", output.stderr);
    assert!(!project.path("cache/.gonto/trees").exists());
    project.assert_clean();
}

#[test]
fn without_namespaces_and_mounts_the_unpacked_files_are_used() {
    let Some(project) = project(Caller::WithoutNamespaces) else { return };
    let output =
        project.gonto(&["run", "build"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\nafter\n");
    assert_eq!(output.stderr.matches("warning: unpacking ").count(), 1, "{}", output.stderr);
    output.mentions("user namespaces are not allowed");
    project.assert_clean();
    project.gonto(&["run", "build"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\nafter\n");
    project.assert_clean();
}

/// What a run writes (or is kept from writing) never reaches the next one.
#[test]
fn unpacked_files_are_not_changed_by_a_run() {
    for caller in [Caller::RootUnpacking, Caller::OrdinaryWithoutFuse, Caller::WithoutNamespaces] {
        let Some(project) = project(caller) else { continue };
        project.configure(&format!(
            "build:
  requires: [{TOOL}]
  script: |
    echo x >${{T}}new; echo x >>${{T}}bin/pebble; rm -rf ${{T}}library; true
look: {{requires: [{TOOL}], script: 'ls $T ${{T}}bin ${{T}}library | wc -l'}}
"
        ));
        project.give_away();
        project.gonto(&["run", "build"]).run().ends_with(0);
        project.gonto(&["run", "look"]).run().ends_with(0).prints("11\n");
        project.assert_clean();
    }
}

#[test]
fn where_fusermount3_works_it_comes_before_unpacking() {
    let caller = Caller::OrdinaryInChroot;
    if !std::path::Path::new("/usr/bin/fusermount3").exists() {
        skipped("fusermount3 is not installed");
        return;
    }
    let Some(project) = project(caller) else { return };
    let output =
        project.gonto(&["run", "build"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\nafter\n");
    assert!(!output.stderr.contains("unpacking"), "{}", output.stderr);
    assert!(!project.path("cache/.gonto/trees").exists());
    project.assert_clean();
}

#[test]
fn mount_unpacks_where_nothing_else_works() {
    let Some(project) = project(Caller::WithoutNamespaces) else { return };
    let output = project.gonto(&["mount", "build"]).run().ends_with(0).prints("");
    output.mentions("warning: unpacking ");
    let mut names: Vec<_> = fs::read_dir(project.path("state/mnt/tool_v1.0_multi"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["bin", "compiler", "library"]);
    project.gonto(&["mount", "build"]).run().ends_with(0).mentions(" is mounted tool");
    project
        .gonto(&["umount", "build"])
        .run()
        .ends_with(0)
        .says("  unmounted ROOT/state/mnt/tool_v1.0_multi\n");
    project.assert_clean();
}
