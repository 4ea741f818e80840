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
use std::path::Path;
use std::sync::Arc;

use gonto_image::{Container, FileTree, ImageFile, Options, VirtualDisk};
use support::ntfs3g::{Volume, assert_same, distinct, run, shown_by_ntfs_3g, shown_by_us};
use support::{everything, sha256_of};

fn open(image: &Path) -> FileTree {
    FileTree::open(Arc::new(ImageFile::new(File::open(image).unwrap()).unwrap())).unwrap()
}

/// Folders, files of many sizes, holes, a big directory, and the traces of deleted files.
fn fill(root: &Path) {
    fs::create_dir_all(root.join("many")).unwrap();
    for number in 0..5000 {
        fs::write(root.join(format!("many/entry number {number}")), format!("{number}")).unwrap();
    }
    // Deleting from the middle leaves blocks half empty, and some unused.
    for number in 1000..3000 {
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
    for cluster_size in ["512", "1024", "4096", "16384", "65536"] {
        let arguments = ["-c", cluster_size, "-L", "Ünïcode"];
        let Some(volume) = Volume::format(64 << 20, &arguments) else { return };
        let Some(mounted) = volume.mount("rw") else { return };
        fill(mounted.folder());
        let theirs = shown_by_ntfs_3g(&mounted);
        drop(mounted);
        let tree = volume.tree();
        assert_same(&shown_by_us(&tree), &theirs, &format!("clusters of {cluster_size}"));
        assert_eq!(tree.label(), "Ünïcode");
        assert_eq!(tree.notes(), []);
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
