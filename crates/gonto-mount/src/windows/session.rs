//! The images and processes of one run.

use std::path::PathBuf;
use std::process::ExitStatus;

use super::process::Processes;
use super::register::Register;
use super::shown::{self, Shown};
use crate::{Command, Error, Image, MountPoint, Options, Written};

/// The images and processes of one run. They end with it. Windows has no mounts of a process's own: as long as the run goes on, all
/// processes of the logon session see its images.
///
/// ```no_run
/// use gonto_mount::{Backend, Command, Image, Interrupt, Layer, MountPoint, Notices, Options, Session};
///
/// let mut session = Session::new(Options {
///     state_dir: r"C:\Users\me\AppData\Local\gonto".into(),
///     cache_dir: r"D:\cache".into(),
///     backend: Backend::Auto,
///     layer: Layer::Cache,
///     notices: Notices::new(|notice| eprintln!("{notice}")),
///     interrupt: Interrupt::new()?,
/// })?;
/// let image = Image { file: r"D:\cache\jdk\jdk_v21_win64.vhd".into(), mount_point: MountPoint::Drive('U') };
/// let folder = session.mount(&image)?;
/// let command = Command::shell("dir", std::env::vars_os().collect(), &folder);
/// assert!(session.run(&command)?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    processes: Processes,
    shown: Vec<Shown>,
    register: Register,
    options: Options,
}

impl Session {
    /// Starts a run. What killed runs have left behind is removed before.
    ///
    /// # Errors
    /// [`Error::Processes`], [`Error::State`].
    pub fn new(options: Options) -> Result<Self, Error> {
        let register = Register::open(&options)?;
        register.lock()?.sweep()?;
        let interrupt = options.interrupt.clone();
        let processes = Processes::new(interrupt).map_err(|source| Error::Processes { source })?;
        Ok(Self { processes, shown: Vec::new(), register, options })
    }

    /// Shows an image, and returns its folder: the root of a drive, most often.
    ///
    /// # Errors
    /// The image cannot be read, its drive letter is taken, or no road works; see [`Error`].
    pub fn mount(&mut self, image: &Image) -> Result<PathBuf, Error> {
        let twice = |shown: &&Shown| {
            let letter = shown.entry().letter.map(char::from);
            matches!(image.mount_point, MountPoint::Drive(wanted) if letter == Some(wanted))
        };
        if let Some(first) = self.shown.iter().find(twice) {
            let entry = first.entry();
            return Err(Error::MountPointTwice {
                path: entry.folder(),
                first: entry.image.clone(),
                second: image.file.clone(),
            });
        }
        let shown = shown::show(image, &self.register, &self.options, None)?;
        let folder = shown.entry().folder();
        self.shown.push(shown);
        Ok(folder)
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

    /// What was written to the images: Windows does not tell.
    pub fn written(&self) -> Vec<Written> {
        Vec::new()
    }

    /// Unmounts everything, the last image first, and returns what failed. What scripts have left running ends before, if there
    /// is an image that it could use: the next run may get the same copy.
    pub fn unmount_all(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        if !self.shown.is_empty()
            && let Err(source) = self.processes.end_all()
        {
            errors.push(Error::Processes { source });
        }
        while let Some(shown) = self.shown.pop() {
            errors.extend(shown.take_down().err());
        }
        errors
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for error in self.unmount_all() {
            tracing::debug!(%error, "left for the next gonto");
        }
    }
}
