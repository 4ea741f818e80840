//! The structures of a VHDX as they lie in the file ([MS-VHDX] 2.2 to 2.6), and what they mean by themselves.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::guid::Guid;

pub(super) const MIB: u64 = 1 << 20;

/// The unit of the log, and of what it writes.
pub(super) const LOG_SECTOR_SIZE: usize = 4096;
pub(super) const LOG_SECTOR: u64 = LOG_SECTOR_SIZE as u64;

/// 2.2: what lies before the log and the regions.
pub(super) const HEADER_SECTION: u64 = MIB;

/// 2.2.1. It lies at the start of the file.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct FileTypeIdentifier {
    pub(super) signature: [u8; 8],
    /// UTF-16, for people only.
    pub(super) creator: [U16; 256],
}
pub(super) const FILE_SIGNATURE: [u8; 8] = *b"vhdxfile";

/// 2.2.2.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) signature: [u8; 4],
    /// CRC-32C of the whole header, this field taken as zero.
    pub(super) checksum: U32,
    pub(super) sequence_number: U64,
    /// New whenever the file is opened for writing.
    pub(super) file_write_guid: Guid,
    /// New whenever what a guest sees is going to change. Children know their parent by it.
    pub(super) data_write_guid: Guid,
    /// Which entries of the log count; zero when the log is empty.
    pub(super) log_guid: Guid,
    pub(super) log_version: U16,
    pub(super) version: U16,
    /// In bytes, a multiple of 1 MiB.
    pub(super) log_length: U32,
    /// Byte offset in the file, a multiple of 1 MiB.
    pub(super) log_offset: U64,
    pub(super) reserved: [u8; 4016],
}
pub(super) const HEADER_SIGNATURE: [u8; 4] = *b"head";
pub(super) const HEADER_PLACES: [u64; 2] = [64 << 10, 128 << 10];
const _: () = assert!(size_of::<Header>() == 4096);

/// 2.2.3.1. It is followed by the entries; both together are [`REGION_TABLE_SIZE`].
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct RegionTableHeader {
    pub(super) signature: [u8; 4],
    /// CRC-32C of the whole table, this field taken as zero.
    pub(super) checksum: U32,
    pub(super) entry_count: U32,
    pub(super) reserved: U32,
}
pub(super) const REGION_TABLE_SIGNATURE: [u8; 4] = *b"regi";
pub(super) const REGION_TABLE_PLACES: [u64; 2] = [192 << 10, 256 << 10];
pub(super) const REGION_TABLE_SIZE: usize = 64 << 10;
/// As many as the table has room for.
pub(super) const MOST_REGIONS: u32 = 2047;
const _: () = assert!(size_of::<RegionTableHeader>() == 16);

/// 2.2.3.2.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct RegionEntry {
    pub(super) guid: Guid,
    /// Byte offset in the file, a multiple of 1 MiB.
    pub(super) file_offset: U64,
    /// In bytes, a multiple of 1 MiB.
    pub(super) length: U32,
    /// Bit 0: who does not know the region must not open the file.
    pub(super) required: U32,
}
pub(super) const BAT_REGION: Guid = Guid::from_digits(0x2dc27766_f623_4200_9d64_115e9bfd4a08);
pub(super) const METADATA_REGION: Guid = Guid::from_digits(0x8b7ca206_4790_4b9a_b8fe_575f050f886e);
const _: () = assert!(size_of::<RegionEntry>() == 32);

/// 2.3.1.1. It is followed by its descriptors, and those, from the next multiple of 4 KiB on, by the data sectors.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct LogEntryHeader {
    pub(super) signature: [u8; 4],
    /// CRC-32C of the whole entry, this field taken as zero.
    pub(super) checksum: U32,
    /// In bytes, a multiple of 4 KiB.
    pub(super) entry_length: U32,
    /// Byte offset in the log of the oldest entry that was needed when this one was written.
    pub(super) tail: U32,
    pub(super) sequence_number: U64,
    pub(super) descriptor_count: U32,
    pub(super) reserved: U32,
    pub(super) log_guid: Guid,
    /// The file was at least this long when the entry was written, and cannot be shorter now.
    pub(super) flushed_file_offset: U64,
    /// A length of the file that everything fits into which was there when the entry was written.
    pub(super) last_file_offset: U64,
}
pub(super) const LOG_ENTRY_SIGNATURE: [u8; 4] = *b"loge";
pub(super) const LOG_ENTRY_HEADER_SIZE: usize = 64;
const _: () = assert!(size_of::<LogEntryHeader>() == LOG_ENTRY_HEADER_SIZE);

/// 2.3.1.2 and 2.3.1.3, which have the same shape.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct LogDescriptor {
    pub(super) signature: [u8; 4],
    /// The last bytes of the sector, whose place in the data sector its sequence number takes.
    pub(super) trailing_bytes: [u8; 4],
    /// The first bytes of the sector; the number of zeroes to be written in a zero descriptor.
    pub(super) leading_bytes: [u8; 8],
    /// Byte offset in the file that is written to, a multiple of 4 KiB.
    pub(super) file_offset: U64,
    pub(super) sequence_number: U64,
}
pub(super) const DATA_DESCRIPTOR_SIGNATURE: [u8; 4] = *b"desc";
pub(super) const ZERO_DESCRIPTOR_SIGNATURE: [u8; 4] = *b"zero";
pub(super) const LOG_DESCRIPTOR_SIZE: usize = 32;
const _: () = assert!(size_of::<LogDescriptor>() == LOG_DESCRIPTOR_SIZE);

/// 2.3.1.4.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct LogDataSector {
    pub(super) signature: [u8; 4],
    pub(super) sequence_high: U32,
    pub(super) data: [u8; 4084],
    pub(super) sequence_low: U32,
}
pub(super) const DATA_SECTOR_SIGNATURE: [u8; 4] = *b"data";
const _: () = assert!(size_of::<LogDataSector>() == LOG_SECTOR_SIZE);

/// 2.6.1.1. It is followed by the entries; both together are 64 KiB.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct MetadataTableHeader {
    pub(super) signature: [u8; 8],
    pub(super) reserved: U16,
    pub(super) entry_count: U16,
    pub(super) reserved2: [U32; 5],
}
pub(super) const METADATA_SIGNATURE: [u8; 8] = *b"metadata";
pub(super) const METADATA_TABLE_SIZE: u32 = 64 << 10;
/// As many as the table has room for.
pub(super) const MOST_ITEMS: u16 = 2047;
const _: () = assert!(size_of::<MetadataTableHeader>() == 32);

/// 2.6.1.2.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct MetadataEntry {
    pub(super) item_id: Guid,
    /// Byte offset in the region, behind the table.
    pub(super) offset: U32,
    /// In bytes, at most 1 MiB.
    pub(super) length: U32,
    /// [`IS_USER`], [`IS_OF_DISK`], [`IS_REQUIRED`].
    pub(super) flags: U32,
    pub(super) reserved: U32,
}
pub(super) const IS_USER: u32 = 1;
/// The item belongs to the disk and not to the file.
pub(super) const IS_OF_DISK: u32 = 2;
pub(super) const IS_REQUIRED: u32 = 4;
pub(super) const LONGEST_ITEM: u32 = 1 << 20;
const _: () = assert!(size_of::<MetadataEntry>() == 32);

/// 2.6.2.1.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct FileParameters {
    /// In bytes, a power of two from 1 to 256 MiB.
    pub(super) block_size: U32,
    /// [`LEAVES_BLOCKS_ALLOCATED`] and [`HAS_PARENT`].
    pub(super) flags: U32,
}
pub(super) const FILE_PARAMETERS: Guid = Guid::from_digits(0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b);
/// The disk is fixed.
pub(super) const LEAVES_BLOCKS_ALLOCATED: u32 = 1;
/// The disk is differencing.
pub(super) const HAS_PARENT: u32 = 2;

/// 2.6.2.2, a 64-bit number of bytes.
pub(super) const VIRTUAL_DISK_SIZE: Guid = Guid::from_digits(0x2fa54224_cd1b_4876_b211_5dbed83bf4b8);
/// 2.6.2.3, a GUID: what the disk says of itself to a guest. A differencing disk has that of its parent.
pub(super) const VIRTUAL_DISK_ID: Guid = Guid::from_digits(0xbeca12ab_b2e6_4523_93ef_c309e000c746);
/// 2.6.2.4, a 32-bit number of bytes.
pub(super) const LOGICAL_SECTOR_SIZE: Guid = Guid::from_digits(0x8141bf1d_a96f_4709_ba47_f233a8faab5f);
/// 2.6.2.5, a 32-bit number of bytes.
pub(super) const PHYSICAL_SECTOR_SIZE: Guid = Guid::from_digits(0xcda348c7_445d_4471_9cc9_e9885251c556);
/// 2.6.2.6.
pub(super) const PARENT_LOCATOR: Guid = Guid::from_digits(0xa8d35f2d_b30b_454d_abf7_d3d84834ab0c);

/// 2.6.2.6.1. It is followed by the entries.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ParentLocatorHeader {
    pub(super) locator_type: Guid,
    pub(super) reserved: U16,
    pub(super) key_value_count: U16,
}
/// 2.6.2.6.3: the parent is a VHDX.
pub(super) const VHDX_PARENT: Guid = Guid::from_digits(0xb04aefb7_d19e_4a81_b789_25b8e9445913);
const _: () = assert!(size_of::<ParentLocatorHeader>() == 20);

/// 2.6.2.6.2. Both are UTF-16 without a zero at the end.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ParentLocatorEntry {
    /// Byte offset in the item.
    pub(super) key_offset: U32,
    /// Byte offset in the item.
    pub(super) value_offset: U32,
    /// In bytes.
    pub(super) key_length: U16,
    /// In bytes.
    pub(super) value_length: U16,
}
const _: () = assert!(size_of::<ParentLocatorEntry>() == 12);

/// 2.5.1: the state lies in the lowest three bits, the offset in the file, in MiB, from bit 20 on.
#[derive(Clone, Copy)]
pub(super) struct BatEntry(pub(super) u64);

impl BatEntry {
    pub(super) fn state(self) -> u8 {
        self.0.to_le_bytes()[0] & 7
    }

    /// Byte offset in the file.
    pub(super) fn offset(self) -> u64 {
        self.0 & !(MIB - 1)
    }
}

/// 2.5.1.1 and 2.5.1.2. A bitmap block is absent or fully present.
pub(super) mod state {
    /// Nothing was ever written: the parent's bytes, or zero where there is no parent.
    pub(crate) const NOT_PRESENT: u8 = 0;
    /// Nobody knows what was there, and nobody may want to.
    pub(crate) const UNDEFINED: u8 = 1;
    pub(crate) const ZERO: u8 = 2;
    /// A guest has given the block back.
    pub(crate) const UNMAPPED: u8 = 3;
    /// The same in version 0.95 of the specification; qemu reads it so.
    pub(crate) const UNMAPPED_DRAFT: u8 = 5;
    pub(crate) const FULLY_PRESENT: u8 = 6;
    /// The sector bitmap says which sectors are there; the others are the parent's.
    pub(crate) const PARTIALLY_PRESENT: u8 = 7;
}

/// 2.5: a bitmap block has a bit for each of as many sectors of the disk. They are the sectors of one chunk.
pub(super) const SECTORS_PER_BITMAP: u64 = 1 << 23;
pub(super) const BITMAP_SIZE: u64 = SECTORS_PER_BITMAP / 8;
const _: () = assert!(BITMAP_SIZE == MIB);
