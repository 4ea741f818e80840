//! The structures of a VHD as they lie in the file, and what they mean by themselves.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{Mismatch, WrongChecksum};

pub(super) const SECTOR: u64 = 512;
pub(super) const FOOTER_SIZE: usize = 512;
/// Virtual PC before 2004 left the last byte of the footer out ("Hard Disk Footer Format").
pub(super) const SHORT_FOOTER_SIZE: usize = 511;

pub(super) const FOOTER_COOKIE: [u8; 8] = *b"conectix";
pub(super) const HEADER_COOKIE: [u8; 8] = *b"cxsparse";
pub(super) const VERSION_1_0: u32 = 0x0001_0000;

/// "Hard Disk Footer Format".
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Footer {
    pub(super) cookie: [u8; 8],
    /// [`RESERVED_FEATURE`] and bit 0, for a disk that may be deleted when the system shuts down.
    pub(super) features: U32,
    pub(super) file_format_version: U32,
    /// Byte offset of the dynamic header; all ones in a fixed disk.
    pub(super) data_offset: U64,
    /// Seconds since 2000-01-01 UTC.
    pub(super) time_stamp: U32,
    /// The mark of the program that made the disk.
    pub(super) creator_application: [u8; 4],
    /// Its version: the major one in the upper half.
    pub(super) creator_version: U32,
    /// `Wi2k` for Windows, `Mac ` for a Macintosh.
    pub(super) creator_host_os: [u8; 4],
    pub(super) original_size: U64,
    /// Size of the disk in bytes. The geometry below is smaller by rounding.
    pub(super) current_size: U64,
    pub(super) cylinders: U16,
    pub(super) heads: u8,
    pub(super) sectors_per_track: u8,
    pub(super) disk_type: U32,
    pub(super) checksum: U32,
    pub(super) unique_id: [u8; 16],
    pub(super) saved_state: u8,
    pub(super) reserved: [u8; 427],
}
const _: () = assert!(size_of::<Footer>() == FOOTER_SIZE);

pub(super) const DATA_OFFSET_AT: usize = std::mem::offset_of!(Footer, data_offset);
pub(super) const CURRENT_SIZE_AT: usize = std::mem::offset_of!(Footer, current_size);
pub(super) const DISK_TYPE_AT: usize = std::mem::offset_of!(Footer, disk_type);
const FOOTER_CHECKSUM_AT: usize = std::mem::offset_of!(Footer, checksum);

/// The bit that is set in every footer.
pub(super) const RESERVED_FEATURE: u32 = 2;

/// The disk types that are in use; 0, 1, 5 and 6 are reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DiskType {
    Fixed = 2,
    Dynamic = 3,
    Differencing = 4,
}

impl DiskType {
    pub(super) fn from_raw(raw: u32) -> Option<Self> {
        [Self::Fixed, Self::Dynamic, Self::Differencing].into_iter().find(|known| *known as u32 == raw)
    }
}

impl Footer {
    pub(super) fn has_cookie(&self) -> bool {
        self.cookie == FOOTER_COOKIE
    }

    /// Whether this was a footer before something damaged it: the fields that hardly differ between VHDs tell, even
    /// where the cookie does not. It matters for fixed disks, which would otherwise pass for the bytes of a disk.
    pub(super) fn looks_like_one(&self) -> bool {
        let version = self.file_format_version.get() == VERSION_1_0;
        let kind = DiskType::from_raw(self.disk_type.get()).is_some();
        self.has_cookie() || (version && kind)
    }

    pub(super) fn check_cookie(&self) -> Result<(), Mismatch> {
        if self.has_cookie() {
            return Ok(());
        }
        Err(Mismatch::new(0, "the cookie \"conectix\"", format!("\"{}\"", self.cookie.escape_ascii())))
    }

    pub(super) fn check_sum(&self) -> Result<(), WrongChecksum> {
        verify_checksum(self.as_bytes(), FOOTER_CHECKSUM_AT, self.checksum.get())
    }

    /// The same with its checksum.
    pub(super) fn sealed(mut self) -> Self {
        self.checksum = checksum(self.as_bytes(), FOOTER_CHECKSUM_AT).into();
        self
    }
}

/// "Dynamic Disk Header Format".
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct DynamicHeader {
    pub(super) cookie: [u8; 8],
    /// Not used, all ones.
    pub(super) data_offset: U64,
    /// Byte offset of the block table.
    pub(super) table_offset: U64,
    pub(super) header_version: U32,
    /// Entries of the block table: the disk has no more blocks.
    pub(super) max_table_entries: U32,
    /// Bytes of the disk in a block, without its sector bitmap; a power of two, 2 MiB as a rule.
    pub(super) block_size: U32,
    pub(super) checksum: U32,
    /// The unique id of the parent of a differencing disk.
    pub(super) parent_unique_id: [u8; 16],
    /// When the parent's file was changed last, in seconds since 2000-01-01 UTC; Windows leaves it zero.
    pub(super) parent_time_stamp: U32,
    pub(super) reserved: U32,
    /// Name or path of the parent, in UTF-16, up to a zero.
    pub(super) parent_unicode_name: [U16; 256],
    pub(super) parent_locators: [ParentLocator; 8],
    pub(super) reserved2: [u8; 256],
}
const _: () = assert!(size_of::<DynamicHeader>() == 1024);

pub(super) const TABLE_OFFSET_AT: usize = std::mem::offset_of!(DynamicHeader, table_offset);
pub(super) const TABLE_ENTRIES_AT: usize = std::mem::offset_of!(DynamicHeader, max_table_entries);
pub(super) const BLOCK_SIZE_AT: usize = std::mem::offset_of!(DynamicHeader, block_size);
const HEADER_CHECKSUM_AT: usize = std::mem::offset_of!(DynamicHeader, checksum);

impl DynamicHeader {
    pub(super) fn check_cookie(&self) -> Result<(), Mismatch> {
        if self.cookie == HEADER_COOKIE {
            return Ok(());
        }
        Err(Mismatch::new(0, "the cookie \"cxsparse\"", format!("\"{}\"", self.cookie.escape_ascii())))
    }

    pub(super) fn check_sum(&self) -> Result<(), WrongChecksum> {
        verify_checksum(self.as_bytes(), HEADER_CHECKSUM_AT, self.checksum.get())
    }

    /// The same with its checksum.
    pub(super) fn sealed(mut self) -> Self {
        self.checksum = checksum(self.as_bytes(), HEADER_CHECKSUM_AT).into();
        self
    }
}

/// One way to the parent ("Dynamic Disk Header Format", parent locator entries).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct ParentLocator {
    /// What kind of path it is; zero for an entry that is not used.
    pub(super) platform_code: [u8; 4],
    /// Room for the path: in sectors, says the specification; Windows writes bytes.
    pub(super) data_space: U32,
    /// Bytes of the path.
    pub(super) data_length: U32,
    pub(super) reserved: U32,
    /// Byte offset of the path in the file.
    pub(super) data_offset: U64,
}
const _: () = assert!(size_of::<ParentLocator>() == 24);

impl ParentLocator {
    pub(super) const UNUSED: Self = Self {
        platform_code: [0; 4],
        data_space: U32::ZERO,
        data_length: U32::ZERO,
        reserved: U32::ZERO,
        data_offset: U64::ZERO,
    };
}

/// The checksum is the one's complement of the sum of all bytes, its own field taken as zero.
fn verify_checksum(bytes: &[u8], at: usize, found: u32) -> Result<(), WrongChecksum> {
    let expected = checksum(bytes, at);
    if expected == found { Ok(()) } else { Err(WrongChecksum { at, expected, found }) }
}

pub(super) fn checksum(bytes: &[u8], checksum_at: usize) -> u32 {
    let all: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = bytes[checksum_at..checksum_at + 4].iter().map(|byte| u32::from(*byte)).sum();
    !(all - own)
}
