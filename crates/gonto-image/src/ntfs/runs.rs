//! Runs: which clusters of the volume make a stream.

use super::{Lcn, Vcn};
use crate::error::Mismatch;

/// Clusters of a stream that lie one behind the other, from `start` up to the start of the next run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) start: Vcn,
    place: u64,
}

/// What stands for a hole in [`Run::place`]: no volume has so many clusters.
const HOLE: u64 = u64::MAX;

impl Run {
    /// Where the run begins on the volume; `None` for a hole, which reads as zeroes.
    pub(crate) fn lcn(self) -> Option<Lcn> {
        (self.place != HOLE).then_some(Lcn(self.place))
    }
}

/// The runs of a whole stream, from VCN 0 on and without gaps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Runs {
    runs: Kept,
    /// The cluster behind the last one.
    pub(crate) end: Vcn,
}

/// Nearly every file has one run. It takes no memory of its own then.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kept {
    /// The place of the run.
    One(u64),
    Many(Vec<Run>),
}

/// A piece of a stream on the volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) lcn: Option<Lcn>,
    /// In clusters.
    pub(crate) length: u64,
}

impl Runs {
    fn new(mut runs: Vec<Run>, end: u64) -> Self {
        let runs = match runs.as_slice() {
            [run] if run.start == Vcn(0) => Kept::One(run.place),
            _ => {
                runs.shrink_to_fit();
                Kept::Many(runs)
            }
        };
        Self { runs, end: Vcn(end) }
    }

    /// The rest of the run that holds `vcn`, from there on; `None` behind the end.
    pub(crate) fn from(&self, vcn: Vcn) -> Option<Extent> {
        if vcn >= self.end {
            return None;
        }
        let index = match &self.runs {
            Kept::One(_) => 0,
            Kept::Many(runs) => runs.partition_point(|run| run.start <= vcn).checked_sub(1)?,
        };
        let run = self.get(index)?;
        let end = self.get(index + 1).map_or(self.end, |next| next.start);
        let inside = vcn.0 - run.start.0;
        Some(Extent { lcn: run.lcn().map(|lcn| Lcn(lcn.0 + inside)), length: end.0 - vcn.0 })
    }

    /// All of them, in the order of the stream.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        (0..).map_while(|index| {
            let run = self.get(index)?;
            let end = self.get(index + 1).map_or(self.end, |next| next.start);
            Some(Extent { lcn: run.lcn(), length: end.0 - run.start.0 })
        })
    }

    /// How many bytes they take beside the struct itself.
    pub(crate) fn memory(&self) -> usize {
        match &self.runs {
            Kept::One(_) => 0,
            Kept::Many(runs) => size_of_val(runs.as_slice()),
        }
    }

    fn get(&self, index: usize) -> Option<Run> {
        match &self.runs {
            Kept::One(place) => (index == 0).then_some(Run { start: Vcn(0), place: *place }),
            Kept::Many(runs) => runs.get(index).copied(),
        }
    }
}

/// Streams with more clusters than this would have more than 2^63 bytes at 512 bytes a cluster.
const MOST_CLUSTERS: u64 = 1 << 54;

/// Puts a stream together from its pieces, which may come in any order.
#[derive(Default)]
pub(crate) struct Assembly {
    runs: Vec<Run>,
    end: u64,
    /// Pieces that cannot be joined yet, because one before them is missing.
    waiting: std::collections::BTreeMap<u64, Decoded>,
}

/// The runs of one piece.
pub(crate) struct Decoded {
    runs: Vec<Run>,
    /// The cluster of the stream behind the last one.
    pub(crate) end: u64,
}

impl Decoded {
    /// All of them, in the order of the stream.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        let ends = self.runs.iter().skip(1).map(|run| run.start.0).chain([self.end]);
        self.runs.iter().zip(ends).map(|(run, end)| Extent { lcn: run.lcn(), length: end - run.start.0 })
    }
}

impl Assembly {
    /// Decodes the mapping pairs of the piece that begins at `lowest` and, where that is known, ends before `end`.
    ///
    /// # Errors
    /// [`Mismatch`] (its place counts in `pairs`) when they cannot be decoded, leave a volume of `clusters` clusters,
    /// or have another length.
    pub(crate) fn add(
        &mut self,
        pairs: &[u8],
        lowest: Vcn,
        end: Option<Vcn>,
        clusters: u64,
    ) -> Result<(), Mismatch> {
        let decoded = decode(pairs, lowest.0, clusters)?;
        if let Some(end) = end.filter(|end| end.0 != decoded.end) {
            let expected = format!("runs up to VCN {}", end.0);
            return Err(Mismatch::new(0, expected, format!("runs up to VCN {}", decoded.end)));
        }
        if lowest.0 == 0 && self.end == 0 && self.waiting.is_empty() {
            self.runs = decoded.runs;
            self.end = decoded.end;
            return Ok(());
        }
        if lowest.0 < self.end || self.waiting.insert(lowest.0, decoded).is_some() {
            return Err(Mismatch::new(0, format!("a piece from VCN {} on", self.end), lowest.0));
        }
        while let Some(mut next) = self.waiting.remove(&self.end) {
            if next.end == self.end {
                break;
            }
            self.runs.append(&mut next.runs);
            self.end = next.end;
        }
        Ok(())
    }

    /// What is known so far: all clusters before the first missing piece.
    pub(crate) fn so_far(&self) -> Runs {
        Runs::new(self.runs.clone(), self.end)
    }

    /// Adds to what was [`known`](Self::so_far) before what has come since. Only that is copied: `$MFT` may have ten thousand
    /// pieces, and each may be needed to find the next one.
    pub(crate) fn catch_up(&self, known: &mut Runs) {
        match &mut known.runs {
            Kept::Many(runs) => runs.extend_from_slice(self.runs.get(runs.len()..).unwrap_or_default()),
            Kept::One(_) => *known = self.so_far(),
        }
        known.end = Vcn(self.end);
    }

    /// The whole stream.
    ///
    /// # Errors
    /// [`Mismatch`] when a piece is missing.
    pub(crate) fn finish(self) -> Result<Runs, Mismatch> {
        if let Some((start, _)) = self.waiting.first_key_value() {
            let expected = format!("a piece from VCN {} on", self.end);
            return Err(Mismatch::new(0, expected, format!("the next one at VCN {start}")));
        }
        Ok(Runs::new(self.runs, self.end))
    }
}

/// Each pair is a byte that holds two lengths, then so many bytes of cluster count and of signed distance from the last
/// run's start; no distance at all makes a hole. A zero byte, or the end of the attribute, ends them.
pub(crate) fn decode(pairs: &[u8], lowest: u64, clusters: u64) -> Result<Decoded, Mismatch> {
    let mut runs: Vec<Run> = Vec::with_capacity(if pairs.len() <= 16 { 1 } else { pairs.len() / 4 });
    let mut at = 0;
    let mut vcn = lowest;
    let mut lcn: i64 = 0;
    while let Some(header) = pairs.get(at).copied().filter(|header| *header != 0) {
        let (length_size, distance_size) = (usize::from(header & 15), usize::from(header >> 4));
        let length_end = at + 1 + length_size;
        let pair_end = length_end + distance_size;
        if length_size == 0 || length_size > 8 || distance_size > 8 || pair_end > pairs.len() {
            return Err(Mismatch::new(at, "a run inside the attribute", format!("header {header:#04x}")));
        }
        let length = signed(&pairs[at + 1..length_end]);
        let next = u64::try_from(length).ok().filter(|length| *length > 0).and_then(|n| vcn.checked_add(n));
        let Some(next) = next.filter(|next| *next <= MOST_CLUSTERS) else {
            return Err(Mismatch::new(at, "a run of one cluster or more", length));
        };
        let place = if distance_size == 0 {
            HOLE
        } else {
            let distance = signed(&pairs[length_end..pair_end]);
            let start = lcn.checked_add(distance);
            let inside = start
                .and_then(|start| u64::try_from(start).ok())
                .filter(|start| start.checked_add(next - vcn).is_some_and(|end| end <= clusters));
            let (Some(start), Some(inside)) = (start, inside) else {
                let expected = format!("clusters of a volume that has {clusters}");
                let found = format!("{} from {} on", next - vcn, i128::from(lcn) + i128::from(distance));
                return Err(Mismatch::new(at, expected, found));
            };
            lcn = start;
            inside
        };
        push(&mut runs, Run { start: Vcn(vcn), place });
        vcn = next;
        at = pair_end;
    }
    Ok(Decoded { runs, end: vcn })
}

/// Runs that go on where the last one ended are joined: there is less to search when the stream is read.
fn push(runs: &mut Vec<Run>, run: Run) {
    if let Some(last) = runs.last() {
        let goes_on = match (last.lcn(), run.lcn()) {
            (Some(before), Some(now)) => before.0 + (run.start.0 - last.start.0) == now.0,
            (None, None) => true,
            _ => false,
        };
        if goes_on {
            return;
        }
    }
    runs.push(run);
}

/// A little-endian two's complement number of one to eight bytes.
fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut whole = if negative { [0xff; 8] } else { [0; 8] };
    whole[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTERS: u64 = 1000;

    fn stream(pieces: &[(&[u8], u64, u64)]) -> Result<Vec<(Option<u64>, u64)>, Mismatch> {
        let mut assembly = Assembly::default();
        for (pairs, lowest, end) in pieces {
            assembly.add(pairs, Vcn(*lowest), Some(Vcn(*end)), CLUSTERS)?;
        }
        let runs = assembly.finish()?;
        Ok(runs.extents().map(|extent| (extent.lcn.map(|lcn| lcn.0), extent.length)).collect())
    }

    #[test]
    fn distances_are_signed_and_holes_have_none() {
        let pairs = [0x11, 5, 100, 0x01, 3, 0x11, 2, 0xf6, 0x21, 1, 0x2c, 0x01, 0];
        let expected = [(Some(100), 5), (None, 3), (Some(90), 2), (Some(390), 1)];
        assert_eq!(stream(&[(&pairs, 0, 11)]).unwrap(), expected);
    }

    #[test]
    fn runs_that_touch_are_one() {
        let pairs = [0x11, 5, 100, 0x11, 5, 5, 0x01, 3, 0x01, 4];
        assert_eq!(stream(&[(&pairs, 0, 17)]).unwrap(), [(Some(100), 10), (None, 7)]);
    }

    #[test]
    fn pieces_are_joined_in_any_order() {
        let (first, second, third) = ([0x11, 2, 10, 0], [0x11, 3, 50, 0], [0x11, 1, 30, 0]);
        let expected = [(Some(10), 2), (Some(50), 3), (Some(30), 1)];
        assert_eq!(stream(&[(&first, 0, 2), (&second, 2, 5), (&third, 5, 6)]).unwrap(), expected);
        assert_eq!(stream(&[(&third, 5, 6), (&second, 2, 5), (&first, 0, 2)]), Ok(expected.to_vec()));
    }

    #[test]
    fn catching_up_leads_to_what_is_known_so_far() {
        let pieces =
            [([0x11, 2, 10, 0], 0), ([0x11, 1, 30, 0], 5), ([0x11, 3, 50, 0], 2), ([0x11, 4, 70, 0], 6)];
        let mut assembly = Assembly::default();
        let mut known = assembly.so_far();
        for (pairs, lowest) in pieces {
            assembly.add(&pairs, Vcn(lowest), None, CLUSTERS).unwrap();
            assembly.catch_up(&mut known);
            assert_eq!(known.extents().collect::<Vec<_>>(), assembly.so_far().extents().collect::<Vec<_>>());
            assert_eq!(known.end, assembly.so_far().end);
        }
        assert_eq!(known.from(Vcn(9)), Some(Extent { lcn: Some(Lcn(73)), length: 1 }));
    }

    #[test]
    fn gaps_and_repetitions_are_refused() {
        let piece = [0x11, 2, 10, 0];
        assert!(stream(&[(&piece, 0, 2), (&piece, 3, 5)]).is_err());
        assert!(stream(&[(&piece, 0, 2), (&piece, 0, 2)]).is_err());
        assert!(stream(&[(&piece, 0, 2), (&piece, 1, 3)]).is_err());
        assert!(stream(&[(&piece, 0, 2), (&piece, 4, 6), (&piece, 4, 6)]).is_err());
    }

    #[test]
    fn runs_that_lie_are_refused() {
        for pairs in [
            &[0x11, 5][..],                                                 // cut short
            &[0x10, 5],                                                     // no length
            &[0x19, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],                          // length of nine bytes
            &[0x91, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],                          // distance of nine bytes
            &[0x11, 0, 5],                                                  // empty run
            &[0x11, 0xff, 5],                                               // negative length
            &[0x11, 1, 0xff],                                               // before the volume
            &[0x21, 1, 0xe8, 0x03],                                         // behind the volume
            &[0x21, 2, 0xe7, 0x03],                                         // half behind it
            &[0x11, 1, 1, 0x81, 1, 255, 255, 255, 255, 255, 255, 255, 127], // overflow
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 127],                // a hole beyond all sizes
        ] {
            assert!(decode(pairs, 0, CLUSTERS).is_err(), "{pairs:?}");
        }
        assert!(stream(&[(&[0x11, 2, 10, 0], 0, 3)]).is_err(), "shorter than its header says");
    }

    #[test]
    fn the_rest_of_a_run_is_found_from_any_cluster() {
        let mut assembly = Assembly::default();
        assembly.add(&[0x11, 5, 100, 0x01, 3, 0], Vcn(0), None, CLUSTERS).unwrap();
        let runs = assembly.finish().unwrap();
        assert_eq!(runs.from(Vcn(3)), Some(Extent { lcn: Some(Lcn(103)), length: 2 }));
        assert_eq!(runs.from(Vcn(5)), Some(Extent { lcn: None, length: 3 }));
        assert_eq!(runs.from(Vcn(8)), None);
    }
}
