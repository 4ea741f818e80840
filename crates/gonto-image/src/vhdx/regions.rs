//! Where the block table and the metadata are.

use std::ops::Range;

use zerocopy::FromBytes;

use super::copies::{Copy, sound};
use super::format::{
    BAT_REGION, HEADER_SECTION, METADATA_REGION, MIB, MOST_REGIONS, REGION_TABLE_PLACES,
    REGION_TABLE_SIGNATURE, REGION_TABLE_SIZE, RegionEntry, RegionTableHeader,
};
use super::header::LogPlace;
use crate::error::{Error, Mismatch};
use crate::guid::Guid;
use crate::irregularity::Irregularity;
use crate::options::Options;
use crate::source::ReadAt;

/// The parts of the file that are not blocks ([MS-VHDX] 2.2.3).
pub(super) struct Regions {
    pub(super) block_table: Range<u64>,
    pub(super) metadata: Range<u64>,
    /// What else is in the file, and is known.
    pub(super) taken: Vec<Taken>,
}

/// A part of the file that is not free for blocks.
pub(super) struct Taken {
    pub(super) place: Range<u64>,
    pub(super) owner: &'static str,
}

/// Reads the region table: the first one, or where that is damaged its copy.
pub(super) fn find(
    file: &dyn ReadAt,
    log: LogPlace,
    options: &Options,
    irregularities: &mut Vec<Irregularity>,
) -> Result<Regions, Error> {
    let [first, second] = REGION_TABLE_PLACES;
    let (size, signature) = (REGION_TABLE_SIZE, REGION_TABLE_SIGNATURE);
    let first = Copy::read(file, "the VHDX's first region table", first, size, signature)?;
    let second = Copy::read(file, "the VHDX's second region table", second, size, signature)?;
    let copies = sound([first, second], options, irregularities)?;
    let Some(copy) = copies.first() else {
        return Err(Mismatch::new(0, "a region table", "none").in_vhdx("header section", 0));
    };
    let entries = entries(&copy.bytes).map_err(|mismatch| copy.wrong(mismatch))?;
    let wrong = |mismatch: Mismatch| copy.wrong(mismatch);
    let mut taken = fixed_places(log);
    let (mut block_table, mut metadata) = (None, None);
    for (number, entry) in entries.iter().enumerate() {
        let at = size_of::<RegionTableHeader>() + number * size_of::<RegionEntry>();
        let place = place(entry, file.size()).map_err(|mismatch| wrong(mismatch.shifted(at)))?;
        let (slot, name) = match entry.guid {
            BAT_REGION => (&mut block_table, "the block table"),
            METADATA_REGION => (&mut metadata, "the metadata"),
            unknown if entry.required.get() & 1 == 1 => return Err(unknown_region(unknown)),
            _ => (&mut None, "a region that is not known"),
        };
        if slot.replace(place.clone()).is_some() {
            return Err(wrong(Mismatch::new(at, "each region once", format!("{name} again"))));
        }
        taken.push(Taken { place, owner: name });
    }
    if let Some((one, other)) = overlap(&mut taken) {
        let found = format!("{} and {} at the same place", one.owner, other.owner);
        return Err(wrong(Mismatch::new(0, "regions that lie apart", found)));
    }
    let missing = |name| wrong(Mismatch::new(0, format!("an entry for {name}"), "none"));
    let block_table = block_table.ok_or_else(|| missing("the block table"))?;
    let metadata = metadata.ok_or_else(|| missing("the metadata"))?;
    Ok(Regions { block_table, metadata, taken })
}

fn entries(table: &[u8]) -> Result<Vec<RegionEntry>, Mismatch> {
    let Ok((header, rest)) = RegionTableHeader::read_from_prefix(table) else {
        return Err(Mismatch::new(0, "a region table", "the end of the file"));
    };
    let count = header.entry_count.get();
    if count > MOST_REGIONS {
        let at = std::mem::offset_of!(RegionTableHeader, entry_count);
        return Err(Mismatch::new(at, format!("at most {MOST_REGIONS} regions"), count));
    }
    let entries = rest.chunks_exact(size_of::<RegionEntry>()).take(count as usize);
    Ok(entries.filter_map(|entry| RegionEntry::read_from_bytes(entry).ok()).collect())
}

fn fixed_places(log: LogPlace) -> Vec<Taken> {
    let header = Taken { place: 0..HEADER_SECTION, owner: "the header section" };
    // An empty log may have no place, and one that is not empty was checked.
    let log_end = log.offset.checked_add(log.length).filter(|_| log.offset >= HEADER_SECTION);
    let log = log_end.map(|end| Taken { place: log.offset..end, owner: "the log" });
    [Some(header), log].into_iter().flatten().collect()
}

fn place(entry: &RegionEntry, file_size: u64) -> Result<Range<u64>, Mismatch> {
    let (start, length) = (entry.file_offset.get(), u64::from(entry.length.get()));
    let end = start.checked_add(length).filter(|end| *end <= file_size);
    match end {
        Some(end) if length > 0 && start % MIB == 0 && length % MIB == 0 => Ok(start..end),
        _ => {
            let at = std::mem::offset_of!(RegionEntry, file_offset);
            let expected = format!("a region of whole MiB inside the file of {file_size} bytes");
            let hint = if end.is_none() { ": the file may be cut short" } else { "" };
            let found = format!("{length} bytes from byte {start:#x} on for region {}{hint}", entry.guid);
            Err(Mismatch::new(at, expected, found))
        }
    }
}

fn unknown_region(guid: Guid) -> Error {
    let what = format!("a VHDX with the required region {guid}, which is not in the specification,");
    Error::Unsupported { what: what.into(), yet: false, remedy: "convert the image to VHD" }
}

/// Sorts by place; two that overlap, if there are any.
fn overlap(taken: &mut [Taken]) -> Option<(&Taken, &Taken)> {
    taken.sort_unstable_by_key(|taken| (taken.place.start, taken.place.end));
    taken
        .array_windows()
        .find(|[one, other]| other.place.start < one.place.end)
        .map(|[one, other]| (one, other))
}
