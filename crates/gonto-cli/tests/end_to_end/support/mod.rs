//! What the tests are made of: a [`Project`] in a folder of its own, the program run in it, and (on Linux) who runs it or (on
//! Windows) the drives that it uses.

mod program;
mod project;

#[cfg(target_os = "linux")]
mod caller;
#[cfg(windows)]
mod drive;
#[cfg(target_os = "linux")]
mod leftovers;
#[cfg(target_os = "linux")]
pub(crate) mod reader;
#[cfg(any(target_os = "linux", windows))]
mod server;
#[cfg(windows)]
mod virtual_disks;

#[cfg(target_os = "linux")]
pub(crate) use caller::{Caller, callers, callers_by_roads, is_root};
#[cfg(windows)]
pub(crate) use drive::{Drive, Link, is_wine};
pub(crate) use program::Gonto;
#[cfg(target_os = "linux")]
pub(crate) use program::{Output, Running};
pub(crate) use project::Project;
#[cfg(target_os = "linux")]
pub(crate) use project::example;
#[cfg(any(target_os = "linux", windows))]
pub(crate) use server::{Behaviour, Server};
#[cfg(windows)]
pub(crate) use virtual_disks::{Format, VirtualDisks};

/// Says that a test cannot run here. Written past the capturing of output, so that it is seen although the test passes.
#[cfg(any(target_os = "linux", windows))]
pub(crate) fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A VHD with one of each thing that NTFS can hold; gonto-image's own tests use it as well.
pub(crate) fn fixture() -> Vec<u8> {
    let packed = include_bytes!("../../../../gonto-image/tests/fixtures/everything.vhd.zst");
    zstd::decode_all(&packed[..]).unwrap()
}

/// The same with other names in its folder `many`, none of them longer than the old one: in the index, and in the records.
pub(crate) fn fixture_with(names: &[(&str, &str)]) -> Vec<u8> {
    let mut image = fixture();
    for (old, new) in names {
        let units = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let (old, name) = (units(old), units(new));
        let mut renamed = 0;
        for at in 2..image.len() - old.len() {
            if image[at..at + old.len()] == old {
                image[at..at + name.len()].copy_from_slice(&name);
                // The length stands before the name space, and that before the name.
                image[at - 2] = u8::try_from(name.len() / 2).unwrap();
                renamed += 1;
            }
        }
        // Index blocks may hold old copies behind their end.
        assert!(renamed >= 2, "{new:?}");
    }
    image
}
