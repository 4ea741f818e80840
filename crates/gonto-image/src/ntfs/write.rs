//! NTFS 3.1, written: from facts about a file to the bytes of its records and indexes.
//!
//! ```text
//! runs ─> attribute ─> record ─> $MFT           file_name ─> index ─> blocks
//! ```
//! These modules make bytes in memory. Where on the volume these go is decided by [`create`](crate::create), which also knows
//! the order in which things are written. What is written is what Windows itself writes; where it has a choice, the simplest.

pub(crate) mod attribute;
pub(crate) mod boot;
pub(crate) mod extended_attributes;
pub(crate) mod file_name;
pub(crate) mod index;
pub(crate) mod record;
pub(crate) mod reparse;
pub(crate) mod runs;
pub(crate) mod security;
pub(crate) mod tables;

/// Bytes of a record of `$MFT`.
pub(crate) const RECORD_SIZE: usize = 1024;

/// Bytes of an index block.
pub(crate) const BLOCK_SIZE: usize = 4096;

/// Everything in a record and in an index begins at a multiple of this.
const ALIGNMENT: usize = 8;

/// Lengths in NTFS have 16 or 32 bits. All that are converted here are bounded by the size of a record, of a block or of a name.
fn narrow<T: TryFrom<usize> + Default>(length: usize) -> T {
    let narrowed = T::try_from(length);
    debug_assert!(narrowed.is_ok(), "{length} is bounded by what holds it");
    narrowed.unwrap_or_default()
}
