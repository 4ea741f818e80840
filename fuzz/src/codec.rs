//! Decompression: data that lie, and data that were compressed a moment ago.
//!
//! ```text
//! input = what: u8 | size: u24 | bytes       what even: compressed bytes that claim to become `size` bytes
//!                                            what odd: bytes to be compressed, `size` steers how
//! ```

use gonto_image::compression::Corrupt;

use crate::memory;
use crate::numbers::Numbers;

/// The encoders of the tests, which use everything that the formats have.
#[path = "../../crates/gonto-image/tests/support/encoders.rs"]
mod encoders;

/// A function that decompresses into all of its output.
pub type Decompress = fn(&[u8], &mut [u8]) -> Result<(), Corrupt>;

/// A function that compresses, steered by a number.
pub type Compress = fn(&[u8], u32) -> Vec<u8>;

/// A decoder has its tables on the stack; only the text of an error is allocated.
const MEMORY: usize = 16 << 10;

/// Gives the input to a decoder, whose output has at most `longest` bytes. `compress` gets a number that steers it.
pub fn check(input: &[u8], longest: usize, decompress: Decompress, compress: Compress) {
    let Some((&[what, a, b, c], bytes)) = input.split_first_chunk() else { return };
    let number = u32::from_le_bytes([a, b, c, 0]);
    if what % 2 == 0 {
        let size = number as usize % (longest + 1);
        let (zeros, ones) = (decode(decompress, bytes, size, 0), decode(decompress, bytes, size, 0xff));
        assert!(zeros == ones, "the output depends on what was in the buffer");
        if let Err(corrupt) = zeros {
            assert!(corrupt.at <= bytes.len(), "{corrupt}: the input has {} bytes", bytes.len());
        }
    } else if !bytes.is_empty() {
        let data = &bytes[..bytes.len().min(longest)];
        let compressed = compress(data, number);
        assert!(
            decode(decompress, &compressed, data.len(), 0xff).as_deref() == Ok(data),
            "other bytes came back"
        );
    }
}

fn decode(decompress: Decompress, input: &[u8], size: usize, filler: u8) -> Result<Vec<u8>, Corrupt> {
    let mut output = vec![filler; size];
    memory::at_most(MEMORY, || decompress(input, &mut output)).map(|()| output)
}

pub fn compress_lznt1(data: &[u8], _: u32) -> Vec<u8> {
    encoders::lznt1(data)
}

pub fn compress_xpress(data: &[u8], _: u32) -> Vec<u8> {
    encoders::xpress_huffman(data)
}

/// In up to eight blocks, whose kinds and sizes `number` chooses.
pub fn compress_lzx(data: &[u8], number: u32) -> Vec<u8> {
    let kinds = [encoders::Block::Verbatim, encoders::Block::Aligned, encoders::Block::Uncompressed];
    let mut numbers = Numbers(u64::from(number));
    let block = |_| (kinds[numbers.below(3)], 1 + numbers.below(data.len()));
    let blocks: Vec<_> = (0..=number % 8).map(block).collect();
    encoders::lzx(data, &blocks)
}
