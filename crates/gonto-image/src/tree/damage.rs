//! What cannot be shown because the file system is damaged there.

use std::sync::Arc;

use crate::error::Error;

/// A file that cannot be read, or a directory that may hold more than is shown.
///
/// It is also the error that reading such a file gives, as the inner error of an [`io::Error`](std::io::Error).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{} is damaged", if path.is_empty() { "the root directory".into() } else { format!("{path:?}") })]
#[non_exhaustive]
pub struct Damaged {
    /// Path in the volume, with slashes; empty for the root directory.
    pub path: String,
    /// What is wrong.
    #[source]
    pub why: Arc<Error>,
}

/// All damage of a tree.
#[derive(Default)]
pub(super) struct Damages {
    pub(super) kept: Vec<Damaged>,
    pub(super) total: u64,
}

/// Whoever has more of them needs another image, not a longer list.
const MOST_KEPT: usize = 1000;

impl Damages {
    /// Adds one; its path is only made up when it is going to be kept.
    pub(super) fn add(&mut self, why: &Arc<Error>, path: impl FnOnce() -> String) {
        self.total += 1;
        if self.kept.len() < MOST_KEPT {
            self.kept.push(Damaged { path: path(), why: why.clone() });
        }
    }
}
