//! A dynamic VHD: blocks that are there only when they were written.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::format::{
    BLOCK_SIZE_AT, DATA_OFFSET_AT, DynamicHeader, FOOTER_SIZE, SECTOR, TABLE_ENTRIES_AT, TABLE_OFFSET_AT,
};
use super::{PlacedFooter, read, read_struct};
use crate::error::{Error, Mismatch};
use crate::source::{Extent, Place, ReadAt, check_inside};

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
        // Where only the copy at the start is left, nobody knows where the footer was.
        let blocks_end = if footer.offset == 0 { file_size } else { footer.offset };
        let layout = Layout::new(&header, header_offset, disk_size, blocks_end)
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
    header_offset: u64,
    table_offset: u64,
    disk_size: u64,
    /// Blocks end before this byte of the file.
    blocks_end: u64,
}

impl Layout {
    fn new(
        header: &DynamicHeader,
        header_offset: u64,
        disk_size: u64,
        blocks_end: u64,
    ) -> Result<Self, Mismatch> {
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
        if table_offset.checked_add(needed * 4).is_none_or(|end| end > blocks_end) {
            let expected = format!("a table of {needed} entries before byte {blocks_end} of the file");
            return Err(Mismatch::new(TABLE_OFFSET_AT, expected, format!("offset {table_offset:#x}")));
        }
        let block_count = usize::try_from(needed)
            .map_err(|_| Mismatch::new(TABLE_ENTRIES_AT, "a table that fits into memory", needed))?;
        let bitmap_size = (block_size / SECTOR / 8).next_multiple_of(SECTOR);
        Ok(Self { block_size, block_count, bitmap_size, header_offset, table_offset, disk_size, blocks_end })
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
        *block = u32::try_from(data).ok().and_then(BlockOffset::new).filter(|_| end <= layout.blocks_end);
        if block.is_none() {
            let expected = format!("block {number} to end before byte {} of the file", layout.blocks_end);
            let found = format!("sector {sector}, so that it would end at byte {end}");
            return Err(Mismatch::new(number * 4, expected, found).in_vhd("block table", layout.table_offset));
        }
    }
    refuse_shared_places(&blocks, layout)?;
    Ok(blocks.into_boxed_slice())
}

/// Two blocks that lie on each other are damage; and they would let a small file hold a huge disk full of records.
fn refuse_shared_places(blocks: &[Option<BlockOffset>], layout: &Layout) -> Result<(), Error> {
    let header_end = layout.header_offset + size_of::<DynamicHeader>() as u64;
    let table_end = layout.table_offset + layout.block_count as u64 * 4;
    let mut places = vec![
        (0, FOOTER_SIZE as u64, Owner::Structure("the copy of the footer")),
        (layout.header_offset, header_end, Owner::Structure("the dynamic header")),
        (layout.table_offset, table_end, Owner::Structure("the block table")),
    ];
    for (number, block) in blocks.iter().enumerate() {
        if let Some(data) = block {
            let data = u64::from(data.get()) * SECTOR;
            places.push((data - layout.bitmap_size, data + layout.used(number), Owner::Block(number)));
        }
    }
    places.sort_unstable();
    let Some(pair) = places.windows(2).find(|pair| pair[1].0 < pair[0].1) else { return Ok(()) };
    let (block, other) = match (pair[0].2, pair[1].2) {
        (Owner::Block(block), other) | (other, Owner::Block(block)) => (block, other),
        (structure, other) => {
            let found = format!("{structure} and {other} at the same place");
            let mismatch = Mismatch::new(TABLE_OFFSET_AT, "structures that lie apart", found);
            return Err(mismatch.in_vhd("dynamic header", layout.header_offset));
        }
    };
    let expected = format!("a place of its own for block {block}");
    let found = format!("one that overlaps {other}");
    Err(Mismatch::new(block * 4, expected, found).in_vhd("block table", layout.table_offset))
}

/// What a part of the file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Structure(&'static str),
    Block(usize),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure(name) => f.write_str(name),
            Self::Block(number) => write!(f, "block {number}"),
        }
    }
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

    fn extent(&self, offset: u64) -> Extent {
        let Some(rest) = self.disk_size.checked_sub(offset).filter(|rest| *rest > 0) else {
            return Extent { length: 0, place: Place::Zero };
        };
        let first = usize::try_from(offset / self.block_size).unwrap_or(usize::MAX);
        let inside = offset % self.block_size;
        let blocks = self.blocks.get(first..).unwrap_or_default();
        let extent = match blocks.first().copied().flatten() {
            Some(at) => {
                let extent = self.image.extent(u64::from(at.get()) * SECTOR + inside);
                extent.at_most(self.block_size - inside)
            }
            None => {
                let absent = blocks.iter().take_while(|block| block.is_none()).count() as u64;
                Extent { length: absent * self.block_size - inside, place: Place::Zero }
            }
        };
        extent.at_most(rest)
    }
}
