//! Registry values of images, as another program reads them: `reg`.

use std::process::{Command, Stdio};

use super::TOOL;
use crate::support::Project;

/// A key of this test, which was there before with a value of its own.
struct Key {
    path: String,
}

impl Key {
    fn new(name: &str) -> Self {
        let key = Self { path: format!(r"Software\gonto-test-{}-{name}", std::process::id()) };
        key.reg(&["add", "{}", "/v", "Before", "/t", "REG_DWORD", "/d", "7", "/f"]).unwrap();
        key
    }

    /// What `reg` prints; none when it fails. `{}` stands for the key.
    fn reg(&self, arguments: &[&str]) -> Option<String> {
        let key = format!(r"HKCU\{}", self.path);
        let arguments = arguments.iter().map(|argument| argument.replace("{}", &key));
        let output = Command::new("reg").args(arguments).stdin(Stdio::null()).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Two values, one of which was there, and a key that was not.
    fn requirement(&self) -> String {
        let root = format!("root: HKEY_CURRENT_USER, path: '{}", self.path);
        format!(
            "{{{TOOL}, env: {{T: '{{{{mount_point}}}}'}}, reg: [
      {{{root}', name: Before, data: 'at {{{{mount_point}}}}bin'}},
      {{{root}\\New\\Inner', name: Count, type: REG_DWORD, data: 42}}]}}"
        )
    }

    #[track_caller]
    fn assert_written(&self) {
        let before = self.reg(&["query", "{}", "/v", "Before"]).unwrap();
        assert!(before.contains("REG_SZ    at ") && before.trim_end().ends_with(r"\bin"), "{before}");
        let inner = self.reg(&["query", r"{}\New\Inner", "/v", "Count"]).unwrap();
        assert!(inner.contains("REG_DWORD") && inner.contains("0x2a"), "{inner}");
    }

    #[track_caller]
    fn assert_as_before(&self) {
        let before = self.reg(&["query", "{}", "/v", "Before"]).unwrap();
        assert!(before.contains("REG_DWORD") && before.contains("0x7"), "{before}");
        assert_eq!(self.reg(&["query", r"{}\New"]), None, "a key that gonto has made");
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.reg(&["delete", "{}", "/f"]);
    }
}

fn mount_point(stdout: &str) -> &str {
    stdout.lines().next().unwrap()
}

#[test]
fn values_are_there_for_the_script_and_what_was_before_comes_back_however_it_ends() {
    let key = Key::new("run");
    let requires = key.requirement();
    let path = &key.path;
    let project = Project::with_tool(&format!(
        "good: {{requires: [{requires}], script: 'echo %T%& reg query \"HKCU\\{path}\" /v Before'}}
bad: {{requires: [{requires}], script: 'exit 7'}}"
    ));
    let output = project.gonto(&["run", "good"]).run().ends_with(0);
    assert!(output.stdout.contains(&format!("at {}bin", mount_point(&output.stdout))), "{}", output.stdout);
    key.assert_as_before();
    project.gonto(&["run", "bad"]).run().ends_with(7);
    key.assert_as_before();
    project.assert_clean();
}

#[test]
fn what_was_before_comes_back_with_the_gonto_that_follows_a_killed_one() {
    let key = Key::new("kill");
    let requires = key.requirement();
    let project = Project::with_tool(&format!(
        "one:
  requires: [{requires}]
  script: |
    echo %T%
    echo there
    set /p go=
two: {{script: echo two}}"
    ));
    let mut run = project.gonto(&["run", "one"]).start();
    run.wait_for("there");
    run.kill();
    key.assert_written();
    project.gonto(&["run", "two"]).run().ends_with(0).prints("two\n");
    key.assert_as_before();
    project.assert_clean();
}

#[test]
fn values_stay_from_mount_to_umount() {
    let key = Key::new("mount");
    let requires = key.requirement();
    let project = Project::with_tool(&format!("one: {{requires: [{requires}], script: echo %T%}}"));
    for _ in 0..2 {
        project.gonto(&["mount", "one"]).run().ends_with(0);
    }
    key.assert_written();
    // Nor does a run that sets the same take them away.
    project.gonto(&["run", "one"]).run().ends_with(0);
    key.assert_written();
    project.gonto(&["umount", "one"]).run().ends_with(0);
    key.assert_as_before();
    project.assert_clean();
}
