//! XPRESS with Huffman codes. Invariants: whatever is decompressed fills its output or is refused, at a place inside the input, without
//! memory of its own; what was compressed comes back.
#![no_main]

use gonto_fuzz::codec;
use gonto_image::compression::xpress_huffman;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    codec::check(input, xpress_huffman::LONGEST, xpress_huffman::decompress, codec::compress_xpress);
});
