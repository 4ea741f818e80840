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
