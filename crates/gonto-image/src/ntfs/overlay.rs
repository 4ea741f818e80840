//! Files compressed by the Windows Overlay Filter (CompactOS, `compact /exe`): the unnamed `$DATA` is a hole of the file's size,
//! the stream `WofCompressedData` holds a table and the chunks, as a WIM file holds a resource.
//!
//! ```text
//! table    for each chunk but the first, its offset from the end of the table: 4 bytes, 8 in files of 4 GiB or more
//! chunks   each as long as it is compressed; one that is as long as what it becomes is stored as it is
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::content::{Failure, Reader, corrupt};
use super::field;
use super::gathering::Data;
use super::unit_cache::Key;
use crate::compression::{Corrupt, lzx, xpress_huffman};

/// The stream's name.
pub(crate) const STREAM: &[u8] = b"WofCompressedData";

/// The `Algorithm` of FILE_PROVIDER_EXTERNAL_INFO (\[MS-FSCC\] 2.1.2.10 leaves it to the filter; it is in `ntifs.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Algorithm {
    Xpress4K,
    Lzx,
    Xpress8K,
    Xpress16K,
}

impl Algorithm {
    pub(crate) fn from_raw(raw: u32) -> Option<Self> {
        [Self::Xpress4K, Self::Lzx, Self::Xpress8K, Self::Xpress16K].get(usize::try_from(raw).ok()?).copied()
    }

    /// What a chunk becomes, in bytes.
    fn chunk_size(self) -> u64 {
        match self {
            Self::Xpress4K => 4 << 10,
            Self::Xpress8K => 8 << 10,
            Self::Xpress16K => 16 << 10,
            Self::Lzx => 32 << 10,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Xpress4K => "WOF's XPRESS4K",
            Self::Xpress8K => "WOF's XPRESS8K",
            Self::Xpress16K => "WOF's XPRESS16K",
            Self::Lzx => "WOF's LZX",
        }
    }

    fn decompress(self, input: &[u8], output: &mut [u8]) -> Result<(), Corrupt> {
        if input.len() == output.len() {
            output.copy_from_slice(input);
            return Ok(());
        }
        match self {
            Self::Lzx => lzx::decompress(input, output),
            Self::Xpress4K | Self::Xpress8K | Self::Xpress16K => xpress_huffman::decompress(input, output),
        }
    }
}

/// Content behind the filter.
#[derive(Debug)]
pub(crate) struct Overlaid {
    algorithm: Algorithm,
    /// What it becomes, in bytes.
    size: u64,
    stream: Arc<Data>,
}

/// How much is decoded from one read of the stream, in bytes.
const LARGEST_READ: u64 = 1 << 20;

impl Overlaid {
    /// `None` when the stream is too short for a table and a byte of each chunk.
    pub(crate) fn new(algorithm: Algorithm, size: u64, stream: Arc<Data>) -> Option<Self> {
        let overlaid = Self { algorithm, size, stream };
        let least = overlaid.table_size().checked_add(overlaid.chunks())?;
        (least <= overlaid.stream.stream.size()).then_some(overlaid)
    }

    /// The stream of compressed data.
    pub(crate) fn stream(&self) -> &Data {
        &self.stream
    }

    /// Reads from `offset` on, and never behind the size: the caller has looked. `content` is a number for the cache.
    pub(crate) fn read_at(
        &self,
        reader: Reader<'_>,
        content: u64,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<(), Failure> {
        let chunk_size = self.algorithm.chunk_size();
        let mut offset = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let (chunk, inside) = (offset / chunk_size, offset % chunk_size);
            let read_end = (offset + rest.len() as u64).min(offset - inside + LARGEST_READ);
            // Up to the last chunk that is wanted as a whole.
            let end = if read_end == self.size { self.chunks() } else { read_end / chunk_size };
            let length = if inside == 0 && chunk < end {
                let length = in_memory((end * chunk_size).min(self.size) - offset);
                self.decode(reader, content, chunk..end, &mut rest[..length])?;
                length
            } else {
                let size = in_memory(chunk_size.min(self.size - chunk * chunk_size));
                let decode = |bytes: &mut [u8]| self.decode(reader, content, chunk..chunk + 1, bytes);
                let whole = reader.cache.get(Key { content, unit: chunk }, size, decode)?;
                let inside = in_memory(inside);
                let length = (size - inside).min(rest.len());
                rest[..length].copy_from_slice(&whole[inside..inside + length]);
                length
            };
            offset += length as u64;
            rest = &mut rest[length..];
        }
        Ok(())
    }

    /// Decodes chunks, at most [`LARGEST_READ`] bytes of them, into all of `output`.
    fn decode(
        &self,
        reader: Reader<'_>,
        content: u64,
        chunks: Range<u64>,
        output: &mut [u8],
    ) -> Result<(), Failure> {
        let bounds = self.bounds(reader, content, chunks.clone())?;
        let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else { return Ok(()) };
        let mut compressed = vec![0; in_memory(last - first)];
        self.read_stream(reader, content, &mut compressed, *first)?;
        let pieces = output.chunks_mut(in_memory(self.algorithm.chunk_size()));
        for ((chunk, bounds), piece) in chunks.zip(bounds.windows(2)).zip(pieces) {
            let input = &compressed[in_memory(bounds[0] - first)..in_memory(bounds[1] - first)];
            let refuse = |wrong: Corrupt| self.corrupt(reader, chunk, bounds[0], wrong);
            self.algorithm.decompress(input, piece).map_err(refuse)?;
        }
        Ok(())
    }

    /// Where in the stream the chunks begin, and the last one ends.
    fn bounds(&self, reader: Reader<'_>, content: u64, chunks: Range<u64>) -> Result<Vec<u64>, Failure> {
        let (table_size, entry_size) = (self.table_size(), self.entry_size());
        let chunk_size = self.algorithm.chunk_size();
        // The first chunk has no entry, and the end of the last one is that of the stream.
        let entries = chunks.start.max(1)..(chunks.end + 1).min(self.chunks());
        let table_at = (entries.start - 1) * entry_size;
        let mut table = vec![0; in_memory((entries.end - entries.start) * entry_size)];
        self.read_stream(reader, content, &mut table, table_at)?;
        let entry = |entry: &[u8]| match entry_size {
            4 => field::u32(entry, 0).map(u64::from),
            _ => field::u64(entry, 0),
        };
        let stream_size = self.stream.stream.size();
        let data_size = stream_size - table_size;
        let mut bounds: Vec<u64> = Vec::with_capacity(table.len() / 4 + 2);
        bounds.extend((chunks.start == 0).then_some(0));
        bounds.extend(table.chunks_exact(in_memory(entry_size)).filter_map(entry));
        bounds.extend((chunks.end == self.chunks()).then_some(data_size));
        for (chunk, pair) in chunks.zip(bounds.windows(2)) {
            let most = chunk_size.min(self.size - chunk * chunk_size);
            let length = pair[1].checked_sub(pair[0]).filter(|length| (1..=most).contains(length));
            if length.is_none() || pair[1] > data_size {
                let expected =
                    format!("a chunk of 1 to {most} bytes inside the {data_size} bytes of all chunks");
                let found = format!("one from byte {} to {}", pair[0], pair[1]);
                let at = chunk.saturating_sub(1) * entry_size;
                return Err(self.corrupt(reader, chunk, at, Corrupt::new(0, expected, found)));
            }
        }
        bounds.iter_mut().for_each(|bound| *bound += table_size);
        Ok(bounds)
    }

    fn read_stream(&self, reader: Reader<'_>, content: u64, buf: &mut [u8], at: u64) -> Result<(), Failure> {
        // The stream could be compressed itself: its units are other content to the cache.
        self.stream.read_at(reader, !content, buf, at)
    }

    /// What is wrong begins at byte `at` of the stream.
    fn corrupt(&self, reader: Reader<'_>, chunk: u64, at: u64, wrong: Corrupt) -> Failure {
        let place = self.stream.place(reader.geometry, at);
        let wrong = Corrupt { at: wrong.at.saturating_add(in_memory(at)), ..wrong };
        corrupt(self.algorithm.name(), chunk * self.algorithm.chunk_size(), place, wrong)
    }

    fn chunks(&self) -> u64 {
        self.size.div_ceil(self.algorithm.chunk_size())
    }

    /// 4 or 8.
    fn entry_size(&self) -> u64 {
        if self.size > u64::from(u32::MAX) { 8 } else { 4 }
    }

    fn table_size(&self) -> u64 {
        self.chunks().saturating_sub(1) * self.entry_size()
    }
}

/// Bytes of chunks, or of a table of at most [`LARGEST_READ`] bytes of them.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::boot::Geometry;
    use super::super::gathering::Encoding;
    use super::super::stream::Stream;
    use super::super::unit_cache::UnitCache;
    use super::*;

    fn overlaid(size: u64, stream: Vec<u8>) -> Option<Overlaid> {
        let data = Data { stream: Stream::Resident(stream.into()), encoding: Encoding::Plain };
        Overlaid::new(Algorithm::Lzx, size, Arc::new(data))
    }

    fn read(overlaid: &Overlaid, length: usize, offset: u64) -> Result<Vec<u8>, Failure> {
        let (geometry, cache) = (Geometry::of_clusters(512, 1), UnitCache::new());
        let reader = Reader { volume: &Vec::new(), geometry: &geometry, cache: &cache };
        let mut buf = vec![0; length];
        overlaid.read_at(reader, 1, &mut buf, offset).map(|()| buf)
    }

    #[test]
    fn from_4_gib_on_the_table_has_eight_bytes_for_a_chunk() {
        for (size, entry_size) in [((4 << 30) - 1, 4), (4 << 30, 8)] {
            let chunks: u64 = 4 << 30 >> 15;
            let last = u32::try_from(size - (chunks - 1) * 32768).unwrap() as usize;
            let mut stream = vec![0; in_memory((chunks - 1) * entry_size)];
            // All chunks but the last take a byte each, whatever they are.
            let place = (chunks - 1).to_le_bytes();
            let entry = stream.len() - in_memory(entry_size);
            stream[entry..].copy_from_slice(&place[..in_memory(entry_size)]);
            stream.extend(vec![0xee; in_memory(chunks - 1)]);
            stream.extend((0..last).map(|n| (n % 251).to_le_bytes()[0]));
            let overlaid = overlaid(size, stream).unwrap();
            let tail = read(&overlaid, 100, size - 100).unwrap();
            assert!(tail.iter().zip(last - 100..).all(|(byte, n)| usize::from(*byte) == n % 251), "{size}");
            assert!(matches!(read(&overlaid, 1, 0), Err(Failure::Corrupt(_))));
        }
    }

    #[test]
    fn a_stream_without_room_for_its_chunks_is_none() {
        assert!(overlaid(3 * 32768, vec![0; 2 * 4 + 3]).is_some());
        assert!(overlaid(3 * 32768, vec![0; 2 * 4 + 2]).is_none());
        assert!(overlaid(1, vec![7]).is_some());
        assert!(overlaid(1, Vec::new()).is_none());
        assert!(overlaid(u64::MAX, vec![7; 1000]).is_none());
    }
}
