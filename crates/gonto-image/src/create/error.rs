//! Why an image cannot be made.

use std::io;
use std::path::PathBuf;

use super::disk::DiskTooBig;
use super::source::Offender;
use super::{LONGEST_LABEL, MOST_CONTENT};

/// Why no image can be made of a folder. Paths begin with the folder as it was named, but for those of offenders.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is no such folder.
    #[error("there is no folder {}", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// What was named.
        path: PathBuf,
    },
    /// The system does not let it be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something changed or vanished since it was found.
    #[error("{} changed while it was read: make the image when nothing writes to the folder", path.display())]
    Changed {
        /// The file or folder.
        path: PathBuf,
    },
    /// Everything that Windows could not read, sorted by path.
    #[error("Windows could not read {} of what is in the folder", .0.len())]
    Offenders(Vec<Offender>),
    /// More than four thousand million names, or as many characters in them.
    #[error("{} holds more names than one image can", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// All files together have more bytes than Windows allows for one.
    #[error("{} holds more than {} PiB", folder.display(), MOST_CONTENT >> 50)]
    TooMuch {
        /// The folder.
        folder: PathBuf,
    },
    /// The name of the volume cannot be one.
    #[error(
        "the label {label:?} is longer than {LONGEST_LABEL} characters (UTF-16 units), or holds control characters"
    )]
    Label {
        /// The label.
        label: String,
    },
    /// The disk would be bigger than the container allows.
    #[error(
        "the disk would have more than {} GiB, the most that this format holds: make a .vhdx, which holds 64 TiB, or ask for less \
         free space",
        limit >> 30
    )]
    TooBig {
        /// The most, in bytes.
        limit: u64,
    },
    /// The system does not give threads to read with.
    #[error("cannot start a thread")]
    NoThreads(#[source] io::Error),
    /// The image cannot be written.
    #[error("cannot write the image")]
    Write(#[source] io::Error),
    /// `watch` ended it.
    #[error("interrupted")]
    Interrupted,
}

impl From<io::Error> for CreateError {
    /// Errors of the folder have their own type: what is left is about the image.
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<DiskTooBig>()) {
            Some(DiskTooBig { limit }) => Self::TooBig { limit: *limit },
            None => Self::Write(error),
        }
    }
}
