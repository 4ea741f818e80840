//! The index of a file tree says what the tree says, and lets nobody see what the tree does not show.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "what is made is compared in another way here")]
#[path = "../create/making.rs"]
mod making;

mod indexed;

mod created;
mod hostile_images;
mod hostile_indexes;
mod images;
#[cfg(target_os = "linux")]
mod judges;
mod tails;
