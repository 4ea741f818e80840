//! The hidden folder of an extraction, and what is left of those that were killed.
//!
//! ```text
//! <destination>/.gonto-extract-XXXXXX/
//!   lock        locked as long as the extraction lives; the kernel frees it, however that ends
//!   new/        what is written, under the paths that it will have
//!   replaced/   files that were there before, under the paths that they had
//! ```
//! Every extraction looks for those whose lock is free. Files that were to be replaced go back to their places where those are
//! free; a place that is taken is never overwritten: then the file stays in `replaced`, and the user is told.
//!
//! The destination may hold what an image has put there, so a folder of this name is followed through no link.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{Existing, existing};

const PREFIX: &str = ".gonto-extract-";
const LOCK: &str = "lock";
const NEW: &str = "new";
const REPLACED: &str = "replaced";

/// The folder of this extraction. It goes with it.
pub(super) struct Staging {
    folder: PathBuf,
    lock: Option<File>,
}

impl Staging {
    pub(super) fn new(destination: &Path) -> io::Result<Self> {
        loop {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(destination)?.keep();
            match Self::lock(folder) {
                // Until it is locked, another extraction takes it for a dead one.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {
                }
                locked => return locked,
            }
        }
    }

    fn lock(folder: PathBuf) -> io::Result<Self> {
        let lock = open_lock(&folder)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            // Where there are no locks, nobody gets this one, and nobody clears up.
            Err(TryLockError::Error(error)) => tracing::debug!(%error, "the file system has no locks"),
        }
        let staging = Self { folder, lock: Some(lock) };
        fs::create_dir(staging.new_files())?;
        fs::create_dir(staging.replaced())?;
        Ok(staging)
    }

    /// Where everything is written first.
    pub(super) fn new_files(&self) -> PathBuf {
        self.folder.join(NEW)
    }

    /// Where files go that were there before.
    pub(super) fn replaced(&self) -> PathBuf {
        self.folder.join(REPLACED)
    }

    /// Leaves it there, with the files that were there before.
    pub(super) fn keep(mut self) {
        self.lock = None;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            remove(&self.folder, lock);
        }
    }
}

/// What an extraction has left that was killed. It is ours now: nobody else has its lock.
pub(super) struct Leftover {
    folder: PathBuf,
    lock: File,
}

impl Leftover {
    /// Brings back and clears away what dead extractions have left in a folder. Those are told that hold files whose place is
    /// taken. What cannot be cleared away stays for the next one.
    pub(super) fn clear(destination: &Path) -> io::Result<Vec<Self>> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(destination)?.flatten() {
            let folder = entry.path();
            if !is_staging(&folder).unwrap_or(false) {
                continue;
            }
            let Some(lock) = open_lock(&folder).ok().filter(|lock| lock.try_lock().is_ok()) else {
                continue;
            };
            let leftover = Self { folder, lock };
            match leftover.bring_back(destination) {
                Ok(()) => kept.extend(leftover.finish()),
                Err(error) => {
                    tracing::debug!(path = %leftover.folder.display(), %error, "cannot bring back");
                    kept.push(leftover);
                }
            }
        }
        Ok(kept)
    }

    /// Files that another extraction has replaced now need not be kept.
    pub(super) fn forget(&self, replaced: &HashSet<&Path>) -> io::Result<()> {
        for former in self.former()?.iter().filter(|former| replaced.contains(&***former)) {
            fs::remove_file(self.replaced().join(former))?;
        }
        Ok(())
    }

    /// Removes it, unless there are still files in it that were there before.
    pub(super) fn finish(self) -> Option<Self> {
        match self.former() {
            Ok(former) if former.is_empty() => {
                remove(&self.folder, self.lock);
                None
            }
            _ => Some(self),
        }
    }

    /// The folder with the files that were there before.
    pub(super) fn replaced(&self) -> PathBuf {
        self.folder.join(REPLACED)
    }

    fn bring_back(&self, destination: &Path) -> io::Result<()> {
        let new_files = self.folder.join(NEW);
        for path in self.former()? {
            let (former, place) = (self.replaced().join(&path), destination.join(&path));
            if !is_reached(destination, &path)? {
                continue;
            }
            // A second name never takes the place of another file.
            if fs::hard_link(&former, &place).is_ok() {
                fs::remove_file(&former)?;
            } else if existing(&place)?.is_none() {
                fs::rename(&former, &place)?;
            } else if existing(&new_files.join(&path))?.is_some() {
                // It was not replaced yet: this is a second name of the file in its place.
                fs::remove_file(&former)?;
            }
        }
        // Only now: what is in it tells what was not replaced.
        match fs::remove_dir_all(new_files) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The files that were there before, by their paths in the destination.
    fn former(&self) -> io::Result<Vec<PathBuf>> {
        let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(self.replaced().join(&folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let is_folder = entry.file_type()?.is_dir();
                let path = folder.join(entry.file_name());
                if is_folder { &mut folders } else { &mut files }.push(path);
            }
        }
        Ok(files)
    }
}

/// Whether a folder is one of ours: its name is, and there is nothing else in it.
fn is_staging(folder: &Path) -> io::Result<bool> {
    let name = folder.file_name().and_then(|name| name.to_str());
    if !name.is_some_and(|name| name.starts_with(PREFIX)) || !folder.symlink_metadata()?.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let is_ours = match entry.file_name().to_str() {
            Some(LOCK) => kind.is_file(),
            Some(NEW | REPLACED) => kind.is_dir(),
            _ => false,
        };
        if !is_ours {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the folders above a path are there, and none of them is a link.
fn is_reached(destination: &Path, path: &Path) -> io::Result<bool> {
    for folder in path.ancestors().skip(1) {
        if !matches!(existing(&destination.join(folder))?, Some(Existing::Folder)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK))
}

/// Removes a folder whose lock is ours. The lock is given back when nobody can find it any more, so that nobody gets it and
/// begins to work in a folder that goes away. What cannot be removed harms nobody, and the next extraction tries again.
fn remove(folder: &Path, lock: File) {
    let removed = [NEW, REPLACED].iter().try_for_each(|name| match fs::remove_dir_all(folder.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    });
    let removed = removed.and_then(|()| fs::remove_file(folder.join(LOCK))).and_then(|()| {
        let removed = fs::remove_dir(folder);
        drop(lock);
        // Some systems keep the name of a file that is open.
        removed.or_else(|_| fs::remove_dir(folder))
    });
    if let Err(error) = removed {
        tracing::debug!(path = %folder.display(), %error, "cannot remove the folder");
    }
}

#[cfg(test)]
mod tests {
    use super::super::publish::{Publication, tests::files};
    use super::*;

    /// An extraction of the files `1`, `2` and `3` in `folder`, which replaces those of the destination.
    fn extraction() -> (tempfile::TempDir, Staging) {
        let destination = tempfile::tempdir().unwrap();
        let staging = Staging::new(destination.path()).unwrap();
        for (folder, content) in [(destination.path(), "old"), (&*staging.new_files(), "new")] {
            fs::create_dir(folder.join("folder")).unwrap();
            for name in ["1", "2", "3"] {
                fs::write(folder.join("folder").join(name), content).unwrap();
            }
        }
        (destination, staging)
    }

    fn publish(destination: &Path, staging: &Staging) {
        let mut publication = Publication::default();
        publication.add(&staging.new_files(), destination, &staging.replaced(), true).unwrap();
    }

    fn list(contents: [(&str, &str); 3]) -> Vec<(String, String)> {
        contents.map(|(name, content)| (format!("folder/{name}"), content.to_owned())).into()
    }

    const OLD: [(&str, &str); 3] = [("1", "old"), ("2", "old"), ("3", "old")];

    #[test]
    fn what_a_dead_extraction_has_written_is_removed() {
        let (destination, staging) = extraction();
        staging.keep();
        assert!(Leftover::clear(destination.path()).unwrap().is_empty());
        assert_eq!(fs::read_dir(destination.path()).unwrap().count(), 1);
        assert_eq!(files(destination.path()), list(OLD));
    }

    #[test]
    fn a_living_extraction_is_left_alone() {
        let (destination, staging) = extraction();
        assert!(Leftover::clear(destination.path()).unwrap().is_empty());
        publish(destination.path(), &staging);
        drop(staging);
        assert_eq!(files(destination.path()), list([("1", "new"), ("2", "new"), ("3", "new")]));
    }

    /// Killed between any two steps: the file has a second name, is away, or was moved back only in part.
    #[test]
    fn files_that_were_not_replaced_yet_are_in_their_places() {
        let (destination, staging) = extraction();
        let replaced = staging.replaced().join("folder");
        fs::create_dir(&replaced).unwrap();
        let place = |name: &str| destination.path().join("folder").join(name);
        fs::hard_link(place("1"), replaced.join("1")).unwrap();
        fs::rename(place("2"), replaced.join("2")).unwrap();
        staging.keep();
        assert!(Leftover::clear(destination.path()).unwrap().is_empty());
        assert_eq!(files(destination.path()), list(OLD));
    }

    #[test]
    fn files_that_were_replaced_are_kept_until_they_are_replaced_again() {
        let (destination, staging) = extraction();
        publish(destination.path(), &staging);
        staging.keep();
        let place = destination.path().join("folder");
        fs::remove_file(place.join("3")).unwrap();

        let [kept] = Leftover::clear(destination.path()).unwrap().try_into().ok().unwrap();
        assert_eq!(
            files(&place),
            [("1", "new"), ("2", "new"), ("3", "old")].map(|(name, content)| (name.into(), content.into()))
        );
        assert_eq!(files(&kept.replaced()).len(), 2);
        kept.forget(&HashSet::from([Path::new("folder/1")])).unwrap();
        let kept = kept.finish().unwrap();
        assert_eq!(files(&kept.replaced()), [("folder/2".into(), "old".into())]);
        kept.forget(&HashSet::from([Path::new("folder/2")])).unwrap();
        assert!(kept.finish().is_none());
        assert_eq!(fs::read_dir(destination.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_with_anything_else_in_it_is_not_ours() {
        let destination = tempfile::tempdir().unwrap();
        let folder = destination.path().join(".gonto-extract-abcdef");
        fs::create_dir_all(folder.join(NEW)).unwrap();
        fs::write(folder.join("notes"), "mine").unwrap();
        assert!(Leftover::clear(destination.path()).unwrap().is_empty());
        assert_eq!(files(&folder), [("notes".into(), "mine".into())]);
    }

    /// An image may put there what looks like ours.
    #[cfg(unix)]
    #[test]
    fn no_link_leads_out_of_the_destination() {
        use std::os::unix::fs::symlink;

        for links in [&["replaced"][..], &["lock"], &["new"], &["replaced/folder"], &["../folder"]] {
            let (destination, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::write(outside.path().join("1"), "mine").unwrap();
            let folder = destination.path().join(".gonto-extract-abcdef");
            fs::create_dir_all(folder.join("replaced/folder")).unwrap();
            fs::write(folder.join("replaced/folder/2"), "theirs").unwrap();
            for link in links {
                let link = folder.join(link);
                if link.is_dir() {
                    fs::remove_dir_all(&link).unwrap();
                }
                symlink(outside.path(), link).unwrap();
            }
            for leftover in Leftover::clear(destination.path()).unwrap() {
                leftover.forget(&HashSet::from([Path::new("folder/1")])).unwrap();
            }
            assert_eq!(files(outside.path()), [("1".into(), "mine".into())], "{links:?}");
        }
    }
}
