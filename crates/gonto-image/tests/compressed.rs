//! The fixture with files that are compressed in every way, beside the same files as they are:
//! `fixtures/make-compressed.sh` makes it and says what is in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

mod support;

use std::io;
use std::sync::Arc;

use gonto_image::{Damaged, FileTree, Kind, NodeId, Owner, Place, Reason, SpecialFile};
use support::{compressed, content, find, paths};

fn tree() -> FileTree {
    FileTree::open(Arc::new(compressed())).unwrap()
}

fn text(size: usize) -> Vec<u8> {
    let mut text: Vec<u8> = (0..)
        .flat_map(|n| format!("line {n} of a text that is easily compressed\n").into_bytes())
        .take(size)
        .collect();
    text.truncate(size);
    text
}

/// Each compressed file, and the same as it is.
fn pairs(tree: &FileTree) -> Vec<(String, NodeId, Vec<u8>)> {
    let mut pairs = Vec::new();
    for (path, id) in paths(tree) {
        let plain = match path.split_once('/') {
            Some(("lznt1", name)) => name,
            Some(("overlaid", "empty")) => continue,
            Some(("overlaid", name)) => match name.split_once(' ').unwrap().1 {
                "fragmented" => "mixed",
                size => size,
            },
            _ => continue,
        };
        let plain = content(tree, find(tree, &format!("plain/{plain}"))).unwrap();
        pairs.push((path, id, plain));
    }
    pairs
}

#[test]
fn what_is_compressed_is_read_as_it_was() {
    let tree = tree();
    let pairs = pairs(&tree);
    assert_eq!(pairs.len(), 4 * 8 + 2 + 11);
    for (path, id, plain) in &pairs {
        assert_eq!(tree.node(*id).size, plain.len() as u64, "{path}");
        assert!(content(&tree, *id).unwrap() == *plain, "{path}");
    }
    assert_eq!(content(&tree, find(&tree, "overlaid/empty")).unwrap(), b"");
}

#[test]
fn reading_begins_and_ends_anywhere() {
    let tree = tree();
    for (path, id, plain) in pairs(&tree) {
        for (step, length) in [(1000, 1000), (4096, 4096), (777, 20_000), (30_011, 66_000)] {
            for start in (0..plain.len()).step_by(step) {
                let end = plain.len().min(start + length);
                let mut buf = vec![9; length];
                assert_eq!(tree.read_at(id, &mut buf, start as u64).unwrap(), end - start, "{path}");
                assert!(buf[..end - start] == plain[start..end], "{path}: {start} to {end}");
                assert!(buf[end - start..].iter().all(|byte| *byte == 9), "{path}: written behind the end");
            }
        }
    }
}

#[test]
fn threads_share_what_was_decoded() {
    let tree = tree();
    let pairs = pairs(&tree);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (tree, pairs) = (&tree, &pairs);
            scope.spawn(move || {
                for round in 0..200 {
                    let (path, id, plain) = &pairs[(round * 7 + thread) % pairs.len()];
                    let start = (round * 4099) % plain.len();
                    let mut buf = [0; 100];
                    let count = tree.read_at(*id, &mut buf, start as u64).unwrap();
                    assert!(buf[..count] == plain[start..start + count], "{path}");
                }
            });
        }
    });
}

#[test]
fn overlays_that_lie_are_told_and_give_no_bytes() {
    let tree = tree();
    for (path, reason) in [
        ("missing", Reason::BrokenOverlay),
        ("short", Reason::BrokenOverlay),
        ("from a WIM", Reason::WimBacked),
        ("unknown", Reason::UnknownOverlay),
    ] {
        let path = format!("broken/{path}");
        let id = find(&tree, &path);
        assert_eq!(tree.node(id).size, 9000);
        let error = tree.read_at(id, &mut [0; 10], 0).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::Unsupported, format!("{path}: {reason}"))
        );
        let notes = tree.notes().iter().filter(|note| note.path == path);
        assert_eq!(notes.map(|note| note.reason).collect::<Vec<_>>(), [reason], "{path}");
    }
    for (path, offset, words, place) in [
        ("behind the end", 4096, "a chunk of 1 to 4096 bytes inside the", "of the volume"),
        ("backwards", 4096, "a chunk of 1 to 4096 bytes inside the", "of the volume"),
        ("no code", 0, "a block of ", "in the file's record"),
    ] {
        let path = format!("broken/{path}");
        let id = find(&tree, &path);
        let error = tree.read_at(id, &mut [0; 10], offset).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{path}");
        let damaged = error.get_ref().unwrap().downcast_ref::<Damaged>().unwrap();
        assert_eq!(damaged.path, path);
        let why = support::chain(damaged);
        assert!(why.contains(words) && why.contains(place), "{why}");
        assert!(why.contains(&format!("for byte {offset} and what follows")), "{why}");
    }
    // What the lie is not about can be read.
    let mut buf = [0; 4096];
    let id = find(&tree, "broken/backwards");
    assert_eq!(tree.read_at(id, &mut buf, 0).unwrap(), 4096);
    assert!(buf[..] == text(4096));
}

#[test]
fn named_streams_are_told_and_read() {
    let tree = tree();
    let streams = |path: &str| -> Vec<(String, u64)> {
        let streams = tree.streams(find(&tree, path));
        streams.map(|stream| (String::from_utf8(stream.name.to_vec()).unwrap(), stream.size)).collect()
    };
    let of_file = [("Grüße", 7), ("empty", 0), ("first", 20_000), ("second", 6)];
    assert_eq!(streams("streams/file"), of_file.map(|(name, size)| (name.to_string(), size)));
    assert_eq!(streams("streams/folder"), [("of a folder".to_string(), 28)]);
    assert_eq!(streams("lznt1/mixed"), [("compressed".to_string(), 50_000)]);
    assert_eq!(streams("broken/missing"), []);
    assert_eq!(streams("overlaid/lzx fragmented")[0].0, "WofCompressedData");

    let read = |path: &str, index, length, offset| {
        let mut buf = vec![9; length];
        let count = tree.read_stream_at(find(&tree, path), index, &mut buf, offset)?;
        buf.truncate(count);
        Ok::<_, io::Error>(buf)
    };
    assert!(read("streams/file", 2, 30_000, 0).unwrap() == text(20_000));
    assert!(read("streams/file", 2, 100, 19_950).unwrap() == text(20_000)[19_950..]);
    assert_eq!(read("streams/file", 0, 100, 0).unwrap(), b"unicode");
    assert_eq!(read("streams/file", 1, 100, 0).unwrap(), b"");
    assert_eq!(read("streams/file", 3, 2, 4).unwrap(), b"nd");
    assert_eq!(read("streams/file", 3, 2, u64::MAX).unwrap(), b"");
    assert_eq!(read("streams/folder", 0, 8, 0).unwrap(), b"a folder");
    for start in (0..50_000).step_by(1234) {
        let end = 50_000.min(start + 5000);
        assert!(read("lznt1/mixed", 0, 5000, start as u64).unwrap() == text(50_000)[start..end]);
    }
    for (path, index) in [("streams/file", 4), ("streams/folder", 1), ("plain/mixed", 0)] {
        assert_eq!(read(path, index, 1, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn what_wsl_keeps_is_told() {
    let tree = tree();
    let id = find(&tree, "wsl/owned");
    assert_eq!((tree.owner(id), tree.node(id).mode), (Some(Owner { uid: 1000, gid: 100 }), 0o640));
    assert_eq!(tree.owner(find(&tree, "wsl/user only")), None);
    assert_eq!(tree.owner(find(&tree, "plain/mixed")), None);
    for (name, tag, special) in [
        ("socket", 0x8000_0023, SpecialFile::Socket),
        ("fifo", 0x8000_0024, SpecialFile::Fifo),
        ("tty", 0x8000_0025, SpecialFile::CharacterDevice),
        ("disk", 0x8000_0026, SpecialFile::BlockDevice),
    ] {
        let path = format!("wsl/{name}");
        let id = find(&tree, &path);
        assert_eq!((tree.node(id).kind, tree.reparse_tag(id)), (Kind::File, Some(tag)), "{name}");
        // They have no bytes, so that none is missing; that they are no files is told.
        assert_eq!(content(&tree, id).unwrap(), b"", "{name}");
        let told = tree.notes().iter().find(|note| note.path == path).map(|note| note.reason);
        assert_eq!(told, Some(Reason::Special(special)), "{name}");
    }
    // Windows shows an empty file.
    let id = find(&tree, "wsl/fifo without a tag");
    assert_eq!(content(&tree, id).unwrap(), b"");
    let notes = tree.notes().iter().filter(|note| note.path == "wsl/fifo without a tag");
    assert_eq!(notes.map(|note| note.reason).collect::<Vec<_>>(), [Reason::Special(SpecialFile::Fifo)]);
    assert_eq!(tree.note_count(), 4 + 5);
}

#[test]
fn what_is_encoded_has_no_place_of_its_own() {
    let image = compressed();
    let tree = FileTree::open(Arc::new(image.clone())).unwrap();
    support::check_extents(&tree, &[&image]);
    for (path, id, plain) in pairs(&tree).into_iter().filter(|(.., plain)| plain.len() > 1000) {
        let extent = tree.extent(id, 10);
        assert_eq!((extent.length, extent.place), (plain.len() as u64 - 10, Place::Derived), "{path}");
    }
}
