//! The GUID partition table (UEFI 2.10, section 5.3), with the backup at the end of the disk.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Partition, Role, read_part};
use crate::crc::crc32;
use crate::error::{Error, Mismatch};
use crate::guid::Guid;
use crate::source::ReadAt;

const SIGNATURE: [u8; 8] = *b"EFI PART";

/// The table does not say how big its sectors are: they are tried in this order.
const SECTOR_SIZES: [u64; 2] = [512, 4096];

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
    name: [[u8; 2]; 36],
}
const _: () = assert!(size_of::<Entry>() == 128);

const UNUSED: Guid = Guid::from_digits(0);
const EFI_SYSTEM: Guid = Guid::from_digits(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
const MICROSOFT_RESERVED: Guid = Guid::from_digits(0xe3c9e316_0b5c_4db8_817d_f92df00215ae);
const RECOVERY: Guid = Guid::from_digits(0xde94bba4_06d1_4d40_a16a_bfd50179d6ac);

/// Whether the signature stands where the primary header of some sector size would be.
pub(super) fn has_primary_signature(disk: &dyn ReadAt) -> Result<bool, Error> {
    for sector in SECTOR_SIZES {
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

/// Reads the table; where the primary one is damaged, its backup at the end of the disk.
pub(super) fn read(disk: &dyn ReadAt) -> Result<Vec<Partition>, Error> {
    let mut first_problem = None;
    for sector in SECTOR_SIZES {
        let backup = disk.size().checked_sub(sector).map(|at| at / sector * sector);
        for at in [Some(sector), backup].into_iter().flatten() {
            match read_one(disk, sector, at) {
                Ok(Found::Partitions(partitions)) => return Ok(partitions),
                Ok(Found::Damaged(problem)) => {
                    // The primary one of the right sector size has the signature: its problem says the most.
                    let keep =
                        problem.at != 0 && !matches!(&first_problem, Some((_, Mismatch { at: 1.., .. })));
                    if keep || first_problem.is_none() {
                        first_problem = Some((at, problem));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    match first_problem {
        Some((at, problem)) => Err(problem.in_partition_table("GPT", at)),
        None => Ok(Vec::new()),
    }
}

enum Found {
    Partitions(Vec<Partition>),
    Damaged(Mismatch),
}

fn read_one(disk: &dyn ReadAt, sector: u64, at: u64) -> Result<Found, Error> {
    if at.checked_add(sector).is_none_or(|end| end > disk.size()) {
        return Ok(Found::Damaged(Mismatch::new(0, "a GPT header", "the end of the disk")));
    }
    let mut bytes = [0; 512];
    read_part(disk, "the GPT header", &mut bytes, at)?;
    let (header, place) = match check_header(&bytes, sector, at, disk.size()) {
        Ok(checked) => checked,
        Err(problem) => return Ok(Found::Damaged(problem)),
    };
    let mut entries = vec![0; place.length];
    read_part(disk, "the GPT entries", &mut entries, place.offset)?;
    let computed = crc32(&entries);
    let stored = header.partition_entry_array_crc32.get();
    if computed != stored {
        let at = std::mem::offset_of!(Header, partition_entry_array_crc32);
        let problem = Mismatch::new(
            at,
            format!("the checksum {computed:#010x} of the entries"),
            format!("{stored:#010x}"),
        );
        return Ok(Found::Damaged(problem));
    }
    match partitions(&entries, place.entry_size, sector) {
        Ok(partitions) => Ok(Found::Partitions(partitions)),
        Err(problem) => Err(problem.in_partition_table("GPT", place.offset)),
    }
}

/// Where the entries lie.
struct EntryArray {
    offset: u64,
    length: usize,
    entry_size: usize,
}

fn check_header(
    bytes: &[u8; 512],
    sector: u64,
    at: u64,
    disk_size: u64,
) -> Result<(Header, EntryArray), Mismatch> {
    let wrong = |field: usize, expected: String, found: String| Err(Mismatch::new(field, expected, found));
    let Ok((header, _)) = Header::read_from_prefix(bytes) else {
        return wrong(0, "a GPT header".into(), "too few bytes".into());
    };
    if header.signature != SIGNATURE {
        return wrong(
            0,
            "the signature \"EFI PART\"".into(),
            format!("\"{}\"", header.signature.escape_ascii()),
        );
    }
    let size = header.header_size.get() as usize;
    if !(HEADER_SIZE..=bytes.len()).contains(&size) {
        return wrong(
            std::mem::offset_of!(Header, header_size),
            "a header of 92 to 512 bytes".into(),
            size.to_string(),
        );
    }
    let mut sealed = bytes[..size].to_vec();
    let checksum_at = std::mem::offset_of!(Header, header_crc32);
    sealed[checksum_at..checksum_at + 4].fill(0);
    let (computed, stored) = (crc32(&sealed), header.header_crc32.get());
    if computed != stored {
        return wrong(checksum_at, format!("the checksum {computed:#010x}"), format!("{stored:#010x}"));
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

fn partitions(entries: &[u8], entry_size: usize, sector: u64) -> Result<Vec<Partition>, Mismatch> {
    let mut partitions = Vec::new();
    for (index, bytes) in entries.chunks_exact(entry_size).enumerate() {
        let Ok((entry, _)) = Entry::read_from_prefix(bytes) else { continue };
        let kind = Guid::from_bytes(entry.partition_type_guid);
        if kind == UNUSED {
            continue;
        }
        let (first, last) = (entry.starting_lba.get(), entry.ending_lba.get());
        let place = || {
            let sectors = last.checked_sub(first)?.checked_add(1)?;
            Some((first.checked_mul(sector)?, sectors.checked_mul(sector)?))
        };
        let Some((start, size)) = place() else {
            let at = index * entry_size + std::mem::offset_of!(Entry, starting_lba);
            let found = format!("sectors {first} to {last}");
            return Err(Mismatch::new(at, "a first sector before the last one", found));
        };
        let role = match kind {
            EFI_SYSTEM => Role::EfiSystem,
            MICROSOFT_RESERVED => Role::MicrosoftReserved,
            RECOVERY => Role::Recovery,
            _ => Role::Data,
        };
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        partitions.push(Partition { number, start, size, role });
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::super::{Table, table};
    use super::*;
    use zerocopy::FromZeros;

    const BASIC_DATA: Guid = Guid::from_digits(0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7);

    fn disk(sector: usize, entries: &[(Guid, u64, u64)]) -> Vec<u8> {
        let sectors = 200;
        let mut disk = vec![0; sectors * sector];
        disk[446 + 4] = 0xee;
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        let mut array = vec![0; 128 * 128];
        for (number, (kind, first, last)) in entries.iter().enumerate() {
            let entry = Entry::mut_from_bytes(&mut array[number * 128..][..128]).unwrap();
            entry.partition_type_guid = kind.to_bytes();
            entry.starting_lba = (*first).into();
            entry.ending_lba = (*last).into();
        }
        let array_sectors = array.len().div_ceil(sector);
        for (own, other, array_at) in [(1, sectors - 1, 2), (sectors - 1, 1, sectors - 1 - array_sectors)] {
            let mut header = Header::new_zeroed();
            header.signature = SIGNATURE;
            header.header_size = 92.into();
            header.my_lba = (own as u64).into();
            header.alternate_lba = (other as u64).into();
            header.partition_entry_lba = (array_at as u64).into();
            header.number_of_partition_entries = 128.into();
            header.size_of_partition_entry = 128.into();
            header.partition_entry_array_crc32 = crc32(&array).into();
            header.header_crc32 = crc32(header.as_bytes()).into();
            disk[own * sector..][..92].copy_from_slice(header.as_bytes());
            disk[array_at * sector..][..array.len()].copy_from_slice(&array);
        }
        disk
    }

    fn found(disk: &impl ReadAt) -> Vec<(u32, u64, u64, Role)> {
        let Ok(Table::Gpt(partitions)) = table(disk) else { panic!("no GPT: {:?}", table(disk)) };
        partitions.iter().map(|p| (p.number, p.start, p.size, p.role)).collect()
    }

    #[test]
    fn partitions_of_both_sector_sizes_are_found() {
        for sector in [512, 4096] {
            let disk = disk(
                sector,
                &[(EFI_SYSTEM, 40, 49), (UNUSED, 0, 0), (MICROSOFT_RESERVED, 50, 50), (BASIC_DATA, 60, 69)],
            );
            let s = sector as u64;
            assert_eq!(
                found(&disk),
                [
                    (1, 40 * s, 10 * s, Role::EfiSystem),
                    (3, 50 * s, s, Role::MicrosoftReserved),
                    (4, 60 * s, 10 * s, Role::Data),
                ]
            );
        }
    }

    #[test]
    fn the_backup_stands_in_for_a_damaged_primary() {
        let sound = disk(512, &[(BASIC_DATA, 60, 69)]);
        for damage in [512, 512 + 40, 1024 + 33] {
            let mut disk = sound.clone();
            disk[damage] ^= 1;
            assert_eq!(found(&disk), [(1, 60 * 512, 10 * 512, Role::Data)]);
        }
    }

    #[test]
    fn a_table_that_is_damaged_twice_is_refused() {
        let mut disk = disk(512, &[(BASIC_DATA, 60, 69)]);
        disk[512 + 40] ^= 1;
        disk[199 * 512 + 40] ^= 1;
        let message = table(&disk).unwrap_err().to_string();
        assert!(message.contains("the GPT partition table is damaged at byte 0x210"), "{message}");
        assert!(message.contains("checksum"), "{message}");
    }

    #[test]
    fn a_protective_record_without_a_table_is_refused() {
        let mut disk = vec![0; 512 * 100];
        disk[446 + 4] = 0xee;
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert!(table(&disk).unwrap_err().to_string().contains("EFI PART"));
    }

    #[test]
    fn a_partition_that_ends_before_it_starts_is_refused() {
        let disk = disk(512, &[(BASIC_DATA, 69, 60)]);
        assert!(table(&disk).unwrap_err().to_string().contains("sectors 69 to 60"));
    }
}
