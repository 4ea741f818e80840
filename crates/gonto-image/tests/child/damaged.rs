//! Damaged parents, and those that Windows would not attach beside others.

use std::fs;
use std::sync::Arc;

use gonto_image::{FileTree, NewContainer, Options};

use crate::family::{Image, assert_child, created, fixed_vhd, flattened, put_mbr_entry, told, wanted};
use crate::parents::sectors_of_gpt;
use crate::support::corpus::{corpus, load};
use crate::support::{Numbers, assert_tells, everything, volume};

/// The disk of the fixture, which has a GPT.
fn disk() -> Vec<u8> {
    flattened(Image::new(Arc::new(everything())).disk().disk().as_ref())
}

fn vhd(disk: Vec<u8>) -> Image {
    Image::new(Arc::new(fixed_vhd(disk)))
}

/// What is damaged is left as it is, and the child shows what the parent does.
#[test]
fn only_those_copies_of_a_table_are_changed_that_hold() {
    let sound = disk();
    let end = sound.len();
    let all = sectors_of_gpt(end as u64);
    let (primary, backup) = all.split_at(2);
    for (damage, expected) in [
        (512..1024, backup),
        (512 + 20..512 + 21, backup),
        (1024 + 40..1024 + 41, backup),
        (end - 512..end, primary),
        (end - 512 + 20..end - 512 + 21, primary),
        (end - 33 * 512 + 7..end - 33 * 512 + 8, primary),
    ] {
        let mut disk = sound.clone();
        disk[damage].iter_mut().for_each(|byte| *byte ^= 0xff);
        assert_child(&vhd(disk), expected);
    }
}

/// A disk that was made bigger has its backup where the primary header says.
#[test]
fn a_backup_that_is_not_at_the_end_is_changed_as_well() {
    let mut disk = disk();
    let sectors = sectors_of_gpt(disk.len() as u64);
    disk.resize(disk.len() + (1 << 20), 0);
    assert_child(&vhd(disk), &sectors);
}

#[test]
fn a_table_without_a_copy_that_holds_is_read_as_the_options_say() {
    let mut disk = disk();
    let end = disk.len();
    disk[512 + 20] ^= 1;
    disk[end - 512 + 20] ^= 1;
    let mut parent = vhd(disk);
    assert_tells(&parent.refusal(), &["the checksum of the GPT's header at byte 0x210 is wrong"]);
    parent.options.ignore_checksums = true;
    let born = parent.child(1);
    // The child's own copy has the right checksum.
    let sound = Image { options: Options { ignore_checksums: false, ..born.image.options }, ..born.image };
    assert_eq!(sound.volume().table().id(), Some(born.child.disk_id));
    assert_eq!(sound.volume().irregularities().count(), 0);
}

/// Changing the table would change a file.
#[test]
fn a_table_inside_of_the_volume_is_refused() {
    let mut disk = disk();
    let end = disk.len();
    let volume_at = 2304 * 512;
    let mut header = disk[512..1024].to_vec();
    let entries = disk[1024..1024 + 128 * 128].to_vec();
    // Entries at the end of the volume, where nothing is.
    let at = volume_at + 6144 * 512 - entries.len() - 512;
    disk[at..at + entries.len()].copy_from_slice(&entries);
    header[72..80].copy_from_slice(&(at as u64 / 512).to_le_bytes());
    disk[512..1024].copy_from_slice(&header);
    disk[end - 512..].fill(0);
    let mut parent = vhd(disk);
    parent.options.ignore_checksums = true;
    assert_tells(
        &parent.refusal(),
        &["the GPT partition table is damaged at byte 0x248", "apart from each other and from the partition"],
    );
    // A boot sector of NTFS that is a boot record as well.
    let mut disk = volume();
    let size = disk.len() as u64;
    disk[440..510].fill(0);
    put_mbr_entry(&mut disk, 0, 7, 0, size);
    let mut parent = vhd(disk);
    parent.options.partition = Some(1);
    assert_tells(
        &parent.refusal(),
        &["the MBR partition table is damaged at byte 0x1be", "partition 1 behind the boot record"],
    );
}

/// Headers and entries that lie as they like: a child, if there is one, shows the files that its parent shows.
#[test]
fn whatever_a_table_says_the_files_stay() {
    let mut sound = disk();
    let end = sound.len();
    sound[end - 512..].fill(0);
    let mut numbers = Numbers(1);
    let (mut children, mut refused) = (0, 0);
    for _ in 0..400 {
        let mut disk = sound.clone();
        for _ in 0..=numbers.below(2) {
            // The header, two entries and the record before them; small numbers, which are most likely to mean something.
            let start = [440, 512, 512, 512, 1024][numbers.below(5)];
            let at = start + numbers.below(if start == 1024 { 256 } else { 92 });
            disk[at] = [0, 1, 2, 0x80, 0xff, numbers.next().to_le_bytes()[0]][numbers.below(6)];
        }
        let mut parent = vhd(disk);
        parent.options.ignore_checksums = true;
        let Ok(tree) = FileTree::open_with(parent.bytes.clone(), &parent.options) else { continue };
        match parent.try_child(&wanted(1)) {
            Ok(born) => {
                assert_eq!(told(&born.image.tree()), told(&tree));
                assert_eq!(born.image.volume().partition(), Some(&born.child.partition));
                children += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(children > 100 && refused > 0, "{children} children, {refused} refused");
}

#[test]
fn what_windows_could_not_tell_from_another_disk_is_refused() {
    let (_scratch, path) = created(NewContainer::FixedVhd, 0);
    let raw = Image::new(Arc::new(disk()));
    assert_eq!(
        raw.refusal(),
        "the image cannot be attached beside others: it is no VHD or VHDX; convert it with qemu-img"
    );
    assert_tells(&vhd(volume()).refusal(), &["its disk has no partition table", "gonto create"]);

    let mut without_id = fs::read(&path).unwrap();
    let footer = without_id.len() - 512;
    without_id[footer + 68..footer + 84].fill(0);
    let mut without_id = Image::new(Arc::new(without_id));
    without_id.options.ignore_checksums = true;
    assert_tells(&without_id.refusal(), &["the image has no identity"]);

    let mut dynamic = vec![0; 1 << 20];
    dynamic.extend(volume());
    put_mbr_entry(&mut dynamic, 0, 0x42, 1 << 20, volume().len() as u64);
    assert_tells(&vhd(dynamic).refusal(), &["dynamic disk (LDM)", "basic disk"]);

    let mut odd = disk();
    odd.extend([0; 100]);
    assert_tells(&vhd(odd).refusal(), &["not made of whole sectors"]);
}

#[test]
fn a_parent_with_changes_in_its_log_is_refused() {
    let Some((folder, images)) = corpus() else { return };
    let name = "qemu/iotest-dirtylog-10G-4M.vhdx";
    let image = images.iter().find(|image| image.name == name).unwrap();
    assert_tells(&Image::new(load(&folder, image)).refusal(), &["left changes in its log", "attach it once"]);
}

/// What the reader does not open has no child, and the error is the reader's.
#[test]
fn a_parent_that_cannot_be_read_is_told() {
    let (_scratch, path) = created(NewContainer::DynamicVhd, 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[512..1536].fill(0);
    let parent = Image::new(Arc::new(bytes));
    assert_tells(&parent.try_child(&wanted(1)).err().unwrap().to_string(), &["the VHD's dynamic header"]);
}
