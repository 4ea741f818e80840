//! Images that lie: by a single edit that a test knows, and by thousands of edits that nobody chose.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gonto_image::{Error, Extent, FileTree, NodeId, Options, Place, ReadAt};
use support::{
    Numbers, RECORD_SIZE, assert_tells, attribute, blocks_with_name, chain, everything, record_of,
};

fn open(image: Vec<u8>) -> Result<FileTree, Error> {
    FileTree::open(Arc::new(image))
}

/// The whole chain of an error, as the program prints it.
fn refusal(image: Vec<u8>) -> String {
    let Err(error) = open(image) else { panic!("opened") };
    chain(&error)
}

/// Opens the fixture after one edit of the record of `file`.
fn refused_after(file: &str, edit: impl FnOnce(&mut Vec<u8>, usize)) -> String {
    let mut image = everything();
    let record = record_of(&image, file);
    edit(&mut image, record);
    refusal(image)
}

#[test]
fn a_name_that_leads_to_a_free_record_is_refused() {
    let text = refused_after("resident.txt", |image, record| image[record + 0x16] = 0);
    assert_tells(
        &text,
        &["cannot show \"resident.txt\"", "NTFS record ", "expected a file, found a free record"],
    );
}

#[test]
fn a_name_that_leads_to_a_later_use_of_a_record_is_refused() {
    let text = refused_after("resident.txt", |image, record| image[record + 0x10] += 1);
    assert_tells(
        &text,
        &["cannot show \"resident.txt\"", "expected sequence number 1, as the directory says, found 2"],
    );
}

#[test]
fn a_record_that_was_not_written_whole_is_refused() {
    let text = refused_after("resident.txt", |image, record| image[record + 510] ^= 1);
    assert_tells(&text, &["cannot show \"resident.txt\"", "the write was torn", "fetch the image again"]);
}

#[test]
fn a_record_that_is_another_one_is_refused() {
    let text = refused_after("resident.txt", |image, record| image[record + 0x2c] ^= 1);
    assert_tells(&text, &["cannot show \"resident.txt\"", "expected its own number"]);
}

#[test]
fn a_size_that_is_more_than_the_clusters_hold_is_refused() {
    let text = refused_after("clusters.bin", |image, record| {
        let data = attribute(image, record, 0x80).unwrap();
        image[data + 0x33] = 1;
    });
    assert_tells(&text, &["cannot show \"clusters.bin\"", "bytes that its runs hold, found 16877216"]);
}

#[test]
fn valid_bytes_behind_the_end_are_refused() {
    let text = refused_after("clusters.bin", |image, record| {
        let data = attribute(image, record, 0x80).unwrap();
        image[data + 0x3b] = 1;
    });
    assert_tells(&text, &["cannot show \"clusters.bin\"", "a size that is not below its valid part"]);
}

#[test]
fn a_run_outside_the_volume_is_refused() {
    let text = refused_after("clusters.bin", |image, record| {
        let data = attribute(image, record, 0x80).unwrap();
        let pairs = data + usize::from(image[data + 0x20]);
        let (length, distance) = (usize::from(image[pairs] & 15), usize::from(image[pairs] >> 4));
        image[pairs + length + distance] = 0x7f;
    });
    assert_tells(&text, &["cannot show \"clusters.bin\"", "expected clusters of a volume that has 6143"]);
}

#[test]
fn runs_that_are_shorter_than_they_say_are_refused() {
    let text = refused_after("clusters.bin", |image, record| {
        let data = attribute(image, record, 0x80).unwrap();
        image[data + 0x18] += 1;
    });
    assert_tells(&text, &["cannot show \"clusters.bin\"", "expected runs up to VCN"]);
}

#[test]
fn a_file_whose_later_runs_are_missing_is_refused() {
    let mut image = everything();
    // It is the only file with so many runs that another record has to continue its own.
    let extension = (0..image.len() / 512)
        .map(|sector| sector * 512)
        .find(|at| image[*at..].starts_with(b"FILE") && image[at + 0x20..at + 0x28] != [0; 8])
        .unwrap();
    image[extension + 0x16] = 0;
    assert_tells(
        &refusal(image),
        &["cannot show \"fragmented.bin\"", "in use, continuing record", "found sequence number"],
    );
}

#[test]
fn what_no_name_leads_to_is_not_looked_at() {
    let mut image = everything();
    // The records behind the last file are free; one that claims to be a file, and is none, changes nothing.
    let free = (0..image.len() / 512)
        .map(|sector| sector * 512)
        .rfind(|at| image[*at..].starts_with(b"FILE") && image[at + 0x16] & 1 == 0)
        .unwrap();
    image[free + 0x16] = 3;
    image[free + 0x14] = 0xff;
    let before = open(everything()).unwrap();
    let after = open(image).unwrap();
    assert_eq!(before.len(), after.len());
}

#[test]
fn a_leftover_of_a_directory_does_not_hide_the_directory() {
    let mut image = everything();
    let records: Vec<usize> = (0..image.len() / 512)
        .map(|sector| sector * 512)
        .filter(|at| image[*at..].starts_with(b"FILE") && image[at + 0x2c..at + 0x30] != [0; 4])
        .collect();
    let number = |at: usize| u32::from_le_bytes(image[at + 0x2c..at + 0x30].try_into().unwrap());
    // The first directory after the root whose index has blocks. A copy of its record in a free one before it claims the
    // same clusters.
    let has_blocks = |at: usize| image[at + 0x16] == 3 && attribute(&image, at, 0xa0).is_some();
    let many = *records.iter().find(|at| number(**at) > 5 && has_blocks(**at)).unwrap();
    let free = records.iter().filter(|at| image[**at + 0x16] & 1 == 0 && number(**at) < number(many));
    let free = *free.max_by_key(|at| number(**at)).unwrap();
    let own_number = image[free + 0x2c..free + 0x30].to_vec();
    image.copy_within(many..many + RECORD_SIZE, free);
    image[free + 0x2c..free + 0x30].copy_from_slice(&own_number);
    let tree = open(image).unwrap();
    assert_eq!(tree.entries(support::find(&tree, "many")).len(), 301);
}

#[test]
fn a_directory_with_two_names_is_refused() {
    let mut image = everything();
    // The entry of the folder `d` in `c` becomes one that leads to `a`, above them both.
    let folder = |name: &str, image: &[u8]| {
        let at = *blocks_with_name(image, b"FILE", name)
            .iter()
            .find(|at| {
                let Some(own) = attribute(image, **at, 0x30) else { return false };
                let utf16: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
                usize::from(image[own + 0x18 + 64]) * 2 == utf16.len()
                    && image[own + 0x18 + 66..].starts_with(&utf16)
            })
            .unwrap();
        let number: [u8; 4] = image[at + 0x2c..at + 0x30].try_into().unwrap();
        (at, number, image[at + 0x10])
    };
    let (_, a, sequence) = folder("a", &image);
    let (c, ..) = folder("c", &image);
    let (_, d, _) = folder("d", &image);
    let root = attribute(&image, c, 0x90).unwrap();
    let entry = (root..root + 500).find(|at| image[*at..*at + 4] == d && image[at + 12] == 0).unwrap();
    image[entry..entry + 4].copy_from_slice(&a);
    image[entry + 6] = sequence;
    let text = refusal(image);
    assert_tells(&text, &["cannot show \"a/b/c/d\"", "expected one name that leads to a directory"]);
}

#[test]
fn a_bare_disk_passes_for_a_container_only_where_it_may() {
    let disk = support::disk(Arc::new(everything()));
    assert!(FileTree::open(disk.clone()).is_ok());
    let options = Options { container_only: true, ..Options::default() };
    let Err(error) = FileTree::open_with(disk, &options) else { panic!("opened") };
    assert_tells(
        &error.to_string(),
        &["the VHD's footer at byte 0x4ffe00 is damaged", "fetch the image again"],
    );
    assert!(FileTree::open_with(Arc::new(everything()), &options).is_ok());
}

/// A disk of which only the first bytes are there.
struct Stretched {
    start: Vec<u8>,
    size: u64,
    bytes_read: AtomicU64,
}

impl ReadAt for Stretched {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes_read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        buf.fill(0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let known = self.start.get(start..).unwrap_or_default();
        let count = known.len().min(buf.len());
        buf[..count].copy_from_slice(&known[..count]);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn extent(&self, offset: u64) -> Extent {
        let start = self.start.len() as u64;
        if offset < start {
            Extent { length: start - offset, place: Place::Image { layer: 0, offset } }
        } else {
            Extent { length: self.size.saturating_sub(offset), place: Place::Zero }
        }
    }
}

#[test]
fn a_huge_empty_table_in_a_small_image_is_not_walked_through() {
    // The volume of the fixture without its partition table, on a disk of a terabyte.
    let disk = support::disk(Arc::new(everything()));
    let partition = support::partitions(&disk)[1].clone();
    let mut volume = vec![0; usize::try_from(partition.size).unwrap()];
    disk.read_at(&mut volume, partition.start).unwrap();
    let size = 1u64 << 40;
    volume[0x28..0x30].copy_from_slice(&(size / 512).to_le_bytes());
    // $MFT gets another run of 32 GiB behind all that is there.
    let mft = u64::from_le_bytes(volume[0x30..0x38].try_into().unwrap());
    let record = usize::try_from(mft).unwrap() * 512;
    let data = attribute(&volume, record, 0x80).unwrap();
    let u64_at = |at: usize| u64::from_le_bytes(volume[at..at + 8].try_into().unwrap());
    let (clusters, more) = (u64_at(data + 0x18) + 1, 64u64 << 20);
    let bytes = (clusters + more) * 512;
    let pairs = data + usize::from(volume[data + 0x20]);
    let mut next = pairs;
    while volume[next] != 0 {
        next += 1 + usize::from(volume[next] & 15) + usize::from(volume[next] >> 4);
    }
    volume[data + 0x18..data + 0x20].copy_from_slice(&(clusters + more - 1).to_le_bytes());
    for at in [0x28, 0x30, 0x38] {
        volume[data + at..data + at + 8].copy_from_slice(&bytes.to_le_bytes());
    }
    let another = [&[0x44][..], &0x0400_0000u32.to_le_bytes(), &0x1000_0000u32.to_le_bytes(), &[0]].concat();
    // The attribute has no room for it; those behind it are not needed.
    volume[next..next + another.len()].copy_from_slice(&another);
    let end = (next + another.len()).next_multiple_of(8);
    let length = u32::try_from(end - data).unwrap();
    volume[data + 4..data + 8].copy_from_slice(&length.to_le_bytes());
    volume[end..end + 4].fill(0xff);
    let used = u32::try_from(end + 8 - record).unwrap();
    volume[record + 0x18..record + 0x1c].copy_from_slice(&used.to_le_bytes());
    let image = Arc::new(Stretched { start: volume, size, bytes_read: AtomicU64::new(0) });
    let tree = FileTree::open(image.clone()).unwrap();
    let bytes_read = image.bytes_read.load(Ordering::Relaxed);
    assert!(bytes_read < 64 << 20, "{bytes_read} bytes were read");
    assert_eq!(tree.entries(support::find(&tree, "many")).len(), 301);
}

/// The fixture with some bytes changed, or its end cut off.
struct Edited {
    base: Arc<Vec<u8>>,
    size: u64,
    edits: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Edited {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.base.read_at(buf, offset)?;
        for (at, bytes) in &self.edits {
            for (at, byte) in (*at..).zip(bytes) {
                if let Some(inside) =
                    at.checked_sub(offset).and_then(|inside| buf.get_mut(usize::try_from(inside).unwrap()))
                {
                    *inside = *byte;
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// Places where an edit hits the structure of the image: records, index blocks, boot sector, tables.
fn structure(image: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    for sector in 0..image.len() / 512 {
        let at = sector * 512;
        let block = &image[at..];
        let length = if block.starts_with(b"FILE") || block.starts_with(b"INDX") {
            RECORD_SIZE
        } else if block[3..].starts_with(b"NTFS    ") || block.starts_with(b"EFI PART") || at < 2048 {
            512
        } else {
            continue;
        };
        places.extend((at..at + length).filter(|at| image[*at] != 0));
    }
    places
}

fn edit(numbers: &mut Numbers, places: &[usize], size: u64) -> (u64, Vec<(u64, Vec<u8>)>) {
    let extreme = [0u64, 1, u64::MAX, i64::MAX as u64, 1 << 31, 0xffff_ffff];
    let mut edits = Vec::new();
    for _ in 0..=numbers.below(3) {
        let at = places[numbers.below(places.len())] as u64;
        let bytes = match numbers.below(4) {
            0 => vec![u8::try_from(numbers.below(256)).unwrap()],
            1 => extreme[numbers.below(extreme.len())].to_le_bytes()[..1 << numbers.below(4)].to_vec(),
            2 => numbers.next().to_le_bytes()[..1 + numbers.below(8)].to_vec(),
            _ => vec![0; 1 + numbers.below(16)],
        };
        edits.push((at, bytes));
    }
    let cut = numbers.below(20) == 0;
    (if cut { numbers.next() % size } else { size }, edits)
}

/// Does everything that a mount would do.
fn use_all(tree: &FileTree) {
    let mut buf = vec![0; 4096];
    for id in (0..u32::try_from(tree.len()).unwrap()).map(NodeId) {
        let size = tree.node(id).size;
        for offset in [0, size / 2, size.saturating_sub(1), u64::MAX] {
            let _ = tree.read_at(id, &mut buf, offset);
        }
        for (name, child) in tree.entries(id).iter() {
            assert!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0));
            assert_eq!(tree.lookup(id, name), Some(child));
        }
        let _ = (tree.link_target(id), tree.node(id).modified.to_system_time());
        let _ = (tree.reparse_tag(id), tree.windows_target(id), tree.owner(id));
        for (index, stream) in tree.streams(id).enumerate() {
            assert!(!stream.name.is_empty());
            let _ = tree.read_stream_at(id, index, &mut buf, stream.size / 2);
        }
        for offset in [0, size / 2, size] {
            let length = tree.extent(id, offset).length;
            assert_eq!(length == 0, offset >= size);
            assert!(length <= size - offset);
        }
    }
    assert!(tree.notes().len() <= 100);
}

/// Opens and uses the image after many edits of these places.
fn edit_often(base: Vec<u8>, places: &[usize], rounds: usize) {
    let base = Arc::new(base);
    let mut numbers = Numbers(0x676f_6e74_6f21);
    let (mut opened, mut refused) = (0, 0);
    let mut found = 0;
    for round in 0..rounds {
        let (size, edits) = edit(&mut numbers, places, base.len() as u64);
        let image = Arc::new(Edited { base: base.clone(), size, edits });
        if round % 8 == 0 {
            found += usize::from(support::verified(image.clone()).is_ok_and(|found| !found.is_sound()));
        }
        match FileTree::open(image) {
            Ok(tree) => {
                use_all(&tree);
                opened += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    // Were one of these small, the edits would not reach what they are meant to reach.
    assert!(opened > rounds / 33 && refused > rounds / 33, "{opened} opened, {refused} refused");
    assert!(found > rounds / 33, "{found} of {} were found not to be sound", rounds / 8);
    if let Some(peak) = peak_memory() {
        assert!(peak < 512 << 20, "{peak} bytes were in use at a time");
    }
}

#[test]
fn no_edit_makes_a_panic_a_hang_or_a_big_table() {
    let base = everything();
    let places = structure(&base);
    edit_often(base, &places, 10_000);
}

#[test]
fn no_edit_of_compressed_files_makes_a_panic_or_a_hang() {
    let base = support::compressed();
    let mut places = structure(&base);
    // The data have as many chances as the structure.
    let data: Vec<usize> = (1 << 20..base.len()).filter(|at| base[*at] != 0).collect();
    let step = data.len().div_ceil(places.len());
    places.extend(data.into_iter().step_by(step));
    edit_often(base, &places, 1500);
}

/// The most memory that this process ever had, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}
