//! What the metadata region says of the disk ([MS-VHDX] 2.6).

use std::ops::Range;

use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use super::format::{
    FILE_PARAMETERS, FileParameters, HAS_PARENT, IS_REQUIRED, IS_USER, LEAVES_BLOCKS_ALLOCATED,
    LOGICAL_SECTOR_SIZE, LONGEST_ITEM, METADATA_SIGNATURE, METADATA_TABLE_SIZE, MIB, MOST_ITEMS,
    MetadataEntry, MetadataTableHeader, PARENT_LOCATOR, PHYSICAL_SECTOR_SIZE, VIRTUAL_DISK_ID,
    VIRTUAL_DISK_SIZE,
};
use super::locator;
use super::read;
use crate::error::{Error, Mismatch};
use crate::guid::Guid;
use crate::parent::Link;
use crate::source::ReadAt;

/// The known items, checked.
pub(super) struct Metadata {
    /// In bytes, a power of two from 1 to 256 MiB.
    pub(super) block_size: u64,
    /// Whether all blocks are there from the start.
    pub(super) is_fixed: bool,
    /// Size of the disk in bytes, a multiple of the logical sector size, at most 64 TiB.
    pub(super) disk_size: u64,
    /// 512 or 4096.
    pub(super) logical_sector_size: u32,
    /// 512 or 4096. Windows demands it, reading does not.
    pub(super) physical_sector_size: Option<u32>,
    /// What the disk says of itself to a guest. Windows demands it, reading does not.
    pub(super) disk_id: Option<Guid>,
    /// Where the parent of a differencing disk is.
    pub(super) parent: Option<Link>,
}

/// [MS-VHDX] 2.6.2.2.
pub(crate) const BIGGEST_DISK: u64 = 64 << 40;

/// [MS-VHDX] 2.6.2.1.
const BLOCK_SIZES: std::ops::RangeInclusive<u64> = MIB..=256 * MIB;

impl Metadata {
    pub(super) fn read(file: &dyn ReadAt, region: &Range<u64>) -> Result<Self, Error> {
        let mut table = vec![0; METADATA_TABLE_SIZE as usize];
        read(file, "the VHDX metadata table", &mut table, region.start)?;
        let entries = entries(&table, region.end - region.start)
            .map_err(|mismatch| mismatch.in_vhdx("metadata table", region.start))?;
        if let Some(unknown) = entries.iter().find(|entry| !is_known(entry) && is_required(entry)) {
            let what = format!(
                "a VHDX with the required metadata {}, which is not in the specification,",
                unknown.item_id
            );
            return Err(Error::Unsupported {
                what: what.into(),
                yet: false,
                remedy: "convert the image to VHD",
            });
        }
        let items = Items { file, region_start: region.start, entries };
        let parameters = items.required(FILE_PARAMETERS, "file parameters")?;
        let (block_size, flags) = block_size(&parameters)?;
        let sector_size = items.required(LOGICAL_SECTOR_SIZE, "logical sector size")?;
        let logical_sector_size = sector_size.sector_size()?;
        let size = items.required(VIRTUAL_DISK_SIZE, "virtual disk size")?;
        let disk_size = disk_size(&size, logical_sector_size)?;
        let physical = items.optional(PHYSICAL_SECTOR_SIZE, "physical sector size")?;
        let disk_id = items.optional(VIRTUAL_DISK_ID, "virtual disk id")?;
        let parent = match flags & HAS_PARENT {
            0 => None,
            _ => {
                let locator = items.required(PARENT_LOCATOR, "parent locator")?;
                Some(locator::link(&locator.bytes).map_err(|mismatch| locator.wrong(mismatch))?)
            }
        };
        Ok(Self {
            block_size,
            is_fixed: flags & LEAVES_BLOCKS_ALLOCATED != 0,
            disk_size,
            logical_sector_size,
            physical_sector_size: physical.map(|item| item.sector_size()).transpose()?,
            disk_id: disk_id.map(|item| item.value()).transpose()?,
            parent,
        })
    }
}

fn entries(table: &[u8], region_size: u64) -> Result<Vec<MetadataEntry>, Mismatch> {
    let Ok((header, rest)) = MetadataTableHeader::read_from_prefix(table) else {
        return Err(Mismatch::new(0, "a metadata table", "the end of the file"));
    };
    if header.signature != METADATA_SIGNATURE {
        let found = header.signature.escape_ascii();
        return Err(Mismatch::new(0, "the signature \"metadata\"", format!("\"{found}\"")));
    }
    let count = header.entry_count.get();
    if count > MOST_ITEMS {
        let at = std::mem::offset_of!(MetadataTableHeader, entry_count);
        return Err(Mismatch::new(at, format!("at most {MOST_ITEMS} items"), count));
    }
    let mut entries = Vec::new();
    for (number, bytes) in rest.chunks_exact(size_of::<MetadataEntry>()).take(count.into()).enumerate() {
        let Ok(entry) = MetadataEntry::read_from_bytes(bytes) else { break };
        let at = size_of::<MetadataTableHeader>() + number * size_of::<MetadataEntry>();
        check_place(&entry, region_size).map_err(|mismatch| mismatch.shifted(at))?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Only an item without bytes has no place.
fn check_place(entry: &MetadataEntry, region_size: u64) -> Result<(), Mismatch> {
    let (offset, length) = (entry.offset.get(), entry.length.get());
    let fits = u64::from(offset) + u64::from(length) <= region_size;
    let has_place = offset >= METADATA_TABLE_SIZE && fits && length <= LONGEST_ITEM;
    if has_place || (offset, length) == (0, 0) {
        return Ok(());
    }
    let at = std::mem::offset_of!(MetadataEntry, offset);
    let expected = format!("an item of at most 1 MiB from byte 65536 to byte {region_size} of the region");
    Err(Mismatch::new(
        at,
        expected,
        format!("{length} bytes from byte {offset} on for item {}", entry.item_id),
    ))
}

const KNOWN: [Guid; 6] = [
    FILE_PARAMETERS,
    VIRTUAL_DISK_SIZE,
    VIRTUAL_DISK_ID,
    LOGICAL_SECTOR_SIZE,
    PHYSICAL_SECTOR_SIZE,
    PARENT_LOCATOR,
];

fn is_known(entry: &MetadataEntry) -> bool {
    entry.flags.get() & IS_USER == 0 && KNOWN.contains(&entry.item_id)
}

fn is_required(entry: &MetadataEntry) -> bool {
    entry.flags.get() & IS_REQUIRED != 0
}

fn block_size(parameters: &Item) -> Result<(u64, u32), Error> {
    let FileParameters { block_size, flags } = parameters.value()?;
    let block_size = u64::from(block_size.get());
    if !block_size.is_power_of_two() || !BLOCK_SIZES.contains(&block_size) {
        let expected = "a block size that is a power of two from 1 to 256 MiB";
        return Err(parameters.wrong(Mismatch::new(0, expected, block_size)));
    }
    Ok((block_size, flags.get()))
}

fn disk_size(size: &Item, sector_size: u32) -> Result<u64, Error> {
    let bytes = size.value::<U64>()?.get();
    if bytes == 0 || bytes > BIGGEST_DISK || bytes % u64::from(sector_size) != 0 {
        let expected = format!("a disk of whole sectors of {sector_size} bytes, up to 64 TiB");
        return Err(size.wrong(Mismatch::new(0, expected, format!("{bytes} bytes"))));
    }
    Ok(bytes)
}

/// The entries of the table, and where what they name is.
struct Items<'a> {
    file: &'a dyn ReadAt,
    region_start: u64,
    entries: Vec<MetadataEntry>,
}

/// One item of the metadata.
struct Item {
    name: &'static str,
    /// Byte offset in the file.
    offset: u64,
    bytes: Vec<u8>,
}

impl Items<'_> {
    fn required(&self, id: Guid, name: &'static str) -> Result<Item, Error> {
        self.optional(id, name)?.ok_or_else(|| {
            let mismatch = Mismatch::new(0, format!("the {name}"), "no such item");
            mismatch.in_vhdx("metadata table", self.region_start)
        })
    }

    fn optional(&self, id: Guid, name: &'static str) -> Result<Option<Item>, Error> {
        let mut found = self.entries.iter().filter(|entry| is_known(entry) && entry.item_id == id);
        let Some(entry) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            let mismatch = Mismatch::new(0, format!("the {name} once"), "two of them");
            return Err(mismatch.in_vhdx("metadata table", self.region_start));
        }
        let offset = self.region_start + u64::from(entry.offset.get());
        let mut bytes = vec![0; entry.length.get() as usize];
        read(self.file, "the VHDX metadata", &mut bytes, offset)?;
        Ok(Some(Item { name, offset, bytes }))
    }
}

impl Item {
    fn value<T: FromBytes>(&self) -> Result<T, Error> {
        T::read_from_prefix(&self.bytes).map(|(value, _)| value).map_err(|_| {
            let expected = format!("{} bytes", size_of::<T>());
            self.wrong(Mismatch::new(0, expected, format!("{} bytes", self.bytes.len())))
        })
    }

    fn sector_size(&self) -> Result<u32, Error> {
        match self.value::<U32>()?.get() {
            size @ (512 | 4096) => Ok(size),
            other => Err(self.wrong(Mismatch::new(0, "sectors of 512 or 4096 bytes", other))),
        }
    }

    fn wrong(&self, mismatch: Mismatch) -> Error {
        mismatch.in_vhdx(self.name, self.offset)
    }
}
