//! The disk of an image file that is being written.

use std::fs::File;
use std::io;
use std::iter;

use super::sharing::Sharing;
use crate::identity::Identity;
use crate::source::{read_exact_at, write_all_at};
use crate::{vhd, vhdx};

/// The kinds of image file that can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewContainer {
    /// A fixed VHD: the bytes of the disk, then a footer. What is zero takes room in the file unless the host's file
    /// system has holes.
    FixedVhd,
    /// A dynamic VHD: blocks that hold nothing are left out.
    DynamicVhd,
    /// A dynamic VHDX: blocks that hold nothing are left out.
    Vhdx,
}

impl NewContainer {
    /// The biggest disk that it can hold, in bytes.
    pub(super) fn biggest(self) -> u64 {
        match self {
            Self::FixedVhd | Self::DynamicVhd => vhd::write::BIGGEST_DISK,
            Self::Vhdx => vhdx::write::BIGGEST_DISK,
        }
    }

    /// What it is called in the digest of an image.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FixedVhd => "fixed VHD",
            Self::DynamicVhd => "dynamic VHD",
            Self::Vhdx => "VHDX",
        }
    }
}

/// The version that an image names as its maker's. It stays while the same content makes the same image.
pub(crate) const WRITER_VERSION: (u16, u16) = (0, 4);

/// How many bytes a disk of `container` has that holds at least `needed` bytes; `None` when that is too much for it.
pub(crate) fn disk_size(container: NewContainer, needed: u64) -> Option<u64> {
    match container {
        NewContainer::FixedVhd | NewContainer::DynamicVhd => vhd::write::disk_size(needed),
        NewContainer::Vhdx => vhdx::write::disk_size(needed),
    }
}

/// How a container lays out a disk in its file.
pub(crate) trait Layout: Send {
    /// Bytes of the disk in a block: the unit that is added to the file, and lies together there.
    fn block_size(&self) -> u64;

    /// Byte offset in `file` of the byte at `offset` of the disk. Its block is added where it is not there yet.
    fn place(&mut self, file: &File, offset: u64) -> io::Result<u64>;

    /// Writes the structures of the container for a disk of `size` bytes. `time` is in seconds since 2000-01-01 UTC.
    fn finish(&mut self, file: &File, size: u64, identity: &Identity, time: u32) -> io::Result<()>;
}

/// The disk of an image file that is being written, from the first byte of an empty file.
///
/// Each byte is written at most once, in any order; what is never written is zero. The order decides where blocks lie in the
/// file: the same calls make the same file.
pub(crate) struct DiskWriter {
    file: File,
    container: NewContainer,
    layout: Box<dyn Layout>,
    sharing: Sharing,
    /// Bytes of the disk for which there is room in the tables.
    most: u64,
    /// Behind the last byte that was written.
    end: u64,
}

/// What is compared with zero at once, and stays a hole of the file where it is. Every file system can keep such holes.
const PAGE: usize = 4096;

impl DiskWriter {
    /// The disk will not be bigger than `most` bytes, for which room is left in tables at the start of the file. It is part of
    /// what decides the bytes of the file.
    pub(crate) fn new(file: File, container: NewContainer, most: u64) -> io::Result<Self> {
        let most = disk_size(container, most).ok_or_else(|| too_big(container))?;
        let layout: Box<dyn Layout> = match container {
            NewContainer::FixedVhd => Box::new(vhd::write::Fixed),
            NewContainer::DynamicVhd => Box::new(vhd::write::Dynamic::new(most)),
            NewContainer::Vhdx => Box::new(vhdx::write::Blocks::new(most)),
        };
        let sharing = Sharing::new(&file)?;
        Ok(Self { file, container, layout, sharing, most, end: 0 })
    }

    /// Writes `bytes` at `offset` of the disk. Pages of zeros stay holes, and blocks that hold nothing else are left out.
    pub(crate) fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.reach(offset, bytes.len() as u64)?;
        let (mut rest, mut offset) = (bytes, offset);
        while !rest.is_empty() {
            let (_, behind) = rest.split_at(leading(rest, offset, is_zero));
            offset += (rest.len() - behind.len()) as u64;
            let (run, behind) = behind.split_at(leading(behind, offset, |page| !is_zero(page)));
            self.write_run(run, offset)?;
            offset += run.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    fn write_run(&mut self, mut run: &[u8], mut offset: u64) -> io::Result<()> {
        while !run.is_empty() {
            let length = usize::try_from(self.rest_of_block(offset)).unwrap_or(usize::MAX).min(run.len());
            let (piece, behind) = run.split_at(length);
            write_all_at(&self.file, piece, self.layout.place(&self.file, offset)?)?;
            offset += length as u64;
            run = behind;
        }
        Ok(())
    }

    /// Whether [`copy_from`](Self::copy_from) is worth trying. It asks the system once for each device.
    pub(crate) fn can_copy_from(&mut self, source: &File) -> bool {
        self.sharing.is_possible(source)
    }

    /// Lets the system copy `length` bytes of `source` from `at` on to `offset` of the disk, where that shares or moves extents. From
    /// 16 KiB on that is faster than writing. Blocks that would hold nothing but zeros are left out, as
    /// [`write_at`](Self::write_at) does it.
    ///
    /// `false` when it is not possible: the caller then writes all of these bytes itself, perhaps once more.
    pub(crate) fn copy_from(&mut self, source: &File, at: u64, length: u64, offset: u64) -> io::Result<bool> {
        if !self.sharing.is_possible(source) {
            return Ok(false);
        }
        self.reach(offset, length)?;
        let mut done = 0;
        while done < length {
            let piece = self.rest_of_block(offset + done).min(length - done);
            if holds_something(source, at + done, piece)? {
                let place = self.layout.place(&self.file, offset + done)?;
                if !self.sharing.copy(source, at + done, &self.file, place, piece)? {
                    return Ok(false);
                }
            }
            done += piece;
        }
        Ok(true)
    }

    /// Writes all structures of the container, and gives the file back. `size` is one that [`disk_size`] tells; `time`, in seconds
    /// since 2000-01-01 UTC, is what a VHD keeps as the time it was made.
    pub(crate) fn finish(mut self, size: u64, identity: &Identity, time: u32) -> io::Result<File> {
        if size > self.most || size < self.end {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the disk does not hold what was written",
            ));
        }
        self.layout.finish(&self.file, size, identity, time)?;
        Ok(self.file)
    }

    fn reach(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let end = offset.checked_add(length).filter(|end| *end <= self.most);
        let end = end.ok_or_else(|| too_big(self.container))?;
        self.end = self.end.max(end);
        Ok(())
    }

    fn rest_of_block(&self, offset: u64) -> u64 {
        self.layout.block_size() - offset % self.layout.block_size()
    }
}

/// How many bytes the pages have with which `bytes` begin and for which `holds` is true. Pages are counted from the start of the
/// disk, so that it does not matter how the bytes are cut into calls.
fn leading(bytes: &[u8], offset: u64, holds: impl Fn(&[u8]) -> bool) -> usize {
    let first = PAGE - usize::try_from(offset % PAGE as u64).unwrap_or_default();
    let (first, rest) = bytes.split_at(first.min(bytes.len()));
    iter::once(first).chain(rest.chunks(PAGE)).take_while(|page| holds(page)).map(<[u8]>::len).sum()
}

/// The comparison of slices is the fastest there is.
fn is_zero(page: &[u8]) -> bool {
    page == &[0; PAGE][..page.len()]
}

/// Whether any of these bytes is not zero. As a rule, the first page tells.
fn holds_something(source: &File, mut at: u64, length: u64) -> io::Result<bool> {
    let end = at + length;
    let mut page = [0; PAGE];
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(PAGE).min(PAGE);
        read_exact_at(source, &mut page[..length], at)?;
        if !is_zero(&page[..length]) {
            return Ok(true);
        }
        at += length as u64;
    }
    Ok(false)
}

/// The disk would be bigger than its container allows.
#[derive(Debug, thiserror::Error)]
#[error("the disk would have more than {limit} bytes")]
pub(super) struct DiskTooBig {
    pub(super) limit: u64,
}

/// The same as an error of whatever writes.
pub(crate) fn too_big(container: NewContainer) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, DiskTooBig { limit: container.biggest() })
}

#[cfg(test)]
mod tests;
