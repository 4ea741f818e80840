//! Sparse images, taken as an image file with all its layers: container, partition, volume. Invariants: those of the
//! targets `vhd`, `partitions` and `ntfs` together, within 512 MiB.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::FileTree;

fuzz_images!(512 << 20, |files| {
    match FileTree::open_with(files.image(), &files.options()) {
        Ok(tree) => check::tree(&tree, &files),
        Err(error) => check::error(&error),
    }
});
