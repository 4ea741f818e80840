//! Repositories on a path: a local disk, a network share. They are only read.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use crate::partial::{PartialFile, is_about_space};
use crate::{Error, ImagePath};

/// A folder with the repository's layout.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Folder {
        // With one kind of separator, because messages show it.
        Folder { path: path.components().collect() }
    }

    pub(crate) fn location(&self, image: &ImagePath) -> String {
        self.image_file(image).display().to_string()
    }

    pub(crate) fn request(&self, image: &ImagePath) -> FolderRequest {
        FolderRequest {
            location: self.location(image),
            folder: self.path.clone(),
            file: self.image_file(image),
        }
    }

    fn image_file(&self, image: &ImagePath) -> PathBuf {
        self.path.join(image.name()).join(image.file_name())
    }
}

/// The wish to read one file of a folder.
pub(crate) struct FolderRequest {
    location: String,
    folder: PathBuf,
    file: PathBuf,
}

impl FolderRequest {
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    pub(crate) fn open(self) -> Result<FolderContent, Error> {
        // A look before opening: opening a named pipe would wait for its writer.
        let metadata = fs::metadata(&self.file).map_err(|source| self.missing_or_unreadable(source))?;
        if !metadata.is_file() {
            return Err(Error::NotAFile { path: self.file });
        }
        let file = File::open(&self.file).map_err(|source| self.missing_or_unreadable(source))?;
        Ok(FolderContent { file, path: self.file, length: metadata.len() })
    }

    /// An image that is missing and a repository that is missing have different remedies.
    fn missing_or_unreadable(&self, source: io::Error) -> Error {
        if source.kind() != io::ErrorKind::NotFound {
            return Error::RepositoryUnreadable { path: self.file.clone(), source };
        }
        match fs::metadata(&self.folder) {
            Ok(metadata) if metadata.is_dir() => Error::ImageMissing { path: self.file.clone() },
            Ok(_) => Error::RepositoryMissing {
                folder: self.folder.clone(),
                source: io::ErrorKind::NotADirectory.into(),
            },
            Err(source) => Error::RepositoryMissing { folder: self.folder.clone(), source },
        }
    }
}

/// An image file of a folder.
pub(crate) struct FolderContent {
    file: File,
    path: PathBuf,
    length: u64,
}

/// Bytes moved at a time: a multiple of every block size, so that file systems can share the blocks, and so small that
/// a cancelled copy from a slow share ends soon.
const PIECE: u64 = 8 << 20;

impl FolderContent {
    /// The length that the file had when it was opened. A file that changes while it is copied is noticed by it.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn append_to(&mut self, file: &mut PartialFile) -> Result<u64, Error> {
        file.append_from(&mut self.file, PIECE).map_err(|source| {
            if is_about_space(&source) {
                file.write_error(source)
            } else {
                Error::Copy { from: self.path.clone(), to: file.path().to_owned(), source }
            }
        })
    }
}
