//! Volumes that are read by the copies which NTFS keeps of what matters most, or although they are not what they say.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

mod support;

use std::sync::Arc;

use gonto_image::{Damage, FileTree, NodeId, Options, Reason, VirtualDisk, Volume, verify};
use support::{assert_tells, chain, content, everything, find, paths, volume};

const RECORD_SIZE: usize = 1024;

/// Where the cluster begins whose number lies at a place of the boot sector.
fn cluster_at(volume: &[u8], place: usize) -> usize {
    let number = u64::from_le_bytes(volume[place..place + 8].try_into().unwrap());
    usize::try_from(number).unwrap() * 512
}

fn mft(volume: &[u8]) -> usize {
    cluster_at(volume, 0x30)
}

fn mirror(volume: &[u8]) -> usize {
    cluster_at(volume, 0x38)
}

/// What the volume as a whole is noted for, once everything in it was found to be what it is in the sound one.
#[track_caller]
fn notes_of_volume(edited: Vec<u8>) -> Vec<Reason> {
    let sound = FileTree::open(Arc::new(volume())).unwrap();
    let tree = FileTree::open(Arc::new(edited)).unwrap();
    assert_eq!(paths(&tree), paths(&sound));
    assert_eq!(tree.label(), "Everything");
    for (path, id) in paths(&tree) {
        let both = [&tree, &sound].map(|tree| content_or_none(tree, id));
        assert_eq!(both[0], both[1], "{path}");
    }
    tree.notes().iter().filter(|note| note.path.is_empty()).map(|note| note.reason).collect()
}

fn content_or_none(tree: &FileTree, id: NodeId) -> Option<Vec<u8>> {
    content(tree, id).ok()
}

fn refusal(volume: Vec<u8>) -> String {
    match FileTree::open(Arc::new(volume)) {
        Ok(_) => panic!("opened"),
        Err(error) => chain(&error),
    }
}

#[test]
fn a_sound_volume_needs_no_copies() {
    assert_eq!(notes_of_volume(volume()), []);
}

#[test]
fn the_backup_of_the_boot_sector_is_found() {
    let mut wiped = volume();
    wiped[..512].fill(0);
    assert_eq!(notes_of_volume(wiped), [Reason::BackupBootSector]);
    let mut wrong_size = volume();
    wrong_size[0x0c] = 7;
    assert_eq!(notes_of_volume(wrong_size), [Reason::BackupBootSector]);
    // It says better where $MFT is than a mirror does, which would be there as well.
    let mut wrong_table = volume();
    wrong_table[0x30] ^= 8;
    assert_eq!(notes_of_volume(wrong_table), [Reason::BackupBootSector]);
    let mut wrong_place = volume();
    // Both places are in the volume, and there is no table at either.
    wrong_place[0x30] ^= 8;
    wrong_place[0x38] ^= 8;
    assert_eq!(notes_of_volume(wrong_place), [Reason::BackupBootSector]);
}

/// As if its entry in the partition table had been damaged.
#[test]
fn a_partition_that_begins_in_the_wrong_place_has_no_boot_sector() {
    let mut shifted = volume();
    shifted.drain(..512);
    shifted.extend([0; 512]);
    let last = shifted.len() - 512;
    shifted.copy_within(last - 512..last, last);
    let words = ["the NTFS boot sector is damaged at byte 0x3 of the volume: expected \"NTFS    \""];
    assert_tells(&refusal(shifted), &words);
}

/// $MFT itself lies before the wrong end.
#[test]
fn a_boot_sector_that_halves_the_volume_is_contradicted_by_its_backup() {
    let sound = volume();
    let sectors = u32::from_le_bytes(sound[0x28..0x2c].try_into().unwrap());
    for fraction in [2, 3, 4] {
        let mut smaller = sound.clone();
        smaller[0x28..0x2c].copy_from_slice(&(sectors / fraction).to_le_bytes());
        for damage in [Damage::Refuse, Damage::Show] {
            let options = Options { damage, ..Options::default() };
            let tree = FileTree::open_with(Arc::new(smaller.clone()), &options).unwrap();
            assert_eq!(tree.notes()[0].reason, Reason::BackupBootSector, "{fraction}");
            assert_eq!(tree.damage_count(), 0);
            assert_eq!(paths(&tree), paths(&FileTree::open(Arc::new(sound.clone())).unwrap()));
        }
    }
}

/// The backup says where the volume ends, so that nothing is missing.
#[test]
fn a_boot_sector_that_doubles_the_volume_does_not_make_it_a_cut_one() {
    let mut larger = volume();
    larger[0x2a] = 0xff;
    let options = Options::default();
    let missing = |image: Vec<u8>| {
        Volume::find(&VirtualDisk::open(Arc::new(image), &options).unwrap(), &options).unwrap().missing()
    };
    assert_eq!(missing(larger.clone()), 0);
    larger.truncate(larger.len() - 512);
    assert!(missing(larger) > 0);
}

#[test]
fn the_backup_of_the_boot_sector_is_found_behind_a_partition_table() {
    let mut image = everything();
    let boot = (0..image.len()).step_by(512).find(|at| image[at + 3..].starts_with(b"NTFS    ")).unwrap();
    image[boot..boot + 512].fill(0);
    let tree = FileTree::open(Arc::new(image)).unwrap();
    assert_eq!(tree.notes()[0].reason, Reason::BackupBootSector);
    assert_eq!(content(&tree, find(&tree, "resident.txt")).unwrap(), b"hello\n");
}

#[test]
fn without_either_boot_sector_there_is_no_volume() {
    let mut volume = volume();
    let last = volume.len() - 512;
    volume[..512].fill(0);
    volume[last..].fill(0);
    assert_tells(&refusal(volume), &["no NTFS volume on the disk"]);
}

#[test]
fn the_first_records_are_read_from_their_mirror() {
    let sound = volume();
    for record in [0, 3] {
        let mut torn = sound.clone();
        torn[mft(&sound) + record * RECORD_SIZE + 510] ^= 1;
        assert_eq!(notes_of_volume(torn), [Reason::MirroredRecords], "record {record}");
    }
    let mut both = sound.clone();
    both[mft(&sound)..][..RECORD_SIZE].fill(0);
    both[mirror(&sound)..][..RECORD_SIZE].fill(0);
    assert_tells(&refusal(both), &["NTFS record 0 is damaged", "expected the signature \"FILE\""]);
}

#[test]
fn without_either_record_of_the_volume_its_files_can_still_be_shown() {
    let sound = volume();
    let mut both = sound.clone();
    for table in [mft(&sound), mirror(&sound)] {
        both[table + 3 * RECORD_SIZE..][..RECORD_SIZE].fill(0);
    }
    assert_tells(&refusal(both.clone()), &["NTFS record 3 is damaged", "expected the signature \"FILE\""]);
    let options = Options { damage: Damage::Show, ..Options::default() };
    let tree = FileTree::open_with(Arc::new(both), &options).unwrap();
    let damaged: Vec<&str> = tree.damage().iter().map(|damaged| damaged.path.as_str()).collect();
    assert_eq!((damaged, tree.label()), (vec!["$Volume"], ""));
    assert_eq!(paths(&tree), paths(&FileTree::open(Arc::new(sound)).unwrap()));
}

#[test]
fn a_volume_that_is_larger_than_its_partition_misses_only_what_lies_behind_the_end() {
    let mut larger = volume();
    larger[0x2a] = 0xff;
    assert_eq!(notes_of_volume(larger), [Reason::LargerThanPartition]);

    // The last thing on the volume is the index of a folder.
    let sound = FileTree::open(Arc::new(volume())).unwrap();
    let mut cut = volume();
    let used = cut[..cut.len() - 512].chunks(512).rposition(|sector| sector.iter().any(|byte| *byte != 0));
    cut.truncate(used.unwrap() * 512);
    let size = volume().len() - 512;
    let says =
        format!("the volume is cut short: it says that it has {size} bytes, and {} of them", cut.len());
    let words = [&says, "cannot show", "cannot read", "behind the end of the image"];
    assert_tells(&refusal(cut.clone()), &words);
    let options = Options { damage: Damage::Show, ..Options::default() };
    let tree = FileTree::open_with(Arc::new(cut), &options).unwrap();
    let damaged: Vec<&str> = tree.damage().iter().map(|damaged| damaged.path.as_str()).collect();
    let below_damage = |path: &str| damaged.iter().any(|damaged| path.starts_with(damaged));
    let shown = paths(&tree);
    for (path, id) in paths(&sound) {
        match shown.iter().find(|(known, _)| *known == path) {
            Some((_, same)) => {
                assert_eq!(content_or_none(&tree, *same), content_or_none(&sound, id), "{path}");
            }
            None => assert!(below_damage(&path), "{path} is missing, and nothing is said about it"),
        }
    }
    assert_eq!(damaged.len(), 1, "{damaged:?}");

    // Nothing but the boot sector is left.
    let mut beginning = volume();
    beginning.truncate(1024);
    let words = ["the volume is cut short", "and 1024 of them", "the record of $MFT"];
    assert_tells(&refusal(beginning.clone()), &words);
    let options = Options::default();
    let disk = VirtualDisk::open(Arc::new(beginning), &options).unwrap();
    let Err(error) = verify(&Volume::find(&disk, &options).unwrap()) else { panic!("verified") };
    assert_tells(&chain(&error), &words);
}

#[test]
fn a_volume_that_is_smaller_than_its_partition_is_nothing_special() {
    let mut smaller = volume();
    smaller.resize(8 << 20, 0);
    assert_eq!(notes_of_volume(smaller), []);
}

#[test]
fn a_log_that_was_in_use_is_noted() {
    let sound = volume();
    let log = mft(&sound) + 2 * RECORD_SIZE;
    let data = support::attribute(&sound, log, 0x80).unwrap();
    let pairs = data + usize::from(sound[data + 0x20]);
    let (length, distance) = (usize::from(sound[pairs] & 15), usize::from(sound[pairs] >> 4));
    let mut start = [0; 8];
    start[..distance].copy_from_slice(&sound[pairs + 1 + length..][..distance]);
    let page = usize::try_from(u64::from_le_bytes(start)).unwrap() * 512;
    // A restart page whose fixups are all zero: version 1.1, client 0 is in use.
    for (flags, expected) in [(0, &[Reason::UncleanLog][..]), (2, &[])] {
        let mut edited = sound.clone();
        edited[page..page + 4096].fill(0);
        edited[page..page + 8].copy_from_slice(b"RSTR\x1e\0\x09\0");
        edited[page + 24..page + 30].copy_from_slice(&[0x30, 0, 1, 0, 1, 0]);
        edited[page + 0x3e] = flags;
        assert_eq!(notes_of_volume(edited), expected);
    }
}

#[test]
fn records_without_their_own_number_are_taken() {
    let mut old = volume();
    for at in (0..old.len()).step_by(512) {
        if old[at..].starts_with(b"FILE") {
            old[at + 0x2c..at + 0x30].fill(0);
        }
    }
    assert_eq!(notes_of_volume(old), []);
}
