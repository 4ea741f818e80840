//! Differencing VHDXs: everything but the blocks that differ is the parent's. Only those entries of the block table are written
//! that are not zero, and only as much of a block as differs, so that the child of a huge disk is written as fast as any.

use std::fs::File;
use std::io;

use zerocopy::IntoBytes;

use super::{BLOCK_TABLE_AT, Facts, METADATA_AT, metadata, write_header_section};
use crate::changes::{Block, Changes};
use crate::child::Origin;
use crate::identity::Identity;
use crate::layer::Layer;
use crate::source::write_all_at;
use crate::vhdx::format::{
    BITMAP_SIZE, HAS_PARENT, MIB, ParentLocatorEntry, ParentLocatorHeader, SECTORS_PER_BITMAP, VHDX_PARENT,
    state,
};

/// What Windows gives children.
const USUAL_BLOCK: u32 = 2 << 20;
/// What Windows gives dynamic disks.
const BIGGEST_BLOCK: u32 = 32 << 20;
/// Bytes of a block table that is long enough. With bigger blocks that of 64 TiB has 17 MiB.
const TABLE_SIZE: u64 = MIB;

/// Writes a child of the VHDX that `parent` tells of, in which `changes` differ. Gives the size of its file in bytes.
pub(crate) fn write(
    output: &File,
    parent: &Layer,
    sector_size: u32,
    origin: &Origin<'_>,
    identity: &Identity,
    changes: &Changes<'_>,
) -> io::Result<u64> {
    let layout = Layout::with_short_table(parent.disk_size, sector_size);
    let mut end = BLOCK_TABLE_AT + layout.table_size();
    for blocks in changes
        .blocks(u64::from(layout.block_size))
        .chunk_by(|one, other| one.number / layout.chunk_ratio == other.number / layout.chunk_ratio)
    {
        // The sector bitmap of the chunk, then its blocks.
        let (bitmap, chunk) = (end, blocks.first().map_or(0, |block| block.number / layout.chunk_ratio));
        layout.write_entry(output, layout.bitmap_index(chunk), bitmap, state::FULLY_PRESENT)?;
        end += BITMAP_SIZE;
        for block in blocks {
            layout.write_entry(output, layout.index(block.number), end, state::PARTIALLY_PRESENT)?;
            layout.write_block(output, block, bitmap, end)?;
            end += u64::from(layout.block_size);
        }
    }
    let facts = Facts {
        flags: HAS_PARENT,
        block_size: layout.block_size,
        disk_size: parent.disk_size,
        logical: sector_size,
        physical: parent.physical_sector_size.unwrap_or(4096),
    };
    write_header_section(output, identity, layout.table_size())?;
    write_all_at(output, &metadata(&facts, identity, Some(&locator(origin))), METADATA_AT)?;
    output.set_len(end)?;
    Ok(end)
}

/// The blocks of a child ([MS-VHDX] 2.5).
struct Layout {
    block_size: u32,
    sector_size: u32,
    /// Blocks of a chunk.
    chunk_ratio: u64,
    chunks: u64,
}

impl Layout {
    fn with_short_table(disk_size: u64, sector_size: u32) -> Self {
        let mut layout = Self::new(disk_size, USUAL_BLOCK, sector_size);
        while layout.table_size() > TABLE_SIZE && layout.block_size < BIGGEST_BLOCK {
            layout = Self::new(disk_size, layout.block_size * 2, sector_size);
        }
        layout
    }

    fn new(disk_size: u64, block_size: u32, sector_size: u32) -> Self {
        let chunk_ratio = SECTORS_PER_BITMAP * u64::from(sector_size) / u64::from(block_size);
        let chunks = disk_size.div_ceil(u64::from(block_size)).div_ceil(chunk_ratio);
        Self { block_size, sector_size, chunk_ratio, chunks }
    }

    /// Bytes of the table: it ends with the bitmap of the last chunk.
    fn table_size(&self) -> u64 {
        (self.chunks * (self.chunk_ratio + 1) * 8).next_multiple_of(MIB)
    }

    /// Index in the table of the entry of block `number`.
    fn index(&self, number: u64) -> u64 {
        number + number / self.chunk_ratio
    }

    /// Index in the table of the entry of the sector bitmap of `chunk`.
    fn bitmap_index(&self, chunk: u64) -> u64 {
        chunk * (self.chunk_ratio + 1) + self.chunk_ratio
    }

    /// `place` is a multiple of 1 MiB.
    fn write_entry(&self, output: &File, index: u64, place: u64, state: u8) -> io::Result<()> {
        write_all_at(output, &(place | u64::from(state)).to_le_bytes(), BLOCK_TABLE_AT + index * 8)
    }

    /// `bitmap` is where the bits of the block's chunk begin, `place` where its bytes do.
    fn write_block(&self, output: &File, block: &Block<'_>, bitmap: u64, place: u64) -> io::Result<()> {
        let bytes = (self.block_size / self.sector_size / 8) as usize;
        let mut bits = vec![0u8; bytes];
        for (number, sector) in &block.sectors {
            // The first sector is the lowest bit.
            bits[number / 8] |= 1 << (number % 8);
            write_all_at(output, sector, place + *number as u64 * u64::from(self.sector_size))?;
        }
        write_all_at(output, &bits, bitmap + block.number % self.chunk_ratio * bytes as u64)
    }
}

/// The parent locator ([MS-VHDX] 2.6.2.6). Of the paths one is required; where there is a path by the volume's GUID, that goes
/// under a key of its own.
fn locator(origin: &Origin<'_>) -> Vec<u8> {
    let absolute = if origin.paths.absolute.is_of_volume() { "volume_path" } else { "absolute_win32_path" };
    let linkage = format!("{{{}}}", origin.id);
    let relative = origin.paths.relative.map(|path| ("relative_path", path.as_str()));
    let pairs = [("parent_linkage", linkage.as_str())]
        .into_iter()
        .chain(relative)
        .chain([(absolute, origin.paths.absolute.as_str())])
        .collect::<Vec<_>>();
    let mut entries = Vec::new();
    let mut texts = Vec::new();
    let texts_at = size_of::<ParentLocatorHeader>() + pairs.len() * size_of::<ParentLocatorEntry>();
    for (key, value) in &pairs {
        let [(key_offset, key_length), (value_offset, value_length)] = [key, value].map(|text| {
            let start = texts.len();
            texts.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            // A path was found to be short enough.
            let length = u16::try_from(texts.len() - start).unwrap_or(u16::MAX);
            (super::in_32_bits(texts_at + start), length.into())
        });
        entries.push(ParentLocatorEntry { key_offset, value_offset, key_length, value_length });
    }
    let header = ParentLocatorHeader {
        locator_type: VHDX_PARENT,
        reserved: 0.into(),
        key_value_count: u16::try_from(pairs.len()).unwrap_or(u16::MAX).into(),
    };
    [header.as_bytes(), entries.as_bytes(), &texts].concat()
}

const _: () = assert!(crate::child::LONGEST_PARENT_PATH * 2 <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vhdx::write::BIGGEST_DISK;

    /// [MS-VHDX] 2.5: as many entries as the blocks have, and those of the bitmaps of all chunks.
    #[test]
    fn tables_are_short_whatever_size_the_disk_has() {
        const GIB: u64 = 1 << 30;
        for (disk_size, sector_size, block_size, table_size) in [
            (1, 512, 2 << 20, MIB),
            (252 * GIB, 512, 2 << 20, MIB),
            (252 * GIB + 512, 512, 4 << 20, MIB),
            (224 * GIB, 4096, 2 << 20, MIB),
            (225 * GIB, 4096, 4 << 20, MIB),
            (BIGGEST_DISK, 512, 32 << 20, 17 * MIB),
            (BIGGEST_DISK, 4096, 32 << 20, 17 * MIB),
        ] {
            let layout = Layout::with_short_table(disk_size, sector_size);
            assert_eq!((layout.block_size, layout.table_size()), (block_size, table_size), "{disk_size}");
            let last = disk_size.div_ceil(u64::from(block_size)) - 1;
            let end = layout.bitmap_index(last / layout.chunk_ratio) * 8 + 8;
            assert!(layout.index(last) * 8 < end && end <= table_size);
        }
    }
}
