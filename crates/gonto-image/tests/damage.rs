//! Images that are damaged in places, opened so that the rest is shown.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

mod support;

use std::io;
use std::sync::Arc;

use gonto_image::{Damage, FileTree, Kind, Options};
use support::{
    RECORD_SIZE, assert_tells, attribute, blocks_with_name, chain, content, everything, find, paths,
    record_of,
};

fn open(image: Vec<u8>) -> FileTree {
    let options = Options { damage: Damage::Show, ..Options::default() };
    FileTree::open_with(Arc::new(image), &options).unwrap()
}

/// What is told of the damage, a line each.
fn told(tree: &FileTree) -> Vec<String> {
    tree.damage().iter().map(|damaged| chain(damaged)).collect()
}

#[test]
fn a_sound_image_has_no_damage() {
    let tree = open(everything());
    assert_eq!((tree.damage().len(), tree.damage_count()), (0, 0));
}

#[test]
fn a_name_whose_record_is_free_is_a_file_that_cannot_be_read() {
    let mut image = everything();
    let before: Vec<String> = paths(&open(image.clone())).into_iter().map(|(path, _)| path).collect();
    let record = record_of(&image, "resident.txt");
    image[record + 0x16] = 0;
    let tree = open(image);
    let after: Vec<String> = paths(&tree).into_iter().map(|(path, _)| path).collect();
    assert_eq!(before, after);
    let [damage] = &told(&tree)[..] else { panic!("{:?}", told(&tree)) };
    assert_tells(
        damage,
        &["\"resident.txt\" is damaged: NTFS record ", "expected a file, found a free record"],
    );

    let file = find(&tree, "resident.txt");
    assert_eq!((tree.node(file).kind, tree.node(file).size), (Kind::File, 0));
    for buf in [&mut [0; 10][..], &mut []] {
        let error = tree.read_at(file, buf, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(chain(error.get_ref().unwrap()), *damage);
    }
    assert!(content(&tree, find(&tree, "clusters.bin")).is_ok());
}

/// Without its `$DATA` it would be an empty file.
#[test]
fn a_file_whose_content_has_an_unknown_type_is_not_empty_but_damaged() {
    let mut image = everything();
    let record = record_of(&image, "resident.txt");
    let data = attribute(&image, record, 0x80).unwrap();
    image[data + 3] ^= 0x40;
    let tree = open(image);
    let [damage] = &told(&tree)[..] else { panic!("{:?}", told(&tree)) };
    let words =
        ["\"resident.txt\" is damaged", "expected a type of attribute that NTFS has", "found 0x40000080"];
    assert_tells(damage, &words);
}

#[test]
fn every_name_of_a_damaged_file_is_told() {
    let mut image = everything();
    let record = record_of(&image, "hard-1");
    image[record + 510] ^= 1;
    let tree = open(image);
    let ids = ["hard-1", "hard-2", "many/hard-3"].map(|path| find(&tree, path));
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!((tree.node(ids[0]).links, tree.damage_count()), (3, 3));
    let told = told(&tree);
    for (line, name) in told.iter().zip(["\"hard-1\"", "\"hard-2\"", "\"many/hard-3\""]) {
        assert_tells(line, &[name, "the write was torn"]);
    }
}

#[test]
fn a_directory_shows_the_blocks_that_can_be_read() {
    let mut image = everything();
    let sound = open(image.clone());
    let all = sound.entries(find(&sound, "many")).len();
    let blocks: Vec<usize> = blocks_with_name(&image, b"INDX", "Entry-");
    // One that has no child: losing the root of the tree would lose everything.
    let leaf = blocks.into_iter().find(|at| image[at + 24 + 12] & 1 == 0).unwrap();
    image[leaf + 510] ^= 1;
    let tree = open(image);
    let shown = tree.entries(find(&tree, "many")).len();
    assert!(shown > all / 2 && shown < all, "{shown} of {all}");
    let [damage] = &told(&tree)[..] else { panic!("{:?}", told(&tree)) };
    assert_tells(damage, &["\"many\" is damaged: the index of directory record", "the write was torn"]);
    assert_eq!(tree.node(find(&tree, "many")).kind, Kind::Directory);
}

#[test]
fn a_directory_whose_record_lies_is_shown_as_a_file() {
    let mut image = everything();
    let records = blocks_with_name(&image, b"FILE", "links");
    let links = *records.iter().find(|at| image[**at + 0x16] == 3).unwrap();
    let root = attribute(&image, links, 0x90).unwrap();
    image[root + 0x14] = 0xff;
    image[root + 0x15] = 0xff;
    assert!(root < links + RECORD_SIZE);
    let tree = open(image);
    assert_eq!(tree.node(find(&tree, "links")).kind, Kind::File);
    assert_tells(&told(&tree)[0], &["\"links\" is damaged", "a value inside the attribute"]);
}

#[test]
fn a_damaged_entry_in_the_root_leaves_the_others() {
    let mut image = everything();
    let utf16: Vec<u8> = "clusters.bin".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let is_block = |at: &usize| image[*at..].starts_with(b"INDX");
    let blocks = (0..image.len() / 512).map(|sector| sector * 512).filter(is_block);
    // The file's own record holds the name as well.
    let name = blocks.flat_map(|at| at..at + 4096).find(|at| image[*at..].starts_with(&utf16)).unwrap();
    // The parent in the key, 66 bytes before the name.
    image[name - 66] ^= 0x20;
    let tree = open(image);
    assert_eq!(tree.lookup(tree.root(), b"clusters.bin"), None);
    assert!(tree.lookup(tree.root(), b"resident.txt").is_some());
    assert_tells(&told(&tree)[0], &["the root directory is damaged", "a name that lies in record 5"]);
}
