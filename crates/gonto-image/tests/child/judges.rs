//! Other software reads children as we do, and finds their tables sound.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Stdio};

use gonto_image::partition::DiskId;
use gptman::GPT;

#[cfg(target_os = "linux")]
use crate::family::ABSOLUTE;
use crate::family::{CONTAINERS, Image, created, flattened};
#[cfg(target_os = "linux")]
use crate::support::ntfs3g::run;

/// What a program tells; `None`, with a word about it, where it is not installed.
fn output(program: &str, arguments: &[&str], file: &Path) -> Option<String> {
    let Ok(output) = Command::new(program).args(arguments).arg(file).stdin(Stdio::null()).output() else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
    Some(told)
}

/// Both copies of the table hold, each read without the other one.
#[test]
fn gptman_reads_both_copies() {
    for container in CONTAINERS {
        let (_scratch, path) = created(container, 0);
        let born = Image::at(&path).child(3);
        let disk = flattened(born.image.disk().disk().as_ref());
        for damage in [512..1024, disk.len() - 512..disk.len()] {
            let mut disk = disk.clone();
            disk[damage].fill(0);
            let gpt = GPT::find_from(&mut Cursor::new(disk)).unwrap();
            let DiskId::Guid(id) = born.child.disk_id else { panic!("it has a GPT") };
            assert_eq!(gpt.header.disk_guid, id.to_bytes());
            let found: Vec<_> = gpt.iter().filter(|(_, entry)| entry.is_used()).collect();
            let [(1, entry)] = found[..] else { panic!("one partition") };
            assert_eq!(entry.unique_partition_guid, born.child.partition.id.unwrap().to_bytes());
            assert_eq!(entry.starting_lba * 512, born.child.partition.start);
            assert_eq!(entry.size().unwrap() * 512, born.child.partition.size);
        }
    }
}

#[test]
fn sgdisk_finds_nothing_to_complain_about() {
    for container in CONTAINERS {
        let (scratch, path) = created(container, 0);
        let born = Image::at(&path).child(3);
        let raw = scratch.path().join("raw");
        fs::write(&raw, flattened(born.image.disk().disk().as_ref())).unwrap();
        let Some(told) = output("sgdisk", &["-v"], &raw) else { return };
        assert!(told.contains("No problems found"), "{container:?}: {told}");
    }
}

/// It finds the parent by the path that the child has, under the name at its end.
#[cfg(target_os = "linux")]
#[test]
fn libvhdi_reads_the_same_bytes() {
    for container in CONTAINERS {
        let (scratch, path) = created(container, 0);
        let born = Image::at(&path).child(3);
        let child = scratch.path().join("child");
        fs::copy(&born.path, &child).unwrap();
        let Some(told) = output("vhdiinfo", &[], &child) else { return };
        let disk = born.image.disk();
        for expected in ["Differential", &format!("({} bytes)", disk.disk().size()), ABSOLUTE] {
            assert!(told.contains(expected), "{container:?}: no {expected:?} in {told}");
        }
        let folder = scratch.path().join("mounted");
        fs::create_dir(&folder).unwrap();
        if !run("vhdimount", &[child.to_str().unwrap(), folder.to_str().unwrap()]) {
            eprintln!("skipped: vhdimount cannot mount here (it needs root or an open /dev/fuse)");
            return;
        }
        // The first one is the parent.
        let theirs = fs::read(folder.join("vhdi2"));
        assert!(run("umount", &[folder.to_str().unwrap()]));
        assert!(
            theirs.unwrap() == flattened(disk.disk().as_ref()),
            "{container:?}: libvhdi reads another disk"
        );
    }
}
