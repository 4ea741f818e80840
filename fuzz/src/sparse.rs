//! An image of any size in a few kilobytes: pieces of bytes at their places, and zero between them.
//!
//! ```text
//! size: u64 | piece | piece | …         piece = place: u48 | length: u15 | as it is: u1 | bytes
//! ```
//! All numbers are little endian. What is left behind the last whole piece is passed over.
//!
//! The two highest bits of a place say which file of a chain of differencing images it is in; the place with all other bits
//! set holds the size of such a parent.

use std::io;

use gonto_image::{Extent, Place, ReadAt};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// In bytes.
    pub size: u64,
    /// Where pieces overlap, the later one counts.
    pub pieces: Vec<Piece>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Byte offset in the image.
    pub at: u64,
    /// Whether fixups and checksums stay as they are.
    pub as_it_is: bool,
    pub bytes: Vec<u8>,
}

/// What 15 bits can say.
pub const LONGEST_PIECE: usize = 0x7fff;

const AS_IT_IS: u16 = 0x8000;

/// More than any seed has; the check for it keeps a mutation from making an input slow by splitting it into nothing.
const MOST_PIECES: usize = 4096;

impl Image {
    pub fn decode(input: &[u8]) -> Option<Self> {
        let (size, mut rest) = input.split_first_chunk::<8>()?;
        let mut image = Self { size: u64::from_le_bytes(*size), pieces: Vec::new() };
        while let Some((&[a, b, c, d, e, f, g, h], behind)) = rest.split_first_chunk::<8>() {
            let length = u16::from_le_bytes([g, h]);
            let (bytes, behind) = behind.split_at(usize::from(length & !AS_IT_IS).min(behind.len()));
            image.pieces.push(Piece {
                at: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
                as_it_is: length & AS_IT_IS != 0,
                bytes: bytes.to_vec(),
            });
            rest = behind;
            if image.pieces.len() == MOST_PIECES {
                break;
            }
        }
        Some(image)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut input = self.size.to_le_bytes().to_vec();
        for piece in &self.pieces {
            let bytes = &piece.bytes[..piece.bytes.len().min(LONGEST_PIECE)];
            let flag = if piece.as_it_is { AS_IT_IS } else { 0 };
            input.extend(&piece.at.to_le_bytes()[..6]);
            input.extend((bytes.len() as u16 | flag).to_le_bytes());
            input.extend(bytes);
        }
        input
    }
}

/// Bits of a place in one file.
pub const PLACE_BITS: u32 = 46;

const PLACE: u64 = (1 << PLACE_BITS) - 1;

impl Image {
    /// The image and its parents, each as an image of its own.
    pub fn into_layers(self) -> Vec<Self> {
        let mut layers = vec![Self { size: self.size, pieces: Vec::new() }];
        for mut piece in self.pieces {
            let layer = (piece.at >> PLACE_BITS) as usize;
            piece.at &= PLACE;
            layers.resize(layers.len().max(layer + 1), Self::default());
            match piece.bytes.first_chunk() {
                Some(size) if piece.at == PLACE => layers[layer].size = u64::from_le_bytes(*size),
                _ => layers[layer].pieces.push(piece),
            }
        }
        layers
    }

    /// The other way.
    pub fn from_layers(layers: Vec<Self>) -> Self {
        let mut whole = Self { size: layers.first().map_or(0, |first| first.size), pieces: Vec::new() };
        for (number, layer) in (0..).zip(layers) {
            let base = number << PLACE_BITS;
            if number > 0 {
                let bytes = layer.size.to_le_bytes().to_vec();
                whole.pieces.push(Piece { at: base | PLACE, as_it_is: false, bytes });
            }
            let pieces = layer.pieces.into_iter();
            whole.pieces.extend(pieces.map(|piece| Piece { at: base | piece.at & PLACE, ..piece }));
        }
        whole
    }
}

/// An image that can be read: its pieces in order, each up to where the next one begins.
pub struct Disk {
    size: u64,
    pieces: Vec<Piece>,
}

impl Disk {
    pub fn new(mut image: Image) -> Self {
        image.pieces.sort_by_key(|piece| piece.at);
        for next in 1..image.pieces.len() {
            let limit = image.pieces[next].at - image.pieces[next - 1].at;
            let bytes = &mut image.pieces[next - 1].bytes;
            bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Self { size: image.size, pieces: image.pieces }
    }

    /// The number of the first piece that does not lie wholly before `offset`.
    fn from(&self, offset: u64) -> usize {
        self.pieces.partition_point(|piece| piece.at + piece.bytes.len() as u64 <= offset)
    }
}

impl ReadAt for Disk {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.fill(0);
        for piece in self.pieces[self.from(offset)..].iter().take_while(|piece| piece.at < end) {
            let from = offset.max(piece.at);
            let to = end.min(piece.at + piece.bytes.len() as u64);
            if from < to {
                let inside = |at: u64, base: u64| (at - base) as usize;
                buf[inside(from, offset)..inside(to, offset)]
                    .copy_from_slice(&piece.bytes[inside(from, piece.at)..inside(to, piece.at)]);
            }
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn extent(&self, offset: u64) -> Extent {
        let rest = self.size.saturating_sub(offset);
        let next = self.pieces[self.from(offset)..].iter().find(|piece| !piece.bytes.is_empty());
        match next {
            Some(piece) if piece.at <= offset => {
                let length = (piece.at + piece.bytes.len() as u64 - offset).min(rest);
                Extent { length, place: Place::Image { layer: 0, offset } }
            }
            Some(piece) => Extent { length: (piece.at - offset).min(rest), place: Place::Zero },
            None => Extent { length: rest, place: Place::Zero },
        }
    }
}
