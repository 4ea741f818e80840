//! Differencing VHDs.
//!
//! ```text
//! copy of the footer | dynamic header | paths of the parent | block table | blocks that differ | footer
//! ```
//! A block is written as far as it differs: the rest of its room in the file is never read, because its bitmap leads past it.

use std::fs::File;

use zerocopy::IntoBytes;
use zerocopy::big_endian::U16;

use super::{
    ABSENT, ALIGNMENT, BITMAP, BLOCK_SIZE, DiskType, DynamicHeader, Footer, HEADER_AT, SECTOR, footer, header,
};
use crate::changes::{Block, Changes};
use crate::child::{ChildError, Origin};
use crate::create::disk::{NewContainer, too_big};
use crate::identity::Identity;
use crate::options::Options;
use crate::source::{ReadAt, write_all_at};
use crate::vhd::footer::PlacedFooter;
use crate::vhd::format::{FOOTER_SIZE, ParentLocator};

const PATHS_AT: u64 = HEADER_AT + size_of::<DynamicHeader>() as u64;

/// Writes a child of the VHD `parent` in which `changes` differ. Gives the size of its file in bytes.
pub(crate) fn write(
    output: &File,
    parent: &dyn ReadAt,
    options: &Options,
    origin: &Origin<'_>,
    identity: &Identity,
    changes: &Changes<'_>,
) -> Result<u64, ChildError> {
    let parent = PlacedFooter::find(parent, options)?.ok_or_else(ChildError::no_container)?;
    let size = parent.disk_size()?;
    let footer = child_footer(&parent.footer, size, identity);
    let paths = Paths::new(origin);
    let table_at = PATHS_AT + paths.bytes.len() as u64;
    let header = DynamicHeader {
        parent_unique_id: origin.id.to_bytes(),
        parent_time_stamp: origin.modified.into(),
        parent_unicode_name: unicode_name(origin.paths.absolute.as_str()),
        parent_locators: paths.locators,
        ..header(size, table_at)?
    };
    // A block table fills its last sector ("Block Allocation Table").
    let room = (u64::from(header.max_table_entries.get()) * 4).next_multiple_of(SECTOR);
    let mut table = vec![ABSENT; usize::try_from(room / 4).unwrap_or(usize::MAX)];
    let mut end = table_at + room;
    for block in changes.blocks(u64::from(BLOCK_SIZE)) {
        let data = (end + SECTOR).next_multiple_of(ALIGNMENT);
        let too_big = || too_big(NewContainer::DynamicVhd);
        let entry = usize::try_from(block.number).ok().and_then(|number| table.get_mut(number));
        *entry.ok_or_else(too_big)? = u32::try_from((data - SECTOR) / SECTOR).map_err(|_| too_big())?;
        write_block(output, &block, data)?;
        end = data + u64::from(BLOCK_SIZE);
    }
    let table: Vec<u8> = table.iter().flat_map(|sector| sector.to_be_bytes()).collect();
    for (bytes, at) in [
        (footer.as_bytes(), 0),
        (header.sealed().as_bytes(), HEADER_AT),
        (&paths.bytes, PATHS_AT),
        (&table, table_at),
        (footer.as_bytes(), end),
    ] {
        write_all_at(output, bytes, at)?;
    }
    Ok(end + SECTOR)
}

/// Windows wants size and geometry of a child to be those of its parent, whatever rules that was made by. It was made when its
/// parent was, as far as anybody wants to know.
fn child_footer(parent: &Footer, size: u64, identity: &Identity) -> Footer {
    let footer = footer(DiskType::Differencing, size, identity, parent.time_stamp.get());
    Footer {
        cylinders: parent.cylinders,
        heads: parent.heads,
        sectors_per_track: parent.sectors_per_track,
        ..footer
    }
    .sealed()
}

fn write_block(output: &File, block: &Block<'_>, data: u64) -> std::io::Result<()> {
    let mut bitmap = [0; BITMAP.len()];
    for (number, bytes) in &block.sectors {
        // The first sector is the highest bit.
        bitmap[number / 8] |= 0x80 >> (number % 8);
        write_all_at(output, bytes, data + *number as u64 * SECTOR)?;
    }
    write_all_at(output, &bitmap, data - SECTOR)
}

/// The path, or where it is too long the name that it ends with: Windows 10 writes paths, others names.
fn unicode_name(path: &str) -> [U16; 256] {
    let mut name = [U16::ZERO; 256];
    let fits = |text: &str| text.encode_utf16().count() < name.len();
    let text = if fits(path) { path } else { path.rsplit('\\').next().unwrap_or_default() };
    // No name on NTFS has more than 255 units. With a longer one the locators are left, which come first anyhow.
    if fits(text) {
        name.iter_mut().zip(text.encode_utf16()).for_each(|(slot, unit)| *slot = unit.into());
    }
    name
}

/// The locators, and the paths that they lead to, each in sectors of its own.
struct Paths {
    locators: [ParentLocator; 8],
    bytes: Vec<u8>,
}

impl Paths {
    fn new(origin: &Origin<'_>) -> Self {
        let (mut locators, mut bytes) = ([ParentLocator::UNUSED; 8], Vec::new());
        let absolute = Some((*b"W2ku", origin.paths.absolute));
        let relative = origin.paths.relative.map(|path| (*b"W2ru", path));
        for (locator, (platform_code, path)) in locators.iter_mut().zip(absolute.into_iter().chain(relative))
        {
            let start = bytes.len();
            // Little-endian, unlike all else.
            bytes.extend(path.as_str().encode_utf16().flat_map(u16::to_le_bytes));
            let length = bytes.len() - start;
            bytes.resize(bytes.len().next_multiple_of(FOOTER_SIZE), 0);
            let in_32_bits = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).into();
            *locator = ParentLocator {
                platform_code,
                // In bytes, as Windows has it; nobody who counts in sectors reads more than the length.
                data_space: in_32_bits(bytes.len() - start),
                data_length: in_32_bits(length),
                reserved: 0.into(),
                data_offset: (PATHS_AT + start as u64).into(),
            };
        }
        Self { locators, bytes }
    }
}
