//! The structures of EROFS as they lie on disk (Linux, fs/erofs/erofs_fs.h), and the header that is our own.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::crc::Crc32c;

/// What lies in the first kilobyte, which EROFS leaves to boot loaders.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    /// [`VERSION`](super::VERSION).
    pub(super) version: U32,
    /// How many image files there are. There may be one more device slot, which is the first image file again.
    pub(super) layers: U32,
    /// Byte offset and length of what the caller had to say.
    pub(super) stamp_offset: U64,
    pub(super) stamp_length: U64,
    /// Bytes of all files.
    pub(super) content: U64,
    pub(super) reserved: [u8; 984],
}
pub(super) const HEADER_MAGIC: [u8; 8] = *b"GONTOIDX";
pub(super) const HEADER_SIZE: u64 = 1024;
const _: () = assert!(size_of::<Header>() as u64 == HEADER_SIZE);

/// `struct erofs_super_block`; it lies at byte 1024.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct SuperBlock {
    pub(super) magic: U32,
    /// CRC-32C, not inverted at the end, from here to the end of the block, this field taken as zero.
    pub(super) checksum: U32,
    pub(super) feature_compat: U32,
    /// Size of a block as a power of two.
    pub(super) block_bits: u8,
    pub(super) extension_slots: u8,
    pub(super) root_nid: U16,
    pub(super) inodes: U64,
    pub(super) build_time: U64,
    pub(super) build_time_nsec: U32,
    /// Of this file.
    pub(super) blocks: U32,
    /// Inode numbers count units of 32 bytes from this block on.
    pub(super) meta_block: U32,
    pub(super) xattr_block: U32,
    pub(super) uuid: [u8; 16],
    pub(super) volume_name: [u8; 16],
    pub(super) feature_incompat: U32,
    pub(super) compression: U16,
    pub(super) extra_devices: U16,
    /// Where the device slots begin, in units of 128 bytes.
    pub(super) device_slot: U16,
    pub(super) directory_block_bits: u8,
    pub(super) reserved: [u8; 37],
}
pub(super) const SUPER_MAGIC: u32 = 0xE0F5_E1E2;
pub(super) const SUPER_OFFSET: u64 = 1024;
const _: () = assert!(size_of::<SuperBlock>() == 128);

/// The checksum of the super block is there.
pub(super) const COMPAT_CHECKSUM: u32 = 1;
/// The times of inodes are those of modification.
pub(super) const COMPAT_MTIME: u32 = 2;
pub(super) const INCOMPAT_CHUNKED: u32 = 4;
pub(super) const INCOMPAT_DEVICES: u32 = 8;

/// `struct erofs_deviceslot`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct DeviceSlot {
    pub(super) tag: [u8; 64],
    pub(super) blocks: U32,
    /// For devices that are laid one behind the other; not used.
    pub(super) unified_block: U32,
    pub(super) reserved: [u8; 56],
}
pub(super) const DEVICE_SLOT: u64 = 128;
const _: () = assert!(size_of::<DeviceSlot>() as u64 == DEVICE_SLOT);

/// `struct erofs_inode_extended`. Its number is its byte offset in units of [`NID_UNIT`].
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct RawInode {
    /// [`EXTENDED`] and the layout of the data, shifted by one.
    pub(super) format: U16,
    pub(super) xattr_count: U16,
    /// File type and permissions, as in `st_mode`.
    pub(super) mode: U16,
    pub(super) reserved: U16,
    pub(super) size: U64,
    /// The first block of flat data, or the format of the chunks.
    pub(super) data: U32,
    /// For 32-bit systems only.
    pub(super) ino: U32,
    pub(super) uid: U32,
    pub(super) gid: U32,
    /// Seconds since 1970.
    pub(super) mtime: U64,
    pub(super) mtime_nsec: U32,
    pub(super) links: U32,
    pub(super) reserved2: [u8; 16],
}
pub(super) const INODE: u64 = 64;
const _: () = assert!(size_of::<RawInode>() as u64 == INODE);
pub(super) const NID_UNIT: u64 = 32;
pub(super) const EXTENDED: u16 = 1;

/// `st_mode` of a directory, a file, a symbolic link.
pub(super) const MODE_DIRECTORY: u16 = 0o040_000;
pub(super) const MODE_FILE: u16 = 0o100_000;
pub(super) const MODE_LINK: u16 = 0o120_000;
pub(super) const MODE_KIND: u16 = 0o170_000;

/// How the data of an inode lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(super) enum Layout {
    /// In blocks that follow each other.
    Plain = 0,
    /// Whole blocks as above; the rest behind the inode, in one block.
    Inline = 2,
    /// A table of [`Chunk`]s behind the inode.
    Chunked = 4,
}

impl Layout {
    pub(super) fn to_format(self) -> U16 {
        U16::new(EXTENDED | (self as u16) << 1)
    }

    pub(super) fn from_format(format: U16) -> Option<Self> {
        let all = [Self::Plain, Self::Inline, Self::Chunked];
        all.into_iter().find(|layout| layout.to_format() == format)
    }
}

/// The chunks are [`Chunk`]s and not mere block numbers. In the lower five bits stands how many blocks a chunk has, as a power of two.
pub(super) const CHUNK_INDEXES: u32 = 0x20;
pub(super) const CHUNK_BITS: u32 = 0x1f;

/// `struct erofs_inode_chunk_index`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct Chunk {
    pub(super) reserved: U16,
    /// 0 is this file, 1 the first device slot.
    pub(super) device: U16,
    pub(super) block: U32,
}
pub(super) const CHUNK: u64 = 8;
const _: () = assert!(size_of::<Chunk>() as u64 == CHUNK);
/// The block of a chunk that is all zero.
pub(super) const HOLE: u32 = u32::MAX;

/// `struct erofs_dirent`. A block of a directory begins with these, the names follow.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Dirent {
    pub(super) nid: U64,
    /// Where the name begins in the block; it ends where the next one begins. So the first one tells how many there are.
    pub(super) name_offset: U16,
    pub(super) kind: u8,
    pub(super) reserved: u8,
}
pub(super) const DIRENT: usize = 12;
const _: () = assert!(size_of::<Dirent>() == DIRENT);
pub(super) const KIND_FILE: u8 = 1;
pub(super) const KIND_DIRECTORY: u8 = 2;
pub(super) const KIND_LINK: u8 = 7;

/// More than this the kernel does not take for a name.
pub(super) const LONGEST_NAME: usize = 255;

/// The sizes of a block that both the kernel and disks of 512-byte sectors have.
pub(super) const BLOCK_BITS: std::ops::RangeInclusive<u8> = 9..=12;

/// The checksum of a super block, `block` being all from its first byte to the end of the block that it lies in.
pub(super) fn checksum(block: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(&block[..4]);
    crc.update(&[0; 4]);
    crc.update(&block[8..]);
    !crc.finish()
}

/// How many bytes the checksum covers.
pub(super) fn checksum_length(block_size: u64) -> u64 {
    if block_size > SUPER_OFFSET { block_size - SUPER_OFFSET } else { block_size }
}

/// Device numbers are cut to as many bits as the highest one needs; `None` when every number that can be written is a device.
pub(super) fn missing_device(devices: u16) -> Option<u16> {
    let numbers = (u32::from(devices) + 1).next_power_of_two();
    u16::try_from(numbers - 1).ok().filter(|last| *last > devices)
}

/// The number of a device that is not there: what names it cannot be read. A device is added where all numbers are taken.
pub(super) fn with_missing_device(devices: u16) -> (u16, u16) {
    (devices..).find_map(|devices| Some((devices, missing_device(devices)?))).unwrap_or((devices, u16::MAX))
}
