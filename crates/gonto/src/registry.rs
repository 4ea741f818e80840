//! Registry values that an image brings along: written when it is mounted, and afterwards what was there before comes back.
//!
//! ```text
//! place, data   which value of which key, and what it holds        pure
//! journal       who has set what, and what was there before        pure: says what has to be done, and does nothing
//! format        the journal as JSON                                pure
//! folder        <state>/registry/: locks, and the journal as a file
//! system        the registry itself                                Windows
//! values        the order of all that                              Windows; elsewhere there is nothing to do
//! ```
//!
//! Three rules make it safe to be killed at any moment:
//! - The journal is written before the registry is changed, and again when what was there before is back. Whoever
//!   finds it can do the rest, and doing it twice does no harm.
//! - Who lives is told by locks on files, which the system frees.
//! - One gonto at a time: the journal is read and written, and the registry changed, under one lock.

#[cfg(any(windows, test))]
mod data;
mod error;
#[cfg(any(windows, test))]
mod folder;
#[cfg(any(windows, test))]
mod format;
#[cfg(any(windows, test))]
mod journal;
#[cfg(any(windows, test))]
mod place;
#[cfg(windows)]
mod system;

#[cfg(not(windows))]
mod elsewhere;
#[cfg(windows)]
mod values;
#[cfg(not(windows))]
use elsewhere as sys;
#[cfg(windows)]
use values as sys;

#[cfg(test)]
#[cfg(windows)]
mod tests;

pub use error::RegistryError;
pub(crate) use error::chain;
pub(crate) use sys::{Registry, Values};
