//! What is told of an image that is not shown as it is.

use gonto_image::Reason;
use serde::{Deserialize, Serialize};

/// When a note of a file tree is told.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) enum Told {
    /// When the image is mounted.
    AtOnce,
    /// When the content is read, or at once where nobody could tell it then.
    WhenRead,
    /// To those who debug.
    Never,
}

/// So many files that cannot be read are told one by one, when all are told at once.
pub(crate) const MOST_TOLD: usize = 10;

impl Told {
    /// When a note with this reason is told.
    pub(crate) fn of(reason: &Reason) -> Self {
        match reason {
            Reason::ImpossibleName
            | Reason::ReparsedDirectory(_)
            | Reason::BrokenLink
            | Reason::LargerThanPartition => Self::AtOnce,
            // Long names work in a mount, and links out of the image may be meant so. Copies are as good as the first one.
            Reason::LongName
            | Reason::LinkOutside
            | Reason::TooManyStreams
            | Reason::DirtyVolume
            | Reason::UncleanLog
            | Reason::BackupBootSector
            | Reason::MirroredRecords => Self::Never,
            _ => Self::WhenRead,
        }
    }
}
