//! What is shown incompletely, and why.

use std::fmt;

use crate::ntfs::reparse::SpecialFile;

/// One thing that the tree does not show as Windows would.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Path in the volume, with slashes; empty for the volume itself. A slash inside a name is replaced by U+FFFD.
    pub path: String,
    /// Why.
    pub reason: Reason,
}

/// Content that is not read, as the inner error of an [`io::Error`](std::io::Error).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub Note);

/// Why something is shown incompletely.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Content that the Windows Overlay Filter takes from a WIM file.
    WimBacked,
    /// Content that the Windows Overlay Filter provides in a way that is not known.
    UnknownOverlay,
    /// Content compressed by the Windows Overlay Filter, with a stream of compressed data that is missing or cannot be.
    BrokenOverlay,
    /// Something of Linux that holds no bytes.
    Special(SpecialFile),
    /// Named streams of which there are more than are kept.
    TooManyStreams,
    /// Content encrypted by EFS, whose keys are not in the image.
    Encrypted,
    /// Content in the chunk store of data deduplication.
    Dedup,
    /// Content in a cloud, and not in the image.
    CloudPlaceholder,
    /// A file with a reparse point that is not known.
    ReparsedFile(u32),
    /// A directory with a reparse point that is not known.
    ReparsedDirectory(u32),
    /// A link without a target, or with one that no system could follow.
    BrokenLink,
    /// A link to another volume.
    LinkOutside,
    /// A name with a slash or a zero byte, or one that means a folder on Linux.
    ImpossibleName,
    /// A name of more than 255 bytes.
    LongName,
    /// The volume was not unmounted by the system that wrote it last.
    DirtyVolume,
    /// The log of the volume holds changes that were not made yet.
    UncleanLog,
    /// The boot sector is damaged; its backup was read.
    BackupBootSector,
    /// The first records of `$MFT` are damaged; their copies in `$MFTMirr` were read.
    MirroredRecords,
    /// The volume says that it is larger than its partition. What lies behind the end cannot be read.
    LargerThanPartition,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the volume: {}", self.reason),
            path => write!(f, "{path}: {}", self.reason),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WimBacked => f.write_str("provided by WOF from a WIM file, which is not read"),
            Self::UnknownOverlay => f.write_str("provided by WOF (CompactOS) in a way that is not known"),
            Self::BrokenOverlay => f.write_str(
                "compressed with WOF (CompactOS), but its stream WofCompressedData is missing or too short",
            ),
            Self::Special(SpecialFile::Socket) => f.write_str("a Unix socket of WSL, which holds no bytes"),
            Self::Special(SpecialFile::Fifo) => f.write_str("a named pipe of WSL, which holds no bytes"),
            Self::Special(SpecialFile::CharacterDevice) => {
                f.write_str("a character device of WSL, which holds no bytes")
            }
            Self::Special(SpecialFile::BlockDevice) => {
                f.write_str("a block device of WSL, which holds no bytes")
            }
            Self::TooManyStreams => f.write_str("so full of named streams that some are left out"),
            Self::Encrypted => f.write_str("encrypted with EFS, whose keys are not in the image"),
            Self::Dedup => f.write_str("deduplicated, which is not read"),
            Self::CloudPlaceholder => {
                f.write_str("a placeholder whose content lies in a cloud, not in the image")
            }
            Self::ReparsedFile(tag) => {
                write!(f, "a file with the reparse point {}, which is not read", Tag(*tag))
            }
            Self::ReparsedDirectory(tag) => {
                let tag = Tag(*tag);
                write!(f, "a directory with the reparse point {tag}, which may hide what it really holds")
            }
            Self::BrokenLink => f.write_str("a link without a target that can be followed"),
            Self::LinkOutside => f.write_str("a link that points out of the volume"),
            Self::ImpossibleName => f.write_str("left out, because Linux cannot have such a name"),
            Self::LongName => f.write_str("a name of more than 255 bytes, which Linux may not show"),
            Self::DirtyVolume => f.write_str(
                "not unmounted properly when it was written, so that the last changes may be missing",
            ),
            Self::UncleanLog => f.write_str(
                "in use when it was copied or taken away: the last changes may be in its log only, which is not read",
            ),
            Self::BackupBootSector => f.write_str("its boot sector is damaged, and the backup was read"),
            Self::MirroredRecords => {
                f.write_str("the first records of $MFT are damaged, and their copies in $MFTMirr were read")
            }
            Self::LargerThanPartition => f.write_str(
                "larger than its partition or image; what lies behind the end is missing and cannot be read",
            ),
        }
    }
}

/// A reparse tag, by the name that it has in \[MS-FSCC\] 2.1.2.1 if it is one that is met.
struct Tag(u32);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(tag) = self;
        let name = match tag {
            0xc000_0004 => "HSM",
            0x8000_0006 => "HSM2",
            0x8000_0007 => "SIS",
            0x8000_0008 => "WIM",
            0x8000_000a => "DFS",
            0x8000_0013 => "DEDUP",
            0x8000_0014 => "NFS",
            0x8000_0017 => "WOF",
            0x8000_0018 | 0x9000_1018 => "WCI",
            0x8000_001b => "APPEXECLINK",
            0x9000_001c => "PROJFS",
            0x8000_001e => "STORAGE_SYNC",
            0x8000_0021 => "ONEDRIVE",
            _ => return write!(f, "{tag:#010x}"),
        };
        write!(f, "{tag:#010x} ({name})")
    }
}

/// The notes of a tree.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) kept: Vec<Note>,
    pub(super) total: u64,
}

/// Nobody reads more, and an image may have a million reasons.
const MOST_KEPT: usize = 100;

impl Notes {
    /// Adds a note; its path is only made up when it is going to be kept.
    pub(super) fn add(&mut self, reason: Reason, path: impl FnOnce() -> String) {
        self.total += 1;
        if self.kept.len() < MOST_KEPT {
            self.kept.push(Note { path: path(), reason });
        }
    }
}
