//! The cache folder.
//!
//! ```text
//! <cache_dir>/
//!   foobar/
//!     foobar_v1.2.3_win64.vhd                     an image: whole, on the disk, never changed again
//!   .gonto/
//!     locks/
//!       foobar_v1.2.3_win64.vhd.lock              locked by the one who downloads that image; stays for ever, empty
//!     partial/
//!       foobar_v1.2.3_win64.vhd.4711-0.partial    an image that is being downloaded by process 4711
//! ```
//!
//! Image names cannot begin with a dot, so `.gonto` is never an image's folder.
//!
//! **Locking.** Whoever writes a partial file holds the lock of its image. The kernel gives the lock back when its
//! holder ends, however it ends. Lock files are never removed: one could be removed between another process's opening
//! and locking it, and then two would hold "the" lock.
//!
//! **Clean-up.** A partial file whose lock can be had belongs to nobody that lives. Every download begins by removing
//! those. An image's folder is made only when the image is put into it, and is never removed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::partial::{Partial, PartialFile};
use crate::{Error, ImagePath, sys};

/// A cache folder, whether or not it exists yet.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    pub(crate) fn new(dir: PathBuf) -> Cache {
        Cache { dir }
    }

    /// The final name of `image`.
    pub(crate) fn path(&self, image: &ImagePath) -> PathBuf {
        self.image_folder(image).join(image.file_name())
    }

    /// Whether a file has the final name of `image`.
    pub(crate) fn contains(&self, image: &ImagePath) -> Result<bool, Error> {
        let path = self.path(image);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(true),
            Ok(_) => Err(Error::Occupied { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Cache { action: "read", path, source }),
        }
    }

    /// Fails when no folder can have the name of `image` on this system.
    pub(crate) fn check_name(&self, image: &ImagePath) -> Result<(), Error> {
        if sys::is_device(image.name()) {
            return Err(Error::ReservedName { name: image.name().to_owned() });
        }
        Ok(())
    }

    /// Takes the lock of `image`, or returns `None` when somebody else has it.
    pub(crate) fn try_lock(&self, image: &ImagePath) -> Result<Option<ImageLock>, Error> {
        let folder = self.locks();
        fs::create_dir_all(&folder).map_err(|source| Error::Cache {
            action: "create",
            path: folder,
            source,
        })?;
        let file = self.open_lock_file(&image.file_name())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(ImageLock { image: image.clone(), _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => {
                Err(Error::Lock { path: self.lock_path(&image.file_name()), source })
            }
        }
    }

    /// Creates an empty partial file for the image whose lock is held.
    pub(crate) fn create_partial(&self, lock: &ImageLock) -> Result<(Partial, PartialFile), Error> {
        // Two partial files of one process and image can exist for a moment: a cancelled download's worker may not
        // have let go of its file yet, and Windows keeps the name of a removed file until it does.
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let folder = self.partials();
        fs::create_dir_all(&folder).map_err(|source| Error::Cache {
            action: "create",
            path: folder.clone(),
            source,
        })?;
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.{}-{unique}{PARTIAL_EXTENSION}", lock.image.file_name(), process::id());
        let path = folder.join(name);
        let file = sys::create_new(&path).map_err(|source| Error::Cache {
            action: "create",
            path: path.clone(),
            source,
        })?;
        Ok((Partial::new(path.clone()), PartialFile::new(file, path, self.dir.clone())))
    }

    /// Gives a whole, synced partial file its final name.
    pub(crate) fn publish(&self, partial: Partial, lock: &ImageLock) -> Result<(), Error> {
        let folder = self.image_folder(&lock.image);
        fs::create_dir_all(&folder).map_err(|source| Error::Cache {
            action: "create",
            path: folder.clone(),
            source,
        })?;
        let path = self.path(&lock.image);
        sys::rename(partial.path(), &path).map_err(|source| Error::Cache {
            action: "create",
            path: path.clone(),
            source,
        })?;
        // Without this, the image could be gone (not damaged) after a power failure. That is no reason to call the
        // download a failure where folders cannot be synced: some network file systems refuse to.
        for folder in [&folder, &self.dir] {
            if let Err(error) = sys::sync_folder(folder) {
                tracing::debug!(path = %folder.display(), %error, "cannot sync the folder");
            }
        }
        Ok(())
    }

    /// Removes the partial files that nobody is writing to: the image's own, as its lock is held, and those of other
    /// images whose lock is free. A file that cannot be removed harms nobody, so there are no errors.
    pub(crate) fn remove_stale_partials(&self, lock: &ImageLock) {
        let Ok(entries) = fs::read_dir(self.partials()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(image_file) = name.to_str().and_then(image_file_of_partial) else {
                continue;
            };
            // The lock of another image is held until its stale file is gone.
            let foreign_lock = if image_file == lock.image.file_name() {
                None
            } else {
                match self.open_lock_file(image_file) {
                    Ok(file) if file.try_lock().is_ok() => Some(file),
                    _ => continue,
                }
            };
            tracing::debug!(path = %entry.path().display(), "removing the partial file of a dead process");
            if let Err(error) = fs::remove_file(entry.path()) {
                tracing::debug!(path = %entry.path().display(), %error, "cannot remove it");
            }
            drop(foreign_lock);
        }
    }

    fn open_lock_file(&self, image_file: &str) -> Result<File, Error> {
        let path = self.lock_path(image_file);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| Error::Cache { action: "create", path, source })
    }

    fn image_folder(&self, image: &ImagePath) -> PathBuf {
        self.dir.join(image.name())
    }

    fn lock_path(&self, image_file: &str) -> PathBuf {
        self.locks().join(format!("{image_file}.lock"))
    }

    fn locks(&self) -> PathBuf {
        self.dir.join(".gonto").join("locks")
    }

    fn partials(&self) -> PathBuf {
        self.dir.join(".gonto").join("partial")
    }
}

/// The right to download one image; given back on drop, and by the kernel when the process ends.
pub(crate) struct ImageLock {
    image: ImagePath,
    _file: File,
}

const PARTIAL_EXTENSION: &str = ".partial";

/// `foobar_v1.2.3_win64.vhd` for `foobar_v1.2.3_win64.vhd.4711-0.partial`; `None` for a name that is not ours.
fn image_file_of_partial(name: &str) -> Option<&str> {
    let (image_file, unique) = name.strip_suffix(PARTIAL_EXTENSION)?.rsplit_once('.')?;
    let (process, counter) = unique.split_once('-')?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(process) && is_number(counter) && !image_file.is_empty()).then_some(image_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_taken_for_partial_files() {
        let ours = "foobar_v1.2.3-4_win64.vhd.4711-0.partial";
        assert_eq!(image_file_of_partial(ours), Some("foobar_v1.2.3-4_win64.vhd"));
        for other in [
            "foobar.vhd",
            "x.partial",
            ".1-2.partial",
            "x.1-.partial",
            "x.-1.partial",
            "x.1.partial",
            "x.a-1.partial",
        ] {
            assert_eq!(image_file_of_partial(other), None, "{other}");
        }
    }
}
