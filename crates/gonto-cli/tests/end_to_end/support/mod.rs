//! What the tests are made of: a [`Project`] in a folder of its own, the program run in it, and (on Linux) who runs it.

mod program;
mod project;

#[cfg(target_os = "linux")]
mod caller;
#[cfg(target_os = "linux")]
mod leftovers;
#[cfg(target_os = "linux")]
mod server;

#[cfg(target_os = "linux")]
pub(crate) use caller::{Caller, callers, is_root};
pub(crate) use program::Gonto;
#[cfg(target_os = "linux")]
pub(crate) use program::{Output, Running};
pub(crate) use project::Project;
#[cfg(target_os = "linux")]
pub(crate) use project::example;
#[cfg(target_os = "linux")]
pub(crate) use server::{Behaviour, Server};

/// Says that a test cannot run here. Written past the capturing of output, so that it is seen although the test passes.
#[cfg(target_os = "linux")]
pub(crate) fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A VHD with one of each thing that NTFS can hold; gonto-image's own tests use it as well.
#[cfg(target_os = "linux")]
pub(crate) fn fixture() -> Vec<u8> {
    let packed = include_bytes!("../../../../gonto-image/tests/fixtures/everything.vhd.zst");
    zstd::decode_all(&packed[..]).unwrap()
}
