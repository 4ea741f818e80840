//! NTFS, read-only: from the boot sector to the facts about every file.
//!
//! ```text
//! boot sector ─> $MFT's own record ─> all records of $MFT, in parallel ─> indexes of all directories, in parallel
//!    boot             mft                      scan, inode                        directories, index
//! ```
//! The modules below `inode` are parsers of bytes in memory. They do not know where the bytes come from: they answer
//! with a [`Mismatch`](crate::error::Mismatch), and the caller adds the place.
//!
//! All integers are little endian.

pub(crate) mod attribute;
pub(crate) mod attribute_list;
pub(crate) mod boot;
pub(crate) mod content;
pub(crate) mod directories;
pub(crate) mod extended_attributes;
mod fixup;
pub(crate) mod gathering;
pub(crate) mod index;
pub(crate) mod inode;
pub(crate) mod log_file;
mod lznt1;
pub(crate) mod mft;
pub(crate) mod name;
pub(crate) mod overlay;
pub(crate) mod record;
pub(crate) mod reparse;
pub(crate) mod runs;
pub(crate) mod scan;
pub(crate) mod stream;
pub(crate) mod unit_cache;
pub(crate) mod upcase;
pub(crate) mod volume_record;
pub(crate) mod write;

/// Cluster number counted from the start of the volume; one cluster has [`boot::Geometry::cluster_size`] bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Lcn(pub(crate) u64);

/// Cluster number counted from the start of a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Vcn(pub(crate) u64);

/// Which record of `$MFT`, and which use of it: each time that a record is used for another file its sequence number grows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Reference {
    pub(crate) record: u64,
    pub(crate) sequence: u16,
}

impl Reference {
    /// 48 bits of record number, 16 bits of sequence number.
    pub(crate) fn from_raw(raw: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = raw.to_le_bytes();
        Self { record: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]), sequence: u16::from_le_bytes([g, h]) }
    }

    /// The opposite of [`from_raw`](Self::from_raw).
    pub(crate) fn to_raw(self) -> u64 {
        self.record | u64::from(self.sequence) << 48
    }
}

impl Reference {
    /// Whether this refers to that use of that record. Zero is no sequence number: whoever wrote it did not want it to be
    /// compared.
    pub(crate) fn names(self, file: Self) -> bool {
        self.record == file.record && (self.sequence == 0 || self.sequence == file.sequence)
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "record {} with sequence number {}", self.record, self.sequence)
    }
}

/// `$LogFile`.
pub(crate) const LOG_FILE_RECORD: u64 = 2;
/// `$Volume`.
pub(crate) const VOLUME_RECORD: u64 = 3;
/// `$Bitmap`, which clusters are in use.
pub(crate) const BITMAP_RECORD: u64 = 6;
/// `$Secure`.
pub(crate) const SECURE_RECORD: u64 = 9;
/// `$UpCase`.
pub(crate) const UPCASE_RECORD: u64 = 10;
/// The root directory.
pub(crate) const ROOT_RECORD: u64 = 5;
/// Records below this belong to NTFS itself.
pub(crate) const FIRST_USER_RECORD: u64 = 16;

/// Records from 16 up to this are kept free for extensions of `$MFT` itself, and may be marked as used.
pub(crate) const FIRST_FREE_RECORD: u64 = 24;

/// `$I30` in UTF-16, the name of the attributes that make the index of a directory.
pub(crate) const I30: [u8; 8] = *b"$\0I\x003\x000\0";

/// Little-endian integers at a place of a byte slice; `None` behind its end.
pub(crate) mod field {
    pub(crate) fn u16(bytes: &[u8], at: usize) -> Option<u16> {
        array(bytes, at).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(bytes: &[u8], at: usize) -> Option<u32> {
        array(bytes, at).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(bytes: &[u8], at: usize) -> Option<u64> {
        array(bytes, at).map(u64::from_le_bytes)
    }

    fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
        bytes.get(at..)?.first_chunk().copied()
    }
}
