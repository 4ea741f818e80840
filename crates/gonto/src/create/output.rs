//! A file while it is being made: it has no name that anybody would take for an image.
//!
//! Where the system knows files without a name, it is one, so that nothing is left even after `kill -9`. Elsewhere it lies beside
//! its place, hidden, new and under a lock; the next gonto that makes an image in that folder removes it when its owner is dead.

use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::Error;

#[cfg(not(target_os = "linux"))]
use elsewhere as sys;
#[cfg(target_os = "linux")]
use linux as sys;

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

/// A file that is being made.
pub(super) struct Output {
    file: File,
    /// Where it will be.
    place: PathBuf,
    /// Where it is meanwhile, if it has a name; removed at last.
    partial: Option<TempPath>,
}

/// The folder that a path lies in.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Fails when something has this name, be it a link that leads nowhere.
pub(super) fn refuse_existing(path: &Path) -> Result<(), Error> {
    match path.symlink_metadata() {
        Ok(_) => Err(Error::Exists { path: path.to_owned() }),
        Err(_) => Ok(()),
    }
}

/// How the name of a hidden file begins.
const PREFIX: &str = ".gonto-create-";

impl Output {
    /// An empty file.
    pub(super) fn new(place: &Path) -> Result<Self, Error> {
        let folder = folder(place);
        let (file, partial) = match sys::without_name(folder) {
            Ok(file) => (file, None),
            Err(_) => {
                remove_dead(folder);
                let (file, partial) = hidden(folder).map_err(|source| Error::write(place, source))?;
                (file, Some(partial))
            }
        };
        Ok(Self { file, place: place.to_owned(), partial })
    }

    /// The file, from its start.
    pub(super) fn file(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Makes sure that it is on the disk, and returns its size.
    pub(super) fn sync(&self) -> io::Result<u64> {
        self.file.sync_all()?;
        Ok(self.file.metadata()?.len())
    }

    /// Gives it its name, unless something else has got that meanwhile.
    pub(super) fn publish(self) -> Result<(), Error> {
        let Self { file, place, partial } = self;
        let named = match partial {
            None => sys::give_name(&file, &place),
            Some(partial) => partial.persist_noclobber(&place).map_err(|error| error.error),
        };
        named.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: place },
            _ => Error::write(&place, source),
        })
    }
}

fn hidden(folder: &Path) -> io::Result<(File, TempPath)> {
    let (file, path) = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(folder, |path| File::options().read(true).write(true).create_new(true).open(path))?
        .into_parts();
    // Nobody else has it: a lock that cannot be had is one that the file system does not know.
    let _ = file.try_lock();
    Ok((file, path))
}

/// Removes hidden files that nobody holds a lock on. What cannot be removed is left: it is in nobody's way.
fn remove_dead(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let is_dead = || File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_ours && is_file && is_dead() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn hidden_files_of_the_dead_are_removed_and_those_of_the_living_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, path) = hidden(folder.path()).unwrap();
        file.write_all(b"living").unwrap();
        let dead = folder.path().join(format!("{PREFIX}dead"));
        fs::write(&dead, "dead").unwrap();
        let other = folder.path().join(".other");
        fs::write(&other, "other").unwrap();
        remove_dead(folder.path());
        assert_eq!([path.exists(), dead.exists(), other.exists()], [true, false, true]);
        let place = folder.path().join("place");
        Output { file, place: place.clone(), partial: Some(path) }.publish().unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"living");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_there_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        let (file, path) = hidden(folder.path()).unwrap();
        let outputs =
            [Output::new(&place).unwrap(), Output { file, place: place.clone(), partial: Some(path) }];
        fs::write(&place, "mine").unwrap();
        for output in outputs {
            assert!(matches!(output.publish(), Err(Error::Exists { .. })));
        }
        assert_eq!(fs::read(&place).unwrap(), b"mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
