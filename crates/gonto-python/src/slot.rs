//! Where a target waits for the next call. Threads take it in turn; a copy of the process that fork(2) makes never has it.

use std::process;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use gonto::Interrupt;
use gonto::target::Target;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::work::SLICE;

/// A target, or what keeps it away.
pub(crate) struct Slot {
    state: Mutex<State>,
    free: Condvar,
    /// The process that has made it.
    process: u32,
}

enum State {
    Free(Box<Work>),
    /// A thread works with it; who raises this stops that.
    Busy(ThreadId, Interrupt),
    /// Python ends.
    Closed,
}

/// A target and what interrupts it.
pub(crate) struct Work {
    pub(crate) target: Target,
    pub(crate) interrupt: Interrupt,
}

/// A target that the caller has to itself. It goes back when this is dropped.
pub(crate) struct Taken<'a> {
    slot: &'a Slot,
    work: Option<Box<Work>>,
}

impl Slot {
    pub(crate) fn new(work: Work) -> Self {
        let state = Mutex::new(State::Free(Box::new(work)));
        Self { state, free: Condvar::new(), process: process::id() }
    }

    /// Waits until no other thread works with the target. Signals are heard meanwhile, and stop nothing but the wait.
    ///
    /// # Errors
    /// What a signal handler raises; RuntimeError when waiting would be in vain.
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<Taken<'_>> {
        if !self.is_ours() {
            return Err(PyRuntimeError::new_err(
                "this Target belongs to the process that made it, of which this one is a copy: make a new one",
            ));
        }
        loop {
            if let Some(work) = py.detach(|| self.wait())? {
                return Ok(Taken { slot: self, work: Some(work) });
            }
            py.check_signals()?;
        }
    }

    /// The target, if it gets free within a slice.
    fn wait(&self) -> PyResult<Option<Box<Work>>> {
        let mut state = self.lock();
        if matches!(*state, State::Busy(thread, _) if thread == thread::current().id()) {
            return Err(PyRuntimeError::new_err(
                "this Target is at work in this very thread, which has called something that calls it again",
            ));
        }
        if matches!(*state, State::Busy(..)) {
            let waited = self.free.wait_timeout(state, SLICE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        match std::mem::replace(&mut *state, State::Closed) {
            State::Free(work) => {
                *state = State::Busy(thread::current().id(), work.interrupt.clone());
                Ok(Some(work))
            }
            busy @ State::Busy(..) => {
                *state = busy;
                Ok(None)
            }
            State::Closed => Err(PyRuntimeError::new_err("Python is ending, and with it this Target")),
        }
    }

    /// Takes the target away for good, and stops whoever works with it. None in a copy of the process.
    pub(crate) fn close(&self) -> Option<Box<Work>> {
        if !self.is_ours() {
            return None;
        }
        match std::mem::replace(&mut *self.lock(), State::Closed) {
            State::Free(work) => Some(work),
            State::Busy(_, interrupt) => {
                // The second one ends everything at once.
                for _ in 0..2 {
                    interrupt.raise(15, gonto::Reach::Gonto);
                }
                None
            }
            State::Closed => None,
        }
    }

    fn is_ours(&self) -> bool {
        self.process == process::id()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// The target and its interrupt.
    pub(crate) fn parts(&mut self) -> PyResult<(&mut Target, &mut Interrupt)> {
        let work = self.work.as_mut().ok_or_else(|| PyRuntimeError::new_err("the target is gone"))?;
        Ok((&mut work.target, &mut work.interrupt))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let mut state = self.slot.lock();
        if matches!(*state, State::Busy(..)) {
            *state = State::Free(work);
            drop(state);
            self.slot.free.notify_all();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // What belongs to the other process is not ours to take down, and its locks may be held for ever here.
        if !self.is_ours() {
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(std::mem::replace(state, State::Closed));
        }
    }
}
