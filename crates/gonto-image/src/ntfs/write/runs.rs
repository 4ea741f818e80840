//! Mapping pairs: where the clusters of a stream lie, as a record holds it.

use crate::ntfs::Vcn;
use crate::ntfs::runs::Extent;

/// The encoded runs of a part of a stream: as much as a record holds.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub(crate) lowest: Vcn,
    /// Behind the last cluster.
    pub(crate) end: Vcn,
    /// With the zero byte at the end.
    pub(crate) pairs: Vec<u8>,
}

/// Encodes runs, in parts whose pairs take at most `room` bytes each. There is always one part, which is empty for a stream
/// without clusters.
pub(crate) fn encode(runs: &[Extent], room: usize) -> Vec<Part> {
    let mut parts = vec![Part { lowest: Vcn(0), end: Vcn(0), pairs: Vec::new() }];
    let mut previous = 0;
    let mut buf = [0; LONGEST_PAIR];
    for run in runs {
        let mut length = pair(*run, previous, &mut buf);
        // The zero byte behind the last pair has to fit as well.
        if let Some(full) = parts.last().filter(|part| part.pairs.len() + length >= room) {
            let start = full.end;
            parts.push(Part { lowest: start, end: start, pairs: Vec::new() });
            // Distances count from the start of the volume again.
            previous = 0;
            length = pair(*run, previous, &mut buf);
        }
        if let Some(part) = parts.last_mut() {
            part.pairs.extend(&buf[..length]);
            part.end = Vcn(part.end.0 + run.length);
        }
        if let Some(lcn) = run.lcn {
            previous = lcn.0;
        }
    }
    for part in &mut parts {
        part.pairs.push(0);
    }
    parts
}

/// A byte with two lengths, then a length and a distance of up to eight bytes each.
const LONGEST_PAIR: usize = 17;

fn pair(run: Extent, previous: u64, buf: &mut [u8; LONGEST_PAIR]) -> usize {
    let length = signed(run.length.cast_signed());
    let distance = run.lcn.map(|lcn| signed(lcn.0.wrapping_sub(previous).cast_signed()));
    let (length, distance) = (length.as_slice(), distance.as_ref().map_or(&[][..], Signed::as_slice));
    buf[0] = super::narrow::<u8>(length.len()) | super::narrow::<u8>(distance.len()) << 4;
    let end = 1 + length.len() + distance.len();
    buf[1..=length.len()].copy_from_slice(length);
    buf[1 + length.len()..end].copy_from_slice(distance);
    end
}

/// A little-endian two's complement number in as few bytes as hold it.
struct Signed {
    bytes: [u8; 8],
    length: usize,
}

impl Signed {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn signed(number: i64) -> Signed {
    let bits = 64 - (number ^ (number >> 63)).leading_zeros() + 1;
    Signed { bytes: number.to_le_bytes(), length: bits.div_ceil(8) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntfs::Lcn;
    use crate::ntfs::runs::Assembly;
    use proptest::prelude::*;

    fn at(lcn: u64, length: u64) -> Extent {
        Extent { lcn: Some(Lcn(lcn)), length }
    }

    #[test]
    fn numbers_take_as_few_bytes_as_hold_their_sign() {
        let pairs = |runs: &[Extent]| encode(runs, 100).remove(0).pairs;
        assert_eq!(pairs(&[at(127, 127)]), [0x11, 127, 127, 0]);
        assert_eq!(pairs(&[at(128, 128)]), [0x22, 128, 0, 128, 0, 0]);
        assert_eq!(pairs(&[at(200, 1), at(72, 1)]), [0x21, 1, 200, 0, 0x11, 1, 0x80, 0]);
        assert_eq!(pairs(&[Extent { lcn: None, length: 5 }]), [0x01, 5, 0]);
        assert_eq!(pairs(&[]), [0]);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            runs in prop::collection::vec((prop::option::weighted(0.8, 0u64..1 << 40), 1u64..1 << 30), 0..200),
            room in 20usize..200,
        ) {
            let runs: Vec<Extent> = runs.into_iter().map(|(lcn, length)| Extent { lcn: lcn.map(Lcn), length }).collect();
            let parts = encode(&runs, room);
            let mut assembly = Assembly::default();
            for part in &parts {
                prop_assert!(part.pairs.len() <= room);
                if part.end > part.lowest {
                    assembly.add(&part.pairs, part.lowest, Some(part.end), 1 << 42).unwrap();
                }
            }
            let decoded = assembly.finish().unwrap();
            let mut vcn = 0;
            for run in &runs {
                for place in [vcn, vcn + run.length - 1] {
                    let expected = run.lcn.map(|lcn| Lcn(lcn.0 + place - vcn));
                    prop_assert_eq!(decoded.from(Vcn(place)).unwrap().lcn, expected);
                }
                vcn += run.length;
            }
            prop_assert_eq!(decoded.from(Vcn(vcn)), None);
        }
    }
}
