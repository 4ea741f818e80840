//! The master boot record and the chain of extended boot records behind it.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Partition, Role, read_part};
use crate::error::{Error, Mismatch};
use crate::source::ReadAt;

/// MBR sector numbers count units of 512 bytes on every disk that Windows makes an image of.
const SECTOR: u64 = 512;

/// Windows stops at 128 partitions as well; a chain that is longer turns in a circle.
const LONGEST_CHAIN: u32 = 128;

const FIRST_LOGICAL_NUMBER: u32 = 5;

/// One boot record: the MBR itself or a link of the chain.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct BootRecord {
    code: [u8; 446],
    entries: [Entry; 4],
    signature: [u8; 2],
}
const _: () = assert!(size_of::<BootRecord>() == 512);

const ENTRIES_AT: usize = std::mem::offset_of!(BootRecord, entries);
const SIGNATURE_AT: usize = std::mem::offset_of!(BootRecord, signature);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct Entry {
    status: u8,
    first_chs: [u8; 3],
    kind: u8,
    last_chs: [u8; 3],
    /// In sectors, counted from the disk's start (primary), from this record (logical) or from the extended partition
    /// (the link to the next record).
    start: U32,
    /// In sectors.
    size: U32,
}
const _: () = assert!(size_of::<Entry>() == 16);

/// Reads the MBR; `None` when the first sector is no boot record at all.
pub(super) fn read(disk: &dyn ReadAt) -> Result<Option<BootRecord>, Error> {
    if disk.size() < SECTOR {
        return Ok(None);
    }
    let record = read_record(disk, 0)?;
    let plausible = record.entries.iter().all(|entry| matches!(entry.status, 0 | 0x80));
    Ok((record.is_signed() && plausible).then_some(record))
}

impl BootRecord {
    fn is_signed(&self) -> bool {
        self.signature == [0x55, 0xaa]
    }

    /// Whether it only protects a GPT from tools that do not know one.
    pub(super) fn is_protective(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == 0xee)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.iter().all(|entry| entry.kind == 0)
    }

    pub(super) fn partitions(&self, disk: &dyn ReadAt) -> Result<Vec<Partition>, Error> {
        let mut partitions = Vec::new();
        let mut logical = Vec::new();
        for (number, entry) in (1..).zip(&self.entries) {
            if entry.is_extended() {
                follow_chain(disk, entry, &mut logical)?;
            } else if entry.kind != 0 {
                partitions.push(entry.partition(number, 0));
            }
        }
        for (number, partition) in (FIRST_LOGICAL_NUMBER..).zip(&mut logical) {
            partition.number = number;
        }
        partitions.append(&mut logical);
        Ok(partitions)
    }
}

impl Entry {
    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn partition(self, number: u32, base: u64) -> Partition {
        let role = match self.kind {
            0xef => Role::EfiSystem,
            0x27 => Role::Recovery,
            _ => Role::Data,
        };
        // 32-bit sector numbers, at most three of them added up: nowhere near the end of u64.
        let start = base + u64::from(self.start.get()) * SECTOR;
        Partition { number, start, size: u64::from(self.size.get()) * SECTOR, role }
    }
}

/// Each link of the chain describes one logical partition and the next link.
fn follow_chain(disk: &dyn ReadAt, extended: &Entry, logical: &mut Vec<Partition>) -> Result<(), Error> {
    let base = u64::from(extended.start.get()) * SECTOR;
    let mut at = base;
    for _ in 0..LONGEST_CHAIN {
        if at.checked_add(SECTOR).is_none_or(|end| end > disk.size()) {
            let expected = format!("an extended boot record inside the disk of {} bytes", disk.size());
            return Err(Mismatch::new(0, expected, "one behind its end").in_partition_table("MBR", at));
        }
        let record = read_record(disk, at)?;
        if !record.is_signed() {
            let found = format!("{:02x?}", record.signature);
            let mismatch = Mismatch::new(SIGNATURE_AT, "the signature [55, aa] of a boot record", found);
            return Err(mismatch.in_partition_table("MBR", at));
        }
        let [partition, next, ..] = record.entries;
        if partition.kind != 0 && !partition.is_extended() {
            logical.push(partition.partition(0, at));
        }
        if !next.is_extended() {
            return Ok(());
        }
        at = base + u64::from(next.start.get()) * SECTOR;
    }
    let expected = format!("a chain of at most {LONGEST_CHAIN} extended boot records");
    Err(Mismatch::new(ENTRIES_AT, expected, "one that goes on").in_partition_table("MBR", at))
}

fn read_record(disk: &dyn ReadAt, offset: u64) -> Result<BootRecord, Error> {
    let mut bytes = [0; size_of::<BootRecord>()];
    read_part(disk, "the master boot record", &mut bytes, offset)?;
    Ok(zerocopy::transmute!(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::{Table, table};
    use super::*;

    fn entry(kind: u8, start: u32, size: u32) -> [u8; 16] {
        let mut entry = [0; 16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..16].copy_from_slice(&size.to_le_bytes());
        entry
    }

    fn put(disk: &mut [u8], sector: usize, entries: &[[u8; 16]]) {
        for (number, entry) in entries.iter().enumerate() {
            disk[sector * 512 + 446 + number * 16..][..16].copy_from_slice(entry);
        }
        disk[sector * 512 + 510..][..2].copy_from_slice(&[0x55, 0xaa]);
    }

    fn numbers(disk: &impl ReadAt) -> Vec<(u32, u64, u64)> {
        let Ok(Table::Mbr(partitions)) = table(disk) else { panic!("no MBR") };
        partitions.iter().map(|p| (p.number, p.start / 512, p.size / 512)).collect()
    }

    #[test]
    fn logical_partitions_come_after_the_primary_ones() {
        let mut disk = vec![0; 512 * 200];
        put(&mut disk, 0, &[entry(5, 100, 90), entry(7, 1, 50), entry(0xef, 60, 5)]);
        put(&mut disk, 100, &[entry(7, 1, 10), entry(5, 40, 20)]);
        put(&mut disk, 140, &[entry(7, 2, 12)]);
        assert_eq!(numbers(&disk), [(2, 1, 50), (3, 60, 5), (5, 101, 10), (6, 142, 12)]);
        let Ok(found) = table(&disk) else { panic!("no table") };
        assert_eq!(found.partitions()[1].role, Role::EfiSystem);
    }

    #[test]
    fn a_chain_that_turns_in_a_circle_is_refused() {
        let mut disk = vec![0; 512 * 200];
        put(&mut disk, 0, &[entry(0x0f, 100, 90)]);
        put(&mut disk, 100, &[entry(7, 1, 10), entry(5, 0, 20)]);
        let message = table(&disk).unwrap_err().to_string();
        assert!(message.contains("at most 128 extended boot records"), "{message}");
    }

    #[test]
    fn a_chain_that_leaves_the_disk_or_its_signature_is_refused() {
        let mut disk = vec![0; 512 * 200];
        put(&mut disk, 0, &[entry(0x0f, 100, 90)]);
        assert!(table(&disk).unwrap_err().to_string().contains("the signature [55, aa]"));
        put(&mut disk, 100, &[entry(7, 1, 10), entry(5, u32::MAX, 20)]);
        assert!(table(&disk).unwrap_err().to_string().contains("inside the disk"));
    }

    #[test]
    fn a_disk_without_a_table_has_none() {
        assert_eq!(table(&vec![0; 4096]).unwrap(), Table::None);
        assert_eq!(table(&vec![0; 10]).unwrap(), Table::None);
    }
}
