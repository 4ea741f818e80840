//! The target `vhd` with other inputs to begin with: headers, regions, metadata and logs of VHDX. The same invariants hold,
//! within 192 MiB.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::VirtualDisk;

fuzz_images!(192 << 20, |files| {
    match VirtualDisk::open(files.image(), &files.options()) {
        Ok(opened) => check::disk(&opened, &files),
        Err(error) => check::error(&error),
    }
});
