//! Signals, and what the console tells on Windows, become an interrupt of the run.

use std::io;

use gonto::Interrupt;

/// From now on Ctrl-C, SIGTERM and the like raise `interrupt` instead of ending the program. Those that whoever started
/// gonto has it ignore (nohup, `trap '' INT`, a new process group on Windows) stay ignored, for its commands too.
pub(crate) fn forward(interrupt: Interrupt) -> io::Result<()> {
    sys::forward(interrupt)
}

#[cfg(unix)]
mod sys {
    use super::{Interrupt, io};
    use std::fs;

    use gonto::Reach;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::SignalsInfo;
    use signal_hook::iterator::exfiltrator::origin::WithOrigin;

    pub(super) fn forward(interrupt: Interrupt) -> io::Result<()> {
        let status = fs::read("/proc/self/status").unwrap_or_default();
        let ignored = ignored(&String::from_utf8_lossy(&status));
        let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let mut signals = SignalsInfo::<WithOrigin>::new(heeded)?;
        std::thread::Builder::new().name("gonto-signals".to_owned()).spawn(move || {
            for origin in signals.forever() {
                // What the terminal sends comes from the kernel, and goes to all processes of its foreground group.
                let reach = if origin.process.is_some() { Reach::Gonto } else { Reach::Terminal };
                interrupt.raise(origin.signal, reach);
            }
        })?;
        Ok(())
    }

    /// The mask `SigIgn` of proc_pid_status(5): hexadecimal, its lowest bit is signal 1. 0 where the system tells none.
    fn ignored(status: &str) -> u128 {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn ignored_signals_are_read_from_the_status() {
            let status = "Name:\tgonto\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000004003\nSigCgt:\t0000000000000440\n";
            assert_eq!(ignored(status), 1 << (SIGHUP - 1) | 1 << (SIGINT - 1) | 1 << (SIGTERM - 1));
            for nothing in ["", "SigIgn:", "SigIgn:\tno number", "Name:\tSigIgn:\t1"] {
                assert_eq!(ignored(nothing), 0, "{nothing}");
            }
        }
    }
}

#[cfg(windows)]
mod sys {
    use super::{Interrupt, io};

    pub(super) fn forward(interrupt: Interrupt) -> io::Result<()> {
        interrupt.heed_the_console()
    }
}
