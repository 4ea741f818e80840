//! VHDXs that qemu-img makes here and now.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gonto_image::{Container, ImageFile, Options, ReadAt, VirtualDisk};

const MIB: u64 = 1 << 20;

/// Bytes that are the same nowhere else.
fn distinct(number: u64, length: usize) -> impl Iterator<Item = u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    word.flatten().take(length)
}

fn image(path: &Path) -> Arc<dyn ReadAt> {
    Arc::new(ImageFile::new(File::open(path).unwrap()).unwrap())
}

/// Reads a disk in pieces of odd sizes, so that they begin and end anywhere.
fn content(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0x77; usize::try_from(disk.size()).unwrap()];
    let mut offset = 0;
    for (piece, number) in bytes.chunks_mut(123_457).zip(0u64..) {
        disk.read_at(piece, offset).unwrap_or_else(|error| panic!("piece {number}: {error}"));
        offset += piece.len() as u64;
    }
    bytes
}

#[test]
fn what_qemu_makes_has_the_bytes_that_it_was_made_of() {
    let scratch = tempfile::tempdir().unwrap();
    // Not a multiple of any block; some ranges that begin and end anywhere, the rest is zero.
    let mut disk = vec![0; usize::try_from(37 * MIB + 5 * 512).unwrap()];
    for number in 0..30 {
        let start = number * 1_234_567;
        disk.iter_mut()
            .skip(start)
            .zip(distinct(number as u64, number * 3000))
            .for_each(|(slot, byte)| *slot = byte);
    }
    std::fs::write(scratch.path().join("raw"), &disk).unwrap();
    for (options, container) in [
        ("subformat=dynamic,block_size=1M", Container::DynamicVhdx),
        ("subformat=dynamic,block_size=2M,block_state_zero=off", Container::DynamicVhdx),
        ("subformat=dynamic,block_size=32M,log_size=3M", Container::DynamicVhdx),
        ("subformat=dynamic,block_size=256M", Container::DynamicVhdx),
        ("subformat=fixed,block_size=8M", Container::FixedVhdx),
        ("subformat=fixed,block_size=1M,block_state_zero=off", Container::FixedVhdx),
    ] {
        let made = Command::new("qemu-img")
            .args(["convert", "-f", "raw", "-O", "vhdx", "-o", options, "raw", "made.vhdx"])
            .current_dir(scratch.path())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: qemu-img is not installed");
            return;
        }
        let opened =
            VirtualDisk::open(image(&scratch.path().join("made.vhdx")), &Options::default()).unwrap();
        assert_eq!(opened.container(), container, "{options}");
        assert_eq!(opened.irregularities().count(), 0, "{options}");
        assert!(content(opened.disk().as_ref()) == disk, "{options}: another disk");
    }
}
