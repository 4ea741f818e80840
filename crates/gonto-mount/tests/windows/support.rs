//! A session in a folder of its own.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, thread};

use gonto_mount::{Backend, Command, Error, Interrupt, Layer, Notices, Options, Session};

use crate::{ABOUT, ROLE};

/// STATUS_CONTROL_C_EXIT.
pub(crate) const CONTROL_C_EXIT: i32 = 0xC000_013A_u32.cast_signed();

pub(crate) fn exclusively(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).share_mode(0).open(path)
}

pub(crate) fn session(folder: &Path, interrupt: &Interrupt) -> Session {
    let options = Options {
        state_dir: folder.join("state"),
        cache_dir: folder.join("cache"),
        backend: Backend::Auto,
        layer: Layer::Cache,
        notices: Notices::new(|_| ()),
        interrupt: interrupt.clone(),
    };
    Session::new(options).unwrap()
}

/// That of this test, and the role for those that this program may play.
pub(crate) fn environment(role: &str, about: &str) -> Vec<(OsString, OsString)> {
    let ours = env::vars_os().filter(|(name, _)| name != ROLE && name != ABOUT);
    ours.chain([(ROLE.into(), role.into()), (ABOUT.into(), about.into())]).collect()
}

/// A line that runs this program.
pub(crate) fn this(arguments: &str) -> String {
    format!("\"{}\" --exact role --nocapture {arguments}", env::current_exe().unwrap().display())
}

/// A run in a folder of its own.
pub(crate) struct Run {
    pub(crate) session: Session,
    pub(crate) interrupt: Interrupt,
    /// Removed when nobody uses it any more.
    pub(crate) folder: tempfile::TempDir,
}

impl Run {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::new().unwrap();
        let session = session(folder.path(), &interrupt);
        Self { session, interrupt, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn line(&self, line: &str) -> i32 {
        self.line_as(line, "", "")
    }

    pub(crate) fn line_as(&self, line: &str, role: &str, about: &str) -> i32 {
        let command = Command::shell(line, environment(role, about), self.folder.path());
        self.session.run(&command).unwrap().code().unwrap()
    }

    /// What a line has written to the file `out`.
    pub(crate) fn out(&self) -> String {
        fs::read_to_string(self.path("out")).unwrap()
    }

    pub(crate) fn failure(&self, line: &str, folder: &Path) -> (String, String) {
        match self.session.run(&Command::shell(line, environment("", ""), folder)) {
            Err(Error::Execute { program, source }) => (program, source.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn under_wine() -> bool {
    env::var_os("WINEDATADIR").is_some()
}

pub(crate) fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} did not appear", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a line that never ends by itself, in `session`; calls `then` when it runs.
pub(crate) fn while_running(run: &Run, then: impl FnOnce()) -> i32 {
    let held = run.path("held");
    thread::scope(|scope| {
        let line = scope.spawn(|| run.line_as(&this(""), "hold", held.to_str().unwrap()));
        wait_for(&run.path("held.held"));
        then();
        line.join().unwrap()
    })
}
