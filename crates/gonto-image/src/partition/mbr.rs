//! The master boot record and the chain of extended boot records behind it.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::{DiskId, Partition, PartitionKind, Scheme, Table, read_part};
use crate::changes::Changes;
use crate::error::{Error, Mismatch};
use crate::identity::Identity;
use crate::irregularity::Irregularity;
use crate::source::ReadAt;

/// Bytes of a boot record, whatever size the sectors have.
const RECORD_SIZE: u64 = 512;

/// Windows stops at 128 partitions as well; a chain that is longer turns in a circle.
const LONGEST_CHAIN: u32 = 128;

const FIRST_LOGICAL_NUMBER: u32 = 5;

/// One boot record: the MBR itself or a link of the chain.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct BootRecord {
    code: [u8; 440],
    /// What Windows tells disks apart by.
    disk_signature: U32,
    reserved: [u8; 2],
    entries: [Entry; 4],
    signature: [u8; 2],
}
const _: () = assert!(size_of::<BootRecord>() == 512);

const DISK_SIGNATURE_AT: usize = std::mem::offset_of!(BootRecord, disk_signature);
const ENTRIES_AT: usize = std::mem::offset_of!(BootRecord, entries);
const SIGNATURE_AT: usize = std::mem::offset_of!(BootRecord, signature);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct Entry {
    /// 0x80 for the partition that is booted from.
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
    if disk.size() < RECORD_SIZE {
        return Ok(None);
    }
    let record = read_record(disk, 0)?;
    let plausible = record.entries.iter().all(|entry| matches!(entry.status, 0 | 0x80));
    Ok((record.is_signed() && plausible).then_some(record))
}

impl BootRecord {
    /// One that only protects a GPT (UEFI 2.10, 5.2.3) on a disk whose last sector is this one.
    pub(super) fn protective(last_lba: u64) -> Self {
        let entry = Entry {
            first_chs: [0x00, 0x02, 0x00],
            kind: 0xee,
            // Where the end has no such address.
            last_chs: [0xff; 3],
            start: 1.into(),
            size: u32::try_from(last_lba).unwrap_or(u32::MAX).into(),
            ..Entry::new_zeroed()
        };
        let unused = Entry::new_zeroed();
        let entries = [entry, unused, unused, unused];
        Self { entries, signature: [0x55, 0xaa], ..Self::new_zeroed() }
    }

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

    /// Whether it also describes partitions that a GPT does, for systems that do not know one.
    pub(super) fn is_hybrid(&self) -> bool {
        self.is_protective() && self.entries.iter().any(|entry| !matches!(entry.kind, 0 | 0xee))
    }

    /// Gives the disk another signature. Windows tells partitions apart by that and by where they begin.
    pub(super) fn renew(
        &self,
        volume: &Partition,
        identity: &Identity,
        changes: &mut Changes<'_>,
    ) -> Result<u32, Error> {
        let signature = identity.signature("disk", self.disk_signature.get());
        let at = DISK_SIGNATURE_AT as u64;
        let bytes = signature.to_le_bytes();
        if volume.start < at + bytes.len() as u64 {
            let expected = format!("partition {} behind the boot record", volume.number);
            let found = format!("one from byte {} on", volume.start);
            return Err(Mismatch::new(0, expected, found).in_partition_table("MBR", volume.entry));
        }
        changes.put(&bytes, at)?;
        Ok(signature)
    }

    /// The primary partitions, and the logical ones as far as their chain can be followed.
    pub(super) fn table(&self, disk: &dyn ReadAt, sector_size: Option<u32>) -> Result<Table, Error> {
        // Raw disks do not tell how big their sectors are; those of 4096 bytes are rare.
        let sector_size = sector_size.unwrap_or(512);
        let sector = u64::from(sector_size);
        let (mut partitions, mut logical, mut irregularities) = (Vec::new(), Vec::new(), Vec::new());
        for (number, entry) in (1..).zip(&self.entries) {
            if entry.is_extended() {
                let place = entry_place(0, number - 1);
                if let Err(broken) = follow_chain(disk, sector, entry, place, &mut logical)? {
                    irregularities.push(broken);
                }
            } else if !matches!(entry.kind, 0 | 0xee) {
                partitions.push(entry.partition(number, 0, number - 1, sector));
            }
        }
        for (number, partition) in (FIRST_LOGICAL_NUMBER..).zip(&mut logical) {
            partition.number = number;
        }
        partitions.append(&mut logical);
        let id = Some(DiskId::Signature(self.disk_signature.get()));
        Ok(Table { scheme: Scheme::Mbr, id, sector_size, partitions, irregularities })
    }
}

impl Entry {
    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    /// What the entry at this position of the boot record at `record` describes.
    fn partition(self, number: u32, record: u64, position: u32, sector: u64) -> Partition {
        let kind = PartitionKind::Byte(self.kind);
        Partition {
            number,
            // 32-bit sector numbers, at most three of them added up: nowhere near the end of u64.
            start: record + u64::from(self.start.get()) * sector,
            size: u64::from(self.size.get()) * sector,
            entry: entry_place(record, position),
            kind,
            role: kind.role(),
            id: None,
            name: String::new(),
            attributes: if self.status == 0x80 { 1 << 2 } else { 0 },
        }
    }
}

/// Where an entry of the boot record at `record` lies on the disk.
fn entry_place(record: u64, position: u32) -> u64 {
    record + ENTRIES_AT as u64 + u64::from(position) * size_of::<Entry>() as u64
}

/// Each link of the chain describes one logical partition and the next link. Where the chain is broken, what was found before
/// is as good as ever. The first link is the entry `extended` at the byte `link`.
fn follow_chain(
    disk: &dyn ReadAt,
    sector: u64,
    extended: &Entry,
    mut link: u64,
    logical: &mut Vec<Partition>,
) -> Result<Result<(), Irregularity>, Error> {
    let broken = |mismatch: Mismatch, at| Ok(Err(mismatch.tolerated_in_partition_table("MBR", at)));
    let base = u64::from(extended.start.get()) * sector;
    let mut at = base;
    for _ in 0..LONGEST_CHAIN {
        if at.checked_add(RECORD_SIZE).is_none_or(|end| end > disk.size()) {
            let expected = format!("an extended boot record inside the disk of {} bytes", disk.size());
            return broken(Mismatch::new(0, expected, format!("one at byte {at}")), link);
        }
        let record = read_record(disk, at)?;
        if !record.is_signed() {
            let found = format!("{:02x?}", record.signature);
            return broken(Mismatch::new(SIGNATURE_AT, "the signature [55, aa] of a boot record", found), at);
        }
        let [partition, next, ..] = record.entries;
        if partition.kind != 0 && !partition.is_extended() {
            logical.push(partition.partition(0, at, 0, sector));
        }
        if !next.is_extended() {
            return Ok(Ok(()));
        }
        link = entry_place(at, 1);
        at = base + u64::from(next.start.get()) * sector;
    }
    let expected = format!("a chain of at most {LONGEST_CHAIN} extended boot records");
    broken(Mismatch::new(ENTRIES_AT, expected, "one that goes on"), at)
}

fn read_record(disk: &dyn ReadAt, offset: u64) -> Result<BootRecord, Error> {
    let mut bytes = [0; size_of::<BootRecord>()];
    read_part(disk, "the master boot record", &mut bytes, offset)?;
    Ok(zerocopy::transmute!(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;
    use crate::options::Options;

    fn read(disk: &dyn ReadAt, sector_size: Option<u32>) -> Table {
        super::super::read(disk, sector_size, &Options::default()).unwrap()
    }

    fn told(table: &Table) -> String {
        table.irregularities()[0].to_string()
    }

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
        let table = read(disk, None);
        assert_eq!(table.scheme(), Scheme::Mbr);
        table.partitions().iter().map(|p| (p.number, p.start / 512, p.size / 512)).collect()
    }

    #[test]
    fn logical_partitions_come_after_the_primary_ones() {
        let mut disk = vec![0; 512 * 200];
        put(&mut disk, 0, &[entry(5, 100, 90), entry(7, 1, 50), entry(0xef, 60, 5)]);
        put(&mut disk, 100, &[entry(7, 1, 10), entry(5, 40, 20)]);
        put(&mut disk, 140, &[entry(7, 2, 12)]);
        assert_eq!(numbers(&disk), [(2, 1, 50), (3, 60, 5), (5, 101, 10), (6, 142, 12)]);
        let found = read(&disk, None);
        assert_eq!(found.partitions()[1].role, Role::EfiSystem);
        assert_eq!(found.partitions()[0].kind.to_string(), "NTFS or exFAT");
    }

    #[test]
    fn a_chain_that_turns_in_a_circle_ends() {
        let mut disk = vec![0; 512 * 200];
        put(&mut disk, 0, &[entry(0x0f, 100, 90), entry(7, 1, 50)]);
        put(&mut disk, 100, &[entry(7, 1, 10), entry(5, 0, 20)]);
        let table = read(&disk, Some(512));
        assert_eq!(table.partitions()[0].number, 2);
        assert!(told(&table).contains("at most 128 extended boot records"), "{}", told(&table));
    }

    #[test]
    fn a_chain_that_leaves_the_disk_or_its_signature_is_told() {
        let mut disk = vec![0; 512 * 200];
        put(&mut disk, 0, &[entry(0x0f, 100, 90)]);
        assert!(told(&read(&disk, None)).contains("the signature [55, aa]"));
        put(&mut disk, 100, &[entry(7, 1, 10), entry(5, u32::MAX, 20)]);
        let text = told(&read(&disk, None));
        // The second entry of the record in sector 100.
        assert!(
            text.contains("at byte 0xc9ce of the disk: expected an extended boot record inside"),
            "{text}"
        );
        assert_eq!(numbers(&disk), [(5, 101, 10)]);
    }

    #[test]
    fn sectors_of_4096_bytes_count_in_those() {
        let mut disk = vec![0; 4096 * 200];
        put(&mut disk, 0, &[entry(0x42, 1, 50), entry(5, 100, 90)]);
        put(&mut disk, 800, &[entry(7, 1, 10)]);
        let table = read(&disk, Some(4096));
        let found: Vec<_> =
            table.partitions().iter().map(|p| (p.number, p.start / 4096, p.size / 4096, p.role)).collect();
        assert_eq!(found, [(1, 1, 50, Role::DynamicDisk), (5, 101, 10, Role::Data)]);
    }

    #[test]
    fn a_disk_without_a_table_has_none() {
        assert_eq!(read(&vec![0; 4096], None), Table::none());
        assert_eq!(read(&vec![0; 10], None), Table::none());
    }
}
