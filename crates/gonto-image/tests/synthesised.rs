//! Volumes with what no image at hand has, made here and now by ntfs-3g and compared with what it shows of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use gonto_image::{FileTree, Kind, NodeId, ReadAt};
use support::distinct;
use support::ntfs3g::{Volume, assert_same, run, shown_by_ntfs_3g, shown_by_us};
use support::{content, find};

/// The runs of a record's unnamed $DATA, and whether the record has a list of attributes.
struct Layout {
    has_list: bool,
    runs_in_record: usize,
}

/// Looks at a record of `$MFT` by its number in the first extent of the table.
fn layout(volume: &Path, record: u64) -> Layout {
    let file = gonto_image::ImageFile::new(File::open(volume).unwrap()).unwrap();
    let mut boot = [0; 512];
    file.read_at(&mut boot, 0).unwrap();
    let cluster = u64::from(u16::from_le_bytes([boot[11], boot[12]])) * u64::from(boot[13]);
    let mft = u64::from_le_bytes(boot[0x30..0x38].try_into().unwrap()) * cluster;
    let mut raw = [0; 1024];
    file.read_at(&mut raw, mft + record * 1024).unwrap();
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
    let u32_at = |at: usize| u32::from_le_bytes(raw[at..at + 4].try_into().unwrap());
    let mut layout = Layout { has_list: false, runs_in_record: 0 };
    let mut at = u16_at(0x14);
    while u32_at(at) != u32::MAX {
        layout.has_list |= u32_at(at) == 0x20;
        if u32_at(at) == 0x80 && raw[at + 8] == 1 && raw[at + 9] == 0 {
            let mut pair = at + u16_at(at + 0x20);
            while raw[pair] != 0 {
                pair += 1 + usize::from(raw[pair] & 15) + usize::from(raw[pair] >> 4);
                layout.runs_in_record += 1;
            }
        }
        at += u32_at(at + 4) as usize;
    }
    layout
}

#[test]
fn a_file_of_thousands_of_runs_is_put_together() {
    let Some(volume) = Volume::format(32 << 20, &["-c", "512"]) else { return };
    let Some(mounted) = volume.mount("rw") else { return };
    // Every other cluster first, then those between, from behind.
    let whole = distinct(1, 6000 * 512);
    let file = File::create(mounted.folder().join("fragmented")).unwrap();
    let clusters = whole.len() / 512;
    for cluster in (0..clusters).step_by(2).chain((1..clusters).step_by(2).rev()) {
        file.write_all_at(&whole[cluster * 512..][..512], cluster as u64 * 512).unwrap();
    }
    drop(file);
    drop(mounted);
    let tree = volume.tree();
    assert!(content(&tree, find(&tree, "fragmented")).unwrap() == whole);
    // The record of the first file; its runs do not fit into ten records.
    assert!(layout(&volume.path(), 64).has_list, "the file lies in one record");
}

#[test]
fn a_table_of_records_in_pieces_is_put_together() {
    let Some(volume) = Volume::format(8 << 20, &["-c", "512"]) else { return };
    let Some(mounted) = volume.mount("rw") else { return };
    let root = mounted.folder();
    // Two files take turns until the volume is full, and one of them goes: what is free then are single clusters.
    let (stays, goes) = (File::create(root.join("stays")).unwrap(), File::create(root.join("goes")).unwrap());
    let cluster = distinct(2, 512);
    let both =
        |at: u64| stays.write_all_at(&cluster, at * 512).and_then(|()| goes.write_all_at(&cluster, at * 512));
    (0..).take_while(|at| both(*at).is_ok()).for_each(drop);
    drop((stays, goes));
    fs::remove_file(root.join("goes")).unwrap();
    let write = |number| fs::write(root.join(format!("small {number}")), format!("content of {number}"));
    (0..3000).take_while(|number| write(*number).is_ok()).for_each(drop);
    let theirs = shown_by_ntfs_3g(&mounted);
    drop(mounted);
    let mft = layout(&volume.path(), 0);
    assert!(mft.has_list || mft.runs_in_record > 50, "$MFT has {} runs in one record", mft.runs_in_record);
    assert_same(&shown_by_us(&volume.tree()), &theirs, "a fragmented $MFT");
}

/// Content of several kinds, some of which cannot be compressed; it changes its kind within a compression unit.
fn compressible(seed: u64, size: usize) -> Vec<u8> {
    let mut content = Vec::new();
    for (number, byte) in distinct(seed, size / 100 + 8).into_iter().enumerate() {
        let length = usize::from(byte) * 40;
        match byte % 4 {
            0 => content.extend(vec![0; length * 8]),
            1 => content.extend(distinct(number as u64, length)),
            2 => content.extend(b"the same words again and again ".iter().cycle().take(length)),
            _ => content.extend((0..length).map(|at| u8::try_from(at / 7 % 251).unwrap())),
        }
    }
    content.truncate(size);
    content
}

#[test]
fn compressed_folders_are_read() {
    for cluster_size in ["512", "4096"] {
        let Some(volume) = Volume::format(64 << 20, &["-c", cluster_size, "-C"]) else { return };
        let Some(mounted) = volume.mount("compression") else { return };
        let folder = mounted.folder().join("compressed");
        fs::create_dir(&folder).unwrap();
        let mut written = BTreeMap::new();
        for size in [0, 1, 600, 4096, 8191, 65_536, 65_537, 200_000, 1_000_000] {
            written.insert(format!("{size}"), compressible(size as u64, size));
        }
        for (name, content) in &written {
            fs::write(folder.join(name), content).unwrap();
        }
        // One that is written in pieces, with holes, and shortened.
        let mut whole = vec![0; 700_000];
        let file = File::create(folder.join("pieces")).unwrap();
        for at in [300_000, 0, 128 << 10, 500_000, 300_100] {
            let piece = compressible(at, 30_000);
            let place = usize::try_from(at).unwrap();
            whole[place..place + piece.len()].copy_from_slice(&piece);
            file.write_all_at(&piece, at).unwrap();
        }
        file.set_len(whole.len() as u64).unwrap();
        drop(file);
        written.insert("pieces".into(), whole);
        let theirs = shown_by_ntfs_3g(&mounted);
        drop(mounted);
        let tree = volume.tree();
        for (name, written) in &written {
            let id = find(&tree, &format!("compressed/{name}"));
            assert!(content(&tree, id).unwrap() == *written, "clusters of {cluster_size}: {name}");
        }
        assert_same(&shown_by_us(&tree), &theirs, "compressed");
    }
}

#[test]
fn a_sparse_file_of_five_gibibytes_is_read_at_its_places() {
    let Some(volume) = Volume::format(32 << 20, &[]) else { return };
    let Some(mounted) = volume.mount("rw") else { return };
    let size = (5 << 30) + 777;
    let places = [0, 4096 * 3 + 1, (1 << 31) - 10, (1 << 32) - 70_000, (1 << 32) + 12_345, size - 900];
    let file = File::create(mounted.folder().join("sparse")).unwrap();
    for place in places {
        file.write_all_at(&distinct(place, 900), place).unwrap();
    }
    drop(file);
    drop(mounted);
    let tree = volume.tree();
    let id = find(&tree, "sparse");
    assert_eq!(tree.node(id).size, size);
    for place in places {
        let mut found = vec![1; 3000];
        let from = place.saturating_sub(1000);
        let count = tree.read_at(id, &mut found, from).unwrap();
        assert_eq!(count as u64, 3000.min(size - from));
        let before = usize::try_from(place - from).unwrap();
        assert!(found[before..before + 900] == distinct(place, 900), "at byte {place}");
        let behind = &found[before + 900..count];
        assert!(found[..before].iter().chain(behind).all(|byte| *byte == 0), "around byte {place}");
    }
    let mut hole = vec![1; 1 << 20];
    for from in [3 << 30, size - (64 << 20)] {
        assert_eq!(tree.read_at(id, &mut hole, from).unwrap(), hole.len());
        assert!(hole.iter().all(|byte| *byte == 0), "a hole at {from}");
    }
}

/// The folders on the way to a path.
fn follow(tree: &FileTree, names: &[String]) -> NodeId {
    names.iter().fold(tree.root(), |dir, name| tree.lookup(dir, name.as_bytes()).unwrap())
}

#[test]
fn a_path_may_be_longer_than_the_system_takes() {
    let Some(volume) = Volume::format(32 << 20, &[]) else { return };
    let Some(mounted) = volume.mount("rw") else { return };
    // Built from its end, since no call takes all of it: what is there becomes the only thing in a new folder.
    let root = mounted.folder();
    let names: Vec<String> = (0..40).map(|level| format!("{level:02} {}", "folder ".repeat(30))).collect();
    fs::write(root.join("below"), b"far down").unwrap();
    for name in names.iter().rev() {
        fs::create_dir(root.join("above")).unwrap();
        fs::rename(root.join("below"), root.join("above").join(name)).unwrap();
        fs::rename(root.join("above"), root.join("below")).unwrap();
    }
    drop(mounted);
    let tree = volume.tree();
    let whole = [&["below".to_owned()][..], &names].concat();
    assert!(whole.join("/").len() > 8000);
    let id = follow(&tree, &whole);
    assert_eq!(content(&tree, id).unwrap(), b"far down");
    assert_eq!(tree.path(id), whole.join("/"));
    let above = follow(&tree, &whole[..whole.len() - 1]);
    assert_eq!(tree.node(above).kind, Kind::Directory);
}

/// Names that some system or program cannot have.
fn odd_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "a",
        "A",
        "ß",
        "ẞ",
        "ss",
        "SS",
        "İ",
        "i\u{307}",
        "ı",
        "I",
        "i",
        "é",
        "e\u{301}",
        "\u{1}\u{2}\u{1f}\u{7f}",
        "new\nline\ttab\rreturn",
        "a\\b:c*d?e\"f<g>h|i",
        "trail.",
        "trail ",
        "...",
        " ",
        "-rf",
        ".hidden",
        "CON",
        "com1.txt",
        "NUL",
        "~1",
        "PROGRA~1",
        "\u{202e}txt.exe",
        "\u{feff}",
        "\u{ffff}",
        "\u{10ffff}",
        "😀",
        "$I30",
        "$Recycle.Bin",
        "\u{1b}[31mred",
        "%s%n",
        "'; rm -rf ~;",
        "\u{fb03}",
        "ﬃ.",
        "Ω",
        "Ω",
    ]
    .into_iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.push("€".repeat(255).into_bytes());
    names.push("x".repeat(255).into_bytes());
    names.push("😀".repeat(127).into_bytes());
    // Lone surrogates: high, low, in the wrong order, and beside a pair.
    names.extend(
        [
            &b"\xed\xa0\x80"[..],
            b"low \xed\xbf\xbf",
            b"\xed\xb0\x80\xed\xa0\x80",
            b"\xf0\x9f\x98\x80\xed\xa0\x81",
        ]
        .map(<[u8]>::to_vec),
    );
    names.sort();
    names.dedup();
    names
}

#[test]
fn odd_names_are_shown_as_they_are() {
    let Some(volume) = Volume::format(32 << 20, &["-c", "1024"]) else { return };
    let Some(mounted) = volume.mount("rw") else { return };
    let names = odd_names();
    for name in &names {
        let name = OsStr::from_bytes(name);
        fs::write(mounted.folder().join(name), name.as_bytes()).unwrap();
        fs::create_dir_all(mounted.folder().join("folders").join(name)).unwrap();
    }
    let theirs = shown_by_ntfs_3g(&mounted);
    drop(mounted);
    let tree = volume.tree();
    assert_same(&shown_by_us(&tree), &theirs, "odd names");
    for name in &names {
        let id = tree
            .lookup(tree.root(), name)
            .unwrap_or_else(|| panic!("{:?} is missing", name.escape_ascii().to_string()));
        assert_eq!(content(&tree, id).unwrap(), *name);
    }
    let shown: Vec<&[u8]> = tree.entries(find(&tree, "folders")).iter().map(|(name, _)| name).collect();
    assert!(shown == names, "other folders are shown");
}

#[test]
fn hundreds_of_names_may_lead_to_one_file() {
    let Some(volume) = Volume::format(32 << 20, &[]) else { return };
    let Some(mounted) = volume.mount("rw") else { return };
    let root = mounted.folder();
    let whole = distinct(5, 50_000);
    fs::write(root.join("the first"), &whole).unwrap();
    for number in 0..600 {
        let folder = root.join(format!("{}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::hard_link(
            root.join("the first"),
            folder.join(format!("{} {number}", "name ".repeat(number % 40))),
        )
        .unwrap();
    }
    let theirs = shown_by_ntfs_3g(&mounted);
    drop(mounted);
    let tree = volume.tree();
    assert_same(&shown_by_us(&tree), &theirs, "hard links");
    let first = find(&tree, "the first");
    assert_eq!(tree.node(first).links, 601);
    assert!(content(&tree, first).unwrap() == whole);
}

/// Sector and cluster sizes in bytes, and a volume size that has some thousand clusters.
const GEOMETRIES: [(&str, &str, u64); 9] = [
    ("256", "512", 32 << 20),
    ("512", "2048", 32 << 20),
    ("512", "131072", 256 << 20),
    ("512", "2097152", 4 << 30),
    ("1024", "1024", 32 << 20),
    ("2048", "4096", 32 << 20),
    ("4096", "4096", 64 << 20),
    ("4096", "65536", 256 << 20),
    ("4096", "524288", 1 << 30),
];

#[test]
fn every_geometry_is_read() {
    for (sector_size, cluster_size, size) in GEOMETRIES {
        let what = format!("sectors of {sector_size}, clusters of {cluster_size}");
        let arguments = ["-s", sector_size, "-c", cluster_size];
        let Some(volume) = Volume::format(size, &arguments) else { return };
        let Some(mounted) = volume.mount("rw") else { return };
        fill(mounted.folder());
        let theirs = shown_by_ntfs_3g(&mounted);
        drop(mounted);
        assert_same(&shown_by_us(&volume.tree()), &theirs, &what);
    }
}

/// A directory of several blocks, files in records and in clusters, a file with runs and holes.
fn fill(root: &Path) {
    let many = root.join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..400 {
        fs::write(
            many.join(format!("a rather long name so that blocks fill up, number {number}")),
            [b'x'; 900],
        )
        .unwrap();
    }
    for number in (0..400).step_by(3) {
        fs::remove_file(many.join(format!("a rather long name so that blocks fill up, number {number}")))
            .unwrap();
    }
    for size in [0, 1, 500, 3000, 3900, 100_000] {
        fs::write(root.join(format!("{size} bytes")), distinct(size as u64, size)).unwrap();
    }
    let runs = File::create(root.join("runs")).unwrap();
    let mut between = File::create(root.join("between")).unwrap();
    for piece in 0..6 {
        runs.write_all_at(&distinct(piece, 70_000), piece * 300_000).unwrap();
        between.write_all(&distinct(piece + 100, 70_000)).unwrap();
    }
}

#[test]
fn a_volume_that_ntfs_3g_finds_sound_stays_so() {
    let Some(volume) = Volume::format(32 << 20, &[]) else { return };
    let before = fs::read(volume.path()).unwrap();
    let tree = volume.tree();
    assert_eq!(tree.len(), 1);
    assert!(tree.notes().is_empty() && run("ntfsfix", &["-n", volume.path().to_str().unwrap()]));
    assert!(fs::read(volume.path()).unwrap() == before, "reading changed the volume");
}
