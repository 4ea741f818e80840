//! Signals: the run ends, its whole tree of processes with it, and the status tells which signal it was.

use rustix::process::Signal;

use crate::support::{Behaviour, Caller, Project, Server, callers, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi}";

/// The signals that people and systems send, and the exit status for each.
const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

#[test]
fn a_signal_during_the_script_ends_all_that_it_has_started() {
    for caller in callers() {
        for (signal, status) in SIGNALS {
            let project = Project::of(
                caller,
                &format!(
                    "build:
  requires: [{TOOL}]
  script: |
    sleep 1000 & setsid sleep 1000 & (trap '' TERM INT HUP; sleep 1000) & (sh -c 'sleep 1000; true') & echo ready; read x
    echo next
  after_script: echo after
"
                ),
            );
            let mut run = project.gonto(&["run", "build"]).start();
            run.wait_for("ready");
            run.signal(signal);
            let output = run.end().ends_with(status).prints("ready\n");
            output.mentions("error: interrupted").mentions("unmounting the images");
            project.assert_clean();
        }
    }
}

#[test]
fn a_script_that_takes_a_signal_for_success_was_interrupted_all_the_same() {
    for caller in callers() {
        let project = Project::of(
            caller,
            &format!(
                "build:
  requires: [{TOOL}]
  script: |
    trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done
    echo next
  after_script: echo after
"
            ),
        );
        let mut run = project.gonto(&["run", "build"]).start();
        run.wait_for("ready");
        run.signal(Signal::TERM);
        run.end().ends_with(143).prints("ready\ncleaned up\n");
        project.assert_clean();
    }
}

#[test]
fn the_second_signal_ends_what_does_not_end_by_itself() {
    for caller in callers() {
        let project = Project::of(
            caller,
            &format!(
                "build:
  requires: [{TOOL}]
  script: trap 'echo no' TERM; echo ready; while :; do sleep 1000 & wait; done
"
            ),
        );
        let mut run = project.gonto(&["run", "build"]).start();
        run.wait_for("ready");
        run.signal(Signal::TERM);
        run.wait_for("no");
        run.signal(Signal::INT);
        run.end().ends_with(143);
        project.assert_clean();
    }
}

#[test]
fn a_signal_to_the_process_group_is_one_signal() {
    for caller in callers() {
        let project = Project::of(
            caller,
            &format!(
                "build: {{requires: [{TOOL}], script: 'sleep 1000 & echo ready; read x', after_script: echo after}}"
            ),
        );
        let mut run = project.gonto(&["run", "build"]).start_in_group();
        run.wait_for("ready");
        run.signal_group(Signal::INT);
        run.end().ends_with(130).prints("ready\n");
        project.assert_clean();
    }
}

/// The terminal sends SIGINT to all; a script that cleans up then is left the time for it, and gets no second signal.
#[test]
fn ctrl_c_at_a_terminal_lets_the_script_clean_up() {
    if !std::path::Path::new("/usr/bin/script").exists() {
        skipped("no terminal without script(1)");
        return;
    }
    let project = Project::of(
        Caller::Current,
        &format!(
            "build:
  requires: [{TOOL}]
  script: |
    trap 'trap \"echo twice\" INT TERM; echo cleaning; ls ROOT/state/mnt/tool_v1.0_multi; echo cleaned; exit 3' INT; echo ready; while :; do sleep 1000 & wait; done
    echo next
  after_script: echo after
"
        ),
    );
    let mut run = project.gonto(&["run", "build"]).at_a_terminal().start();
    run.wait_for("ready");
    run.type_keys("\u{3}");
    run.wait_for("cleaned");
    let output = run.end().ends_with(130);
    for line in ["twice", "next", "after"] {
        assert!(!output.stdout.lines().any(|printed| printed == line), "{line}: {}", output.stdout);
    }
    assert!(output.stdout.contains("library"), "{}", output.stdout);
    project.assert_clean();
}

#[test]
fn before_script_and_after_script_are_interrupted_too() {
    let wait = "echo ready; read x";
    for (targets, stdout) in [
        (format!("build: {{requires: [{TOOL}], before_script: '{wait}', script: echo script}}"), "ready\n"),
        (
            format!("build: {{requires: [{TOOL}], script: echo script, after_script: '{wait}'}}"),
            "script\nready\n",
        ),
    ] {
        for caller in callers() {
            let project = Project::of(caller, &targets);
            let mut run = project.gonto(&["run", "build"]).start();
            run.wait_for("ready");
            run.signal(Signal::TERM);
            run.end().ends_with(143).prints(stdout);
            project.assert_clean();
        }
    }
}

#[test]
fn a_signal_ends_a_download_that_stalls() {
    for caller in callers() {
        for command in ["run", "pull", "mount"] {
            let project = Project::of(caller, "");
            let server = Server::start(&project.path("repository"), Behaviour::StallMidBody);
            project.configure_with(
                &server.url(),
                &format!("build: {{requires: [{TOOL}], script: echo script}}"),
            );
            for (signal, status) in SIGNALS {
                let run = project.gonto(&[command, "build"]).start();
                server.wait_until_stalled();
                run.signal(signal);
                run.end().ends_with(status).prints("").mentions("error: interrupted");
                assert!(!project.cached("tool", "1.0").exists());
                let partial = project.path("cache/.gonto/partial");
                assert_eq!(std::fs::read_dir(partial).unwrap().count(), 0, "{caller:?} {command}");
            }
        }
    }
}

/// Whatever waits for another gonto stops waiting, and the status tells why.
#[test]
fn a_signal_ends_the_wait_for_another_gonto() {
    for caller in callers() {
        let project = Project::of(
            caller,
            &format!("plain: {{script: echo script}}\nbuild: {{requires: [{TOOL}], script: echo script}}"),
        );
        project.gonto(&["pull", "build"]).run().ends_with(0);
        project.gonto(&["run", "plain"]).run().ends_with(0);
        let register =
            std::fs::File::options().write(true).open(project.path("state/register/lock")).unwrap();
        for (command, target) in [("run", "plain"), ("run", "build"), ("mount", "build"), ("umount", "build")]
        {
            register.lock().unwrap();
            let mut waiting = project.gonto(&[command, target]).start();
            waiting.wait_for_message("warning: waiting for another gonto");
            waiting.signal(Signal::INT);
            let output = waiting.end();
            register.unlock().unwrap();
            let output = output.ends_with(130).prints("");
            assert!(output.stderr.ends_with("error: interrupted\n"), "{command} {target}: {}", output.stderr);
            project.assert_clean();
        }
    }
}

/// nohup and `trap '' INT` mean the program and all that it starts.
#[test]
fn signals_that_were_ignored_at_the_start_stay_ignored() {
    for caller in callers() {
        let project = Project::of(
            caller,
            &format!(
                "build: {{requires: [{TOOL}], script: 'grep SigIgn /proc/self/status; echo ready; read x'}}"
            ),
        );
        let mut run = project.gonto_without_terminal(&["run", "build"]).start();
        run.wait_for("ready");
        run.signal(Signal::HUP);
        run.signal(Signal::INT);
        run.signal(Signal::TERM);
        // The first signal that is heeded gives the status.
        let output = run.end().ends_with(143);
        let ignored = output.stdout.split_whitespace().nth(1).unwrap();
        assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 0b11, 0b11, "{ignored}");
        project.assert_clean();

        let mut run = project.gonto_without_terminal(&["run", "build"]).start();
        run.wait_for("ready");
        run.signal(Signal::INT);
        run.tell("go on");
        run.end().ends_with(0);
        project.assert_clean();
    }
}
