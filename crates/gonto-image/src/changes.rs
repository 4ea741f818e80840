//! The sectors of a disk that a differencing child holds itself.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::source::ReadAt;

/// Changes to a disk, in whole sectors: those that hold a changed byte, and no others.
pub(crate) struct Changes<'a> {
    disk: &'a dyn ReadAt,
    sector_size: usize,
    /// By number.
    sectors: BTreeMap<u64, Box<[u8]>>,
}

/// The changed sectors of a block.
pub(crate) struct Block<'a> {
    /// Its number; all blocks have the same size.
    pub(crate) number: u64,
    /// The number in the block and the bytes of each sector, in ascending order.
    pub(crate) sectors: Vec<(usize, &'a [u8])>,
}

impl<'a> Changes<'a> {
    /// Of a disk of whole sectors of `sector_size` bytes.
    pub(crate) fn new(disk: &'a dyn ReadAt, sector_size: u32) -> Self {
        Self { disk, sector_size: sector_size as usize, sectors: BTreeMap::new() }
    }

    /// Puts `bytes` in the place of those at `offset` of the disk.
    pub(crate) fn put(&mut self, mut bytes: &[u8], mut offset: u64) -> Result<(), Error> {
        let size = self.sector_size as u64;
        while !bytes.is_empty() {
            let number = offset / size;
            let inside = usize::try_from(offset % size).unwrap_or_default();
            let (piece, rest) = bytes.split_at((self.sector_size - inside).min(bytes.len()));
            let sector = match self.sectors.entry(number) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    let mut sector = vec![0; self.sector_size].into_boxed_slice();
                    let (offset, length) = (number * size, sector.len());
                    let read = self.disk.read_at(&mut sector, offset);
                    read.map_err(|source| Error::Read { what: WHAT, offset, length, source })?;
                    new.insert(sector)
                }
            };
            sector[inside..inside + piece.len()].copy_from_slice(piece);
            offset += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// The blocks of `size` bytes, a multiple of the sector size, that have changed sectors, in ascending order.
    pub(crate) fn blocks(&self, size: u64) -> Vec<Block<'_>> {
        let sectors = size / self.sector_size as u64;
        let mut blocks: Vec<Block<'_>> = Vec::new();
        for (number, bytes) in &self.sectors {
            let inside = usize::try_from(number % sectors).unwrap_or_default();
            match blocks.last_mut().filter(|block| block.number == number / sectors) {
                Some(block) => block.sectors.push((inside, bytes)),
                None => blocks.push(Block { number: number / sectors, sectors: vec![(inside, bytes)] }),
            }
        }
        blocks
    }
}

const WHAT: &str = "the sectors of the partition table";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_lies_in_whole_sectors_with_what_was_there() {
        let disk: Vec<u8> = (0..8 * 512).map(|at: usize| (at / 512).to_le_bytes()[0]).collect();
        let mut changes = Changes::new(&disk, 512);
        changes.put(&[0xaa; 4], 3 * 512 - 2).unwrap();
        changes.put(&[0xbb; 2], 3 * 512 + 10).unwrap();
        changes.put(&[0xcc; 512], 7 * 512).unwrap();
        let blocks = changes.blocks(1024);
        let places: Vec<(u64, Vec<usize>)> = blocks
            .iter()
            .map(|block| (block.number, block.sectors.iter().map(|(number, _)| *number).collect()))
            .collect();
        assert_eq!(places, [(1, vec![0, 1]), (3, vec![1])]);
        let sector = |block: usize, sector: usize| blocks[block].sectors[sector].1;
        assert_eq!((sector(0, 0)[509], sector(0, 0)[510]), (2, 0xaa));
        let expected = [&[0xaa; 2][..], &[3; 8], &[0xbb; 2], &[3; 500]].concat();
        assert_eq!(sector(0, 1), expected);
        assert_eq!(sector(1, 0), [0xcc; 512]);
        assert!(changes.put(&[0], 8 * 512).is_err(), "behind the end of the disk");
    }
}
