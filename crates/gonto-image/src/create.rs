//! New images: a folder becomes a disk.

pub(crate) mod disk;
pub(crate) mod identity;
mod sharing;

pub use disk::NewContainer;
