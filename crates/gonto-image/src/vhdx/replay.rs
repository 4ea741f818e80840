//! The file as it is after its log was replayed ([MS-VHDX] 2.3.3). The file itself is never changed: what the log would
//! write lies over it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use zerocopy::FromBytes;

use super::format::{
    DATA_DESCRIPTOR_SIGNATURE, DATA_SECTOR_SIGNATURE, LOG_DESCRIPTOR_SIZE, LOG_ENTRY_HEADER_SIZE, LOG_SECTOR,
    LOG_SECTOR_SIZE, LogDataSector, LogDescriptor, ZERO_DESCRIPTOR_SIGNATURE,
};
use super::header::LogPlace;
use super::log::{Entry, Log, active_sequence};
use crate::error::{Error, Mismatch};
use crate::source::{Extent, Place, ReadAt, check_inside};

/// The image, or what lies over it where its log is not empty; and how many entries were replayed.
pub(super) fn replay(image: &Arc<dyn ReadAt>, place: LogPlace) -> Result<(Arc<dyn ReadAt>, usize), Error> {
    let Some(guid) = place.guid else { return Ok((image.clone(), 0)) };
    let mut log = Log::new(image.as_ref(), place);
    let entries = active_sequence(&mut log, guid)?;
    let mut written = Written::default();
    for entry in &entries {
        replay_entry(&mut log, entry, &mut written)?;
    }
    let last = entries.last().map_or(0, |entry| entry.last_file_offset);
    let size = image.size().max(last).max(written.end());
    let pieces = written.0.into_values().collect();
    Ok((Arc::new(Replayed { image: image.clone(), size, pieces }), entries.len()))
}

fn replay_entry(log: &mut Log<'_>, entry: &Entry, written: &mut Written) -> Result<(), Error> {
    let mut next_data = entry.data_offset();
    for number in 0..entry.descriptors {
        let at = LOG_ENTRY_HEADER_SIZE as u64 + number * LOG_DESCRIPTOR_SIZE as u64;
        let place = log.place(entry.position + at);
        let inside = usize::try_from(at % LOG_SECTOR).unwrap_or(usize::MAX);
        let sector = log.sector(entry.position + at - at % LOG_SECTOR)?;
        let descriptor = Descriptor::read(sector.get(inside..).unwrap_or_default(), entry)
            .map_err(|mismatch| mismatch.in_vhdx("log descriptor", place))?;
        let content = match descriptor.data {
            None => Content::Zero,
            Some((leading, trailing)) => {
                let place = log.place(entry.position + next_data);
                if next_data >= entry.length {
                    let found = "the end of the entry";
                    return Err(Mismatch::new(0, "a data sector", found).in_vhdx("log entry", place));
                }
                check_data_sector(log.sector(entry.position + next_data)?, entry)
                    .map_err(|mismatch| mismatch.in_vhdx("data sector of the log", place))?;
                next_data += LOG_SECTOR;
                Content::Logged { place, leading, trailing }
            }
        };
        written.write(Piece { start: descriptor.start, end: descriptor.end, content });
    }
    Ok(())
}

/// What one descriptor writes, and where.
struct Descriptor {
    start: u64,
    end: u64,
    /// The first and last bytes of a data sector; `None` for zeroes.
    data: Option<([u8; 8], [u8; 4])>,
}

impl Descriptor {
    fn read(bytes: &[u8], entry: &Entry) -> Result<Self, Mismatch> {
        let Ok((raw, _)) = LogDescriptor::read_from_prefix(bytes) else {
            return Err(Mismatch::new(0, "a descriptor", "the end of the entry"));
        };
        let (length, data) = match raw.signature {
            DATA_DESCRIPTOR_SIGNATURE => (LOG_SECTOR, Some((raw.leading_bytes, raw.trailing_bytes))),
            ZERO_DESCRIPTOR_SIGNATURE => (u64::from_le_bytes(raw.leading_bytes), None),
            other => {
                let found = format!("\"{}\"", other.escape_ascii());
                return Err(Mismatch::new(0, "the signature \"desc\" or \"zero\"", found));
            }
        };
        let sequence = raw.sequence_number.get();
        if sequence != entry.sequence {
            let at = std::mem::offset_of!(LogDescriptor, sequence_number);
            return Err(Mismatch::new(at, format!("sequence number {}", entry.sequence), sequence));
        }
        let start = raw.file_offset.get();
        let end = start.checked_add(length).filter(|end| *end <= LAST_BYTE);
        match end {
            Some(end) if start % LOG_SECTOR == 0 && length % LOG_SECTOR == 0 => Ok(Self { start, end, data }),
            _ => {
                let at = std::mem::offset_of!(LogDescriptor, file_offset);
                let expected = "whole sectors of 4 KiB inside a file";
                Err(Mismatch::new(at, expected, format!("{length} bytes from byte {start:#x} on")))
            }
        }
    }
}

/// No system has files that go on behind it.
const LAST_BYTE: u64 = i64::MAX as u64;

fn check_data_sector(bytes: &[u8], entry: &Entry) -> Result<(), Mismatch> {
    let Ok(sector) = LogDataSector::read_from_bytes(bytes) else {
        return Err(Mismatch::new(0, "a sector of 4 KiB", format!("{} bytes", bytes.len())));
    };
    if sector.signature != DATA_SECTOR_SIGNATURE {
        let found = sector.signature.escape_ascii();
        return Err(Mismatch::new(0, "the signature \"data\"", format!("\"{found}\"")));
    }
    let sequence = u64::from(sector.sequence_high.get()) << 32 | u64::from(sector.sequence_low.get());
    if sequence != entry.sequence {
        let at = std::mem::offset_of!(LogDataSector, sequence_high);
        return Err(Mismatch::new(at, format!("sequence number {}", entry.sequence), sequence));
    }
    Ok(())
}

/// What the log writes, by where it starts. Pieces do not overlap: what comes later replaces what it covers.
///
/// There are at most twice as many as descriptors, and none holds more than its place: a log of gigabytes needs a hundredth
/// of them in memory.
#[derive(Default)]
struct Written(BTreeMap<u64, Piece>);

impl Written {
    fn write(&mut self, new: Piece) {
        if new.start == new.end {
            return;
        }
        // Only zeroes are longer than a sector, and all places are sectors: only zeroes can be cut.
        if let Some((_, before)) = self.0.range_mut(..new.start).next_back()
            && before.end > new.start
        {
            let rest = Piece { start: new.end, ..*before };
            before.end = new.start;
            if rest.start < rest.end {
                self.0.insert(rest.start, rest);
            }
        }
        while let Some((&start, covered)) = self.0.range(new.start..new.end).next() {
            let rest = Piece { start: new.end, ..*covered };
            self.0.remove(&start);
            if rest.start < rest.end {
                self.0.insert(rest.start, rest);
            }
        }
        self.0.insert(new.start, new);
    }

    fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, last)| last.end)
    }
}

/// A range of the file that the log writes.
#[derive(Clone, Copy)]
struct Piece {
    start: u64,
    end: u64,
    content: Content,
}

#[derive(Clone, Copy)]
enum Content {
    Zero,
    /// One sector, whose middle lies in the log.
    Logged {
        /// Byte offset in the file of the data sector.
        place: u64,
        leading: [u8; 8],
        trailing: [u8; 4],
    },
}

/// An image with what its log writes.
struct Replayed {
    image: Arc<dyn ReadAt>,
    /// The file may be longer afterwards than it is; what nobody has written then is zero.
    size: u64,
    /// By ascending place.
    pieces: Box<[Piece]>,
}

impl Replayed {
    /// The piece that covers `offset`, or else how many bytes before the next one are as the file has them.
    fn piece_at(&self, offset: u64) -> Result<&Piece, u64> {
        let next = self.pieces.partition_point(|piece| piece.end <= offset);
        match self.pieces.get(next) {
            Some(piece) if piece.start <= offset => Ok(piece),
            Some(piece) => Err(piece.start - offset),
            None => Err(self.size.saturating_sub(offset)),
        }
    }

    fn read_unchanged(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let there = usize::try_from(self.image.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let (there, behind) = buf.split_at_mut(there.min(buf.len()));
        behind.fill(0);
        if there.is_empty() { Ok(()) } else { self.image.read_at(there, offset) }
    }

    /// Fills `buf` with the bytes from `inside` a logged sector on.
    fn read_logged(
        &self,
        buf: &mut [u8],
        inside: u64,
        place: u64,
        (leading, trailing): ([u8; 8], [u8; 4]),
    ) -> io::Result<()> {
        let mut sector = [0; LOG_SECTOR_SIZE];
        self.image.read_at(&mut sector, place)?;
        let trailing_at = sector.len() - trailing.len();
        sector[..leading.len()].copy_from_slice(&leading);
        sector[trailing_at..].copy_from_slice(&trailing);
        sector.as_slice().read_at(buf, inside)
    }
}

impl ReadAt for Replayed {
    fn read_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        check_inside(buf, offset, self.size)?;
        while !buf.is_empty() {
            let piece = self.piece_at(offset);
            let length = piece.map_or_else(|unchanged| unchanged, |piece| piece.end - offset);
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(buf.len());
            let (part, rest) = buf.split_at_mut(length);
            match piece.map(|piece| (piece.content, offset - piece.start)) {
                Err(_) => self.read_unchanged(part, offset)?,
                Ok((Content::Zero, _)) => part.fill(0),
                Ok((Content::Logged { place, leading, trailing }, inside)) => {
                    self.read_logged(part, inside, place, (leading, trailing))?;
                }
            }
            offset += length as u64;
            buf = rest;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn extent(&self, offset: u64) -> Extent {
        match self.piece_at(offset) {
            Ok(Piece { end, content: Content::Zero, .. }) => {
                Extent { length: end - offset, place: Place::Zero }
            }
            Ok(Piece { end, .. }) => Extent { length: end - offset, place: Place::Derived },
            Err(unchanged) if offset >= self.image.size() => Extent { length: unchanged, place: Place::Zero },
            Err(unchanged) => self.image.extent(offset).at_most(unchanged),
        }
    }
}
