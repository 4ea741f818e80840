//! A sparse image, taken as a volume. Invariants: a tree is built or refused, within 512 MiB; what it shows can be used by a
//! mount and an extraction, and does not contradict itself.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::{FileTree, Options, Volume};

fuzz_images!(512 << 20, |disk| {
    let options = Options::default();
    match Volume::find(&disk, &options).and_then(|volume| FileTree::read(&volume, &options)) {
        Ok(tree) => check::tree(&tree),
        Err(error) => check::error(&error),
    }
});
