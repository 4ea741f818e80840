//! Images made of folders: whoever reads them finds what the folder holds, and the same folder makes the same bytes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

#[path = "../support/mod.rs"]
mod support;

mod making;

mod content;
#[cfg(target_os = "linux")]
mod failing;
mod folders;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod mkntfs;
mod names;
mod random;
#[cfg(target_os = "linux")]
mod readers;
mod reproducible;
