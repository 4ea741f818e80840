//! VHD, the virtual hard disk of Virtual PC and Hyper-V (Microsoft, *Virtual Hard Disk Image Format Specification*,
//! version 1.0).
//!
//! ```text
//! fixed     disk bytes ……………………………………………………………… footer
//! dynamic   copy of the footer | dynamic header | block table (BAT) | blocks … | footer
//!           block = sector bitmap, then block_size bytes of the disk
//! ```
//! All integers are big endian.

use std::sync::Arc;

use zerocopy::FromBytes;

use crate::error::{Error, Mismatch};
use crate::source::{ReadAt, Window};

mod dynamic;
mod format;

use dynamic::Dynamic;
use format::{DiskType, FOOTER_SIZE, Footer};

/// The disk inside a VHD.
pub(crate) enum Disk {
    /// All bytes lie in the file, in order.
    Fixed(Window),
    /// Blocks lie in the file in any order, absent ones are zero.
    Dynamic(Dynamic),
}

/// Opens `image` as a VHD; `None` when nothing in it says that it is one.
///
/// The footer at the end is the authority. Where it is damaged, the copy that dynamic disks keep at their start is used.
pub(crate) fn open(image: &Arc<dyn ReadAt>) -> Result<Option<Disk>, Error> {
    let Some(footer) = find_footer(image.as_ref())? else { return Ok(None) };
    match footer.disk_type()? {
        DiskType::Fixed => open_fixed(image, &footer).map(|disk| Some(Disk::Fixed(disk))),
        DiskType::Dynamic => Dynamic::open(image.clone(), &footer).map(|disk| Some(Disk::Dynamic(disk))),
        DiskType::Differencing => Err(Error::Unsupported {
            what: "a differencing VHD".into(),
            yet: true,
            remedy: "merge it into its parent",
        }),
    }
}

fn open_fixed(image: &Arc<dyn ReadAt>, footer: &PlacedFooter) -> Result<Window, Error> {
    let disk_size = footer.disk_size()?;
    Window::new(image.clone(), 0, disk_size).filter(|_| disk_size <= footer.offset).ok_or_else(|| {
        footer.mismatch(
            format::CURRENT_SIZE_AT,
            format!("a disk of at most {} bytes, which is what lies before it", footer.offset),
            format!("{disk_size} bytes: the file is cut short"),
        )
    })
}

/// A footer whose checksum holds, and where it was found.
pub(crate) struct PlacedFooter {
    footer: Footer,
    offset: u64,
}

/// The biggest VHD that Windows attaches; block table entries are 32-bit sector numbers, so that there cannot be much more.
const BIGGEST_DISK: u64 = 2040 << 30;

impl PlacedFooter {
    /// Size of the virtual disk in bytes. The geometry beside it is smaller by rounding, and Windows does not use it.
    fn disk_size(&self) -> Result<u64, Error> {
        let size = self.footer.current_size.get();
        if size == 0 || size > BIGGEST_DISK {
            let expected = "a disk size of 1 byte to 2040 GiB";
            return Err(self.mismatch(format::CURRENT_SIZE_AT, expected, size));
        }
        Ok(size)
    }

    fn disk_type(&self) -> Result<DiskType, Error> {
        let found = self.footer.disk_type.get();
        DiskType::from_raw(found).ok_or_else(|| {
            self.mismatch(format::DISK_TYPE_AT, "disk type 2 (fixed), 3 (dynamic) or 4 (differencing)", found)
        })
    }

    fn mismatch(
        &self,
        at: usize,
        expected: impl Into<std::borrow::Cow<'static, str>>,
        found: impl ToString,
    ) -> Error {
        Mismatch::new(at, expected, found).in_vhd("footer", self.offset)
    }
}

fn find_footer(image: &dyn ReadAt) -> Result<Option<PlacedFooter>, Error> {
    let Some(last) = image.size().checked_sub(FOOTER_SIZE as u64) else { return Ok(None) };
    let at_end = read_footer(image, last)?;
    let problem = match at_end.verify() {
        Ok(()) => return Ok(Some(PlacedFooter { footer: at_end, offset: last })),
        Err(problem) => problem,
    };
    let copy = read_footer(image, 0)?;
    if copy.verify().is_ok() && copy.disk_type.get() != DiskType::Fixed as u32 {
        return Ok(Some(PlacedFooter { footer: copy, offset: 0 }));
    }
    if at_end.looks_like_one() || copy.has_cookie() {
        return Err(problem.in_vhd("footer", last));
    }
    Ok(None)
}

fn read_footer(image: &dyn ReadAt, offset: u64) -> Result<Footer, Error> {
    let mut bytes = [0; FOOTER_SIZE];
    read(image, "the VHD footer", &mut bytes, offset)?;
    Ok(zerocopy::transmute!(bytes))
}

/// Reads one structure of the container.
fn read(image: &dyn ReadAt, what: &'static str, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let length = buf.len();
    image.read_at(buf, offset).map_err(|source| Error::Read { what, offset, length, source })
}

/// Reads a structure of fixed layout.
fn read_struct<T: FromBytes + zerocopy::IntoBytes>(
    image: &dyn ReadAt,
    what: &'static str,
    offset: u64,
) -> Result<T, Error> {
    let mut value = T::new_zeroed();
    read(image, what, value.as_mut_bytes(), offset)?;
    Ok(value)
}

#[cfg(test)]
mod tests;
