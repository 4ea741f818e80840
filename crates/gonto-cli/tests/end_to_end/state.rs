//! Where the state folder is when nobody has named one.

use crate::support::{Project, callers};

/// Else each folder in which the program is started would get a state folder of its own.
#[test]
fn a_home_that_is_no_absolute_path_is_none() {
    for caller in callers() {
        if caller.is_root() {
            // Root's state folder is fixed.
            continue;
        }
        let project = Project::of(caller, "build: {script: echo script}");
        project.write("temporary/kept", "");
        project.give_away();
        let call = |home: &str| {
            let call = project.gonto(&["run", "build"]).env("GONTO_STATE_DIR", "").env("HOME", home);
            call.env("TMPDIR", &project.path("temporary").to_string_lossy()).run().ends_with(0);
        };
        let temporary = project.path(&format!("temporary/gonto-{}/register", caller.ids().0));
        call(&project.path("home").to_string_lossy());
        assert!(project.path("home/.local/state/gonto/register").is_dir());
        assert!(!temporary.exists());
        call("relative");
        assert!(!project.path("project/relative").exists());
        assert!(temporary.is_dir());
        project.assert_nothing_runs();
    }
}
