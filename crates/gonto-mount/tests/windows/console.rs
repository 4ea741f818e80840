//! The console: its keys, its end, and what a script changes there.

use std::fs;
use std::time::{Duration, Instant};

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, GenerateConsoleCtrlEvent, GetConsoleCP, GetConsoleOutputCP,
};

use crate::pseudo_console::AtConsole;
use crate::support::{CONTROL_C_EXIT, Run, under_wine, wait_for, while_running};

/// In the console. What it returns is what the tests compare.
pub(crate) fn at_the_console(what: &str) -> String {
    if what == "chcp" {
        let before = code_pages();
        let run = Run::new();
        assert_eq!(run.line("chcp 65001"), 0);
        let meanwhile = code_pages();
        drop(run);
        return format!("{meanwhile:?} {}", code_pages() == before);
    }
    let run = Run::new();
    run.interrupt.heed_the_console().unwrap();
    let start = Instant::now();
    let status = while_running(&run, || {
        fs::write("running", "").unwrap();
        if let Some(event) = what.strip_prefix("event ") {
            // SAFETY: numbers only; 0 is everybody at this console.
            assert_ne!(unsafe { GenerateConsoleCtrlEvent(event.parse().unwrap(), 0) }, 0);
        }
    });
    // What ends the line may do so before it has reached this process.
    while run.interrupt.signal().is_none() && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Wine ends a program that does not handle the event as if nothing had happened.
    let as_told = status == CONTROL_C_EXIT || under_wine() && status == 0;
    format!("{:?} {as_told}", run.interrupt.signal())
}

fn code_pages() -> (u32, u32) {
    // SAFETY: they take nothing and return numbers.
    unsafe { (GetConsoleCP(), GetConsoleOutputCP()) }
}

/// What this program has to say at a console to which `then` happens.
fn said(what: &str, then: impl FnOnce(&mut AtConsole)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut console = AtConsole::start(what, folder.path()).unwrap();
    if what != "chcp" {
        wait_for(&folder.path().join("running"));
    }
    then(&mut console);
    assert_eq!(console.wait(), 0);
    fs::read_to_string(folder.path().join("said")).unwrap()
}

#[test]
fn ctrl_c_and_ctrl_break_end_the_line_and_are_told() {
    for event in [CTRL_C_EVENT, CTRL_BREAK_EVENT] {
        if event == CTRL_BREAK_EVENT && under_wine() {
            eprintln!(
                "skipped: Wine's Ctrl-Break stops a thread of each program instead of calling its handler"
            );
            continue;
        }
        assert_eq!(said(&format!("event {event}"), |_| ()), "Some(2) true", "{event}");
    }
}

#[test]
fn closing_the_console_lets_gonto_end_by_itself() {
    if under_wine() {
        eprintln!("skipped: Wine ends the programs of a closed console without asking them");
        return;
    }
    assert_eq!(said("close", AtConsole::close), "Some(15) true");
}

#[test]
fn the_code_pages_of_the_console_come_back() {
    assert_eq!(said("chcp", |_| ()), "(65001, 65001) true");
}
