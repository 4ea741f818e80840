//! What is known about one file: the attributes of its record, and of the records that continue it.

use super::attribute::{Attribute, Content, Sizes, each, flag, kind};
use super::boot::Geometry;
use super::mft::Mft;
use super::record::Record;
use super::reparse::{self, Reparse};
use super::runs::{Assembly, Runs};
use super::stream::{Mapped, Stream};
use super::{I30, Reference, attribute_list, extended_attributes, field};
use crate::error::{Error, Mismatch};

/// A file or directory.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) record: u64,
    pub(crate) sequence: u16,
    pub(crate) standard: Standard,
    /// The unnamed `$DATA`; a file may have none, and is empty then.
    pub(crate) data: Option<Data>,
    /// What makes it a directory.
    pub(crate) index: Option<Box<IndexParts>>,
    pub(crate) reparse: Option<Box<Reparse>>,
    /// The mode that WSL gave it.
    pub(crate) wsl_mode: Option<u32>,
}

/// `$STANDARD_INFORMATION`. Times are in units of 100 ns since 1601.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Standard {
    pub(crate) created: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
    pub(crate) accessed: u64,
    /// \[MS-FSCC\] 2.6.
    pub(crate) attributes: u32,
}

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
    Lznt1,
    Encrypted,
}

/// The attributes named `$I30`.
#[derive(Debug)]
pub(crate) struct IndexParts {
    pub(crate) root: Box<[u8]>,
    pub(crate) allocation: Option<Mapped>,
}

impl Inode {
    /// Reads the base record `number` from its raw bytes, which are changed on the way, and what continues it.
    ///
    /// # Errors
    /// [`Error::Record`] when it lies, [`Error::Read`] from below.
    pub(crate) fn read(mft: &Mft, number: u64, raw: &mut [u8]) -> Result<Self, Error> {
        let place = |mismatch: Mismatch| mismatch.in_record(number, mft.place(number));
        let mut parts = Parts::default();
        let record = Record::open(raw, number).map_err(place)?;
        if !record.in_use || record.base.is_some() {
            return Err(place(Mismatch::new(0x16, "a file", "a free record, or one that continues a file")));
        }
        let (sequence, directory) = (record.sequence, record.directory);
        parts.gather(&record, &mft.geometry).map_err(place)?;
        if let Some(list) = parts.take_list(&mft.geometry).map_err(place)? {
            let list = mft.read_small(&list, attribute_list::LONGEST, number)?;
            for extension in attribute_list::extension_records(&list, number).map_err(place)? {
                mft.read_extension(extension, Reference { record: number, sequence }, &mut parts)?;
            }
        }
        let finished = parts.finish(directory, &mft.geometry).map_err(place)?;
        let small = |attribute: Option<Data>, limit| match attribute {
            Some(attribute) => mft.read_small(&attribute.stream, limit, number).map(Some),
            None => Ok(None),
        };
        let reparse = small(finished.reparse, reparse::LONGEST)?;
        let extended = small(finished.extended, extended_attributes::LONGEST)?;
        Ok(Self {
            record: number,
            sequence,
            standard: finished.standard,
            data: finished.data,
            index: finished.index.map(Box::new),
            reparse: reparse.map(|bytes| Reparse::parse(&bytes).map(Box::new)).transpose().map_err(place)?,
            wsl_mode: match extended {
                Some(list) => extended_attributes::wsl_mode(&list).map_err(place)?,
                None => None,
            },
        })
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.index.is_some()
    }
}

/// Attributes as they are gathered from records.
#[derive(Default)]
pub(crate) struct Parts {
    standard: Option<Standard>,
    list: Gathering,
    pub(crate) data: Gathering,
    index_root: Gathering,
    index_allocation: Gathering,
    reparse: Gathering,
    extended: Gathering,
}

struct Finished {
    standard: Standard,
    data: Option<Data>,
    index: Option<IndexParts>,
    reparse: Option<Data>,
    extended: Option<Data>,
}

impl Parts {
    /// Adds the attributes of one record.
    pub(crate) fn gather(&mut self, record: &Record<'_>, geometry: &Geometry) -> Result<(), Mismatch> {
        each(record, |attribute| {
            let gathering = match (attribute.kind, attribute.name) {
                (kind::STANDARD_INFORMATION, _) => {
                    self.standard = Some(Standard::parse(&attribute)?);
                    return Ok(());
                }
                (kind::ATTRIBUTE_LIST, _) => &mut self.list,
                (kind::DATA, []) => &mut self.data,
                (kind::INDEX_ROOT, name) if name == I30 => &mut self.index_root,
                (kind::INDEX_ALLOCATION, name) if name == I30 => &mut self.index_allocation,
                (kind::REPARSE_POINT, _) => &mut self.reparse,
                (kind::EXTENDED_ATTRIBUTES, _) => &mut self.extended,
                _ => return Ok(()),
            };
            gathering.add(&attribute, geometry)
        })
    }

    /// The attribute list, which has to be read before the rest is complete.
    pub(crate) fn take_list(&mut self, geometry: &Geometry) -> Result<Option<Stream>, Mismatch> {
        std::mem::take(&mut self.list).finish(geometry).map(|data| data.map(|data| data.stream))
    }

    fn finish(self, directory: bool, geometry: &Geometry) -> Result<Finished, Mismatch> {
        let standard =
            self.standard.ok_or_else(|| Mismatch::new(0, "$STANDARD_INFORMATION", "a file without it"))?;
        let index = if directory {
            let Some(Stream::Resident(root)) = self.index_root.finish(geometry)?.map(|data| data.stream)
            else {
                return Err(Mismatch::new(0, "a resident $INDEX_ROOT", "a directory without it"));
            };
            let allocation = match self.index_allocation.finish(geometry)?.map(|data| data.stream) {
                Some(Stream::Mapped(mapped)) => Some(mapped),
                Some(Stream::Resident(_)) => {
                    return Err(Mismatch::new(0, "a non-resident $INDEX_ALLOCATION", "a resident one"));
                }
                None => None,
            };
            Some(IndexParts { root, allocation })
        } else {
            None
        };
        Ok(Finished {
            standard,
            data: if directory { None } else { self.data.finish(geometry)? },
            index,
            reparse: self.reparse.finish(geometry)?,
            extended: self.extended.finish(geometry)?,
        })
    }
}

impl Standard {
    fn parse(attribute: &Attribute<'_>) -> Result<Self, Mismatch> {
        let times = match attribute.content {
            Content::Resident(value) => (|| {
                Some(Self {
                    created: field::u64(value, 0)?,
                    modified: field::u64(value, 8)?,
                    changed: field::u64(value, 16)?,
                    accessed: field::u64(value, 24)?,
                    attributes: field::u32(value, 32)?,
                })
            })(),
            Content::NonResident(_) => None,
        };
        times.ok_or_else(|| {
            Mismatch::new(attribute.at, "a resident $STANDARD_INFORMATION of 36 bytes or more", "another")
        })
    }
}

/// One attribute that is put together from its pieces.
#[derive(Default)]
pub(crate) struct Gathering {
    resident: Option<Box<[u8]>>,
    assembly: Assembly,
    /// Of the piece at VCN 0, which is the one that knows.
    sizes: Option<Sizes>,
    flags: u16,
    /// Where in its record the first piece was found, for messages.
    at: usize,
    pieces: u32,
}

impl Gathering {
    fn add(&mut self, attribute: &Attribute<'_>, geometry: &Geometry) -> Result<(), Mismatch> {
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
            Encoding::Lznt1
        } else {
            Encoding::Plain
        };
        Ok(Some(Data { stream: Stream::Mapped(Mapped { runs, sizes }), encoding }))
    }
}
