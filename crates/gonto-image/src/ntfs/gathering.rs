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
    pub(super) fn add(&mut self, attribute: &Attribute<'_>, geometry: &Geometry) -> Result<(), Mismatch> {
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

/// Streams with names. Something that lies in one of them is told by who reads it, and by nobody else.
#[derive(Default)]
pub(crate) struct NamedGatherings {
    /// By their names, in UTF-16: a file can have so many that they must be found fast.
    by_name: BTreeMap<Box<[u8]>, Result<Gathering, Mismatch>>,
}

impl NamedGatherings {
    pub(super) fn add(&mut self, name: &[u8], attribute: &Attribute<'_>, geometry: &Geometry) {
        if !self.by_name.contains_key(name) {
            self.by_name.insert(name.into(), Ok(Gathering::default()));
        }
        if let Some(stream) = self.by_name.get_mut(name)
            && let Ok(gathering) = stream
            && let Err(wrong) = gathering.add(attribute, geometry)
        {
            *stream = Err(wrong);
        }
    }

    /// All of them; `place` says in which record something is wrong.
    pub(super) fn finish(self, geometry: &Geometry, place: impl Fn(Mismatch) -> Error) -> Box<[NamedData]> {
        let finish = |gathering: Gathering| {
            let data = gathering.finish(geometry)?;
            data.map(Arc::new).ok_or_else(|| Mismatch::new(0, "a stream", "none"))
        };
        let finished = self.by_name.into_iter().map(|(utf16, gathered)| NamedData {
            name: to_wtf8(&utf16).into(),
            data: gathered.and_then(finish).map_err(|wrong| Arc::new(place(wrong))),
        });
        let mut streams: Box<[NamedData]> = finished.collect();
        streams.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        streams
    }
}
