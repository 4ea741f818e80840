//! Windows: scripts run; images are not mounted yet.

mod process;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::diagnosis::{Diagnosis, Outcome, RoadCheck};
use crate::{Backend, Command, Error, Image, Options, Shown, Written};
use process::Processes;

/// What cannot be done yet, by name.
const MOUNTING: &str = "mounting an image";

/// The images and processes of one run. They end with it.
#[derive(Debug)]
pub struct Session {
    processes: Processes,
}

impl Session {
    /// Starts a run.
    ///
    /// # Errors
    /// [`Error::Processes`].
    pub fn new(options: Options) -> Result<Self, Error> {
        let processes = Processes::new(options.interrupt).map_err(|source| Error::Processes { source })?;
        Ok(Self { processes })
    }

    /// Mounting does not work on Windows yet.
    ///
    /// # Errors
    /// Always [`Error::NotOnThisSystem`].
    pub fn mount(&mut self, _image: &Image) -> Result<PathBuf, Error> {
        Err(Error::NotOnThisSystem { what: MOUNTING })
    }

    /// Executes a command and waits for its end. Raising the interrupt of the options ends it.
    ///
    /// # Errors
    /// [`Error::Execute`] when it cannot be executed at all. How it ended is in the status.
    pub fn run(&self, command: &Command) -> Result<ExitStatus, Error> {
        let program = || command.arguments().first().map(|program| program.display().to_string());
        self.processes
            .run(command)
            .map_err(|source| Error::Execute { program: program().unwrap_or_default(), source })
    }

    /// Nothing is mounted, so nothing was written.
    pub fn written(&self) -> Vec<Written> {
        Vec::new()
    }

    /// Nothing is mounted, so nothing can fail.
    pub fn unmount_all(&mut self) -> Vec<Error> {
        Vec::new()
    }
}

/// The images that are mounted for everybody.
#[derive(Debug)]
pub struct Mounts {
    _options: Options,
}

impl Mounts {
    /// Opens the register of mounts.
    ///
    /// # Errors
    /// None yet.
    pub fn open(options: Options) -> Result<Self, Error> {
        Ok(Self { _options: options })
    }

    /// Mounting does not work on Windows yet.
    ///
    /// # Errors
    /// Always [`Error::NotOnThisSystem`].
    pub fn mount(&self, _image: &Image, _target: &str, _folder: &Path) -> Result<Shown, Error> {
        Err(Error::NotOnThisSystem { what: MOUNTING })
    }

    /// Nothing is mounted, so nothing is there to unmount.
    ///
    /// # Errors
    /// None yet.
    pub fn unmount(&self, _target: &str, _folder: &Path) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
        Ok((Vec::new(), Vec::new()))
    }

    /// Nothing is mounted, so nothing is there to unmount.
    ///
    /// # Errors
    /// None yet.
    pub fn unmount_folders(
        &self,
        _target: &str,
        _project: &Path,
        _folders: &[PathBuf],
    ) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
        Ok((Vec::new(), Vec::new()))
    }
}

/// Tells that no road works on Windows yet.
#[must_use]
pub fn diagnose(_options: &Options) -> Diagnosis {
    let roads = || {
        let outcome = Outcome::Fails {
            why: Error::NotOnThisSystem { what: MOUNTING }.to_string(),
            remedy: "gonto image extract writes the files of an image to a folder".to_owned(),
        };
        let roads = [Backend::Erofs, Backend::Fuse, Backend::Extract];
        roads.map(|backend| RoadCheck { backend, outcome: outcome.clone() }).to_vec()
    };
    Diagnosis { run: roads(), mount: roads(), ingredients: Vec::new() }
}
