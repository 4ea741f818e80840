//! What a [`Session`](crate::Session) executes.

use std::ffi::OsString;
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
    /// One line for the system's shell: `/bin/sh -c LINE`, on Windows `cmd /c LINE`. It runs in `directory` with exactly
    /// `environment`.
    #[must_use]
    pub fn shell(line: &str, environment: Vec<(OsString, OsString)>, directory: &Path) -> Self {
        let shell: [&str; 2] = if cfg!(windows) { ["cmd", "/c"] } else { ["/bin/sh", "-c"] };
        let mut arguments: Vec<OsString> = shell.map(OsString::from).into();
        arguments.push(line.into());
        Self { arguments, environment, directory: directory.to_owned() }
    }

    /// Program and arguments.
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
