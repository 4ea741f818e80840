//! What the fuzz targets share.
//!
//! An image is hostile input. Errors are fine; panics, hangs and big allocations are bugs, and so is a layer that
//! contradicts itself. Each target says in its first lines what it feeds, what has to hold and how much memory it may take.
//!
//! Disk images are too big for a fuzzer, and nearly every byte of them is behind a checksum. So the input of most targets is
//! a [`sparse`] image: a size and a few pieces of bytes at their places, zero elsewhere. Pieces are kept without fixups and
//! checksums, which [`mend`] puts right before the image is opened, so that an edit gets behind them; a flag of the piece
//! prevents that. [`mutate`] knows the fields of the structures and edits them; [`check`] uses what was opened
//! as a mount would; [`memory`] holds the bound. `src/bin/seeds.rs` makes inputs out of real images.
//!
//! The inputs of the decoders are compressed data: see [`codec`].
#![forbid(unsafe_code)]

pub mod check;
pub mod codec;
pub mod files;
pub mod memory;
pub mod mend;
pub mod mutate;
pub mod numbers;
pub mod sparse;
pub mod target;
