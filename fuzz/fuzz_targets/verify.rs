//! A sparse image, taken as a volume with all that belongs to NTFS. Invariants: it is verified or refused, within 512 MiB; a volume
//! without an error can be opened, so that verifying and opening do not contradict each other.
#![no_main]

use gonto_fuzz::{check, fuzz_images};
use gonto_image::{FileTree, VirtualDisk, Volume, verify};

fuzz_images!(512 << 20, |files| {
    let options = files.options();
    let volume = VirtualDisk::open(files.image(), &options).and_then(|disk| Volume::find(&disk, &options));
    let Ok(volume) = volume else { return };
    match verify(&volume) {
        Ok(verification) => {
            assert!(verification.findings().len() as u64 <= verification.errors() + verification.warnings());
            assert!(verification.findings().iter().all(|finding| !finding.problem.is_empty()));
            match FileTree::read(&volume, &options) {
                Err(error) if verification.is_sound() => panic!("sound, but refused: {error}"),
                _ => {}
            }
        }
        Err(error) => check::error(&error),
    }
});
