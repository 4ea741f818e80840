//! XPRESS with Huffman codes (\[MS-XCA\] 2.2), as the Windows Overlay Filter stores it: one chunk, which ends where its output
//! is full.

use super::Corrupt;
use super::bits::Bits;
use super::huffman::Code;
use super::repeat::repeat;

/// Longer outputs would have a table every 64 KiB. The Windows Overlay Filter has none, its chunks become 4, 8 or 16 KiB.
pub const LONGEST: usize = 64 << 10;

/// Literals, then one for each length (16) and number of bits of the distance (16) of a match.
const SYMBOLS: usize = 512;
const LITERALS: usize = 256;

/// The lengths of the codes, four bits each.
const TABLE_SIZE: usize = SYMBOLS / 2;

/// This length and longer ones stand behind the symbol.
const LONG: usize = 15;
const SHORTEST: usize = 3;

/// Decompresses `input` into all of `output`, at most 64 KiB.
///
/// # Errors
/// [`Corrupt`] for codes that cannot be, matches that leave the output, and an input that ends too early.
pub fn decompress(input: &[u8], output: &mut [u8]) -> Result<(), Corrupt> {
    if output.is_empty() {
        return Ok(());
    }
    if output.len() > LONGEST {
        let found = format!("{} bytes", output.len());
        return Err(Corrupt::new(0, "data that become at most 64 KiB", found));
    }
    let code = read_code(input)?;
    let mut bits = Bits::new(input, TABLE_SIZE);
    decode(&code, &mut bits, output)?;
    match bits.overrun() {
        false => Ok(()),
        true => Err(Corrupt::new(input.len(), "the rest of the output", "the end of the data")),
    }
}

fn read_code(input: &[u8]) -> Result<Code<SYMBOLS, 2048>, Corrupt> {
    let Some(table) = input.first_chunk::<TABLE_SIZE>() else {
        let expected = "a table of 256 bytes";
        return Err(Corrupt::new(input.len(), expected, "the end of the data"));
    };
    let mut lengths = [0; SYMBOLS];
    for (pair, byte) in lengths.chunks_exact_mut(2).zip(table) {
        pair.copy_from_slice(&[byte & 15, byte >> 4]);
    }
    let mut code = Code::new();
    match code.set(&lengths) {
        Ok(()) => Ok(code),
        Err(_) => Err(Corrupt::new(0, "lengths of Huffman codes", "lengths that no codes can have")),
    }
}

fn decode(code: &Code<SYMBOLS, 2048>, bits: &mut Bits<'_>, output: &mut [u8]) -> Result<(), Corrupt> {
    let mut at = 0;
    while at < output.len() {
        // Three codes of 15 bits are there after a refill: two literals, or one and a match with its distance.
        bits.refill();
        let mut symbol = symbol(code, bits)?;
        if symbol < LITERALS {
            output[at] = literal(symbol);
            at += 1;
            if at == output.len() {
                break;
            }
            symbol = self::symbol(code, bits)?;
            if symbol < LITERALS {
                output[at] = literal(symbol);
                at += 1;
                continue;
            }
        }
        let (distance_bits, mut length) = (u32::from(literal(symbol - LITERALS) >> 4), symbol & 15);
        if length == LONG {
            length = long_length(bits)?;
            bits.refill();
        }
        length += SHORTEST;
        let distance = (1 << distance_bits) + bits.read(distance_bits);
        if distance > at {
            return Err(Corrupt::distance(bits.place(), distance, at));
        }
        if length > output.len() - at {
            return Err(Corrupt::length(bits.place(), length, output.len() - at));
        }
        repeat(output, at, distance, length);
        at += length;
    }
    Ok(())
}

#[inline(always)]
fn symbol(code: &Code<SYMBOLS, 2048>, bits: &mut Bits<'_>) -> Result<usize, Corrupt> {
    code.decode(bits).ok_or_else(|| Corrupt::new(bits.place(), "a Huffman code of the table", "another"))
}

/// Symbols are below 512: the lower eight bits.
#[inline(always)]
fn literal(symbol: usize) -> u8 {
    symbol.to_le_bytes()[0]
}

/// A length in a byte, in two when that is 255, in four when these are zero (\[MS-XCA\] 2.2.4); without [`SHORTEST`].
#[cold]
fn long_length(bits: &mut Bits<'_>) -> Result<usize, Corrupt> {
    let [byte] = bits.bytes();
    if byte < 255 {
        return Ok(usize::from(byte) + LONG);
    }
    bits.refill();
    let length = match u16::from_le_bytes(bits.bytes()) {
        0 => {
            bits.refill();
            u32::from_le_bytes(bits.bytes())
        }
        length => u32::from(length),
    };
    match usize::try_from(length) {
        // So that adding to it cannot overflow; no output is as long.
        Ok(length) if (LONG..1 << 31).contains(&length) => Ok(length),
        _ => Err(Corrupt::new(bits.place(), "a length from 15 to 2^31", length.to_string())),
    }
}
