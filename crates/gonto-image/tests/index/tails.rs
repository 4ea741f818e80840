//! What nobody may see: the bytes behind the ends of files.

use std::sync::Arc;

use gonto_image::index::{At, Index};
use gonto_image::{FileTree, Kind, NewContainer, NewImage, NodeId, Place, ReadAt};

use crate::indexed::check;
use crate::making::{CONTAINERS, Source, usual};
use crate::support::{attribute, distinct, find, record_of};

fn bytes_of(image: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(image.size()).unwrap()];
    image.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn source() -> Source {
    let source = Source::new();
    for size in [700, 1000, 1024, 1025, 4095, 4096, 4097, 100_000, 2_500_001] {
        source.write(format!("{size}"), distinct(size, usize::try_from(size).unwrap()));
    }
    source
}

/// Puts something else than zeros behind the ends of all files that have clusters.
fn spoil(image: &mut [u8]) -> usize {
    let tree = FileTree::open(Arc::new(image.to_vec())).unwrap();
    let mut spoiled = 0;
    let cluster = tree.format().cluster_size;
    for id in (0..u32::try_from(tree.len()).unwrap()).map(NodeId) {
        let size = tree.node(id).size;
        if tree.node(id).kind != Kind::File || size.is_multiple_of(cluster) {
            continue;
        }
        if let Place::Image { offset, .. } = tree.extent(id, size - 1).place {
            let start = usize::try_from(offset + 1).unwrap();
            let end = start + usize::try_from(cluster - size % cluster).unwrap();
            image[start..end].fill(0xaa);
            spoiled += 1;
        }
    }
    spoiled
}

#[test]
fn what_lies_behind_the_end_of_a_file_is_not_shown() {
    let source = source();
    for container in CONTAINERS {
        let image = source.image(&NewImage { container, ..usual() });
        let clean = check(image.bytes());
        let mut bytes = bytes_of(image.bytes().as_ref());
        assert!(spoil(&mut bytes) >= 6);
        let spoiled = check(Arc::new(bytes));
        // One block of each.
        let more = spoiled.written.copied - clean.written.copied;
        assert!(more >= 6 * 512 && more <= 8 * spoiled.written.block_size, "{more}");
    }
}

#[test]
fn what_lies_behind_the_valid_data_is_not_shown() {
    let source = source();
    for (name, size, valid) in [
        ("4097", 4097, 1),
        ("100000", 100_000, 4096),
        ("2500001", 2_500_001, 77_777u64),
        ("4096", 4096, 4095),
    ] {
        let image = source.image(&NewImage { container: NewContainer::FixedVhd, ..usual() });
        let mut bytes = bytes_of(image.bytes().as_ref());
        let record = record_of(&bytes, name);
        let data = attribute(&bytes, record, 0x80).unwrap();
        bytes[data + 0x38..data + 0x40].copy_from_slice(&valid.to_le_bytes());
        let image: Arc<dyn ReadAt> = Arc::new(bytes);
        let tree = FileTree::open(image.clone()).unwrap();
        let zeros = tree.extent(find(&tree, name), valid);
        assert_eq!((zeros.length, zeros.place), (size - valid, Place::Zero));
        let indexed = check(image);
        let index = Index::open(indexed.bytes).unwrap();
        let root = index.inode(index.root()).unwrap();
        let file = index.inode(index.lookup(&root, name.as_bytes()).unwrap()).unwrap();
        if !valid.is_multiple_of(indexed.written.block_size) {
            assert!(matches!(index.content_at(&file, valid, 1).1, At::Here(_)), "{name}");
        }
    }
}

#[test]
fn a_block_that_reaches_over_the_end_of_the_image_file_is_copied() {
    let source = source();
    let image = source.image(&NewImage { container: NewContainer::FixedVhd, ..usual() });
    let bytes = bytes_of(image.bytes().as_ref());
    let tree = FileTree::open(Arc::new(bytes.clone())).unwrap();
    let last = tree.disk_order().last().copied().unwrap();
    let Place::Image { offset, .. } = tree.extent(last, tree.node(last).size - 1).place else { panic!() };
    // The index is told of a file that ends with the last byte of content; what is read is the whole image.
    let cut: Arc<dyn ReadAt> = Arc::new(bytes[..=usize::try_from(offset).unwrap()].to_vec());
    let indexed = crate::indexed::index_of(&tree, &[cut]).unwrap();
    let index = Index::open(indexed.bytes).unwrap();
    let name = tree.path(last);
    let root = index.inode(index.root()).unwrap();
    let file = index.inode(index.lookup(&root, name.as_bytes()).unwrap()).unwrap();
    assert!(matches!(index.content_at(&file, file.size - 1, 1).1, At::Here(_)));
}
