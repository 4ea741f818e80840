//! SHA-256 of many contents at once.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use gonto_image::{FileTree, map_in_order_with};
use sha2::{Digest as _, Sha256};

use super::content::Content;
use super::{Progress, Watch};

/// A SHA-256.
pub(super) type Digest = [u8; 32];

/// Bytes that are read and hashed at a time: they stay in the processor's cache between the two, and a disk is kept busy.
const PIECE: usize = 256 << 10;

/// Hashes all of `contents`, in their order, with all processors. Once the watch is interrupted the rest are errors.
pub(super) fn hash(
    tree: &FileTree,
    contents: &[Content],
    total: u64,
    watch: &Watch<'_>,
) -> Vec<io::Result<Digest>> {
    let done = AtomicU64::new(0);
    map_in_order_with(
        contents.len(),
        || vec![0; PIECE],
        |buf, number| {
            let mut hash = Sha256::new();
            contents[number].read_all(tree, buf, |piece| {
                watch.check()?;
                hash.update(piece);
                let count = piece.len() as u64;
                let done = done.fetch_add(count, Ordering::Relaxed) + count;
                (watch.progress)(Progress { done, total });
                Ok(())
            })?;
            Ok(hash.finalize().into())
        },
    )
}
