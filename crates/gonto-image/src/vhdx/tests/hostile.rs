//! Every byte of every structure, changed in several ways, also by somebody who mends the checksums.

use super::log::{entry, logged};
use super::*;

/// A sound image with some bytes changed.
struct Edited {
    base: Arc<Vec<u8>>,
    edits: Vec<(usize, Vec<u8>)>,
}

impl ReadAt for Edited {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.base.read_at(buf, offset)?;
        let start = usize::try_from(offset).unwrap();
        for (at, bytes) in &self.edits {
            for (at, byte) in (*at..).zip(bytes) {
                if let Some(slot) = at.checked_sub(start).and_then(|inside| buf.get_mut(inside)) {
                    *slot = *byte;
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.base.size()
    }
}

/// A structure: where it begins, how much of it means something, and how much its checksum covers if it has one.
struct Structure {
    at: usize,
    used: usize,
    checked: Option<usize>,
}

/// Bytes that replace those from a place on; and whether a checksum tells of it.
type Edit = (bool, Vec<(usize, Vec<u8>)>);

impl Structure {
    /// All edits of single bytes, each with or without a new checksum.
    fn edits(&self, base: &[u8]) -> Vec<Edit> {
        let mut edits = Vec::new();
        for at in self.at..self.at + self.used {
            for byte in [base[at] ^ 1, base[at] ^ 0x80, 0xff, 0] {
                if byte == base[at] {
                    continue;
                }
                edits.push((self.checked.is_some(), vec![(at, vec![byte])]));
                if let Some(size) = self.checked {
                    let mut mended = base[self.at..self.at + size].to_vec();
                    mended[at - self.at] = byte;
                    seal(&mut mended, 0, size);
                    edits.push((false, vec![(at, vec![byte]), (self.at + 4, mended[4..8].to_vec())]));
                }
            }
        }
        edits
    }
}

/// Does what a mount would do, within what a test has time for.
fn use_all(disk: &VirtualDisk) -> Vec<u8> {
    let (disk, mut buf) = (disk.disk(), vec![0; 1 << 20]);
    for at in [0, disk.size() / 2, disk.size().saturating_sub(1 << 20)] {
        let length = usize::try_from(disk.size() - at).unwrap_or(usize::MAX).min(buf.len());
        disk.read_at(&mut buf[..length], at).unwrap();
    }
    let mut at = 0;
    for _ in 0..100 {
        let extent = disk.extent(at);
        assert!(extent.length > 0 || at == disk.size());
        at += extent.length;
    }
    assert!(at <= disk.size());
    let all = if disk.size() > 8 * MIB { 0 } else { disk.size() };
    buf.resize(usize::try_from(all).unwrap(), 0);
    disk.read_at(&mut buf, 0).unwrap();
    buf
}

fn no_edit_is_believed_without_its_checksum(base: Vec<u8>, options: &Options, structures: &[Structure]) {
    let expected = use_all(&open_with(base.clone(), options).unwrap());
    let base = Arc::new(base);
    let (mut opened, mut refused) = (0, 0);
    for structure in structures {
        for (is_detected, edits) in structure.edits(&base) {
            let told = format!("{edits:x?}");
            let image: Arc<dyn ReadAt> = Arc::new(Edited { base: base.clone(), edits });
            match open(&image, &Descent::new(options)) {
                Ok(Some(disk)) => {
                    let content = use_all(&disk);
                    assert!(!is_detected || content == expected, "other content after {told}");
                    opened += 1;
                }
                Ok(None) => assert!(!is_detected, "not recognised after {told}"),
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(opened > 100 && refused > 100, "{opened} opened, {refused} refused");
}

fn tables(plan: &Plan) -> Vec<Structure> {
    let checked =
        |at: u64, used, size| Structure { at: usize::try_from(at).unwrap(), used, checked: Some(size) };
    let items = plan.items().iter().map(|item| item.value.len()).sum();
    let entry = |index| Structure { at: BAT_AT + index * 8, used: 8, checked: None };
    let ratio =
        usize::try_from(SECTORS_PER_BITMAP * u64::from(plan.sector_size)).unwrap() / plan.block_size as usize;
    vec![
        Structure { at: 0, used: 12, checked: None },
        // Where only one copy is sound it is believed: the others are about to be tried in the same way.
        checked(HEADER_PLACES[1], 80, 4096),
        checked(REGION_TABLE_PLACES[0], 80, REGION_TABLE_SIZE),
        Structure { at: METADATA_AT, used: 32 + plan.items().len() * 32, checked: None },
        Structure { at: ITEMS_AT, used: items, checked: None },
        entry(0),
        entry(1),
        entry(ratio),
    ]
}

#[test]
fn no_byte_of_a_dynamic_disk_makes_a_panic() {
    let plan = Plan::new(&[Some(1), None, Some(3)]);
    no_edit_is_believed_without_its_checksum(plan.image(), &Options::default(), &tables(&plan));
}

#[test]
fn no_byte_of_a_differencing_disk_makes_a_panic() {
    let states = [(state::PARTIALLY_PRESENT, 4), (state::NOT_PRESENT, 0)];
    let plan = Plan { written: vec![0, 7, 2047], ..Plan::child(3, 2, &states) };
    let parent = Plan { id: id(2), ..Plan::new(&[Some(1), Some(2)]) }.image();
    let options = family(&[("parent.vhdx", parent)]);
    no_edit_is_believed_without_its_checksum(plan.image(), &options, &tables(&plan));
}

#[test]
fn no_byte_of_a_log_makes_a_panic() {
    let at = BLOCKS_AT as u64;
    let writes = [Write::Data { at, fill: 0x40 }, Write::Zero { at: at + 8192, length: 4096 }];
    let first = entry(1, (1 << 20) - 8192, &writes);
    let second = entry(2, (1 << 20) - 8192, &[Write::Data { at: at + 4096, fill: 0x41 }]);
    let base = logged((1 << 20) - 8192, &[first, second]);
    // The first entry lies at the end of the log, the second one at its start.
    let entry = |at, writes: usize| Structure { at, used: 64 + writes * 32, checked: Some(8192) };
    let data = |at| Structure { at, used: 8, checked: None };
    let structures =
        [entry(METADATA_AT - 8192, 2), entry(LOG_AT, 1), data(METADATA_AT - 4096), data(LOG_AT + 4096)];
    let expected = use_all(&open_image(base.clone()).unwrap());
    let base = Arc::new(base);
    for structure in structures {
        for (_, edits) in structure.edits(&base) {
            let image: Arc<dyn ReadAt> = Arc::new(Edited { base: base.clone(), edits });
            // What is damaged in the last entry makes it one that never happened.
            if let Ok(disk) = open(&image, &Descent::new(&Options::default())) {
                assert_eq!(use_all(&disk.unwrap()).len(), expected.len());
            }
        }
    }
}

#[test]
fn bitmaps_that_the_log_makes_zero_cost_no_memory() {
    // Blocks of 256 MiB have bitmaps of 64 KiB: all of them would be 7.5 GiB, of a file that is long only by its log.
    let (block_size, count) = (256 << 20, 120_000);
    let parent = Plan { id: id(2), ..Plan::new(&[Some(1)]) }.image();
    let child = Plan { block_size, disk_size: count * u64::from(block_size), ..Plan::child(3, 2, &[]) };
    let mut image = child.image();
    let mut end = 1 << 30;
    for index in 0..count / 16 * 17 {
        let (state, length) = match index % 17 {
            16 => (state::FULLY_PRESENT, MIB),
            _ => (state::PARTIALLY_PRESENT, u64::from(block_size)),
        };
        put(&mut image, BAT_AT + usize::try_from(index).unwrap() * 8, &(end | u64::from(state)));
        end += length;
    }
    edit_headers(&mut image, |header| header.log_guid = id(0x10));
    put_log(&mut image, 0, &[LogEntry { flushed: 0, last: end, ..entry(1, 0, &[]) }.bytes()]);
    let disk = open_with(image, &family(&[(".\\parent.vhdx", parent)])).unwrap();
    assert_eq!(
        disk.layers()[0].blocks,
        Some(Blocks { size: u64::from(block_size), total: count, present: count })
    );
    let mut start = [0; 10];
    disk.disk().read_at(&mut start, 100).unwrap();
    assert_eq!(start, [1; 10]);
}
