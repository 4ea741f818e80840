//! A request from outside (Ctrl-C, SIGTERM) to stop what is going on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// Tells running [`Session`](crate::Session)s to stop. Clones share one state: any thread may raise it, and every session
/// that was given one of them is told. It cannot be taken back.
///
/// The first [`raise`](Self::raise) asks the running command to end, which has ten seconds for that; what a command has
/// left running when it ended has two more. The second raise ends all at once. Windows knows no other way to ask than the
/// keyboard: what has reached only gonto ends all at once there.
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
    /// When the process has no file descriptors or handles left.
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
        let before = self.0.raised.fetch_add(1, Ordering::SeqCst);
        self.0.waker.wake(before);
    }

    /// The signal that was raised first, if any.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.0.signal.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// From now on it is raised by Ctrl-C and Ctrl-Break, which do not end this process any more (signal 2), and by the end of
    /// the console, the session or the system (signal 15, twice, as there are only a few seconds). In these last cases
    /// Windows ends this process as soon as it has said that it is ready for it; it never says so, and should end by itself.
    ///
    /// Where whoever started this process has it ignore Ctrl-C, that stays so.
    ///
    /// # Errors
    /// When the system refuses the handler.
    #[cfg(windows)]
    pub fn heed_the_console(&self) -> io::Result<()> {
        crate::windows::heed(self.clone())
    }

    /// For work in many steps.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] once the interrupt has been raised.
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
    use std::io::{self, PipeReader, PipeWriter, Write};
    use std::os::fd::{AsFd, BorrowedFd};

    /// Two pipes, into which the first and the second raise put a byte. It stays there, because any number of threads may
    /// wait for it, beside other descriptors in poll(2).
    #[derive(Debug)]
    pub(crate) struct Waker([(PipeReader, PipeWriter); 2]);

    impl Waker {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self([io::pipe()?, io::pipe()?]))
        }

        /// Tells of one more raise, `before` which there were that many.
        pub(super) fn wake(&self, before: u32) {
            let Some((_, writer)) = self.of(before) else { return };
            if let Err(error) = { writer }.write_all(&[1]) {
                tracing::debug!(%error, "cannot wake the waiting threads");
            }
        }

        /// What becomes readable when there are more raises than `seen`; none when more would change nothing.
        pub(crate) fn after(&self, seen: u32) -> Option<BorrowedFd<'_>> {
            self.of(seen).map(|(reader, _)| reader.as_fd())
        }

        fn of(&self, raise: u32) -> Option<&(PipeReader, PipeWriter)> {
            usize::try_from(raise).ok().and_then(|raise| self.0.get(raise))
        }
    }
}

#[cfg(windows)]
mod windows {
    use std::io;
    use std::os::windows::io::BorrowedHandle;

    use crate::windows::Event;

    /// Two events, for the first and the second raise. They stay set, because any number of threads may wait for them,
    /// beside other handles.
    #[derive(Debug)]
    pub(crate) struct Waker([Event; 2]);

    impl Waker {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self([Event::new()?, Event::new()?]))
        }

        /// Tells of one more raise, `before` which there were that many.
        pub(super) fn wake(&self, before: u32) {
            let Some(event) = self.of(before) else { return };
            if let Err(error) = event.set() {
                tracing::debug!(%error, "cannot wake the waiting threads");
            }
        }

        /// What is signalled when there are more raises than `seen`; none when more would change nothing.
        pub(crate) fn after(&self, seen: u32) -> Option<BorrowedHandle<'_>> {
            self.of(seen).map(Event::handle)
        }

        fn of(&self, raise: u32) -> Option<&Event> {
            usize::try_from(raise).ok().and_then(|raise| self.0.get(raise))
        }
    }
}
