//! The GUID partition table (UEFI 2.10, section 5.3), with the backup at the end of the disk.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{DiskId, Partition, PartitionKind, Scheme, Table, read_part};
use crate::crc::crc32;
use crate::error::{Error, Mismatch, WrongChecksum};
use crate::guid::Guid;
use crate::irregularity::Irregularity;
use crate::options::Options;
use crate::source::ReadAt;

mod renew;
mod write;

pub(super) use renew::{partition_id, renew};
pub(crate) use write::{ALIGNMENT, PARTITION_START, ROOM_BEHIND, write};

const SIGNATURE: [u8; 8] = *b"EFI PART";

/// The table does not say how big its sectors are. Those that the container names are tried first.
const SECTOR_SIZES: [u32; 2] = [512, 4096];

const PRIMARY: &str = "GPT's header";

/// UEFI asks for 128 and everybody makes 128. The limit keeps a table from claiming the memory of the machine.
const MOST_ENTRIES: u32 = 1024;

/// UEFI allows 128 * 2^n bytes an entry.
const ENTRY_SIZES: std::ops::RangeInclusive<u32> = 128..=4096;

/// UEFI 2.10, table 5.5.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    signature: [u8; 8],
    revision: U32,
    /// In bytes; the checksum covers as many.
    header_size: U32,
    header_crc32: U32,
    reserved: U32,
    my_lba: U64,
    alternate_lba: U64,
    first_usable_lba: U64,
    last_usable_lba: U64,
    disk_guid: [u8; 16],
    partition_entry_lba: U64,
    number_of_partition_entries: U32,
    size_of_partition_entry: U32,
    partition_entry_array_crc32: U32,
}
const HEADER_SIZE: usize = size_of::<Header>();
const _: () = assert!(HEADER_SIZE == 92);

/// UEFI 2.10, table 5.6.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Entry {
    partition_type_guid: [u8; 16],
    unique_partition_guid: [u8; 16],
    starting_lba: U64,
    /// The last sector belongs to the partition.
    ending_lba: U64,
    attributes: U64,
    /// UTF-16, up to a zero.
    name: [[u8; 2]; 36],
}
const _: () = assert!(size_of::<Entry>() == 128);

/// Whether the signature stands where the primary header of some sector size would be.
pub(super) fn has_primary_signature(disk: &dyn ReadAt) -> Result<bool, Error> {
    for sector in SECTOR_SIZES.map(u64::from) {
        let mut signature = [0; 8];
        if disk.size() >= sector * 2 {
            read_part(disk, "the GPT header", &mut signature, sector)?;
        }
        if signature == SIGNATURE {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the signature stands where the backup of a header of some sector size would be.
pub(super) fn has_backup_signature(disk: &dyn ReadAt) -> Result<bool, Error> {
    for sector in SECTOR_SIZES.map(u64::from) {
        let mut signature = [0; 8];
        if let Some(at) = disk.size().checked_sub(sector) {
            read_part(disk, "the GPT header", &mut signature, at / sector * sector)?;
        }
        if signature == SIGNATURE {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads the table; where the primary one is damaged, its backup at the end of the disk.
pub(super) fn read(disk: &dyn ReadAt, sector_size: Option<u32>, options: &Options) -> Result<Table, Error> {
    let mut primary_problem = None;
    let mut sizes = SECTOR_SIZES;
    sizes.sort_by_key(|size| Some(*size) != sector_size);
    for sector_size in sizes {
        let sector = u64::from(sector_size);
        let primary = Place { at: sector, sector, check: true };
        let problem = match read_one(disk, &primary)? {
            Ok(found) => return Ok(found.table(sector_size, Vec::new())),
            Err(problem) => problem,
        };
        for at in backups(disk, sector)? {
            if let Ok(found) = read_one(disk, &Place { at, ..primary })? {
                let used = Irregularity::CopyUsed { what: PRIMARY, offset: sector, problem: problem.told() };
                return Ok(found.table(sector_size, vec![used]));
            }
        }
        if options.ignore_checksums
            && let Ok(found) = read_one(disk, &Place { check: false, ..primary })?
        {
            let ignored = Irregularity::WrongChecksum { what: PRIMARY, offset: sector };
            return Ok(found.table(sector_size, vec![ignored]));
        }
        // The primary one of the right sector size has the signature: its problem says the most.
        if !matches!(&primary_problem, Some((_, known)) if problem.says_no_more_than(known)) {
            primary_problem = Some((sector, problem));
        }
    }
    match primary_problem {
        Some((at, problem)) => Err(problem.into_error(at)),
        None => Ok(Table::none()),
    }
}

/// Where the backup may be: at the end of the disk, or where the primary header says.
fn backups(disk: &dyn ReadAt, sector: u64) -> Result<impl Iterator<Item = u64>, Error> {
    let end = disk.size().checked_sub(sector).map(|at| at / sector * sector);
    let alternate = alternate(disk, sector)?.filter(|at| Some(*at) != end);
    Ok(end.into_iter().chain(alternate))
}

/// Where a damaged primary header says that the backup is: on a disk that was made bigger, that is not its end.
fn alternate(disk: &dyn ReadAt, sector: u64) -> Result<Option<u64>, Error> {
    if disk.size() < sector * 2 {
        return Ok(None);
    }
    let mut bytes = [0; HEADER_SIZE];
    read_part(disk, "the GPT header", &mut bytes, sector)?;
    let header: Header = zerocopy::transmute!(bytes);
    let at = header.alternate_lba.get().checked_mul(sector);
    Ok(at.filter(|at| header.signature == SIGNATURE && *at > sector))
}

/// Where a header may be.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    sector: u64,
    /// Whether checksums count.
    check: bool,
}

/// What keeps a header from being used.
enum Problem {
    Mismatch(Mismatch),
    Header(WrongChecksum),
    Entries(WrongChecksum),
}

impl Problem {
    fn says_no_more_than(&self, other: &Self) -> bool {
        self.is_about_the_signature() || !other.is_about_the_signature()
    }

    fn is_about_the_signature(&self) -> bool {
        matches!(self, Self::Mismatch(Mismatch { at: 0, .. }))
    }

    fn told(&self) -> String {
        match self {
            Self::Mismatch(mismatch) => format!("expected {}, found {}", mismatch.expected, mismatch.found),
            Self::Header(_) => "its checksum is wrong".to_owned(),
            Self::Entries(_) => "the checksum of its entries is wrong".to_owned(),
        }
    }

    /// `at` is where the header begins.
    fn into_error(self, at: u64) -> Error {
        match self {
            Self::Mismatch(mismatch) => mismatch.in_partition_table("GPT", at),
            Self::Header(wrong) => wrong.in_the(PRIMARY, at),
            Self::Entries(wrong) => wrong.in_the("GPT's entries", at),
        }
    }
}

/// A header that holds, and what its entries say.
struct Found {
    disk_guid: Guid,
    partitions: Vec<Partition>,
    irregularities: Vec<Irregularity>,
}

impl Found {
    fn table(self, sector_size: u32, mut irregularities: Vec<Irregularity>) -> Table {
        irregularities.extend(self.irregularities);
        let id = Some(DiskId::Guid(self.disk_guid));
        Table { scheme: Scheme::Gpt, id, sector_size, partitions: self.partitions, irregularities }
    }
}

fn read_one(disk: &dyn ReadAt, place: &Place) -> Result<Result<Found, Problem>, Error> {
    Ok(load(disk, place)?.map(|copy| {
        let (partitions, irregularities) = partitions(&copy.entries, &copy.array, place.sector);
        Found { disk_guid: Guid::from_bytes(copy.header.disk_guid), partitions, irregularities }
    }))
}

/// A header that holds and its entries, as they lie on the disk.
struct Copy {
    /// The sector of the header.
    bytes: Vec<u8>,
    header: Header,
    array: EntryArray,
    entries: Vec<u8>,
}

fn load(disk: &dyn ReadAt, place: &Place) -> Result<Result<Copy, Problem>, Error> {
    let Place { at, sector, check } = *place;
    if at.checked_add(sector).is_none_or(|end| end > disk.size()) {
        return Ok(Err(Problem::Mismatch(Mismatch::new(0, "a GPT header", "the end of the disk"))));
    }
    let mut bytes = vec![0; usize::try_from(sector).unwrap_or(HEADER_SIZE)];
    read_part(disk, "the GPT header", &mut bytes, at)?;
    let (header, array) = match check_header(&bytes, place, disk.size()) {
        Ok(checked) => checked,
        Err(problem) => return Ok(Err(problem)),
    };
    let mut entries = vec![0; array.length];
    read_part(disk, "the GPT entries", &mut entries, array.offset)?;
    let (expected, found) = (crc32(&entries), header.partition_entry_array_crc32.get());
    if check && expected != found {
        let at = std::mem::offset_of!(Header, partition_entry_array_crc32);
        return Ok(Err(Problem::Entries(WrongChecksum { at, expected, found })));
    }
    Ok(Ok(Copy { bytes, header, array, entries }))
}

/// Where the entries lie.
struct EntryArray {
    offset: u64,
    length: usize,
    entry_size: usize,
}

fn check_header(bytes: &[u8], place: &Place, disk_size: u64) -> Result<(Header, EntryArray), Problem> {
    let Place { at, sector, check } = *place;
    let wrong = |field: usize, expected: String, found: String| {
        Err(Problem::Mismatch(Mismatch::new(field, expected, found)))
    };
    let Ok((header, _)) = Header::read_from_prefix(bytes) else {
        return wrong(0, "a GPT header".into(), "too few bytes".into());
    };
    if header.signature != SIGNATURE {
        let found = format!("\"{}\"", header.signature.escape_ascii());
        return wrong(0, "the signature \"EFI PART\"".into(), found);
    }
    let size = header.header_size.get() as usize;
    if !(HEADER_SIZE..=bytes.len()).contains(&size) {
        let field = std::mem::offset_of!(Header, header_size);
        return wrong(field, format!("a header of 92 to {sector} bytes"), size.to_string());
    }
    let mut sealed = bytes[..size].to_vec();
    let checksum_at = std::mem::offset_of!(Header, header_crc32);
    sealed[checksum_at..checksum_at + 4].fill(0);
    let (expected, found) = (crc32(&sealed), header.header_crc32.get());
    if check && expected != found {
        return Err(Problem::Header(WrongChecksum { at: checksum_at, expected, found }));
    }
    if header.my_lba.get().checked_mul(sector) != Some(at) {
        let field = std::mem::offset_of!(Header, my_lba);
        return wrong(field, format!("its own sector {}", at / sector), header.my_lba.to_string());
    }
    let (count, entry_size) =
        (header.number_of_partition_entries.get(), header.size_of_partition_entry.get());
    if count > MOST_ENTRIES {
        let field = std::mem::offset_of!(Header, number_of_partition_entries);
        return wrong(field, format!("at most {MOST_ENTRIES} entries"), count.to_string());
    }
    if !ENTRY_SIZES.contains(&entry_size) || !entry_size.is_power_of_two() {
        let field = std::mem::offset_of!(Header, size_of_partition_entry);
        return wrong(field, "entries of 128 * 2^n bytes, at most 4096".into(), entry_size.to_string());
    }
    let length = u64::from(count) * u64::from(entry_size);
    let offset = header.partition_entry_lba.get().checked_mul(sector);
    let inside = offset.filter(|at| at.checked_add(length).is_some_and(|end| end <= disk_size));
    let (Some(offset), Ok(length)) = (inside, usize::try_from(length)) else {
        let field = std::mem::offset_of!(Header, partition_entry_lba);
        return wrong(field, "entries inside the disk".into(), header.partition_entry_lba.to_string());
    };
    Ok((header, EntryArray { offset, length, entry_size: entry_size as usize }))
}

/// What the entries say; those that cannot be are left out.
fn partitions(entries: &[u8], array: &EntryArray, sector: u64) -> (Vec<Partition>, Vec<Irregularity>) {
    let (mut partitions, mut irregularities) = (Vec::new(), Vec::new());
    for (index, bytes) in entries.chunks_exact(array.entry_size).enumerate() {
        let Ok((entry, _)) = Entry::read_from_prefix(bytes) else { continue };
        let kind = Guid::from_bytes(entry.partition_type_guid);
        if kind.is_nil() {
            continue;
        }
        let (first, last) = (entry.starting_lba.get(), entry.ending_lba.get());
        let place = || {
            let sectors = last.checked_sub(first)?.checked_add(1)?;
            Some((first.checked_mul(sector)?, sectors.checked_mul(sector)?))
        };
        let Some((start, size)) = place() else {
            let at = index * array.entry_size + std::mem::offset_of!(Entry, starting_lba);
            let found = format!("sectors {first} to {last}");
            let mismatch = Mismatch::new(at, "a first sector before the last one", found);
            irregularities.push(mismatch.tolerated_in_partition_table("GPT", array.offset));
            continue;
        };
        let kind = PartitionKind::Guid(kind);
        let name = entry.name.map(u16::from_le_bytes);
        let name = name.split(|unit| *unit == 0).next().unwrap_or_default();
        partitions.push(Partition {
            number: u32::try_from(index + 1).unwrap_or(u32::MAX),
            start,
            size,
            entry: array.offset.saturating_add((index * array.entry_size) as u64),
            kind,
            role: kind.role(),
            id: Some(Guid::from_bytes(entry.unique_partition_guid)),
            name: String::from_utf16_lossy(name),
            attributes: entry.attributes.get(),
        });
    }
    (partitions, irregularities)
}

#[cfg(test)]
mod tests;
