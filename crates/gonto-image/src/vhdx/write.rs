//! VHDXs that are made here: dynamic ones, and children of others.
//!
//! ```text
//! 0                1 MiB   2 MiB      3 MiB
//! header section | log   | metadata | block table | blocks in the order in which they come
//! ```

use std::fs::File;
use std::io;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::copies::seal;
use super::creator::GONTO;
use super::format::{
    BAT_REGION, FILE_PARAMETERS, FILE_SIGNATURE, FileParameters, FileTypeIdentifier, HEADER_PLACES,
    HEADER_SECTION, HEADER_SIGNATURE, Header, IS_OF_DISK, IS_REQUIRED, LOGICAL_SECTOR_SIZE, METADATA_REGION,
    METADATA_SIGNATURE, METADATA_TABLE_SIZE, MIB, MetadataEntry, MetadataTableHeader, PARENT_LOCATOR,
    PHYSICAL_SECTOR_SIZE, REGION_TABLE_PLACES, REGION_TABLE_SIGNATURE, REGION_TABLE_SIZE, RegionEntry,
    RegionTableHeader, SECTORS_PER_BITMAP, VIRTUAL_DISK_ID, VIRTUAL_DISK_SIZE, state,
};
pub(crate) use super::metadata::BIGGEST_DISK;
use crate::create::disk::{Layout, NewContainer, WRITER_VERSION, too_big};
use crate::identity::Identity;
use crate::source::write_all_at;

mod child;

pub(crate) use child::write as write_child;

const BLOCK_SIZE: u32 = 2 << 20;
const SECTOR_SIZE: u32 = 512;
/// Blocks of a chunk ([MS-VHDX] 2.5).
const CHUNK_RATIO: u32 = 2048;
const _: () = assert!(SECTORS_PER_BITMAP * SECTOR_SIZE as u64 == CHUNK_RATIO as u64 * BLOCK_SIZE as u64);

/// A chunk has an entry more, for its sector bitmap, which is there only where the disk has a parent.
const CHUNK_ENTRIES: u64 = CHUNK_RATIO as u64 + 1;

const LOG_SIZE: u32 = 1 << 20;
const LOG_AT: u64 = HEADER_SECTION;
const METADATA_AT: u64 = LOG_AT + LOG_SIZE as u64;
const BLOCK_TABLE_AT: u64 = METADATA_AT + MIB;

/// How many bytes a disk has that holds at least `needed` bytes; `None` when that is too much.
pub(crate) fn disk_size(needed: u64) -> Option<u64> {
    let size = needed.max(1).checked_next_multiple_of(MIB)?;
    (size <= BIGGEST_DISK).then_some(size)
}

/// The blocks of a dynamic VHDX.
pub(crate) struct Blocks {
    /// The entry of each block for which there is room.
    table: Vec<u64>,
    /// Behind the last block of the file.
    end: u64,
}

impl Blocks {
    /// There is room for the blocks of a disk of `most` bytes.
    pub(crate) fn new(most: u64) -> Self {
        let count = usize::try_from(most.div_ceil(u64::from(BLOCK_SIZE))).unwrap_or(usize::MAX);
        Self { table: vec![NOT_PRESENT; count], end: BLOCK_TABLE_AT + block_table_size(most) }
    }
}

const NOT_PRESENT: u64 = state::NOT_PRESENT as u64;

/// Bytes of the region, which ends with the entry of the last block ([MS-VHDX] 2.5).
fn block_table_size(disk_size: u64) -> u64 {
    let last = disk_size.div_ceil(u64::from(BLOCK_SIZE)) - 1;
    ((last + last / u64::from(CHUNK_RATIO) + 1) * 8).next_multiple_of(MIB)
}

impl Layout for Blocks {
    fn block_size(&self) -> u64 {
        u64::from(BLOCK_SIZE)
    }

    fn place(&mut self, _: &File, offset: u64) -> io::Result<u64> {
        let number = usize::try_from(offset / self.block_size()).unwrap_or(usize::MAX);
        let entry = self.table.get_mut(number).ok_or_else(|| too_big(NewContainer::Vhdx))?;
        if *entry == NOT_PRESENT {
            *entry = self.end | u64::from(state::FULLY_PRESENT);
            self.end += u64::from(BLOCK_SIZE);
        }
        Ok((*entry & !(MIB - 1)) + offset % self.block_size())
    }

    fn finish(&mut self, file: &File, size: u64, identity: &Identity, _: u32) -> io::Result<()> {
        file.set_len(self.end)?;
        write_header_section(file, identity, block_table_size(size))?;
        let facts =
            Facts { flags: 0, block_size: BLOCK_SIZE, disk_size: size, logical: SECTOR_SIZE, physical: 4096 };
        write_all_at(file, &metadata(&facts, identity, None), METADATA_AT)?;
        for (blocks, chunk) in self.table.chunks(CHUNK_RATIO as usize).zip(0..) {
            if blocks.iter().any(|entry| *entry != NOT_PRESENT) {
                let entries: Vec<u8> = blocks.iter().flat_map(|entry| entry.to_le_bytes()).collect();
                write_all_at(file, &entries, BLOCK_TABLE_AT + chunk * CHUNK_ENTRIES * 8)?;
            }
        }
        Ok(())
    }
}

/// All that lies before the log. The block table has `block_table_size` bytes.
fn write_header_section(file: &File, identity: &Identity, block_table_size: u64) -> io::Result<()> {
    write_all_at(file, identifier().as_bytes(), 0)?;
    for (place, sequence_number) in HEADER_PLACES.into_iter().zip(1..) {
        write_all_at(file, header(identity, sequence_number).as_bytes(), place)?;
    }
    let regions = region_table(block_table_size);
    REGION_TABLE_PLACES.into_iter().try_for_each(|place| write_all_at(file, &regions, place))
}

fn identifier() -> FileTypeIdentifier {
    let (major, minor) = WRITER_VERSION;
    let mut identifier = FileTypeIdentifier { signature: FILE_SIGNATURE, ..FileTypeIdentifier::new_zeroed() };
    let name = format!("{GONTO}{major}.{minor}");
    identifier.creator.iter_mut().zip(name.encode_utf16()).for_each(|(slot, unit)| *slot = unit.into());
    identifier
}

/// [MS-VHDX] 2.2.2. The log is empty, but has its place.
fn header(identity: &Identity, sequence_number: u64) -> Header {
    let mut header = Header {
        signature: HEADER_SIGNATURE,
        sequence_number: sequence_number.into(),
        file_write_guid: identity.guid("VHDX file"),
        data_write_guid: identity.guid("VHDX data"),
        version: 1.into(),
        log_length: LOG_SIZE.into(),
        log_offset: LOG_AT.into(),
        ..Header::new_zeroed()
    };
    seal(header.as_mut_bytes());
    header
}

/// [MS-VHDX] 2.2.3.
fn region_table(block_table_size: u64) -> Vec<u8> {
    let region = |guid, offset: u64, length: u64| RegionEntry {
        guid,
        file_offset: offset.into(),
        // That of the biggest disk has 257 MiB.
        length: u32::try_from(length).unwrap_or(u32::MAX).into(),
        required: 1.into(),
    };
    let entries =
        [region(BAT_REGION, BLOCK_TABLE_AT, block_table_size), region(METADATA_REGION, METADATA_AT, MIB)];
    let header = RegionTableHeader {
        signature: REGION_TABLE_SIGNATURE,
        entry_count: 2.into(),
        ..RegionTableHeader::new_zeroed()
    };
    let mut table = [header.as_bytes(), entries.as_bytes()].concat();
    table.resize(REGION_TABLE_SIZE, 0);
    seal(&mut table);
    table
}

/// What the metadata say of a disk.
struct Facts {
    flags: u32,
    block_size: u32,
    disk_size: u64,
    /// Bytes of a logical sector.
    logical: u32,
    /// Bytes of a physical sector.
    physical: u32,
}

/// The metadata table and its items ([MS-VHDX] 2.6): those that are required of every disk, and the parent locator of a child.
fn metadata(facts: &Facts, identity: &Identity, parent: Option<&[u8]>) -> Vec<u8> {
    let parameters = FileParameters { block_size: facts.block_size.into(), flags: facts.flags.into() };
    let (disk_size, disk_id) = (U64::new(facts.disk_size), identity.guid("disk"));
    let (logical, physical) = (U32::new(facts.logical), U32::new(facts.physical));
    let of_disk = IS_OF_DISK | IS_REQUIRED;
    let items = [
        (FILE_PARAMETERS, IS_REQUIRED, parameters.as_bytes()),
        (VIRTUAL_DISK_SIZE, of_disk, disk_size.as_bytes()),
        (VIRTUAL_DISK_ID, of_disk, disk_id.as_bytes()),
        (LOGICAL_SECTOR_SIZE, of_disk, logical.as_bytes()),
        (PHYSICAL_SECTOR_SIZE, of_disk, physical.as_bytes()),
    ];
    let parent = parent.map(|locator| (PARENT_LOCATOR, IS_REQUIRED, locator));
    let (mut entries, mut bytes) = (Vec::new(), vec![0; METADATA_TABLE_SIZE as usize]);
    for (item_id, flags, item) in items.into_iter().chain(parent) {
        let (offset, length) = (in_32_bits(bytes.len()), in_32_bits(item.len()));
        entries.push(MetadataEntry { item_id, offset, length, flags: flags.into(), reserved: 0.into() });
        bytes.extend(item);
    }
    let header = MetadataTableHeader {
        signature: METADATA_SIGNATURE,
        entry_count: u16::try_from(entries.len()).unwrap_or(u16::MAX).into(),
        ..MetadataTableHeader::new_zeroed()
    };
    let table = [header.as_bytes(), entries.as_bytes()].concat();
    bytes[..table.len()].copy_from_slice(&table);
    bytes
}

/// A length of something small.
fn in_32_bits(length: usize) -> U32 {
    u32::try_from(length).unwrap_or(u32::MAX).into()
}
