//! A dynamic VHD: blocks that are there only when they were written.

use std::io;
use std::sync::Arc;

use super::format::{
    BLOCK_SIZE_AT, DATA_OFFSET_AT, DynamicHeader, SECTOR, TABLE_ENTRIES_AT, TABLE_OFFSET_AT,
};
use super::{PlacedFooter, read, read_struct};
use crate::error::{Error, Mismatch};
use crate::source::{ReadAt, check_inside};

/// The disk of a dynamic VHD.
///
/// The sector bitmap before each block is passed over: every writer clears a block when it adds it, so that sectors
/// which were never written are zero there too. (In a differencing VHD the bitmap decides.)
pub(crate) struct Dynamic {
    image: Arc<dyn ReadAt>,
    disk_size: u64,
    block_size: u64,
    /// For each block the byte offset of its data in the file, behind the bitmap; `None` when the block is absent.
    blocks: Box<[Option<BlockOffset>]>,
}

/// Sector number in the file of the first data sector of a block. Never zero: the copy of the footer lies there.
type BlockOffset = std::num::NonZeroU32;

/// The specification's default is 2 MiB and Windows makes 512 KiB as well. Smaller ones would let a small file
/// claim a huge table; bigger ones than this are not made by anybody.
const BLOCK_SIZES: std::ops::RangeInclusive<u64> = (64 << 10)..=(256 << 20);

/// An absent block.
const ABSENT: u32 = u32::MAX;

impl Dynamic {
    pub(super) fn open(image: Arc<dyn ReadAt>, footer: &PlacedFooter) -> Result<Self, Error> {
        let disk_size = footer.disk_size()?;
        let header_offset = footer.footer.data_offset.get();
        let file_size = image.size();
        if header_offset.checked_add(size_of::<DynamicHeader>() as u64).is_none_or(|end| end > file_size) {
            let expected = format!("a dynamic header inside the file of {file_size} bytes");
            return Err(footer.mismatch(DATA_OFFSET_AT, expected, format!("offset {header_offset:#x}")));
        }
        let header: DynamicHeader = read_struct(image.as_ref(), "the VHD's dynamic header", header_offset)?;
        let layout = Layout::new(&header, disk_size, file_size)
            .map_err(|mismatch| mismatch.in_vhd("dynamic header", header_offset))?;
        let blocks = read_table(image.as_ref(), &layout)?;
        Ok(Self { image, disk_size, block_size: layout.block_size, blocks })
    }
}

/// What the dynamic header says, checked.
struct Layout {
    block_size: u64,
    block_count: usize,
    bitmap_size: u64,
    table_offset: u64,
    disk_size: u64,
}

impl Layout {
    fn new(header: &DynamicHeader, disk_size: u64, file_size: u64) -> Result<Self, Mismatch> {
        header.verify()?;
        let block_size = u64::from(header.block_size.get());
        if !block_size.is_power_of_two() || !BLOCK_SIZES.contains(&block_size) {
            let expected = "a block size that is a power of two from 64 KiB to 256 MiB";
            return Err(Mismatch::new(BLOCK_SIZE_AT, expected, block_size));
        }
        let needed = disk_size.div_ceil(block_size);
        let entries = u64::from(header.max_table_entries.get());
        if entries < needed {
            let expected = format!("at least {needed} blocks for a disk of {disk_size} bytes");
            return Err(Mismatch::new(TABLE_ENTRIES_AT, expected, entries));
        }
        let table_offset = header.table_offset.get();
        if table_offset.checked_add(needed * 4).is_none_or(|end| end > file_size) {
            let expected = format!("a table of {needed} entries inside the file of {file_size} bytes");
            return Err(Mismatch::new(TABLE_OFFSET_AT, expected, format!("offset {table_offset:#x}")));
        }
        let block_count = usize::try_from(needed)
            .map_err(|_| Mismatch::new(TABLE_ENTRIES_AT, "a table that fits into memory", needed))?;
        let bitmap_size = (block_size / SECTOR / 8).next_multiple_of(SECTOR);
        Ok(Self { block_size, block_count, bitmap_size, table_offset, disk_size })
    }

    /// How many bytes of block `number` belong to the disk: the last block may be cut.
    fn used(&self, number: usize) -> u64 {
        self.block_size.min(self.disk_size - number as u64 * self.block_size)
    }
}

fn read_table(image: &dyn ReadAt, layout: &Layout) -> Result<Box<[Option<BlockOffset>]>, Error> {
    let mut raw = vec![0; layout.block_count * 4];
    read(image, "the VHD's block table", &mut raw, layout.table_offset)?;
    let mut blocks = vec![None; layout.block_count];
    for (number, (entry, block)) in raw.chunks_exact(4).zip(&mut blocks).enumerate() {
        let sector = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
        if sector == ABSENT {
            continue;
        }
        let data = u64::from(sector) + layout.bitmap_size / SECTOR;
        let end = data * SECTOR + layout.used(number);
        *block = u32::try_from(data).ok().and_then(BlockOffset::new).filter(|_| end <= image.size());
        if block.is_none() || sector == 0 {
            let expected = format!("block {number} inside the file of {} bytes", image.size());
            let found = format!("sector {sector}, so that it would end at byte {end}");
            return Err(Mismatch::new(number * 4, expected, found).in_vhd("block table", layout.table_offset));
        }
    }
    refuse_shared_blocks(&blocks, layout)?;
    Ok(blocks.into_boxed_slice())
}

/// Two blocks that lie on each other are damage; and they would let a small file hold a huge disk full of records.
fn refuse_shared_blocks(blocks: &[Option<BlockOffset>], layout: &Layout) -> Result<(), Error> {
    let mut present: Vec<(BlockOffset, usize)> =
        blocks.iter().enumerate().filter_map(|(number, block)| block.map(|at| (at, number))).collect();
    present.sort_unstable();
    let stride = layout.block_size / SECTOR;
    let shared =
        present.windows(2).find(|pair| u64::from(pair[1].0.get()) < u64::from(pair[0].0.get()) + stride);
    let Some(pair) = shared else { return Ok(()) };
    let (first, second) = (pair[0].1, pair[1].1);
    let expected = format!("a place of its own for block {second}");
    let found = format!("one that overlaps block {first}");
    Err(Mismatch::new(second * 4, expected, found).in_vhd("block table", layout.table_offset))
}

impl ReadAt for Dynamic {
    fn read_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        check_inside(buf, offset, self.disk_size)?;
        while !buf.is_empty() {
            let inside = offset % self.block_size;
            let length = usize::try_from(self.block_size - inside).unwrap_or(usize::MAX).min(buf.len());
            let (piece, rest) = buf.split_at_mut(length);
            let number = usize::try_from(offset / self.block_size).unwrap_or(usize::MAX);
            match self.blocks.get(number).copied().flatten() {
                Some(at) => self.image.read_at(piece, u64::from(at.get()) * SECTOR + inside)?,
                None => piece.fill(0),
            }
            offset += length as u64;
            buf = rest;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.disk_size
    }
}
