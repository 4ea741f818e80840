//! Verifying: what is sound is found sound, and each thing that is damaged is found.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

mod support;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use gonto_image::{FileTree, Severity};
use support::{RECORD_SIZE, attribute, record_of, verified};

/// The volume of the fixture, to be damaged.
struct Patient(Vec<u8>);

impl Deref for Patient {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Patient {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

const CLUSTER: usize = 512;

impl Patient {
    /// The fixture comes without `$UpCase`, because that does not compress.
    fn new() -> Self {
        let mut patient = Self(support::volume());
        let table = patient.content_at(patient.record(10), 0x80, 0);
        for unit in 0..=u16::MAX {
            let mut upper = char::from_u32(unit.into()).into_iter().flat_map(char::to_uppercase);
            let upper = upper.next().filter(|_| upper.next().is_none()).map(u32::from);
            let upper = upper.and_then(|upper| u16::try_from(upper).ok()).unwrap_or(unit);
            let at = table + usize::from(unit) * 2;
            patient[at..at + 2].copy_from_slice(&upper.to_le_bytes());
        }
        patient
    }

    fn number(&self, at: usize, size: usize) -> usize {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&self[at..at + size]);
        usize::try_from(u64::from_le_bytes(bytes)).unwrap()
    }

    /// Where one of the first records lies, by its number.
    fn record(&self, number: usize) -> usize {
        self.number(0x30, 8) * CLUSTER + number * RECORD_SIZE
    }

    /// Where the mapping pairs of an attribute lie.
    fn pairs(&self, record: usize, kind: u32) -> usize {
        let attribute = attribute(self, record, kind).unwrap();
        attribute + self.number(attribute + 0x20, 2)
    }

    /// Where byte `offset` of an attribute's content lies; it has to be in the first run.
    fn content_at(&self, record: usize, kind: u32, offset: usize) -> usize {
        let attribute = attribute(self, record, kind).unwrap();
        if self[attribute + 8] == 0 {
            return attribute + self.number(attribute + 0x14, 2) + offset;
        }
        let pairs = self.pairs(record, kind);
        let (length, distance) = (usize::from(self[pairs] & 15), usize::from(self[pairs] >> 4));
        assert!(offset < self.number(pairs + 1, length) * CLUSTER);
        self.number(pairs + 1 + length, distance) * CLUSTER + offset
    }

    /// Where the entry of a name begins in an index block.
    fn entry(&self, name: &str) -> usize {
        let utf16: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let blocks = (0..self.len()).step_by(512).filter(|at| self[*at..].starts_with(b"INDX"));
        let found = blocks
            .flat_map(|at| at..at + 4096)
            .find(|at| self[*at..].starts_with(&utf16) && usize::from(self[at - 2]) * 2 == utf16.len());
        found.unwrap() - 66 - 16
    }
}

/// Damages the fixture and verifies it: all findings, a line each.
fn findings(damage: impl FnOnce(&mut Patient)) -> Vec<String> {
    let mut patient = Patient::new();
    damage(&mut patient);
    let image = Arc::new(patient.0);
    let verification = verified(image.clone()).unwrap();
    let of =
        |severity| verification.findings().iter().filter(move |found| found.severity == severity).count();
    assert_eq!(verification.errors(), of(Severity::Error) as u64);
    assert_eq!(verification.warnings(), of(Severity::Warning) as u64);
    support::findings(image)
}

/// Expects one finding for each item, which holds all of its words.
#[track_caller]
fn assert_finds(damage: impl FnOnce(&mut Patient), expected: &[&[&str]]) {
    let found = findings(damage);
    let holds = |line: &String, words: &[&str]| words.iter().all(|word| line.contains(word));
    for words in expected {
        assert!(found.iter().any(|line| holds(line, words)), "{words:?} is not in {found:#?}");
    }
    for line in &found {
        assert!(expected.iter().any(|words| holds(line, words)), "{line} was not expected");
    }
}

#[test]
fn the_fixture_is_sound() {
    assert_eq!(findings(|_| {}), Vec::<String>::new());
    let verification = verified(Arc::new(Patient::new().0)).unwrap();
    assert!(verification.is_sound());
    assert_eq!(verification.directories(), 11);
}

#[test]
fn records_that_lie_are_found() {
    assert_finds(
        |volume| {
            let record = record_of(volume, "resident.txt");
            volume[record + 510] ^= 1;
        },
        &[&["error: record ", "the write was torn"]],
    );
    assert_finds(
        |volume| {
            let record = record_of(volume, "resident.txt");
            volume[record + 0x2c] ^= 1;
        },
        &[&["error: record ", "expected its own number"]],
    );
    assert_finds(
        |volume| {
            let record = record_of(volume, "clusters.bin");
            let data = attribute(volume, record, 0x80).unwrap();
            volume[data] = 0x20;
        },
        &[&["error", "(clusters.bin)", "expected attributes in the order of their types"]],
    );
}

#[test]
fn names_that_lead_nowhere_are_found() {
    assert_finds(
        |volume| {
            let record = record_of(volume, "resident.txt");
            volume[record + 0x16] = 0;
        },
        &[
            &["error: record 5: the entry \"resident.txt\" leads to record", "which is no file"],
            &["warning: record ", "free, but the bitmap of $MFT says that it is in use"],
        ],
    );
    assert_finds(
        |volume| {
            let record = record_of(volume, "resident.txt");
            volume[record + 0x10] += 1;
        },
        &[&["error: record 5: the entry \"resident.txt\" leads to record", "the record has number 2 by now"]],
    );
    assert_finds(
        |volume| {
            let entry = volume.entry("resident.txt");
            volume[entry + 16] ^= 0x40;
        },
        &[&["error: record 5: the entry \"resident.txt\" says that it lies in record 69"]],
    );
}

#[test]
fn names_that_differ_between_file_and_folder_are_found() {
    assert_finds(
        |volume| {
            let entry = volume.entry("clusters.bin");
            volume[entry + 16 + 66] = b'b';
        },
        &[
            &["error: record 5: an entry of its index leads to record", "which has no such name"],
            &["(clusters.bin): its name is not in the index of its folder, record 5"],
        ],
    );
    let rename = |volume: &mut Patient| {
        let entry = volume.entry("clusters.bin");
        let record = record_of(volume, "clusters.bin");
        let name = attribute(volume, record, 0x30).unwrap() + 0x18 + 66;
        volume[entry + 16 + 66] = b'z';
        volume[name] = b'z';
    };
    let found = findings(rename);
    assert!(found[0].contains("is not in its place"), "{found:?}");
}

#[test]
fn names_that_are_counted_wrongly_are_found() {
    assert_finds(
        |volume| {
            let record = record_of(volume, "hard-1");
            volume[record + 0x12] = 9;
        },
        &[&["error", ": its header counts 9 names, but it has 3"]],
    );
}

#[test]
fn sizes_that_contradict_each_other_are_found() {
    assert_finds(
        |volume| {
            let record = record_of(volume, "clusters.bin");
            let data = attribute(volume, record, 0x80).unwrap();
            volume[data + 0x29] += 2;
        },
        &[&[
            "error",
            "(clusters.bin): expected the 196 clusters of its runs as allocated size, found 100864 bytes",
        ]],
    );
    assert_finds(
        |volume| {
            let record = record_of(volume, "clusters.bin");
            let data = attribute(volume, record, 0x80).unwrap();
            volume[data + 0x33] = 1;
        },
        &[&[
            "error",
            "(clusters.bin): expected at most the 100352 bytes that are allocated, found a size of",
        ]],
    );
}

#[test]
fn clusters_with_two_owners_and_with_none_are_found() {
    assert_finds(
        |volume| {
            let record = record_of(volume, "clusters.bin");
            let pairs = volume.pairs(record, 0x80);
            let start = pairs + 1 + usize::from(volume[pairs] & 15);
            volume[start] = volume[start].wrapping_sub(1);
        },
        &[
            &["error", "1 cluster from cluster", "belong to record", "as well"],
            &["warning: the volume: 1 cluster that $Bitmap calls used, but no file owns"],
        ],
    );
    assert_finds(
        |volume| {
            let record = record_of(volume, "clusters.bin");
            let pairs = volume.pairs(record, 0x80);
            let end = pairs + usize::from(volume[pairs] & 15) + usize::from(volume[pairs] >> 4);
            volume[end] = 0x7f;
        },
        &[
            // Whether its clusters are lost cannot be told.
            &["error", "(clusters.bin)", "expected clusters of a volume that has 6143"],
        ],
    );
}

#[test]
fn what_the_bitmap_of_the_volume_says_is_held_against_the_files() {
    let bit = |volume: &Patient, cluster: usize| {
        (volume.content_at(volume.record(6), 0x80, cluster / 8), 1u8 << (cluster % 8))
    };
    assert_finds(
        |volume| {
            let record = record_of(volume, "clusters.bin");
            let cluster = volume.content_at(record, 0x80, 0) / CLUSTER;
            for cluster in cluster + 3..cluster + 20 {
                let (byte, mask) = bit(volume, cluster);
                volume[byte] &= !mask;
            }
        },
        &[&["error", "(clusters.bin): 17 clusters from cluster", "are its own, but free in $Bitmap"]],
    );
    assert_finds(
        |volume| {
            let free = (0..6143).rev().find(|cluster| {
                let (byte, mask) = bit(volume, *cluster);
                volume[byte] & mask == 0
            });
            let (byte, mask) = bit(volume, free.unwrap());
            volume[byte] |= mask;
        },
        &[&["warning: the volume: 1 cluster that $Bitmap calls used, but no file owns"]],
    );
}

#[test]
fn clusters_that_are_not_there_are_not_looked_for() {
    let found = findings(|volume| {
        // 2^53 clusters, a hole for nearly all of their bits, and one real cluster far behind the end of the image.
        let put = |volume: &mut Patient, at: usize, value: u64| {
            volume[at..at + 8].copy_from_slice(&value.to_le_bytes());
        };
        put(volume, 0x28, 1 << 53);
        let record = volume.record(6);
        let data = attribute(volume, record, 0x80).unwrap();
        let (length, used) = (volume.number(data + 4, 4), volume.number(record + 0x18, 4));
        volume[data + 4] += 16;
        put(volume, data + length + 16, 0xffff_ffff);
        volume[record + 0x18..record + 0x1a]
            .copy_from_slice(&u16::try_from(used + 16).unwrap().to_le_bytes());
        put(volume, data + 0x18, (1 << 41) - 1);
        for (at, bytes) in [(0x28, 1 << 50), (0x30, 1 << 50), (0x38, 1 << 50)] {
            put(volume, data + at, bytes);
        }
        let hole = ((1u64 << 41) - 1).to_le_bytes();
        let far = (1u64 << 52).to_le_bytes();
        let pairs = [&[6], &hole[..6], &[0x71, 1], &far[..7], &[0]].concat();
        let at = volume.pairs(record, 0x80);
        volume[at..at + pairs.len()].copy_from_slice(&pairs);
    });
    let holds = |words: &[&str]| found.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        holds(&["clusters 4503599627370496 to 4503599627370496 lie behind the end of the image"]),
        "{found:#?}"
    );
    assert!(holds(&["(clusters.bin)", "are its own, but free in $Bitmap"]), "{found:#?}");
}

#[test]
fn what_the_bitmap_of_the_table_says_is_held_against_the_records() {
    assert_finds(
        |volume| {
            let number = volume.number(record_of(volume, "clusters.bin") + 0x2c, 4);
            let bits = volume.content_at(volume.record(0), 0xb0, number / 8);
            volume[bits] &= !(1 << (number % 8));
        },
        &[&["error", "(clusters.bin): in use, but the bitmap of $MFT calls it free"]],
    );
}

/// Where the record of the folder `many` lies, whose index has blocks.
fn many(volume: &Patient) -> usize {
    let is_many = |at: &usize| volume[*at..].starts_with(b"FILE") && attribute(volume, *at, 0xa0).is_some();
    let found = (0..volume.len()).step_by(RECORD_SIZE / 2).filter(is_many);
    let mut found = found.filter(|at| volume[at + 0x16] == 3 && volume.number(at + 0x2c, 4) > 24);
    found.next().unwrap()
}

/// Windows reads directories by their trees alone, and so does the rest of this crate.
#[test]
fn a_bitmap_of_an_index_that_lies_is_found_and_hides_nothing() {
    let lie = |volume: &mut Patient, mapping_pairs: &[u8]| {
        // Not resident any more, and of 768 bytes.
        let mut bitmap = [0; 0x58];
        bitmap[..0x10].copy_from_slice(&[0xb0, 0, 0, 0, 0x58, 0, 0, 0, 1, 4, 0x40, 0, 0, 0, 9, 0]);
        bitmap[0x20..0x22].copy_from_slice(&[0x48, 0]);
        (bitmap[0x29], bitmap[0x31], bitmap[0x39]) = (2, 3, 3);
        bitmap[0x40..0x48].copy_from_slice(b"$\0I\x003\x000\0");
        bitmap[0x48..][..mapping_pairs.len()].copy_from_slice(mapping_pairs);
        let record = many(volume);
        let at = attribute(volume, record, 0xb0).unwrap();
        assert_eq!(volume.number(at + volume.number(at + 4, 2), 4), 0xffff_ffff, "the last one");
        // Fixups have taken the place of the upper half of its length, which is zero.
        assert_eq!(at + 6, record + 510);
        let fixup = volume.number(at + 6, 2);
        volume[at..at + 0x58].copy_from_slice(&bitmap);
        volume[at + 6..at + 8].copy_from_slice(&u16::try_from(fixup).unwrap().to_le_bytes());
        volume[at + 0x58..at + 0x5c].fill(0xff);
        let used = u16::try_from(at + 0x60 - record).unwrap();
        volume[record + 0x18..record + 0x1a].copy_from_slice(&used.to_le_bytes());
    };
    let behind_the_end = [0x41, 1, 0, 0, 0, 0x70];
    let too_short = [0x21, 1, 0, 0x10];
    for mapping_pairs in [&behind_the_end[..], &too_short] {
        let mut volume = Patient::new();
        lie(&mut volume, mapping_pairs);
        let tree = FileTree::open(Arc::new(volume.0)).unwrap();
        assert_eq!(tree.entries(support::find(&tree, "many")).len(), 301);
    }
    assert_finds(
        |volume| lie(volume, &behind_the_end),
        &[&["error: ", "(many): expected clusters of a volume that has 6143, found 1 from 1879048192 on"]],
    );
    assert_finds(
        |volume| lie(volume, &too_short),
        &[
            &["error: ", "(many): expected at most the 512 bytes that are allocated, found a size of 768"],
            &["(many): 1 cluster from cluster 4096 on belong to record 2 as well"],
        ],
    );
}

#[test]
fn indexes_whose_blocks_contradict_their_bitmap_are_found() {
    assert_finds(
        |volume| {
            let bits = volume.content_at(many(volume), 0xb0, 0);
            volume[bits] &= !2;
        },
        &[&["error", "block 1 of its index is in use, but $BITMAP calls it free"]],
    );
    let torn = findings(|volume| {
        let blocks = volume.content_at(many(volume), 0xa0, 4096);
        volume[blocks + 510] ^= 1;
    });
    assert!(torn[0].contains("the write was torn, at byte 0x11fe of $INDEX_ALLOCATION"), "{torn:?}");
    // What was in it cannot be reached, which is said once.
    assert!(torn.len() == 2 && torn[1].contains("that no path leads to"), "{torn:?}");
}

#[test]
fn attribute_lists_are_held_against_the_records() {
    let extension = |volume: &Patient| {
        let is_one =
            |at: &usize| volume[*at..].starts_with(b"FILE") && volume[at + 0x20..at + 0x28] != [0; 8];
        (0..volume.len()).step_by(512).find(is_one).unwrap()
    };
    assert_finds(
        |volume| {
            let extension = extension(volume);
            volume[extension + 0x16] = 0;
        },
        &[
            &["error", "expected sequence number 1, in use, continuing record"],
            &["warning", "free, but the bitmap of $MFT says that it is in use"],
        ],
    );
    assert_finds(
        |volume| {
            // Its first attribute gets another id.
            let extension = extension(volume);
            let first = extension + volume.number(extension + 0x14, 2);
            volume[first + 14] ^= 0x40;
        },
        &[
            &["error", "its attribute list names an attribute of type 0x", "which is not there"],
            &["error", "an attribute of type 0x", "is not in its attribute list"],
        ],
    );
}

#[test]
fn copies_that_are_no_copies_are_found() {
    let mirror = |volume: &Patient| volume.number(0x38, 8) * CLUSTER;
    assert_finds(
        |volume| {
            let at = mirror(volume) + 3 * RECORD_SIZE + 510;
            volume[at] ^= 1;
        },
        &[&["error: record 1 ($MFTMirr): the copy of record 3", "is damaged"]],
    );
    assert_finds(
        |volume| {
            let at = mirror(volume) + 3 * RECORD_SIZE;
            let name = attribute(volume, at, 0x60).unwrap() + 0x18;
            volume[name] ^= 1;
        },
        &[&["error: record 1 ($MFTMirr): the copy of record 3", "differs from it"]],
    );
    assert_finds(
        |volume| {
            let at = volume.record(0) + 510;
            volume[at] ^= 1;
        },
        &[&["error: record 0", "the write was torn"], &["error: record 0", "its copy in $MFTMirr was used"]],
    );
    assert_finds(
        |volume| {
            let end = volume.len() - 512;
            volume[end..].fill(0);
        },
        &[&["warning: the volume: there is no backup of the boot sector at byte 0x2ffe00"]],
    );
    // It is told before what only seems to be wrong because of it.
    let smaller = findings(|volume| volume[0x28..0x2a].copy_from_slice(&5000u16.to_le_bytes()));
    assert_eq!(smaller[0], "error: the volume: the boot sector says 5000 clusters, and its backup says 6143");
    assert_finds(
        |volume| volume[..512].fill(0),
        &[&[
            "error: the volume: the boot sector is damaged, and its backup was used: ",
            "expected \"NTFS    \"",
        ]],
    );
}

#[test]
fn what_the_volume_says_about_itself_is_told() {
    assert_finds(
        |volume| {
            let at = volume.content_at(volume.record(3), 0x70, 10);
            volume[at] |= 1;
            let mirrored = volume.number(0x38, 8) * CLUSTER + at - volume.record(0);
            volume[mirrored] |= 1;
        },
        &[&["warning: record 3 ($Volume): marked as dirty"]],
    );
    assert_finds(
        |volume| {
            let at = volume.content_at(volume.record(10), 0x80, usize::from(b'x') * 2);
            volume[at] = b'x';
        },
        &[&["error: record 10 ($UpCase): expected U+0058 as upper case of U+0078 in $UpCase, found U+0078"]],
    );
    assert_finds(
        |volume| volume[0x2a] = 1,
        &[
            &["error: the volume: the boot sector says 71679 clusters, and its backup says 6143"],
            &["error: record 6 ($Bitmap): expected a bit for each of 71679 clusters, found 768 bytes"],
            &["warning: the volume: 1 cluster that $Bitmap calls used, but no file owns, the first is 6143"],
        ],
    );
}
