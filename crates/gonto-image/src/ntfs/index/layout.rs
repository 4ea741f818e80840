//! How the blocks of an index lie in `$INDEX_ALLOCATION`.

use std::ops::Range;

use super::super::boot::Geometry;
use super::super::stream::{Mapped, read_runs};
use super::super::{Vcn, field, fixup};
use crate::error::{Error, Mismatch};
use crate::source::ReadAt;

const SIGNATURE: [u8; 4] = *b"INDX";

/// A directory of more bytes has some ten million names. Names are counted with 32 bits elsewhere.
const BIGGEST_ALLOCATION: u64 = 2 << 30;

/// How much of an index is read at a time.
const BATCH: usize = 256 << 10;

/// The blocks of one index.
#[derive(Clone, Copy)]
pub(crate) struct Layout<'p> {
    allocation: &'p Mapped,
    pub(crate) block_size: usize,
    /// What the numbers of blocks count: clusters, or 512 bytes where a block is smaller than a cluster.
    unit: u64,
}

impl<'p> Layout<'p> {
    /// The blocks in `allocation` of the index with this `$INDEX_ROOT`.
    ///
    /// # Errors
    /// [`Mismatch`] in the root for sizes that no index has.
    pub(crate) fn new(geometry: &Geometry, root: &[u8], allocation: &'p Mapped) -> Result<Self, Mismatch> {
        let block_size = field::u32(root, 8).unwrap_or(0);
        if !block_size.is_power_of_two() || !(512..=2 << 20).contains(&block_size) {
            let expected = "index blocks of a power of two from 512 bytes to 2 MiB";
            return Err(Mismatch::new(8, expected, block_size));
        }
        let size = allocation.sizes.data;
        if size > BIGGEST_ALLOCATION {
            let expected = format!("an index of at most {BIGGEST_ALLOCATION} bytes");
            return Err(Mismatch::new(8, expected, size));
        }
        let unit = if u64::from(block_size) < geometry.cluster_size { 512 } else { geometry.cluster_size };
        Ok(Self { allocation, block_size: block_size as usize, unit })
    }

    /// How many blocks there are, used or not.
    pub(crate) fn blocks(&self) -> u64 {
        self.allocation.sizes.data / self.block_size as u64
    }

    /// Where a block begins in `$INDEX_ALLOCATION`.
    pub(crate) fn offset(&self, block: u64) -> u64 {
        block * self.block_size as u64
    }

    /// Which block a child's number means; `None` when it lies inside one.
    pub(crate) fn block(&self, vcn: u64) -> Option<u64> {
        let offset = vcn.checked_mul(self.unit)?;
        offset.is_multiple_of(self.block_size as u64).then(|| offset / self.block_size as u64)
    }

    /// Reads all blocks that lie in clusters, in ascending order, and gives each to `visit` with its fixups undone, or what is
    /// wrong with it. Holes, and clusters that the disk says are zero, hold no blocks, so that an index which claims to be huge
    /// costs no more than the image holds.
    pub(crate) fn each_block(
        &self,
        volume: &dyn ReadAt,
        geometry: &Geometry,
        mut visit: impl FnMut(u64, Result<&[u8], Unread>),
    ) {
        let mut buf = Vec::new();
        for batch in self.batches(geometry) {
            if self.is_zero(volume, geometry, &batch) {
                continue;
            }
            if self.read(volume, geometry, &batch, &mut buf).is_ok() {
                for (number, block) in batch.zip(buf.chunks_exact_mut(self.block_size)) {
                    visit(number, self.check(block, number));
                }
                continue;
            }
            // Most of them may still be readable.
            for number in batch {
                match self.read(volume, geometry, &(number..number + 1), &mut buf) {
                    Ok(()) => visit(number, self.check(&mut buf, number)),
                    Err(error) => visit(number, Err(Unread::Below(error))),
                }
            }
        }
    }

    fn batches(&self, geometry: &Geometry) -> Vec<Range<u64>> {
        let block_size = self.block_size as u64;
        let most = (BATCH / self.block_size).max(1);
        let mut batches = Vec::new();
        let (mut vcn, mut next) = (0u64, 0);
        for extent in self.allocation.runs.extents() {
            let start = vcn.saturating_mul(geometry.cluster_size) / block_size;
            vcn = vcn.saturating_add(extent.length);
            let end = vcn.saturating_mul(geometry.cluster_size).div_ceil(block_size).min(self.blocks());
            if extent.lcn.is_some() {
                let firsts = (start.max(next)..end).step_by(most);
                batches.extend(firsts.map(|first| first..(first + most as u64).min(end)));
                next = next.max(end);
            }
        }
        batches
    }

    /// Whether some blocks are known to be zero without reading them.
    fn is_zero(&self, volume: &dyn ReadAt, geometry: &Geometry, blocks: &Range<u64>) -> bool {
        let (start, end) = (self.offset(blocks.start), self.offset(blocks.end));
        let inside = start % geometry.cluster_size;
        let Some(extent) = self.allocation.runs.from(Vcn(start / geometry.cluster_size)) else {
            return false;
        };
        let rest = extent.length.saturating_mul(geometry.cluster_size).saturating_sub(inside);
        let zeroes = extent.lcn.map_or(rest, |lcn| volume.extent(geometry.offset(lcn) + inside).zeroes());
        zeroes.min(rest) >= end - start
    }

    fn read(
        &self,
        volume: &dyn ReadAt,
        geometry: &Geometry,
        blocks: &Range<u64>,
        buf: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let offset = self.offset(blocks.start);
        let length = usize::try_from(self.offset(blocks.end) - offset).unwrap_or(0);
        buf.resize(length, 0);
        read_runs(volume, geometry, &self.allocation.runs, self.allocation.sizes.valid, buf, offset)
            .map_err(|source| Error::Read { what: "the index of a directory", offset, length, source })
    }

    fn check<'b>(&self, block: &'b mut [u8], number: u64) -> Result<&'b [u8], Unread> {
        fixup::undo(block, SIGNATURE).map_err(Unread::Lies)?;
        let vcn = field::u64(block, 16).unwrap_or(u64::MAX);
        if self.block(vcn) == Some(number) {
            return Ok(block);
        }
        let expected = format!("its own VCN {}", self.offset(number) / self.unit);
        Err(Unread::Lies(Mismatch::new(16, expected, vcn)))
    }
}

/// Why a block was not read.
pub(crate) enum Unread {
    /// The source below did not give it.
    Below(Error),
    /// It is another one, or was not written whole.
    Lies(Mismatch),
}
