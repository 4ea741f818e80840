//! LZX (\[MS-PATCH\] 2) as WIM files and the Windows Overlay Filter store it: chunks of 32 KiB, none of which needs another.
//!
//! What differs from \[MS-PATCH\]: a block's size is a bit for 32 KiB, else 16 bits; the window is one chunk; and the
//! translation of x86 calls is always done, for a file of 12,000,000 bytes of which each chunk is the start.

use super::Corrupt;
use super::bits::Bits;
use super::huffman::Code;
use super::repeat::repeat;

/// What a chunk becomes at most.
pub const LONGEST: usize = 32 << 10;

/// \[MS-PATCH\] 2.2: 8 symbols for each of the 30 position slots of a window of 32 KiB.
const LITERALS: usize = 256;
const SLOTS: usize = 30;
const MAIN_SYMBOLS: usize = LITERALS + 8 * SLOTS;
const LENGTH_SYMBOLS: usize = 249;
const ALIGNED_SYMBOLS: usize = 8;
const PRETREE_SYMBOLS: usize = 20;

/// Lengths from here on have a symbol of their own, on top of it.
const LONG: usize = 7;
const SHORTEST: usize = 2;

/// In bits.
const LONGEST_CODE: usize = 16;

/// The first three position slots stand for the last three distances.
const RECENT: usize = 3;

/// \[MS-PATCH\] 2.3.1.1.
mod block {
    pub(super) const VERBATIM: usize = 1;
    pub(super) const ALIGNED: usize = 2;
    pub(super) const UNCOMPRESSED: usize = 3;
}

/// For each position slot, how many bits its distances have on top of the base.
const EXTRA_BITS: [u32; SLOTS] = {
    let mut bits = [0; SLOTS];
    let mut slot = 4;
    while slot < SLOTS {
        bits[slot] = if slot.is_multiple_of(2) { bits[slot - 1] + 1 } else { bits[slot - 1] };
        slot += 1;
    }
    bits
};

/// For each position slot, its first distance plus two.
const BASES: [usize; SLOTS] = {
    let mut bases = [0; SLOTS];
    let mut slot = 1;
    while slot < SLOTS {
        bases[slot] = bases[slot - 1] + (1 << EXTRA_BITS[slot - 1]);
        slot += 1;
    }
    bases
};
const _: () = assert!(BASES[SLOTS - 1] + (1 << EXTRA_BITS[SLOTS - 1]) == LONGEST);

/// Decompresses `input` into all of `output`, at most 32 KiB.
///
/// # Errors
/// [`Corrupt`] for codes that cannot be, blocks and matches that leave the output, and an input that ends too early.
pub fn decompress(input: &[u8], output: &mut [u8]) -> Result<(), Corrupt> {
    if output.len() > LONGEST {
        let found = format!("{} bytes", output.len());
        return Err(Corrupt::new(0, "data that become at most 32 KiB", found));
    }
    Decoder::new(input).decode(output)?;
    restore_calls(output);
    Ok(())
}

struct Decoder<'i> {
    input: &'i [u8],
    bits: Bits<'i>,
    /// Each block's lengths of codes are told as differences to those of the block before.
    main_lengths: [u8; MAIN_SYMBOLS],
    length_lengths: [u8; LENGTH_SYMBOLS],
    main: Code<MAIN_SYMBOLS, 2048>,
    length: Code<LENGTH_SYMBOLS, 1024>,
    aligned: Code<ALIGNED_SYMBOLS, 128>,
    /// The last three distances, the latest first.
    recent: [usize; RECENT],
}

impl<'i> Decoder<'i> {
    fn new(input: &'i [u8]) -> Self {
        Self {
            input,
            bits: Bits::new(input, 0),
            main_lengths: [0; MAIN_SYMBOLS],
            length_lengths: [0; LENGTH_SYMBOLS],
            main: Code::new(),
            length: Code::new(),
            aligned: Code::new(),
            recent: [1; RECENT],
        }
    }

    fn decode(&mut self, output: &mut [u8]) -> Result<(), Corrupt> {
        let mut at = 0;
        while at < output.len() {
            self.bits.refill();
            let kind = self.bits.read(3);
            let size = if self.bits.read(1) == 1 { LONGEST } else { self.bits.read(16) };
            // An empty block would let a few bytes ask for any number of codes.
            if size == 0 || size > output.len() - at {
                let expected = format!("a block of 1 to {} bytes", output.len() - at);
                return Err(Corrupt::new(self.bits.place(), expected, format!("one of {size}")));
            }
            let end = at + size;
            match kind {
                block::VERBATIM => {
                    self.read_codes()?;
                    self.decode_matches::<false>(&mut output[..end], at)?;
                }
                block::ALIGNED => {
                    self.read_aligned_code()?;
                    self.read_codes()?;
                    self.decode_matches::<true>(&mut output[..end], at)?;
                }
                block::UNCOMPRESSED => self.copy(&mut output[at..end])?,
                other => {
                    let expected = "a block of type 1, 2 or 3";
                    return Err(Corrupt::new(self.bits.place(), expected, other.to_string()));
                }
            }
            if self.bits.overrun() {
                return Err(self.too_short());
            }
            at = end;
        }
        Ok(())
    }

    #[cold]
    fn too_short(&self) -> Corrupt {
        Corrupt::new(self.input.len(), "the rest of the output", "the end of the data")
    }

    /// An uncompressed block: the last three distances, its bytes, and one more to make their number even
    /// (\[MS-PATCH\] 2.3.3).
    fn copy(&mut self, output: &mut [u8]) -> Result<(), Corrupt> {
        let start = self.bits.end();
        let data = self.input.get(start..).and_then(<[u8]>::split_first_chunk::<12>);
        let Some((recent, bytes)) = data.and_then(|(recent, data)| Some((recent, data.get(..output.len())?)))
        else {
            return Err(self.too_short());
        };
        for (recent, bytes) in self.recent.iter_mut().zip(recent.as_chunks::<4>().0) {
            // What is too big for any chunk is refused when it is used.
            *recent = usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(usize::MAX);
        }
        output.copy_from_slice(bytes);
        self.bits = Bits::new(self.input, (start + 12 + bytes.len()).next_multiple_of(2));
        Ok(())
    }

    fn read_aligned_code(&mut self) -> Result<(), Corrupt> {
        let mut lengths = [0; ALIGNED_SYMBOLS];
        for length in &mut lengths {
            *length = byte(self.bits.refilled(3));
        }
        set(&mut self.aligned, &lengths, &self.bits)
    }

    fn read_codes(&mut self) -> Result<(), Corrupt> {
        read_lengths(&mut self.bits, &mut self.main_lengths[..LITERALS])?;
        read_lengths(&mut self.bits, &mut self.main_lengths[LITERALS..])?;
        read_lengths(&mut self.bits, &mut self.length_lengths)?;
        set(&mut self.main, &self.main_lengths, &self.bits)?;
        set(&mut self.length, &self.length_lengths, &self.bits)
    }

    /// Literals and matches, from `at` up to the end of `output` (\[MS-PATCH\] 2.6).
    fn decode_matches<const ALIGNED: bool>(
        &mut self,
        output: &mut [u8],
        mut at: usize,
    ) -> Result<(), Corrupt> {
        let Self { bits, main, length, aligned, recent, .. } = self;
        while at < output.len() {
            // Three codes of 16 bits are there after a refill: two literals, or one and a match with its length or distance.
            bits.refill();
            let mut symbol = decode(main, bits)?;
            if symbol < LITERALS {
                output[at] = byte(symbol);
                at += 1;
                if at == output.len() {
                    break;
                }
                symbol = decode(main, bits)?;
                if symbol < LITERALS {
                    output[at] = byte(symbol);
                    at += 1;
                    continue;
                }
            }
            let (slot, mut matched) = ((symbol - LITERALS) / 8, symbol % 8);
            if matched == LONG {
                matched += decode(length, bits)?;
                bits.refill();
            }
            matched += SHORTEST;
            let distance = if slot < RECENT {
                let distance = recent[slot];
                recent[slot] = recent[0];
                distance
            } else {
                let extra = EXTRA_BITS[slot % SLOTS];
                let above_base = if ALIGNED && extra >= 3 {
                    // Two codes of 16 bits, 10 bits and a code of 7 are one bit more than a refill gives.
                    bits.refill();
                    let high = bits.read(extra - 3) << 3;
                    high + decode(aligned, bits)?
                } else {
                    bits.read(extra)
                };
                recent[2] = recent[1];
                recent[1] = recent[0];
                BASES[slot % SLOTS] + above_base - 2
            };
            recent[0] = distance;
            if distance == 0 || distance > at {
                return Err(Corrupt::distance(bits.place(), distance, at));
            }
            if matched > output.len() - at {
                return Err(Corrupt::length(bits.place(), matched, output.len() - at));
            }
            repeat(output, at, distance, matched);
            at += matched;
        }
        Ok(())
    }
}

/// Reads lengths of codes: a code for them, then each as its difference to what `lengths` holds, or a run of zeroes or of one
/// difference (\[MS-PATCH\] 2.5).
fn read_lengths(bits: &mut Bits<'_>, lengths: &mut [u8]) -> Result<(), Corrupt> {
    let mut pretree_lengths = [0; PRETREE_SYMBOLS];
    for length in &mut pretree_lengths {
        *length = byte(bits.refilled(4));
    }
    let mut pretree = Code::<PRETREE_SYMBOLS, 64>::new();
    set(&mut pretree, &pretree_lengths, bits)?;
    let mut at = 0;
    while at < lengths.len() {
        bits.refill();
        let symbol = decode(&pretree, bits)?;
        let (count, length) = match symbol {
            17 => (bits.read(4) + 4, 0),
            18 => (bits.read(5) + 20, 0),
            19 => {
                let count = bits.read(1) + 4;
                let difference = decode(&pretree, bits)?;
                if difference > LONGEST_CODE {
                    let found = difference.to_string();
                    return Err(Corrupt::new(bits.place(), "a difference of at most 16", found));
                }
                (count, changed(lengths[at], difference))
            }
            difference => (1, changed(lengths[at], difference)),
        };
        let room = lengths.len() - at;
        let Some(run) = lengths[at..].get_mut(..count) else {
            let expected = format!("a run of at most {room} lengths of codes");
            return Err(Corrupt::new(bits.place(), expected, format!("one of {count}")));
        };
        run.fill(length);
        at += count;
    }
    Ok(())
}

/// A length that differs from the one before, modulo 17.
fn changed(before: u8, difference: usize) -> u8 {
    byte((usize::from(before) + LONGEST_CODE + 1 - difference) % (LONGEST_CODE + 1))
}

fn set<const SYMBOLS: usize, const TABLE: usize>(
    code: &mut Code<SYMBOLS, TABLE>,
    lengths: &[u8; SYMBOLS],
    bits: &Bits<'_>,
) -> Result<(), Corrupt> {
    let refuse = |_| Corrupt::new(bits.place(), "lengths of Huffman codes", "lengths that no codes can have");
    code.set(lengths).map_err(refuse)
}

#[inline(always)]
fn decode<const SYMBOLS: usize, const TABLE: usize>(
    code: &Code<SYMBOLS, TABLE>,
    bits: &mut Bits<'_>,
) -> Result<usize, Corrupt> {
    code.decode(bits).ok_or_else(|| Corrupt::new(bits.place(), "a Huffman code of the block", "another"))
}

/// The lower eight bits; what it is called with has no more.
#[inline(always)]
fn byte(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

/// An x86 call: this byte, and four of operand.
const CALL: u8 = 0xe8;
/// The size of the file that the operands are translated for.
const TRANSLATED_SIZE: i32 = 12_000_000;
/// A call that begins in the last bytes of a chunk is not translated.
const UNTRANSLATED: usize = 10;

/// Makes the operands of calls relative again: before the compression they were made absolute, so that calls of one function
/// are the same bytes (\[MS-PATCH\] 2.1.3).
fn restore_calls(output: &mut [u8]) {
    let end = output.len().saturating_sub(UNTRANSLATED);
    let mut at = 0;
    while at < end {
        let Some(distance) = output[at..end].iter().position(|byte| *byte == CALL) else { break };
        at += distance;
        let place = i32::try_from(at).unwrap_or(i32::MAX);
        if let Some(operand) = output[at + 1..].first_chunk_mut() {
            let absolute = i32::from_le_bytes(*operand);
            if (-place..TRANSLATED_SIZE).contains(&absolute) {
                let relative = if absolute >= 0 { absolute - place } else { absolute + TRANSLATED_SIZE };
                *operand = relative.to_le_bytes();
            }
        }
        at += 5;
    }
}
