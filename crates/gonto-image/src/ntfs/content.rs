//! Reading content, however its bytes are encoded.

use std::io;

use super::boot::Geometry;
use super::gathering::{Data, Encoding};
use super::stream::Stream;
use super::unit_cache::UnitCache;
use super::{Vcn, lznt1};
use crate::compression::Corrupt;
use crate::error::Error;
use crate::source::ReadAt;

/// What it takes to read the content of files.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'v> {
    pub(crate) volume: &'v dyn ReadAt,
    pub(crate) geometry: &'v Geometry,
    pub(crate) cache: &'v UnitCache,
}

/// Why content cannot be read.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What the volume says.
    Io(io::Error),
    /// It lies.
    Corrupt(Box<Error>),
    /// Encrypted with EFS.
    Encrypted,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Data {
    /// Reads from `offset` on, and never behind the size: the caller has looked. `content` is a number for the cache.
    pub(crate) fn read_at(
        &self,
        reader: Reader<'_>,
        content: u64,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<(), Failure> {
        match (self.encoding, &self.stream) {
            (Encoding::Lznt1 { unit_clusters }, Stream::Mapped(mapped)) => {
                lznt1::read_at(mapped, unit_clusters, reader, content, buf, offset)
            }
            (Encoding::Encrypted, _) => Err(Failure::Encrypted),
            (Encoding::Plain | Encoding::Lznt1 { .. }, stream) => {
                Ok(stream.read_at(reader.volume, reader.geometry, buf, offset)?)
            }
        }
    }

    /// Where on the volume a byte lies, for messages; 0 when it lies in the record, or in a hole.
    pub(crate) fn place(&self, geometry: &Geometry, offset: u64) -> u64 {
        let Stream::Mapped(mapped) = &self.stream else { return 0 };
        let extent = mapped.runs.from(Vcn(offset / geometry.cluster_size));
        let lcn = extent.and_then(|extent| extent.lcn);
        lcn.map_or(0, |lcn| geometry.offset(lcn) + offset % geometry.cluster_size)
    }
}

/// Compressed data that lie: those for the bytes from `file_offset` on, which begin at byte `offset` of the volume.
pub(super) fn corrupt(codec: &'static str, file_offset: u64, offset: u64, source: Corrupt) -> Failure {
    Failure::Corrupt(Box::new(Error::Compressed { codec, file_offset, offset, source }))
}
