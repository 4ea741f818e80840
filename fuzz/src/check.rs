//! Uses what was opened as a mount and an extraction would, and looks for contradictions.

use std::collections::HashSet;
use std::io;

use gonto_image::{FileTree, Kind, NodeId, Place, ReadAt, VirtualDisk};

use crate::files::Files;

/// A sound reader gives these for every input; more of it only costs time.
const MOST_EXTENTS: usize = 256;
const MOST_READ: u64 = 4 << 20;

/// The virtual disk, and what is told of its files.
pub fn disk(disk: &VirtualDisk, files: &Files) {
    assert!(disk.layers().len() <= files.0.len());
    for (layer, file) in disk.layers().iter().zip(&files.0) {
        assert_eq!(layer.file_size, file.size());
    }
    for irregularity in disk.irregularities() {
        assert!(!irregularity.to_string().is_empty());
    }
    layer(disk.disk().as_ref(), files);
}

/// Reads a source at the places where something changes. Its extents lie in `files`.
pub fn layer(source: &dyn ReadAt, files: &Files) {
    let size = source.size();
    let mut at = 0;
    for _ in 0..MOST_EXTENTS {
        if at >= size {
            break;
        }
        let extent = source.extent(at);
        assert!(extent.length > 0, "the extent at {at} of {size} bytes is empty");
        assert!(extent.length <= size - at, "the extent at {at} is longer than the rest");
        compare(source, at, extent.length.min(512), extent.place, files);
        let last = extent.length.saturating_sub(300);
        let place = match extent.place {
            Place::Image { layer, offset } => Place::Image { layer, offset: offset + last },
            other => other,
        };
        compare(source, at + last, extent.length - last, place, files);
        at += extent.length;
    }
    assert_eq!(source.extent(size).length, 0, "there is an extent behind the end");
    assert!(source.read_at(&mut [0; 2], size.saturating_sub(1)).is_err(), "more was read than there is");
    assert!(source.read_at(&mut [0; 1], u64::MAX).is_err());
    for middle in [size / 2, size / 3] {
        pieces_equal_the_whole(source, middle, (size - middle).min(5000));
    }
}

fn compare(source: &dyn ReadAt, at: u64, length: u64, place: Place, files: &Files) {
    let mut found = vec![0; length as usize];
    let read = source.read_at(&mut found, at);
    match place {
        Place::Image { layer, offset } => {
            let mut expected = vec![0; found.len()];
            let there = files.0[layer as usize].read_at(&mut expected, offset);
            assert_eq!(read.is_ok(), there.is_ok(), "byte {at} in file {layer} at {offset}");
            assert!(
                read.is_err() || found == expected,
                "byte {at} lies elsewhere than in file {layer} at {offset}"
            );
        }
        Place::Zero => assert!(read.is_ok() && found.iter().all(|byte| *byte == 0), "byte {at} is not zero"),
        Place::Derived => {}
    }
}

fn pieces_equal_the_whole(source: &dyn ReadAt, at: u64, length: u64) {
    let mut whole = vec![0; length as usize];
    if source.read_at(&mut whole, at).is_err() {
        return;
    }
    let mut place = at;
    for expected in whole.chunks(701) {
        let mut piece = vec![0; expected.len()];
        source.read_at(&mut piece, place).expect("a piece of what could be read");
        assert!(piece == expected, "the bytes from {place} on change with the length of the read");
        place += piece.len() as u64;
    }
}

/// Looks at every node, name and link, reads content and streams, and goes the way of an extraction. The extents of files lie
/// in `files`.
pub fn tree(tree: &FileTree, files: &Files) {
    let mut may_read = MOST_READ;
    let mut links = vec![0u32; tree.len()];
    for id in (0..tree.len() as u32).map(NodeId) {
        let node = tree.node(id);
        assert!(node.mode <= 0o777);
        let _ = (
            node.modified.to_system_time(),
            node.accessed.unix_nanos(),
            tree.owner(id),
            tree.reparse_tag(id),
        );
        names(tree, id, &mut links);
        match node.kind {
            Kind::File => {
                content(tree, id, &mut may_read);
                extents(tree, id, files);
            }
            Kind::Symlink => {
                let target = tree.link_target(id);
                assert!(!target.is_empty() && !target.contains(&0), "a link to {target:?}");
                assert_eq!(node.size, target.len() as u64);
                assert!(tree.read_at(id, &mut [0; 1], 0).is_err());
            }
            Kind::Directory => assert!(tree.read_at(id, &mut [0; 1], 0).is_err()),
        }
        streams(tree, id, &mut may_read);
    }
    for (node, links) in (0..).map(NodeId).zip(links).skip(1) {
        assert_eq!(tree.node(node).links, links, "names that lead to {node:?}");
    }
    assert!(tree.notes().len() as u64 <= tree.note_count());
    for damaged in tree.damage() {
        error(damaged);
    }
    extraction(tree);
}

/// Names are sorted, unique and usable, and are found; everything has a folder that holds it.
fn names(tree: &FileTree, dir: NodeId, links: &mut [u32]) {
    let entries = tree.entries(dir);
    assert!(entries.is_empty() || tree.node(dir).kind == Kind::Directory);
    let mut before: &[u8] = b"";
    for (name, child) in entries.iter() {
        assert!(before < name, "{before:?} comes before {name:?}");
        assert!(
            !name.contains(&b'/') && !name.contains(&0) && name != b"." && name != b"..",
            "{name:?} is shown"
        );
        assert_eq!(tree.lookup(dir, name), Some(child));
        assert_eq!(tree.node(tree.parent(child)).kind, Kind::Directory);
        links[child.0 as usize] += 1;
        before = name;
    }
    assert_eq!(tree.lookup(dir, b"no such name\n"), None);
}

fn content(tree: &FileTree, file: NodeId, may_read: &mut u64) {
    let size = tree.node(file).size;
    assert!(i64::try_from(size).is_ok(), "no system has files of {size} bytes");
    let behind = tree.read_at(file, &mut [0; 9], size);
    assert!(behind.is_ok_and(|count| count == 0) || tree.read_at(file, &mut [0; 9], 0).is_err());
    parts(size, may_read, |buf, at| tree.read_at(file, buf, at));
}

fn streams(tree: &FileTree, id: NodeId, may_read: &mut u64) {
    for (index, stream) in tree.streams(id).enumerate() {
        assert!(!stream.name.is_empty());
        parts(stream.size, may_read, |buf, at| tree.read_stream_at(id, index, buf, at));
    }
    assert!(tree.read_stream_at(id, tree.streams(id).len(), &mut [0; 1], 0).is_err());
}

/// Reads the beginning, the middle and the end, at once and in pieces.
fn parts(size: u64, may_read: &mut u64, read: impl Fn(&mut [u8], u64) -> io::Result<usize>) {
    for at in [0, size / 2, size.saturating_sub(4096)] {
        let length = (size - at).min(70_000).min(*may_read);
        *may_read -= length;
        let mut whole = vec![0; length as usize];
        let Ok(count) = read(&mut whole, at) else { continue };
        assert_eq!(count as u64, length, "a short read");
        let mut place = at;
        for expected in whole.chunks(9001) {
            let mut piece = vec![0; expected.len()];
            let count = read(&mut piece, place).expect("a piece of what could be read");
            assert!(
                count == piece.len() && piece == expected,
                "the bytes from {place} on change with the length of the read"
            );
            place += count as u64;
        }
    }
}

/// What the image files hold at the extents of a file is the file.
fn extents(tree: &FileTree, file: NodeId, files: &Files) {
    let size = tree.node(file).size;
    let mut at = 0;
    for _ in 0..16 {
        if at >= size {
            break;
        }
        let extent = tree.extent(file, at);
        assert!(extent.length > 0 && extent.length <= size - at, "byte {at} of {size}: {extent:?}");
        let mut found = vec![0; extent.length.min(512) as usize];
        let read = tree.read_at(file, &mut found, at);
        match extent.place {
            Place::Image { layer, offset } if read.is_ok() => {
                let mut expected = vec![0; found.len()];
                files.0[layer as usize]
                    .read_at(&mut expected, offset)
                    .expect("what the file could be read from");
                assert!(found == expected, "byte {at} lies elsewhere than in file {layer} at {offset}");
            }
            Place::Zero => assert!(found.iter().all(|byte| *byte == 0), "byte {at} is not zero"),
            Place::Image { .. } | Place::Derived => {}
        }
        at += extent.length;
    }
    assert_eq!(tree.extent(file, size).length, 0);
}

/// Every directory is met once on the way down, so that whoever follows names comes to an end.
fn extraction(tree: &FileTree) {
    let order: HashSet<NodeId> = tree.disk_order().into_iter().collect();
    let ids = (0..tree.len() as u32).map(NodeId);
    assert!(ids.filter(|id| tree.node(*id).kind == Kind::File).all(|id| order.contains(&id)));
    let mut met = HashSet::new();
    let mut folders = vec![tree.root()];
    while let Some(folder) = folders.pop() {
        assert!(met.insert(folder), "a directory with two names");
        let below = tree.entries(folder).iter().map(|(_, id)| id);
        folders.extend(below.filter(|id| tree.node(*id).kind == Kind::Directory));
    }
}

/// The message of an error is there, and so are those of its causes.
pub fn error(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        assert!(!error.to_string().is_empty());
        next = error.source();
    }
}
