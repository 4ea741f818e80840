//! Sessions whose commands are interrupted.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here is a failing test")]

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use gonto_mount::{Backend, Command, Interrupt, Layer, Notices, Options, Reach, Session};

fn session(folder: &Path, interrupt: &Interrupt) -> Session {
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

fn shell(line: &str, folder: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Command::shell(line, vec![(OsString::from("PATH"), path)], folder)
}

/// Runs two commands at the same time, which touch `one` and `two`; raises the interrupt that they share `times`.
fn signals_of_two(line: &str, times: usize) -> [Option<i32>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let interrupt = Interrupt::new().unwrap();
    let ready = || folder.join("one").exists() && folder.join("two").exists();
    std::thread::scope(|scope| {
        let running = ["one", "two"].map(|name| {
            let session = session(folder, &interrupt);
            let command =
                shell(&format!("trap '{line}' TERM; touch {name}; while :; do sleep 0.01; done"), folder);
            scope.spawn(move || session.run(&command).unwrap())
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while !ready() {
            assert!(Instant::now() < deadline, "the commands did not start");
            std::thread::yield_now();
        }
        for _ in 0..times {
            interrupt.raise(15, Reach::Gonto);
        }
        running.map(|thread| {
            let status = thread.join().unwrap();
            status.signal().or(status.code())
        })
    })
}

#[test]
fn one_interrupt_stops_every_session_that_shares_it() {
    // By SIGTERM, which the commands get; by the second raise, which they cannot help.
    assert_eq!(signals_of_two("exit 90", 1), [Some(90); 2]);
    assert_eq!(signals_of_two("", 2), [Some(9); 2]);
}

#[test]
fn a_raised_interrupt_stops_later_commands_too() {
    let folder = tempfile::tempdir().unwrap();
    let interrupt = Interrupt::new().unwrap();
    let session = session(folder.path(), &interrupt);
    interrupt.raise(15, Reach::Terminal);
    for _ in 0..3 {
        let status = session.run(&shell("exec sleep 1000", folder.path())).unwrap();
        assert_eq!(status.signal(), Some(15));
    }
}
