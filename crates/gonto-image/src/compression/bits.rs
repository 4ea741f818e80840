//! The bit stream that XPRESS-Huffman and LZX share: 16-bit words, little endian, whose highest bit comes first
//! (\[MS-XCA\] 2.2.4, \[MS-PATCH\] 2.1).

/// Reads bits. Behind the end of the input they are zero; [`overrun`](Self::overrun) tells when any of these were taken.
pub(super) struct Bits<'i> {
    input: &'i [u8],
    /// Byte offset of the first word that is not in `buffer`; it may lie behind the end.
    next: usize,
    /// What comes, the next bit topmost.
    buffer: u64,
    /// How many bits of `buffer` count, at most 63. Those below are zero, or what will be loaded there again.
    count: u32,
}

/// How many bits there are at least after [`Bits::refill`].
const REFILLED: u32 = 48;

impl<'i> Bits<'i> {
    /// Begins at a byte offset.
    pub(super) fn new(input: &'i [u8], start: usize) -> Self {
        Self { input, next: start, buffer: 0, count: 0 }
    }

    /// Loads words until there are at least 48 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count >= REFILLED {
            return;
        }
        let ahead = self.input.get(self.next..).and_then(<[u8]>::first_chunk::<8>);
        let Some(ahead) = ahead else { return self.refill_at_the_end() };
        // The four words in the order in which their bits come.
        let words = u64::from_le_bytes(*ahead).rotate_left(32);
        let words = (words & 0xffff_0000_ffff_0000) >> 16 | (words & 0x0000_ffff_0000_ffff) << 16;
        self.buffer |= words >> self.count;
        let loaded = (63 - self.count) / 16;
        self.next += 2 * loaded as usize;
        self.count += 16 * loaded;
    }

    #[cold]
    fn refill_at_the_end(&mut self) {
        while self.count < REFILLED {
            let byte = |at: usize| u64::from(self.input.get(at).copied().unwrap_or(0));
            let word = byte(self.next + 1) << 8 | byte(self.next);
            // What a wide load has left below the bits that count goes away.
            self.buffer &= !(u64::MAX >> self.count);
            self.buffer |= word << 48 >> self.count;
            self.next += 2;
            self.count += 16;
        }
    }

    /// The next `count` bits, 1 to 16, without taking them. There must be that many since the last refill.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> usize {
        // Only 16 bits are left of it, so that nothing is cut off.
        let top = (self.buffer >> 48) as usize;
        top >> (16 - count)
    }

    /// Takes bits that were peeked at.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// Reads 0 to 16 bits. There must be that many since the last refill.
    #[inline(always)]
    pub(super) fn read(&mut self, count: u32) -> usize {
        let bits = if count == 0 { 0 } else { self.peek(count) };
        self.take(count);
        bits
    }

    /// Refills and reads 0 to 16 bits.
    pub(super) fn refilled(&mut self, count: u32) -> usize {
        self.refill();
        self.read(count)
    }

    /// Whether more bits were taken than the input has.
    pub(super) fn overrun(&self) -> bool {
        (self.next * 8).saturating_sub(self.count as usize) > self.input.len().next_multiple_of(2) * 8
    }

    /// The byte that the next bit is in, for messages.
    pub(super) fn place(&self) -> usize {
        self.next.saturating_sub(self.count as usize / 8).min(self.input.len())
    }

    /// Reads bytes that lie between the words. A reader that loads words one by one, and always has 16 bits at hand, finds
    /// them behind the words that it has loaded; so they lie there. There must have been a refill since the last bytes, and
    /// at least 16 bits must be left. Zero behind the end.
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let at_hand = 16 + self.count % 16;
        let start = self.next - (self.count - at_hand) as usize / 8;
        let mut bytes = [0; N];
        let there = self.input.get(start..).unwrap_or_default();
        let length = there.len().min(N);
        bytes[..length].copy_from_slice(&there[..length]);
        self.next = start + N;
        self.count = at_hand;
        self.buffer &= !(u64::MAX >> at_hand);
        bytes
    }

    /// Leaves the bit stream: the offset of the first byte behind the word that the next bit is in. When that is the first bit
    /// of a word, all of the word is passed over (\[MS-PATCH\] 2.3.3: from 1 to 16 bits of padding).
    pub(super) fn end(&mut self) -> usize {
        self.refill();
        let padding = if self.count.is_multiple_of(16) { 16 } else { self.count % 16 };
        self.take(padding);
        self.next - self.count as usize / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_from_the_top_of_each_word() {
        let input: Vec<u8> = (1..=40).collect();
        let mut expected = String::new();
        for word in input.chunks(2) {
            expected += &format!("{:08b}{:08b}", word[1], word[0]);
        }
        for step in 1..=16 {
            let mut bits = Bits::new(&input, 0);
            let mut found = String::new();
            while found.len() < expected.len() {
                let value = bits.refilled(step);
                found += &format!("{value:0width$b}", width = step as usize);
            }
            let wanted = format!("{expected:0<width$}", width = found.len());
            assert_eq!(found, wanted, "{step} bits at a time");
            assert_eq!(bits.overrun(), found.len() > expected.len());
        }
    }

    #[test]
    fn bytes_lie_behind_the_words_that_a_simple_reader_has_loaded() {
        let input: Vec<u8> = (0..32).collect();
        for taken in 1..=48 {
            let mut bits = Bits::new(&input, 0);
            for _ in 0..taken {
                bits.refilled(1);
            }
            bits.refill();
            let loaded = 2 * (1 + usize::try_from(taken).unwrap().div_ceil(16));
            let first = u8::try_from(loaded).unwrap();
            assert_eq!(bits.bytes(), [first], "{taken}");
            bits.refill();
            assert_eq!(bits.bytes(), [first + 1, first + 2], "{taken}");
            // The bits at hand are still those of the words before, and then those behind the bytes.
            let at_hand = loaded * 8 - usize::try_from(taken).unwrap();
            for _ in 0..at_hand {
                bits.refilled(1);
            }
            assert_eq!(bits.refilled(16), usize::from(first + 4) << 8 | usize::from(first + 3), "{taken}");
        }
    }

    #[test]
    fn an_end_is_always_behind_padding() {
        let input = [0; 32];
        for (taken, end) in [(0, 2), (1, 2), (15, 2), (16, 4), (17, 4), (32, 6)] {
            let mut bits = Bits::new(&input, 0);
            for _ in 0..taken {
                bits.refilled(1);
            }
            assert_eq!(bits.end(), end, "{taken}");
        }
    }
}
