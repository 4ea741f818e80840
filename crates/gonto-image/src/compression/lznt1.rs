//! LZNT1 (\[MS-XCA\] 2.5): chunks that become 4096 bytes each, none of which needs another.

use super::Corrupt;
use super::repeat::repeat;

/// What a chunk becomes; the last one may become less.
pub const CHUNK: usize = 4096;

/// Bits of a chunk's header (\[MS-XCA\] 2.5.1.2).
mod header {
    /// The size of the chunk with its header, less 3.
    pub(super) const SIZE: u16 = 0x0fff;
    pub(super) const SIGNATURE: u16 = 0x7000;
    pub(super) const SOUND_SIGNATURE: u16 = 0x3000;
    pub(super) const COMPRESSED: u16 = 0x8000;
    pub(super) const LENGTH: usize = 2;
}

/// Decompresses `input` into all of `output`.
///
/// The data end with the input, with a chunk header of zero, or where the output is full. What they leave of the output, and of
/// 4096 bytes when a chunk is short, is zero: that is how NTFS reads them.
///
/// # Errors
/// [`Corrupt`] for chunks that leave the input, and matches that leave the chunk.
pub fn decompress(input: &[u8], output: &mut [u8]) -> Result<(), Corrupt> {
    let mut at = 0;
    let (wholes, last) = output.as_chunks_mut();
    for whole in wholes {
        match next_chunk(input, at)? {
            Some(chunk) => {
                chunk.decode(whole)?;
                at = chunk.at + chunk.data.len();
            }
            None => {
                whole.fill(0);
                at = input.len();
            }
        }
    }
    if !last.is_empty() {
        let mut whole = [0; CHUNK];
        if let Some(chunk) = next_chunk(input, at)? {
            chunk.decode(&mut whole)?;
        }
        last.copy_from_slice(&whole[..last.len()]);
    }
    Ok(())
}

struct Chunk<'i> {
    /// Where the data begin in the input.
    at: usize,
    data: &'i [u8],
    compressed: bool,
}

/// The chunk whose header is at `at`; `None` at the end.
fn next_chunk(input: &[u8], at: usize) -> Result<Option<Chunk<'_>>, Corrupt> {
    let header = match input.get(at..).and_then(<[u8]>::first_chunk) {
        None | Some([0, 0]) => return Ok(None),
        Some(header) => u16::from_le_bytes(*header),
    };
    if header & header::SIGNATURE != header::SOUND_SIGNATURE {
        return Err(Corrupt::new(at, "a chunk header with signature 3", format!("{header:#06x}")));
    }
    let (start, size) = (at + header::LENGTH, usize::from(header & header::SIZE) + 1);
    let Some(data) = input.get(start..start + size) else {
        let expected = format!("a chunk of at most {} bytes", input.len() - start);
        return Err(Corrupt::new(at, expected, format!("one of {size} bytes")));
    };
    Ok(Some(Chunk { at: start, data, compressed: header & header::COMPRESSED != 0 }))
}

impl Chunk<'_> {
    fn decode(&self, output: &mut [u8; CHUNK]) -> Result<(), Corrupt> {
        let written = if self.compressed {
            self.decode_tokens(output)?
        } else {
            output[..self.data.len()].copy_from_slice(self.data);
            self.data.len()
        };
        output[written..].fill(0);
        Ok(())
    }

    /// Groups of eight tokens, each behind a byte of flags: literals and matches (\[MS-XCA\] 2.5.1.3).
    fn decode_tokens(&self, output: &mut [u8; CHUNK]) -> Result<usize, Corrupt> {
        let data = self.data;
        let (mut at, mut to) = (0, 0);
        while let Some(flags) = data.get(at).copied() {
            at += 1;
            if flags == 0
                && to + 8 <= CHUNK
                && let Some(literals) = data[at..].first_chunk::<8>()
            {
                output[to..to + 8].copy_from_slice(literals);
                (at, to) = (at + 8, to + 8);
                continue;
            }
            for token in 0..8 {
                if flags >> token & 1 == 0 {
                    let Some(literal) = data.get(at) else { break };
                    let Some(place) = output.get_mut(to) else {
                        return Err(Corrupt::new(self.at + at, "the end of a full chunk", "more of it"));
                    };
                    *place = *literal;
                    (at, to) = (at + 1, to + 1);
                    continue;
                }
                let Some(bytes) = data.get(at..).and_then(<[u8]>::first_chunk) else {
                    if at == data.len() {
                        break;
                    }
                    return Err(Corrupt::new(self.at + at, "a match of two bytes", "the end of the chunk"));
                };
                let (distance, length) = split(usize::from(u16::from_le_bytes(*bytes)), to);
                if distance > to {
                    return Err(Corrupt::distance(self.at + at, distance, to));
                }
                if length > CHUNK - to {
                    return Err(Corrupt::length(self.at + at, length, CHUNK - to));
                }
                repeat(output, to, distance, length);
                (at, to) = (at + 2, to + length);
            }
        }
        Ok(to)
    }
}

/// Distance and length of a match at `to`. The further into the chunk, the more bits has the distance, and the fewer the length
/// (\[MS-XCA\] 2.5.1.4): always as many as can reach back to its start, and at least four.
#[inline(always)]
fn split(token: usize, to: usize) -> (usize, usize) {
    let reach = to.saturating_sub(1) >> 4;
    let length_bits = 12 - (usize::BITS - reach.leading_zeros());
    ((token >> length_bits) + 1, (token & ((1 << length_bits) - 1)) + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompressed(input: &[u8], size: usize) -> Vec<u8> {
        let mut output = vec![0xee; size];
        decompress(input, &mut output).unwrap();
        output
    }

    fn chunk(flags: u16, data: &[u8]) -> Vec<u8> {
        let header = 0x3000 | flags | u16::try_from(data.len() - 1).unwrap();
        [&header.to_le_bytes()[..], data].concat()
    }

    const COMPRESSED: u16 = header::COMPRESSED;

    #[test]
    fn the_example_of_the_specification_is_decompressed() {
        // [MS-XCA] 3.3
        let input = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47, 0x01,
            0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20, 0x05, 0x24,
            0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09, 0x16, 0x01, 0x48,
            0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00,
        ];
        let text = b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        assert_eq!(decompressed(&input, text.len()), text);
    }

    #[test]
    fn what_chunks_leave_over_is_zero() {
        let two = [chunk(0, b"plain"), chunk(COMPRESSED, b"\x02a\x02\x00")].concat();
        let mut expected = vec![0; 8192];
        expected[..5].copy_from_slice(b"plain");
        expected[4096..4102].copy_from_slice(b"aaaaaa");
        assert!(decompressed(&two, 8192) == expected);
        assert!(decompressed(&[&two[..], &[0, 0, 0xff]].concat(), 8192) == expected);
        assert!(decompressed(&two, 4099) == expected[..4099], "an output that ends inside a chunk");
        assert_eq!(decompressed(&[], 10), [0; 10]);
        assert_eq!(decompressed(&[0x10], 10), [0; 10]);
    }

    #[test]
    fn a_distance_can_always_reach_the_start_of_the_chunk() {
        assert_eq!(split(0xffff, 4095), (4096, 18));
        assert_eq!(split(0xffff, 1), (16, 4098));
        assert_eq!(split(0xffff, 16), (16, 4098));
        assert_eq!(split(0xffff, 17), (32, 2050));
        assert_eq!(split(0, 2049), (1, 3));
        assert_eq!(split(0xfff0, 2049), (4096, 3));
        assert_eq!(split(0xffe0, 2048), (2048, 3));
    }

    #[test]
    fn data_that_lie_are_refused() {
        let refused = |input: &[u8]| {
            let error = decompress(input, &mut [0; CHUNK]).unwrap_err();
            (error.at, error.to_string())
        };
        assert_eq!(refused(&chunk(COMPRESSED, b"\x02a\x03\x10")).0, 4);
        assert!(refused(&chunk(COMPRESSED, b"\x02a\x03\x10")).1.contains("found one 2 bytes back"));
        assert!(refused(&chunk(COMPRESSED, b"\x02a\xff\x0f")).1.contains("at most 4095 bytes"));
        assert_eq!(refused(&chunk(COMPRESSED, b"\x01\x00\x00")).0, 3, "a match before any byte");
        assert_eq!(refused(&chunk(COMPRESSED, b"\x02a\x00")).0, 4, "half a match");
        assert_eq!(refused(&[0x05, 0xb0, 0, 1, 2]).0, 0, "a chunk behind the end");
        assert_eq!(refused(&[0x01, 0x80, 0, 1]).0, 0, "no signature");
    }
}
