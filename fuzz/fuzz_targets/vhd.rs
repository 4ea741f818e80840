//! Sparse images, taken as a container and its parents. Invariants: it is opened or refused, within 192 MiB (the biggest
//! table that Windows makes has 4 MiB); reads, reads in pieces, and extents agree.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::VirtualDisk;

fuzz_images!(192 << 20, |files| {
    match VirtualDisk::open(files.image(), &files.options()) {
        Ok(opened) => check::disk(&opened, &files),
        Err(error) => check::error(&error),
    }
});
