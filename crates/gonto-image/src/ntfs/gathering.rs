//! Attributes that are put together from their pieces, which may lie in several records.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attribute::{Attribute, Content, Sizes, flag};
use super::boot::Geometry;
use super::lznt1;
use super::name::to_wtf8;
use super::runs::{Assembly, Runs};
use super::stream::{Mapped, Stream};
use crate::error::{Error, Mismatch};

/// Content, and how it is encoded.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) stream: Stream,
    pub(crate) encoding: Encoding,
}

/// How the clusters of a stream hold its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    Plain,
    /// In units of so many clusters, at most 1 MiB.
    Lznt1 {
        unit_clusters: u64,
    },
    Encrypted,
}

/// A `$DATA` attribute with a name.
#[derive(Debug)]
pub(crate) struct NamedData {
    /// WTF-8.
    pub(crate) name: Box<[u8]>,
    /// What is wrong with it does not make the file unreadable.
    pub(crate) data: Result<Arc<Data>, Arc<Error>>,
}

/// One attribute that is put together from its pieces.
#[derive(Default)]
pub(crate) struct Gathering {
    resident: Option<Box<[u8]>>,
    assembly: Assembly,
    /// Of the piece at VCN 0, which is the one that knows.
    sizes: Option<Sizes>,
    flags: u16,
    compression_unit: u8,
    /// Where in its record the first piece was found, for messages.
    at: usize,
    pieces: u32,
}

impl Gathering {
    pub(crate) fn add(&mut self, attribute: &Attribute<'_>, geometry: &Geometry) -> Result<(), Mismatch> {
        if self.resident.is_some() || (self.pieces > 0 && matches!(attribute.content, Content::Resident(_))) {
            let found = format!("another of type {:#x}", attribute.kind);
            return Err(Mismatch::new(attribute.at, "each resident attribute once", found));
        }
        if self.pieces == 0 {
            self.at = attribute.at;
        }
        self.pieces += 1;
        match &attribute.content {
            Content::Resident(value) => {
                self.flags = attribute.flags;
                self.resident = Some((*value).into());
            }
            Content::NonResident(piece) => {
                if piece.lowest.0 == 0 {
                    if self.sizes.replace(piece.sizes).is_some() {
                        let expected = "one piece that begins at VCN 0";
                        return Err(Mismatch::new(attribute.at, expected, "another"));
                    }
                    self.flags = attribute.flags;
                    self.compression_unit = piece.compression_unit;
                }
                self.assembly
                    .add(piece.mapping_pairs, piece.lowest, piece.end, geometry.clusters)
                    .map_err(|mismatch| mismatch.shifted(attribute.at + piece.mapping_pairs_at))?;
            }
        }
        Ok(())
    }

    /// What is known of the runs so far.
    pub(crate) fn so_far(&self) -> Runs {
        self.assembly.so_far()
    }

    /// Brings what was known of the runs up to date.
    pub(crate) fn catch_up(&self, known: &mut Runs) {
        self.assembly.catch_up(known);
    }

    /// The attribute, with runs that reach over its size; `None` when there is none.
    pub(crate) fn finish(self, geometry: &Geometry) -> Result<Option<Data>, Mismatch> {
        let at = self.at;
        if let Some(value) = self.resident {
            // Resident content is never compressed, whatever the flag says; encrypted it could be.
            let encoding =
                if self.flags & flag::ENCRYPTED != 0 { Encoding::Encrypted } else { Encoding::Plain };
            return Ok(Some(Data { stream: Stream::Resident(value), encoding }));
        }
        let Some(sizes) = self.sizes else {
            return match self.pieces {
                0 => Ok(None),
                _ => Err(Mismatch::new(at, "a piece that begins at VCN 0", "later ones only")),
            };
        };
        let runs = self.assembly.finish().map_err(|mismatch| mismatch.shifted(at))?;
        let mapped = runs.end.0.saturating_mul(geometry.cluster_size);
        if sizes.data > mapped {
            let expected = format!("a size of at most the {mapped} bytes that its runs hold");
            return Err(Mismatch::new(at, expected, sizes.data));
        }
        let encoding = if self.flags & flag::ENCRYPTED != 0 {
            Encoding::Encrypted
        } else if self.flags & flag::COMPRESSED != 0 {
            lznt1_encoding(self.compression_unit, geometry).map_err(|wrong| wrong.shifted(at))?
        } else {
            Encoding::Plain
        };
        Ok(Some(Data { stream: Stream::Mapped(Mapped { runs, sizes }), encoding }))
    }
}

/// Content of which each unit is one cluster has nothing to save, and is plain.
fn lznt1_encoding(compression_unit: u8, geometry: &Geometry) -> Result<Encoding, Mismatch> {
    let clusters = 1u64.checked_shl(u32::from(compression_unit)).unwrap_or(u64::MAX);
    match clusters.checked_mul(geometry.cluster_size) {
        _ if clusters == 1 => Ok(Encoding::Plain),
        Some(..=lznt1::LARGEST_UNIT) => Ok(Encoding::Lznt1 { unit_clusters: clusters }),
        _ => {
            let expected = format!("units of at most {} bytes", lznt1::LARGEST_UNIT);
            let found = format!("units of 2^{compression_unit} clusters of {} bytes", geometry.cluster_size);
            Err(Mismatch::new(0, expected, found))
        }
    }
}

/// An attribute without which the rest can be read: what lies in it is told by who needs it, and by nobody else.
pub(crate) struct Tolerant(Result<Gathering, Mismatch>);

impl Default for Tolerant {
    fn default() -> Self {
        Self(Ok(Gathering::default()))
    }
}

impl Tolerant {
    pub(super) fn add(&mut self, attribute: &Attribute<'_>, geometry: &Geometry) {
        if let Ok(gathering) = &mut self.0
            && let Err(wrong) = gathering.add(attribute, geometry)
        {
            self.0 = Err(wrong);
        }
    }

    pub(super) fn finish(self, geometry: &Geometry) -> Result<Option<Data>, Mismatch> {
        self.0?.finish(geometry)
    }
}

/// Streams with names.
#[derive(Default)]
pub(crate) struct NamedGatherings {
    /// By their names, in UTF-16: a file can have so many that they must be found fast.
    by_name: BTreeMap<Box<[u8]>, Tolerant>,
}

impl NamedGatherings {
    pub(super) fn add(&mut self, name: &[u8], attribute: &Attribute<'_>, geometry: &Geometry) {
        if !self.by_name.contains_key(name) {
            self.by_name.insert(name.into(), Tolerant::default());
        }
        if let Some(stream) = self.by_name.get_mut(name) {
            stream.add(attribute, geometry);
        }
    }

    /// All of them; `place` says in which record something is wrong.
    pub(super) fn finish(self, geometry: &Geometry, place: impl Fn(Mismatch) -> Error) -> Box<[NamedData]> {
        let finish = |stream: Tolerant| {
            let data = stream.finish(geometry)?;
            data.map(Arc::new).ok_or_else(|| Mismatch::new(0, "a stream", "none"))
        };
        let finished = self.by_name.into_iter().map(|(utf16, gathered)| NamedData {
            name: to_wtf8(&utf16).into(),
            data: finish(gathered).map_err(|wrong| Arc::new(place(wrong))),
        });
        let mut streams: Box<[NamedData]> = finished.collect();
        streams.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        streams
    }
}

#[cfg(test)]
mod tests {
    use super::super::attribute::{Piece, kind};
    use super::super::{Lcn, Vcn};
    use super::*;

    fn piece<'r>(name: &'r [u8], lowest: u64, end: u64, mapping_pairs: &'r [u8]) -> Attribute<'r> {
        let content = Content::NonResident(Piece {
            lowest: Vcn(lowest),
            end: Some(Vcn(end)),
            sizes: Sizes { data: 3000, valid: 3000 },
            allocated: 0,
            compression_unit: 0,
            mapping_pairs,
            mapping_pairs_at: 64,
        });
        Attribute { kind: kind::DATA, name, flags: 0, id: 0, at: 0, content }
    }

    #[test]
    fn pieces_of_named_streams_are_joined_by_their_names_and_one_that_lies_spoils_no_other() {
        let geometry = Geometry::of_clusters(512, 1000);
        let mut streams = NamedGatherings::default();
        for attribute in [
            piece(b"b\0", 4, 6, &[0x11, 2, 50, 0]),
            piece(b"a\0", 0, 6, &[0x11, 6, 10, 0]),
            piece(b"b\0", 0, 4, &[0x11, 4, 90, 0]),
            piece(b"c\0", 0, 6, &[0x11, 6, 20, 0]),
            piece(b"c\0", 0, 6, &[0x11, 6, 20, 0]),
            piece(b"d\0", 3, 6, &[0x11, 3, 20, 0]),
        ] {
            streams.add(attribute.name, &attribute, &geometry);
        }
        let streams = streams.finish(&geometry, |mismatch| mismatch.in_record(7, 4096));
        let runs = |stream: &NamedData| -> Vec<(Option<Lcn>, u64)> {
            match &stream.data.as_ref().unwrap().stream {
                Stream::Mapped(mapped) => mapped.runs.extents().map(|run| (run.lcn, run.length)).collect(),
                Stream::Resident(_) => Vec::new(),
            }
        };
        let names: Vec<&[u8]> = streams.iter().map(|stream| &*stream.name).collect();
        assert_eq!(names, [b"a", b"b", b"c", b"d"]);
        assert_eq!(runs(&streams[0]), [(Some(Lcn(10)), 6)]);
        assert_eq!(runs(&streams[1]), [(Some(Lcn(90)), 4), (Some(Lcn(50)), 2)]);
        let error = |stream: &NamedData| stream.data.as_ref().unwrap_err().to_string();
        assert!(error(&streams[2]).contains("NTFS record 7 is damaged"), "{}", error(&streams[2]));
        assert!(error(&streams[3]).contains("a piece"), "{}", error(&streams[3]));
    }

    #[test]
    fn units_of_compressed_content_have_a_limit() {
        let encoding = |unit, cluster_size| lznt1_encoding(unit, &Geometry::of_clusters(cluster_size, 1000));
        assert_eq!(encoding(4, 4096), Ok(Encoding::Lznt1 { unit_clusters: 16 }));
        assert_eq!(encoding(0, 4096), Ok(Encoding::Plain));
        assert_eq!(encoding(4, 65536), Ok(Encoding::Lznt1 { unit_clusters: 16 }));
        for (unit, cluster_size) in [(5, 65536), (63, 512), (64, 512), (255, 4096)] {
            assert!(encoding(unit, cluster_size).is_err(), "{unit}");
        }
    }
}
