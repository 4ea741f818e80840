//! Repository and cache: an image path becomes a whole, immutable local file.
//!
//! # The life of an image
//! 1. An [`ImagePath`] is made of name, version, platform and format; making it checks the repository rules.
//! 2. [`Store::path`] says where the cache keeps the image, [`Store::contains`] whether it is there.
//! 3. [`Store::fetch`] brings it there when it is missing: it takes the image's lock, has a worker thread write a
//!    partial file, checks the length, and gives the file its final name only when all of it is on the disk. An image
//!    under its final name never changes again.
//!
//! # The parts
//! | module | what it is about |
//! | --- | --- |
//! | `image_path` | the repository rules, and the path that follows from them |
//! | `store` | the public face: from a missing image to a cached one |
//! | `cache` | the cache folder: its layout, locks, partial files and clean-up |
//! | `partial` | a file that is being filled |
//! | `transfer` | the worker thread that fills a partial file, and how it is watched and cancelled |
//! | `repository` | where images come from: a web server or a folder |
//! | `error` | everything that can go wrong, with the remedy |
//! | `sys` | what differs between the systems |
//!
//! # What is absent
//! This crate knows nothing of what an image contains, reads no configuration, prints nothing, and never writes to a
//! repository. No other crate of the project knows HTTP.
#![forbid(unsafe_code)]

mod image_path;
mod store;

mod cache;
mod partial;
mod repository;
mod transfer;

mod error;
mod sys;

pub use error::Error;
pub use image_path::{
    Format, ImagePath, InvalidImagePath, NAME_PATTERN, Platform, VERSION_PATTERN, check_name, check_version,
};
pub use store::{Event, Store, Timeouts};
