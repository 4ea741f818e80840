//! Disks that are written here and read by everybody.

#![expect(clippy::cast_possible_truncation, reason = "the disks are small")]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::partition::gpt::{PARTITION_START, ROOM_BEHIND};
use crate::partition::{self, DiskId, Role, Scheme};
use crate::{ImageFile, Options, ReadAt, VirtualDisk};

const MIB: u64 = 1 << 20;
const ALL: [NewContainer; 3] = [NewContainer::FixedVhd, NewContainer::DynamicVhd, NewContainer::Vhdx];

fn identity() -> Identity {
    Identity::new([7; 32])
}

/// Bytes that are the same nowhere else.
fn distinct(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    word.flatten().take(length).collect()
}

fn create(path: &Path) -> File {
    File::options().read(true).write(true).create_new(true).open(path).unwrap()
}

fn open(path: &Path) -> VirtualDisk {
    let image = ImageFile::new(File::open(path).unwrap()).unwrap();
    let options = Options { container_only: true, ..Options::default() };
    let disk = VirtualDisk::open(Arc::new(image), &options).unwrap();
    assert_eq!(disk.irregularities().count(), 0);
    disk
}

fn content(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0x77; usize::try_from(disk.size()).unwrap()];
    disk.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Writes pieces and the table of partitions. Returns what the disk has to hold.
fn write(path: &Path, container: NewContainer, pieces: &[(u64, Vec<u8>)], needed: u64) -> Vec<u8> {
    let mut disk = DiskWriter::new(create(path), container, needed + 100 * MIB).unwrap();
    for (offset, bytes) in pieces {
        disk.write_at(bytes, *offset).unwrap();
    }
    let size = disk_size(container, needed + ROOM_BEHIND).unwrap();
    partition::gpt::write(&mut disk, size, &(PARTITION_START..needed), &identity()).unwrap();
    disk.finish(size, &identity(), 123_456_789).unwrap();
    let mut expected = vec![0; usize::try_from(size).unwrap()];
    for (offset, bytes) in pieces {
        let at = usize::try_from(*offset).unwrap();
        expected[at..at + bytes.len()].copy_from_slice(bytes);
    }
    expected
}

/// Pieces that begin and end anywhere, some with zeros in them, in an order that is not that of the disk.
fn pieces(end: u64) -> Vec<(u64, Vec<u8>)> {
    let mut pieces = Vec::new();
    let mut offset = MIB;
    for number in 0.. {
        let mut bytes = distinct(number, (number as usize * 7919) % 300_000);
        if number % 3 == 0 {
            let half = bytes.len() / 2;
            bytes.extend(vec![0; 3_000_000]);
            bytes.extend_from_within(..half);
        }
        if offset + bytes.len() as u64 > end {
            break;
        }
        let length = bytes.len() as u64;
        pieces.push((offset, bytes));
        offset += length + number % 5 * 777_777;
    }
    pieces.sort_by_key(|(offset, _)| offset % 1000);
    pieces
}

#[test]
fn what_was_written_is_read() {
    let scratch = tempfile::tempdir().unwrap();
    let end = 90 * MIB;
    for container in ALL {
        let path = scratch.path().join(format!("{container:?}"));
        let expected = write(&path, container, &pieces(end), end);
        let disk = open(&path);
        let found = content(disk.disk().as_ref());
        assert!(found[MIB as usize..end as usize] == expected[MIB as usize..end as usize], "{container:?}");
        assert_eq!(found.len(), expected.len());
        let table = partition::table(&disk, &Options::default()).unwrap();
        assert_eq!((table.scheme(), table.irregularities()), (Scheme::Gpt, &[][..]));
        let [volume] = table.partitions() else { panic!("{:?}", table.partitions()) };
        assert_eq!((volume.start, volume.size, volume.role), (MIB, end - MIB, Role::Data));
        assert_eq!(volume.name, "Basic data partition");
        assert_eq!(volume.id, Some(identity().guid("partition")));
        assert_eq!(table.id(), Some(DiskId::Guid(identity().guid("disk table"))));
    }
}
