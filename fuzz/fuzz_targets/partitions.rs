//! A sparse image, taken as a disk. Invariants: its table is read or refused, within 64 MiB; a volume that is found lies
//! inside the disk and reads as the disk does.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::{VirtualDisk, Volume, partition};

fuzz_images!(64 << 20, |files| {
    let disk = files.image();
    match partition::table(disk.as_ref()) {
        Ok(table) => assert!(table.partitions().len() <= 1 << 20),
        Err(error) => check::error(&error),
    }
    let options = files.options();
    match VirtualDisk::open(disk, &options).and_then(|disk| Volume::find(&disk, &options)) {
        Ok(volume) => check::layer(volume.bytes().as_ref(), &files),
        Err(error) => check::error(&error),
    }
});
