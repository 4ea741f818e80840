//! The block table (BAT): where in the file each block lies.

use super::format::{DynamicHeader, FOOTER_SIZE, SECTOR, TABLE_OFFSET_AT};
use super::header::Layout;
use super::read;
use crate::error::{Error, Mismatch};
use crate::source::ReadAt;

/// Sector number in the file of the first data sector of a block. Never zero: the copy of the footer lies there.
pub(super) type BlockOffset = std::num::NonZeroU32;

/// How many entries are read at a time.
const AT_ONCE: usize = 16 << 10;

/// An absent block.
pub(super) const ABSENT: u32 = u32::MAX;

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
        let structures = structures(layout)?;
        let mut table = Self { blocks: Box::default(), present: Box::default(), cut: None };
        let mut blocks = vec![None; layout.block_count];
        let mut present = Vec::new();
        let mut raw = vec![0; 4 * AT_ONCE.min(layout.block_count)];
        for (first, blocks) in (0..).step_by(AT_ONCE).zip(blocks.chunks_mut(AT_ONCE)) {
            let raw = &mut raw[..blocks.len() * 4];
            read(image, "the VHD's block table", raw, layout.table_offset + first as u64 * 4)?;
            for ((number, entry), block) in (first..).zip(raw.chunks_exact(4)).zip(blocks) {
                let sector = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
                if sector != ABSENT {
                    if present.len() as u64 >= most_blocks(layout) {
                        return Err(too_many(layout, number));
                    }
                    *block = Some(table.place(layout, &structures, number, sector)?);
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
    fn place(
        &mut self,
        layout: &Layout,
        structures: &[Structure; 3],
        number: usize,
        sector: u32,
    ) -> Result<BlockOffset, Error> {
        let data = u64::from(sector) + layout.bitmap_size / SECTOR;
        let end = data * SECTOR + layout.used(number);
        // At once, because a table of zeros costs nothing in a file with holes, and may have millions of entries.
        let start = u64::from(sector) * SECTOR;
        if let Some(other) = structures.iter().find(|other| other.start < end && start < other.end) {
            return Err(overlap(layout, number, other.name));
        }
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
        let place = |&number: &u32| Some((self.blocks[number as usize]?, number));
        let mut places: Vec<(BlockOffset, u32)> = self.present.iter().filter_map(place).collect();
        places.sort_unstable();
        let end = |&(data, number): &(BlockOffset, u32)| {
            u64::from(data.get()) * SECTOR + layout.used(number as usize)
        };
        let start = |&(data, _): &(BlockOffset, u32)| u64::from(data.get()) * SECTOR - layout.bitmap_size;
        match places.windows(2).find(|pair| start(&pair[1]) < end(&pair[0])) {
            Some(pair) => Err(overlap(layout, pair[0].1 as usize, &format!("block {}", pair[1].1))),
            None => Ok(()),
        }
    }
}

/// A part of the file in which no block can lie, in bytes.
struct Structure {
    start: u64,
    end: u64,
    name: &'static str,
}

/// The three structures at the start of the file, which must lie apart themselves.
fn structures(layout: &Layout) -> Result<[Structure; 3], Error> {
    let header_end = layout.header_offset + size_of::<DynamicHeader>() as u64;
    let table_end = layout.table_offset + layout.block_count as u64 * 4;
    let mut structures = [
        Structure { start: 0, end: FOOTER_SIZE as u64, name: "the copy of the footer" },
        Structure { start: layout.header_offset, end: header_end, name: "the dynamic header" },
        Structure { start: layout.table_offset, end: table_end, name: "the block table" },
    ];
    structures.sort_unstable_by_key(|structure| structure.start);
    match structures.windows(2).find(|pair| pair[1].start < pair[0].end) {
        Some(pair) => {
            let found = format!("{} and {} at the same place", pair[0].name, pair[1].name);
            let mismatch = Mismatch::new(TABLE_OFFSET_AT, "structures that lie apart", found);
            Err(mismatch.in_vhd("dynamic header", layout.header_offset))
        }
        None => Ok(structures),
    }
}

fn overlap(layout: &Layout, block: usize, other: &str) -> Error {
    let expected = format!("a place of its own for block {block}");
    in_table(layout, block, expected, format!("one that overlaps {other}"))
}

/// How many blocks have room in the file: the last one of the disk may be short, and one may be cut. What is kept for each of
/// them is more than its entry, so that a table of nothing but lies is found out early.
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
    in_table(layout, number, expected, found + layout.hint_at_cut)
}

fn in_table(layout: &Layout, number: usize, expected: String, found: String) -> Error {
    Mismatch::new(number * 4, expected, found).in_vhd("block table", layout.table_offset)
}
