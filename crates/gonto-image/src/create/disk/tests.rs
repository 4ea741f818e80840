//! Disks that are written here and read by everybody.

#![expect(clippy::cast_possible_truncation, reason = "the disks are small")]

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::partition::gpt::{ALIGNMENT, PARTITION_START, ROOM_BEHIND};
use crate::partition::{self, DiskId, Partition, Role, Scheme};
use crate::{Container, Guid, ImageFile, Options, ReadAt, VirtualDisk};

/// What other programs make of them.
mod judges;
#[cfg(target_os = "linux")]
mod sharing;

const MIB: u64 = 1 << 20;
const ALL: [NewContainer; 3] = [NewContainer::FixedVhd, NewContainer::DynamicVhd, NewContainer::Vhdx];

/// Where the partition ends: in the middle of a block.
const END: u64 = 91 * ALIGNMENT;

fn identity() -> Identity {
    Identity::new([7; 32])
}

/// Bytes that are the same nowhere else.
fn distinct(number: u64, length: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    word.flatten().take(length as usize).collect()
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
    let mut bytes = vec![0x77; disk.size() as usize];
    disk.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Pieces for the partition that begin and end anywhere, some with zeros in them, in an order that is not that of the disk.
fn pieces() -> Vec<(u64, Vec<u8>)> {
    let (mut pieces, mut offset) = (Vec::new(), PARTITION_START);
    for number in 0.. {
        let mut bytes = distinct(number, (number * 7919) % 300_000);
        if number % 3 == 0 {
            bytes.extend(vec![0; 3_000_000]);
            bytes.extend(distinct(number, 50_000));
        }
        let next = offset + bytes.len() as u64 + number % 5 * 777_777;
        if next > END {
            break;
        }
        pieces.push((offset, bytes));
        offset = next;
    }
    pieces.sort_by_key(|(offset, _)| offset % 1000);
    pieces
}

/// A disk with a partition, to whose table these pieces are added.
fn write(path: &Path, container: NewContainer, pieces: &[(u64, Vec<u8>)]) {
    let mut disk = DiskWriter::new(create(path), container, END + 100 * MIB).unwrap();
    for (offset, bytes) in pieces {
        disk.write_at(bytes, *offset).unwrap();
    }
    finish(disk, container);
}

fn finish(mut disk: DiskWriter, container: NewContainer) {
    let size = disk_size(container, END + ROOM_BEHIND).unwrap();
    partition::gpt::write(&mut disk, size, PARTITION_START..END, &identity()).unwrap();
    disk.finish(size, &identity(), 123_456_789).unwrap();
}

#[test]
fn what_was_written_is_read_and_the_rest_is_zero() {
    let scratch = tempfile::tempdir().unwrap();
    let mut expected = vec![0; END as usize];
    for (offset, bytes) in pieces() {
        expected[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    for container in ALL {
        let path = scratch.path().join("image");
        write(&path, container, &pieces());
        let disk = open(&path);
        let found = content(disk.disk().as_ref());
        let partition = PARTITION_START as usize..END as usize;
        assert!(found[partition.clone()] == expected[partition], "{container:?}");
        assert_eq!(found.len() as u64, disk_size(container, END + ROOM_BEHIND).unwrap());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_table_has_one_partition_for_data() {
    let scratch = tempfile::tempdir().unwrap();
    for container in ALL {
        let path = scratch.path().join(format!("{container:?}"));
        write(&path, container, &[]);
        let disk = open(&path);
        let table = partition::table(&disk, &Options::default()).unwrap();
        assert_eq!((table.scheme(), table.irregularities()), (Scheme::Gpt, &[][..]));
        assert_eq!(table.id(), Some(DiskId::Guid(identity().guid("partition table"))));
        let [volume] = table.partitions() else { panic!("{:?}", table.partitions()) };
        assert_eq!(volume.start..volume.start + volume.size, PARTITION_START..END);
        assert_eq!((volume.role, volume.kind.name()), (Role::Data, Some("basic data")));
        assert_eq!(volume.name, "Basic data partition");
        assert_eq!(volume.id, Some(identity().guid("partition")));
        // The backup says the same, from another place.
        let mut damaged = content(disk.disk().as_ref());
        damaged[512] ^= 1;
        let damaged = VirtualDisk::open(Arc::new(damaged), &Options::default()).unwrap();
        let backup = partition::table(&damaged, &Options::default()).unwrap();
        let [copy] = backup.partitions() else { panic!("{:?}", backup.partitions()) };
        assert_eq!(Partition { entry: volume.entry, ..copy.clone() }, *volume);
    }
}

#[test]
fn a_vhd_tells_what_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    for (new, container) in
        [(NewContainer::FixedVhd, Container::FixedVhd), (NewContainer::DynamicVhd, Container::DynamicVhd)]
    {
        let path = scratch.path().join(format!("{container:?}"));
        write(&path, new, &[]);
        let disk = open(&path);
        let layer = &disk.layers()[0];
        assert_eq!(layer.container, container);
        assert_eq!(layer.id, Some(identity().guid("VHD")));
        assert_eq!(
            layer.created.map(crate::Timestamp::unix_nanos),
            Some((946_684_800 + 123_456_789) * 1_000_000_000)
        );
        let creator = layer.creator.as_ref().unwrap();
        assert_eq!((creator.program.as_str(), creator.version, creator.host), ("Gonto", Some((0, 4)), None));
    }
}

#[test]
fn a_vhdx_tells_what_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("image");
    write(&path, NewContainer::Vhdx, &[]);
    let disk = open(&path);
    let layer = &disk.layers()[0];
    assert_eq!(layer.container, Container::DynamicVhdx);
    assert_eq!(layer.id, Some(identity().guid("VHDX data")));
    assert_eq!(layer.disk_id, Some(identity().guid("disk")));
    assert_eq!((layer.sector_size, layer.physical_sector_size), (Some(512), Some(4096)));
    let creator = layer.creator.as_ref().unwrap();
    assert_eq!((creator.program.as_str(), creator.version, creator.host), ("Gonto", Some((0, 4)), None));
}

#[test]
fn blocks_of_zeros_are_left_out_however_they_are_written() {
    let scratch = tempfile::tempdir().unwrap();
    for container in [NewContainer::DynamicVhd, NewContainer::Vhdx] {
        let path = scratch.path().join(format!("{container:?}"));
        let zeros = vec![0; 12 * MIB as usize];
        // Only the first and the last byte of the middle one make blocks.
        let mut long = vec![0; 12 * MIB as usize];
        (long[0], long[12 * MIB as usize - 1]) = (1, 1);
        write(&path, container, &[(10 * MIB, zeros.clone()), (30 * MIB, long), (50 * MIB + 5, zeros)]);
        let blocks = open(&path).layers()[0].blocks.unwrap();
        assert_eq!(blocks.size, 2 * MIB);
        assert_eq!(blocks.total, disk_size(container, END + ROOM_BEHIND).unwrap().div_ceil(2 * MIB));
        // Those two, and those of the partition table and its backup.
        assert_eq!(blocks.present, 4, "{container:?}");
    }
}

/// Other file systems can then share them and map them.
#[test]
fn blocks_lie_at_multiples_of_four_kibibytes() {
    let scratch = tempfile::tempdir().unwrap();
    for container in ALL {
        let path = scratch.path().join(format!("{container:?}"));
        write(&path, container, &pieces());
        let disk = open(&path);
        let mut offset = 0;
        while offset < disk.disk().size() {
            let extent = disk.disk().extent(offset);
            if let crate::Place::Image { offset: place, .. } = extent.place {
                assert_eq!(place % 4096, 0, "{container:?}: {offset:#x}");
            }
            offset += extent.length;
        }
    }
}

#[test]
fn the_same_disk_is_the_same_file_however_it_was_cut() {
    let scratch = tempfile::tempdir().unwrap();
    let cut: Vec<(u64, Vec<u8>)> = pieces()
        .iter()
        .flat_map(|(offset, bytes)| {
            let parts = bytes.chunks(12_345).map(<[u8]>::to_vec);
            parts.zip((*offset..).step_by(12_345)).map(|(part, at)| (at, part))
        })
        .collect();
    for container in ALL {
        let [one, other] = ["one", "other"].map(|name| scratch.path().join(format!("{container:?}.{name}")));
        write(&one, container, &pieces());
        write(&other, container, &cut);
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{container:?}");
    }
}

/// What callers do: wherever it is possible, the system copies.
#[test]
fn copying_or_writing_makes_the_same_disk() {
    let scratch = tempfile::tempdir().unwrap();
    let bytes = [distinct(1, 3 * MIB), vec![0; 7 * MIB as usize], distinct(2, MIB + 77)].concat();
    let source = scratch.path().join("source");
    fs::write(&source, &bytes).unwrap();
    let source = File::open(source).unwrap();
    for container in ALL {
        let [one, other] = ["one", "other"].map(|name| scratch.path().join(format!("{container:?}.{name}")));
        let mut disk = DiskWriter::new(create(&one), container, END + 100 * MIB).unwrap();
        let can_copy = disk.can_copy_from(&source);
        let copied = disk.copy_from(&source, 100, bytes.len() as u64 - 100, 20 * MIB).unwrap();
        assert!(can_copy || !copied);
        if !copied {
            disk.write_at(&bytes[100..], 20 * MIB).unwrap();
        }
        finish(disk, container);
        write(&other, container, &[(20 * MIB, bytes[100..].to_vec())]);
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{container:?}");
    }
}

#[test]
#[cfg(unix)]
fn pages_of_zeros_are_holes_of_the_file() {
    use std::os::unix::fs::MetadataExt;
    let scratch = tempfile::tempdir().unwrap();
    let used = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    let full = scratch.path().join("full");
    fs::write(&full, vec![0; MIB as usize]).unwrap();
    if used(&full) < MIB {
        eprintln!("skipped: the file system makes holes of zeros itself");
        return;
    }
    // Every other page, and zeros in between.
    let length = 16 * MIB;
    let page = [distinct(1, 4096), vec![0; 4096]].concat();
    let bytes = page.repeat(length as usize / page.len());
    for container in ALL {
        let path = scratch.path().join(format!("{container:?}"));
        write(&path, container, &[(20 * MIB, bytes.clone())]);
        let (written, most) = (length / 2, length / 2 + MIB);
        assert!((written..most).contains(&used(&path)), "{container:?}: {} bytes", used(&path));
    }
}

/// A VHDX has a place for a sector bitmap in its table behind every 2048 blocks.
#[test]
fn tables_that_have_several_parts_find_everything() {
    let scratch = tempfile::tempdir().unwrap();
    let gib = 1 << 30;
    let places: [u64; 6] = [1, 4 * gib - 7, 4 * gib + 3 * MIB, 8 * gib - MIB, 8 * gib, 300 * gib + 77];
    for container in ALL.into_iter().filter(|container| fits(*container, 310 * gib)) {
        let path = scratch.path().join("image");
        let mut disk = DiskWriter::new(create(&path), container, 400 * gib).unwrap();
        for place in places {
            disk.write_at(&distinct(place, 10_000), place).unwrap();
        }
        disk.finish(disk_size(container, 310 * gib).unwrap(), &identity(), 0).unwrap();
        let disk = open(&path);
        for place in places {
            let mut found = [0; 10_002];
            disk.disk().read_at(&mut found, place - 1).unwrap();
            assert!(found[1..10_001] == distinct(place, 10_000), "{container:?}: {place:#x}");
            assert_eq!((found[0], found[10_001]), (0, 0), "{container:?}: {place:#x}");
        }
        let blocks = disk.layers()[0].blocks;
        assert_eq!(blocks.map(|blocks| blocks.present), blocks.map(|_| 7), "{container:?}");
        fs::remove_file(&path).unwrap();
    }
}

/// Whether a disk can be made in a test: Windows gives a file all of its room, whatever is in it.
fn fits(container: NewContainer, size: u64) -> bool {
    !(cfg!(windows) && container == NewContainer::FixedVhd && size > 1 << 30)
}

/// Sizes around those at which the geometry of a VHD changes its shape, in sectors.
fn sizes() -> impl Iterator<Item = u64> {
    let shapes = [4 * 1024 * 17, 5 * 1024 * 17, 16 * 1024 * 17, 16 * 1024 * 31];
    let ends = [65535 * 16 * 63, 65535 * 16 * 255, (2040 << 30) / 512 - 10_000];
    let around = |sectors: u64| [sectors - 9, sectors - 1, sectors, sectors + 1, sectors + 9];
    let others = [1, 100, 12_345, 1_234_567, 123_456_789];
    let sectors = others.into_iter().chain(shapes.into_iter().chain(ends).flat_map(around));
    sectors.map(|sectors| sectors * 512)
}

#[test]
fn a_disk_is_hardly_bigger_than_what_it_holds() {
    for container in ALL {
        for needed in sizes().flat_map(|size| [size - 511, size]) {
            let size = disk_size(container, needed).unwrap();
            assert!((needed..needed + (2 << 20) + 4096).contains(&size), "{container:?}: {needed} {size}");
            assert_eq!(size % 4096, 0);
            assert_eq!(disk_size(container, size), Some(size), "{container:?}");
        }
        let biggest = if container == NewContainer::Vhdx { 64 << 40 } else { 2040 << 30 };
        assert_eq!(disk_size(container, biggest), Some(biggest));
        for too_big in [biggest + 1, u64::MAX] {
            assert_eq!(disk_size(container, too_big), None);
        }
    }
}

#[test]
fn a_disk_of_any_size_is_read_as_one_of_that_size() {
    let scratch = tempfile::tempdir().unwrap();
    for container in ALL {
        let sizes = sizes().map(|needed| disk_size(container, needed).unwrap());
        for size in sizes.filter(|size| fits(container, *size)) {
            let path = scratch.path().join("image");
            let disk = DiskWriter::new(create(&path), container, size).unwrap();
            disk.finish(size, &identity(), 0).unwrap();
            assert_eq!(open(&path).disk().size(), size, "{container:?}");
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn a_disk_that_would_not_hold_everything_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    for container in ALL {
        let path = scratch.path().join(format!("{container:?}"));
        let most = disk_size(container, 50 * MIB).unwrap();
        let disk = || {
            let file =
                File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
            DiskWriter::new(file, container, 50 * MIB).unwrap()
        };
        let refused = |result: io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{container:?}");
        };
        refused(disk().write_at(&[1, 2], most - 1));
        refused(disk().write_at(&[1, 2], u64::MAX));
        refused(disk().finish(most + MIB, &identity(), 0).map(drop));
        let mut full = disk();
        full.write_at(&[0, 1], most - 2).unwrap();
        refused(full.finish(most - MIB, &identity(), 0).map(drop));
    }
}

#[test]
fn a_new_file_has_identifiers_of_its_own() {
    let ids = ["VHD", "VHDX file", "VHDX data", "disk", "partition table", "partition"];
    let ids: std::collections::BTreeSet<Guid> = ids.map(|purpose| identity().guid(purpose)).into();
    assert_eq!(ids.len(), 6);
}
