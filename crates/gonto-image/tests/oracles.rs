//! Volumes that other programs make here and now: mkntfs and ntfs-3g fill them, qemu-img wraps them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]
#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use gonto_image::{Container, FileTree, ImageFile, Options, Place, ReadAt, VirtualDisk};
use support::distinct;
use support::ntfs3g::{Volume, assert_same, run, shown_by_ntfs_3g, shown_by_us};
use support::{everything, sha256_of};

fn open(image: &Path) -> FileTree {
    FileTree::open(Arc::new(ImageFile::new(File::open(image).unwrap()).unwrap())).unwrap()
}

/// Folders, files of many sizes, holes, a big directory, and the traces of deleted files.
fn fill(root: &Path, many: u32) {
    fs::create_dir_all(root.join("many")).unwrap();
    for number in 0..many {
        fs::write(root.join(format!("many/entry number {number}")), format!("{number}")).unwrap();
    }
    // Deleting from the middle leaves blocks half empty, and some unused.
    for number in many / 5..many * 3 / 5 {
        fs::remove_file(root.join(format!("many/entry number {number}"))).unwrap();
    }
    for (number, size) in
        [1, 511, 512, 513, 700, 4095, 4096, 4097, 65_535, 65_537, 300_000].into_iter().enumerate()
    {
        let folder = root.join(format!("sizes/{}", number % 3));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{size} bytes")), distinct(size as u64, size)).unwrap();
    }
    let mut sparse = File::create(root.join("sparse")).unwrap();
    for start in (0..3_000_000).step_by(400_000) {
        sparse.seek(SeekFrom::Start(start)).unwrap();
        sparse.write_all(&distinct(start, 70_000)).unwrap();
    }
    sparse.set_len(3_500_000).unwrap();
    let mut fragmented = File::create(root.join("fragmented")).unwrap();
    for first in [0, 65_536] {
        for start in (first..4_000_000).step_by(131_072) {
            fragmented.seek(SeekFrom::Start(start)).unwrap();
            fragmented.write_all(&distinct(start, 65_536)).unwrap();
        }
    }
    fs::hard_link(root.join("sparse"), root.join("many/the same")).unwrap();
}

#[test]
fn every_cluster_size_shows_what_ntfs_3g_wrote() {
    for (sector_size, cluster_size, mebibytes) in [
        ("512", "512", 64),
        ("256", "1024", 64),
        ("512", "4096", 64),
        ("4096", "4096", 64),
        ("2048", "16384", 64),
        ("512", "65536", 64),
        ("4096", "2097152", 8 << 10),
    ] {
        let arguments = ["-s", sector_size, "-c", cluster_size, "-L", "Ünïcode"];
        let Some(volume) = Volume::format(mebibytes << 20, &arguments) else { return };
        let Some(mounted) = volume.mount("rw") else { return };
        // Each change of a directory costs ntfs-3g a whole cluster.
        fill(mounted.folder(), if mebibytes == 64 { 5000 } else { 500 });
        let theirs = shown_by_ntfs_3g(&mounted);
        drop(mounted);
        let tree = volume.tree();
        assert_same(&shown_by_us(&tree), &theirs, &format!("clusters of {cluster_size}"));
        assert_eq!(tree.label(), "Ünïcode");
        assert_eq!(tree.notes(), []);
        let found = support::findings(Arc::new(ImageFile::new(File::open(volume.path()).unwrap()).unwrap()));
        // Where sectors have 256 bytes, mkntfs writes the backup of the boot sector to a place inside the volume.
        let expected = usize::from(sector_size == "256");
        assert!(found.iter().filter(|found| found.contains("backup of the boot sector")).count() == expected);
        assert_eq!(found.len(), expected, "{found:?}");
    }
}

#[test]
fn what_qemu_wraps_is_the_same_disk() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_string();
    fs::write(path("everything.vhd"), everything()).unwrap();
    let disk = support::disk(Arc::new(everything()));
    let hash = sha256_of(disk.as_ref()).unwrap();
    let convert = |from: &str, source: &str, to: &str, options: &str, target: &str| {
        run("qemu-img", &["convert", "-f", from, "-O", to, "-o", options, &path(source), &path(target)])
    };
    if !convert("vpc", "everything.vhd", "raw", "size=5242880", "disk.raw") {
        eprintln!("skipped: qemu-img is not installed");
        return;
    }
    let raw = ImageFile::new(File::open(path("disk.raw")).unwrap()).unwrap();
    assert_eq!(sha256_of(&raw).unwrap(), hash, "qemu-img reads another disk than we do");
    for (subformat, expected) in [("fixed", Container::FixedVhd), ("dynamic", Container::DynamicVhd)] {
        let options = format!("subformat={subformat},force_size=on");
        assert!(convert("raw", "disk.raw", "vpc", &options, "wrapped.vhd"));
        let wrapped = ImageFile::new(File::open(path("wrapped.vhd")).unwrap()).unwrap();
        let opened = VirtualDisk::open(Arc::new(wrapped), &Options::default()).unwrap();
        let (container, disk) = (opened.container(), opened.disk());
        assert_eq!((container, sha256_of(disk.as_ref()).unwrap()), (expected, hash.clone()));
        assert_eq!(open(Path::new(&path("wrapped.vhd"))).label(), "Everything");
    }
}

/// A disk with random pieces of content, and holes between them.
fn random_disk(seed: u64, path: &str) -> u64 {
    let mut numbers = distinct(seed, 4096).into_iter().cycle().map(u64::from);
    let mut below = |limit: u64| {
        let number = (0..4).fold(0u64, |number, _| number << 8 | numbers.next().unwrap());
        number % limit
    };
    // No block ends where the disk ends.
    let size = (2048 + below(20_000)) * 512;
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for piece in 0..8 {
        let length = below(3000) * 100 + 1;
        let content = distinct(seed + piece, usize::try_from(length).unwrap());
        let place = below(size - length.min(size - 1));
        let length = content.len().min(usize::try_from(size - place).unwrap());
        file.write_all_at(&content[..length], place).unwrap();
    }
    size
}

/// Formats of qemu-img with their options.
const WRAPPINGS: [(&str, &str, Container); 8] = [
    ("vpc", "subformat=fixed,force_size=on", Container::FixedVhd),
    ("vpc", "subformat=dynamic,force_size=on", Container::DynamicVhd),
    ("vhdx", "subformat=fixed,block_size=1M", Container::FixedVhdx),
    ("vhdx", "subformat=fixed,block_size=256M", Container::FixedVhdx),
    ("vhdx", "subformat=dynamic,block_size=1M", Container::DynamicVhdx),
    ("vhdx", "subformat=dynamic,block_size=2M,log_size=4M", Container::DynamicVhdx),
    ("vhdx", "subformat=dynamic,block_size=32M,block_state_zero=off", Container::DynamicVhdx),
    ("vhdx", "subformat=dynamic,block_size=256M", Container::DynamicVhdx),
];

#[test]
fn random_disks_come_back_out_of_what_qemu_wraps_them_in() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_string();
    for seed in 1..4 {
        let size = random_disk(seed, &path("disk"));
        let disk = fs::read(path("disk")).unwrap();
        for (format, options, expected) in WRAPPINGS {
            let what = format!("{format} with {options}, seed {seed}");
            let arguments =
                ["convert", "-f", "raw", "-O", format, "-o", options, &path("disk"), &path("wrapped")];
            if !run("qemu-img", &arguments) {
                assert!(!run("qemu-img", &["--version"]), "qemu-img makes no {what}");
                eprintln!("skipped: qemu-img is not installed");
                return;
            }
            let file = Arc::new(ImageFile::new(File::open(path("wrapped")).unwrap()).unwrap());
            let opened = VirtualDisk::open(file.clone(), &Options::default()).unwrap();
            assert_eq!((opened.container(), opened.disk().size()), (expected, size), "{what}");
            assert_same_bytes(opened.disk().as_ref(), &disk, seed, &what);
            assert_extents(opened.disk().as_ref(), file.as_ref(), &disk, &what);
        }
    }
}

/// Reads at random places, of random lengths.
fn assert_same_bytes(disk: &dyn ReadAt, expected: &[u8], seed: u64, what: &str) {
    let mut whole = vec![0xaa; expected.len()];
    disk.read_at(&mut whole, 0).unwrap();
    assert!(whole == expected, "{what}");
    for place in distinct(seed + 77, 800).chunks(8) {
        let number = usize::from(place[0]) << 16 | usize::from(place[1]) << 8 | usize::from(place[2]);
        let at = number % expected.len();
        let length = ((usize::from(place[3]) << 8 | usize::from(place[4])) + 1).min(expected.len() - at);
        let mut found = vec![0xaa; length];
        disk.read_at(&mut found, at as u64).unwrap();
        assert!(found == expected[at..at + length], "{what}: {length} bytes at {at}");
    }
}

/// What the file holds where the extents say that it does is the disk.
fn assert_extents(disk: &dyn ReadAt, file: &dyn ReadAt, expected: &[u8], what: &str) {
    let mut at = 0;
    while at < disk.size() {
        let extent = disk.extent(at);
        assert!(extent.length > 0 && extent.length <= disk.size() - at, "{what}: {extent:?} at {at}");
        let start = usize::try_from(at).unwrap();
        let mut found = vec![0; usize::try_from(extent.length).unwrap()];
        match extent.place {
            Place::Image { layer, offset } => {
                assert_eq!(layer, 0);
                file.read_at(&mut found, offset).unwrap();
            }
            Place::Zero => {}
            Place::Derived => panic!("{what}: nothing in it is encoded"),
        }
        assert!(found == expected[start..start + found.len()], "{what}: the extent at {at}");
        at += extent.length;
    }
}
