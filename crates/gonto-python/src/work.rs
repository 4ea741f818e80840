//! Work without the GIL, during which the calling thread listens: to Python's signals, to what the work tells, to notices.
//!
//! Python runs signal handlers in its main thread only, and only when that thread asks. So the work has a thread of its own, and the
//! calling one asks every [`SLICE`]; what a handler raises (KeyboardInterrupt), and what a callback raises, interrupts the work, which is
//! waited for. Callbacks run in the thread that made the call, as callers expect.

use std::ops::ControlFlow;
use std::panic;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use gonto::{Interrupt, Notices, Reach};
use pyo3::prelude::*;

/// How long Python's signals may wait.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// What the signal of an interrupt is called that comes from Python: that of Ctrl-C.
const SIGNAL: i32 = 2;

/// Python does not tell who has sent a signal. On Windows there is nothing but the console, which reaches scripts as well. Elsewhere it may
/// be anybody, so the scripts are told: twice is better than not at all.
const REACH: Reach = if cfg!(windows) { Reach::Terminal } else { Reach::Gonto };

enum Message<M, T> {
    /// The work tells something, and waits for the answer.
    Told(M),
    Done(T),
}

/// Runs `work` in a thread of its own, without the GIL. What it tells is handed to `hear` in this thread, and is answered with Break once the
/// work is to end.
///
/// # Errors
/// What `hear` or a signal handler raises; then `interrupt` has been raised, and the work has ended.
pub(crate) fn run<T: Send, M: Send>(
    py: Python<'_>,
    interrupt: &Interrupt,
    notices: &Pending,
    mut hear: impl FnMut(M) -> PyResult<()>,
    work: impl FnOnce(&dyn Fn(M) -> ControlFlow<()>) -> T + Send,
) -> PyResult<T> {
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(0);
        let (answer, answers) = mpsc::sync_channel(1);
        let worker = move || {
            let tell = |message| match sender.send(Message::Told(message)).map(|()| answers.recv()) {
                Ok(Ok(answer)) => answer,
                // A panic has ended the listener.
                Ok(Err(_)) | Err(_) => ControlFlow::Break(()),
            };
            let outcome = work(&tell);
            let _ = sender.send(Message::Done(outcome));
        };
        let worker = thread::Builder::new().name("gonto-work".to_owned()).spawn_scoped(scope, worker)?;
        let mut failure: Option<PyErr> = None;
        let mut receiver = Some(receiver);
        let outcome = loop {
            // A receiver belongs to one thread at a time, so it goes along.
            let Some(listener) = receiver.take() else { break None };
            let (listener, message) = py.detach(move || {
                let message = listener.recv_timeout(SLICE);
                (listener, message)
            });
            receiver = Some(listener);
            let (heard, is_waiting) = match message {
                Ok(Message::Done(outcome)) => break Some(outcome),
                Ok(Message::Told(message)) if failure.is_none() => (hear(message), true),
                Ok(Message::Told(_)) => (Ok(()), true),
                Err(RecvTimeoutError::Timeout) => (Ok(()), false),
                Err(RecvTimeoutError::Disconnected) => break None,
            };
            notices.log(py);
            // Asked even if the callback failed: a second Ctrl-C is heard while the work is ending.
            for error in [heard, py.check_signals()].into_iter().filter_map(Result::err) {
                interrupt.raise(SIGNAL, REACH);
                failure.get_or_insert(error);
            }
            if is_waiting {
                let goes_on = failure.is_none();
                let _ = answer.send(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
            }
        };
        notices.log(py);
        match (outcome, failure) {
            (None, _) => match worker.join() {
                // A bug, which must not look like an error.
                Err(payload) => panic::resume_unwind(payload),
                Ok(()) => {
                    Err(pyo3::exceptions::PyRuntimeError::new_err("the work has ended without an outcome"))
                }
            },
            (Some(_), Some(error)) => Err(error),
            (Some(outcome), None) => Ok(outcome),
        }
    })
}

/// Notices that Python has not been told yet. They come from any thread, at any time, also when Python is about to end; so they wait
/// here until somebody calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending(Arc<Mutex<Vec<String>>>);

impl Pending {
    /// What puts them here.
    pub(crate) fn notices(&self) -> Notices {
        let pending = Arc::clone(&self.0);
        Notices::new(move |notice| {
            pending.lock().unwrap_or_else(PoisonError::into_inner).push(notice.to_string());
        })
    }

    /// Hands them to the logger `gonto`. A handler that fails keeps nothing from being done.
    pub(crate) fn log(&self, py: Python<'_>) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for text in waiting {
            if let Err(error) = log(py, &text) {
                error.write_unraisable(py, None);
            }
        }
    }
}

/// A warning of the logger `gonto`, which without further ado goes to stderr. logging is imported only when there is something to tell.
pub(crate) fn log(py: Python<'_>, text: &str) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", ("gonto",))?;
    logger.call_method1("warning", ("%s", text))?;
    Ok(())
}
