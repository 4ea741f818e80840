//! Partition tables that sfdisk and sgdisk make here and now, and what they say of them themselves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gonto_image::partition::{Partition, PartitionKind, Role, Table, table};
use gonto_image::{ImageFile, Options, VirtualDisk};

const SIZE: u64 = 64 << 20;

/// Gives a script to sfdisk; `false` when it is missing.
fn sfdisk(disk: &Path, script: &str) -> bool {
    File::create(disk).unwrap().set_len(SIZE).unwrap();
    let started =
        Command::new("sfdisk").arg("-q").arg(disk).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let Ok(mut child) = started else { return false };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
    true
}

fn sgdisk(disk: &Path, arguments: &[&str]) -> bool {
    Command::new("sgdisk").args(arguments).arg(disk).output().is_ok_and(|output| output.status.success())
}

fn ours(disk: &Path) -> Table {
    let options = Options::default();
    let image = ImageFile::new(File::open(disk).unwrap()).unwrap();
    table(&VirtualDisk::open(Arc::new(image), &options).unwrap(), &options).unwrap()
}

/// A partition as a line of `sfdisk -d` tells it.
#[derive(Debug, PartialEq)]
struct Line {
    number: u32,
    start: u64,
    size: u64,
    kind: String,
    id: String,
    name: String,
    bootable: bool,
}

fn theirs(disk: &Path) -> Vec<Line> {
    let output = Command::new("sfdisk").arg("-d").arg(disk).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(disk.to_str().unwrap()));
    let line = |line: &str| {
        let (number, fields) = line.split_once(" : ").unwrap();
        let field = |name: &str| {
            let value = fields.split(&format!("{name}=")).nth(1).unwrap_or_default();
            value.split(',').next().unwrap().trim().trim_matches('"').to_lowercase()
        };
        let sectors = |name: &str| field(name).parse::<u64>().unwrap() * 512;
        Line {
            number: number.parse().unwrap(),
            start: sectors("start"),
            size: sectors("size"),
            kind: field("type"),
            id: field("uuid"),
            name: field("name"),
            bootable: fields.contains("bootable") || fields.contains("LegacyBIOSBootable"),
        }
    };
    // sfdisk lists the extended partition itself as well.
    lines.map(line).filter(|line| line.kind != "5").collect()
}

fn as_theirs(partition: &Partition) -> Line {
    Line {
        number: partition.number,
        start: partition.start,
        size: partition.size,
        kind: match partition.kind {
            PartitionKind::Guid(guid) => guid.to_string(),
            PartitionKind::Byte(byte) => format!("{byte:x}"),
        },
        id: partition.id.map(|id| id.to_string()).unwrap_or_default(),
        name: partition.name.to_lowercase(),
        bootable: partition.attributes & 4 != 0,
    }
}

fn assert_same(disk: &Path, name: &str) {
    let found = ours(disk);
    assert_eq!(found.name(), name);
    assert_eq!(found.irregularities(), []);
    assert_eq!(found.partitions().iter().map(as_theirs).collect::<Vec<_>>(), theirs(disk));
}

#[test]
fn tables_of_sfdisk_are_as_it_says() {
    let scratch = tempfile::tempdir().unwrap();
    let disk = scratch.path().join("disk");
    let scripts = [
        ("MBR", "label: dos\n,8M,7\n,8M,ef\n,,5\n,4M,7\n,5M,83\n,6M,7,*\n"),
        // The extended partition comes first, and its links are out of order.
        ("MBR", "label: dos\n4096,40M,5\n,8M,27,*\n;\n;\n8192,1M,7\n40960,1M,42\n20480,1M,17\n"),
        ("MBR", "label: dos\n4 : start=2048, size=8M, type=c\n"),
        ("GPT", "label: gpt\n,1M,U\nsize=2M, name=\"Basic data partition\", bootable\n,8M\n"),
        ("GPT", "label: gpt\ntable-length: 4\nsize=1M\n"),
        ("GPT", "label: gpt\n"),
    ];
    for (name, script) in scripts {
        if !sfdisk(&disk, script) {
            eprintln!("skipped: sfdisk is not installed");
            return;
        }
        assert_same(&disk, name);
    }
}

#[test]
fn tables_of_sgdisk_are_as_sfdisk_says() {
    let scratch = tempfile::tempdir().unwrap();
    let disk = scratch.path().join("disk");
    File::create(&disk).unwrap().set_len(SIZE).unwrap();
    let partitions = [
        "-S",
        "256",
        "-n",
        "1:0:+1M",
        "-t",
        "1:ef00",
        "-n",
        "2:0:+1M",
        "-t",
        "2:0c01",
        "-n",
        "5:0:+8M",
        "-t",
        "5:0700",
        "-c",
        "5:Data",
        "-A",
        "5:set:2",
        "-n",
        "200:0:+1M",
        "-t",
        "200:4202",
        "-n",
        "201:0:+1M",
        "-t",
        "201:4202",
    ];
    if !sgdisk(&disk, &partitions) {
        eprintln!("skipped: sgdisk is not installed");
        return;
    }
    assert_same(&disk, "GPT");
    let roles: Vec<_> = ours(&disk).partitions().iter().map(|partition| partition.role).collect();
    assert_eq!(roles[..3], [Role::EfiSystem, Role::MicrosoftReserved, Role::Data]);

    // Hybrid: partitions of the GPT that systems without one see as well.
    assert!(sgdisk(&disk, &["-h", "5"]));
    let hybrid = ours(&disk);
    assert_eq!((hybrid.name(), hybrid.partitions().len()), ("GPT", 5));
    assert_eq!(hybrid.irregularities().len(), 1);

    // On a disk that was made bigger, the backup is not at the end; the primary table is as good as ever.
    File::options().write(true).open(&disk).unwrap().set_len(SIZE * 2).unwrap();
    assert_eq!(ours(&disk).partitions(), hybrid.partitions());
}
