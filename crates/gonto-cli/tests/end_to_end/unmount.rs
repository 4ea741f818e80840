//! What a run says and how it ends when its images cannot be unmounted.

use rustix::process::Signal;

use crate::support::{Caller, Project, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi}";

/// Where nothing can be mounted, an image is a link, which cannot be removed from a folder that is read-only.
const STUCK: &str = "chmod a-w ROOT/state/mnt";
const CAUSE: &str =
    "  caused by: cannot unmount ROOT/state/mnt/tool_v1.0_multi\n  caused by: Permission denied";

fn project(rest: &str) -> Option<Project> {
    if !Caller::all().contains(&Caller::WithoutNamespaces) {
        skipped("a user without namespaces is not possible here");
        return None;
    }
    Some(Project::of(Caller::WithoutNamespaces, &format!("build:\n  requires: [{TOOL}]\n{rest}")))
}

#[test]
fn an_image_that_cannot_be_unmounted_is_an_error() {
    let Some(project) = project(&format!("  script: {STUCK}\n  after_script: echo after")) else { return };
    let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("after\n");
    output.mentions(&format!("error: an image could not be unmounted\n{CAUSE}"));
}

#[test]
fn a_script_that_fails_goes_first_and_the_image_is_a_warning() {
    for (rest, error) in [
        (
            format!("  script: '{STUCK}; exit 7'\n  after_script: echo after"),
            "error: script failed: \"chmod a-w ROOT/state/mnt; exit 7\" ended with status 7\n",
        ),
        (
            format!("  script: {STUCK}\n  after_script: exit 7"),
            "error: after_script failed: \"exit 7\" ended with status 7\n",
        ),
    ] {
        let Some(project) = project(&rest) else { return };
        let output = project.gonto(&["run", "build"]).run().ends_with(7).prints("");
        let output = output.mentions(&format!("warning: an image could not be unmounted\n{CAUSE}"));
        assert!(output.stderr.ends_with(error), "{}", output.stderr);
    }
}

#[test]
fn an_interrupt_goes_first_too() {
    let Some(project) = project(&format!("  script: '{STUCK}; echo ready; read x'")) else { return };
    let mut run = project.gonto(&["run", "build"]).start();
    run.wait_for("ready");
    run.signal(Signal::TERM);
    let output = run.end().ends_with(143).prints("ready\n");
    let output = output.mentions(&format!("warning: an image could not be unmounted\n{CAUSE}"));
    assert!(output.stderr.ends_with("error: interrupted by a signal\n"), "{}", output.stderr);
}
