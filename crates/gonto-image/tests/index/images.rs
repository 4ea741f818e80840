//! Images that other software made.

use std::sync::Arc;

use gonto_image::index::IndexError;
use gonto_image::{FileTree, ReadAt};

use crate::indexed::{check, check_tree, index_of};
use crate::support::corpus::{beside, corpus, is_ours, layers, load};
use crate::support::{compressed, everything};

/// The name of 300 bytes becomes one of 100.
fn everything_with_short_names() -> Vec<u8> {
    let mut image = everything();
    // What the end of a sector holds lies elsewhere, so the whole name is nowhere in one piece.
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let (long, short) = (utf16(&"€".repeat(20)), utf16(&"e".repeat(20)));
    let places: Vec<usize> =
        (0..image.len() - long.len()).filter(|at| image[*at..].starts_with(&long)).collect();
    assert!(places.len() >= 2, "{places:?}");
    places.iter().for_each(|at| image[*at..*at + short.len()].copy_from_slice(&short));
    image
}

#[test]
fn a_name_that_linux_does_not_take_has_no_index() {
    let image: Arc<dyn ReadAt> = Arc::new(everything());
    let tree = FileTree::open(image.clone()).unwrap();
    let refused = index_of(&tree, &[image]).err().unwrap();
    assert!(matches!(&refused, IndexError::NameTooLong { length: 300, .. }), "{refused:?}");
    assert!(refused.to_string().starts_with(&format!("{} has a name of 300 bytes", "€".repeat(100))));
}

#[test]
fn the_index_of_everything_says_what_its_tree_says() {
    let indexed = check(Arc::new(everything_with_short_names()));
    let unreadable: Vec<&str> = indexed.unreadable.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(unreadable, ["overlay-filter.bin", "unknown-tag.bin"]);
    assert!(indexed.unreadable.iter().all(|(path, why)| why.contains(path.as_str())));
}

#[test]
fn compressed_files_lie_in_the_index() {
    let indexed = check(Arc::new(compressed()));
    assert!(indexed.written.copied > 1 << 20, "{:?}", indexed.written);
}

#[test]
fn the_index_of_every_image_of_others_says_what_its_tree_says() {
    let Some((folder, images)) = corpus() else { return };
    let (mut indexes, mut chains) = (0, 0);
    for image in images.iter().filter(|image| is_ours(image)) {
        let (bytes, options) = (load(&folder, image), beside(&folder, image));
        let Ok(tree) = FileTree::open_with(bytes.clone(), &options) else { continue };
        eprintln!("{}", image.name);
        let layers = layers(bytes, &options, &folder.join(&image.stored_as));
        check_tree(&tree, &layers);
        (indexes, chains) = (indexes + 1, chains + usize::from(layers.len() > 1));
    }
    assert!(indexes >= 15 && chains >= 2, "{indexes} images, {chains} of them chains");
}
