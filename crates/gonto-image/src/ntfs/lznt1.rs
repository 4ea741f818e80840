//! Files compressed by NTFS: units of (as a rule) 16 clusters. What of a unit lies in clusters tells how it is stored: all of it,
//! then it is plain; nothing, then it is zero; only some clusters at its start, then these hold it in LZNT1.

use super::Vcn;
use super::content::{Failure, Reader, corrupt};
use super::stream::{Mapped, read_runs};
use super::unit_cache::Key;
use crate::compression::{Corrupt, lznt1};

/// Units are read and decoded as a whole, and kept in the cache. Those of Windows have at most 64 KiB: it compresses only where
/// clusters have at most 4 KiB.
pub(super) const LARGEST_UNIT: u64 = 1 << 20;

/// How a unit is stored.
enum Unit {
    /// As it is, or not at all: its clusters and holes read right.
    Plain,
    /// In so many clusters.
    Compressed(u64),
}

/// Reads from `offset` on, and never behind the size. Units are counted from the start of the stream.
pub(super) fn read_at(
    mapped: &Mapped,
    unit_clusters: u64,
    reader: Reader<'_>,
    content: u64,
    buf: &mut [u8],
    offset: u64,
) -> Result<(), Failure> {
    let valid = mapped.sizes.valid;
    let unit_size = unit_clusters * reader.geometry.cluster_size;
    let mut offset = offset;
    let mut rest = buf;
    while !rest.is_empty() {
        if offset >= valid {
            rest.fill(0);
            return Ok(());
        }
        let (unit, start) = (offset / unit_size, offset - offset % unit_size);
        // What of the unit was ever written. It is at most 1 MiB.
        let size = in_memory(unit_size.min(valid - start));
        let inside = in_memory(offset - start);
        let length = (size - inside).min(rest.len());
        let (piece, behind) = rest.split_at_mut(length);
        match stored(mapped, unit_clusters, reader, start)? {
            Unit::Plain => {
                read_runs(reader.volume, reader.geometry, &mapped.runs, valid, piece, offset)?;
            }
            Unit::Compressed(clusters) if piece.len() == size => {
                decode(mapped, clusters, reader, start, piece)?;
            }
            Unit::Compressed(clusters) => {
                let decode = |unit: &mut [u8]| decode(mapped, clusters, reader, start, unit);
                let whole = reader.cache.get(Key { content, unit }, size, decode)?;
                piece.copy_from_slice(&whole[inside..inside + length]);
            }
        }
        offset += length as u64;
        rest = behind;
    }
    Ok(())
}

/// How the unit is stored that begins at byte `start`.
fn stored(mapped: &Mapped, unit_clusters: u64, reader: Reader<'_>, start: u64) -> Result<Unit, Failure> {
    let first = start / reader.geometry.cluster_size;
    let end = (first + unit_clusters).min(mapped.runs.end.0);
    let (mut at, mut used, mut hole) = (first, 0, false);
    while at < end {
        let Some(extent) = mapped.runs.from(Vcn(at)) else { break };
        let clusters = extent.length.min(end - at);
        match extent.lcn {
            None => hole = true,
            Some(_) if !hole => used += clusters,
            Some(lcn) => {
                let expected = "all clusters of a unit at its start, before the hole";
                let wrong = Corrupt::new(
                    in_memory((at - first) * reader.geometry.cluster_size),
                    expected,
                    "one behind it",
                );
                return Err(corrupt("LZNT1", start, reader.geometry.offset(lcn), wrong));
            }
        }
        at += clusters;
    }
    Ok(if hole && used > 0 { Unit::Compressed(used) } else { Unit::Plain })
}

fn decode(
    mapped: &Mapped,
    clusters: u64,
    reader: Reader<'_>,
    start: u64,
    unit: &mut [u8],
) -> Result<(), Failure> {
    let mut compressed = vec![0; in_memory(clusters * reader.geometry.cluster_size)];
    read_runs(reader.volume, reader.geometry, &mapped.runs, u64::MAX, &mut compressed, start)?;
    lznt1::decompress(&compressed, unit).map_err(|wrong| {
        let first = mapped.runs.from(Vcn(start / reader.geometry.cluster_size));
        let place = first.and_then(|extent| extent.lcn).map_or(0, |lcn| reader.geometry.offset(lcn));
        corrupt("LZNT1", start, place, wrong)
    })
}

/// Bytes of a unit, which is at most 1 MiB.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::attribute::Sizes;
    use super::super::boot::Geometry;
    use super::super::runs::Assembly;
    use super::super::unit_cache::UnitCache;
    use super::*;

    /// Reads all of a stream with units of four clusters of 512 bytes.
    fn read(volume: &Vec<u8>, pairs: &[u8], clusters: u64, valid: u64) -> Result<Vec<u8>, Failure> {
        let (geometry, cache) = (Geometry::of_clusters(512, 100), UnitCache::new());
        let mut assembly = Assembly::default();
        assembly.add(pairs, Vcn(0), Some(Vcn(clusters)), 100).unwrap();
        let sizes = Sizes { data: clusters * 512, valid };
        let mapped = Mapped { runs: assembly.finish().unwrap(), sizes };
        let reader = Reader { volume, geometry: &geometry, cache: &cache };
        let mut buf = vec![9; in_memory(clusters * 512)];
        read_at(&mapped, 4, reader, 0, &mut buf, 0).map(|()| buf)
    }

    /// Cluster 10 holds LZNT1 that becomes 4096 times the letter a; the others hold their numbers.
    fn volume() -> Vec<u8> {
        let mut volume: Vec<u8> = (0..100 * 512u32).map(|n| (n / 512).to_le_bytes()[0]).collect();
        volume[10 * 512..][..6].copy_from_slice(&[3, 0xb0, 2, b'a', 0xfc, 0x0f]);
        volume[10 * 512 + 6..][..2].fill(0);
        volume
    }

    #[test]
    fn a_unit_is_what_its_clusters_tell() {
        // One compressed, one plain (of two runs), one of zeroes, and one that the stream ends in.
        let pairs = [0x11, 1, 10, 0x01, 3, 0x11, 3, 10, 0x11, 1, 10, 0x01, 4, 0x11, 2, 10, 0];
        let found = read(&volume(), &pairs, 14, 14 * 512).unwrap();
        let plain = |cluster: u8, count: usize| vec![cluster; count * 512];
        let plain: Vec<u8> = [20, 21, 22, 30].into_iter().flat_map(|cluster| plain(cluster, 1)).collect();
        let end = [vec![40; 512], vec![41; 512]].concat();
        assert!(found == [vec![b'a'; 2048], plain, vec![0; 2048], end].concat());
    }

    #[test]
    fn behind_the_valid_bytes_everything_is_zero() {
        let found = read(&volume(), &[0x11, 1, 10, 0x01, 3, 0x11, 4, 10, 0], 8, 700).unwrap();
        assert!(found == [vec![b'a'; 700], vec![0; 4096 - 700]].concat());
    }

    #[test]
    fn clusters_behind_a_hole_are_refused() {
        let Err(Failure::Corrupt(error)) = read(&volume(), &[0x01, 1, 0x11, 3, 10, 0], 4, 2048) else {
            panic!("read")
        };
        let text = error.to_string();
        assert!(
            text.contains("compressed with LZNT1 for byte 0") && text.contains("byte 0x1400 of"),
            "{text}"
        );
    }
}
