//! Images that are mounted until they are unmounted.

use std::path::{Path, PathBuf};

use super::register::{Entry, Found, Holder, Locked, Register};
use super::shown;
use crate::{Error, Image, Layer, MountPoint, Notice, Options, Shown};

/// The images that every process of the user sees, until they are unmounted or the system is restarted; drives that stand for
/// copies, until the user logs off.
#[derive(Debug)]
pub struct Mounts {
    register: Register,
    options: Options,
}

impl Mounts {
    /// Opens the register of mounts. What killed gontos have left behind is removed before.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn open(options: Options) -> Result<Self, Error> {
        let register = Register::open(&options)?;
        register.lock()?.sweep()?;
        Ok(Self { register, options })
    }

    /// Shows an image for a target of a project. If it is shown already, and no other drive is wanted, the target becomes one of
    /// those who need it.
    ///
    /// # Errors
    /// As for [`Session::mount`](crate::Session::mount).
    pub fn mount(&self, image: &Image, target: &str, project: &Path) -> Result<Shown, Error> {
        let holder = Holder { target: target.to_owned(), project: project.to_owned() };
        let locked = self.register.lock()?;
        let mut alive = locked.sweep()?;
        let same = alive.iter_mut().find(|Found { entry, .. }| {
            let letter = entry.letter.map(char::from);
            let elsewhere = matches!(image.mount_point, MountPoint::Drive(wanted) if letter != Some(wanted));
            entry.complete && entry.image == image.file && !elsewhere
        });
        if let Some(found) = same {
            let already = found.entry.holders.contains(&holder);
            self.tell_difference(&found.entry);
            locked.add_holder(found, holder)?;
            return Ok(Shown { folder: found.entry.folder(), already });
        }
        let shown = shown::show_beside(image, locked, &alive, &self.options, Some(holder))?;
        Ok(Shown { folder: shown.leave()?, already: false })
    }

    /// Whoever mounted it first has said whether it can be written to.
    fn tell_difference(&self, entry: &Entry) {
        let (mount_point, reason) = (entry.folder(), format!("{} mounted it so", entry.describe_holders()));
        match (entry.read_only, self.options.layer == Layer::None) {
            (true, false) => self.options.notices.send(Notice::ReadOnly { mount_point, reason }),
            (false, true) => self.options.notices.send(Notice::Writable { mount_point, reason }),
            _ => {}
        }
    }

    /// Takes away what is mounted for a target of a project, the last image first, unless others need it too. Returns the
    /// folders that the target does not need any more, and what failed.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn unmount(&self, target: &str, project: &Path) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
        self.unmount_those(target, project, |_| true)
    }

    /// The same for the images in `folders`.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn unmount_folders(
        &self,
        target: &str,
        project: &Path,
        folders: &[PathBuf],
    ) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
        self.unmount_those(target, project, |folder| folders.iter().any(|wanted| wanted == folder))
    }

    fn unmount_those(
        &self,
        target: &str,
        project: &Path,
        wanted: impl Fn(&Path) -> bool,
    ) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
        let holder = Holder { target: target.to_owned(), project: project.to_owned() };
        let locked: Locked<'_> = self.register.lock()?;
        let (mut freed, mut errors) = (Vec::new(), Vec::new());
        for found in locked.sweep()?.into_iter().rev() {
            let folder = found.entry.folder();
            if !found.entry.holders.contains(&holder) || !wanted(&folder) {
                continue;
            }
            match locked.remove_holder(found, &holder) {
                Ok(()) => freed.push(folder),
                Err(error) => errors.push(error),
            }
        }
        Ok((freed, errors))
    }
}
