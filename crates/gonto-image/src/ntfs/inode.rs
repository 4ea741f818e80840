//! What is known about one file: the attributes of its record, and of the records that continue it.

use super::attribute::{Attribute, Content, each, kind};
use super::boot::Geometry;
use super::extended_attributes::{self, Wsl};
use super::gathering::{Data, Gathering, NamedData, NamedGatherings, Tolerant};
use super::mft::Mft;
use super::record::Record;
use super::reparse::{self, ReparsePoint};
use super::stream::{Mapped, Stream};
use super::{I30, Reference, attribute_list, field};
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
    pub(crate) reparse: Option<Box<ReparsePoint>>,
    pub(crate) wsl: Wsl,
    /// Those that have a name, sorted by it.
    pub(crate) streams: Box<[NamedData]>,
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

/// The attributes named `$I30`.
#[derive(Debug)]
pub(crate) struct IndexParts {
    pub(crate) root: Box<[u8]>,
    pub(crate) allocation: Option<Mapped>,
    /// Which blocks of the allocation are in use, or what is wrong with that. Windows does not ask it when it reads.
    pub(crate) bitmap: Result<Option<Stream>, Mismatch>,
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
            reparse: reparse
                .map(|bytes| ReparsePoint::parse(&bytes).map(Box::new))
                .transpose()
                .map_err(place)?,
            wsl: extended.map(|list| Wsl::parse(&list)).unwrap_or_default(),
            streams: finished.named.finish(&mft.geometry, place),
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
    index_bitmap: Tolerant,
    reparse: Gathering,
    extended: Gathering,
    named: NamedGatherings,
}

struct Finished {
    standard: Standard,
    data: Option<Data>,
    index: Option<IndexParts>,
    reparse: Option<Data>,
    extended: Option<Data>,
    named: NamedGatherings,
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
                (kind::DATA, name) => {
                    self.named.add(name, &attribute, geometry);
                    return Ok(());
                }
                (kind::INDEX_ROOT, name) if name == I30 => &mut self.index_root,
                (kind::INDEX_ALLOCATION, name) if name == I30 => &mut self.index_allocation,
                (kind::BITMAP, name) if name == I30 => {
                    self.index_bitmap.add(&attribute, geometry);
                    return Ok(());
                }
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
            let bitmap = self.index_bitmap.finish(geometry).map(|data| data.map(|data| data.stream));
            Some(IndexParts { root, allocation, bitmap })
        } else {
            None
        };
        Ok(Finished {
            standard,
            data: if directory { None } else { self.data.finish(geometry)? },
            index,
            reparse: self.reparse.finish(geometry)?,
            extended: self.extended.finish(geometry)?,
            named: self.named,
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
