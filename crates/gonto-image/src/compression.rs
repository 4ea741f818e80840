//! The three compressions of NTFS, as functions over bytes in memory.
//!
//! | codec | used by | follows |
//! | --- | --- | --- |
//! | [`lznt1`] | files with the attribute "compressed" | \[MS-XCA\] 2.5 |
//! | [`xpress_huffman`] | the Windows Overlay Filter (CompactOS) | \[MS-XCA\] 2.2 |
//! | [`lzx`] | the same | \[MS-PATCH\] 2, with the changes of the WIM format |
//!
//! Each takes the size of its output from the caller, who knows it, allocates nothing but small tables on the stack, and does
//! work in proportion to what it is given. Data that lie are [`Corrupt`]; the output may then hold anything.

use std::borrow::Cow;

mod bits;
mod huffman;
pub mod lznt1;
pub mod lzx;
mod repeat;
pub mod xpress_huffman;

/// Why data cannot be decompressed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("at byte {at:#x} of the compressed data: expected {expected}, found {found}")]
pub struct Corrupt {
    /// Byte offset in the compressed data, at or shortly behind what is wrong.
    pub at: usize,
    /// What sound data hold there.
    pub expected: Cow<'static, str>,
    /// What these hold.
    pub found: Cow<'static, str>,
}

impl Corrupt {
    #[cold]
    pub(crate) fn new(
        at: usize,
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { at, expected: expected.into(), found: found.into() }
    }

    #[cold]
    fn distance(at: usize, distance: usize, written: usize) -> Self {
        let expected = format!("a match that begins at most {written} bytes back, which is all there are");
        Self::new(at, expected, format!("one {distance} bytes back"))
    }

    #[cold]
    fn length(at: usize, length: usize, room: usize) -> Self {
        Self::new(at, format!("a match of at most {room} bytes"), format!("one of {length} bytes"))
    }
}
