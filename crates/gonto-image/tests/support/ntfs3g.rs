//! Volumes that mkntfs makes and ntfs-3g fills, and what ntfs-3g shows of them.

#![allow(
    dead_code,
    clippy::print_stderr,
    reason = "no test needs all of it; what cannot run is told to whoever runs the tests"
)]

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use gonto_image::{FileTree, ImageFile, Kind};
use tempfile::TempDir;

use super::content;

/// Runs a program quietly; `false` when it is missing or fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A volume in a file of its own, and a folder to mount it at.
pub(crate) struct Volume {
    scratch: TempDir,
}

impl Volume {
    /// Formats a volume; `None`, with a word about it, where there is no mkntfs.
    pub(crate) fn format(size: u64, arguments: &[&str]) -> Option<Self> {
        let volume = Self { scratch: tempfile::tempdir().unwrap() };
        File::create(volume.path()).unwrap().set_len(size).unwrap();
        let file = volume.path();
        let arguments = [&["-q", "-F", "-f"], arguments, &[file.to_str().unwrap()]].concat();
        if run("mkntfs", &arguments) {
            return Some(volume);
        }
        assert!(!run("mkntfs", &["--version"]), "mkntfs {arguments:?} fails");
        eprintln!("skipped: mkntfs is not installed");
        None
    }

    /// The volume's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().join("volume")
    }

    /// Mounts it; `None`, with a word about it, where that is not possible.
    pub(crate) fn mount(&self, options: &str) -> Option<Mounted> {
        Mounted::new(&self.path(), &self.scratch.path().join("mounted"), options)
    }

    /// The volume as we read it.
    pub(crate) fn tree(&self) -> FileTree {
        FileTree::open(Arc::new(ImageFile::new(File::open(self.path()).unwrap()).unwrap())).unwrap()
    }
}

/// A volume that ntfs-3g has mounted; it is unmounted when this goes.
pub(crate) struct Mounted {
    folder: PathBuf,
}

impl Mounted {
    /// Mounts a volume at a folder, which is made; `None`, with a word about it, where that is not possible.
    pub(crate) fn new(volume: &Path, folder: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        if run("ntfs-3g", &["-o", options, volume.to_str().unwrap(), folder.to_str().unwrap()]) {
            return Some(Self { folder: folder.into() });
        }
        eprintln!("skipped: ntfs-3g cannot mount here (it needs root or an open /dev/fuse)");
        None
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.folder.to_str().unwrap()]);
    }
}

/// One file, directory or link of a volume.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shown {
    /// From the root, with slashes.
    pub(crate) path: Vec<u8>,
    /// `d`, `f` or `l`.
    pub(crate) kind: char,
    pub(crate) links: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i128,
    /// Of a file.
    pub(crate) content: Vec<u8>,
}

/// All that ntfs-3g shows, sorted.
pub(crate) fn shown_by_ntfs_3g(mounted: &Mounted) -> Vec<Shown> {
    let root = mounted.folder();
    let mut shown = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let file_type = metadata.file_type();
            assert!(!file_type.is_fifo() && !file_type.is_socket(), "{path:?}");
            let kind = if metadata.is_dir() {
                'd'
            } else if metadata.is_symlink() {
                'l'
            } else {
                'f'
            };
            shown.push(Shown {
                path: path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(),
                kind,
                // ntfs-3g counts the folders in a folder as Unix does.
                links: if kind == 'd' { 1 } else { metadata.nlink() },
                modified: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
                content: if kind == 'f' { fs::read(&path).unwrap() } else { Vec::new() },
            });
            if kind == 'd' {
                folders.push(path);
            }
        }
    }
    shown.sort();
    shown
}

/// All that we show, sorted.
pub(crate) fn shown_by_us(tree: &FileTree) -> Vec<Shown> {
    let mut shown = Vec::new();
    let mut folders = vec![(Vec::new(), tree.root())];
    while let Some((folder, dir)) = folders.pop() {
        for (name, id) in tree.entries(dir).iter() {
            let node = tree.node(id);
            let path = [&folder, name].concat();
            let (kind, content) = match node.kind {
                Kind::Directory => ('d', Vec::new()),
                Kind::Symlink => ('l', Vec::new()),
                Kind::File => ('f', content(tree, id).unwrap()),
            };
            if kind == 'd' {
                folders.push(([&path[..], b"/"].concat(), id));
            }
            let links = u64::from(node.links);
            shown.push(Shown { path, kind, links, modified: node.modified.unix_nanos(), content });
        }
    }
    shown.sort();
    shown
}

/// Fails at the first difference and names it.
#[track_caller]
pub(crate) fn assert_same(ours: &[Shown], theirs: &[Shown], what: &str) {
    let path = |shown: &Shown| shown.path.escape_ascii().to_string();
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(path(ours), path(theirs), "{what}");
        assert!(ours.content == theirs.content, "{what}: other content in {}", path(ours));
        let facts = |shown: &Shown| (shown.kind, shown.links, shown.modified);
        assert_eq!(facts(ours), facts(theirs), "{what}: {}", path(ours));
    }
    assert_eq!(ours.len(), theirs.len(), "{what}: the lists differ in length");
}
