//! Which entries of the log have to be replayed ([MS-VHDX] 2.3).
//!
//! The log is a ring of sectors of 4 KiB. An entry is a header with descriptors and then the sectors that are to be written,
//! and may wrap from the end of the ring to its start. The entries that have to be replayed are the *active sequence*: among
//! the entries that follow each other, place by place and number by number, the sequence whose last entry has the
//! highest number, from the entry on that this last one names as its tail.

use zerocopy::{FromBytes, IntoBytes};

use super::format::{
    LOG_DESCRIPTOR_SIZE, LOG_ENTRY_HEADER_SIZE, LOG_ENTRY_SIGNATURE, LOG_SECTOR, LOG_SECTOR_SIZE,
    LogEntryHeader,
};
use super::header::LogPlace;
use super::read;
use crate::crc::Crc32c;
use crate::error::{Error, Mismatch};
use crate::guid::Guid;
use crate::source::ReadAt;

/// An entry whose checksum holds.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Byte offset in the log.
    pub(super) position: u64,
    /// In bytes.
    pub(super) length: u64,
    pub(super) sequence: u64,
    pub(super) descriptors: u64,
    pub(super) last_file_offset: u64,
    tail: u64,
    flushed_file_offset: u64,
}

/// The entries that have to be replayed, in this order. There is at least one: the header says that the log is not empty.
pub(super) fn active_sequence(log: &mut Log<'_>, guid: Guid) -> Result<Vec<Entry>, Error> {
    let entries = scan(log, guid)?;
    let Some(active) = newest_sequence(&entries, log.length) else {
        let expected = format!("entries that follow each other, because the header names the log {guid}");
        let found = match entries.len() {
            0 => "no valid entry".into(),
            count => format!("{count} valid entries, but not the one that the last of them needs first"),
        };
        return Err(Mismatch::new(0, expected, found).in_vhdx("log", log.offset));
    };
    let file_size = log.image.size();
    // Only the last entry tells of the file as it was left: a file may shrink between two entries.
    match active.last() {
        Some(entry) if entry.flushed_file_offset > file_size => {
            let at = std::mem::offset_of!(LogEntryHeader, flushed_file_offset);
            let expected = format!("a file of at least {} bytes", entry.flushed_file_offset);
            let found = format!("{file_size} bytes: the file is cut short");
            Err(Mismatch::new(at, expected, found).in_vhdx("log", log.place(entry.position)))
        }
        _ => Ok(active),
    }
}

/// All valid entries, by ascending position.
///
/// Every sector is looked at once or twice, however the entries lie: none may contain the start of another one.
fn scan(log: &mut Log<'_>, guid: Guid) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let mut position = 0;
    while position < log.length {
        let zeroes = log.image.extent(log.place(position)).zeroes() / LOG_SECTOR * LOG_SECTOR;
        if zeroes > 0 {
            position += zeroes;
            continue;
        }
        match valid_entry(log, position, guid)? {
            Some(entry) => {
                position += entry.length;
                entries.push(entry);
            }
            None => position += LOG_SECTOR,
        }
    }
    Ok(entries)
}

fn valid_entry(log: &mut Log<'_>, position: u64, guid: Guid) -> Result<Option<Entry>, Error> {
    let Ok((header, _)) = LogEntryHeader::read_from_prefix(log.sector(position)?) else { return Ok(None) };
    let entry = Entry {
        position,
        length: u64::from(header.entry_length.get()),
        sequence: header.sequence_number.get(),
        descriptors: u64::from(header.descriptor_count.get()),
        last_file_offset: header.last_file_offset.get(),
        tail: u64::from(header.tail.get()),
        flushed_file_offset: header.flushed_file_offset.get(),
    };
    let belongs = header.signature == LOG_ENTRY_SIGNATURE && header.log_guid == guid;
    let sound = (LOG_SECTOR..=log.length).contains(&entry.length)
        && entry.length.is_multiple_of(LOG_SECTOR)
        && entry.data_offset() <= entry.length
        && entry.sequence != 0;
    if !belongs || !sound {
        return Ok(None);
    }
    let stored = header.checksum.get();
    Ok((checksum(log, &entry)? == Some(stored)).then_some(entry))
}

/// The checksum that an entry should have; `None` when another one begins inside it, because all its sectors but the first
/// begin with the signature of a descriptor or of data.
fn checksum(log: &mut Log<'_>, entry: &Entry) -> Result<Option<u32>, Error> {
    let mut crc = Crc32c::new();
    for inside in (0..entry.length).step_by(LOG_SECTOR_SIZE) {
        let sector = log.sector(entry.position + inside)?;
        if inside > 0 {
            if sector.starts_with(&LOG_ENTRY_SIGNATURE) {
                return Ok(None);
            }
            crc.update(sector);
            continue;
        }
        let (header, rest) = sector.split_at(LOG_ENTRY_HEADER_SIZE);
        let Ok(mut header) = LogEntryHeader::read_from_bytes(header) else { return Ok(None) };
        header.checksum = 0.into();
        crc.update(header.as_bytes());
        crc.update(rest);
    }
    Ok(Some(crc.finish()))
}

/// Entries that follow each other are a sequence. The one that counts is the newest of those whose last entry finds its tail
/// in it, from there on.
fn newest_sequence(entries: &[Entry], ring: u64) -> Option<Vec<Entry>> {
    let before = entries.iter().cycle().skip(entries.len().saturating_sub(1));
    // The ring is cut where a sequence begins. There is such a place, because numbers grow in a sequence.
    let cut = before.zip(entries).position(|(before, entry)| !entry.follows(before, ring))?;
    let (end, start) = entries.split_at(cut);
    let ordered = [start, end].concat();
    let sequences = ordered.chunk_by(|before, entry| entry.follows(before, ring));
    let complete = sequences.filter_map(|sequence| {
        let last = sequence.last()?;
        let tail = sequence.iter().position(|entry| entry.position == last.tail)?;
        Some((last.sequence, &sequence[tail..]))
    });
    complete.max_by_key(|(newest, _)| *newest).map(|(_, sequence)| sequence.to_vec())
}

impl Entry {
    fn follows(&self, before: &Self, ring: u64) -> bool {
        (before.position + before.length) % ring == self.position
            && before.sequence.checked_add(1) == Some(self.sequence)
    }

    /// Where in the entry its data sectors begin.
    pub(super) fn data_offset(&self) -> u64 {
        (LOG_ENTRY_HEADER_SIZE as u64 + self.descriptors * LOG_DESCRIPTOR_SIZE as u64)
            .next_multiple_of(LOG_SECTOR)
    }
}

/// The ring of sectors.
pub(super) struct Log<'a> {
    image: &'a dyn ReadAt,
    offset: u64,
    length: u64,
    /// A part of the log that was read at once: byte offset in the log, and the bytes.
    window: (u64, Vec<u8>),
}

/// Bytes of a window. The log is a multiple of it long, so that none wraps.
const WINDOW: usize = 64 << 10;

impl<'a> Log<'a> {
    pub(super) fn new(image: &'a dyn ReadAt, place: LogPlace) -> Self {
        Self { image, offset: place.offset, length: place.length, window: (0, Vec::new()) }
    }

    /// The sector at a byte offset in the log; behind the end of the ring its start follows.
    pub(super) fn sector(&mut self, position: u64) -> Result<&[u8; LOG_SECTOR_SIZE], Error> {
        let place = self.place(position);
        let position = position % self.length;
        let start = position - position % WINDOW as u64;
        let (window_start, window) = &mut self.window;
        if window.is_empty() || *window_start != start {
            *window_start = start;
            window.resize(WINDOW, 0);
            read(self.image, "the VHDX log", window, self.offset + start)?;
        }
        let inside = usize::try_from(position - start).unwrap_or(usize::MAX);
        let sector = window.get(inside..).and_then(<[u8]>::first_chunk);
        sector.ok_or_else(|| Mismatch::new(0, "a sector", "the end of the log").in_vhdx("log", place))
    }

    /// Byte offset in the file of a byte offset in the log.
    pub(super) fn place(&self, position: u64) -> u64 {
        self.offset + position % self.length
    }
}
