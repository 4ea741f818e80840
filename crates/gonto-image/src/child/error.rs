//! Why an image can have no child.

use std::borrow::Cow;
use std::io;

use super::path::LONGEST_PARENT_PATH;
use crate::error::Error;

/// Why no differencing child can be made of an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The parent cannot be opened, or has no volume.
    #[error(transparent)]
    Parent(#[from] Error),
    /// It can be read, but not have a child that Windows attaches beside others.
    #[error("the image cannot be attached beside others: {problem}; {remedy}")]
    Unsuitable {
        /// What is missing.
        problem: Cow<'static, str>,
        /// What its owner can do.
        remedy: &'static str,
    },
    /// A child cannot say that its parent is there.
    #[error(
        "a differencing image cannot lead to the path {path:?}: {problem}; give the path as Windows writes it"
    )]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The path of the parent is longer than any that Windows takes.
    #[error(
        "the path that begins with {start:?} has {length} characters (UTF-16 units), more than the {LONGEST_PARENT_PATH} that Windows \
         takes; move the cache to a shorter path"
    )]
    LongPath {
        /// Its first characters.
        start: String,
        /// In UTF-16 units.
        length: usize,
    },
    /// The child cannot be written.
    #[error("cannot write the differencing image")]
    Write(#[from] io::Error),
}
