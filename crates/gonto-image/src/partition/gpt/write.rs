//! The table of a new disk that has one partition, in sectors of 512 bytes.

use std::io;
use std::ops::Range;

use zerocopy::{FromZeros, IntoBytes};

use super::super::kind::BASIC_DATA;
use super::super::mbr::BootRecord;
use super::{Entry, Header, SIGNATURE};
use crate::crc::crc32;
use crate::create::disk::DiskWriter;
use crate::identity::Identity;

/// Partitions begin and end at multiples of this, as those of Windows and everybody else do.
pub(crate) const ALIGNMENT: u64 = 1 << 20;

/// Byte offset in the disk of the partition.
pub(crate) const PARTITION_START: u64 = ALIGNMENT;

/// Bytes that the disk has at least behind the partition, for the backup at its end.
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

/// Writes the table of a disk of `size` bytes, with a protective MBR and one partition for data: the bytes from
/// [`PARTITION_START`] on to a multiple of [`ALIGNMENT`] that has [`ROOM_BEHIND`].
pub(crate) fn write(
    disk: &mut DiskWriter,
    size: u64,
    partition: Range<u64>,
    identity: &Identity,
) -> io::Result<()> {
    let last = size / SECTOR - 1;
    let entries = entries(partition, identity);
    disk.write_at(BootRecord::protective(last).as_bytes(), 0)?;
    for (own, other, array) in [(1, last, 2), (last, 1, last - ARRAY_SECTORS)] {
        let mut header = Header {
            signature: SIGNATURE,
            revision: 0x0001_0000.into(),
            header_size: HEADER_BYTES.into(),
            my_lba: own.into(),
            alternate_lba: other.into(),
            // Behind the primary entries, and before those of the backup.
            first_usable_lba: (2 + ARRAY_SECTORS).into(),
            last_usable_lba: (last - ARRAY_SECTORS - 1).into(),
            disk_guid: identity.guid("partition table").to_bytes(),
            partition_entry_lba: array.into(),
            number_of_partition_entries: ENTRIES.into(),
            size_of_partition_entry: ENTRY_SIZE.into(),
            partition_entry_array_crc32: crc32(&entries).into(),
            ..Header::new_zeroed()
        };
        header.header_crc32 = crc32(header.as_bytes()).into();
        disk.write_at(header.as_bytes(), own * SECTOR)?;
        disk.write_at(&entries, array * SECTOR)?;
    }
    Ok(())
}

/// The array of entries, of which one is used.
fn entries(partition: Range<u64>, identity: &Identity) -> Vec<u8> {
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
