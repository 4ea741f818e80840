//! The table of a new disk that has one partition, in sectors of 512 bytes.

use std::io;
use std::ops::Range;

use zerocopy::{FromZeros, IntoBytes};

use super::super::kind::BASIC_DATA;
use super::super::mbr::BootRecord;
use super::{Entry, Header, SIGNATURE};
use crate::crc::crc32;
use crate::create::disk::DiskWriter;
use crate::create::identity::Identity;

/// Byte offset in the disk of the first partition, as Windows and everybody else aligns it.
pub(crate) const PARTITION_START: u64 = 1 << 20;

/// Bytes behind the last partition, for the backup at the end of the disk.
pub(crate) const ROOM_BEHIND: u64 = (1 + ARRAY_SECTORS) * SECTOR;

const SECTOR: u64 = 512;
const HEADER_BYTES: u32 = 92;
const _: () = assert!(size_of::<Header>() == HEADER_BYTES as usize);

const ENTRIES: u32 = 128;
const ENTRY_SIZE: u32 = 128;
const _: () = assert!(size_of::<Entry>() == ENTRY_SIZE as usize);

const ARRAY_SIZE: u32 = ENTRIES * ENTRY_SIZE;
const ARRAY_SECTORS: u64 = ARRAY_SIZE as u64 / SECTOR;

/// What Windows calls a partition that has no other name.
const NAME: &str = "Basic data partition";

/// Writes the table of a disk of `size` bytes with a protective MBR and a partition for data, which occupies these bytes of the
/// disk: whole sectors from [`PARTITION_START`] on, with [`ROOM_BEHIND`] behind them.
pub(crate) fn write(
    disk: &mut DiskWriter,
    size: u64,
    partition: &Range<u64>,
    identity: &Identity,
) -> io::Result<()> {
    let sectors = size / SECTOR;
    let entries = entries(partition, identity);
    let header = |my_lba: u64, alternate_lba: u64, partition_entry_lba: u64| {
        header(sectors, [my_lba, alternate_lba, partition_entry_lba], &entries, identity)
    };
    let (first, last) = (1, sectors - 1);
    let (primary, backup) = (first + 1, last - ARRAY_SECTORS);
    disk.write_at(BootRecord::protective(sectors).as_bytes(), 0)?;
    disk.write_at(header(first, last, primary).as_bytes(), first * SECTOR)?;
    disk.write_at(&entries, primary * SECTOR)?;
    disk.write_at(&entries, backup * SECTOR)?;
    disk.write_at(header(last, first, backup).as_bytes(), last * SECTOR)
}

fn entries(partition: &Range<u64>, identity: &Identity) -> Vec<u8> {
    let mut entry = Entry {
        partition_type_guid: BASIC_DATA.to_bytes(),
        unique_partition_guid: identity.guid("partition").to_bytes(),
        starting_lba: (partition.start / SECTOR).into(),
        ending_lba: (partition.end / SECTOR - 1).into(),
        ..Entry::new_zeroed()
    };
    entry.name.iter_mut().zip(NAME.encode_utf16()).for_each(|(slot, unit)| *slot = unit.to_le_bytes());
    let mut entries = entry.as_bytes().to_vec();
    entries.resize(ARRAY_SIZE as usize, 0);
    entries
}

fn header(sectors: u64, places: [u64; 3], entries: &[u8], identity: &Identity) -> Header {
    let [my_lba, alternate_lba, partition_entry_lba] = places;
    let mut header = Header {
        signature: SIGNATURE,
        revision: 0x0001_0000.into(),
        header_size: HEADER_BYTES.into(),
        my_lba: my_lba.into(),
        alternate_lba: alternate_lba.into(),
        // Behind the primary entries, and before those of the backup.
        first_usable_lba: (2 + ARRAY_SECTORS).into(),
        last_usable_lba: (sectors - 2 - ARRAY_SECTORS).into(),
        disk_guid: identity.guid("disk table").to_bytes(),
        partition_entry_lba: partition_entry_lba.into(),
        number_of_partition_entries: ENTRIES.into(),
        size_of_partition_entry: ENTRY_SIZE.into(),
        partition_entry_array_crc32: crc32(entries).into(),
        ..Header::new_zeroed()
    };
    header.header_crc32 = crc32(header.as_bytes()).into();
    header
}
