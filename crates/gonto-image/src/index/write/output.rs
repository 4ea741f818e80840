//! Writing front to back, in large pieces.

use std::fs::File;
use std::io;

use crate::source::write_all_at;

/// So many bytes are written at once.
const AT_ONCE: usize = 1 << 20;

/// A part of a file that is written from one place on. What is skipped stays zero.
pub(super) struct Output<'f> {
    file: &'f File,
    /// Where the bytes in `waiting` belong.
    start: u64,
    waiting: Vec<u8>,
}

impl<'f> Output<'f> {
    pub(super) fn new(file: &'f File, start: u64) -> Self {
        Self { file, start, waiting: Vec::with_capacity(AT_ONCE) }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= AT_ONCE { self.flush().map(drop) } else { Ok(()) }
    }

    /// Goes on at a place that lies behind what was written.
    pub(super) fn skip_to(&mut self, place: u64) -> io::Result<()> {
        let here = self.start + self.waiting.len() as u64;
        let gap = place.checked_sub(here).ok_or(io::ErrorKind::InvalidInput)?;
        if gap > AT_ONCE as u64 {
            self.flush()?;
            self.start = place;
        } else {
            self.waiting.resize(self.waiting.len() + usize::try_from(gap).map_err(io::Error::other)?, 0);
        }
        Ok(())
    }

    /// Writes what waits, and returns the place behind it.
    pub(super) fn flush(&mut self) -> io::Result<u64> {
        write_all_at(self.file, &self.waiting, self.start)?;
        self.start += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(self.start)
    }
}
