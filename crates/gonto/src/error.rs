//! What can go wrong between a configuration and the end of a script.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::registry::RegistryError;
use crate::target::ScriptType;

/// A target could not be used. Each variant is something that a caller can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has no target of this name.
    #[error("the target {name:?} does not exist{}", hint(known, suggestion.as_deref()))]
    TargetDoesNotExist {
        /// The requested name.
        name: String,
        /// The names that exist, in the order of the configuration.
        known: Vec<String>,
        /// The one that was probably meant.
        suggestion: Option<String>,
    },
    /// An image is not in the cache.
    #[error("the image {} is missing: download it first (gonto pull)", path.display())]
    MissingImage {
        /// Where it should be.
        path: PathBuf,
    },
    /// An image is there, and its volume too, but it could not be mounted.
    #[error("the volume of {image} is not mounted")]
    VolumeNotMounted {
        /// The image's path in the repository.
        image: String,
        /// What the system says.
        source: gonto_mount::Error,
    },
    /// An image holds no volume that can be read.
    #[error("the volume of {image} is not ready")]
    VolumeNotReady {
        /// The image's path in the repository.
        image: String,
        /// What is wrong with it.
        source: gonto_mount::Error,
    },
    /// Images could not be unmounted. The others were.
    #[error("{} could not be unmounted", images(errors.len()))]
    Unmount {
        /// Why, one by one.
        errors: Vec<gonto_mount::Error>,
    },
    /// Registry values of an image could not be written. Those that were are put back.
    #[error("the registry values of an image are not set")]
    RegistryNotWritten(#[source] RegistryError),
    /// What was in the registry before could not be put back, or not all of it.
    #[error("the registry is not what it was before")]
    RegistryNotRestored(#[source] RegistryError),
    /// A requirement breaks the rules of repositories (only when it does not come from a checked configuration).
    #[error("the requirement cannot name an image")]
    Requirement(#[from] gonto_store::InvalidImagePath),
    /// An image could not be fetched.
    #[error("cannot fetch {image}")]
    Download {
        /// The image's path in the repository.
        image: String,
        /// Why.
        source: Box<gonto_store::Error>,
    },
    /// The repository or the cache cannot be used at all.
    #[error("cannot use the repository")]
    Repository(#[source] Box<gonto_store::Error>),
    /// A command of a script failed.
    #[error("{script} failed: {line:?} {}", sys::ended(*status))]
    ScriptFailed {
        /// The script.
        script: ScriptType,
        /// The line that failed.
        line: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A command of a script could not be started.
    #[error("{script} cannot run {line:?}")]
    ScriptNotStarted {
        /// The script.
        script: ScriptType,
        /// The line.
        line: String,
        /// Why.
        source: gonto_mount::Error,
    },
    /// Somebody asked to stop.
    #[error("interrupted{}", if *signal == 2 { "" } else { " by a signal" })]
    Interrupted {
        /// The signal's number: 2 for Ctrl-C, 15 for SIGTERM.
        signal: i32,
    },
    /// The processes of a run cannot be started.
    #[error("cannot start the run")]
    Session(#[source] gonto_mount::Error),
    /// There is no folder in which to record what is mounted.
    #[error(
        "there is no place for the state folder: set {} to a folder that you may write",
        crate::state::VARIABLE
    )]
    NoStateFolder,
    /// The current folder cannot be told.
    #[error("cannot tell the current folder: change to one that exists")]
    NoCurrentFolder(#[source] io::Error),
}

impl Error {
    /// The exit status of a program that ends with this error: that of the failing script command, all 32 bits of it on
    /// Windows, where they are a signed number as in `%ERRORLEVEL%`; for an interrupt the one that the system itself uses; 1
    /// for everything else. Never 0, and elsewhere than on Windows at most 255.
    ///
    /// | | Windows | elsewhere |
    /// | --- | --- | --- |
    /// | `exit 7` | 7 | 7 |
    /// | an access violation, 0xC0000005 | -1073741819 | |
    /// | the command was ended by signal N | | 128 + N |
    /// | an interrupt, signal N | -1073741510, STATUS_CONTROL_C_EXIT: a batch file that called the program stops | 128 + N |
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Interrupted { signal } => interrupted(*signal),
            Self::ScriptFailed { status, .. } => {
                // A failure must not look like success.
                sys::exit_code(*status).filter(|code| *code != 0).unwrap_or(1)
            }
            _ => 1,
        }
    }
}

/// The exit status of a program that ends because of signal `signal`.
pub(crate) fn interrupted(signal: i32) -> i32 {
    sys::interrupted(signal)
}

fn hint(known: &[String], suggestion: Option<&str>) -> String {
    match (suggestion, known) {
        (Some(suggestion), _) => format!(": did you mean {suggestion:?}?"),
        (None, []) => ": the configuration has no targets".to_owned(),
        (None, known) => format!(": there are {}", known.join(", ")),
    }
}

fn images(count: usize) -> String {
    if count == 1 { "an image".to_owned() } else { format!("{count} images") }
}

#[cfg(unix)]
mod sys {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    pub(super) fn exit_code(status: ExitStatus) -> Option<i32> {
        status.code().or_else(|| status.signal().map(interrupted))
    }

    /// What a shell says of a command that was ended by a signal.
    pub(super) fn interrupted(signal: i32) -> i32 {
        u8::try_from(signal).unwrap_or(0).saturating_add(128).into()
    }

    pub(super) fn ended(status: ExitStatus) -> String {
        match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        }
    }
}

#[cfg(windows)]
mod sys {
    use std::process::ExitStatus;

    pub(super) fn exit_code(status: ExitStatus) -> Option<i32> {
        status.code()
    }

    /// Windows has no signals. With this status, its own for Ctrl-C, cmd does not go on with a batch file.
    pub(super) fn interrupted(_signal: i32) -> i32 {
        0xC000_013A_u32.cast_signed()
    }

    /// The large ones are what the system says of a crash, and listed in hexadecimal.
    pub(super) fn ended(status: ExitStatus) -> String {
        match status.code() {
            Some(code @ 0..) => format!("ended with status {code}"),
            Some(code) => format!("ended with status {code} ({code:#X})"),
            None => "ended".to_owned(),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn failed(raw: i32) -> Error {
        let status = ExitStatus::from_raw(raw);
        Error::ScriptFailed { script: ScriptType::Script, line: "make".into(), status }
    }

    #[test]
    fn the_exit_code_is_that_of_the_command() {
        assert_eq!(failed(7 << 8).exit_code(), 7);
        assert_eq!(failed(255 << 8).exit_code(), 255);
        assert_eq!(failed(9).exit_code(), 137);
        assert_eq!(Error::Interrupted { signal: 2 }.exit_code(), 130);
        assert_eq!(Error::NoStateFolder.exit_code(), 1);
    }

    #[test]
    fn a_failure_says_which_line_and_how() {
        assert_eq!(failed(7 << 8).to_string(), "script failed: \"make\" ended with status 7");
        assert_eq!(failed(9).to_string(), "script failed: \"make\" was ended by signal 9");
    }
}

#[cfg(all(test, windows))]
mod tests {
    use super::*;
    use std::os::windows::process::ExitStatusExt;

    fn failed(status: u32) -> Error {
        let status = ExitStatus::from_raw(status);
        Error::ScriptFailed { script: ScriptType::Script, line: "make".into(), status }
    }

    #[test]
    fn the_exit_code_is_that_of_the_command_with_all_its_bits() {
        assert_eq!(failed(7).exit_code(), 7);
        assert_eq!(failed(256).exit_code(), 256);
        assert_eq!(failed(u32::MAX).exit_code(), -1);
        assert_eq!(failed(0xC000_0005).exit_code(), -1_073_741_819);
        assert_eq!(Error::Interrupted { signal: 2 }.exit_code(), -1_073_741_510);
        assert_eq!(Error::NoStateFolder.exit_code(), 1);
    }

    #[test]
    fn a_failure_says_how_as_windows_lists_it() {
        assert_eq!(failed(259).to_string(), "script failed: \"make\" ended with status 259");
        let crash = "script failed: \"make\" ended with status -1073741819 (0xC0000005)";
        assert_eq!(failed(0xC000_0005).to_string(), crash);
    }
}
