//! Sizes around every threshold, and holes.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use gonto_image::{NewContainer, NewImage, Place};

use crate::making::{CONTAINERS, Source, usual};
use crate::support::{distinct, find};

const MIB: usize = 1 << 20;
/// What a hole is made of.
const UNIT: u64 = 64 << 10;

#[test]
fn files_of_every_size_are_the_same_in_every_container() {
    let source = Source::new();
    // Around the largest content that a record holds, with one name of a few letters and with extended attributes.
    let sizes = [0, 1, 7, 8, 9, 511, 512, 513]
        .into_iter()
        .chain(600..780)
        .chain([1024, 4095, 4096, 4097, 8191, 8193, 65_535, 65_536, 65_537])
        .chain([MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 4095]);
    for size in sizes {
        source.write(format!("{size}"), distinct(size as u64, size));
    }
    for container in CONTAINERS {
        source.round_trip(&NewImage { container, ..usual() });
    }
}

/// Many small files make small clusters, a few big ones big clusters.
#[test]
fn clusters_of_every_size_hold_the_same() {
    for (count, size, cluster) in
        [(40, 700, 512), (64, 20_000, 512), (40, 70_000, 1024), (10, 40 * 4096 + 1800, 2048)]
    {
        let source = Source::new();
        for number in 0..count {
            source.write(format!("{number}"), distinct(number, size + 13 * usize::try_from(number).unwrap()));
        }
        source.folder("folder");
        let image = source.round_trip(&usual());
        assert_eq!(image.created.cluster, cluster, "{count} files of {size} bytes");
    }
    let source = Source::new();
    source.write("big", distinct(1, 5 * MIB));
    assert_eq!(source.round_trip(&usual()).created.cluster, 4096);
}

/// Makes a file with data at some places; all else is a hole where the host has holes.
fn sparse(path: &Path, size: u64, data: &[Data]) {
    let mut file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (at, length) in data {
        file.seek(SeekFrom::Start(*at)).unwrap();
        file.write_all(&distinct(*at, *length)).unwrap();
    }
}

/// Where data begin, and how many bytes there are.
type Data = (u64, usize);

/// Names, sizes and data of files that are small enough to be read at once.
const SPARSE: [(&str, u64, &[Data]); 11] = [
    ("zero", UNIT, &[]),
    ("zero and one", UNIT + 1, &[]),
    ("too small for a hole", UNIT - 1, &[]),
    ("zero and big", 3 * MIB as u64 + 5, &[]),
    ("data first", 10 * UNIT + 77, &[(0, 1)]),
    ("data last", 10 * UNIT + 77, &[(10 * UNIT + 70, 7)]),
    ("data in the middle", 3 * MIB as u64, &[(MIB as u64 + 5 * UNIT, 100)]),
    ("hole in the middle", 3 * MIB as u64, &[(0, 70_000), (3 * MIB as u64 - 1, 1)]),
    ("hole over the end of a piece", 2 * MIB as u64, &[(0, MIB - 65_536), (MIB as u64 + UNIT, MIB - 65_536)]),
    ("ends in half a unit", 2 * MIB as u64 + 20_000, &[(0, 1), (2 * MIB as u64, 20_000)]),
    ("no hole is a unit", MIB as u64, &[(30_000, 70_000), (135_000, MIB - 135_000)]),
];

#[test]
fn zeros_become_holes_wherever_they_are() {
    let source = Source::new();
    for (name, size, data) in SPARSE {
        sparse(&source.at(name), size, data);
    }
    for container in CONTAINERS {
        let image = source.round_trip(&NewImage { container, ..usual() });
        let tree = image.tree();
        let holes = |name: &str| {
            let file = find(&tree, name);
            let size = tree.node(file).size;
            let mut offset = 0;
            let mut holes = 0;
            while offset < size {
                let extent = tree.extent(file, offset);
                holes += if extent.place == Place::Zero { extent.length } else { 0 };
                offset += extent.length;
            }
            holes
        };
        assert_eq!(holes("zero"), UNIT);
        assert_eq!(holes("data first"), 9 * UNIT + 77);
        assert_eq!(holes("data in the middle"), 3 * MIB as u64 - UNIT);
        assert_eq!(holes("hole over the end of a piece"), 2 * UNIT);
        assert_eq!((holes("too small for a hole"), holes("no hole is a unit")), (0, 0));
    }
}

#[test]
fn files_beyond_4_gib_keep_their_holes() {
    let source = Source::new();
    let size = (5 << 30) + 1;
    let data = [(0, 5), ((4 << 30) - 3, 100_000), (size - 2, 2)];
    sparse(&source.at("big"), size, &data);
    let image = source.image(&usual());
    assert_eq!(crate::support::findings(image.bytes()), Vec::<String>::new());
    assert!(image.created.disk < 100 << 20, "{:?}", image.created);
    assert_eq!((image.created.content, image.created.stored), (size, 5 * UNIT + 1));
    let tree = image.tree();
    let file = find(&tree, "big");
    assert_eq!(tree.node(file).size, size);
    for (at, length) in data {
        // What lies around it is zero.
        let before = at.min(10);
        let mut expected = vec![0; usize::try_from(before).unwrap()];
        expected.extend(distinct(at, length));
        expected.extend([0; 10]);
        expected.truncate(usize::try_from((size - at + before).min(expected.len() as u64)).unwrap());
        let mut found = vec![1; expected.len()];
        assert_eq!(tree.read_at(file, &mut found, at - before).unwrap(), found.len());
        assert!(found == expected, "at {at}");
    }
}

/// More runs than one record holds, then more holes than a file is given: what is zero behind them is content, but for its end.
#[test]
fn holes_of_a_file_are_limited() {
    for (holes, kept) in [(100, 100), (700, 700), (10_100, 10_001)] {
        let source = Source::new();
        let data: Vec<Data> = (0..holes).map(|number| (number * 2 * UNIT, 1)).collect();
        sparse(&source.at("alternating"), holes * 2 * UNIT, &data);
        let image = source.image(&NewImage { container: NewContainer::FixedVhd, ..usual() });
        assert_eq!(crate::support::findings(image.bytes()), Vec::<String>::new());
        assert_eq!(image.created.stored, (2 * holes - kept) * UNIT);
        let tree = image.tree();
        let file = find(&tree, "alternating");
        for (at, length) in data.into_iter().step_by(101) {
            let mut found = [7; 100];
            tree.read_at(file, &mut found, at).unwrap();
            let mut expected = [0; 100];
            expected[..length].copy_from_slice(&distinct(at, length));
            assert_eq!(found, expected, "{holes} holes, at {at}");
            tree.read_at(file, &mut found, at + UNIT).unwrap();
            assert_eq!(found, [0; 100], "{holes} holes, behind {at}");
        }
    }
}

#[test]
fn holes_and_written_zeros_make_the_same_image() {
    let (holes, zeros) = (Source::new(), Source::new());
    let old = std::time::SystemTime::UNIX_EPOCH;
    for (name, size, data) in SPARSE {
        sparse(&holes.at(name), size, data);
        zeros.write(name, std::fs::read(holes.at(name)).unwrap());
        for source in [&holes, &zeros] {
            File::options().write(true).open(source.at(name)).unwrap().set_modified(old).unwrap();
        }
    }
    crate::reproducible::assert_same_bytes(&holes, &zeros);
}
