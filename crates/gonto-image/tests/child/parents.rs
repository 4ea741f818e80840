//! Every kind of parent has a child that is the same disk with another identity.

use std::fs::{self, File};
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::sync::Arc;

use gonto_image::partition::{DiskId, Scheme};
use gonto_image::{Container, NewContainer, Options, Place};
use gptman::{GPT, GPTPartitionEntry};

use crate::family::{
    Born, CONTAINERS, Image, assert_child, created, fixed_vhd, flattened, identities, is_vhdx, put_mbr_entry,
    told, wanted,
};
use crate::support::{everything, volume};

/// The sectors of headers and used entries of a GPT with few partitions, in sectors of 512 bytes.
pub(crate) fn sectors_of_gpt(disk_size: u64) -> [u64; 4] {
    let count = disk_size / 512;
    [1, 2, count - 33, count - 1]
}

#[test]
fn images_that_are_made_here_have_children() {
    for container in CONTAINERS {
        let (_scratch, path) = created(container, 0);
        let parent = Image::at(&path);
        let before = fs::read(&path).unwrap();
        let born = assert_child(&parent, &sectors_of_gpt(parent.disk().disk().size()));
        assert_eq!(born.child.scheme, Scheme::Gpt);
        assert!(born.child.file_size <= 10 << 20, "{container:?}: {} bytes", born.child.file_size);
        assert!(fs::read(&path).unwrap() == before, "{container:?}: the parent has changed");
    }
}

/// All used entries have another identity, not only that of the volume; with the unused ones nothing happens.
#[test]
fn a_disk_of_two_partitions_has_children() {
    let parent = Image::new(Arc::new(everything()));
    let born = assert_child(&parent, &sectors_of_gpt(parent.disk().disk().size()));
    assert_eq!((born.child.container, born.child.partition.number), (Container::DifferencingVhd, 2));
    assert_eq!(born.child.partition.start, 2304 * 512);
}

/// Where the fixture's volume lies on the disks of this file.
const START: u64 = 1 << 20;

/// A disk with the fixture's volume at [`START`], and room behind it.
fn disk_with_volume() -> Vec<u8> {
    let mut disk = vec![0; usize::try_from(START).unwrap()];
    disk.extend(volume());
    disk.resize(disk.len() + (1 << 20), 0);
    disk
}

#[test]
fn an_mbr_has_another_signature() {
    let mut disk = disk_with_volume();
    let size = volume().len() as u64;
    put_mbr_entry(&mut disk, 1, 7, START, size);
    disk[440..444].copy_from_slice(&0x1234_5678u32.to_le_bytes());
    let parent = Image::new(Arc::new(fixed_vhd(disk)));
    let born = assert_child(&parent, &[0]);
    assert_eq!((born.child.scheme, born.child.partition.number), (Scheme::Mbr, 2));
    assert_eq!((born.child.partition.start, born.child.partition.size), (START, size));
    assert_eq!(born.child.partition.id, None);
    let DiskId::Signature(signature) = born.child.disk_id else { panic!("an MBR has a signature") };
    assert!(![0, 0x1234_5678].contains(&signature));
}

#[test]
fn the_volume_is_the_one_that_was_chosen() {
    let mut disk = disk_with_volume();
    let (second, size) = (disk.len() as u64, volume().len() as u64);
    disk.extend(volume());
    put_mbr_entry(&mut disk, 0, 7, START, size);
    put_mbr_entry(&mut disk, 1, 7, second, size);
    let mut parent = Image::new(Arc::new(fixed_vhd(disk)));
    for (partition, start) in [(None, START), (Some(1), START), (Some(2), second)] {
        parent.options = Options { partition, ..Options::default() };
        assert_eq!(assert_child(&parent, &[0]).child.partition.start, start);
    }
}

/// Windows goes by the MBR then, and others by the GPT.
#[test]
fn a_hybrid_disk_has_another_identity_in_both_tables() {
    let disk = Image::new(Arc::new(everything())).disk();
    let mut disk = flattened(disk.disk().as_ref());
    put_mbr_entry(&mut disk, 1, 7, 2304 * 512, 6144 * 512);
    disk[440..444].copy_from_slice(&[1; 4]);
    let sectors = sectors_of_gpt(disk.len() as u64);
    let parent = Image::new(Arc::new(fixed_vhd(disk)));
    let born = assert_child(&parent, &[&[0], &sectors[..]].concat());
    assert_eq!(born.child.scheme, Scheme::Gpt);
    let mut signature = [0; 4];
    born.image.disk().disk().read_at(&mut signature, 440).unwrap();
    assert!(![[0; 4], [1; 4]].contains(&signature));
}

/// A VHDX of the folder whose sectors have 4096 bytes, and its table with them.
fn of_large_sectors() -> (tempfile::TempDir, Image) {
    let (scratch, path) = created(NewContainer::Vhdx, 0);
    let (disk, volume) = (Image::at(&path).disk(), Image::at(&path).volume());
    let partition = volume.partition().unwrap();
    let mut table = Cursor::new(flattened(disk.disk().as_ref()));
    let mut gpt = GPT::new_from(&mut table, 4096, [9; 16]).unwrap();
    gpt[1] = GPTPartitionEntry {
        partition_type_guid: gpt_of(&disk)[1].partition_type_guid,
        unique_partition_guid: [8; 16],
        starting_lba: partition.start / 4096,
        ending_lba: (partition.start + partition.size) / 4096 - 1,
        attribute_bits: 0,
        partition_name: "large".into(),
    };
    gpt.write_into(&mut table).unwrap();
    let table = table.into_inner();

    let mut file = File::options().write(true).open(&path).unwrap();
    // The headers, the entries behind and before them; what is there begins and ends in blocks that are in the file.
    let end = table.len() - 5 * 4096;
    for range in [4096..6 * 4096, end..table.len()] {
        let Place::Image { offset, .. } = disk.disk().extent(range.start as u64).place else {
            panic!("absent")
        };
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&table[range]).unwrap();
    }
    // The third item of the metadata, after 8 bytes of the first and of the second one, and 16 of the disk's id.
    file.seek(SeekFrom::Start((2 << 20) + (64 << 10) + 32)).unwrap();
    file.write_all(&4096u32.to_le_bytes()).unwrap();
    (scratch, Image::at(&path))
}

fn gpt_of(disk: &gonto_image::VirtualDisk) -> GPT {
    GPT::find_from(&mut Cursor::new(flattened(disk.disk().as_ref()))).unwrap()
}

#[test]
fn sectors_of_4096_bytes_have_bits_of_their_own() {
    let (_scratch, parent) = of_large_sectors();
    let disk = parent.disk();
    assert_eq!((disk.sector_size(), parent.volume().table().sector_size()), (Some(4096), 4096));
    let count = disk.disk().size() / 4096;
    let born = assert_child(&parent, &[1, 2, count - 5, count - 1]);
    assert_child(&born.image, &[1, 2, count - 5, count - 1]);
}

#[test]
fn a_child_of_a_child_is_the_same_disk_again() {
    for container in CONTAINERS {
        let (_scratch, path) = created(container, 0);
        let parent = Image::at(&path);
        let Born { image, .. } = &parent.child(1);
        let sectors = sectors_of_gpt(parent.disk().disk().size());
        let born = assert_child(image, &sectors);
        assert_eq!(born.image.disk().layers().len(), 3);
        assert_eq!(told(&born.image.tree()), told(&parent.tree()), "{container:?}");
    }
}

/// Nothing of a child is shared with its parent or with another child, but the same seed makes the same child.
#[test]
fn identities_derive_from_the_seed() {
    for container in CONTAINERS {
        let (_scratch, path) = created(container, 0);
        let parent = Image::at(&path);
        let children = [parent.child(1), parent.child(2), parent.child(1)];
        let [one, other, again] = &children;
        assert!(fs::read(&one.path).unwrap() == fs::read(&again.path).unwrap(), "{container:?}");
        assert_eq!(one.child, again.child);
        // A child of the child with the same seed is another one as well.
        let grandchild = one.image.child(1);
        let all: Vec<Vec<String>> =
            [&parent, &one.image, &other.image, &grandchild.image].map(identities).into_iter().collect();
        let count = if is_vhdx(one.child.container) { 4 } else { 3 };
        for (number, ids) in all.iter().enumerate() {
            assert_eq!(ids.len(), count, "{container:?}: {ids:?}");
            for id in ids {
                let seen = all.iter().flatten().filter(|other| *other == id).count();
                assert_eq!(seen, 1, "{container:?}: {id} of {number} in {all:?}");
            }
        }
    }
}

/// Block tables of megabytes, blocks that are not the usual ones, and a second chunk.
#[test]
fn huge_disks_have_small_children() {
    for (container, free) in [(NewContainer::DynamicVhd, 200 << 30), (NewContainer::Vhdx, 300 << 30)] {
        let (_scratch, path) = created(container, free);
        let parent = Image::at(&path);
        let size = parent.disk().disk().size();
        assert!(size > free);
        let born = assert_child(&parent, &sectors_of_gpt(size));
        assert!(born.child.file_size < 16 << 20, "{container:?}: {} bytes", born.child.file_size);
    }
}

#[test]
fn the_output_holds_the_child_alone() {
    let (_scratch, path) = created(NewContainer::Vhdx, 0);
    let parent = Image::at(&path);
    let read_only = File::open(&path).unwrap();
    let refused = gonto_image::create_child(parent.bytes.clone(), &parent.options, &wanted(1), &read_only);
    assert_eq!(refused.unwrap_err().to_string(), "cannot write the differencing image");
}
