//! Bytes <-> disk images.
#![forbid(unsafe_code)]
