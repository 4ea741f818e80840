//! Edits of sparse images that know where the fields are.
//!
//! libFuzzer's own mutations go on beside these: they find what nobody thought of. What they hardly find by themselves is a
//! field that is wrong in a way that the next check lets pass: the neighbour's number, a size that is one more, the same
//! record twice.

use crate::numbers::Numbers;
use crate::sparse::{Image, LONGEST_PIECE, Piece};

mod fields;

use fields::Field;

/// A custom mutator of libFuzzer: changes `data[..size]` in place and returns the new size, at most `max_size`.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut numbers = Numbers(u64::from(seed));
    let Some(mut image) = Image::decode(&data[..size]).filter(|image| !image.pieces.is_empty()) else {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    };
    if numbers.one_in(4) {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    for _ in 0..=numbers.below(3) {
        edit(&mut image, &mut numbers);
    }
    store(&image, data, size, max_size)
}

/// A custom crossover of libFuzzer: some pieces of the one image in the other.
pub fn cross_over(one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let mut numbers = Numbers(u64::from(seed));
    let (Some(mut image), Some(other)) = (Image::decode(one), Image::decode(other)) else { return 0 };
    for _ in 0..=numbers.below(4) {
        let Some(piece) = numbers.pick(&other.pieces) else { break };
        let same_place = image.pieces.iter().position(|own| own.at == piece.at);
        match (same_place, numbers.below(3)) {
            (Some(own), 0 | 1) => image.pieces[own] = piece.clone(),
            _ => transplant(&mut image, piece, &mut numbers),
        }
    }
    let max_size = out.len();
    store(&image, out, 0, max_size)
}

fn store(image: &Image, data: &mut [u8], size: usize, max_size: usize) -> usize {
    let encoded = image.encode();
    if encoded.len() > max_size {
        return size;
    }
    data[..encoded.len()].copy_from_slice(&encoded);
    encoded.len()
}

fn edit(image: &mut Image, numbers: &mut Numbers) {
    let chosen = numbers.below(image.pieces.len());
    if image.pieces.is_empty() {
        return;
    }
    match numbers.below(24) {
        0..=11 => set_field(image, chosen, numbers),
        12..=15 => scramble(&mut image.pieces[chosen].bytes, numbers),
        16 => {
            let piece = image.pieces[chosen].clone();
            transplant(image, &piece, numbers);
        }
        17 => {
            image.pieces.remove(chosen);
        }
        18 => image.pieces[chosen].at = near(image.pieces[chosen].at, numbers) & 0xffff_ffff_ffff,
        19 => image.pieces[chosen].as_it_is ^= true,
        20 => image.size = near(image.size, numbers),
        21 => insert_or_remove(&mut image.pieces[chosen].bytes, numbers),
        22 => {
            let other = numbers.below(image.pieces.len());
            let at = image.pieces[chosen].at;
            image.pieces[chosen].at = image.pieces[other].at;
            image.pieces[other].at = at;
        }
        _ => copy_within(image, chosen, numbers),
    }
}

/// Gives a field of a structure a value that may get past the checks.
fn set_field(image: &mut Image, chosen: usize, numbers: &mut Numbers) {
    let fields = fields::of(&image.pieces[chosen].bytes);
    let Some(&field) = numbers.pick(&fields) else {
        return scramble(&mut image.pieces[chosen].bytes, numbers);
    };
    let old = field.get(&image.pieces[chosen].bytes);
    let value = match numbers.below(6) {
        0 => extreme(numbers),
        1 => {
            // What another field of this width says.
            let other = numbers.below(image.pieces.len());
            let others: Vec<Field> = fields::of(&image.pieces[other].bytes)
                .into_iter()
                .filter(|other| other.width == field.width)
                .collect();
            numbers.pick(&others).map_or(old, |field| field.get(&image.pieces[other].bytes))
        }
        2 => numbers.any(),
        3 => old ^ 1 << numbers.below(field.width * 8),
        _ => near(old, numbers),
    };
    field.set(&mut image.pieces[chosen].bytes, value);
}

fn extreme(numbers: &mut Numbers) -> u64 {
    const EXTREME: [u64; 18] = [
        0,
        1,
        2,
        7,
        8,
        0x10,
        0xff,
        0x200,
        0x3ff,
        0x400,
        0x1000,
        0x7fff,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        i64::MAX as u64,
        u64::MAX,
    ];
    numbers.pick(&EXTREME).copied().unwrap_or(0)
}

fn near(value: u64, numbers: &mut Numbers) -> u64 {
    let step = 1u64 << numbers.below(14);
    match numbers.below(6) {
        0 => value.wrapping_add(step),
        1 => value.wrapping_sub(step),
        2 => value.wrapping_mul(2),
        3 => value >> 1,
        4 => value.wrapping_add(numbers.below(16) as u64),
        _ => value.wrapping_sub(numbers.below(16) as u64),
    }
}

/// libFuzzer's own mutations of the bytes of a piece, which may grow a little.
fn scramble(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let size = bytes.len();
    let room = if numbers.one_in(4) { 64 } else { 0 };
    let max_size = (size + room).min(LONGEST_PIECE).max(size).max(1);
    bytes.resize(max_size, 0);
    let size = libfuzzer_sys::fuzzer_mutate(bytes, size, max_size);
    bytes.truncate(size);
}

/// Lengths of structures grow and shrink in steps of eight.
fn insert_or_remove(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let at = numbers.below(bytes.len() + 1) & !7;
    let count = (8 << numbers.below(4)).min(bytes.len() - at);
    if numbers.one_in(2) {
        bytes.drain(at..at + count);
    } else if bytes.len() + count <= LONGEST_PIECE {
        let again = bytes[at..at + count].to_vec();
        bytes.splice(at..at, again);
    }
}

/// Puts a piece where another one is. A record keeps the number that belongs to its place.
fn transplant(image: &mut Image, piece: &Piece, numbers: &mut Numbers) {
    let Some(target) = numbers.pick(&image.pieces).cloned() else { return };
    let mut planted = Piece { at: target.at, ..piece.clone() };
    if let (Some(number), Some(own)) = (target.bytes.get(0x2c..0x30), planted.bytes.get_mut(0x2c..0x30))
        && numbers.below(4) > 0
    {
        own.copy_from_slice(number);
    }
    match numbers.below(3) {
        0 => {
            // Behind it, in place of what is there or as something new.
            planted.at = target.at + (target.bytes.len() as u64).next_multiple_of(1024);
            image.pieces.push(planted);
        }
        _ => image.pieces.push(planted),
    }
}

/// Some bytes of one piece over those of another.
fn copy_within(image: &mut Image, chosen: usize, numbers: &mut Numbers) {
    let from = numbers.below(image.pieces.len());
    let source = &image.pieces[from].bytes;
    let start = numbers.below(source.len()) & !7;
    let length = (8 << numbers.below(7)).min(source.len() - start);
    let copied = source[start..start + length].to_vec();
    let bytes = &mut image.pieces[chosen].bytes;
    let to = numbers.below(bytes.len()) & !7;
    let length = length.min(bytes.len() - to);
    bytes[to..to + length].copy_from_slice(&copied[..length]);
}
