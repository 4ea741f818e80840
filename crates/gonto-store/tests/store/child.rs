//! Fetching in a process of its own: this test binary again, running the one test at the end of this file.

use std::env;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gonto_store::Event;

use crate::{chain, image, store};

const CACHE: &str = "GONTO_STORE_TEST_CACHE";
const REPOSITORY: &str = "GONTO_STORE_TEST_REPOSITORY";
const REPORT: &str = "GONTO_STORE_TEST_REPORT";

/// A process that fetches the image.
pub(crate) struct Fetcher {
    command: Command,
    report: PathBuf,
}

impl Fetcher {
    /// `report` is a file that the process writes its outcome to.
    pub(crate) fn new(cache: &Path, repository: &str, report: &Path) -> Fetcher {
        let mut command = Command::new(env::current_exe().unwrap());
        Fetcher::arguments(&mut command);
        Fetcher { command, report: report.to_owned() }.with_task(cache, repository)
    }

    /// The same, started by `sh` after the commands `before`.
    #[cfg(target_os = "linux")]
    pub(crate) fn in_shell(before: &str, cache: &Path, repository: &str, report: &Path) -> Fetcher {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{before}; exec \"$@\"")).arg("sh").arg(env::current_exe().unwrap());
        Fetcher::arguments(&mut command);
        Fetcher { command, report: report.to_owned() }.with_task(cache, repository)
    }

    fn arguments(command: &mut Command) {
        command.args(["--exact", "child::fetches_when_told_to", "--test-threads=1"]);
    }

    fn with_task(mut self, cache: &Path, repository: &str) -> Fetcher {
        self.command.env(CACHE, cache).env(REPOSITORY, repository).env(REPORT, &self.report);
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self
    }

    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Fetcher {
        self.command.env(name, value);
        self
    }

    pub(crate) fn start(&mut self) -> Child {
        self.command.spawn().unwrap()
    }

    /// Runs the process to its end, and returns "ok", or the error with all of its causes.
    pub(crate) fn outcome(mut self) -> String {
        let status = self.command.status().unwrap();
        let report = self.report();
        assert!(status.success() && report != "waiting", "{status}, {report}");
        report
    }

    /// What the process has reported so far: nothing, "waiting", or its outcome.
    pub(crate) fn report(&self) -> String {
        fs::read_to_string(&self.report).unwrap_or_default()
    }
}

/// Does nothing, except in a process that a [`Fetcher`] has started.
#[test]
fn fetches_when_told_to() {
    let (Some(cache), Ok(repository), Some(report)) =
        (env::var_os(CACHE), env::var(REPOSITORY), env::var_os(REPORT))
    else {
        return;
    };
    let outcome = store(Path::new(&cache), &repository).fetch(&image(), &mut |event| {
        if event == Event::Waiting {
            fs::write(&report, "waiting").unwrap();
        }
        ControlFlow::Continue(())
    });
    let outcome = match outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => chain(&error),
    };
    fs::write(&report, outcome).unwrap();
}
