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
    use gonto::Reach;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::SignalsInfo;
    use signal_hook::iterator::exfiltrator::origin::WithOrigin;

    pub(super) fn forward(interrupt: Interrupt) -> io::Result<()> {
        let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP])?;
        std::thread::Builder::new().name("gonto-signals".to_owned()).spawn(move || {
            for origin in signals.forever() {
                // What the terminal sends comes from the kernel, and goes to all processes of its foreground group.
                let reach = if origin.process.is_some() { Reach::Gonto } else { Reach::Terminal };
                interrupt.raise(origin.signal, reach);
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
