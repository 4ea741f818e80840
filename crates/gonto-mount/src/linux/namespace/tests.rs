//! Commands in both kinds of surroundings: with namespaces, and where they are forbidden.
#![allow(clippy::unwrap_used, reason = "what fails here is a failing test")]

use std::ffi::OsString;
use std::fs;

use super::*;
use crate::Reach;

/// Calls `test` with every kind of namespace that can be had here, and a folder for its files.
fn everywhere(test: impl Fn(Namespace, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    match Namespace::new(&scratch) {
        Ok(namespace) => test(namespace, folder.path()),
        Err(error) => eprintln!("skipped: {error}"),
    }
    let folder = tempfile::tempdir().unwrap();
    test(Namespace::processes_only().unwrap(), folder.path());
}

fn shell(line: &str, folder: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Command::shell(line, vec![(OsString::from("PATH"), path)], folder)
}

fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} did not appear", path.display());
        std::thread::yield_now();
    }
}

/// Living processes that have `argument`.
fn count(argument: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
        })
        .count()
}

#[test]
fn a_command_that_leaves_the_process_group_is_waited_for() {
    everywhere(|namespace, folder| {
        let interrupt = Interrupt::new().unwrap();
        let run = |line: &str| namespace.run(&shell(line, folder), &interrupt).unwrap().code();
        assert_eq!(run("exec timeout 5 true"), Some(0));
        assert_eq!(run("exec setsid sh -c 'exit 3'"), Some(3));
    });
}

#[test]
fn other_process_groups_and_sessions_end_with_the_namespace() {
    everywhere(|namespace, folder| {
        let mark = format!("87654.{}", std::process::id());
        let line = format!(
            "timeout 98765 sh -c 'touch one; exec sleep {mark}' & setsid sh -c 'touch two; exec sleep {mark}' &"
        );
        let status = namespace.run(&shell(&line, folder), &Interrupt::new().unwrap()).unwrap();
        assert_eq!(status.code(), Some(0));
        wait_for(&folder.join("one"));
        wait_for(&folder.join("two"));
        drop(namespace);
        assert_eq!(count(&mark), 0);
    });
}

#[test]
fn what_the_command_has_started_may_clean_up() {
    everywhere(|namespace, folder| {
        let interrupt = Interrupt::new().unwrap();
        let tool = "trap 'sleep 0.3; touch cleaned; exit' TERM; touch started; while :; do sleep 0.01; done";
        // The shell dies at once.
        let command = shell(&format!("({tool}) & wait"), folder);
        let status = std::thread::scope(|scope| {
            let running = scope.spawn(|| namespace.run(&command, &interrupt).unwrap());
            wait_for(&folder.join("started"));
            interrupt.raise(15, Reach::Gonto);
            running.join().unwrap()
        });
        assert_eq!(status.signal(), Some(15));
        assert!(folder.join("cleaned").exists());
        // The namespace is still of use, whatever was said meanwhile.
        namespace.kill_all().unwrap();
        let status = namespace.run(&shell("exit 5", folder), &Interrupt::new().unwrap()).unwrap();
        assert_eq!(status.code(), Some(5));
    });
}

#[test]
fn a_second_raise_ends_what_the_command_has_started() {
    everywhere(|namespace, folder| {
        let interrupt = Interrupt::new().unwrap();
        let mark = format!("76543.{}", std::process::id());
        let tool = format!("trap '' TERM; touch started; exec sleep {mark}");
        let command = shell(&format!("({tool}) & wait"), folder);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| namespace.run(&command, &interrupt).unwrap());
            wait_for(&folder.join("started"));
            interrupt.raise(15, Reach::Gonto);
            interrupt.raise(15, Reach::Gonto);
            running.join().unwrap()
        });
        assert_eq!(count(&mark), 0);
    });
}

#[test]
fn what_was_typed_before_a_command_ends_it_even_if_gonto_handles_that_signal() {
    extern "C" fn ignore(_: libc::c_int) {}
    // SAFETY: the handler does nothing; no other test uses this signal.
    unsafe { libc::signal(libc::SIGUSR2, ignore as *const () as libc::sighandler_t) };
    everywhere(|namespace, folder| {
        let interrupt = Interrupt::new().unwrap();
        interrupt.raise(libc::SIGUSR2, Reach::Terminal);
        let status = namespace.run(&shell("exec sleep 1000", folder), &interrupt).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGUSR2));
    });
}

#[test]
fn a_missing_working_folder_is_told_from_a_missing_program() {
    everywhere(|namespace, folder| {
        let gone = folder.join("not there");
        let error = namespace.run(&shell("true", &gone), &Interrupt::new().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot change to the folder {}", gone.display()));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    });
}
