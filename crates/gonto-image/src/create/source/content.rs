//! The content of files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::facts::{Stamp, What};
use super::tree::{Kind, Tree};
use super::{Folder, sys};
use crate::create::error::CreateError;
use crate::source::read_exact_at;

/// A file of the folder, open for reading.
pub(crate) struct OpenFile {
    file: File,
    size: u64,
    stamp: Stamp,
    folder: Arc<Path>,
    path: PathBuf,
}

impl Folder {
    /// Opens a file of the tree, which must still be the one that was found.
    ///
    /// # Errors
    /// [`CreateError::Changed`] when it is not, [`CreateError::Unreadable`] when the system does not let it be read.
    pub(crate) fn open_file(&self, tree: &Tree, inode: usize) -> Result<OpenFile, CreateError> {
        let inode = &tree.inodes[inode];
        let path = tree.path(inode.name as usize);
        let Kind::File { size } = inode.kind else {
            return Err(CreateError::Changed { path: self.path.join(path) });
        };
        let file =
            self.root.open_file(&path).map_err(|error| CreateError::of_found(&self.path, &path, error))?;
        let open = OpenFile { file, size, stamp: inode.stamp, folder: self.path.clone(), path };
        open.still_the_same()?;
        Ok(open)
    }
}

impl Folder {
    /// Makes sure that a folder, a link or an empty file is still what was found.
    ///
    /// # Errors
    /// [`CreateError::Changed`] when it is not.
    pub(crate) fn check(&self, tree: &Tree, inode: usize) -> Result<(), CreateError> {
        let inode = &tree.inodes[inode];
        let path = tree.path(inode.name as usize);
        let of_found = |error| CreateError::of_found(&self.path, &path, error);
        let facts = match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => {
                self.root.open_folder(folder).and_then(|folder| folder.facts(name)).map_err(of_found)?
            }
            _ => self.root.open_folder(&path).and_then(|root| root.own_facts()).map_err(of_found)?,
        };
        let same = match inode.kind {
            Kind::Folder { .. } => facts.what == What::Folder,
            Kind::Link(_) => facts.what == What::Link,
            Kind::File { size } => facts.what == What::File && facts.size == size,
        };
        if same && facts.stamp == inode.stamp {
            Ok(())
        } else {
            Err(CreateError::Changed { path: self.path.join(path) })
        }
    }
}

impl OpenFile {
    /// Whether it holds nothing. Some file systems, such as /proc, say so of files that hold something.
    ///
    /// # Errors
    /// [`CreateError::Unreadable`] when it holds something, or when the system does not let it be read.
    pub(crate) fn is_really_empty(&self) -> Result<(), CreateError> {
        match (&self.file).read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => {
                let lie = "its file system says that it is empty, and it is not";
                Err(CreateError::Unreadable {
                    path: self.folder.join(&self.path),
                    source: io::Error::other(lie),
                })
            }
            Err(error) => Err(CreateError::of_found(&self.folder, &self.path, error)),
        }
    }

    /// Fills all of `buf` from `offset` on.
    ///
    /// # Errors
    /// [`CreateError::Changed`] when the file ends before that.
    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), CreateError> {
        read_exact_at(&self.file, buf, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => CreateError::of_found(&self.folder, &self.path, error),
        })
    }

    /// Where data begin, at or behind `offset`; the size of the file when only a hole follows.
    pub(crate) fn next_data(&self, offset: u64) -> u64 {
        sys::next_data(&self.file, offset).map_or(self.size, |next| next.clamp(offset, self.size.max(offset)))
    }

    /// Makes sure that nothing has changed since the file was found.
    ///
    /// # Errors
    /// [`CreateError::Changed`] when something has.
    pub(crate) fn still_the_same(&self) -> Result<(), CreateError> {
        let facts = sys::facts_of(&self.file)
            .map_err(|error| CreateError::of_found(&self.folder, &self.path, error))?;
        if facts.what == What::File && facts.size == self.size && facts.stamp == self.stamp {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    /// The file, for those who read it in other ways as well.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    fn changed(&self) -> CreateError {
        CreateError::Changed { path: self.folder.join(&self.path) }
    }
}
