//! The input is a list of edits of a sound image: three bytes of place, one byte of length, then the new bytes. Errors are
//! fine; panics, hangs and big allocations are bugs.

#![no_main]

use std::sync::{Arc, LazyLock};

use gonto_image::{FileTree, NodeId};
use libfuzzer_sys::fuzz_target;

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let packed = include_bytes!("../../crates/gonto-image/tests/fixtures/everything.vhd.zst");
    zstd::decode_all(&packed[..]).expect("the fixture is sound")
});

fuzz_target!(|edits: &[u8]| {
    let mut image = SOUND.clone();
    let mut rest = edits;
    while let [a, b, c, length, behind @ ..] = rest {
        let place = u32::from_le_bytes([*a, *b, *c, 0]) as usize % image.len();
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(length % 17)));
        for (old, new) in image[place..].iter_mut().zip(bytes) {
            *old = *new;
        }
        rest = behind;
    }
    if let Ok(tree) = FileTree::open(Arc::new(image)) {
        use_all(&tree);
    }
});

/// Does everything that a mount would do.
fn use_all(tree: &FileTree) {
    let mut buf = [0; 4096];
    for id in (0..tree.len() as u32).map(NodeId) {
        let size = tree.node(id).size;
        for offset in [0, size / 2, size.saturating_sub(1), u64::MAX] {
            let _ = tree.read_at(id, &mut buf, offset);
        }
        for (name, child) in tree.entries(id).iter() {
            assert_eq!(tree.lookup(id, name), Some(child));
        }
        let _ = (tree.link_target(id), tree.node(id).modified.to_system_time());
    }
    assert!(tree.notes().len() <= 100);
}
