//! A file that is being filled: its name, which must not outlive a failure, and its content.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::{Error, sys};

/// The name of a partial file. Removed on drop, unless the file has been given its final name before.
pub(crate) struct Partial {
    path: PathBuf,
}

impl Partial {
    pub(crate) fn new(path: PathBuf) -> Partial {
        Partial { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the renaming there is no such file any more, and nobody else makes one: names are not used twice.
        let _ = fs::remove_file(&self.path);
    }
}

/// The content of a partial file, held by the thread that fills it. Dropping it only closes it.
pub(crate) struct PartialFile {
    file: File,
    path: PathBuf,
    cache_dir: PathBuf,
    needed: Option<u64>,
}

impl PartialFile {
    pub(crate) fn new(file: File, path: PathBuf, cache_dir: PathBuf) -> PartialFile {
        PartialFile { file, path, cache_dir, needed: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes room for an image of `length` bytes, so that a full disk is known before the download and not after it.
    pub(crate) fn reserve(&mut self, length: u64) -> Result<(), Error> {
        self.needed = Some(length);
        match sys::reserve(&self.file, length) {
            Ok(()) => Ok(()),
            Err(error) if is_about_space(&error) => Err(self.write_error(error)),
            // Not every file system can reserve. Writing will tell what is the matter, if anything is.
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "cannot reserve space");
                Ok(())
            }
        }
    }

    /// Appends `bytes`.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| self.write_error(error))
    }

    /// Appends up to `limit` bytes of `from`, and returns how many they were. Where the systems and their file systems
    /// can, the bytes are copied or shared by the kernel.
    pub(crate) fn append_from(&mut self, from: &mut File, limit: u64) -> io::Result<u64> {
        // The buffer is for systems whose kernel does not help; the standard library goes around it where it does.
        let mut to = BufWriter::with_capacity(COPY_BUFFER, &self.file);
        let copied = io::copy(&mut from.take(limit), &mut to)?;
        to.flush()?;
        Ok(copied)
    }

    /// Waits until all of the content is on the disk.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| self.write_error(error))
    }

    /// What an error of writing to this file means.
    pub(crate) fn write_error(&self, source: io::Error) -> Error {
        let cache_dir = self.cache_dir.clone();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::NoSpace { cache_dir, needed: self.needed, source }
            }
            io::ErrorKind::FileTooLarge => Error::TooLarge { cache_dir, source },
            _ => Error::Cache { action: "write to", path: self.path.clone(), source },
        }
    }
}

/// Whether an error says that there is no place for the file, now or ever.
pub(crate) fn is_about_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Large enough that the number of system calls does not matter.
const COPY_BUFFER: usize = 256 * 1024;
