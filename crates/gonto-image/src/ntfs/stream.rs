//! Streams: the content of an attribute, wherever it lies.

use std::io;

use super::boot::Geometry;
use super::runs::Runs;
use super::{Vcn, attribute::Sizes};
use crate::source::ReadAt;

/// The content of an attribute.
#[derive(Debug)]
pub(crate) enum Stream {
    /// It lay in the record.
    Resident(Box<[u8]>),
    /// It lies in clusters.
    Mapped(Mapped),
}

/// Content in clusters. The runs are checked to reach over the size.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) runs: Runs,
    pub(crate) sizes: Sizes,
}

impl Stream {
    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Resident(bytes) => bytes.len() as u64,
            Self::Mapped(mapped) => mapped.sizes.data,
        }
    }

    /// Reads from `offset` on, and never behind the size: the caller has looked.
    pub(crate) fn read_at(
        &self,
        volume: &dyn ReadAt,
        geometry: &Geometry,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        match self {
            Self::Resident(bytes) => bytes.as_ref().read_at(buf, offset),
            Self::Mapped(mapped) => {
                read_runs(volume, geometry, &mapped.runs, mapped.sizes.valid, buf, offset)
            }
        }
    }
}

/// Reads the bytes of `runs` from `offset` on. Holes, and what lies behind the `valid` bytes, read as zero.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] behind the last cluster, and what the volume says.
pub(crate) fn read_runs(
    volume: &dyn ReadAt,
    geometry: &Geometry,
    runs: &Runs,
    valid: u64,
    buf: &mut [u8],
    offset: u64,
) -> io::Result<()> {
    let written = usize::try_from(valid.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
    let (mut written, never_written) = buf.split_at_mut(written);
    never_written.fill(0);
    let mut offset = offset;
    while !written.is_empty() {
        let inside = offset % geometry.cluster_size;
        let extent = runs.from(Vcn(offset / geometry.cluster_size)).ok_or(io::ErrorKind::UnexpectedEof)?;
        let rest = extent.length.saturating_mul(geometry.cluster_size) - inside;
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(written.len());
        let (piece, tail) = written.split_at_mut(length);
        match extent.lcn {
            Some(lcn) => volume.read_at(piece, geometry.offset(lcn) + inside)?,
            None => piece.fill(0),
        }
        offset += length as u64;
        written = tail;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::runs::Assembly;
    use super::*;

    #[test]
    fn holes_and_the_never_written_tail_are_zero() {
        let geometry = Geometry::of_clusters(512, 100);
        let volume: Vec<u8> = (0..100 * 512u32).map(|n| (n / 512).to_le_bytes()[0]).collect();
        let mut assembly = Assembly::default();
        assembly.add(&[0x11, 2, 50, 0x01, 1, 0x11, 2, 10, 0], Vcn(0), Some(Vcn(5)), 100).unwrap();
        let runs = assembly.finish().unwrap();
        let sizes = Sizes { data: 2400, valid: 2200 };
        let stream = Stream::Mapped(Mapped { runs, sizes });
        let mut buf = [9; 2400];
        stream.read_at(&volume, &geometry, &mut buf, 0).unwrap();
        let expected =
            [vec![50; 512], vec![51; 512], vec![0; 512], vec![60; 512], vec![61; 152], vec![0; 200]].concat();
        assert!(buf[..] == expected);
        let mut part = [9; 700];
        stream.read_at(&volume, &geometry, &mut part, 1000).unwrap();
        assert!(part[..] == expected[1000..1700]);
    }
}
