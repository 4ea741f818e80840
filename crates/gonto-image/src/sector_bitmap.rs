//! Which sectors of a block of a differencing image are in its file, in VHD ("Block Allocation Table and Data Blocks") and in
//! VHDX ([MS-VHDX] 2.4).

/// The sectors of a block that are written in this file; the others are the parent's, or zero. The first sector is the
/// highest bit of the first byte.
pub(crate) struct SectorBitmap {
    bits: Box<[u8]>,
    sectors: usize,
}

/// How much of a block is in the file.
pub(crate) enum Written {
    All,
    Nothing,
    Some(SectorBitmap),
}

impl SectorBitmap {
    /// `bits` has a bit at least for each of the `sectors` of a block.
    pub(crate) fn new(bits: &[u8], sectors: usize) -> Self {
        Self { bits: bits[..sectors.div_ceil(8)].into(), sectors }
    }

    /// All sectors before `end` are in the file, whatever the bitmap says; those behind it as it says.
    pub(crate) fn with_all_before(mut self, end: usize) -> Self {
        let (bytes, rest) = (end / 8, end % 8);
        self.bits[..bytes].fill(0xff);
        if rest > 0 {
            self.bits[bytes] |= !(0xff >> rest);
        }
        self
    }

    /// The first sector from `start` on that is in the file.
    pub(crate) fn next_written(&self, start: usize) -> Option<usize> {
        let next = if self.is_written(start) { start } else { start + self.run(start) };
        (next < self.sectors).then_some(next)
    }

    pub(crate) fn is_written(&self, sector: usize) -> bool {
        sector < self.sectors && self.bits[sector / 8] & (0x80 >> (sector % 8)) != 0
    }

    /// How many sectors from `start` on are where that one is.
    pub(crate) fn run(&self, start: usize) -> usize {
        let written = self.is_written(start);
        let same = if written { 0xff } else { 0 };
        let mut at = start;
        while at < self.sectors {
            // Most runs are long: eight sectors at a time.
            if at.is_multiple_of(8) && self.bits[at / 8] == same {
                at += 8;
            } else if self.is_written(at) == written {
                at += 1;
            } else {
                break;
            }
        }
        at.min(self.sectors).saturating_sub(start)
    }

    /// The simplest way to say the same.
    pub(crate) fn simplified(self) -> Written {
        match (self.is_written(0), self.run(0) == self.sectors) {
            (true, true) => Written::All,
            (false, true) => Written::Nothing,
            _ => Written::Some(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_those_of_the_single_bits() {
        let bits = [0b1110_0000, 0, 0xff, 0xff, 0b1000_0001, 0b1010_1010];
        for sectors in [1, 3, 8, 31, 32, 33, 40, 44, 48] {
            let bitmap = SectorBitmap::new(&bits, sectors);
            let single: Vec<bool> =
                (0..sectors).map(|sector| bits[sector / 8] >> (7 - sector % 8) & 1 == 1).collect();
            for start in 0..sectors {
                let run = single[start..].iter().take_while(|bit| **bit == single[start]).count();
                assert_eq!(bitmap.is_written(start), single[start], "{start} of {sectors}");
                assert_eq!(bitmap.run(start), run, "{start} of {sectors}");
                let next = (start..sectors).find(|at| single[*at]);
                assert_eq!(bitmap.next_written(start), next, "{start} of {sectors}");
            }
            assert_eq!(bitmap.next_written(sectors), None);
        }
    }

    #[test]
    fn a_block_is_simply_whole_or_empty_where_its_sectors_are() {
        assert!(matches!(SectorBitmap::new(&[0xff, 0xf0], 12).simplified(), Written::All));
        assert!(matches!(SectorBitmap::new(&[0, 0x0f], 12).simplified(), Written::Nothing));
        assert!(matches!(SectorBitmap::new(&[0xff, 0x70], 12).simplified(), Written::Some(_)));
        let cut = SectorBitmap::new(&[0, 0], 12).with_all_before(10);
        assert_eq!((cut.is_written(0), cut.run(0), cut.is_written(10), cut.run(10)), (true, 10, false, 2));
    }
}
