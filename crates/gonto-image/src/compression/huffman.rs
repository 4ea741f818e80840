//! Canonical Huffman codes, decoded by table.

use super::bits::Bits;

/// The longest code of LZX; those of XPRESS have at most 15 bits.
const LONGEST: usize = 16;

/// A code of `SYMBOLS` symbols. Codes that `TABLE` entries (a power of two) can tell apart are decoded in one step, longer ones
/// by comparing with the first code of each length.
pub(super) struct Code<const SYMBOLS: usize, const TABLE: usize> {
    /// For the next bits: the symbol, five bits higher, and the length of its code; 0 when the code is longer, or none.
    table: [u16; TABLE],
    /// The symbols by length of their codes, then by number.
    sorted: [u16; SYMBOLS],
    /// For each length the first code behind those of it, as the top of 16 bits.
    behind: [u32; LONGEST + 1],
    /// For each length how many symbols have shorter codes.
    shorter: [usize; LONGEST + 1],
}

/// More codes than there can be of such lengths.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Oversubscribed;

impl<const SYMBOLS: usize, const TABLE: usize> Code<SYMBOLS, TABLE> {
    /// How many bits are decoded in one step.
    const STEP: u32 = TABLE.trailing_zeros();

    /// A code that knows no symbol.
    pub(super) fn new() -> Self {
        Self { table: [0; TABLE], sorted: [0; SYMBOLS], behind: [0; LONGEST + 1], shorter: [0; LONGEST + 1] }
    }

    /// Makes the code in which each symbol has a code of so many bits, 0 to 16; 0 for those that do not occur. Lengths may
    /// leave codes over: the data must not have them then.
    pub(super) fn set(&mut self, lengths: &[u8; SYMBOLS]) -> Result<(), Oversubscribed> {
        let mut counts = [0u32; LONGEST + 1];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        let (mut code, mut symbols) = (0u32, 0);
        for (length, count) in counts.iter().enumerate().skip(1) {
            code += count << (LONGEST - length);
            self.behind[length] = code;
            self.shorter[length] = symbols;
            symbols += *count as usize;
        }
        if code > 1 << LONGEST {
            return Err(Oversubscribed);
        }
        let mut places = self.shorter;
        for (symbol, length) in (0u16..).zip(lengths) {
            if *length != 0 {
                let place = &mut places[usize::from(*length)];
                self.sorted[*place] = symbol;
                *place += 1;
            }
        }
        self.fill_table(&places);
        Ok(())
    }

    /// `ends` has for each length the place in `sorted` behind its symbols.
    fn fill_table(&mut self, ends: &[usize; LONGEST + 1]) {
        let mut filled = 0;
        for length in 1..=Self::STEP {
            let entries = TABLE >> length;
            let place = length as usize;
            for symbol in &self.sorted[self.shorter[place]..ends[place]] {
                // At most `Self::STEP`, which is less than 16.
                let entry = symbol << 5 | u16::try_from(length).unwrap_or(0);
                self.table[filled..filled + entries].fill(entry);
                filled += entries;
            }
        }
        self.table[filled..].fill(0);
    }

    /// Reads a symbol; `None` for a code that no symbol has. There must have been 16 bits since the last refill.
    #[inline(always)]
    pub(super) fn decode(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let entry = self.table[bits.peek(Self::STEP) & (TABLE - 1)];
        if entry == 0 {
            return self.decode_long(bits);
        }
        bits.take(u32::from(entry & 31));
        Some(usize::from(entry >> 5))
    }

    #[inline(never)]
    fn decode_long(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let code = bits.peek(16);
        for length in Self::STEP + 1..=16 {
            let place = length as usize;
            if code < self.behind[place] as usize {
                let from_first = (code - self.behind[place - 1] as usize) >> (16 - length);
                bits.take(length);
                return self.sorted.get(self.shorter[place] + from_first).map(|symbol| usize::from(*symbol));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes what `text` (of zeroes and ones) spells.
    fn decode<const SYMBOLS: usize>(lengths: [u8; SYMBOLS], text: &str) -> Vec<Option<usize>> {
        let mut padded = text.to_string();
        while !padded.len().is_multiple_of(16) {
            padded.push('0');
        }
        let words = padded.as_bytes().chunks(16).flat_map(|word| {
            u16::from_str_radix(std::str::from_utf8(word).unwrap(), 2).unwrap().to_le_bytes()
        });
        let input: Vec<u8> = words.collect();
        let mut code = Code::<SYMBOLS, 8>::new();
        code.set(&lengths).unwrap();
        let mut bits = Bits::new(&input, 0);
        let mut found = Vec::new();
        let end = text.len();
        let mut taken = 0;
        while taken < end {
            bits.refill();
            let symbol = code.decode(&mut bits);
            found.push(symbol);
            match symbol {
                Some(symbol) => taken += usize::from(lengths[symbol]),
                None => break,
            }
        }
        found
    }

    #[test]
    fn short_and_long_codes_are_told_apart() {
        // 0 -> 10, 1 -> 0, 2 -> 110, 3 -> 11110, 4 -> 11111, 5 -> 1110
        let lengths = [2, 1, 3, 5, 5, 4, 0];
        assert_eq!(
            decode(lengths, "1001101111011111111000"),
            [0, 1, 2, 3, 4, 5, 1, 1].map(Some),
            "codes are canonical"
        );
        let mut deep = [0; 17];
        for (length, symbol) in (1..=16).zip(deep.iter_mut()) {
            *symbol = length;
        }
        deep[16] = 16;
        assert_eq!(decode(deep, "1111111111111111"), [Some(16)]);
        assert_eq!(decode(deep, "1111111111111110"), [Some(15)]);
        assert_eq!(decode(deep, "1111100"), [Some(5), Some(0)]);
    }

    #[test]
    fn lengths_that_leave_codes_over_are_taken_and_impossible_ones_refused() {
        assert_eq!(decode([1, 0, 0], "0001"), [Some(0), Some(0), Some(0), None]);
        assert_eq!(decode([0, 0, 0], "0"), [None]);
        assert_eq!(decode([0, 16, 0], "0000000000000001"), [None]);
        assert_eq!(Code::<3, 8>::new().set(&[1, 1, 1]), Err(Oversubscribed));
        assert_eq!(Code::<3, 8>::new().set(&[1, 1, 16]), Err(Oversubscribed));
    }
}
