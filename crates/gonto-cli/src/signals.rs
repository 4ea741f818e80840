//! Signals become an interrupt of the run.

use std::io;

use gonto::Interrupt;

/// From now on Ctrl-C, SIGTERM and the like raise `interrupt` instead of ending the program.
pub(crate) fn forward(interrupt: Interrupt) -> io::Result<()> {
    sys::forward(interrupt)
}

#[cfg(unix)]
mod sys {
    use super::{Interrupt, io};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    pub(super) fn forward(interrupt: Interrupt) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        std::thread::Builder::new().name("gonto-signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                interrupt.raise(signal);
            }
        })?;
        Ok(())
    }
}

#[cfg(windows)]
mod sys {
    use super::{Interrupt, io};

    /// Ctrl-C ends gonto and its script together, as Windows does by itself.
    pub(super) fn forward(_interrupt: Interrupt) -> io::Result<()> {
        Ok(())
    }
}
