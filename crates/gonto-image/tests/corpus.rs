//! Images that other software made, held against manifests that other readers made of them.
//!
//! The folder is named by `GONTO_CORPUS`; its README says what the files are. Each test goes through all images of its kind.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gonto_image::partition::{Partition, PartitionKind, table};
use gonto_image::{
    Error, FileTree, ImageFile, Kind, NodeId, Options, Place, ReadAt, Reason, VirtualDisk, Volume, verify,
};
use support::corpus::{Listed, beside, corpus, is_ours, layers, load};
use support::{paths, sha256, sha256_of};

/// `path<TAB>size<TAB>sha256<TAB>mtime`, with `\\`, `\t` and `\n` escaped.
fn manifest(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.replace("\\\\", "\\")).collect()
}

/// The files of a tree, as a manifest has them. Content that is told to be unreadable counts as `unreadable`.
fn files(tree: &FileTree) -> Vec<String> {
    let line = |(path, id): &(String, NodeId)| {
        let node = tree.node(*id);
        let hash = match sha256(tree, *id) {
            Ok(hash) => hash,
            Err(error) => {
                let noted = tree.notes().iter().any(|note| error.to_string() == note.to_string());
                assert!(noted, "no note tells of {error}");
                "unreadable".into()
            }
        };
        format!("{path}\t{}\t{hash}\t{}", node.size, node.modified.unix_nanos())
    };
    let all = paths(tree);
    all.iter().filter(|(_, id)| tree.node(*id).kind == Kind::File).map(line).collect()
}

/// Compares line by line; where ours is unreadable the hash is not compared.
fn compare(name: &str, ours: &[String], theirs: &[String]) -> usize {
    let mut unreadable = 0;
    let path = |line: &String| line.split('\t').next().unwrap().to_string();
    let (ours_paths, theirs_paths): (Vec<_>, Vec<_>) =
        (ours.iter().map(path).collect(), theirs.iter().map(path).collect());
    assert_eq!(ours_paths, theirs_paths, "{name}: other files");
    for (ours, theirs) in ours.iter().zip(theirs) {
        if ours.contains("\tunreadable\t") {
            unreadable += 1;
            let field = |line: &str, n: usize| line.split('\t').nth(n).unwrap().to_string();
            assert_eq!(
                (field(ours, 1), field(ours, 3)),
                (field(theirs, 1), field(theirs, 3)),
                "{name}: {ours}"
            );
        } else {
            assert_eq!(ours, theirs, "{name}");
        }
    }
    unreadable
}

#[test]
fn every_volume_equals_what_others_read() {
    let Some((folder, images)) = corpus() else { return };
    let (mut volumes, mut all_streams, mut all_links) = (0, 0, 0);
    for image in images.iter().filter(|image| is_ours(image) && image.filesystem.starts_with("NTFS")) {
        let (bytes, options) = (load(&folder, image), beside(&folder, image));
        let tree = FileTree::open_with(bytes.clone(), &options)
            .unwrap_or_else(|error| panic!("{}: {error:?}", image.name));
        let listed = |table: &str| {
            let table = folder.join(format!("{}.{table}.tsv", image.name));
            if table.exists() { manifest(&table) } else { Vec::new() }
        };
        let unreadable = compare(&image.name, &files(&tree), &listed("manifest"));
        let expected = match image.name.as_str() {
            "dissect/ntfs-cloud.raw" => 1,
            _ => 0,
        };
        assert_eq!(unreadable, expected, "{}: {:?}", image.name, tree.notes());
        let streams = streams(&tree);
        assert_eq!(streams, listed("streams"), "{}", image.name);
        let links = links(&tree);
        let mut theirs = listed("links");
        theirs.retain(|line| !line.contains("\tntfs-3g-only "));
        assert_eq!(links, theirs, "{}", image.name);
        check_extents(&tree, bytes, &options, &folder.join(&image.stored_as));
        (volumes, all_streams, all_links) =
            (volumes + 1, all_streams + streams.len(), all_links + links.len());
    }
    assert!(volumes >= 15 && all_streams >= 11 && all_links >= 18, "only {volumes} images were found");
}

/// `path:stream<TAB>size<TAB>sha256`.
fn streams(tree: &FileTree) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, id) in paths(tree) {
        for (index, stream) in tree.streams(id).enumerate() {
            let name = String::from_utf8_lossy(stream.name);
            let mut content = vec![0; usize::try_from(stream.size).unwrap() + 1];
            let count = tree.read_stream_at(id, index, &mut content, 0).unwrap();
            assert_eq!(count as u64, stream.size, "{path}:{name}");
            content.truncate(count);
            lines.push(format!("{path}:{name}\t{count}\t{}", sha256_of(&content).unwrap()));
        }
    }
    lines.sort();
    lines
}

/// Reparse points: `path<TAB>tag target`.
fn links(tree: &FileTree) -> Vec<String> {
    let line = |(path, id): &(String, NodeId)| {
        let target = tree.windows_target(*id).map_or("None".into(), String::from_utf8_lossy);
        tree.reparse_tag(*id).map(|tag| format!("{path}\t{tag:#010x} {target}"))
    };
    paths(tree).iter().filter_map(line).collect()
}

fn check_extents(tree: &FileTree, image: Arc<dyn ReadAt>, options: &Options, stored_as: &Path) {
    let layers = layers(image, options, stored_as);
    let layers: Vec<&dyn ReadAt> = layers.iter().map(AsRef::as_ref).collect();
    support::check_extents(tree, &layers);
}

#[test]
fn links_point_to_what_they_pointed_to_on_windows() {
    let Some((folder, images)) = corpus() else { return };
    let target = |name: &str, path: &str| {
        let image = images.iter().find(|image| image.name == name).unwrap();
        let tree = FileTree::open(load(&folder, image)).unwrap();
        let (_, id) = paths(&tree).into_iter().find(|(found, _)| found == path).unwrap();
        assert_eq!(tree.node(id).kind, Kind::Symlink, "{name}: {path}");
        assert_eq!(tree.node(id).size, tree.link_target(id).len() as u64);
        String::from_utf8(tree.link_target(id).to_vec()).unwrap()
    };
    assert_eq!(target("dfvfs/ntfs-fixed.vhd", "a_link"), "a_directory/another_file");
    assert_eq!(target("dfvfs/ntfs-dynamic.vhd", "a_link"), "a_directory/another_file");
    assert_eq!(target("dfimagetools/ntfs.vhd", "directory_junction1"), "testdir1");
    assert_eq!(target("dfimagetools/ntfs.vhd", "directory_symboliclink1"), "testdir1");
    assert_eq!(target("dfimagetools/ntfs.vhd", "file_symboliclink1"), "testdir1/testfile1");
    // Written by Linux, as an absolute path of Linux.
    let of_linux = target("syzkaller/ntfs3_4.raw", "file0/file1");
    assert!(of_linux.starts_with('/') && of_linux.ends_with("/file0/file0"), "{of_linux}");
}

#[test]
fn hard_links_are_one_node() {
    let Some((folder, images)) = corpus() else { return };
    let image = images.iter().find(|image| image.name == "dfir_ntfs/ntfs3_attrlist.raw").unwrap();
    let tree = FileTree::open(load(&folder, image)).unwrap();
    let nodes: Vec<NodeId> = paths(&tree).into_iter().map(|(_, id)| id).collect();
    assert_eq!(nodes.len(), 100);
    assert!(nodes.iter().all(|id| *id == nodes[0]));
    assert_eq!(tree.node(nodes[0]).links, 100);
}

#[test]
fn virtual_disks_are_what_a_guest_sees() {
    let Some((folder, images)) = corpus() else { return };
    let mut seen = 0;
    let has_hash = |image: &&Listed| image.format != "raw" && image.disk_hash.len() >= 64;
    for image in images.iter().filter(has_hash) {
        let damaged = matches!(&*image.name, "dfvfs/image.vhd" | "dfvfs/image-differential.vhd");
        let options = beside(&folder, image);
        if damaged {
            let error = VirtualDisk::open(load(&folder, image), &options).err().unwrap();
            assert!(matches!(&error, Error::Checksum { what: "VHD's footer", .. }), "{error:?}");
        }
        let options = Options { ignore_checksums: damaged, ..options };
        let opened = VirtualDisk::open(load(&folder, image), &options)
            .unwrap_or_else(|error| panic!("{}: {error:?}", image.name));
        // Where the log has to be replayed, the index has the hashes from before and after.
        let expected = image.disk_hash.rsplit(' ').next().unwrap();
        assert_eq!(sha256_of(opened.disk().as_ref()).unwrap(), expected, "{}", image.name);
        let remarkable = damaged || expected != image.disk_hash;
        assert_eq!(opened.irregularities().count() > 0, remarkable, "{}", image.name);
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} disks were found");
}

#[test]
fn the_extents_of_a_chain_lead_to_the_bytes_in_its_files() {
    let Some((folder, images)) = corpus() else { return };
    let image = |name: &str| images.iter().find(|image| image.name == name).unwrap();
    let (child, parent) = (image("dfvfs/ntfs-differential.vhd"), image("dfvfs/ntfs-parent.vhd"));
    let files = [load(&folder, child), load(&folder, parent)];
    let disk = VirtualDisk::open(files[0].clone(), &beside(&folder, child)).unwrap();
    assert_eq!(disk.layers()[1].name, "ntfs-parent.vhd");
    let (mut offset, mut bytes_in) = (0, [0, 0]);
    while offset < disk.disk().size() {
        let extent = disk.disk().extent(offset);
        let Place::Image { layer, offset: at } = extent.place else { panic!("{extent:?}") };
        let length = usize::try_from(extent.length).unwrap();
        let (mut through, mut direct) = (vec![0; length], vec![0; length]);
        disk.disk().read_at(&mut through, offset).unwrap();
        files[layer as usize].read_at(&mut direct, at).unwrap();
        assert!(through == direct, "{extent:?}");
        bytes_in[layer as usize] += extent.length;
        offset += extent.length;
    }
    assert!(bytes_in.iter().all(|bytes| *bytes > 10_000), "{bytes_in:?}");
}

/// Virtual PC and QEMU count cylinders; Windows and these lists do not.
#[test]
fn disks_are_as_big_as_windows_shows_them() {
    let Some((folder, images)) = corpus() else { return };
    let mut seen = 0;
    for image in images.iter().filter(|image| matches!(&*image.format, "vpc" | "vhdx")) {
        let options = Options { ignore_checksums: true, ..beside(&folder, image) };
        // The parent of one of them is nowhere.
        let Ok(opened) = VirtualDisk::open(load(&folder, image), &options) else { continue };
        assert_eq!(opened.disk().size(), image.disk_size, "{}", image.name);
        assert_eq!(opened.layers()[0].disk_size, image.disk_size, "{}", image.name);
        seen += 1;
    }
    assert!(seen >= 18, "only {seen} disks were found");
}

/// What is no NTFS, is damaged or is not read yet: the words that its error has to hold.
const REFUSED: [(&str, &str); 20] = [
    ("dfvfs/ntfs-differential.vhd", "was not found: looked for .\\ntfs-parent.vhd (none there), C:"),
    ("dfvfs/image.vhd", "the VHD's footer"),
    ("dfvfs/image-differential.vhd", "the VHD's footer"),
    (
        "dfvfs/ntfs-differential.vhdx",
        "identity 7584f8fb-36d3-4091-afb5-b1afe587bfa8, was not found: looked for .\\ntfs-",
    ),
    ("dissect/differencing.avhdx", "_49C4BAF3-4B25-4406-8C4B-D39E65C32385.avhdx (none there)"),
    ("dfvfs/fat-parent.vhdx", "the file system FAT is not read"),
    ("discutils/btrfs.vhdx", "the file system btrfs is not read"),
    ("qemu/iotest-dynamic-1G.vhdx", "no NTFS volume"),
    ("dfvfs/fat-parent.vhd", "the file system FAT is not read"),
    ("dfvfs/ext2.vhd", "ext2/3/4"),
    ("util-linux/bitlocker-win7.raw", "BitLocker"),
    ("dfvfs/mbr.raw", "ext2/3/4"),
    ("dfvfs/gpt.raw", "ext2/3/4"),
    ("dfir_ntfs/mbr-win-512.raw", "MBR with 7 partitions, none of them with a file system that is known"),
    ("dfir_ntfs/gpt-512-0p.raw", "GPT and no partition was found"),
    ("dfir_ntfs/gpt-512-3p.raw", "no NTFS volume"),
    ("qemu/hyperv2012r2-dynamic.vhd", "blocks of the dynamic VHD is present, so that it is empty"),
    ("qemu/virtualpc-dynamic.vhd", "no NTFS volume"),
    ("dissect/gpt.bin", "inside the disk"),
    ("gptman/disk2-4k.raw", "no NTFS volume"),
];

#[test]
fn what_cannot_be_shown_is_refused_by_name() {
    let Some((folder, images)) = corpus() else { return };
    for (name, words) in REFUSED {
        let image = images.iter().find(|image| image.name == name).unwrap();
        match FileTree::open(load(&folder, image)) {
            Ok(tree) => panic!("{name}: opened as {tree:?}"),
            Err(error) => assert!(error.to_string().contains(words), "{name}: {error}"),
        }
    }
}

/// `X.parts.tsv`: number, start and size in sectors.
#[test]
fn partition_tables_equal_what_sfdisk_tells() {
    let Some((folder, images)) = corpus() else { return };
    let mut seen = 0;
    for image in images.iter().filter(|image| is_ours(image)) {
        let Ok(parts) = fs::read_to_string(folder.join(format!("{}.parts.tsv", image.name))) else {
            continue;
        };
        let sector: u64 =
            parts.split("sectorsize=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let number = |field: &str| field.parse::<u64>().unwrap();
        let mut theirs: Vec<(u64, u64, u64, String)> = parts
            .lines()
            .skip(2)
            .map(|line| line.split('\t').collect::<Vec<_>>())
            // sfdisk lists the extended partition itself as well.
            .filter(|field| !matches!(field[3], "5" | "f"))
            .map(|field| {
                let place = (number(field[1]) * sector, number(field[2]) * sector);
                // Type, identity and name, as far as there are any.
                let told = field[3..6].join(" ").trim_end().to_lowercase();
                (number(field[0]), place.0, place.1, told)
            })
            .collect();
        theirs.sort_unstable();
        let options = Options { ignore_checksums: true, ..beside(&folder, image) };
        let opened = VirtualDisk::open(load(&folder, image), &options).unwrap();
        let found = table(&opened, &options).unwrap_or_else(|error| panic!("{}: {error}", image.name));
        let told = |partition: &Partition| {
            let told = match (partition.kind, partition.id) {
                (PartitionKind::Guid(kind), Some(id)) => format!("{kind} {id} {}", partition.name),
                (PartitionKind::Byte(kind), _) => format!("{kind:x}"),
                (kind, None) => kind.to_string(),
            };
            told.trim_end().to_lowercase()
        };
        let mut ours: Vec<(u64, u64, u64, String)> =
            found.partitions().iter().map(|p| (u64::from(p.number), p.start, p.size, told(p))).collect();
        ours.sort_unstable();
        assert_eq!(ours, theirs, "{} ({})", image.name, image.partition_table);
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} tables were found");
}

#[test]
fn a_disk_with_two_volumes_shows_the_first() {
    let Some((folder, images)) = corpus() else { return };
    let image = images.iter().find(|image| image.name.contains("vss_3_volstor")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar")
        .arg("xSzf")
        .arg(folder.join(&image.stored_as))
        .arg("-C")
        .arg(scratch.path())
        .status();
    if !unpacked.is_ok_and(|status| status.success()) {
        eprintln!("skipped: tar cannot unpack the sparse archive here");
        return;
    }
    let file = fs::read_dir(scratch.path()).unwrap().next().unwrap().unwrap().path();
    let tree = FileTree::open(Arc::new(ImageFile::new(File::open(file).unwrap()).unwrap())).unwrap();
    let theirs = manifest(&folder.join(format!("{}.p1.manifest.tsv", image.stored_as)));
    assert_eq!(compare(&image.name, &files(&tree), &theirs), 0);
}

#[test]
fn only_a_volume_that_was_in_use_is_noted_as_a_whole() {
    let Some((folder, images)) = corpus() else { return };
    for image in images.iter().filter(|image| is_ours(image) && image.filesystem.starts_with("NTFS")) {
        let tree = FileTree::open_with(load(&folder, image), &beside(&folder, image)).unwrap();
        let of_volume = tree.notes().iter().filter(|note| note.path.is_empty());
        let reasons: Vec<Reason> = of_volume.map(|note| note.reason).collect();
        // Copied from a running Windows.
        let expected = if image.name == "dissect/ntfs-cloud.raw" { &[Reason::UncleanLog][..] } else { &[] };
        assert_eq!(reasons, expected, "{}", image.name);
    }
}

/// What verifying finds in images that other software made: each of these is true.
const FOUND: [(&str, &str, &str); 4] = [
    ("dfir_ntfs/ntfs3.raw", "error", "(test/1.txt): its name is not in the index of its folder, record 27"),
    ("dfir_ntfs/ntfs3.raw", "warning", "1 file that no path leads to, the first in record 28"),
    ("dissect/ntfs-cloud.raw", "warning", "the volume was in use when it was copied"),
    ("syzkaller/ntfs_0.raw", "warning", "there is no backup of the boot sector at byte 0x1ffe00"),
];

#[test]
fn verifying_finds_what_is_wrong_and_nothing_else() {
    let Some((folder, images)) = corpus() else { return };
    let mut seen = 0;
    for image in images.iter().filter(|image| is_ours(image) && image.filesystem.starts_with("NTFS")) {
        let options = beside(&folder, image);
        let disk = VirtualDisk::open(load(&folder, image), &options).unwrap();
        let verification = verify(&Volume::find(&disk, &options).unwrap()).unwrap();
        let found: Vec<String> =
            verification.findings().iter().map(|found| format!("{}: {found}", found.severity)).collect();
        let expected: Vec<_> = FOUND.iter().filter(|(name, ..)| *name == image.name).collect();
        assert_eq!(found.len(), expected.len(), "{}: {found:#?}", image.name);
        for (_, severity, words) in expected {
            assert!(
                found.iter().any(|line| line.starts_with(severity) && line.contains(words)),
                "{}: {found:?}",
                image.name
            );
        }
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} volumes were found");
}
