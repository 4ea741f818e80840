//! The disk of a VHDX: blocks in any order, with the parent's bytes where the file has none.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::bat::BlockTable;
use super::format::{MIB, SECTORS_PER_BITMAP};
use super::metadata::Metadata;
use super::read;
use super::table::{Block, Table};
use crate::error::Error;
use crate::parent::Below;
use crate::sector_bitmap::SectorBitmap;
use crate::source::{Extent, Place, ReadAt, check_inside};

/// The bytes that a guest sees.
pub(super) struct Disk {
    /// The image file, its log replayed.
    file: Arc<dyn ReadAt>,
    size: u64,
    block_size: u64,
    sector_size: u64,
    blocks: Table,
    /// The partial blocks by ascending number, and which of their sectors are in the file. Those of which no sector is are left
    /// out.
    partial: Box<[(u64, SectorBitmap)]>,
    parent: Option<Below>,
}

impl Disk {
    /// `parent` is there where the metadata says so.
    pub(super) fn new(
        file: Arc<dyn ReadAt>,
        metadata: &Metadata,
        table: BlockTable,
        parent: Option<Below>,
    ) -> Result<Self, Error> {
        let bitmaps = table.partial.iter().zip(&table.bitmaps);
        let partial = bitmaps.filter_map(|(number, chunk)| {
            let bitmap = read_bitmap(file.as_ref(), metadata, *number, *chunk);
            bitmap.map(|bitmap| Some((*number, bitmap?))).transpose()
        });
        let partial = partial.collect::<Result<_, Error>>()?;
        Ok(Self {
            file,
            size: metadata.disk_size,
            block_size: metadata.block_size,
            sector_size: u64::from(metadata.logical_sector_size),
            blocks: table.blocks,
            partial,
            parent,
        })
    }

    /// Where the bytes from `offset` on are, up to where that changes.
    fn source(&self, offset: u64) -> Source {
        let (number, inside) = (offset / self.block_size, offset % self.block_size);
        let rest_of = |blocks: u64| offset..(offset + blocks * self.block_size - inside).min(self.size);
        match self.blocks.block(number) {
            Block::Zero => Source { range: rest_of(self.blocks.run(number)), from: From::Nowhere },
            Block::Below => Source { range: rest_of(self.blocks.run(number)), from: From::Parent },
            Block::Present(mib) => {
                Source { range: rest_of(1), from: From::File(u64::from(mib) * MIB + inside) }
            }
            Block::Partial(mib) => {
                let (is_written, length) = self.run_in_block(number, inside);
                let from = if is_written { From::File(u64::from(mib) * MIB + inside) } else { From::Parent };
                let block = rest_of(1);
                Source { range: block.start..block.end.min(offset + length), from }
            }
        }
    }

    /// Whether the sector at byte `inside` of a partial block is in the file, and after how many bytes that changes.
    fn run_in_block(&self, number: u64, inside: u64) -> (bool, u64) {
        let found = self.partial.binary_search_by_key(&number, |(number, _)| *number);
        let Some((_, bitmap)) = found.ok().and_then(|index| self.partial.get(index)) else {
            return (false, self.block_size - inside);
        };
        let sector = usize::try_from(inside / self.sector_size).unwrap_or(usize::MAX);
        let end = (sector + bitmap.run(sector)) as u64 * self.sector_size;
        (bitmap.is_written(sector), end - inside)
    }
}

/// A range of the disk, and where its bytes are.
struct Source {
    range: Range<u64>,
    from: From,
}

enum From {
    Nowhere,
    /// Byte offset in the file.
    File(u64),
    Parent,
}

/// The biggest block with the smallest sectors.
const MOST_SECTORS: usize = (256 << 20) / 512;

/// Which sectors of a partial block are in the file; `None` when none is. `chunk` is the byte offset in the file of the sector
/// bitmap of the block's chunk.
fn read_bitmap(
    file: &dyn ReadAt,
    metadata: &Metadata,
    number: u64,
    chunk: u64,
) -> Result<Option<SectorBitmap>, Error> {
    let sectors = metadata.block_size / u64::from(metadata.logical_sector_size);
    let inside_chunk = number % (SECTORS_PER_BITMAP / sectors);
    let sectors = usize::try_from(sectors).unwrap_or(usize::MAX).min(MOST_SECTORS);
    let offset = chunk + inside_chunk * (sectors / 8) as u64;
    // A log of a few bytes can make a file of petabytes that are zero, and a block of 256 MiB has a bitmap of 64 KiB.
    if file.extent(offset).zeroes() >= (sectors / 8) as u64 {
        return Ok(None);
    }
    let mut bits = vec![0; sectors / 8];
    read(file, "a VHDX sector bitmap", &mut bits, offset)?;
    // The first sector is the lowest bit here, and the highest in the bitmap of a VHD.
    bits.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
    let bitmap = SectorBitmap::new(&bits, sectors);
    Ok(bitmap.next_written(0).is_some().then_some(bitmap))
}

impl ReadAt for Disk {
    fn read_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        check_inside(buf, offset, self.size)?;
        while !buf.is_empty() {
            let Source { range, from } = self.source(offset);
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(buf.len());
            let (part, rest) = buf.split_at_mut(length);
            match (from, &self.parent) {
                (From::File(at), _) => self.file.read_at(part, at)?,
                (From::Parent, Some(parent)) => parent.read_at(part, offset)?,
                (From::Nowhere, _) | (From::Parent, None) => part.fill(0),
            }
            offset = range.end.min(offset + length as u64);
            buf = rest;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn extent(&self, offset: u64) -> Extent {
        if offset >= self.size {
            return Extent { length: 0, place: Place::Zero };
        }
        let Source { range, from } = self.source(offset);
        let length = range.end - range.start;
        match (from, &self.parent) {
            (From::File(at), _) => self.file.extent(at).at_most(length),
            (From::Parent, Some(parent)) => parent.extent(offset).at_most(length),
            (From::Nowhere, _) | (From::Parent, None) => Extent { length, place: Place::Zero },
        }
    }
}
