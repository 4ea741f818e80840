//! A sparse image, taken as a disk. Invariants: its table is read or refused, within 64 MiB; a volume that is found lies
//! inside the disk and reads as the disk does.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::{VirtualDisk, Volume, partition};

fuzz_images!(64 << 20, |files| {
    let options = files.options();
    let disk = match VirtualDisk::open(files.image(), &options) {
        Ok(disk) => disk,
        Err(error) => return check::error(&error),
    };
    match partition::table(&disk, &options) {
        Ok(table) => assert!(table.partitions().len() <= 1 << 20),
        Err(error) => check::error(&error),
    }
    match Volume::find(&disk, &options) {
        Ok(volume) => check::layer(volume.bytes().as_ref(), &files),
        Err(error) => check::error(&error),
    }
});
