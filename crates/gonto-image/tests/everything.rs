//! The fixture that holds one of each thing: `fixtures/make.sh` makes it and says what is in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

mod support;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use gonto_image::{
    Container, Extent, FileTree, Kind, NodeId, Options, Place, Reason, VirtualDisk, partition,
};
use support::{content, everything, find, paths};

fn tree() -> FileTree {
    FileTree::open(Arc::new(everything())).unwrap()
}

/// The pattern that `fixtures/fill.py` writes.
fn pattern(size: usize, seed: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..).flat_map(|n| format!("{n:07} {seed}\n").into_bytes()).take(size).collect();
    bytes.truncate(size);
    bytes
}

fn text(tree: &FileTree, path: &str) -> String {
    String::from_utf8(content(tree, find(tree, path)).unwrap()).unwrap()
}

fn target(tree: &FileTree, path: &str) -> String {
    let id = find(tree, path);
    assert_eq!(tree.node(id).kind, Kind::Symlink, "{path}");
    String::from_utf8(tree.link_target(id).to_vec()).unwrap()
}

#[test]
fn the_layers_are_recognised() {
    let opened = VirtualDisk::open(Arc::new(everything()), &Options::default()).unwrap();
    let (container, disk) = (opened.container(), opened.disk());
    assert_eq!((container, disk.size()), (Container::DynamicVhd, 5 << 20));
    let table = partition::table(&opened, &Options::default()).unwrap();
    assert_eq!(table.name(), "GPT");
    let roles: Vec<_> = table.partitions().iter().map(|partition| partition.role).collect();
    assert_eq!(roles, [partition::Role::MicrosoftReserved, partition::Role::Data]);
    assert_eq!(tree().label(), "Everything");
}

#[test]
fn content_is_found_wherever_it_lies() {
    let tree = tree();
    assert_eq!(text(&tree, "resident.txt"), "hello\n");
    assert_eq!(text(&tree, "empty.txt"), "");
    let bytes = |path| content(&tree, find(&tree, path)).unwrap();
    assert!(bytes("clusters.bin") == pattern(100_000, "clusters"));
    let mut sparse = pattern(1000, "sparse");
    sparse.resize(200_000, 0);
    sparse.extend(b"behind the hole");
    sparse.resize(300_000, 0);
    assert!(bytes("sparse.bin") == sparse);
    assert!(bytes("fragmented.bin") == pattern(200_000, "fragmented"));
    assert!(bytes("compressed/lznt1.txt") == b"compress me ".repeat(10_000));
}

#[test]
fn reading_stops_at_the_end_of_the_file() {
    let tree = tree();
    for path in ["resident.txt", "clusters.bin"] {
        let file = find(&tree, path);
        let size = tree.node(file).size;
        let mut buf = [9; 10];
        assert_eq!(tree.read_at(file, &mut buf, size - 4).unwrap(), 4);
        assert_eq!(buf[4..], [9; 6]);
        assert_eq!(tree.read_at(file, &mut buf, size).unwrap(), 0);
        assert_eq!(tree.read_at(file, &mut buf, u64::MAX).unwrap(), 0);
        assert_eq!(tree.read_at(file, &mut [], 0).unwrap(), 0);
    }
}

#[test]
fn directories_show_every_name_once_and_no_other() {
    let tree = tree();
    let root: Vec<String> =
        tree.entries(tree.root()).iter().map(|(name, _)| String::from_utf8(name.to_vec()).unwrap()).collect();
    let mut expected = [
        "Grüße € 😀.txt",
        "a",
        "clusters.bin",
        "compressed",
        "empty.txt",
        "fragmented.bin",
        "hard-1",
        "hard-2",
        "links",
        "many",
        "overlay-filter.bin",
        "resident.txt",
        "sparse.bin",
        "unknown-tag.bin",
        "wsl-mode.sh",
    ]
    .map(String::from)
    .to_vec();
    expected.push("€".repeat(100));
    assert_eq!(root, expected);

    let many = find(&tree, "many");
    assert_eq!(tree.entries(many).len(), 301);
    for (position, (name, id)) in tree.entries(many).iter().enumerate() {
        assert_eq!(tree.entries(many).get(position), Some((name, id)));
        assert_eq!(tree.lookup(many, name), Some(id));
    }
    assert_eq!(text(&tree, "many/Entry-299"), "299");
    assert_eq!(tree.lookup(many, b"entry-299"), None, "names are told apart by case");
    assert_eq!(tree.lookup(many, b"Entry-300"), None);
    assert_eq!(text(&tree, "a/b/c/deep.txt"), "deep\n");
    assert!(tree.entries(find(&tree, "a/b/c/d")).is_empty());
    assert_eq!(text(&tree, "Grüße € 😀.txt"), "names\n");
}

#[test]
fn parents_and_paths_lead_back_to_the_root() {
    let tree = tree();
    for (path, id) in paths(&tree) {
        if tree.node(id).links == 1 {
            assert_eq!(tree.path(id), path);
        }
    }
    assert_eq!(tree.parent(find(&tree, "a/b")), find(&tree, "a"));
    assert_eq!(tree.parent(tree.root()), tree.root());
    assert_eq!(tree.path(tree.root()), "");
    assert_eq!(tree.len(), paths(&tree).len() + 1 - 2, "two paths are hard links to a node that has another");
}

#[test]
fn hard_links_are_one_node() {
    let tree = tree();
    let ids = ["hard-1", "hard-2", "many/hard-3"].map(|path| find(&tree, path));
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(tree.node(ids[0]).links, 3);
    assert_eq!(text(&tree, "many/hard-3"), "one file, three names\n");
}

#[test]
fn links_of_windows_can_be_followed_on_linux() {
    let tree = tree();
    for (link, expected) in [
        ("relative", "../resident.txt"),
        ("absolute", "../a/b/c/deep.txt"),
        ("other case", "../many/Entry-007"),
        ("from the root", "../many/Entry-008"),
        ("volume", "../many"),
        ("junction", "../a/b"),
        ("linux", "../hard-1"),
        ("outside", "D:/elsewhere"),
    ] {
        assert_eq!(target(&tree, &format!("links/{link}")), expected);
    }
}

#[test]
fn modes_and_times_are_those_of_the_volume() {
    let tree = tree();
    assert_eq!(tree.node(find(&tree, "wsl-mode.sh")).mode, 0o640);
    assert_eq!(tree.node(find(&tree, "resident.txt")).mode, 0o755);
    let node = tree.node(find(&tree, "resident.txt"));
    assert_eq!(node.modified.unix_nanos(), 1_600_000_000_987_654_300);
    assert_eq!(node.accessed.unix_nanos(), 1_700_000_000_123_456_700);
    let since = SystemTime::from(node.modified).duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(since.as_nanos(), 1_600_000_000_987_654_300);
}

#[test]
fn what_is_not_read_is_told_once_and_never_given_as_something_else() {
    let tree = tree();
    let expected = [
        ("overlay-filter.bin", 3000, Reason::BrokenOverlay),
        ("unknown-tag.bin", 3000, Reason::ReparsedFile(0x8000_001b)),
        ("links/nothing", 0, Reason::BrokenLink),
    ];
    for (path, size, reason) in expected {
        let id = find(&tree, path);
        assert_eq!((tree.node(id).kind, tree.node(id).size), (Kind::File, size), "{path}");
        let error = tree.read_at(id, &mut [0; 10], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(error.to_string(), format!("{path}: {reason}"));
        let notes = tree.notes().iter().filter(|note| note.path == path);
        assert_eq!(notes.map(|note| note.reason).collect::<Vec<_>>(), [reason], "{path}");
    }
    let overlay = tree.notes().iter().find(|note| note.reason == Reason::BrokenOverlay).unwrap();
    assert_eq!(
        overlay.to_string(),
        "overlay-filter.bin: compressed with WOF (CompactOS), but its stream WofCompressedData is missing or too short"
    );
    let unknown = tree.notes().iter().find(|note| note.path == "unknown-tag.bin").unwrap();
    assert!(unknown.to_string().contains("the reparse point 0x8000001b (APPEXECLINK)"), "{unknown}");
    let mut others: Vec<_> = tree.notes().iter().map(|note| (note.path.clone(), note.reason)).collect();
    others.retain(|(path, _)| !expected.iter().any(|(known, ..)| known == path));
    let long = "€".repeat(100);
    assert_eq!(others, [(long, Reason::LongName), ("links/outside".into(), Reason::LinkOutside)]);
    assert_eq!(tree.note_count(), 5);
}

#[test]
fn what_is_no_file_is_not_read_as_one() {
    let tree = tree();
    let kind = |id: NodeId| tree.read_at(id, &mut [0; 1], 0).unwrap_err().kind();
    assert_eq!(kind(tree.root()), io::ErrorKind::IsADirectory);
    assert_eq!(kind(find(&tree, "links/relative")), io::ErrorKind::InvalidInput);
    assert!(tree.entries(find(&tree, "resident.txt")).is_empty());
    assert!(tree.link_target(find(&tree, "resident.txt")).is_empty());
}

#[test]
fn extents_lead_to_the_bytes_in_the_image() {
    let image = everything();
    let tree = FileTree::open(Arc::new(image.clone())).unwrap();
    support::check_extents(&tree, &[&image]);
    let file = find(&tree, "sparse.bin");
    let places: Vec<Place> =
        [0, 100_000, 200_000, 299_999].iter().map(|offset| tree.extent(file, *offset).place).collect();
    assert!(
        matches!(places[..], [Place::Image { .. }, Place::Zero, Place::Image { .. }, Place::Zero]),
        "{places:?}"
    );
    for path in ["resident.txt", "compressed/lznt1.txt", "overlay-filter.bin"] {
        let file = find(&tree, path);
        assert_eq!(tree.extent(file, 1), Extent { length: tree.node(file).size - 1, place: Place::Derived });
    }
}

#[test]
fn files_in_the_order_of_the_disk_are_all_files() {
    let tree = tree();
    let order = tree.disk_order();
    let place = |id: &NodeId| match tree.extent(*id, 0).place {
        Place::Image { offset, .. } => Some(offset),
        _ => None,
    };
    assert!(order.iter().filter_map(place).is_sorted());
    let mut order = order;
    order.sort_unstable();
    let ids = paths(&tree).into_iter().map(|(_, id)| id).filter(|id| tree.node(*id).kind == Kind::File);
    let mut files: Vec<NodeId> = ids.collect();
    files.sort_unstable();
    files.dedup();
    assert_eq!(order, files);
}
