//! A sparse image, taken as a disk. Invariants: its table is read or refused, within 64 MiB; a volume that is found lies
//! inside the disk and reads as the disk does.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::{Options, Volume, partition};

fuzz_images!(64 << 20, |disk| {
    match partition::table(disk.as_ref()) {
        Ok(table) => assert!(table.partitions().len() <= 1 << 20),
        Err(error) => check::error(&error),
    }
    match Volume::find(&disk, &Options::default()) {
        Ok(volume) => check::layer(volume.bytes().as_ref(), disk.as_ref()),
        Err(error) => check::error(&error),
    }
});
