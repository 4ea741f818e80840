//! `kill -9` of the program at many moments: no process and no mount stays, the next run works, and it clears away what
//! the dead one had left on the disk.

use std::fs;

use rustix::process::Signal;

use crate::support::{Behaviour, Caller, Project, Running, Server, callers, callers_by_roads};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi, mount_point: ROOT/home/made/tool, env: {T: '{{mount_point}}'}}";

/// Something that does not end by itself, in all the ways that scripts start things.
const BACKGROUND: &str = "sleep 1000 & (setsid sleep 1000 &) ; (trap \\\"\\\" TERM HUP INT; sleep 1000) &";

/// What the next run prints.
const WORKS: &str = "bin\ncompiler\nlibrary\n";

/// A script of one line that waits at `point`.
fn targets(point: &str) -> String {
    let line = |name: &str, work: &str| {
        if point == name {
            format!("{name}: \"{BACKGROUND} {work}; echo ready; read x\"")
        } else {
            format!("{name}: \"{work}\"")
        }
    };
    let (before, script, after) = (
        line("before_script", "true"),
        line("script", "echo x >${T}new; rm -r ${T}library; mkdir -m 0 ${T}closed"),
        line("after_script", "true"),
    );
    format!(
        "build: {{requires: [{TOOL}], {before}, {script}, {after}}}\nworks: {{requires: [{TOOL}], script: ls $T}}\n"
    )
}

#[test]
fn scripts_end_with_the_program_and_the_next_run_works() {
    for caller in Caller::all() {
        // Without a namespace, files cannot be written (see the test below), or the mounts are everybody's: those stay
        // until the next gonto in the same mount namespace, and each call in a change of root has one of its own.
        if matches!(caller, Caller::WithoutNamespaces | Caller::OrdinaryInChroot) {
            continue;
        }
        for point in ["before_script", "script", "after_script"] {
            let project = Project::of(caller, &targets(point));
            let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
            let mut run = project.gonto(&["run", "build"]).start();
            run.wait_for("ready");
            kill(run);
            next_run_works(&project, &image);
        }
    }
}

#[test]
fn without_namespaces_processes_end_with_the_program_all_the_same() {
    let caller = Caller::WithoutNamespaces;
    if !Caller::all().contains(&caller) {
        return;
    }
    let targets = format!(
        "build: {{requires: [{TOOL}], script: \"{BACKGROUND} echo ready; read x\"}}
works: {{requires: [{TOOL}], script: ls $T}}
"
    );
    let project = Project::of(caller, &targets);
    let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
    let mut run = project.gonto(&["run", "build"]).start();
    run.wait_for("ready");
    kill(run);
    next_run_works(&project, &image);
}

#[test]
fn downloads_leave_nothing_that_the_next_one_does_not_clear_away() {
    for caller in callers() {
        let project = Project::of(caller, "");
        let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
        let server = Server::start(&project.path("repository"), Behaviour::StallMidBody);
        project.configure_with(&server.url(), &targets("script"));
        for command in ["run", "pull", "mount"] {
            let run = project.gonto(&[command, "build"]).start();
            server.wait_until_stalled();
            kill(run);
            assert!(!project.cached("tool", "1.0").exists());
        }
        project.configure(&targets("script"));
        next_run_works(&project, &image);
    }
}

/// Killed when it says each of its steps: between a step's line and the next one something is half done.
#[test]
fn no_moment_is_a_bad_one() {
    for caller in callers_by_roads() {
        for message in [
            "running before_script",
            "missing tool",
            "downloading tool",
            "downloaded tool",
            "mounted tool",
            "running script",
            "$ echo x",
            "unmounting",
            "running after_script",
        ] {
            let project = Project::of(caller, &targets("never"));
            let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
            let mut run = project.gonto(&["run", "build"]).start();
            run.wait_for_message(message);
            kill(run);
            next_run_works(&project, &image);
        }
    }
}

/// One is killed, the other goes on: nothing is taken away from it.
#[test]
fn a_run_beside_the_killed_one_is_not_disturbed() {
    for caller in callers_by_roads() {
        let target = |name: &str| {
            format!(
                "{name}: {{requires: [{TOOL}], script: \"echo x >${{T}}{name}; echo ready; read x; ls $T\"}}\n"
            )
        };
        let project = Project::of(
            caller,
            &(target("one") + &target("two") + &format!("works: {{requires: [{TOOL}], script: ls $T}}")),
        );
        let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
        project.gonto(&["pull", "one"]).run().ends_with(0);
        let runs = ["one", "two"].map(|name| {
            let mut run = project.gonto(&["run", name]).start();
            run.wait_for("ready");
            run
        });
        runs[0].signal(Signal::KILL);
        let [one, mut two] = runs;
        one.end().ends_with(137);
        // A third run clears up after the first, while the second is there.
        project.gonto(&["run", "works"]).run().ends_with(0).prints(WORKS);
        two.tell("go");
        two.end().ends_with(0).prints("ready\nbin\ncompiler\nlibrary\ntwo\n");
        next_run_works(&project, &image);
    }
}

fn kill(run: Running) {
    run.signal(Signal::KILL);
    // It may have been faster than the signal.
    let status = run.end().status;
    assert!([0, 137].contains(&status), "{status}");
}

#[track_caller]
fn next_run_works(project: &Project, image: &[u8]) {
    // The kernel ends what is left while the next run begins; here, nothing may depend on who is first.
    project.assert_nothing_runs();
    project.gonto(&["run", "works"]).run().ends_with(0).prints(WORKS);
    assert!(fs::read(project.cached("tool", "1.0")).unwrap() == image, "the image has changed");
    assert!(!project.path("home/made").exists(), "the mount point's folders are left");
    project.assert_clean();
}
