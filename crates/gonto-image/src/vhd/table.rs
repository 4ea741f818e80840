//! The block table (BAT): where in the file each block lies.

use std::fmt;

use super::format::{DynamicHeader, FOOTER_SIZE, SECTOR, TABLE_OFFSET_AT};
use super::header::Layout;
use super::read;
use crate::error::{Error, Mismatch};
use crate::source::ReadAt;

/// Sector number in the file of the first data sector of a block. Never zero: the copy of the footer lies there.
pub(super) type BlockOffset = std::num::NonZeroU32;

/// An absent block.
const ABSENT: u32 = u32::MAX;

/// Where the blocks lie.
pub(super) struct Table {
    /// For each block the place of its data, behind the bitmap; `None` when the block is absent.
    pub(super) blocks: Box<[Option<BlockOffset>]>,
    /// The numbers of the blocks that are there, in ascending order.
    pub(super) present: Box<[u32]>,
    /// The one block whose end is not in the file, if there is one: writers leave out what was never written.
    pub(super) cut: Option<u32>,
}

impl Table {
    pub(super) fn read(image: &dyn ReadAt, layout: &Layout) -> Result<Self, Error> {
        let mut table = Self { blocks: Box::default(), present: Box::default(), cut: None };
        let mut blocks = vec![None; layout.block_count];
        let mut present = Vec::new();
        let mut raw = vec![0; (64 << 10).min(layout.block_count * 4)];
        for (first, blocks) in (0..).step_by(raw.len() / 4).zip(blocks.chunks_mut(raw.len() / 4)) {
            let raw = &mut raw[..blocks.len() * 4];
            read(image, "the VHD's block table", raw, layout.table_offset + first as u64 * 4)?;
            for ((number, entry), block) in (first..).zip(raw.chunks_exact(4)).zip(blocks) {
                let sector = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
                if sector != ABSENT {
                    if present.len() as u64 >= most_blocks(layout) {
                        return Err(too_many(layout, number));
                    }
                    *block = Some(table.place(layout, number, sector)?);
                    // A table has fewer than 2^32 entries, because the header counts them in 32 bits.
                    present.extend(u32::try_from(number));
                }
            }
        }
        table.blocks = blocks.into_boxed_slice();
        table.present = present.into_boxed_slice();
        table.refuse_shared_places(layout)?;
        Ok(table)
    }

    /// Checks that block `number` lies in the file if its bitmap begins at `sector`.
    fn place(&mut self, layout: &Layout, number: usize, sector: u32) -> Result<BlockOffset, Error> {
        let data = u64::from(sector) + layout.bitmap_size / SECTOR;
        let end = data * SECTOR + layout.used(number);
        let starts_inside = data * SECTOR <= layout.blocks_end;
        let cut = end > layout.blocks_end;
        match u32::try_from(data).ok().and_then(BlockOffset::new) {
            Some(place) if starts_inside && !(cut && self.cut.is_some()) => {
                if cut {
                    self.cut = u32::try_from(number).ok();
                }
                Ok(place)
            }
            _ => {
                let found = format!("sector {sector}, so that it would end at byte {end}");
                Err(behind_the_end(layout, number, found))
            }
        }
    }

    /// Two blocks that lie on each other are damage; and they would let a small file hold a huge disk full of records.
    fn refuse_shared_places(&self, layout: &Layout) -> Result<(), Error> {
        let header_end = layout.header_offset + size_of::<DynamicHeader>() as u64;
        let table_end = layout.table_offset + layout.block_count as u64 * 4;
        let mut places = vec![
            (0, FOOTER_SIZE as u64, Owner::Structure("the copy of the footer")),
            (layout.header_offset, header_end, Owner::Structure("the dynamic header")),
            (layout.table_offset, table_end, Owner::Structure("the block table")),
        ];
        for &number in &self.present {
            if let Some(data) = self.blocks[number as usize] {
                let data = u64::from(data.get()) * SECTOR;
                let end = data + layout.used(number as usize);
                places.push((data - layout.bitmap_size, end, Owner::Block(number)));
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
        Err(in_table(layout, block as usize, expected, found))
    }
}

/// How many blocks have room in the file: the last one of the disk may be short, and one may be cut. A table of zeros, which
/// costs nothing in a file with holes, would otherwise ask for memory for each of its entries.
fn most_blocks(layout: &Layout) -> u64 {
    layout.blocks_end / layout.block_size + 2
}

fn too_many(layout: &Layout, number: usize) -> Error {
    let expected =
        format!("at most {} blocks in {} bytes of the file", most_blocks(layout), layout.blocks_end);
    in_table(layout, number, expected, "another one".into())
}

/// An error about a block that the file does not hold.
pub(super) fn behind_the_end(layout: &Layout, number: usize, found: String) -> Error {
    let expected = format!("block {number} to end before byte {} of the file", layout.blocks_end);
    in_table(layout, number, expected, found)
}

fn in_table(layout: &Layout, number: usize, expected: String, found: String) -> Error {
    Mismatch::new(number * 4, expected, found).in_vhd("block table", layout.table_offset)
}

/// What a part of the file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Structure(&'static str),
    Block(u32),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure(name) => f.write_str(name),
            Self::Block(number) => write!(f, "block {number}"),
        }
    }
}
