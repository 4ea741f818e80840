//! The scan: all records of `$MFT` become [`Inode`]s at once.

use super::Reference;
use super::inode::Inode;
use super::mft::Mft;
use super::record::is_live_base;
use crate::error::{Error, Mismatch};
use crate::parallel::map_in_order_with;

/// How much of `$MFT` a thread reads at a time: enough to keep a disk busy, little enough to stay in a processor's cache.
const CHUNK: usize = 1 << 20;

/// All files of a volume, in the order of their records.
pub(crate) struct Inodes {
    inodes: Vec<Inode>,
    /// For each record one more than the place in `inodes`, or 0 where there is no sound file.
    by_record: Vec<u32>,
}

impl Inodes {
    /// Reads all of `$MFT`. Records that are free, continue others, lie or cannot be read are left out: only those that a
    /// directory leads to matter, and [`find`](Self::find) tells what is wrong with them.
    pub(crate) fn scan(mft: &Mft) -> Self {
        let record_size = mft.geometry.record_size;
        let records = usize::try_from(mft.records()).unwrap_or(usize::MAX);
        let per_chunk = CHUNK / record_size;
        // One buffer a thread: freed and allocated anew between what stays, they would leave holes in memory.
        let chunks = map_in_order_with(records.div_ceil(per_chunk), Vec::new, |raw, chunk| {
            let first = chunk * per_chunk;
            scan_chunk(mft, first, per_chunk.min(records - first), raw)
        });
        // Growing by doubling, it would be by far the largest thing that is in memory here.
        let mut inodes: Vec<Inode> = Vec::with_capacity(chunks.iter().map(Vec::len).sum());
        let mut by_record = vec![0; records];
        for (chunk, found) in chunks.into_iter().enumerate() {
            for (record, inode) in found {
                inodes.push(inode);
                by_record[chunk * per_chunk + record] =
                    u32::try_from(inodes.len()).expect("$MFT was held to less than 2^32 records");
            }
        }
        Self { inodes, by_record }
    }

    /// All of them; a place in this slice is what [`find`](Self::find) gives.
    pub(crate) fn all(&self) -> &[Inode] {
        &self.inodes
    }

    pub(crate) fn all_mut(&mut self) -> &mut [Inode] {
        &mut self.inodes
    }

    /// The file that a directory entry refers to, as its place in [`all`](Self::all).
    ///
    /// # Errors
    /// [`Error::Record`] when the record is free, was used again for another file, or lies.
    pub(crate) fn find(&self, mft: &Mft, reference: Reference) -> Result<usize, Error> {
        let index = self.find_any(mft, reference.record)?;
        let found = self.inodes[index].sequence;
        if reference.names(Reference { sequence: found, ..reference }) {
            return Ok(index);
        }
        let expected = format!("sequence number {}, as the directory says", reference.sequence);
        Err(Mismatch::new(0x10, expected, found).in_record(reference.record, mft.place(reference.record)))
    }

    /// The file in a record, whatever its sequence number.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub(crate) fn find_any(&self, mft: &Mft, record: u64) -> Result<usize, Error> {
        let index = usize::try_from(record).ok().and_then(|record| self.by_record.get(record));
        let Some(index) = index else {
            let expected = format!("a record below {}, which is how many $MFT has", self.by_record.len());
            return Err(Mismatch::new(0, expected, record).in_record(record, mft.place(record)));
        };
        (*index as usize).checked_sub(1).ok_or_else(|| why_not(mft, record))
    }
}

/// The files in some records, each with the place of its record among them. `raw` is for the bytes.
fn scan_chunk(mft: &Mft, first: usize, count: usize, raw: &mut Vec<u8>) -> Vec<(usize, Inode)> {
    let record_size = mft.geometry.record_size;
    let length = count * record_size;
    if mft.is_hole(first as u64, length) {
        return Vec::new();
    }
    raw.resize(length, 0);
    let mut inodes = Vec::with_capacity(count);
    if mft.read_raw(first as u64, raw).is_ok() {
        for (record, raw) in raw.chunks_exact_mut(record_size).enumerate() {
            inodes.extend(live(mft, first + record, raw).map(|inode| (record, inode)));
        }
        return inodes;
    }
    // Most of the records of a chunk that cannot be read as a whole may still be readable.
    for (record, raw) in raw.chunks_exact_mut(record_size).enumerate() {
        if mft.read_raw((first + record) as u64, raw).is_ok() {
            inodes.extend(live(mft, first + record, raw).map(|inode| (record, inode)));
        }
    }
    inodes
}

fn live(mft: &Mft, record: usize, raw: &mut [u8]) -> Option<Inode> {
    if is_live_base(raw) { Inode::read(mft, record as u64, raw).ok() } else { None }
}

/// Reads a record again that the scan left out, to say what is wrong with it.
fn why_not(mft: &Mft, record: u64) -> Error {
    let mut raw = vec![0; mft.geometry.record_size];
    match mft.read_raw(record, &mut raw).and_then(|()| Inode::read(mft, record, &mut raw)) {
        Err(error) => error,
        Ok(_) => Mismatch::new(0, "the same record as a moment ago", "another: the image is being changed")
            .in_record(record, mft.place(record)),
    }
}
