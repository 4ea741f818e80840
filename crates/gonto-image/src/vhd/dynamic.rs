//! The disk of a dynamic or differencing VHD.

use std::io;
use std::sync::Arc;

use super::footer::PlacedFooter;
use super::format::SECTOR;
use super::header::{Layout, PlacedHeader};
use super::read;
use super::table::{BlockOffset, Table, behind_the_end};
use crate::error::Error;
use crate::irregularity::Irregularity;
use crate::layer::Blocks;
use crate::parallel::map_in_order;
use crate::parent::Below;
use crate::sector_bitmap::{SectorBitmap, Written};
use crate::source::{Extent, Place, ReadAt, check_inside};

/// Blocks that are there when they were written; and below them the parent, or zeroes.
///
/// Without a parent the sector bitmap before each block is passed over: every writer clears a block when it adds it, so that
/// sectors which were never written are zero there too. With a parent it decides for each sector.
pub(super) struct Dynamic {
    image: Arc<dyn ReadAt>,
    disk_size: u64,
    block_size: u64,
    table: Table,
    /// The bitmaps of those blocks that are not all here, in the order of their numbers.
    bitmaps: Vec<(u32, SectorBitmap)>,
    below: Option<Below>,
}

impl Dynamic {
    pub(super) fn open(
        image: Arc<dyn ReadAt>,
        footer: &PlacedFooter,
        header: &PlacedHeader,
        below: Option<Below>,
        irregularities: &mut Vec<Irregularity>,
    ) -> Result<Self, Error> {
        let layout = Layout::new(footer, header, image.size(), irregularities)?;
        let mut table = Table::read(image.as_ref(), &layout)?;
        let bitmaps = read_bitmaps(image.as_ref(), &layout, &mut table, below.is_some())?;
        Ok(Self { image, disk_size: layout.disk_size, block_size: layout.block_size, table, bitmaps, below })
    }

    pub(super) fn blocks(&self) -> Blocks {
        Blocks {
            size: self.block_size,
            total: self.disk_size.div_ceil(self.block_size),
            present: self.table.present.len() as u64,
        }
    }

    /// Where the byte at `offset` is, and how many bytes from there on are in the same place.
    fn place(&self, offset: u64) -> Piece {
        let number = usize::try_from(offset / self.block_size).unwrap_or(usize::MAX);
        let inside = offset % self.block_size;
        let Some(block) = self.table.blocks.get(number).copied().flatten() else {
            let next = self.table.present.partition_point(|present| (*present as usize) < number);
            let end = self.table.present.get(next).map(|next| u64::from(*next) * self.block_size);
            return Piece::below(end.unwrap_or(self.disk_size).saturating_sub(offset));
        };
        let here = u64::from(block.get()) * SECTOR + inside;
        let found = self.bitmaps.binary_search_by_key(&number, |(number, _)| *number as usize);
        let Ok(found) = found else {
            return Piece { length: self.block_size - inside, here: Some(here) };
        };
        let bitmap = &self.bitmaps[found].1;
        let sector = usize::try_from(inside / SECTOR).unwrap_or(usize::MAX);
        let length = bitmap.run(sector) as u64 * SECTOR - inside % SECTOR;
        Piece { length, here: bitmap.is_written(sector).then_some(here) }
    }
}

/// Bytes that lie together.
struct Piece {
    /// How many; at the disk's end it may reach behind it.
    length: u64,
    /// Where in the file; `None` for what is not in this one.
    here: Option<u64>,
}

impl Piece {
    fn below(length: u64) -> Self {
        Self { length, here: None }
    }
}

/// Reads the bitmaps of those blocks that need one: all blocks where there is a parent, else the one that is cut.
fn read_bitmaps(
    image: &dyn ReadAt,
    layout: &Layout,
    table: &mut Table,
    has_parent: bool,
) -> Result<Vec<(u32, SectorBitmap)>, Error> {
    let needed: Vec<u32> = if has_parent { table.present.to_vec() } else { table.cut.into_iter().collect() };
    let mut in_file_order: Vec<(u32, BlockOffset)> =
        needed.into_iter().filter_map(|number| Some((number, table.blocks[number as usize]?))).collect();
    in_file_order.sort_unstable_by_key(|(_, place)| *place);
    let read = map_in_order(in_file_order.len(), |at| {
        let (number, place) = in_file_order[at];
        read_bitmap(image, layout, number, place, has_parent)
    });
    let mut bitmaps = Vec::new();
    for ((number, _), written) in in_file_order.into_iter().zip(read) {
        match written? {
            Written::All => {}
            Written::Some(bitmap) => bitmaps.push((number, bitmap)),
            Written::Nothing => table.blocks[number as usize] = None,
        }
    }
    let blocks = &table.blocks;
    table.present =
        table.present.iter().copied().filter(|number| blocks[*number as usize].is_some()).collect();
    bitmaps.sort_unstable_by_key(|(number, _)| *number);
    Ok(bitmaps)
}

fn read_bitmap(
    image: &dyn ReadAt,
    layout: &Layout,
    number: u32,
    place: BlockOffset,
    has_parent: bool,
) -> Result<Written, Error> {
    let used = layout.used(number as usize);
    let data = u64::from(place.get()) * SECTOR;
    let sectors = usize::try_from(used.div_ceil(SECTOR)).unwrap_or(usize::MAX);
    let mut bits = vec![0; sectors.div_ceil(8)];
    read(image, "a sector bitmap of the VHD", &mut bits, data - layout.bitmap_size)?;
    let bitmap = SectorBitmap::new(&bits, sectors);
    if data + used <= layout.blocks_end {
        return Ok(bitmap.simplified());
    }
    // The end of the block is not in the file. That is as it should be only where nothing was written there.
    let there = usize::try_from((layout.blocks_end - data) / SECTOR).unwrap_or(usize::MAX);
    if let Some(sector) = bitmap.next_written(there) {
        let end = data + (sector as u64 + 1) * SECTOR;
        let found = format!("that its sector {sector}, which was written, would end at byte {end}");
        return Err(behind_the_end(layout, number as usize, found));
    }
    let bitmap = if has_parent { bitmap } else { bitmap.with_all_before(there) };
    Ok(bitmap.simplified())
}

impl ReadAt for Dynamic {
    fn read_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        check_inside(buf, offset, self.disk_size)?;
        while !buf.is_empty() {
            let piece = self.place(offset);
            let length = usize::try_from(piece.length).unwrap_or(usize::MAX).min(buf.len());
            let (bytes, rest) = buf.split_at_mut(length);
            match (piece.here, &self.below) {
                (Some(at), _) => self.image.read_at(bytes, at)?,
                (None, Some(below)) => below.read_at(bytes, offset)?,
                (None, None) => bytes.fill(0),
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
        let piece = self.place(offset);
        let extent = match (piece.here, &self.below) {
            (Some(at), _) => self.image.extent(at),
            (None, Some(below)) => below.extent(offset),
            (None, None) => Extent { length: piece.length, place: Place::Zero },
        };
        extent.at_most(piece.length).at_most(rest)
    }
}
