//! `$LogFile`: whether Windows left changes in the log that it has not made yet.
//!
//! The log begins with two restart pages, each a copy of the other. Nothing is replayed: what the log holds are redo and
//! undo records for structures of NTFS, and a volume that was taken away while it was in use is mostly whole without them.

use super::boot::Geometry;
use super::stream::Stream;
use super::{field, fixup};
use crate::source::ReadAt;

/// The signature of a restart page, also after chkdsk has changed it.
const SIGNATURES: [[u8; 4]; 2] = [*b"RSTR", *b"CHKD"];

/// Windows uses pages of 4 KiB, whatever the processor's pages are.
const PAGE: usize = 4096;

/// In the flags of the restart area.
const VOLUME_IS_CLEAN: u16 = 2;
/// In the lists of clients: the end.
const NO_CLIENT: u16 = 0xffff;

/// What state the log is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogState {
    /// There is nothing in it that would be needed.
    Clean,
    /// The volume was in use when it was taken away.
    InUse,
    /// There is no restart page in it. So it is after ntfs-3g has emptied it, and so formatting programs may leave it.
    Empty,
    /// There is something else in it.
    Unknown,
}

impl LogState {
    /// Reads the restart pages of `$LogFile`'s content.
    pub(crate) fn read(volume: &dyn ReadAt, geometry: &Geometry, log: &Stream) -> Self {
        let mut newest: Option<Restart> = None;
        let mut other = Self::Empty;
        for page in 0..2u64 {
            let (start, end) = (page * PAGE as u64, (page + 1) * PAGE as u64);
            let mut bytes = vec![0; PAGE];
            if log.size() < end || log.read_at(volume, geometry, &mut bytes, start).is_err() {
                continue;
            }
            match Restart::parse(&mut bytes) {
                Some(found) if newest.is_none_or(|known| found.lsn > known.lsn) => newest = Some(found),
                Some(_) => {}
                None if bytes.iter().all(|byte| *byte == 0xff) || bytes.iter().all(|byte| *byte == 0) => {}
                None => other = Self::Unknown,
            }
        }
        match newest {
            Some(restart) if restart.is_clean => Self::Clean,
            Some(_) => Self::InUse,
            None => other,
        }
    }
}

#[derive(Clone, Copy)]
struct Restart {
    /// Log sequence number: it grows with everything that is logged.
    lsn: u64,
    is_clean: bool,
}

impl Restart {
    fn parse(page: &mut [u8]) -> Option<Self> {
        let signature = SIGNATURES.into_iter().find(|signature| page.starts_with(signature))?;
        fixup::undo(page, signature).ok()?;
        let area = page.get(usize::from(field::u16(page, 24)?)..)?;
        let (in_use, flags) = (field::u16(area, 12)?, field::u16(area, 14)?);
        Some(Self {
            lsn: field::u64(area, 0)?,
            is_clean: in_use == NO_CLIENT || flags & VOLUME_IS_CLEAN != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two restart pages, with log sequence number and flags of each; client 0 is in use.
    fn state(pages: [Option<(u64, u16)>; 2], edit: impl FnOnce(&mut Vec<u8>)) -> LogState {
        let mut log = vec![0xff; 3 * PAGE];
        for (page, (lsn, flags)) in pages.into_iter().enumerate().filter_map(|(n, page)| Some((n, page?))) {
            let page = &mut log[page * PAGE..][..PAGE];
            page.fill(0);
            page[..8].copy_from_slice(b"RSTR\x1e\0\x09\0");
            page[24..30].copy_from_slice(&[0x30, 0, 1, 0, 1, 0]);
            page[0x30..0x38].copy_from_slice(&lsn.to_le_bytes());
            page[0x3e..0x40].copy_from_slice(&flags.to_le_bytes());
        }
        edit(&mut log);
        let volume: Vec<u8> = Vec::new();
        LogState::read(&volume, &Geometry::of_clusters(512, 100), &Stream::Resident(log.into()))
    }

    #[test]
    fn the_newer_restart_page_decides() {
        assert_eq!(state([Some((5, 2)), Some((4, 0))], |_| {}), LogState::Clean);
        assert_eq!(state([Some((4, 2)), Some((5, 0))], |_| {}), LogState::InUse);
        assert_eq!(state([Some((5, 0)), Some((4, 2))], |log| log[510] = 1), LogState::Clean, "a torn page");
        let nobody = |log: &mut Vec<u8>| log[0x3c..0x3e].fill(0xff);
        assert_eq!(state([Some((5, 0)), None], nobody), LogState::Clean);
        assert_eq!(
            state([None, Some((5, 0))], |log| log[PAGE..PAGE + 4].copy_from_slice(b"CHKD")),
            LogState::InUse
        );
    }

    #[test]
    fn a_log_without_restart_pages_is_empty_or_unknown() {
        assert_eq!(state([None, None], |_| {}), LogState::Empty);
        assert_eq!(state([None, None], |log| log.fill(0)), LogState::Empty);
        assert_eq!(state([None, None], Vec::clear), LogState::Empty);
        assert_eq!(state([None, None], |log| log[0] = b'R'), LogState::Unknown);
    }
}
