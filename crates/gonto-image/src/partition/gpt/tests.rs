//! Tables that are built here, sound ones and broken ones.

use super::super::Role;
use super::*;
use zerocopy::FromZeros;

const EFI_SYSTEM: Guid = Guid::from_digits(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
const MICROSOFT_RESERVED: Guid = Guid::from_digits(0xe3c9e316_0b5c_4db8_817d_f92df00215ae);
const UNUSED: Guid = Guid::from_digits(0);
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

fn table(disk: &dyn ReadAt) -> Result<Table, Error> {
    super::super::read(disk, None, &Options::default())
}

/// What is irregular about a table, in words.
fn told(table: &Table) -> Vec<String> {
    table.irregularities().iter().map(ToString::to_string).collect()
}

fn found(disk: &dyn ReadAt) -> Vec<(u32, u64, u64, Role)> {
    let table = table(disk).unwrap();
    assert_eq!(table.scheme(), Scheme::Gpt);
    table.partitions().iter().map(|p| (p.number, p.start, p.size, p.role)).collect()
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
        let told = told(&table(&disk).unwrap());
        assert!(told[0].starts_with("the GPT's header at byte 0x200 is damaged ("), "{told:?}");
        // A disk that was made bigger has its backup where it was.
        disk.extend(vec![0; 512 * 50]);
        let lost = damage == 512;
        assert_eq!(table(&disk).is_err(), lost, "byte {damage}");
    }
}

/// Somebody wrote zeroes over the start of the disk.
#[test]
fn the_backup_is_all_that_is_needed_when_the_start_is_erased() {
    for sector in [512, 4096] {
        let mut disk = disk(sector, &[(BASIC_DATA, 60, 69)]);
        disk[..8 * sector].fill(0);
        let s = sector as u64;
        assert_eq!(found(&disk), [(1, 60 * s, 10 * s, Role::Data)]);
        assert!(told(&table(&disk).unwrap())[0].starts_with("the GPT's header"), "{sector}");
        // With anything left of the start, it may be that of another table, older than what is there now.
        disk[3] = 1;
        assert_eq!(table(&disk).unwrap().scheme(), Scheme::None);
    }
}

#[test]
fn a_table_that_is_damaged_twice_is_refused() {
    let mut disk = disk(512, &[(BASIC_DATA, 60, 69)]);
    disk[512 + 40] ^= 1;
    disk[199 * 512 + 40] ^= 1;
    let message = table(&disk).unwrap_err().to_string();
    assert!(message.contains("the checksum of the GPT's header at byte 0x210 is wrong"), "{message}");
    let options = Options { ignore_checksums: true, ..Options::default() };
    let table = super::super::read(&disk, None, &options).unwrap();
    assert_eq!(table.partitions().len(), 1);
    assert_eq!(told(&table), ["the checksum of the GPT's header at byte 0x200 is wrong, which was ignored"]);
}

#[test]
fn a_protective_record_without_a_table_is_refused() {
    let mut disk = vec![0; 512 * 100];
    disk[446 + 4] = 0xee;
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert!(table(&disk).unwrap_err().to_string().contains("EFI PART"));
}

#[test]
fn a_partition_that_ends_before_it_starts_is_left_out_and_told() {
    let disk = disk(512, &[(BASIC_DATA, 69, 60), (BASIC_DATA, 70, 79)]);
    assert_eq!(found(&disk), [(2, 70 * 512, 10 * 512, Role::Data)]);
    let told = told(&table(&disk).unwrap());
    assert!(told[0].contains("damaged at byte 0x420 of the disk") && told[0].contains("sectors 69 to 60"));
}

/// Puts an entry of an MBR beside the protective one.
fn add_mbr_entry(disk: &mut [u8], kind: u8, start: u32) {
    disk[446 + 16 + 4] = kind;
    disk[446 + 16 + 8..][..4].copy_from_slice(&start.to_le_bytes());
    disk[446 + 16 + 12..][..4].copy_from_slice(&10u32.to_le_bytes());
}

#[test]
fn a_hybrid_disk_shows_its_gpt_unless_that_is_empty() {
    let mut hybrid = disk(512, &[(BASIC_DATA, 60, 69), (BASIC_DATA, 70, 79)]);
    add_mbr_entry(&mut hybrid, 7, 60);
    assert_eq!(found(&hybrid).len(), 2);
    assert!(told(&table(&hybrid).unwrap())[0].contains("(hybrid)"));
    let mut empty = disk(512, &[]);
    add_mbr_entry(&mut empty, 7, 60);
    let table = table(&empty).unwrap();
    assert_eq!((table.scheme(), table.partitions().len()), (Scheme::Mbr, 1));
}

#[test]
fn names_identities_and_words_of_the_entries_are_kept() {
    let mut disk = disk(512, &[(BASIC_DATA, 60, 69)]);
    for start in [2 * 512, (199 - 32) * 512] {
        let entry = Entry::mut_from_bytes(&mut disk[start..][..128]).unwrap();
        entry.unique_partition_guid = [7; 16];
        entry.attributes = (1u64 << 63).into();
        for (unit, slot) in "Dätä".encode_utf16().zip(&mut entry.name) {
            *slot = unit.to_le_bytes();
        }
    }
    let options = Options { ignore_checksums: true, ..Options::default() };
    let table = super::super::read(&disk, None, &options).unwrap();
    let partition = table.partition(1).unwrap();
    assert_eq!((&*partition.name, partition.attributes), ("Dätä", 1 << 63));
    assert_eq!(partition.id.unwrap().to_bytes(), [7; 16]);
    assert_eq!(partition.to_string(), "partition 1 (basic data, 5120 bytes)");
    assert!(table.partition(2).is_none());
}
