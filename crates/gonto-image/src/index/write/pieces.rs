//! Where the content of a file comes from, in whole blocks, and into how big chunks it is cut.

use super::super::format::CHUNK;
use crate::source::{Extent, Place};
use crate::tree::{FileTree, NodeId};

/// A part of a file, from a multiple of the block size to another one or to the end of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) origin: Origin,
}

/// Where a piece comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// It lies in an image file, from a block of it on.
    Layer { layer: u32, offset: u64 },
    /// It is zero.
    Zero,
    /// No device has it as it is.
    Copied,
}

/// The blocks that pieces consist of, and what they may point to.
pub(super) struct Blocks<'a> {
    /// In bytes, a power of two.
    pub(super) size: u64,
    /// Bytes of the image files.
    pub(super) layers: &'a [u64],
}

impl Blocks<'_> {
    /// The pieces of a file; none if it is empty. `spoiled`: behind its end, its last block is not zero.
    pub(super) fn pieces(&self, tree: &FileTree, file: NodeId, spoiled: bool) -> Vec<Piece> {
        self.of_extents(tree.node(file).size, spoiled, |offset| tree.extent(file, offset))
    }

    fn of_extents(&self, size: u64, spoiled: bool, extent: impl Fn(u64) -> Extent) -> Vec<Piece> {
        let mut pieces = Pieces(Vec::new());
        // Always a multiple of the block size.
        let mut done = 0;
        while done < size {
            let Extent { length, place } = extent(done);
            if length == 0 {
                pieces.push(Piece { start: done, end: size, origin: Origin::Copied });
                break;
            }
            let end = done.saturating_add(length).min(size);
            let last_counts = end == size && !(spoiled && matches!(place, Place::Image { .. }));
            let whole = if last_counts { end } else { end - end % self.size };
            if done < whole {
                pieces.push(Piece { start: done, end: whole, origin: self.origin(place, whole - done) });
            }
            done = whole;
            if whole < end {
                // Something else begins in this block, or what follows the end.
                done = (whole + self.size).min(size);
                pieces.push(Piece { start: whole, end: done, origin: Origin::Copied });
            }
        }
        pieces.0
    }

    fn origin(&self, place: Place, length: u64) -> Origin {
        match place {
            Place::Zero => Origin::Zero,
            Place::Derived => Origin::Copied,
            Place::Image { layer, offset } => {
                // The last block is read as a whole.
                let end = length.checked_next_multiple_of(self.size).and_then(|all| offset.checked_add(all));
                let layer_size = usize::try_from(layer).ok().and_then(|layer| self.layers.get(layer));
                let inside = end.zip(layer_size).is_some_and(|(end, size)| end <= *size);
                if inside && offset.is_multiple_of(self.size) {
                    Origin::Layer { layer, offset }
                } else {
                    Origin::Copied
                }
            }
        }
    }
}

/// Pieces that continue each other become one.
struct Pieces(Vec<Piece>);

impl Pieces {
    fn push(&mut self, next: Piece) {
        if let Some(last) = self.0.last_mut() {
            let continues = match (last.origin, next.origin) {
                (Origin::Layer { layer, offset }, origin) => {
                    origin == Origin::Layer { layer, offset: offset + (last.end - last.start) }
                }
                (one, other) => one == other,
            };
            if continues {
                last.end = next.end;
                return;
            }
        }
        self.0.push(next);
    }
}

/// The content of a file, cut into chunks of one size. The last one may be shorter.
pub(super) struct Chunks<'p> {
    pieces: &'p [Piece],
    size: u64,
    /// Bytes of a chunk as a power of two.
    pub(super) bits: u8,
}

/// A chunk has at most this many blocks, as a power of two.
const MOST_BLOCKS: u8 = 31;

impl<'p> Chunks<'p> {
    /// Chooses the size of chunks that costs the fewest bytes. Every size cuts somewhere; what a cut leaves mixed is copied.
    pub(super) fn cheapest(pieces: &'p [Piece], block_bits: u8) -> Self {
        let size = pieces.last().map_or(0, |piece| piece.end);
        let of = |bits| Self { pieces, size, bits };
        let one = u8::try_from(u64::BITS - size.saturating_sub(1).leading_zeros()).unwrap_or(u8::MAX);
        let largest = one.clamp(block_bits, block_bits + MOST_BLOCKS);
        if pieces.len() == 1 {
            return of(largest);
        }
        let cost = |bits: &u8| of(*bits).count() * CHUNK + of(*bits).copied();
        of((block_bits..=largest).rev().min_by_key(cost).unwrap_or(largest))
    }

    /// Those of a file whose size of chunks is known.
    pub(super) fn of(pieces: &'p [Piece], bits: u8) -> Self {
        Self { pieces, size: pieces.last().map_or(0, |piece| piece.end), bits }
    }

    pub(super) fn count(&self) -> u64 {
        self.size.div_ceil(1 << self.bits)
    }

    /// Bytes in chunks that have to be copied.
    pub(super) fn copied(&self) -> u64 {
        let mut copied = 0;
        // The first chunk that is not counted yet.
        let mut next = 0;
        for piece in self.pieces {
            let (first, end) = match piece.origin {
                Origin::Copied => (piece.start >> self.bits, ((piece.end - 1) >> self.bits) + 1),
                // The chunk in which it begins belongs to the piece before as well.
                _ if !piece.start.is_multiple_of(1 << self.bits) => {
                    (piece.start >> self.bits, (piece.start >> self.bits) + 1)
                }
                _ => continue,
            };
            let first = first.max(next);
            if first < end {
                copied += self.end(end - 1) - (first << self.bits);
                next = end;
            }
        }
        copied
    }

    /// Each chunk: where it begins and ends in the file, and where it comes from.
    pub(super) fn iter(&self) -> impl Iterator<Item = Piece> + '_ {
        let mut pieces = self.pieces.iter().peekable();
        (0..self.count()).map(move |number| {
            let (start, end) = (number << self.bits, self.end(number));
            while pieces.next_if(|piece| piece.end <= start).is_some() {}
            let origin = match pieces.peek() {
                Some(piece) if piece.end >= end => match piece.origin {
                    Origin::Layer { layer, offset } => {
                        Origin::Layer { layer, offset: offset + (start - piece.start) }
                    }
                    origin => origin,
                },
                _ => Origin::Copied,
            };
            Piece { start, end, origin }
        })
    }

    fn end(&self, number: u64) -> u64 {
        (number + 1).saturating_mul(1 << self.bits).min(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: u64 = 1 << 40;

    /// A file of extents that follow each other.
    fn pieces(block: u64, extents: &[(u64, Place)], spoiled: bool) -> Vec<Piece> {
        let size = extents.iter().map(|(length, _)| length).sum();
        let blocks = Blocks { size: block, layers: &[IMAGE] };
        blocks.of_extents(size, spoiled, |offset| {
            let mut start = 0;
            for (length, place) in extents {
                if offset < start + length {
                    let place = match *place {
                        Place::Image { layer, offset: at } => {
                            Place::Image { layer, offset: at + offset - start }
                        }
                        other => other,
                    };
                    return Extent { length: start + length - offset, place };
                }
                start += length;
            }
            Extent { length: 0, place: Place::Zero }
        })
    }

    fn at(offset: u64) -> Place {
        Place::Image { layer: 0, offset }
    }

    fn layer(start: u64, end: u64, offset: u64) -> Piece {
        Piece { start, end, origin: Origin::Layer { layer: 0, offset } }
    }

    fn copied(start: u64, end: u64) -> Piece {
        Piece { start, end, origin: Origin::Copied }
    }

    fn zero(start: u64, end: u64) -> Piece {
        Piece { start, end, origin: Origin::Zero }
    }

    #[test]
    fn extents_that_continue_each_other_are_one_piece() {
        let extents = [(1024, at(512)), (512, at(1536)), (700, at(2048))];
        assert_eq!(pieces(512, &extents, false), [layer(0, 2236, 512)]);
    }

    #[test]
    fn a_block_that_has_two_origins_is_copied() {
        let extents = [(1000, at(4096)), (1000, Place::Zero), (1000, at(8192 + 2000))];
        let expected = [
            layer(0, 512, 4096),
            copied(512, 1024),
            zero(1024, 1536),
            copied(1536, 2048),
            layer(2048, 3000, 8192 + 2048),
        ];
        assert_eq!(pieces(512, &extents, false), expected);
    }

    #[test]
    fn a_tail_that_is_not_zero_is_copied_and_nothing_else() {
        assert_eq!(pieces(512, &[(1300, at(0))], true), [layer(0, 1024, 0), copied(1024, 1300)]);
        assert_eq!(pieces(512, &[(300, at(0))], true), [copied(0, 300)]);
        assert_eq!(pieces(512, &[(1024, at(0))], true), [layer(0, 1024, 0)]);
        assert_eq!(pieces(512, &[(512, at(0)), (10, Place::Zero)], true), [layer(0, 512, 0), zero(512, 522)]);
    }

    #[test]
    fn what_lies_askew_or_reaches_over_the_end_is_copied() {
        assert_eq!(pieces(4096, &[(9000, at(512))], false), [copied(0, 9000)]);
        assert_eq!(pieces(512, &[(700, at(IMAGE - 512))], false), [copied(0, 700)]);
        assert_eq!(pieces(512, &[(700, Place::Image { layer: 9, offset: 0 })], false), [copied(0, 700)]);
        assert_eq!(pieces(512, &[(700, at(u64::MAX - 511))], false), [copied(0, 700)]);
    }

    #[test]
    fn extents_without_end_and_without_length_are_no_endless_loop() {
        let blocks = Blocks { size: 512, layers: &[IMAGE] };
        let nothing = blocks.of_extents(5000, false, |_| Extent { length: 0, place: Place::Zero });
        assert_eq!(nothing, [copied(0, 5000)]);
        let endless = blocks.of_extents(5000, false, |_| Extent { length: u64::MAX, place: Place::Zero });
        assert_eq!(endless, [zero(0, 5000)]);
    }

    #[test]
    fn a_contiguous_file_is_one_chunk() {
        for size in [1, 512, 513, 1 << 20, (1 << 40) - 1] {
            let pieces = [layer(0, size, 0)];
            let chunks = Chunks::cheapest(&pieces, 9);
            assert_eq!(chunks.count(), 1, "{size}");
            assert_eq!(chunks.iter().collect::<Vec<_>>(), pieces);
            assert_eq!(chunks.copied(), 0);
        }
    }

    #[test]
    fn chunks_and_copies_are_weighed() {
        const GIB: u64 = 1 << 30;
        // One cut at 4 KiB in a large file: a table with an entry for each 4 KiB would be larger than some copying.
        let pieces = [layer(0, 4096, 0), layer(4096, GIB, 1 << 21)];
        let chunks = Chunks::cheapest(&pieces, 9);
        assert!(chunks.bits > 12, "{}", chunks.bits);
        assert_eq!(chunks.copied(), 1 << chunks.bits);
        // A cut every 2 MiB, as the blocks of a VHD make it.
        let blocks: Vec<Piece> =
            (0..512).map(|n| layer(n << 21, (n + 1) << 21, n * ((1 << 21) + 512))).collect();
        let chunks = Chunks::cheapest(&blocks, 9);
        assert_eq!((chunks.bits, chunks.copied()), (21, 0));
    }

    /// What chunks say agrees with the pieces, byte for byte, for any size of them.
    #[test]
    fn chunks_say_what_the_pieces_say() {
        let pieces = [
            layer(0, 1024, 8192),
            zero(1024, 4096),
            copied(4096, 4608),
            layer(4608, 65536, 1 << 20),
            layer(65536, 70000, 0),
        ];
        for bits in 9..=17 {
            let chunks = Chunks::of(&pieces, bits);
            let all: Vec<Piece> = chunks.iter().collect();
            assert_eq!(all.len() as u64, chunks.count());
            let mut sum = 0;
            let mut before = 0;
            for chunk in all {
                assert_eq!(chunk.start, before);
                before = chunk.end;
                let inside: Vec<&Piece> = pieces
                    .iter()
                    .filter(|piece| piece.start < chunk.end && piece.end > chunk.start)
                    .collect();
                match (inside.as_slice(), chunk.origin) {
                    (_, Origin::Copied) => sum += chunk.end - chunk.start,
                    ([piece], Origin::Zero) => assert_eq!(piece.origin, Origin::Zero),
                    ([piece], Origin::Layer { offset, .. }) => {
                        let Origin::Layer { offset: whole, .. } = piece.origin else { unreachable!() };
                        assert_eq!(offset, whole + chunk.start - piece.start);
                    }
                    _ => unreachable!("{chunk:?} is mixed"),
                }
            }
            assert_eq!(before, 70000);
            assert_eq!(sum, chunks.copied(), "{bits}");
        }
    }
}
