//! Small images that claim a lot: their indexes stay small, or there is none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gonto_image::index::IndexError;
use gonto_image::{FileTree, NewContainer, NewImage, ReadAt};

use crate::indexed::{check, index_of};
use crate::making::{Image, Source, usual};
use crate::support::{attribute, compressed, distinct, paths};

fn bytes_of(image: &Image) -> Vec<u8> {
    let image = image.bytes();
    let mut bytes = vec![0; usize::try_from(image.size()).unwrap()];
    image.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// The attribute of a file's content, which lies in clusters.
struct Data<'i> {
    image: &'i mut [u8],
    record: usize,
    at: usize,
}

impl<'i> Data<'i> {
    fn in_record(image: &'i mut [u8], record: usize) -> Self {
        let at = attribute(image, record, 0x80).unwrap();
        assert_eq!(image[at + 8], 1, "it lies in its record");
        Self { image, record, at }
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.image[self.at + at..][..8].try_into().unwrap())
    }

    fn put(&mut self, at: usize, number: u64) {
        self.image[self.at + at..][..8].copy_from_slice(&number.to_le_bytes());
    }

    /// Where the mapping pairs begin, and where they end.
    fn pairs(&self) -> (usize, usize) {
        let start = self.at + usize::from(self.image[self.at + 0x20]);
        let mut end = start;
        while self.image[end] != 0 {
            end += 1 + usize::from(self.image[end] & 15) + usize::from(self.image[end] >> 4);
        }
        (start, end)
    }

    /// Writes mapping pairs from a place on, and makes them the last thing in the record.
    fn end_with(&mut self, from: usize, pairs: &[u8], clusters: u64, cluster_size: u64) {
        self.image[from..from + pairs.len()].copy_from_slice(pairs);
        let end = (from + pairs.len()).next_multiple_of(8);
        self.image[from + pairs.len()..end].fill(0);
        self.image[end..end + 4].fill(0xff);
        assert!(end + 8 - self.record < 510, "the pairs reach into the fixups");
        let length = u32::try_from(end - self.at).unwrap();
        self.image[self.at + 4..self.at + 8].copy_from_slice(&length.to_le_bytes());
        let used = u32::try_from(end + 8 - self.record).unwrap();
        self.image[self.record + 0x18..self.record + 0x1c].copy_from_slice(&used.to_le_bytes());
        self.put(0x18, clusters - 1);
        self.put(0x28, clusters * cluster_size);
        self.put(0x30, clusters * cluster_size);
    }

    /// Puts a hole of so many clusters behind the file.
    fn add_hole(&mut self, clusters: u64, cluster_size: u64) {
        let (_, end) = self.pairs();
        let all = self.u64_at(0x18) + 1 + clusters;
        let pairs = [&[8][..], &clusters.to_le_bytes(), &[0]].concat();
        self.end_with(end, &pairs, all, cluster_size);
    }
}

/// Where the records of all files of users begin.
fn records(image: &[u8]) -> Vec<usize> {
    let number = |at: usize| u32::from_le_bytes(image[at + 0x2c..at + 0x30].try_into().unwrap());
    let sectors = (0..image.len() / 512).map(|sector| sector * 512);
    let records = sectors.filter(|at| image[*at..].starts_with(b"FILE"));
    records.filter(|at| number(*at) >= 64 && image[at + 0x16] == 1).collect()
}

#[track_caller]
fn refused(image: Vec<u8>) -> IndexError {
    let start = Instant::now();
    let image: Arc<dyn ReadAt> = Arc::new(image);
    let tree = FileTree::open(image.clone()).unwrap();
    let size = image.size();
    let error = match index_of(&tree, &[image]) {
        Ok(indexed) => panic!("{size} bytes have an index: {:?}", indexed.written),
        Err(error) => error,
    };
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    error
}

fn many(files: u64, size: usize) -> (Source, Image) {
    let source = Source::new();
    for number in 0..files {
        source.write(format!("file {number:04}"), distinct(number, size));
    }
    let image = source.image(&NewImage { container: NewContainer::DynamicVhd, ..usual() });
    (source, image)
}

const HUGE: u64 = 1 << 62;

#[test]
fn a_huge_hole_is_a_short_table() {
    let (_source, image) = many(1, 100_000);
    let mut bytes = bytes_of(&image);
    let record = records(&bytes)[0];
    let mut data = Data::in_record(&mut bytes, record);
    data.add_hole(HUGE / 2048, 2048);
    // Nothing of it is valid, so all of it is zero.
    data.put(0x38, 0);
    let indexed = check(Arc::new(bytes));
    assert!(indexed.written.size < 8 << 20 && indexed.written.copied == 0, "{:?}", indexed.written);
}

#[test]
fn a_sparse_file_of_a_terabyte_has_an_index() {
    let (_source, image) = many(1, 100_000);
    let mut bytes = bytes_of(&image);
    let record = records(&bytes)[0];
    Data::in_record(&mut bytes, record).add_hole((1 << 40) / 2048, 2048);
    let indexed = check(Arc::new(bytes));
    assert!(indexed.written.size < 16 << 20, "{:?}", indexed.written);
}

#[test]
fn a_huge_file_with_a_border_at_an_odd_place_has_no_index() {
    let (_source, image) = many(1, 100_000);
    let mut bytes = bytes_of(&image);
    let record = records(&bytes)[0];
    Data::in_record(&mut bytes, record).add_hole(HUGE / 2048, 2048);
    let error = refused(bytes);
    assert!(matches!(error, IndexError::OutOfProportion { what: "the bytes of the index", .. }), "{error:?}");
}

#[test]
fn many_huge_holes_have_no_index() {
    let (_source, image) = many(100, 5000);
    let mut bytes = bytes_of(&image);
    for record in records(&bytes) {
        let mut data = Data::in_record(&mut bytes, record);
        data.add_hole(HUGE / 512, 512);
        data.put(0x38, 0);
    }
    let cluster = FileTree::open(Arc::new(bytes.clone())).unwrap().format().cluster_size;
    assert_eq!(cluster, 512);
    assert!(matches!(refused(bytes), IndexError::OutOfProportion { .. }));
}

#[test]
fn a_compressed_file_that_becomes_a_petabyte_has_no_index() {
    let mut bytes = compressed();
    let tree = FileTree::open(Arc::new(bytes.clone())).unwrap();
    let cluster = tree.format().cluster_size;
    let is_compressed = |record: &usize| {
        let at = attribute(&bytes, *record, 0x80);
        at.is_some_and(|at| bytes[at + 8] == 1 && bytes[at + 0x0c] & 1 != 0)
    };
    let record = records(&bytes).into_iter().find(is_compressed).unwrap();
    let mut data = Data::in_record(&mut bytes, record);
    let unit = 16;
    let clusters = ((1u64 << 50) / cluster).next_multiple_of(unit);
    data.add_hole(clusters, cluster);
    let valid = data.u64_at(0x30);
    data.put(0x38, valid);
    let tree = FileTree::open(Arc::new(bytes.clone())).unwrap();
    assert!(paths(&tree).iter().any(|(_, id)| tree.node(*id).size > 1 << 50));
    assert!(matches!(refused(bytes), IndexError::OutOfProportion { .. }));
}

#[test]
fn files_that_share_their_clusters_a_thousand_times_have_no_index() {
    let (_source, image) = many(2000, 1000);
    let mut bytes = bytes_of(&image);
    for record in records(&bytes) {
        let mut data = Data::in_record(&mut bytes, record);
        let (start, end) = data.pairs();
        let mut pairs = data.image[start..end].to_vec();
        // Two clusters back, two forth, again and again.
        let first = u64::from(data.image[start + 1]);
        for _ in 0..25 {
            pairs.extend([0x11, 1, 0xfe, 0x11, 1, 2]);
        }
        pairs.push(0);
        data.end_with(start, &pairs, first + 50, 512);
        let valid = data.u64_at(0x30);
        data.put(0x38, valid);
    }
    let error = refused(bytes);
    assert!(
        matches!(error, IndexError::OutOfProportion { what: "the extents of the files", .. }),
        "{error:?}"
    );
}
