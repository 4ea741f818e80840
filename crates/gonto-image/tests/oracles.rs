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
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gonto_image::{Container, FileTree, ImageFile, Kind, Options, VirtualDisk};
use support::{content, everything, paths, sha256_of};

/// Runs a program quietly; `false` when it is missing or fails.
fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn open(image: &Path) -> FileTree {
    FileTree::open(Arc::new(ImageFile::new(File::open(image).unwrap()).unwrap())).unwrap()
}

/// A volume that ntfs-3g has mounted; it is unmounted when this goes.
struct Mounted<'a> {
    folder: &'a Path,
}

impl<'a> Mounted<'a> {
    fn new(volume: &Path, folder: &'a Path) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let mounted = run("ntfs-3g", &[volume.to_str().unwrap(), folder.to_str().unwrap()]);
        mounted.then_some(Self { folder })
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run("umount", &[self.folder.to_str().unwrap()]);
    }
}

/// Bytes that are the same nowhere else in the volume.
fn distinct(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(next).flat_map(u64::to_le_bytes).take(size).collect()
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

/// Every file below a folder of the host: path, size, time in units of 100 ns, links, content.
fn host_files(root: &Path) -> Vec<(String, u64, i128, u64, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
            let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
            files.push((relative, metadata.len(), nanos, metadata.nlink(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

/// The same of a tree.
fn tree_files(tree: &FileTree) -> Vec<(String, u64, i128, u64, Vec<u8>)> {
    let all = paths(tree).into_iter().filter(|(_, id)| tree.node(*id).kind == Kind::File);
    let describe = |(path, id)| {
        let node = tree.node(id);
        (path, node.size, node.modified.unix_nanos(), u64::from(node.links), content(tree, id).unwrap())
    };
    all.map(describe).collect()
}

#[test]
fn every_cluster_size_shows_what_ntfs_3g_wrote() {
    let scratch = tempfile::tempdir().unwrap();
    let (volume, folder) = (scratch.path().join("volume"), scratch.path().join("mounted"));
    for cluster_size in ["512", "1024", "4096", "16384", "65536"] {
        File::create(&volume).unwrap().set_len(64 << 20).unwrap();
        let arguments = ["-q", "-F", "-f", "-c", cluster_size, "-L", "Ünïcode", volume.to_str().unwrap()];
        if !run("mkntfs", &arguments) {
            eprintln!("skipped: mkntfs is not installed");
            return;
        }
        let Some(mounted) = Mounted::new(&volume, &folder) else {
            eprintln!("skipped: ntfs-3g cannot mount here (it needs root or an open /dev/fuse)");
            return;
        };
        fill(&folder);
        let theirs = host_files(&folder);
        drop(mounted);
        let tree = open(&volume);
        let ours = tree_files(&tree);
        let names = |files: &[(String, u64, i128, u64, Vec<u8>)]| -> Vec<String> {
            files.iter().map(|file| file.0.clone()).collect()
        };
        assert_eq!(names(&ours), names(&theirs), "clusters of {cluster_size}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(ours.4 == theirs.4, "clusters of {cluster_size}: other content in {}", ours.0);
            assert_eq!((ours.1, ours.2, ours.3), (theirs.1, theirs.2, theirs.3), "{}", ours.0);
        }
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
