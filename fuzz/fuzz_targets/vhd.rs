//! A sparse image, taken as a container. Invariants: it is opened or refused, within 64 MiB (a table of 32 MiB is the
//! biggest that Windows makes); reads, reads in pieces, and extents agree.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::{Options, VirtualDisk};

fuzz_images!(64 << 20, |disk| {
    match VirtualDisk::open(disk.clone(), &Options::default()) {
        Ok(opened) => check::layer(opened.disk().as_ref(), disk.as_ref()),
        Err(error) => check::error(&error),
    }
});
