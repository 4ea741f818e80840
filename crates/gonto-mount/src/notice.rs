//! What a user should know although nothing failed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Something that works, but not quite as one may expect. `Display` gives a sentence for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The faster roads are closed here, so the files of the image are unpacked into the cache.
    Unpacking {
        /// The image file.
        image: PathBuf,
        /// Why mounting does not work.
        reason: String,
    },
    /// The image is mounted for the first time here, and indexing it takes a while.
    Indexing {
        /// The image file.
        image: PathBuf,
    },
    /// Another gonto does something at which only one can be, and this one waits for it.
    Waiting {
        /// What the other one does: a verb.
        activity: &'static str,
    },
    /// The folder can be read only.
    ReadOnly {
        /// The mount point.
        mount_point: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder should be read only, and can be written. What is written there is no part of the image all the same.
    Writable {
        /// The mount point.
        mount_point: PathBuf,
        /// Why.
        reason: String,
    },
    /// A run has no mounts of its own: all processes see this one.
    Shared {
        /// The mount point.
        mount_point: PathBuf,
        /// Why.
        reason: String,
    },
    /// What is written into the mount lives in memory.
    WritesInMemory {
        /// The mount point.
        mount_point: PathBuf,
        /// Why.
        reason: String,
    },
    /// What is written into the mount should live in memory, and lives on the disk.
    WritesOnDisk {
        /// The mount point.
        mount_point: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something in an image is not shown as it is; a file's content, for instance, cannot be read (yet).
    Unreadable {
        /// The image file.
        image: PathBuf,
        /// The file's path inside the image, and why.
        reason: String,
    },
    /// Something that a killed gonto had left behind was removed.
    TidiedUp {
        /// The mount point.
        mount_point: PathBuf,
    },
    /// About registry values that images set: one is set by two, was put back late, or cannot be put back.
    Registry {
        /// A sentence that names the value and its key.
        message: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unpacking { image, reason } => {
                write!(f, "unpacking {} into the cache, because {reason}", image.display())
            }
            Self::Indexing { image } => {
                write!(f, "indexing {}, which is done once for each image", image.display())
            }
            Self::Waiting { activity } => write!(f, "waiting for another gonto that {activity}"),
            Self::ReadOnly { mount_point, reason } => {
                write!(f, "{} is read-only, because {reason}", mount_point.display())
            }
            Self::Writable { mount_point, reason } => {
                write!(f, "{} can be written, because {reason}", mount_point.display())
            }
            Self::Shared { mount_point, reason } => write!(
                f,
                "{} is seen by all processes, and shared with other runs at the same time, because {reason}",
                mount_point.display()
            ),
            Self::WritesInMemory { mount_point, reason } => {
                write!(f, "what is written to {} is kept in memory, because {reason}", mount_point.display())
            }
            Self::WritesOnDisk { mount_point, reason } => {
                write!(
                    f,
                    "what is written to {} is kept on the disk, because {reason}",
                    mount_point.display()
                )
            }
            Self::Unreadable { image, reason } => write!(f, "{reason} (in {})", image.display()),
            Self::TidiedUp { mount_point } => {
                write!(f, "removed what a killed gonto had left at {}", mount_point.display())
            }
            Self::Registry { message } => f.write_str(message),
        }
    }
}

/// Where notices go. Called from any thread.
#[derive(Clone)]
pub struct Notices(Arc<dyn Fn(Notice) + Send + Sync>);

impl Notices {
    /// Sends every notice to `receiver`.
    pub fn new(receiver: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receiver))
    }

    /// Sends one.
    pub fn send(&self, notice: Notice) {
        tracing::debug!(%notice);
        (self.0)(notice);
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}
