//! What a [`Session`](crate::Session) executes.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// A command with everything that it gets: nothing is inherited but the standard streams (and other descriptors that
/// are meant to be inherited).
#[derive(Clone, Debug)]
pub struct Command {
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
}

impl Command {
    /// One line for the system's shell, which gets it as it is. It runs in `directory` with exactly `environment`; names are
    /// different there. (On Windows those that differ in case only are the same, and the last of them counts.)
    ///
    /// | system | what runs |
    /// | --- | --- |
    /// | Windows | `cmd.exe /e:on /v:off /d /s /c "LINE"`, the one in the system folder, whatever `ComSpec` and `PATH` say; the options keep out what the registry may have set, so that a line means the same everywhere |
    /// | others | `/bin/sh -c LINE` |
    #[must_use]
    pub fn shell(line: &str, environment: Vec<(OsString, OsString)>, directory: &Path) -> Self {
        Self { arguments: sys::shell(line), environment, directory: directory.to_owned() }
    }

    /// Program and arguments. On Windows they are parts of a command line, which only need spaces between them: cmd reads
    /// what is behind `/c` itself, and quotes that were escaped for a C program would be wrong for it.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Name and value of every environment variable.
    #[must_use]
    pub fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// The folder in which it runs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// The folder in which a command shall run cannot be entered.
#[derive(Debug, thiserror::Error)]
#[error("cannot change to the folder {}", folder.display())]
pub(crate) struct NoFolder {
    pub(crate) folder: PathBuf,
    pub(crate) source: io::Error,
}

#[cfg(not(windows))]
mod sys {
    use super::OsString;

    pub(super) fn shell(line: &str) -> Vec<OsString> {
        ["/bin/sh", "-c", line].map(OsString::from).into()
    }
}

#[cfg(windows)]
mod sys {
    use super::OsString;

    /// With /s, cmd takes away the first and the last quote and nothing else.
    pub(super) fn shell(line: &str) -> Vec<OsString> {
        let quoted = format!("\"{line}\"");
        ["cmd.exe", "/e:on", "/v:off", "/d", "/s", "/c", &quoted].map(OsString::from).into()
    }
}
