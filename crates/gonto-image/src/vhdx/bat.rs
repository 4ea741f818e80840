//! The block allocation table as it lies in the file ([MS-VHDX] 2.5).
//!
//! ```text
//! block 0 | block 1 | … | block r-1 | bitmap of chunk 0 | block r | … | block 2r-1 | bitmap of chunk 1 | …
//! ```
//! A chunk is as many sectors as a sector bitmap has bits; r, the chunk ratio, is how many blocks that are. Where the disk
//! has no parent, the entries of the bitmaps mean nothing.

use std::fmt;
use std::ops::Range;

use super::format::{BITMAP_SIZE, BatEntry, MIB, SECTORS_PER_BITMAP, state};
use super::metadata::Metadata;
use super::read;
use super::regions::{Regions, Taken};
use super::table::{Block, PAGE, Table};
use crate::error::{Error, Mismatch};
use crate::source::ReadAt;

/// What the table says.
pub(super) struct BlockTable {
    pub(super) blocks: Table,
    /// How many blocks there are.
    pub(super) total: u64,
    /// How many blocks are in the file, wholly or in part.
    pub(super) present: u64,
    /// The blocks of which only some sectors are in the file, by ascending number.
    pub(super) partial: Vec<u64>,
    /// Byte offset in the file of the sector bitmap of each of them; the bits of its chunk begin there.
    pub(super) bitmaps: Vec<u64>,
}

/// Reads the table of a disk.
pub(super) fn read_table(
    file: &dyn ReadAt,
    regions: &Regions,
    metadata: &Metadata,
) -> Result<BlockTable, Error> {
    let layout = Layout::new(metadata, file.size());
    layout.check_room(&regions.block_table)?;
    let mut entries = Entries { file, start: regions.block_table.start, first: 0, window: Vec::new() };
    let (mut blocks, mut partial, mut places) = (Table::new(), Vec::new(), Vec::new());
    for first in (0..layout.block_count).step_by(PAGE) {
        let end = (first + PAGE as u64).min(layout.block_count);
        if !entries.load(layout.index(first)..layout.index(end - 1) + 1)? {
            blocks.push_same(layout.without_entry(), end - first);
            continue;
        }
        let mut page = Vec::with_capacity(PAGE);
        for number in first..end {
            let (index, entry) = (layout.index(number), entries.get(layout.index(number)));
            let block = layout.block(index, entry).map_err(|mismatch| entries.wrong(index, mismatch))?;
            if let Block::Present(mib) | Block::Partial(mib) = block {
                places.push((mib, index));
            }
            if matches!(block, Block::Partial(_)) {
                partial.push(number);
            }
            page.push(block);
        }
        blocks.push(page);
    }
    let present = places.len() as u64;
    let bitmaps = find_bitmaps(&mut entries, &layout, &partial, &mut places)?;
    refuse_shared_places(&entries, &layout, &mut places, &regions.taken)?;
    Ok(BlockTable { blocks: blocks.finish(), total: layout.block_count, present, partial, bitmaps })
}

/// What the table has to be for the disk.
struct Layout {
    disk_size: u64,
    block_size: u64,
    block_count: u64,
    chunk_ratio: u64,
    has_parent: bool,
    file_size: u64,
}

impl Layout {
    fn new(metadata: &Metadata, file_size: u64) -> Self {
        let &Metadata { disk_size, block_size, .. } = metadata;
        Self {
            disk_size,
            block_size,
            block_count: disk_size.div_ceil(block_size),
            chunk_ratio: SECTORS_PER_BITMAP * u64::from(metadata.logical_sector_size) / block_size,
            has_parent: metadata.parent.is_some(),
            file_size,
        }
    }

    /// Index in the table of the entry of block `number`.
    fn index(&self, number: u64) -> u64 {
        number + number / self.chunk_ratio
    }

    /// Index in the table of the entry of the sector bitmap of `chunk`.
    fn bitmap_index(&self, chunk: u64) -> u64 {
        chunk * (self.chunk_ratio + 1) + self.chunk_ratio
    }

    /// Whose entry the one at `index` is.
    fn owner(&self, index: u64) -> Owner {
        let (chunk, inside) = (index / (self.chunk_ratio + 1), index % (self.chunk_ratio + 1));
        if inside == self.chunk_ratio { Owner::Bitmap(chunk) } else { Owner::Block(index - chunk) }
    }

    fn check_room(&self, region: &Range<u64>) -> Result<(), Error> {
        let last = self.block_count - 1;
        let last =
            if self.has_parent { self.bitmap_index(last / self.chunk_ratio) } else { self.index(last) };
        let (needed, there) = ((last + 1) * 8, region.end - region.start);
        if needed <= there {
            return Ok(());
        }
        let expected = format!("{needed} bytes for the {} blocks of the disk", self.block_count);
        Err(Mismatch::new(0, expected, there).in_vhdx("block table", region.start))
    }

    fn without_entry(&self) -> Block {
        if self.has_parent { Block::Below } else { Block::Zero }
    }

    /// What the entry at `index` says of its block.
    ///
    /// Undefined and unmapped blocks may hold anything; they are zero, as others read them, and never the parent's.
    fn block(&self, index: u64, entry: BatEntry) -> Result<Block, Mismatch> {
        match entry.state() {
            state::NOT_PRESENT => Ok(self.without_entry()),
            state::UNDEFINED | state::ZERO | state::UNMAPPED | state::UNMAPPED_DRAFT => Ok(Block::Zero),
            state::FULLY_PRESENT => self.place(index, entry).map(Block::Present),
            state::PARTIALLY_PRESENT if self.has_parent => self.place(index, entry).map(Block::Partial),
            other => {
                let expected = format!("a state that {} of such a disk can have", self.owner(index));
                Err(Mismatch::new(0, expected, format!("state {other}")))
            }
        }
    }

    /// The MiB of the file at which what the entry is for begins. All of it is inside the file; the last block may be cut where
    /// the disk ends.
    fn place(&self, index: u64, entry: BatEntry) -> Result<u32, Mismatch> {
        let (start, length) = (entry.offset(), self.length(index));
        let mib = u32::try_from(start / MIB).ok();
        let end = start.checked_add(length).filter(|end| *end <= self.file_size);
        mib.filter(|_| end.is_some()).ok_or_else(|| {
            let expected = format!("{} inside the file of {} bytes", self.owner(index), self.file_size);
            Mismatch::new(
                0,
                expected,
                format!("{length} bytes from byte {start:#x} on: the file may be cut short"),
            )
        })
    }

    /// How many bytes of the file belong to the block or bitmap with the entry at `index`.
    fn length(&self, index: u64) -> u64 {
        match self.owner(index) {
            Owner::Block(number) => self.block_size.min(self.disk_size - number * self.block_size),
            Owner::Bitmap(_) => BITMAP_SIZE,
        }
    }
}

/// What an entry of the table is for.
enum Owner {
    Block(u64),
    Bitmap(u64),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(number) => write!(f, "block {number}"),
            Self::Bitmap(chunk) => write!(f, "the sector bitmap of chunk {chunk}"),
        }
    }
}

/// Bytes of a page's entries and those of its bitmaps: at least 16 blocks share one.
const WINDOW: usize = (PAGE + PAGE / 16 + 1) * 8;

/// The table in the file, of which a few entries at a time are in memory.
struct Entries<'a> {
    file: &'a dyn ReadAt,
    /// Byte offset in the file of the table.
    start: u64,
    /// Index of the first entry in memory.
    first: u64,
    window: Vec<u8>,
}

impl Entries<'_> {
    /// Reads the entries with these indexes. `false` when they are known to be zero, so that there is nothing to read.
    fn load(&mut self, indexes: Range<u64>) -> Result<bool, Error> {
        let offset = self.start + indexes.start * 8;
        let length = (indexes.end - indexes.start) * 8;
        if self.file.extent(offset).zeroes() >= length {
            return Ok(false);
        }
        self.first = indexes.start;
        self.window.resize(usize::try_from(length).unwrap_or(usize::MAX).min(WINDOW), 0);
        read(self.file, "the VHDX block table", &mut self.window, offset)?;
        Ok(true)
    }

    /// An entry that was read.
    fn get(&self, index: u64) -> BatEntry {
        let at = usize::try_from((index - self.first) * 8).unwrap_or(usize::MAX);
        let bytes = self.window.get(at..).and_then(<[u8]>::first_chunk);
        BatEntry(bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    fn wrong(&self, index: u64, mismatch: Mismatch) -> Error {
        mismatch.in_vhdx("block table", self.start + index * 8)
    }
}

/// Where the sector bitmap of each partial block is; adds their places.
fn find_bitmaps(
    entries: &mut Entries<'_>,
    layout: &Layout,
    partial: &[u64],
    places: &mut Vec<(u32, u64)>,
) -> Result<Vec<u64>, Error> {
    let mut bitmaps = Vec::with_capacity(partial.len());
    for blocks in partial.chunk_by(|one, other| one / layout.chunk_ratio == other / layout.chunk_ratio) {
        let index = layout.bitmap_index(blocks[0] / layout.chunk_ratio);
        let is_there = entries.load(index..index + 1)?;
        let entry = if is_there { entries.get(index) } else { BatEntry(0) };
        if entry.state() != state::FULLY_PRESENT {
            let expected = format!("{}, which block {} needs", layout.owner(index), blocks[0]);
            let mismatch = Mismatch::new(0, expected, format!("state {}", entry.state()));
            return Err(entries.wrong(index, mismatch));
        }
        let mib = layout.place(index, entry).map_err(|mismatch| entries.wrong(index, mismatch))?;
        places.push((mib, index));
        bitmaps.resize(bitmaps.len() + blocks.len(), u64::from(mib) * MIB);
    }
    Ok(bitmaps)
}

/// Two blocks that lie on each other are damage; and they would let a small file hold a huge disk full of records.
fn refuse_shared_places(
    entries: &Entries<'_>,
    layout: &Layout,
    places: &mut [(u32, u64)],
    taken: &[Taken],
) -> Result<(), Error> {
    places.sort_unstable();
    let range = |(mib, index): (u32, u64)| {
        let start = u64::from(mib) * MIB;
        start..start + layout.length(index)
    };
    let refusal = |index, other: &dyn fmt::Display| {
        let owner = layout.owner(index);
        let expected = format!("a place of its own for {owner}");
        Err(entries.wrong(index, Mismatch::new(0, expected, format!("one that overlaps {other}"))))
    };
    if let Some([one, other]) =
        places.array_windows().find(|[one, other]| range(*other).start < range(*one).end)
    {
        return refusal(other.1, &layout.owner(one.1));
    }
    for taken in taken {
        let next = places.partition_point(|place| range(*place).end <= taken.place.start);
        if let Some(place) = places.get(next).filter(|place| range(**place).start < taken.place.end) {
            return refusal(place.1, &taken.owner);
        }
    }
    Ok(())
}
