//! The survey: every record of `$MFT` is looked at once, and what others will be held against is written down.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::finding::Findings;
use crate::error::{Error, Mismatch};
use crate::ntfs::attribute::{Attribute, Content, Piece, each, kind};
use crate::ntfs::gathering::Gathering;
use crate::ntfs::index::entry::FileName;
use crate::ntfs::mft::Mft;
use crate::ntfs::record::{Record, is_live};
use crate::ntfs::scan::Inodes;
use crate::ntfs::{FIRST_FREE_RECORD, Reference, attribute_list, field, runs};
use crate::parallel::map_in_order;

/// How much of `$MFT` a thread reads at a time.
const CHUNK: usize = 1 << 20;

/// What all records say.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) findings: Findings,
    /// Files, in the order of their records.
    pub(super) bases: Vec<Base>,
    /// Records that continue others, with the record that they continue.
    pub(super) extensions: Vec<(u64, Reference)>,
    pub(super) names: Vec<Name>,
    pub(super) claims: Vec<Claim>,
    /// What attribute lists say, and what there is in files that have one.
    pub(super) listed: Vec<Listed>,
    pub(super) present: Vec<Listed>,
    /// Pieces of streams of such files.
    pub(super) pieces: Vec<StreamPiece>,
}

/// A file.
pub(super) struct Base {
    pub(super) record: u64,
    pub(super) sequence: u16,
    pub(super) hard_links: u16,
    pub(super) directory: bool,
    /// Whether something was found already that keeps it from being read.
    pub(super) broken: bool,
    /// In `$Secure`; 0 for none.
    pub(super) security: u32,
}

/// A name of a file, in one of the two places where each is written: the file, and the index of the folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) folder: u64,
    pub(super) file: u64,
    /// Of the name and its namespace.
    hash: u64,
    pub(super) dos_only: bool,
}

impl Name {
    pub(super) fn new(file: u64, name: &FileName<'_>) -> Self {
        let hash = hash(&(name.namespace, name.utf16));
        Self { folder: name.parent.record, file, hash, dos_only: name.is_dos_only() }
    }

    /// The same where it was found in the index of a folder, whatever it says itself.
    pub(super) fn in_folder(self, folder: u64) -> Self {
        Self { folder, ..self }
    }
}

/// Clusters that a file says are its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) record: u64,
}

/// An attribute in a file that has an attribute list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    pub(super) base: u64,
    /// The record that holds it.
    pub(super) record: u64,
    pub(super) kind: u32,
    /// Of the name, the lowest VCN and the id.
    hash: u64,
}

/// One of several pieces of a stream.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamPiece {
    pub(super) base: u64,
    pub(super) kind: u32,
    /// Of the name.
    pub(super) name: u64,
    pub(super) lowest: u64,
    pub(super) end: u64,
    /// What the first piece says that all of them have, in clusters.
    pub(super) allocated: u64,
}

impl Survey {
    /// Looks at all records. `bitmap` tells which are in use.
    pub(super) fn new(mft: &Mft, bitmap: Option<&[u8]>) -> Self {
        let records = mft.records();
        let per_chunk = (CHUNK / mft.geometry.record_size) as u64;
        let chunks = usize::try_from(records.div_ceil(per_chunk)).unwrap_or(usize::MAX);
        let surveys = map_in_order(chunks, |chunk| {
            let first = chunk as u64 * per_chunk;
            survey_chunk(mft, bitmap, first, per_chunk.min(records - first))
        });
        let mut all = Self::default();
        for mut survey in surveys {
            all.findings.append(std::mem::take(&mut survey.findings));
            all.bases.append(&mut survey.bases);
            all.extensions.append(&mut survey.extensions);
            all.names.append(&mut survey.names);
            all.claims.append(&mut survey.claims);
            all.listed.append(&mut survey.listed);
            all.present.append(&mut survey.present);
            all.pieces.append(&mut survey.pieces);
        }
        all.names.sort_unstable();
        all
    }

    /// The file in a record.
    pub(super) fn base(&self, record: u64) -> Option<&Base> {
        let place = self.bases.binary_search_by_key(&record, |base| base.record).ok()?;
        Some(&self.bases[place])
    }

    /// How many files and directories there are.
    pub(super) fn counts(&self) -> (u64, u64) {
        let directories = self.bases.iter().filter(|base| base.directory).count();
        ((self.bases.len() - directories) as u64, directories as u64)
    }

    /// Tells of the files that cannot be shown for reasons which no single record tells.
    pub(super) fn tell_unreadable(&mut self, mft: &Mft, inodes: &Inodes, findings: &mut Findings) {
        for base in self.bases.iter_mut().filter(|base| !base.broken) {
            if let Err(error) = inodes.find_any(mft, base.record) {
                findings.error(base.record, problem(&error));
                base.broken = true;
            }
        }
    }
}

/// What an error of a reader says, without the record that a finding names anyway, and without the remedy.
pub(super) fn problem(error: &Error) -> String {
    match error {
        Error::Record { record, offset, expected, found } => {
            format!("expected {expected}, found {found}, at byte {offset:#x} of the volume (record {record})")
        }
        Error::Index { resident, offset, expected, found, .. } => {
            let part = if *resident { "$INDEX_ROOT" } else { "$INDEX_ALLOCATION" };
            format!("expected {expected}, found {found}, at byte {offset:#x} of {part}")
        }
        Error::Read { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}

pub(super) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn survey_chunk(mft: &Mft, bitmap: Option<&[u8]>, first: u64, count: u64) -> Survey {
    let mut survey = Survey::default();
    let record_size = mft.geometry.record_size;
    let length = usize::try_from(count).unwrap_or(0) * record_size;
    let marked = |record: u64| {
        let byte = bitmap?.get(usize::try_from(record / 8).ok()?).copied().unwrap_or(0);
        Some(byte >> (record % 8) & 1 == 1)
    };
    if mft.is_hole(first, length) {
        let lost = (first..first + count).filter(|record| marked(*record) == Some(true));
        for record in lost.filter(|record| *record >= FIRST_FREE_RECORD) {
            survey.findings.error(record, "in use, as the bitmap of $MFT says, but there is no record");
        }
        return survey;
    }
    let mut raw = vec![0; length];
    let whole = mft.read_raw(first, &mut raw).is_ok();
    for (record, raw) in (first..).zip(raw.chunks_exact_mut(record_size)) {
        if !whole && let Err(error) = mft.read_raw(record, raw) {
            if marked(record) != Some(false) {
                survey.findings.error(record, problem(&error));
            }
            continue;
        }
        survey.examine(mft, record, marked(record), raw);
    }
    survey
}

impl Survey {
    fn examine(&mut self, mft: &Mft, number: u64, marked: Option<bool>, raw: &mut [u8]) {
        if !is_live(raw) {
            if marked == Some(true) && number >= FIRST_FREE_RECORD {
                self.marked_in_vain(number, raw);
            }
            return;
        }
        if marked == Some(false) {
            self.findings.error(number, "in use, but the bitmap of $MFT calls it free");
        }
        let place = |mismatch: Mismatch| problem(&mismatch.in_record(number, mft.place(number)));
        let record = match Record::open(raw, number) {
            Ok(record) => record,
            Err(mismatch) => {
                // Whether it is a base record is told before the fixups.
                self.add_base(&Live { number, base: number, sequence: 0 }, 0, false, true);
                self.findings.error(number, place(mismatch));
                return;
            }
        };
        let base = record.base.map_or(number, |base| base.record);
        let live = Live { number, base, sequence: record.sequence };
        match record.base {
            Some(base) => self.extensions.push((number, base)),
            None => self.add_base(&live, record.hard_links, record.directory, false),
        }
        if let Err(mismatch) = self.add_attributes(mft, &record, &live) {
            self.findings.error(number, place(mismatch));
            if let Some(base) = self.bases.last_mut().filter(|base| base.record == number) {
                base.broken = true;
            }
        }
    }

    fn marked_in_vain(&mut self, number: u64, raw: &[u8]) {
        if raw.starts_with(b"FILE") {
            self.findings.warning(number, "free, but the bitmap of $MFT says that it is in use");
        } else {
            let found = raw[..4].escape_ascii();
            self.findings.error(
                number,
                format_args!(
                    "in use, as the bitmap of $MFT says, but its signature is \"{found}\", not \"FILE\""
                ),
            );
        }
    }

    fn add_base(&mut self, live: &Live, hard_links: u16, directory: bool, broken: bool) {
        let Live { number: record, sequence, .. } = *live;
        self.bases.push(Base { record, sequence, hard_links, directory, broken, security: 0 });
    }

    fn add_attributes(&mut self, mft: &Mft, record: &Record<'_>, live: &Live) -> Result<(), Mismatch> {
        let mut has_list = live.base != live.number;
        let mut kinds = 0;
        each(record, |attribute| {
            has_list |= attribute.kind == kind::ATTRIBUTE_LIST;
            if attribute.kind < kinds {
                let expected = format!("attributes in the order of their types, {kinds:#x} or more");
                return Err(Mismatch::new(attribute.at, expected, format!("{:#x}", attribute.kind)));
            }
            kinds = attribute.kind;
            Ok(())
        })?;
        each(record, |attribute| {
            if has_list && attribute.kind != kind::ATTRIBUTE_LIST {
                self.present.push(live.listed(live.number, &attribute));
            }
            match (attribute.kind, &attribute.content) {
                (kind::FILE_NAME, Content::Resident(value)) => {
                    let name = FileName::parse(value).map_err(|mismatch| mismatch.shifted(attribute.at))?;
                    self.names.push(Name::new(live.base, &name));
                }
                (kind::STANDARD_INFORMATION, Content::Resident(value)) => {
                    // From NTFS 3.0 on it has 72 bytes.
                    if let (Some(id), Some(base)) = (field::u32(value, 52), self.bases.last_mut()) {
                        base.security = id;
                    }
                }
                (kind::ATTRIBUTE_LIST, _) => self.add_list(mft, live, &attribute)?,
                _ => {}
            }
            match &attribute.content {
                Content::NonResident(piece) => self
                    .add_piece(mft, live, has_list, &attribute, piece)
                    .map_err(|mismatch| mismatch.shifted(attribute.at)),
                Content::Resident(_) => Ok(()),
            }
        })
    }

    fn add_list(&mut self, mft: &Mft, live: &Live, attribute: &Attribute<'_>) -> Result<(), Mismatch> {
        let mut list = Gathering::default();
        list.add(attribute, &mft.geometry)?;
        let Some(list) = list.finish(&mft.geometry)? else { return Ok(()) };
        let list = match mft.read_small(&list.stream, attribute_list::LONGEST, live.number) {
            Ok(list) => list,
            Err(error) => {
                self.findings.error(live.number, problem(&error));
                return Ok(());
            }
        };
        attribute_list::each(&list, |entry| {
            let hash = hash(&(entry.name, entry.lowest, entry.id));
            let Reference { record, .. } = entry.reference;
            self.listed.push(Listed { base: live.number, record, kind: entry.kind, hash });
        })
        .map_err(|mismatch| Mismatch { at: attribute.at, ..mismatch })
    }

    /// Checks a piece by itself, and writes down what it claims.
    fn add_piece(
        &mut self,
        mft: &Mft,
        live: &Live,
        has_list: bool,
        attribute: &Attribute<'_>,
        piece: &Piece<'_>,
    ) -> Result<(), Mismatch> {
        let geometry = &mft.geometry;
        let decoded = runs::decode(piece.mapping_pairs, piece.lowest.0, geometry.clusters)
            .map_err(|mismatch| mismatch.shifted(piece.mapping_pairs_at))?;
        if let Some(end) = piece.end.filter(|end| end.0 != decoded.end) {
            let found = format!("runs up to VCN {}", decoded.end);
            return Err(Mismatch::new(piece.mapping_pairs_at, format!("runs up to VCN {}", end.0), found));
        }
        let there = mft.volume.size().div_ceil(geometry.cluster_size);
        for extent in decoded.extents() {
            let Some(lcn) = extent.lcn else { continue };
            let end = lcn.0 + extent.length;
            self.claims.push(Claim { start: lcn.0, end, record: live.base });
            if end > there {
                let from = lcn.0.max(there);
                self.findings.error(
                    live.base,
                    format_args!("clusters {from} to {} lie behind the end of the image", end - 1),
                );
            }
        }
        let allocated = piece.allocated / geometry.cluster_size;
        if piece.lowest.0 == 0 && piece.sizes.data > piece.allocated {
            let expected = format!("at most the {} bytes that are allocated", piece.allocated);
            return Err(Mismatch::new(0x30, expected, format!("a size of {}", piece.sizes.data)));
        }
        if has_list {
            self.pieces.push(StreamPiece {
                base: live.base,
                kind: attribute.kind,
                name: hash(&attribute.name),
                lowest: piece.lowest.0,
                end: decoded.end,
                allocated,
            });
        } else if piece.lowest.0 != 0 {
            return Err(Mismatch::new(0x10, "a stream from VCN 0 on", piece.lowest.0));
        } else if allocated != decoded.end || !piece.allocated.is_multiple_of(geometry.cluster_size) {
            let expected = format!("the {} clusters of its runs as allocated size", decoded.end);
            return Err(Mismatch::new(0x28, expected, format!("{} bytes", piece.allocated)));
        }
        Ok(())
    }
}

/// The record that is being looked at.
struct Live {
    number: u64,
    /// The file that it belongs to.
    base: u64,
    sequence: u16,
}

impl Live {
    fn listed(&self, record: u64, attribute: &Attribute<'_>) -> Listed {
        let lowest = match &attribute.content {
            Content::Resident(_) => 0,
            Content::NonResident(piece) => piece.lowest.0,
        };
        let hash = hash(&(attribute.name, lowest, attribute.id));
        Listed { base: self.base, record, kind: attribute.kind, hash }
    }
}
