//! A request from outside (Ctrl-C, SIGTERM) to stop what is going on.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// Tells a running [`Session`](crate::Session) to stop. Clones share one state; any thread may raise it.
///
/// The first [`raise`](Self::raise) asks the running script to end and leaves it some seconds for that, the second
/// ends it at once.
///
/// ```
/// use gonto_mount::Interrupt;
/// let interrupt = Interrupt::new()?;
/// assert_eq!(interrupt.signal(), None);
/// interrupt.clone().raise(15);
/// assert_eq!(interrupt.signal(), Some(15));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Number of the first signal; 0 while there was none.
    signal: AtomicI32,
    raised: AtomicU32,
    /// Holds a byte for each raise, so that who waits in poll(2) wakes up.
    wake_reader: PipeReader,
    wake_writer: PipeWriter,
}

impl Interrupt {
    /// An interrupt that has not been raised.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        let (wake_reader, wake_writer) = io::pipe()?;
        Ok(Self(Arc::new(Inner {
            signal: AtomicI32::new(0),
            raised: AtomicU32::new(0),
            wake_reader,
            wake_writer,
        })))
    }

    /// Raises the interrupt for `signal` (2 for Ctrl-C, 15 for SIGTERM, in every system's numbering).
    pub fn raise(&self, signal: i32) {
        // Only the first signal decides how the run ends; later ones add urgency.
        let _ = self.0.signal.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        // The pipe takes one byte for each raise that changes something, so that writing can never block.
        if self.0.raised.fetch_add(1, Ordering::SeqCst) < 2
            && let Err(error) = (&self.0.wake_writer).write_all(&[1])
        {
            tracing::debug!(%error, "cannot wake the waiting thread");
        }
    }

    /// The signal that was raised first, if any.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.0.signal.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// How often the interrupt was raised.
    pub(crate) fn times(&self) -> u32 {
        self.0.raised.load(Ordering::SeqCst)
    }

    /// Readable when the interrupt was raised and [`acknowledge`](Self::acknowledge) has not been called since.
    pub(crate) fn wake(&self) -> &PipeReader {
        &self.0.wake_reader
    }

    /// Takes one wake-up out of the pipe; call it only when [`wake`](Self::wake) is readable.
    pub(crate) fn acknowledge(&self) {
        let mut byte = [0];
        if let Err(error) = (&self.0.wake_reader).read_exact(&mut byte) {
            tracing::debug!(%error, "cannot read the wake-up");
        }
    }
}
