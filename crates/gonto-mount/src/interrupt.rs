//! A request from outside (Ctrl-C, SIGTERM) to stop what is going on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// Tells a running [`Session`](crate::Session) to stop. Clones share one state; any thread may raise it.
///
/// The first [`raise`](Self::raise) asks the running script to end and leaves it some seconds for that, the second
/// ends it at once.
///
/// ```
/// use gonto_mount::{Interrupt, Reach};
/// let interrupt = Interrupt::new()?;
/// assert_eq!(interrupt.signal(), None);
/// interrupt.clone().raise(15, Reach::Gonto);
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
    /// The first signal was typed at the terminal.
    typed: AtomicBool,
    waker: Waker,
}

/// Whom a signal has reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Only this process; the commands have to be told.
    Gonto,
    /// All processes of the terminal (Ctrl-C): the commands have it already, and may be cleaning up.
    Terminal,
}

impl Interrupt {
    /// An interrupt that has not been raised.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            signal: AtomicI32::new(0),
            raised: AtomicU32::new(0),
            typed: AtomicBool::new(false),
            waker: Waker::new()?,
        })))
    }

    /// Raises the interrupt for `signal` (2 for Ctrl-C, 15 for SIGTERM, in every system's numbering).
    pub fn raise(&self, signal: i32, reach: Reach) {
        // Only the first signal decides how the run ends; later ones add urgency.
        if self.signal().is_none() {
            self.0.typed.store(reach == Reach::Terminal, Ordering::SeqCst);
            self.0.signal.store(signal, Ordering::SeqCst);
        }
        // Later raises change nothing any more, so nobody has to wake up for them.
        if self.0.raised.fetch_add(1, Ordering::SeqCst) < 2 {
            self.0.waker.wake();
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

    /// For work in many steps.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] once the interrupt has been raised.
    #[cfg_attr(windows, expect(dead_code, reason = "nothing is unpacked there yet"))]
    pub(crate) fn check(&self) -> io::Result<()> {
        self.signal().map_or(Ok(()), |_| Err(io::ErrorKind::Interrupted.into()))
    }

    /// Whether the commands have got the first signal without our help.
    pub(crate) fn was_typed(&self) -> bool {
        self.0.typed.load(Ordering::SeqCst)
    }

    /// How often the interrupt was raised.
    pub(crate) fn times(&self) -> u32 {
        self.0.raised.load(Ordering::SeqCst)
    }

    /// What a thread waits on that wants to know of a raise.
    pub(crate) fn waker(&self) -> &Waker {
        &self.0.waker
    }
}

#[cfg(unix)]
pub(crate) use unix::Waker;
#[cfg(windows)]
pub(crate) use windows::Waker;

#[cfg(unix)]
mod unix {
    use std::io::{self, PipeReader, PipeWriter, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};

    /// A pipe with a byte for each raise: its descriptor can be waited for in poll(2), beside others.
    #[derive(Debug)]
    pub(crate) struct Waker {
        reader: PipeReader,
        writer: PipeWriter,
    }

    impl Waker {
        pub(super) fn new() -> io::Result<Self> {
            let (reader, writer) = io::pipe()?;
            Ok(Self { reader, writer })
        }

        pub(super) fn wake(&self) {
            if let Err(error) = (&self.writer).write_all(&[1]) {
                tracing::debug!(%error, "cannot wake the waiting thread");
            }
        }

        /// Takes one wake-up out of the pipe; to be called only when it is readable.
        pub(crate) fn acknowledge(&self) {
            if let Err(error) = (&self.reader).read_exact(&mut [0]) {
                tracing::debug!(%error, "cannot read the wake-up");
            }
        }
    }

    impl AsFd for Waker {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.reader.as_fd()
        }
    }
}

#[cfg(windows)]
mod windows {
    use std::io;
    use std::sync::{Condvar, Mutex, PoisonError};
    use std::time::Duration;

    /// A condition that threads wait for.
    #[derive(Debug, Default)]
    pub(crate) struct Waker {
        pending: Mutex<bool>,
        changed: Condvar,
    }

    impl Waker {
        #[expect(
            clippy::unnecessary_wraps,
            reason = "the other systems need a descriptor, and there may be none"
        )]
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self::default())
        }

        pub(super) fn wake(&self) {
            *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.changed.notify_all();
        }

        /// Waits for a raise since the last call, at most for `timeout`.
        pub(crate) fn wait(&self, timeout: Duration) {
            let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(pending, timeout, |pending| !*pending);
            *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
        }
    }
}
