//! What is whole is moved to its place: all of it, or none.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Existing, Failure, existing};

/// What has been moved, so that it can be moved back.
#[derive(Default)]
pub(super) struct Publication {
    moved: Vec<Moved>,
}

struct Moved {
    from: PathBuf,
    to: PathBuf,
    /// Where the file is that was there before.
    replaced: Option<PathBuf>,
}

impl Publication {
    /// Moves everything from one folder to another, of which some may be there already. Files that are replaced go to the
    /// folder `replaced`, in which there is nothing yet, under the same paths. After an error, what was moved has to be
    /// [taken back](Self::undo).
    pub(super) fn add(
        &mut self,
        from: &Path,
        to: &Path,
        replaced: &Path,
        force: bool,
    ) -> Result<(), Failure> {
        let mut folders = vec![(from.to_owned(), to.to_owned(), replaced.to_owned())];
        while let Some((from, to, replaced)) = folders.pop() {
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                let [source, target, former] =
                    [&from, &to, &replaced].map(|folder| folder.join(entry.file_name()));
                let is_folder = entry.file_type()?.is_dir();
                let replaced = match existing(&target)? {
                    Some(Existing::Folder) if is_folder => {
                        folders.push((source, target, former));
                        continue;
                    }
                    Some(Existing::Other) if force && !is_folder => {
                        fs::create_dir_all(&replaced)?;
                        Some(former)
                    }
                    // It was not there a while ago.
                    Some(_) => return Err(Failure::Exists(target, 1)),
                    None => None,
                };
                self.rename(source, target, replaced)?;
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf, replaced: Option<PathBuf>) -> io::Result<()> {
        if let Some(replaced) = &replaced {
            // With a second name, the file is never away. Not every file system has them.
            fs::hard_link(&to, replaced)
                .or_else(|_| fs::rename(&to, replaced))
                .map_err(|error| about(&to, error))?;
        }
        let renamed = fs::rename(&from, &to).map_err(|error| about(&to, error));
        if let (Err(_), Some(replaced)) = (&renamed, &replaced)
            && existing(&to)?.is_none()
        {
            fs::rename(replaced, &to).map_err(|error| about(replaced, error))?;
        }
        renamed.map(|()| self.moved.push(Moved { from, to, replaced }))
    }

    /// The files that have been replaced, by their paths in the folder with what was there before.
    pub(super) fn replaced(&self, folder: &Path) -> HashSet<&Path> {
        let replaced = self.moved.iter().filter_map(|moved| moved.replaced.as_deref());
        replaced.filter_map(|replaced| replaced.strip_prefix(folder).ok()).collect()
    }

    /// Moves everything back, the last first. Tells what could not be, at the place where it still is.
    pub(super) fn undo(self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for Moved { from, to, replaced } in self.moved.into_iter().rev() {
            let back = fs::rename(&to, &from);
            if back.and_then(|()| replaced.map_or(Ok(()), |replaced| fs::rename(replaced, &to))).is_err() {
                left.push(to);
            }
        }
        left
    }
}

fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every file below a folder, and its content.
    pub(crate) fn files(folder: &Path) -> Vec<(String, String)> {
        let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(inside) = folders.pop() {
            for entry in fs::read_dir(inside).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path
                        .strip_prefix(folder)
                        .unwrap()
                        .display()
                        .to_string()
                        .replace(std::path::MAIN_SEPARATOR, "/");
                    files.push((name, fs::read_to_string(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }

    /// New files, a destination that holds some of them, and a place for those that are replaced.
    fn scene(in_the_way: &str) -> (tempfile::TempDir, [PathBuf; 3]) {
        let scratch = tempfile::tempdir().unwrap();
        let folders = ["new", "to", "replaced"].map(|name| scratch.path().join(name));
        let [new, to, replaced] = &folders;
        for folder in [new.join("merged"), new.join("whole"), to.join("merged"), replaced.clone()] {
            fs::create_dir_all(folder).unwrap();
        }
        for number in 0..40 {
            for folder in ["", "merged", "whole"] {
                fs::write(new.join(folder).join(number.to_string()), "new").unwrap();
            }
        }
        for number in 0..20 {
            fs::write(to.join("merged").join(number.to_string()), "old").unwrap();
        }
        fs::write(to.join("own"), "own").unwrap();
        fs::create_dir_all(to.join(in_the_way)).unwrap();
        (scratch, folders)
    }

    #[test]
    fn what_is_moved_replaces_files_and_joins_folders() {
        let (_scratch, [new, to, replaced]) = scene("");
        let mut expected = files(&new);
        Publication::default().add(&new, &to, &replaced, true).unwrap();
        expected.push(("own".into(), "own".into()));
        expected.sort();
        assert_eq!(files(&to), expected);
        assert!(files(&new).is_empty());
    }

    /// A folder comes into the way of a file: the destination is as it was, and so is what was to be moved.
    #[test]
    fn a_failure_half_way_is_taken_back() {
        for in_the_way in ["7", "merged/33"] {
            let (_scratch, [new, to, replaced]) = scene(in_the_way);
            let (before, expected) = (files(&to), files(&new));
            let mut publication = Publication::default();
            let failed = publication.add(&new, &to, &replaced, true);
            assert!(matches!(failed, Err(Failure::Exists(path, 1)) if path == to.join(in_the_way)));
            assert_eq!(publication.undo(), Vec::<PathBuf>::new());
            assert_eq!((files(&to), files(&new), files(&replaced).len()), (before, expected, 0));
        }
    }

    #[test]
    fn what_cannot_be_taken_back_is_named() {
        let (_scratch, [new, to, replaced]) = scene("");
        let mut publication = Publication::default();
        publication.add(&new, &to, &replaced, true).unwrap();
        fs::remove_dir_all(new.join("merged")).unwrap();
        let left = publication.undo();
        assert_eq!(left.len(), 40);
        assert!(left.iter().all(|path| path.parent() == Some(&to.join("merged"))), "{left:?}");
    }
}
