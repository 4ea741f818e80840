//! Repository and cache: an image path becomes a verified, immutable local file.
#![forbid(unsafe_code)]
