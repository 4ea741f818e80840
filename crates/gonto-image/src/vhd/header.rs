//! The dynamic header: how big the blocks are and where their table lies.

use super::footer::PlacedFooter;
use super::format::{
    BLOCK_SIZE_AT, DATA_OFFSET_AT, DynamicHeader, SECTOR, TABLE_ENTRIES_AT, TABLE_OFFSET_AT,
};
use super::read_struct;
use crate::error::{Error, Mismatch};
use crate::irregularity::Irregularity;
use crate::options::Options;
use crate::source::ReadAt;

/// A dynamic header whose cookie and checksum hold, and where it lies.
pub(super) struct PlacedHeader {
    pub(super) header: DynamicHeader,
    offset: u64,
}

impl PlacedHeader {
    pub(super) fn read(
        image: &dyn ReadAt,
        footer: &PlacedFooter,
        options: &Options,
        irregularities: &mut Vec<Irregularity>,
    ) -> Result<Self, Error> {
        let offset = footer.footer.data_offset.get();
        let file_size = image.size();
        if offset.checked_add(size_of::<DynamicHeader>() as u64).is_none_or(|end| end > file_size) {
            let expected = format!("a dynamic header inside the file of {file_size} bytes");
            let found = format!("offset {offset:#x}{}", footer.hint_at_cut());
            return Err(footer.mismatch(DATA_OFFSET_AT, expected, found));
        }
        let header: DynamicHeader = read_struct(image, "the VHD's dynamic header", offset)?;
        header.check_cookie().map_err(|mismatch| mismatch.in_vhd("dynamic header", offset))?;
        let what = "VHD's dynamic header";
        match header.check_sum() {
            Err(_) if options.ignore_checksums => {
                irregularities.push(Irregularity::WrongChecksum { what, offset });
            }
            checked => checked.map_err(|wrong| wrong.in_the(what, offset))?,
        }
        Ok(Self { header, offset })
    }
}

/// The specification's default is 2 MiB and Windows makes 512 KiB as well. Smaller ones would let a small file
/// claim a huge table; bigger ones than this are not made by anybody.
const BLOCK_SIZES: std::ops::RangeInclusive<u64> = (64 << 10)..=(256 << 20);

/// What footer and header say together, checked.
pub(super) struct Layout {
    pub(super) disk_size: u64,
    pub(super) block_size: u64,
    /// How many blocks have an entry in the table; behind them the disk is empty.
    pub(super) block_count: usize,
    /// Bytes of the sector bitmap before each block.
    pub(super) bitmap_size: u64,
    pub(super) header_offset: u64,
    pub(super) table_offset: u64,
    /// Blocks end before this byte of the file.
    pub(super) blocks_end: u64,
    /// What to say of a block that does not.
    pub(super) hint_at_cut: &'static str,
}

impl Layout {
    pub(super) fn new(
        footer: &PlacedFooter,
        header: &PlacedHeader,
        file_size: u64,
        irregularities: &mut Vec<Irregularity>,
    ) -> Result<Self, Error> {
        let disk_size = footer.disk_size()?;
        let damaged = |mismatch: Mismatch| mismatch.in_vhd("dynamic header", header.offset);
        let block_size = u64::from(header.header.block_size.get());
        if !block_size.is_power_of_two() || !BLOCK_SIZES.contains(&block_size) {
            let expected = "a block size that is a power of two from 64 KiB to 256 MiB";
            return Err(damaged(Mismatch::new(BLOCK_SIZE_AT, expected, block_size)));
        }
        let needed = disk_size.div_ceil(block_size);
        let entries = u64::from(header.header.max_table_entries.get());
        let covered = entries.min(needed) * block_size;
        if covered < disk_size {
            if !is_rounded(footer, disk_size, covered) {
                let expected = format!("at least {needed} blocks for a disk of {disk_size} bytes");
                return Err(damaged(Mismatch::new(TABLE_ENTRIES_AT, expected, entries)));
            }
            irregularities.push(Irregularity::ShortTable { covered, disk_size });
        }
        let block_count = entries.min(needed);
        // Where only the copy at the start is left, nobody knows where the footer was.
        let blocks_end = if footer.is_the_copy() { file_size } else { footer.offset };
        let table_offset = header.header.table_offset.get();
        if table_offset.checked_add(block_count * 4).is_none_or(|end| end > blocks_end) {
            let expected = format!("a table of {block_count} entries before byte {blocks_end} of the file");
            let found = format!("offset {table_offset:#x}{}", footer.hint_at_cut());
            return Err(damaged(Mismatch::new(TABLE_OFFSET_AT, expected, found)));
        }
        let block_count = usize::try_from(block_count).map_err(|_| {
            damaged(Mismatch::new(TABLE_ENTRIES_AT, "a table that fits into memory", block_count))
        })?;
        let bitmap_size = (block_size / SECTOR / 8).next_multiple_of(SECTOR);
        Ok(Self {
            disk_size,
            block_size,
            block_count,
            bitmap_size,
            header_offset: header.offset,
            table_offset,
            blocks_end,
            hint_at_cut: footer.hint_at_cut(),
        })
    }

    /// How many bytes of block `number` belong to the disk: the last block may be cut.
    pub(super) fn used(&self, number: usize) -> u64 {
        self.block_size.min(self.disk_size - number as u64 * self.block_size)
    }
}

/// Whether a table that ends early only leaves out what the disk's geometry leaves out as well: less than a cylinder. Its
/// writer has counted cylinders and never seen the rest of the disk.
fn is_rounded(footer: &PlacedFooter, disk_size: u64, covered: u64) -> bool {
    let footer = &footer.footer;
    let cylinder = u64::from(footer.heads) * u64::from(footer.sectors_per_track) * SECTOR;
    // A table without entries is no rounded one, however small the disk is.
    covered > 0 && covered >= cylinder * u64::from(footer.cylinders.get()) && disk_size - covered < cylinder
}
