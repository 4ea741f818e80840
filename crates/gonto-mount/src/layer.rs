//! The writable layer above an image: whether there is one, where it lies, and what was written to it. It is thrown away with the
//! mount.

use std::num::NonZeroU64;
use std::path::PathBuf;

/// Where what is written above an image lies until it is thrown away.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Layer {
    /// On the file system of the cache, where there is most room.
    #[default]
    Cache,
    /// In a tmpfs of its own for each mount.
    Memory {
        /// The most that it holds, in bytes; the kernel rounds up to pages. Each file and folder counts for at least 1 KiB.
        /// None: half of the memory. Where a limit cannot be kept, nothing is mounted.
        limit: Option<NonZeroU64>,
    },
    /// Nowhere: the image can only be read, and nothing lies between it and who reads it. Where root cannot be
    /// kept from writing, it writes to a copy.
    None,
}

impl Layer {
    /// Whether it takes memory, and none of the disk.
    #[must_use]
    pub fn is_in_memory(self) -> bool {
        matches!(self, Self::Memory { .. })
    }

    /// The most that it may hold, in bytes.
    #[must_use]
    pub fn limit(self) -> Option<NonZeroU64> {
        match self {
            Self::Cache | Self::None => None,
            Self::Memory { limit } => limit,
        }
    }
}

/// What a run has written to an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The folder in which the image appears.
    pub folder: PathBuf,
    /// Files that are new or were changed, and symbolic links. One with several names counts once. Folders do not count.
    pub files: u64,
    /// The sizes of these files, each with all that it holds: one byte changed makes overlayfs copy the whole file.
    pub bytes: u64,
    /// Files and folders of the image that were deleted or renamed. A folder counts once, whatever was in it.
    pub deleted: u64,
    /// There is more: not every folder could be read.
    pub partial: bool,
    /// The layer has no room left.
    pub full: bool,
    /// Where it lies; not where it should, if that was not possible.
    pub layer: Layer,
}
