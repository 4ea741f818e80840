//! Copies that the file system makes itself, on file systems that are made for the purpose.

use std::process::Command;

use super::*;

/// A file system in a file, which is unmounted when this goes.
struct Mounted {
    folder: tempfile::TempDir,
}

impl Mounted {
    /// `None`, with a word about it, where that is not possible.
    fn new(kind: &str) -> Option<Self> {
        let known = fs::read_to_string("/proc/filesystems").unwrap();
        if !known.lines().any(|line| line.trim() == kind) {
            eprintln!("skipped: this kernel does not know {kind}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let [file, root] = ["file", "root"].map(|name| folder.path().join(name));
        // XFS needs 300 MiB.
        File::create(&file).unwrap().set_len(400 * MIB).unwrap();
        fs::create_dir(&root).unwrap();
        let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
            let output = Command::new(program).args(arguments).output();
            output.is_ok_and(|output| output.status.success())
        };
        if !run(&format!("mkfs.{kind}"), &["-q".as_ref(), file.as_ref()]) {
            eprintln!("skipped: there is no mkfs.{kind}");
            return None;
        }
        if !run("mount", &["-o".as_ref(), "loop".as_ref(), file.as_ref(), root.as_ref()]) {
            eprintln!("skipped: {kind} cannot be mounted here (it needs root and loop devices)");
            return None;
        }
        Some(Self { folder })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("root").join(name)
    }

    fn free(&self) -> u64 {
        let root = File::open(self.folder.path().join("root")).unwrap();
        rustix::fs::syncfs(&root).unwrap();
        let state = rustix::fs::fstatvfs(&root).unwrap();
        state.f_bfree * state.f_frsize
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a process that another test is just starting may hold our files for a moment.
        let done = Command::new("umount").arg("--lazy").arg(self.folder.path().join("root")).status();
        assert!(done.is_ok_and(|status| status.success()), "{:?} is still mounted", self.folder.path());
    }
}

/// A file with blocks of zeros in the middle, whose end is not that of a page.
fn source(path: &Path) -> Vec<u8> {
    let bytes = [distinct(1, 10 * MIB), vec![0; 11 * MIB as usize], distinct(2, 9 * MIB + 777)].concat();
    fs::write(path, &bytes).unwrap();
    bytes
}

#[test]
fn a_copy_shares_its_extents_and_makes_the_same_file() {
    for kind in ["btrfs", "xfs"] {
        let Some(mounted) = Mounted::new(kind) else { continue };
        let bytes = source(&mounted.path("source"));
        let source = File::open(mounted.path("source")).unwrap();
        for container in ALL {
            let free = mounted.free();
            let (copied, written) = (mounted.path("copied"), mounted.path("written"));
            let mut disk = DiskWriter::new(create(&copied), container, END + 100 * MIB).unwrap();
            assert!(disk.can_copy_from(&source));
            assert!(disk.copy_from(&source, 0, bytes.len() as u64, 20 * MIB + 4096).unwrap());
            // What does not begin with a page is copied as well, if not shared.
            assert!(disk.copy_from(&source, 5, 100_000, 70 * MIB + 4).unwrap());
            finish(disk, container);
            let used = free.saturating_sub(mounted.free());
            assert!(used < 4 * MIB, "{container:?} on {kind}: {used} bytes are not shared");
            let pieces = [(20 * MIB + 4096, bytes.clone()), (70 * MIB + 4, bytes[5..100_005].to_vec())];
            write(&written, container, &pieces);
            assert!(fs::read(&copied).unwrap() == fs::read(&written).unwrap(), "{container:?} on {kind}");
            fs::remove_file(copied).unwrap();
            fs::remove_file(written).unwrap();
        }
    }
}

#[test]
fn between_file_systems_nothing_is_copied_and_it_is_tried_once() {
    let (Some(mounted), Some(other)) = (Mounted::new("btrfs"), Mounted::new("btrfs")) else { return };
    let bytes = source(&other.path("source"));
    let source = File::open(other.path("source")).unwrap();
    for container in ALL {
        let path = mounted.path(&format!("{container:?}"));
        let mut disk = DiskWriter::new(create(&path), container, END + 100 * MIB).unwrap();
        assert!(disk.can_copy_from(&source));
        assert!(!disk.copy_from(&source, 0, bytes.len() as u64, 20 * MIB).unwrap());
        assert!(!disk.can_copy_from(&source));
        disk.write_at(&bytes, 20 * MIB).unwrap();
        finish(disk, container);
        let found = content(open(&path).disk().as_ref());
        assert!(found[20 * MIB as usize..][..bytes.len()] == bytes, "{container:?}");
    }
}

#[test]
fn a_source_that_has_become_shorter_is_an_error() {
    let Some(mounted) = Mounted::new("btrfs") else { return };
    let length = source(&mounted.path("source")).len() as u64;
    let source = File::open(mounted.path("source")).unwrap();
    let path = mounted.path("image");
    let mut disk = DiskWriter::new(create(&path), NewContainer::FixedVhd, END + 100 * MIB).unwrap();
    let error = disk.copy_from(&source, 100, length, 20 * MIB).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn where_nothing_is_shared_nothing_is_copied() {
    let Ok(source) = tempfile::tempfile_in("/dev/shm") else {
        eprintln!("skipped: there is no /dev/shm");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("image");
    let mut disk = DiskWriter::new(create(&path), NewContainer::FixedVhd, END).unwrap();
    assert!(!disk.can_copy_from(&source));
    assert!(!disk.copy_from(&source, 0, 10, 0).unwrap());
}
