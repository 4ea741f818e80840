//! The road that was asked for, on the command line or in the configuration, is the one that is taken.

use crate::support::{Caller, Project, callers};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi, env: {T: '{{mount_point}}'}}";

/// What a script prints that was mounted by the kernel, by FUSE, and what it prints of unpacked files. The mount table of the run tells.
const BY_THE_KERNEL: &str = "erofs\n";
const SERVED: &str = "fuse.gonto\n";
const UNPACKED: &str = "unpacked\n";

fn project(caller: Caller) -> Project {
    let below = "grep ' ROOT/state/ns/[0-9]*/lower ' /proc/mounts | cut -d' ' -f3";
    let unpacked = "grep -q lowerdir=ROOT/cache/.gonto/trees/tool /proc/mounts && echo unpacked || true";
    let targets = format!(
        "build:
  requires: [{TOOL}]
  script: |
    test -x ${{T}}bin/pebble
    echo x >${{T}}new
    {below}
    {unpacked}
"
    );
    Project::of(caller, &targets)
}

#[test]
fn a_run_takes_the_road_that_was_asked_for() {
    for caller in callers() {
        let project = project(caller);
        let run = |backend: &str| project.gonto(&["run", "build", "--backend", backend]).run().ends_with(0);
        run("fuse").prints(SERVED);
        assert!(!project.path("cache/.gonto/trees").exists());
        let reason = "into the cache, because the backend extract was chosen";
        run("extract").prints(UNPACKED).mentions("warning: unpacking ").mentions(reason);
        if caller.is_root() {
            run("erofs").prints(BY_THE_KERNEL);
            run("auto").prints(BY_THE_KERNEL);
        } else {
            let only = "caused by: only the system's root may have the kernel mount an index\n";
            let output = project.gonto(&["run", "build", "--backend", "erofs"]).run().ends_with(1);
            output.prints("").mentions(only);
            run("auto").prints(SERVED);
        }
        // That the files are there already is no reason to take them.
        run("fuse").prints(SERVED);
        project.assert_clean();
    }
}

#[test]
fn the_configuration_chooses_and_the_command_line_overrides_it() {
    for caller in callers() {
        let project = project(caller);
        project.write("home/gonto.yaml", "gonto: {backend: extract}");
        project.give_away();
        project.gonto(&["run", "build"]).run().ends_with(0).prints(UNPACKED);
        project.gonto(&["--backend", "fuse"]).run().ends_with(2);
        project.gonto(&["run", "--backend", "fuse", "build"]).run().ends_with(0).prints(SERVED);
        // As with every key, the project's file goes before the one of the home folder.
        project.write("project/.gonto.yaml", "gonto: {backend: fuse}");
        project.give_away();
        project.gonto(&["run", "build"]).run().ends_with(0).prints(SERVED);
        project.assert_clean();
    }
}

#[test]
fn a_backend_that_nobody_knows_is_told_with_those_that_there_are() {
    let project = project(Caller::Current);
    let output = project.gonto(&["run", "build", "--backend", "fues"]).run().ends_with(2).prints("");
    output.mentions("[possible values: auto, erofs, fuse, virtdisk, extract]");
    project.write("home/gonto.yaml", "gonto: {backend: fues}");
    let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("");
    output.mentions("home/gonto.yaml:1:18").mentions("did you mean `fuse`?");
}

/// One configuration serves both systems, so the name is known; it is the road that is not there.
#[test]
fn a_backend_of_windows_is_an_error_that_names_those_of_this_system() {
    let project = project(Caller::Current);
    for command in ["run", "mount"] {
        let output =
            project.gonto(&[command, "build", "--backend", "virtdisk"]).run().ends_with(1).prints("");
        output.mentions("the backend virtdisk does not exist on linux: use auto, erofs, fuse or extract");
        project.assert_clean();
    }
}

#[test]
fn a_road_that_is_closed_is_an_error_and_not_another_road() {
    for caller in [Caller::RootWithoutFuse, Caller::OrdinaryWithoutFuse, Caller::WithoutNamespaces] {
        if !caller.is_possible() {
            continue;
        }
        let project = project(caller);
        for command in ["run", "mount"] {
            let output =
                project.gonto(&[command, "build", "--backend", "fuse"]).run().ends_with(1).prints("");
            assert!(!output.stderr.contains("unpacking"), "{caller:?}:\n{}", output.stderr);
            let output = output.mentions(
                "caused by: the backend fuse does not work here: gonto doctor tells which ones do, and what the others \
                 need; or choose the backend auto\n",
            );
            let why = match (caller, command) {
                (Caller::WithoutNamespaces, "run") => "user namespaces are not allowed here",
                (Caller::RootWithoutFuse, "mount") => "FUSE cannot be mounted: ",
                (_, "mount") => "fusermount3 ",
                _ => "/dev/fuse cannot be used: ",
            };
            output.mentions("caused by: cannot mount ").mentions(&format!("caused by: {why}"));
            project.assert_clean();
        }
        // The others are as open as they were.
        project.gonto(&["run", "build", "--backend", "extract"]).run().mentions("warning: unpacking ");
        project.assert_clean();
    }
}

#[test]
fn what_is_mounted_for_everybody_takes_the_road_that_was_asked_for() {
    let project = project(Caller::Current);
    let at = project.path("state/mnt/tool_v1.0_multi");
    project.gonto(&["mount", "build", "--backend", "extract"]).run().ends_with(0).mentions("unpacking ");
    assert!(at.is_symlink() && at.join("bin/pebble").is_file());
    // Who wants the same image joins, whatever road it came by.
    project.gonto(&["mount", "build", "--backend", "fuse"]).run().ends_with(0).mentions(" is mounted tool");
    project.gonto(&["umount", "build"]).run().ends_with(0);
    project.gonto(&["mount", "build", "--backend", "auto"]).run().ends_with(0);
    assert!(at.join("bin/pebble").is_file());
    project.gonto(&["umount", "build"]).run().ends_with(0);
    project.assert_clean();
}
