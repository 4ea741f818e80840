//! The console: its keys, its end, and its code pages.

use std::io;
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, GetConsoleCP,
    GetConsoleOutputCP, SetConsoleCP, SetConsoleCtrlHandler, SetConsoleOutputCP,
};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;
use windows_sys::core::BOOL;

use crate::{Interrupt, Reach};

/// SIGINT and SIGTERM, as [`Interrupt`] numbers them.
const TYPED: i32 = 2;
const END: i32 = 15;

/// What the console raises.
static HEEDING: Mutex<Vec<Interrupt>> = Mutex::new(Vec::new());

/// See [`Interrupt::heed_the_console`].
pub(crate) fn heed(interrupt: Interrupt) -> io::Result<()> {
    let mut heeding = HEEDING.lock().unwrap_or_else(PoisonError::into_inner);
    if heeding.is_empty() {
        // SAFETY: the handler is a function of the wanted type, and stays for the life of the process.
        if unsafe { SetConsoleCtrlHandler(Some(handler), 1) } == 0 {
            return Err(io::Error::last_os_error());
        }
    }
    heeding.push(interrupt);
    Ok(())
}

/// Called by the system in a thread of its own, so it may do what any thread may. What it does not handle (0) goes to the next
/// handler; the last one ends the process.
unsafe extern "system" fn handler(event: u32) -> BOOL {
    match event {
        CTRL_C_EVENT | CTRL_BREAK_EVENT => {
            // The script has got it as well.
            raise(TYPED, Reach::Terminal);
            1
        }
        // Somebody has logged off, and only services are told: it need not be the one that waits for us.
        CTRL_LOGOFF_EVENT if is_service() => 0,
        CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => {
            // Windows gives five seconds or so: too little to wait for anybody.
            raise(END, Reach::Terminal);
            raise(END, Reach::Terminal);
            // When this returns the process ends, whatever it is doing. So it ends by itself, and this thread with it.
            loop {
                std::thread::park();
            }
        }
        _ => 0,
    }
}

fn raise(signal: i32, reach: Reach) {
    for interrupt in HEEDING.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        interrupt.raise(signal, reach);
    }
}

/// Session 0 is that of services, since Windows Vista.
fn is_service() -> bool {
    let mut session = u32::MAX;
    // SAFETY: the number is written to a variable of ours.
    let told = unsafe { ProcessIdToSessionId(std::process::id(), &raw mut session) };
    told != 0 && session == 0
}

/// The code pages of the console, which all programs in its window share. Dropping this takes back what a script's `chcp` has
/// changed.
#[derive(Debug)]
pub(super) struct CodePages {
    /// None without a console.
    input: Option<u32>,
    output: Option<u32>,
}

impl CodePages {
    /// Those of now.
    pub(super) fn save() -> Self {
        Self { input: input(), output: output() }
    }
}

impl Drop for CodePages {
    fn drop(&mut self) {
        if let Some(page) = self.input.filter(|page| input().is_some_and(|now| now != *page)) {
            // SAFETY: a number that the system has told.
            report(unsafe { SetConsoleCP(page) });
        }
        if let Some(page) = self.output.filter(|page| output().is_some_and(|now| now != *page)) {
            // SAFETY: a number that the system has told.
            report(unsafe { SetConsoleOutputCP(page) });
        }
    }
}

fn input() -> Option<u32> {
    // SAFETY: takes nothing and returns a number, 0 without a console.
    Some(unsafe { GetConsoleCP() }).filter(|page| *page != 0)
}

fn output() -> Option<u32> {
    // SAFETY: takes nothing and returns a number, 0 without a console.
    Some(unsafe { GetConsoleOutputCP() }).filter(|page| *page != 0)
}

fn report(done: BOOL) {
    if done == 0 {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "the code page of the console stays as the script has set it");
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Wine ends the programs of a closed console without asking them, so the handler is called by hand.
    #[test]
    fn the_end_of_the_console_is_told_twice_and_the_handler_stays() {
        let interrupt = Interrupt::new().unwrap();
        HEEDING.lock().unwrap().push(interrupt.clone());
        // SAFETY: any thread may call it. This one stays there, and ends with the tests.
        let closing = thread::spawn(|| unsafe { handler(CTRL_CLOSE_EVENT) });
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while interrupt.times() < 2 {
            assert!(std::time::Instant::now() < deadline, "{interrupt:?}");
            thread::yield_now();
        }
        assert_eq!(interrupt.signal(), Some(END));
        assert!(!closing.is_finished());
    }
}
