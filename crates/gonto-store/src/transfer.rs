//! Filling a partial file: a worker thread moves the bytes, the caller's thread watches it.
//!
//! Reading from a network, writing to a slow disk and syncing can each block for long. They happen in the worker, so
//! that the caller hears from us every [`TICK`] and can cancel at any moment. A worker that is given up ends at its next
//! step. It is waited for only briefly, because that step may be far away (a name server that does not answer); until
//! then it holds nothing but a socket and a file without a name.

use std::ops::ControlFlow;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::partial::PartialFile;
use crate::repository::{Interrupter, Request};
use crate::{Error, Event, ImagePath};

/// How often the caller hears from us.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Fills `file` with what `request` asks for, checks its length and syncs it.
pub(crate) fn run(
    request: Request,
    image: &ImagePath,
    file: PartialFile,
    events: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<(), Error> {
    let location = request.location().to_owned();
    let answer_limit = request.answer_limit();
    let begun = Instant::now();
    let mut worker = Worker::start(request, file)?;
    loop {
        if events(worker.progress()).is_break() {
            return Err(Error::Cancelled { image: image.clone() });
        }
        if let Some(outcome) = worker.wait(TICK) {
            outcome?;
            // The image is whole already: it would be a pity to throw it away because of this last answer.
            let _ = events(worker.progress());
            return Ok(());
        }
        if let Some(limit) = answer_limit
            && !worker.progress.answered.load(Ordering::Relaxed)
            && begun.elapsed() > limit
        {
            return Err(Error::Stalled { location, received: 0, limit });
        }
    }
}

/// How long a worker that is given up may take to close its file. Windows keeps the name of a removed file for as long
/// as it is open (on some file systems at least), and the cache should be as before when the caller hears of the end.
const LAST_STEP: Duration = Duration::from_millis(500);

/// A thread that fills a partial file. Dropping it makes the thread end soon.
struct Worker {
    progress: Arc<Progress>,
    outcome: Receiver<Result<(), Error>>,
    thread: Option<JoinHandle<()>>,
    interrupter: Interrupter,
}

/// What the two threads tell each other while the worker works.
#[derive(Default)]
struct Progress {
    received: AtomicU64,
    total: AtomicU64,
    /// The repository has answered that it has the image.
    answered: AtomicBool,
    /// Nobody waits for the outcome any more.
    abandoned: AtomicBool,
}

impl Worker {
    fn start(request: Request, file: PartialFile) -> Result<Worker, Error> {
        let progress = Arc::new(Progress::default());
        let interrupter = request.interrupter();
        let (sender, outcome) = mpsc::channel();
        let for_thread = Arc::clone(&progress);
        let thread = thread::Builder::new()
            .name("gonto-transfer".to_owned())
            .spawn(move || {
                let outcome = fill(request, file, &for_thread);
                // Nobody listens when the download was cancelled.
                let _ = sender.send(outcome);
            })
            .map_err(|source| Error::Thread { source })?;
        Ok(Worker { progress, outcome, thread: Some(thread), interrupter })
    }

    /// The outcome, if there is one within `limit`.
    fn wait(&mut self, limit: Duration) -> Option<Result<(), Error>> {
        match self.outcome.recv_timeout(limit) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            // The worker ended without an outcome, so it panicked. That is a bug, which must not look like an error.
            Err(RecvTimeoutError::Disconnected) => match self.thread.take().map(JoinHandle::join) {
                Some(Err(payload)) => panic::resume_unwind(payload),
                Some(Ok(())) | None => None,
            },
        }
    }

    fn progress(&self) -> Event {
        Event::Progress {
            received: self.progress.received.load(Ordering::Relaxed),
            total: self.progress.total.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.progress.abandoned.store(true, Ordering::Relaxed);
        self.interrupter.interrupt();
        // The outcome is sent after the file was closed. There is none any more when the worker has ended before.
        let _ = self.outcome.recv_timeout(LAST_STEP);
    }
}

/// The worker's work.
fn fill(request: Request, mut file: PartialFile, progress: &Progress) -> Result<(), Error> {
    let location = request.location().to_owned();
    let mut content = request.open()?;
    progress.answered.store(true, Ordering::Relaxed);
    let expected = content.length();
    if expected == Some(0) {
        return Err(Error::Empty { location });
    }
    if let Some(length) = expected {
        progress.total.store(length, Ordering::Relaxed);
        file.reserve(length)?;
    }
    let mut received: u64 = 0;
    while !progress.abandoned.load(Ordering::Relaxed) {
        let appended = content.append_to(&mut file, received)?;
        if appended == 0 {
            break;
        }
        received = received.saturating_add(appended);
        if expected.is_some_and(|expected| received > expected) {
            break;
        }
        progress.received.store(received, Ordering::Relaxed);
    }
    match expected {
        Some(expected) if received != expected => {
            Err(Error::Truncated { location, received, expected: Some(expected), source: None })
        }
        None if received == 0 => Err(Error::Empty { location }),
        _ => {
            progress.total.store(received, Ordering::Relaxed);
            file.sync()
        }
    }
}
