//! What can go wrong, and what to do about it.

use std::borrow::Cow;
use std::io;

use crate::compression::Corrupt;
use crate::irregularity::Irregularity;

/// Why an image cannot be shown.
///
/// Offsets are bytes. Those of containers and partition tables count from the start of the image file or of the
/// virtual disk, those of NTFS from the start of the volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source below did not give the bytes.
    #[error("cannot read {length} bytes of {what} at byte {offset:#x}")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// Where.
        offset: u64,
        /// How much.
        length: usize,
        /// What the source said.
        source: io::Error,
    },

    /// The end of a volume is missing, with something in it that all of the tree needs.
    #[error(
        "the volume is cut short: it says that it has {size} bytes, and {there} of them are in its partition or image; \
         fetch the image again"
    )]
    CutVolume {
        /// Bytes of the volume as its boot sector has them.
        size: u64,
        /// Bytes that are there.
        there: u64,
        /// What could not be read.
        source: Box<Error>,
    },

    /// A sound image of a kind that is recognised, but not read.
    #[error("{what} is not read{}: {remedy}", if *.yet { " yet" } else { "" })]
    Unsupported {
        /// The container, file system or variant, by the name that its users know it by.
        what: Cow<'static, str>,
        /// Whether a later version is going to read it.
        yet: bool,
        /// What its owner can do.
        remedy: &'static str,
    },

    /// A VHD whose footer, header or block table does not hold together.
    #[error(
        "the VHD's {structure} at byte {offset:#x} is damaged: expected {expected}, found {found}; \
         fetch the image again"
    )]
    Vhd {
        /// Footer, dynamic header or block table.
        structure: &'static str,
        /// Byte offset of the field in the image file.
        offset: u64,
        /// What a sound VHD holds there.
        expected: Cow<'static, str>,
        /// What this one holds.
        found: String,
    },

    /// A VHDX whose headers, tables, log or blocks do not hold together.
    #[error(
        "the VHDX's {structure} at byte {offset:#x} is damaged: expected {expected}, found {found}; \
         fetch the image again"
    )]
    Vhdx {
        /// Header, region table, log, metadata, block table and the like.
        structure: &'static str,
        /// Byte offset of the field in the image file.
        offset: u64,
        /// What a sound VHDX holds there.
        expected: Cow<'static, str>,
        /// What this one holds.
        found: String,
    },

    /// A structure of a container or a partition table whose checksum is wrong. It may be read all the same with
    /// [`Options::ignore_checksums`](crate::Options::ignore_checksums).
    #[error(
        "the checksum of the {what} at byte {offset:#x} is wrong: expected {expected:#010x}, found {found:#010x}; \
         fetch the image again, or read it all the same with --ignore-checksums"
    )]
    Checksum {
        /// The structure, with the name of its container or table.
        what: &'static str,
        /// Byte offset of the checksum in the image file, or on the disk if it belongs to the partition table.
        offset: u64,
        /// What the bytes add up to.
        expected: u32,
        /// What stands there.
        found: u32,
    },

    /// The parent of a differencing image is not where the image says.
    #[error(
        "the image is differencing, and its parent, the image with the identity {id}, was not found: looked for \
         {looked_for}; put the parent beside the image, under the name that it had"
    )]
    MissingParent {
        /// The identity that the parent must have.
        id: String,
        /// Where it was looked for, and what was there.
        looked_for: String,
    },

    /// The parent of a differencing image cannot be opened.
    #[error("cannot open the parent image {name}")]
    Parent {
        /// The name of the parent, as whoever found it says.
        name: String,
        /// Why not.
        source: Box<Error>,
    },

    /// A chain of differencing images that does not end.
    #[error(
        "the chain of differencing images cannot be followed: {found}; fetch the images again, or merge them"
    )]
    ParentChain {
        /// What is wrong with it.
        found: String,
    },

    /// A partition table that does not hold together.
    #[error(
        "the {table} partition table is damaged at byte {offset:#x} of the disk: expected {expected}, \
         found {found}; fetch the image again"
    )]
    PartitionTable {
        /// `GPT` or `MBR`.
        table: &'static str,
        /// Byte offset in the virtual disk.
        offset: u64,
        /// What a sound table holds there.
        expected: Cow<'static, str>,
        /// What this one holds.
        found: String,
    },

    /// The partition that was asked for is not there.
    #[error("there is no partition {number}: the disk has {found}")]
    NoPartition {
        /// The number that was asked for.
        number: u32,
        /// What there is.
        found: String,
    },

    /// There is no NTFS volume on the disk.
    #[error("no NTFS volume on the disk: {found}; an image needs one partition that is formatted with NTFS")]
    NoVolume {
        /// What there is instead.
        found: String,
    },

    /// An NTFS boot sector with impossible values.
    #[error(
        "the NTFS boot sector is damaged at byte {offset:#x} of the volume: expected {expected}, found {found}; \
         fetch the image again"
    )]
    BootSector {
        /// Byte offset in the volume.
        offset: u64,
        /// What a sound boot sector holds there.
        expected: Cow<'static, str>,
        /// What this one holds.
        found: String,
    },

    /// An NTFS file record that lies.
    #[error(
        "NTFS record {record} is damaged at byte {offset:#x} of the volume: expected {expected}, found {found}; \
         fetch the image again, or repair it with chkdsk where it was made"
    )]
    Record {
        /// Number of the record in `$MFT`.
        record: u64,
        /// Byte offset in the volume; behind a torn sector it may be off by the two bytes of the fixup.
        offset: u64,
        /// What a sound record holds there.
        expected: Cow<'static, str>,
        /// What this one holds.
        found: String,
    },

    /// A directory index that lies.
    #[error(
        "the index of directory record {record} is damaged at byte {offset:#x} {}: expected {expected}, \
         found {found}; fetch the image again, or repair it with chkdsk where it was made",
        if *.resident { "of $INDEX_ROOT" } else { "of $INDEX_ALLOCATION" }
    )]
    Index {
        /// Record number of the directory.
        record: u64,
        /// Whether the offset counts in the resident root of the index, or in its non-resident blocks.
        resident: bool,
        /// Byte offset in that attribute.
        offset: u64,
        /// What a sound index holds there.
        expected: Cow<'static, str>,
        /// What this one holds.
        found: String,
    },

    /// Compressed content that cannot be decompressed.
    #[error(
        "the data compressed with {codec} for byte {file_offset} and what follows, {}, are damaged; fetch the image again",
        if *offset == 0 { "in the file's record".into() } else { format!("at byte {offset:#x} of the volume") }
    )]
    Compressed {
        /// The compression, by the name that Windows gives it.
        codec: &'static str,
        /// The first byte of the content that it becomes.
        file_offset: u64,
        /// Byte offset in the volume; 0 for data in the file's record.
        offset: u64,
        /// What is wrong.
        source: Corrupt,
    },

    /// A name of the tree leads to something that cannot be shown.
    #[error("cannot show {path:?}")]
    Entry {
        /// Path in the volume, with slashes.
        path: String,
        /// Why not.
        source: Box<Error>,
    },

    /// More than the tables of this version can hold.
    #[error("the volume has {found} {what}, more than the {limit} that are read; split the image")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many the volume claims.
        found: u64,
        /// How many would be read.
        limit: u64,
    },
}

impl Error {
    /// Whether the reason of it all is that the source ends before.
    pub(crate) fn is_about_the_end(&self) -> bool {
        let sources = std::iter::successors(std::error::Error::source(self), |error| error.source());
        sources
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .any(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    }
}

/// A checksum that is wrong, in a structure whose place is not known: the caller adds the place and makes an [`Error`] of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongChecksum {
    /// Byte offset of the checksum in the structure.
    pub(crate) at: usize,
    pub(crate) expected: u32,
    pub(crate) found: u32,
}

impl WrongChecksum {
    /// `start` is where the structure begins.
    pub(crate) fn in_the(self, what: &'static str, start: u64) -> Error {
        let offset = start.saturating_add(self.at as u64);
        Error::Checksum { what, offset, expected: self.expected, found: self.found }
    }
}

/// What a parser says of bytes whose place it does not know: the caller adds the place and makes an [`Error`] of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Byte offset in the structure that was parsed.
    pub(crate) at: usize,
    pub(crate) expected: Cow<'static, str>,
    pub(crate) found: String,
}

impl Mismatch {
    pub(crate) fn new(at: usize, expected: impl Into<Cow<'static, str>>, found: impl ToString) -> Self {
        Self { at, expected: expected.into(), found: found.to_string() }
    }

    /// A structure that begins at `at` of a bigger one counts its offsets from there.
    pub(crate) fn shifted(mut self, at: usize) -> Self {
        self.at = self.at.saturating_add(at);
        self
    }

    pub(crate) fn in_vhd(self, structure: &'static str, start: u64) -> Error {
        let offset = start.saturating_add(self.at as u64);
        Error::Vhd { structure, offset, expected: self.expected, found: self.found }
    }

    pub(crate) fn in_vhdx(self, structure: &'static str, start: u64) -> Error {
        let offset = start.saturating_add(self.at as u64);
        Error::Vhdx { structure, offset, expected: self.expected, found: self.found }
    }

    pub(crate) fn in_partition_table(self, table: &'static str, start: u64) -> Error {
        let offset = start.saturating_add(self.at as u64);
        Error::PartitionTable { table, offset, expected: self.expected, found: self.found }
    }

    /// The same where the rest of the partition table can be read.
    pub(crate) fn tolerated_in_partition_table(self, table: &'static str, start: u64) -> Irregularity {
        let offset = start.saturating_add(self.at as u64);
        Irregularity::DamagedTable { table, offset, expected: self.expected.into_owned(), found: self.found }
    }

    pub(crate) fn in_boot_sector(self) -> Error {
        Error::BootSector { offset: self.at as u64, expected: self.expected, found: self.found }
    }

    pub(crate) fn in_record(self, record: u64, start: u64) -> Error {
        let offset = start.saturating_add(self.at as u64);
        Error::Record { record, offset, expected: self.expected, found: self.found }
    }

    pub(crate) fn in_index_root(self, record: u64) -> Error {
        Error::Index {
            record,
            resident: true,
            offset: self.at as u64,
            expected: self.expected,
            found: self.found,
        }
    }

    pub(crate) fn in_index_block(self, record: u64, start: u64) -> Error {
        let offset = start.saturating_add(self.at as u64);
        Error::Index { record, resident: false, offset, expected: self.expected, found: self.found }
    }
}
