//! Attributes of DOS, where drivers of NTFS tell them.

use std::process::{Command, Stdio};

use rustix::fs::{XattrFlags, setxattr};

use super::*;

fn run(program: &str, arguments: &[&Path]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Unmounted when it goes.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run("umount", &[self.0]);
    }
}

#[test]
fn attributes_of_dos_come_from_a_volume_of_ntfs() {
    let scratch = tempfile::tempdir().unwrap();
    let (volume, folder) = (scratch.path().join("volume"), scratch.path().join("mounted"));
    File::create(&volume).unwrap().set_len(4 << 20).unwrap();
    fs::create_dir(&folder).unwrap();
    let made = run("mkntfs", &["-q".as_ref(), "-F".as_ref(), "-f".as_ref(), &volume]);
    if !(made && run("ntfs-3g", &[&volume, &folder])) {
        println!("skipped: mkntfs and ntfs-3g, root or an open /dev/fuse are needed");
        return;
    }
    let mounted = Mounted(&folder);
    fs::create_dir(folder.join("hidden")).unwrap();
    for (path, attributes) in [("hidden/file", 0x21_u32), ("hidden", 0x2), ("plain", 0)] {
        if path != "hidden" {
            fs::write(folder.join(path), path).unwrap();
        }
        let value = attributes.to_ne_bytes();
        setxattr(folder.join(path), c"system.ntfs_attrib", &value, XattrFlags::empty()).unwrap();
    }
    let tree = walk(&Folder::open(&folder).unwrap(), &ANYTHING).unwrap();
    drop(mounted);
    let dos = ["hidden", "hidden/file", "plain"].map(|path| inode(&tree, path).dos);
    assert_eq!(dos, [0x2, 0x21, 0]);
}

#[test]
fn other_file_systems_have_none() {
    let source = Source::new();
    source.file("file");
    assert_eq!(inode(&source.tree(), "file").dos, 0);
}
