//! A sparse image, taken as a volume. Invariants: a tree is built or refused, within 512 MiB; what it shows can be used by a
//! mount and an extraction, and does not contradict itself. What is not refused is not damaged.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::{Damage, FileTree, Options, VirtualDisk, Volume};

fuzz_images!(512 << 20, |files| {
    let options = files.options();
    let volume = VirtualDisk::open(files.image(), &options).and_then(|disk| Volume::find(&disk, &options));
    let Ok(volume) = volume else { return };
    let shown = FileTree::read(&volume, &Options { damage: Damage::Show, ..options.clone() });
    match FileTree::read(&volume, &options) {
        Ok(tree) => {
            check::tree(&tree, &files);
            let shown = shown.expect("what is not refused is shown");
            assert_eq!((shown.len(), shown.damage_count()), (tree.len(), 0));
        }
        Err(error) => {
            check::error(&error);
            shown.iter().for_each(|tree| check::tree(tree, &files));
        }
    }
});
