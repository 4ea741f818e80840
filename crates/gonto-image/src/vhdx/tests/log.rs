//! Changes that are only in the log as yet.

use super::*;

fn with_log(image: &mut [u8], guid: Guid) {
    edit_headers(image, |header| header.log_guid = guid);
}

pub(super) fn entry(sequence: u64, tail: usize, writes: &[Write]) -> LogEntry {
    let (tail, size) = (u32::try_from(tail).unwrap(), BLOCKS_AT as u64 + 2 * MIB);
    LogEntry { log: id(0x10), sequence, tail, flushed: size, last: size, writes: writes.to_vec() }
}

/// An image with two blocks of ones and twos, and a log with these entries from byte `position` of it on.
pub(super) fn logged(position: usize, entries: &[LogEntry]) -> Vec<u8> {
    let mut image = Plan::new(&[Some(1), Some(2)]).image();
    with_log(&mut image, id(0x10));
    put_log(&mut image, position, &entries.iter().map(LogEntry::bytes).collect::<Vec<_>>());
    image
}

/// Byte offset in the file of the second block of the disk, which lies first.
const SECOND: u64 = BLOCKS_AT as u64;

#[test]
fn the_log_is_replayed_in_its_order_over_the_file() {
    let data = |at, fill| Write::Data { at: SECOND + at, fill };
    let zero = |at, length| Write::Zero { at: SECOND + at, length };
    let entries = [
        entry(7, 0, &[data(0, 0x20), data(8192, 0x21), data(40960, 0x22)]),
        entry(8, 0, &[zero(4096, 32768), data(12288, 0x23), data(0, 0x24)]),
        entry(9, 0, &[zero(49152, 4096), data(24576, 0x25), data(49152, 0x26)]),
    ];
    let mut expected = blocks(&[1, 2]);
    let second = &mut expected[BLOCK..];
    second[4096..36864].fill(0);
    for (at, fill) in [(0, 0x24), (12288, 0x23), (24576, 0x25), (40960, 0x22), (49152, 0x26)] {
        second[at..at + 4096].copy_from_slice(&logged_sector(fill));
    }
    // From any place on, also where an entry goes on at the start of the log.
    for position in [0, 4096, 500 << 10, (1 << 20) - 4096, (1 << 20) - 8192, (1 << 20) - 20480] {
        let mut entries: Vec<LogEntry> =
            entries.iter().map(|entry| LogEntry { writes: entry.writes.clone(), ..*entry }).collect();
        entries.iter_mut().for_each(|entry| entry.tail = u32::try_from(position).unwrap());
        let disk = open_image(logged(position, &entries)).unwrap();
        assert!(content_of(&disk) == expected, "from {position} on");
        assert_eq!(disk.layers()[0].irregularities, [Irregularity::ReplayedLog { entries: 3 }]);
        let mut across = [7; 3000];
        disk.disk().read_at(&mut across, MIB + 10_000).unwrap();
        assert_eq!(across, expected[BLOCK + 10_000..][..3000]);
        let place = |at: u64| disk.disk().extent(MIB + at);
        assert_eq!(place(100), Extent { length: 3996, place: Place::Derived });
        assert_eq!(place(5000), Extent { length: 7288, place: Place::Zero });
        let own = Place::Image { layer: 0, offset: SECOND + 36864 };
        assert_eq!(place(36864), Extent { length: 4096, place: own });
    }
}

#[test]
fn only_the_newest_entries_of_the_right_log_count() {
    let data = |fill| Write::Data { at: SECOND, fill };
    let second = |image: Vec<u8>| content(image)[BLOCK + 100];
    // Entries of a log that was replayed long ago, and an older sequence of this one behind them.
    let mut image = logged(0, &[LogEntry { log: id(0x11), ..entry(100, 0, &[data(0x30)]) }]);
    put_log(&mut image, 8192, &[entry(5, 8192, &[data(0x31)]).bytes()]);
    put_log(&mut image, 20480, &[entry(9, 20480, &[data(0x32)]).bytes()]);
    assert_eq!(second(image.clone()), 0x32);
    // A sequence whose first entry was written over cannot be replayed; the one before it was, or still can be.
    put_log(&mut image, 40960, &[entry(20, 36864, &[data(0x33)]).bytes()]);
    assert_eq!(second(image.clone()), 0x32);
    // What was flushed before the tail is not written again.
    let image = logged(
        0,
        &[entry(1, 0, &[data(0x34)]), entry(2, 8192, &[Write::Data { at: SECOND + 4096, fill: 1 }])],
    );
    assert_eq!(second(image), 2);
    // The last entry was not written whole: it never happened.
    for broken_at in [8192 + 50, 8192 + 4096, 8192 + 8191] {
        let mut image = logged(0, &[entry(1, 0, &[data(0x35)]), entry(2, 0, &[data(0x36)])]);
        image[LOG_AT + broken_at] ^= 0x40;
        assert_eq!(second(image), 0x35);
    }
    // Numbers with a gap are no sequence.
    let image = logged(0, &[entry(1, 0, &[data(0x37)]), entry(3, 0, &[data(0x38)])]);
    assert_eq!(second(image), 0x37);
}

#[test]
fn everything_behind_the_headers_is_read_through_the_log() {
    // The image as it will be, and what is in the file as yet: nothing but headers and the log, which has all the rest.
    let whole = Plan::new(&[Some(1), Some(2)]).image();
    let mut image = whole.clone();
    let mut writes = Vec::new();
    let mut sectors = Vec::new();
    for at in (192 << 10..BLOCKS_AT).step_by(4096).filter(|at| !(LOG_AT..METADATA_AT).contains(at)) {
        if image[at..at + 4096].iter().any(|byte| *byte != 0) {
            writes.push(Write::Data { at: at as u64, fill: 0 });
            sectors.push(image[at..at + 4096].to_vec());
            image[at..at + 4096].fill(0xdd);
        }
    }
    let mut bytes = entry(1, 0, &writes).bytes();
    let data_at = (64 + writes.len() * 32).next_multiple_of(4096);
    for (number, sector) in sectors.iter().enumerate() {
        let descriptor = 64 + number * 32;
        bytes[descriptor + 4..descriptor + 8].copy_from_slice(&sector[4092..]);
        bytes[descriptor + 8..descriptor + 16].copy_from_slice(&sector[..8]);
        bytes[data_at + number * 4096 + 8..][..4084].copy_from_slice(&sector[8..4092]);
    }
    let length = bytes.len();
    seal(&mut bytes, 0, length);
    with_log(&mut image, id(0x10));
    put_log(&mut image, 0, &[bytes]);
    assert!(content(image) == content(whole));
}

#[test]
fn the_file_may_be_longer_after_the_log_was_replayed() {
    // Block 0 was added behind the end, and only the log knows of it.
    let mut image = Plan::new(&[None, Some(2)]).image();
    let size = image.len() as u64;
    let entry_of_table = size | u64::from(state::FULLY_PRESENT);
    let mut bytes = LogEntry {
        flushed: size,
        last: size + MIB,
        ..entry(1, 0, &[Write::Data { at: BAT_AT as u64, fill: 0 }, Write::Data { at: size + 4096, fill: 5 }])
    }
    .bytes();
    let mut table = image[BAT_AT..BAT_AT + 4096].to_vec();
    put(&mut table, 0, &entry_of_table);
    bytes[64 + 4..64 + 8].copy_from_slice(&table[4092..]);
    bytes[64 + 8..64 + 16].copy_from_slice(&table[..8]);
    bytes[4096 + 8..][..4084].copy_from_slice(&table[8..4092]);
    let length = bytes.len();
    seal(&mut bytes, 0, length);
    with_log(&mut image, id(0x10));
    put_log(&mut image, 0, &[bytes]);
    let disk = open_image(image).unwrap();
    let mut expected = blocks(&[0, 2]);
    expected[4096..8192].copy_from_slice(&logged_sector(5));
    assert!(content_of(&disk) == expected);
    assert_eq!(disk.disk().extent(8192), Extent { length: MIB - 8192, place: Place::Zero });
}

#[test]
fn a_log_that_cannot_be_replayed_is_refused() {
    let mut image = Plan::new(&[Some(1), Some(2)]).image();
    with_log(&mut image, id(0x10));
    refused(image, "the VHDX's log at byte 0x100000 is damaged: expected entries that follow each other");
    refused(
        logged(0, &[entry(1, 4096, &[])]),
        "found 1 valid entries, but not the one that the last of them needs",
    );
    let cut = LogEntry { flushed: 7 * MIB, ..entry(1, 0, &[]) };
    refused(
        logged(0, &[cut]),
        "a file of at least 7340032 bytes, found 6291456 bytes: the file is cut short",
    );
    refused(
        logged(0, &[entry(1, 0, &[Write::Data { at: SECOND + 512, fill: 1 }])]),
        "whole sectors of 4 KiB",
    );
    refused(logged(0, &[entry(1, 0, &[Write::Zero { at: SECOND, length: 100 }])]), "whole sectors of 4 KiB");
    for (at, length) in [(u64::MAX - 4095, 4096), (1 << 63, 4096), (4096, u64::MAX - 4095)] {
        refused(
            logged(0, &[entry(1, 0, &[Write::Zero { at, length }])]),
            "whole sectors of 4 KiB inside a file",
        );
    }
    let edited = |at: usize, value: &[u8]| {
        let mut bytes = entry(1, 0, &[Write::Data { at: SECOND, fill: 3 }]).bytes();
        bytes[at..at + value.len()].copy_from_slice(value);
        let length = bytes.len();
        seal(&mut bytes, 0, length);
        let mut image = logged(0, &[]);
        put_log(&mut image, 0, &[bytes]);
        image
    };
    refused(edited(64, b"dEsc"), "the VHDX's log descriptor at byte 0x100040 is damaged");
    refused(edited(64 + 24, &[9]), "expected sequence number 1, found 9");
    refused(edited(4096, b"dAta"), "the VHDX's data sector of the log at byte 0x101000 is damaged");
    refused(edited(8188, &[2]), "expected sequence number 1, found 2");
    refused(edited(8, &4096u32.to_le_bytes()), "no valid entry");
    refused(edited(24, &400u32.to_le_bytes()), "no valid entry");
    refused(edited(24, &200u32.to_le_bytes()), "expected a data sector, found the end of the entry");
    refused(edited(16, &[0; 8]), "no valid entry");
    for (offset, length) in
        [(0u64, 1u32 << 20), (1 << 20, 0), (100, 1 << 20), (1 << 20, 4096), (1 << 40, 1 << 20)]
    {
        let mut image = logged(0, &[entry(1, 0, &[])]);
        edit_headers(&mut image, |header| {
            header.log_offset = offset.into();
            header.log_length = length.into();
        });
        refused(image, "a log of 1 to 64 whole MiB inside the file");
    }
}

#[test]
fn qemu_replays_the_same_logs_to_the_same_disks() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let qemu = |arguments: &[&str]| {
        let program =
            std::process::Command::new("qemu-img").args(arguments).current_dir(scratch.path()).output();
        program.map(|output| (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let mut numbers = Numbers(0x6c6f_6721);
    for round in 0..12 {
        // Writes into the second block of the disk, from any place of the log on, so that some go round its end.
        let mut writes = || -> Vec<Write> {
            let mut one = || {
                let at = SECOND + numbers.below(16) * 4096;
                match numbers.below(4) {
                    0 => Write::Zero { at, length: numbers.below(8) * 4096 },
                    fill => Write::Data { at, fill: u8::try_from(fill * 0x11).unwrap() },
                }
            };
            (0..1 + round % 5).map(|_| one()).collect()
        };
        let all: Vec<Vec<Write>> = (0..1 + round % 3).map(|_| writes()).collect();
        let position = usize::try_from(numbers.below(256)).unwrap() * 4096;
        let entries: Vec<LogEntry> =
            all.iter().zip(10..).map(|(writes, number)| entry(number, position, writes)).collect();
        let image = logged(position, &entries);
        std::fs::write(path("dirty.vhdx"), &image).unwrap();
        match qemu(&["check", "-q", "-r", "all", "dirty.vhdx"]) {
            Ok((true, _)) => {}
            Ok((false, told)) => panic!("round {round}: {told}"),
            Err(_) => {
                eprintln!("skipped: qemu-img is not installed");
                return;
            }
        }
        let replayed = std::fs::read(path("dirty.vhdx")).unwrap();
        let theirs = open_image(replayed).unwrap();
        assert_eq!(theirs.layers()[0].irregularities, [], "round {round}: the log is not empty");
        assert!(content_of(&theirs) == content(image), "round {round}: another disk");
    }
}
