//! LZX. Invariants: whatever is decompressed fills its output or is refused, at a place inside the input, without
//! memory of its own; what was compressed comes back.
#![no_main]

use gonto_fuzz::codec;
use gonto_image::compression::lzx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    codec::check(input, lzx::LONGEST, lzx::decompress, codec::compress_lzx);
});
