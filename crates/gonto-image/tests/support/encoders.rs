//! Encoders for the three compressions: simple ones, that use everything which the formats have.

use std::collections::HashMap;

#[derive(Clone, Copy, Debug)]
enum Token {
    Literal(u8),
    Match { distance: usize, length: usize },
}

/// Greedy matches of three bytes or more that begin at most `reach(position)` bytes back and are at most
/// `longest(position)` bytes long.
fn tokens(data: &[u8], reach: impl Fn(usize) -> usize, longest: impl Fn(usize) -> usize) -> Vec<Token> {
    let mut last: HashMap<[u8; 3], usize> = HashMap::new();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let key = data[at..].first_chunk::<3>().copied();
        let before = key.and_then(|key| last.get(&key).copied()).filter(|before| at - before <= reach(at));
        let length = before.map_or(0, |before| {
            let same = data[at..].iter().zip(&data[before..]).take_while(|(a, b)| a == b).count();
            same.min(longest(at))
        });
        let taken = match before {
            Some(before) if length >= 3 => {
                tokens.push(Token::Match { distance: at - before, length });
                length
            }
            _ => {
                tokens.push(Token::Literal(data[at]));
                1
            }
        };
        for place in at..at + taken {
            if let Some(key) = data[place..].first_chunk::<3>() {
                last.insert(*key, place);
            }
        }
        at += taken;
    }
    tokens
}

/// Lengths of Huffman codes, none longer than `longest`.
fn code_lengths(counts: &[usize], longest: u8) -> Vec<u8> {
    let mut counts = counts.to_vec();
    loop {
        let mut lengths = vec![0; counts.len()];
        // Each heap entry is a weight and the symbols below it.
        let mut nodes: Vec<(usize, Vec<usize>)> =
            counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(s, n)| (*n, vec![s])).collect();
        if let [(_, symbols)] = nodes.as_slice() {
            lengths[symbols[0]] = 1;
        }
        while nodes.len() > 1 {
            nodes.sort_by_key(|node| std::cmp::Reverse(node.0));
            let (a, b) = (nodes.pop().unwrap(), nodes.pop().unwrap());
            let symbols = [a.1, b.1].concat();
            symbols.iter().for_each(|symbol| lengths[*symbol] += 1);
            nodes.push((a.0 + b.0, symbols));
        }
        if lengths.iter().all(|length| *length <= longest) {
            return lengths;
        }
        counts.iter_mut().filter(|count| **count > 0).for_each(|count| *count = *count / 2 + 1);
    }
}

/// The canonical codes of such lengths.
fn codes(lengths: &[u8]) -> Vec<(usize, u32)> {
    let mut codes = vec![(0, 0); lengths.len()];
    let mut code = 0;
    for length in 1..=16 {
        for (symbol, _) in lengths.iter().enumerate().filter(|(_, l)| **l == length) {
            codes[symbol] = (code, u32::from(length));
            code += 1;
        }
        code <<= 1;
    }
    codes
}

/// Bits in words, and bytes between them where a decoder looks for them that has always loaded 16 bits ahead.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// Where the next two words go.
    slots: [usize; 2],
    word: u32,
    filled: u32,
}

impl BitWriter {
    fn new(start: Vec<u8>) -> Self {
        let slots = [start.len(), start.len() + 2];
        let mut bytes = start;
        bytes.extend([0; 4]);
        Self { bytes, slots, word: 0, filled: 0 }
    }

    fn bits(&mut self, value: usize, count: u32) {
        for bit in (0..count).rev() {
            if self.filled == 16 {
                self.flush();
                self.slots = [self.slots[1], self.bytes.len()];
                self.bytes.extend([0; 2]);
            }
            self.word = self.word << 1 | u32::try_from(value >> bit & 1).unwrap();
            self.filled += 1;
        }
    }

    fn code(&mut self, codes: &[(usize, u32)], symbol: usize) {
        let (code, length) = codes[symbol];
        assert!(length > 0, "symbol {symbol} has no code");
        self.bits(code, length);
    }

    fn flush(&mut self) {
        let word = u16::try_from(self.word << (16 - self.filled)).unwrap();
        self.bytes[self.slots[0]..][..2].copy_from_slice(&word.to_le_bytes());
        (self.word, self.filled) = (0, 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.bytes
    }
}

/// XPRESS with Huffman codes: one chunk.
pub(crate) fn xpress_huffman(data: &[u8]) -> Vec<u8> {
    let tokens = tokens(data, |at| at, |_| data.len());
    let symbol = |token: &Token| match *token {
        Token::Literal(byte) => usize::from(byte),
        Token::Match { distance, length } => 256 + (distance.ilog2() as usize) * 16 + (length - 3).min(15),
    };
    let mut counts = vec![0; 512];
    tokens.iter().for_each(|token| counts[symbol(token)] += 1);
    let lengths = code_lengths(&counts, 15);
    let codes = codes(&lengths);
    let mut writer = BitWriter::new(lengths.chunks(2).map(|pair| pair[0] | pair[1] << 4).collect());
    for token in &tokens {
        writer.code(&codes, symbol(token));
        if let Token::Match { distance, length } = *token {
            match length - 3 {
                0..15 => {}
                long @ 15..270 => writer.bytes.push(u8::try_from(long - 15).unwrap()),
                long => {
                    writer.bytes.push(255);
                    writer.bytes.extend(u16::try_from(long).unwrap().to_le_bytes());
                }
            }
            writer.bits(distance - (1 << distance.ilog2()), distance.ilog2());
        }
    }
    writer.finish()
}

/// How a block of LZX is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Block {
    Verbatim,
    Aligned,
    Uncompressed,
}

/// LZX: one chunk of at most 32 KiB, in blocks of these kinds and sizes; the last kind takes the rest.
pub(crate) fn lzx(data: &[u8], blocks: &[(Block, usize)]) -> Vec<u8> {
    let translated = translate_calls(data);
    let mut encoder = Lzx { out: Vec::new(), recent: [1; 3], main: vec![0; 496], length: vec![0; 249] };
    let mut writer = Some(PlainBits::default());
    let mut at = 0;
    let last = blocks.last().unwrap().0;
    let mut blocks = blocks.iter().copied();
    while at < data.len() {
        let (kind, size) = blocks.next().unwrap_or((last, usize::MAX));
        let size = size.min(data.len() - at);
        let mut bits = writer.take().unwrap();
        bits.bits(
            [(Block::Verbatim, 1), (Block::Aligned, 2), (Block::Uncompressed, 3)]
                .iter()
                .find(|(known, _)| *known == kind)
                .unwrap()
                .1,
            3,
        );
        if size == 32 << 10 {
            bits.bits(1, 1);
        } else {
            bits.bits(size, 17);
        }
        if kind == Block::Uncompressed {
            // At least one bit of padding.
            bits.bits(0, 1);
            encoder.out.extend(bits.finish());
            encoder.recent.iter().for_each(|distance| {
                encoder.out.extend(u32::try_from(*distance).unwrap().to_le_bytes());
            });
            encoder.out.extend(&translated[at..at + size]);
            encoder.out.extend(&[0; 1][..size % 2]);
            bits = PlainBits::default();
        } else {
            encoder.block(&mut bits, &translated, at, size, kind == Block::Aligned);
        }
        writer = Some(bits);
        at += size;
    }
    encoder.out.extend(writer.unwrap().finish());
    encoder.out
}

/// LZX with the longest codes that there are, one behind the other: a literal, a match, its distance. Returns what that becomes as
/// well. `before` literals of a bit come first, and another of two bits and one where `odd`: what a reader has at hand depends on them.
pub(crate) fn lzx_of_longest_codes(before: usize, odd: bool) -> (Vec<u8>, Vec<u8>) {
    let mut data: Vec<u8> = (0..20_000u32).map(|at| ((at * at) >> 7).to_le_bytes()[0] & 0x7f).collect();
    let mut input = lzx(&data, &[(Block::Uncompressed, data.len())]);
    let literals: Vec<u8> = std::iter::repeat_n(b'A', before)
        .chain(odd.then_some(b"AC").into_iter().flatten().copied())
        .collect();
    let (distance, length) = (16_384 + 7 - 2, 2);
    let (slot, (value, count)) = slot_of(distance + 2);
    let matched = 256 + slot * 8;
    let (mut main, mut low) = (vec![0; 496], vec![0; 8]);
    // One code of each length, and two of the longest.
    let short = [usize::from(b'A'), usize::from(b'C')].into_iter().chain(128..141);
    for (length, symbol) in (1..).zip(short).chain([(16, usize::from(b'B')), (16, matched)]) {
        main[symbol] = length;
    }
    for (length, symbol) in (1..8).zip(0..).chain([(7, 7)]) {
        low[symbol] = length;
    }
    let mut bits = PlainBits::default();
    bits.bits(2, 3);
    bits.bits(literals.len() + 1 + length, 17);
    low.iter().for_each(|length| bits.bits(usize::from(*length), 3));
    write_lengths(&mut bits, &[0; 256], &main[..256]);
    write_lengths(&mut bits, &[0; 240], &main[256..]);
    write_lengths(&mut bits, &[0; 249], &[0; 249]);
    for literal in literals.iter().chain(b"B") {
        bits.code(&codes(&main), usize::from(*literal));
        data.push(*literal);
    }
    bits.code(&codes(&main), matched);
    bits.bits(value >> 3, count - 3);
    bits.code(&codes(&low), value & 7);
    data.extend_from_within(data.len() - distance..data.len() - distance + length);
    input.extend(bits.finish());
    (input, data)
}

/// Bits in words, with nothing between them.
#[derive(Default)]
struct PlainBits {
    bytes: Vec<u8>,
    word: u32,
    filled: u32,
}

impl PlainBits {
    fn bits(&mut self, value: usize, count: u32) {
        for bit in (0..count).rev() {
            self.word = self.word << 1 | u32::try_from(value >> bit & 1).unwrap();
            self.filled += 1;
            if self.filled == 16 {
                self.bytes.extend(u16::try_from(self.word).unwrap().to_le_bytes());
                (self.word, self.filled) = (0, 0);
            }
        }
    }

    fn code(&mut self, codes: &[(usize, u32)], symbol: usize) {
        let (code, length) = codes[symbol];
        assert!(length > 0, "symbol {symbol} has no code");
        self.bits(code, length);
    }

    fn finish(mut self) -> Vec<u8> {
        while self.filled > 0 {
            self.bits(0, 1);
        }
        self.bytes
    }
}

struct Lzx {
    out: Vec<u8>,
    recent: [usize; 3],
    main: Vec<u8>,
    length: Vec<u8>,
}

/// A token as LZX tells it.
struct Told {
    main: usize,
    length: Option<usize>,
    /// Value and number of bits of the rest of the distance.
    extra: (usize, u32),
}

impl Lzx {
    fn block(&mut self, bits: &mut PlainBits, data: &[u8], start: usize, size: usize, aligned: bool) {
        // Matches may begin before the block, but not leave it.
        let mut at = 0;
        let all = tokens(
            &data[..start + size],
            |at| at,
            |at| {
                let room = if at < start { start - at } else { start + size - at };
                room.min(257)
            },
        );
        let mut told = Vec::new();
        for token in all {
            let length = match token {
                Token::Literal(_) => 1,
                Token::Match { length, .. } => length,
            };
            if at >= start {
                told.push(self.tell(token));
            }
            at += length;
        }
        let (mut main, mut lengths, mut low) = (vec![0; 496], vec![0; 249], vec![0; 8]);
        for token in &told {
            main[token.main] += 1;
            if let Some(length) = token.length {
                lengths[length] += 1;
            }
            if token.extra.1 >= 3 {
                low[token.extra.0 & 7] += 1;
            }
        }
        let low = code_lengths(&low, 7);
        if aligned {
            low.iter().for_each(|length| bits.bits(usize::from(*length), 3));
        }
        let (main, length) = (code_lengths(&main, 16), code_lengths(&lengths, 16));
        write_lengths(bits, &self.main[..256], &main[..256]);
        write_lengths(bits, &self.main[256..], &main[256..]);
        write_lengths(bits, &self.length, &length);
        let (main_codes, length_codes, low_codes) = (codes(&main), codes(&length), codes(&low));
        (self.main, self.length) = (main, length);
        for token in told {
            bits.code(&main_codes, token.main);
            if let Some(length) = token.length {
                bits.code(&length_codes, length);
            }
            let (value, count) = token.extra;
            if aligned && count >= 3 {
                bits.bits(value >> 3, count - 3);
                bits.code(&low_codes, value & 7);
            } else {
                bits.bits(value, count);
            }
        }
    }

    fn tell(&mut self, token: Token) -> Told {
        let (distance, length) = match token {
            Token::Literal(byte) => return Told { main: usize::from(byte), length: None, extra: (0, 0) },
            Token::Match { distance, length } => (distance, length),
        };
        let (slot, extra) = match self.recent.iter().position(|recent| *recent == distance) {
            Some(slot) => {
                self.recent[slot] = self.recent[0];
                (slot, (0, 0))
            }
            None => {
                self.recent = [0, self.recent[0], self.recent[1]];
                slot_of(distance + 2)
            }
        };
        self.recent[0] = distance;
        let header = (length - 2).min(7);
        let length = (header == 7).then(|| length - 9);
        Told { main: 256 + slot * 8 + header, length, extra }
    }
}

/// The position slot of a distance plus two, and what it has on top of the slot's base.
fn slot_of(formatted: usize) -> (usize, (usize, u32)) {
    if formatted < 4 {
        return (formatted, (0, 0));
    }
    let log = formatted.ilog2();
    let half = formatted >> (log - 1) & 1;
    let extra = log - 1;
    (2 * log as usize + half, (formatted & ((1 << extra) - 1), extra))
}

fn write_lengths(bits: &mut PlainBits, before: &[u8], now: &[u8]) {
    // Symbol, and value and number of the bits behind it; for 19 the difference as well.
    let mut told: Vec<(usize, usize, u32, Option<usize>)> = Vec::new();
    let mut at = 0;
    while at < now.len() {
        let difference = |at: usize| (usize::from(before[at]) + 17 - usize::from(now[at])) % 17;
        let zeroes = now[at..].iter().take_while(|length| **length == 0).count();
        let same = now[at..].iter().take_while(|length| **length == now[at]).count();
        let (symbol, count) = if zeroes >= 20 {
            let count = zeroes.min(51);
            ((18, count - 20, 5, None), count)
        } else if zeroes >= 4 {
            let count = zeroes.min(19);
            ((17, count - 4, 4, None), count)
        } else if same >= 4 {
            let count = same.min(5);
            ((19, count - 4, 1, Some(difference(at))), count)
        } else {
            ((difference(at), 0, 0, None), 1)
        };
        told.push(symbol);
        at += count;
    }
    let mut counts = vec![0; 20];
    for (symbol, _, _, difference) in &told {
        counts[*symbol] += 1;
        if let Some(difference) = difference {
            counts[*difference] += 1;
        }
    }
    let lengths = code_lengths(&counts, 15);
    lengths.iter().for_each(|length| bits.bits(usize::from(*length), 4));
    let codes = codes(&lengths);
    for (symbol, value, count, difference) in told {
        bits.code(&codes, symbol);
        bits.bits(value, count);
        if let Some(difference) = difference {
            bits.code(&codes, difference);
        }
    }
}

/// Makes the operands of x86 calls absolute.
fn translate_calls(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    let mut at = 0;
    while at + 10 < data.len() {
        if data[at] != 0xe8 {
            at += 1;
            continue;
        }
        let place = i32::try_from(at).unwrap();
        let operand = data[at + 1..].first_chunk_mut().unwrap();
        let relative = i32::from_le_bytes(*operand);
        if (-place..12_000_000).contains(&relative) {
            let absolute =
                if relative < 12_000_000 - place { relative + place } else { relative - 12_000_000 };
            *operand = absolute.to_le_bytes();
        }
        at += 5;
    }
    data
}

/// LZNT1: chunks, and a zero behind the last.
pub(crate) fn lznt1(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in data.chunks(4096) {
        let length_bits = |at: usize| 12 - (usize::BITS - ((at.max(1) - 1) >> 4).leading_zeros());
        let tokens = tokens(chunk, |at| at, |at| (1 << length_bits(at)) + 2);
        let mut body = Vec::new();
        let mut at = 0;
        for group in tokens.chunks(8) {
            let flags = body.len();
            body.push(0);
            for (bit, token) in group.iter().enumerate() {
                match *token {
                    Token::Literal(byte) => {
                        body.push(byte);
                        at += 1;
                    }
                    Token::Match { distance, length } => {
                        body[flags] |= 1 << bit;
                        let token = (distance - 1) << length_bits(at) | (length - 3);
                        body.extend(u16::try_from(token).unwrap().to_le_bytes());
                        at += length;
                    }
                }
            }
        }
        let (flags, body) = if body.len() < chunk.len() { (0xb000, &body[..]) } else { (0x3000, chunk) };
        out.extend((flags | u16::try_from(body.len() - 1).unwrap()).to_le_bytes());
        out.extend(body);
    }
    out.extend([0, 0]);
    out
}
