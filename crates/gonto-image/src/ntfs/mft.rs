//! `$MFT`, the table of all records, and how it is found: its first record describes where the others are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::attribute::Sizes;
use super::boot::{Boot, Geometry};
use super::inode::Parts;
use super::record::Record;
use super::runs::Runs;
use super::stream::{Mapped, Stream, read_runs};
use super::{Lcn, Reference, Vcn, attribute_list};
use crate::error::{Error, Mismatch};
use crate::source::ReadAt;

/// The records of a volume.
pub(crate) struct Mft {
    pub(crate) volume: Arc<dyn ReadAt>,
    pub(crate) geometry: Geometry,
    /// What had to be read from a copy, because the first one is damaged.
    pub(crate) copies: Copies,
    runs: Runs,
    valid: u64,
    records: u64,
    /// How many bytes may still be read by [`read_small`](Self::read_small).
    budget: AtomicU64,
}

/// What had to be read from a copy.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Copies {
    /// The boot sector, from its backup.
    pub(crate) boot: bool,
    /// The record of `$MFT` itself, from `$MFTMirr`.
    pub(crate) mft: bool,
}

/// Attribute lists, reparse points and extended attributes that lie in clusters: no volume has more of them, as nearly all lie in
/// records. The limit keeps a million records that all point to the same clusters from being followed one by one, and what
/// they say from being kept a million times.
const MOST_SMALL_READS: u64 = 256 << 20;

/// 64 GiB of records of 1 KiB. The scan keeps four bytes for each, even for those that are not in use.
const MOST_RECORDS: u64 = 1 << 26;

impl Mft {
    /// Finds `$MFT` on a volume: where the boot sector says, else where its backup says if that contradicts, else by the copy of
    /// its first record in `$MFTMirr`.
    ///
    /// # Errors
    /// [`Error::BootSector`], [`Error::Record`], [`Error::TooMany`], [`Error::Read`]: what was wrong with the first copies.
    pub(crate) fn open(volume: Arc<dyn ReadAt>) -> Result<Self, Error> {
        let boot = Boot::read(volume.as_ref())?;
        Self::by_boot_sector(&volume, boot).or_else(|error| {
            let found = Self::by_backup(&volume).or_else(|| Self::by_mirror(&volume, boot));
            // Where only the backup says where it is, and it is not there, the record is not to blame.
            found.ok_or_else(|| Boot::first(volume.as_ref()).err().unwrap_or(error))
        })
    }

    /// The same by the backup of the boot sector alone, where that contradicts the first one.
    pub(crate) fn by_backup(volume: &Arc<dyn ReadAt>) -> Option<Self> {
        let first = Boot::first(volume.as_ref()).ok()?;
        let backup = Boot::backup(volume.as_ref())?;
        backup.contradicts(&first.geometry)?;
        Self::by_boot_sector(volume, backup).ok().or_else(|| Self::by_mirror(volume, backup))
    }

    fn by_boot_sector(volume: &Arc<dyn ReadAt>, boot: Boot) -> Result<Self, Error> {
        let Boot { geometry, from_backup } = boot;
        Self::by_record(volume.clone(), geometry, geometry.mft, Copies { boot: from_backup, mft: false })
    }

    fn by_mirror(volume: &Arc<dyn ReadAt>, boot: Boot) -> Option<Self> {
        let Boot { geometry, from_backup } = boot;
        let at = Some(geometry.mirror).filter(|mirror| mirror.0 < geometry.clusters)?;
        Self::by_record(volume.clone(), geometry, at, Copies { boot: from_backup, mft: true }).ok()
    }

    /// Reads the first record of `$MFT` or `$MFTMirr`, whichever begins at `start`. Where `$MFT` is so fragmented that its runs
    /// need several records, these are looked up by the runs that are known already, as Windows lays them out.
    fn by_record(
        volume: Arc<dyn ReadAt>,
        geometry: Geometry,
        start: Lcn,
        copies: Copies,
    ) -> Result<Self, Error> {
        let start = geometry.offset(start);
        let mut raw = vec![0; geometry.record_size];
        let length = raw.len();
        volume.read_at(&mut raw, start).map_err(|source| Error::Read {
            what: "the record of $MFT",
            offset: start,
            length,
            source,
        })?;
        let mut parts = Parts::default();
        let place = |mismatch: Mismatch| mismatch.in_record(0, start);
        let sequence = read_base(&mut raw, &geometry, &mut parts).map_err(place)?;
        let list = parts.take_list(&geometry).map_err(place)?;

        let mut mft = Self {
            volume,
            geometry,
            copies,
            runs: parts.data.so_far(),
            valid: u64::MAX,
            records: u64::MAX,
            budget: AtomicU64::new(MOST_SMALL_READS),
        };
        if let Some(list) = list {
            let list = mft.read_small(&list, attribute_list::LONGEST, 0)?;
            let records = attribute_list::extension_records(&list, 0).map_err(place)?;
            for reference in records {
                let at = reference.record.saturating_mul(mft.geometry.record_size as u64);
                if mft.runs.from(Vcn(at / mft.geometry.cluster_size)).is_none() {
                    parts.data.catch_up(&mut mft.runs);
                }
                mft.read_extension(reference, Reference { record: 0, sequence }, &mut parts)?;
            }
        }
        let Some(Stream::Mapped(Mapped { runs, sizes })) =
            parts.data.finish(&geometry).map_err(place)?.map(|data| data.stream)
        else {
            return Err(place(Mismatch::new(0, "a non-resident $DATA of $MFT", "none")));
        };
        Self::complete(mft, runs, sizes)
    }

    fn complete(self, runs: Runs, sizes: Sizes) -> Result<Self, Error> {
        let records = sizes.data / self.geometry.record_size as u64;
        if records > MOST_RECORDS {
            return Err(Error::TooMany { what: "file records", found: records, limit: MOST_RECORDS });
        }
        refuse_shared_clusters(&runs)
            .map_err(|mismatch| mismatch.in_record(0, self.geometry.offset(self.geometry.mft)))?;
        Ok(Self { runs, valid: sizes.valid, records, ..self })
    }

    /// How many records there are, used or not.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Reads raw records from number `first` on into `buf`, whose length is a multiple of the record size.
    pub(crate) fn read_raw(&self, first: u64, buf: &mut [u8]) -> Result<(), Error> {
        let at = first.saturating_mul(self.geometry.record_size as u64);
        let length = buf.len();
        read_runs(self.volume.as_ref(), &self.geometry, &self.runs, self.valid, buf, at)
            .map_err(|source| Error::Read { what: "$MFT", offset: self.place(first), length, source })
    }

    /// Whether some records are known to hold nothing without reading them: they lie in a hole, or behind the end.
    pub(crate) fn is_hole(&self, first: u64, length: usize) -> bool {
        let at = first.saturating_mul(self.geometry.record_size as u64);
        let inside = at % self.geometry.cluster_size;
        let Some(extent) = self.runs.from(Vcn(at / self.geometry.cluster_size)) else { return false };
        let zeroes = match extent.lcn {
            None => u64::MAX,
            Some(lcn) if self.geometry.offset(lcn) >= self.volume.size() => u64::MAX,
            Some(lcn) => self.volume.extent(self.geometry.offset(lcn) + inside).zeroes(),
        };
        let rest = extent.length.saturating_mul(self.geometry.cluster_size).saturating_sub(inside);
        zeroes.min(rest) >= length as u64
    }

    /// Where on the volume a record begins, for messages; 0 when it is not in the table.
    pub(crate) fn place(&self, record: u64) -> u64 {
        let at = record.saturating_mul(self.geometry.record_size as u64);
        let extent = self.runs.from(Vcn(at / self.geometry.cluster_size));
        extent
            .and_then(|extent| extent.lcn)
            .map_or(0, |lcn| self.geometry.offset(lcn) + at % self.geometry.cluster_size)
    }

    /// Where `$MFTMirr` keeps its copy of one of the first four records; `None` where it does not lie on the volume.
    pub(crate) fn mirror_place(&self, record: u64) -> Option<u64> {
        let inside = self.geometry.mirror.0 < self.geometry.clusters;
        inside.then(|| self.geometry.offset(self.geometry.mirror) + record * self.geometry.record_size as u64)
    }

    /// Reads a record that continues `base`, and adds its attributes to `parts`.
    pub(crate) fn read_extension(
        &self,
        reference: Reference,
        base: Reference,
        parts: &mut Parts,
    ) -> Result<(), Error> {
        let at = self.place(base.record);
        if reference.record >= self.records {
            let expected = format!("extension records below {}", self.records);
            return Err(Mismatch::new(0, expected, reference).in_record(base.record, at));
        }
        let mut raw = vec![0; self.geometry.record_size];
        self.read_raw(reference.record, &mut raw)?;
        let mut read = |raw: &mut [u8]| {
            let record = Record::open(raw, reference.record)?;
            let same_use = reference.sequence == 0 || record.sequence == reference.sequence;
            let found = record.base.filter(|_| record.in_use && same_use);
            if !found.is_some_and(|found| found.names(base)) {
                let expected = format!("sequence number {}, in use, continuing {base}", reference.sequence);
                let use_of_it = if record.in_use { "in use" } else { "free" };
                let whose = record.base.map_or("a base record".into(), |base| format!("continuing {base}"));
                let found = format!("sequence number {}, {use_of_it}, {whose}", record.sequence);
                return Err(Mismatch::new(0x10, expected, found));
            }
            parts.gather(&record, &self.geometry)
        };
        read(&mut raw).map_err(|mismatch| mismatch.in_record(reference.record, self.place(reference.record)))
    }

    /// Reads all of a stream that is known to be small.
    pub(crate) fn read_small(&self, stream: &Stream, limit: u64, record: u64) -> Result<Vec<u8>, Error> {
        let size = stream.size();
        if size > limit {
            let expected = format!("an attribute of at most {limit} bytes");
            return Err(Mismatch::new(0, expected, size).in_record(record, self.place(record)));
        }
        let in_clusters = if matches!(stream, Stream::Mapped(_)) { size } else { 0 };
        let spend = |budget: u64| budget.checked_sub(in_clusters);
        if self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_err() {
            let expected = format!("at most {MOST_SMALL_READS} bytes in the attribute lists of all files");
            return Err(Mismatch::new(0, expected, "more").in_record(record, self.place(record)));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let length = bytes.len();
        stream.read_at(self.volume.as_ref(), &self.geometry, &mut bytes, 0).map_err(|source| {
            Error::Read { what: "an attribute of a file", offset: self.place(record), length, source }
        })?;
        Ok(bytes)
    }
}

fn read_base(raw: &mut [u8], geometry: &Geometry, parts: &mut Parts) -> Result<u16, Mismatch> {
    let record = Record::open(raw, 0)?;
    if !record.in_use {
        return Err(Mismatch::new(0x16, "the record of $MFT in use", "a free one"));
    }
    parts.gather(&record, geometry)?;
    Ok(record.sequence)
}

/// A table that lies on itself would make many files of few bytes.
fn refuse_shared_clusters(runs: &Runs) -> Result<(), Mismatch> {
    let mut extents: Vec<_> =
        runs.extents().filter_map(|extent| extent.lcn.map(|lcn| (lcn.0, lcn.0 + extent.length))).collect();
    extents.sort_unstable();
    match extents.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        Some(pair) => Err(Mismatch::new(
            0,
            "clusters of $MFT that are its only once",
            format!("cluster {} twice", pair[1].0),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
