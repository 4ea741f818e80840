//! Where the footer of a VHD is, and what it says.

use std::borrow::Cow;

use super::format::{
    CURRENT_SIZE_AT, DISK_TYPE_AT, DiskType, FOOTER_SIZE, Footer, HEADER_COOKIE, SHORT_FOOTER_SIZE,
};
use super::read;
use crate::error::{Error, Mismatch};
use crate::guid::Guid;
use crate::irregularity::Irregularity;
use crate::options::Options;
use crate::source::ReadAt;

/// A footer that can be relied on, and where it was found.
pub(super) struct PlacedFooter {
    pub(super) footer: Footer,
    pub(super) offset: u64,
    /// What was wrong on the way to it.
    pub(super) irregularities: Vec<Irregularity>,
}

/// The biggest VHD that Windows attaches; block table entries are 32-bit sector numbers, so that there cannot be much more.
pub(crate) const BIGGEST_DISK: u64 = 2040 << 30;

const WHAT: &str = "VHD's footer";

impl PlacedFooter {
    /// Finds the footer; `None` when nothing says that this is a VHD.
    ///
    /// The footer at the end is the authority. Where it is damaged, the copy that dynamic disks keep at their start is used.
    pub(super) fn find(image: &dyn ReadAt, options: &Options) -> Result<Option<Self>, Error> {
        let Some(last) = image.size().checked_sub(FOOTER_SIZE as u64) else { return Ok(None) };
        let at_end = Candidate::read(image, last, FOOTER_SIZE)?;
        if at_end.is_sound() {
            return Ok(Some(at_end.placed(None)));
        }
        let short = Candidate::read(image, last + 1, SHORT_FOOTER_SIZE)?;
        if short.is_sound() {
            return Ok(Some(short.placed(None)));
        }
        let copy = Candidate::read(image, 0, FOOTER_SIZE)?;
        let damaged = if short.footer.has_cookie() { &short } else { &at_end };
        // A fixed disk keeps no copy: if it begins like a footer, that is what is on the disk.
        if copy.is_sound() && copy.footer.disk_type.get() != DiskType::Fixed as u32 {
            let problem = told(&damaged.problem());
            let used = Irregularity::CopyUsed { what: WHAT, offset: damaged.offset, problem };
            return Ok(Some(copy.placed(Some(used))));
        }
        let looks_like_one =
            at_end.footer.looks_like_one() || short.footer.has_cookie() || copy.footer.has_cookie();
        if !looks_like_one && !has_dynamic_header(image)? {
            return Ok(None);
        }
        let problem = damaged.problem();
        let with_cookie = [at_end, short, copy].into_iter().find(|candidate| candidate.footer.has_cookie());
        match with_cookie {
            Some(found) if options.ignore_checksums => {
                let ignored = Irregularity::WrongChecksum { what: WHAT, offset: found.offset };
                Ok(Some(found.placed(Some(ignored))))
            }
            _ => Err(problem),
        }
    }

    /// Size of the virtual disk in bytes.
    pub(super) fn disk_size(&self) -> Result<u64, Error> {
        let size = self.footer.current_size.get();
        if size == 0 || size > BIGGEST_DISK {
            let expected = "a disk size of 1 byte to 2040 GiB";
            return Err(self.mismatch(CURRENT_SIZE_AT, expected, size));
        }
        Ok(size)
    }

    pub(super) fn disk_type(&self) -> Result<DiskType, Error> {
        let found = self.footer.disk_type.get();
        DiskType::from_raw(found).ok_or_else(|| {
            self.mismatch(DISK_TYPE_AT, "disk type 2 (fixed), 3 (dynamic) or 4 (differencing)", found)
        })
    }

    /// The identity by which children know the image.
    pub(super) fn id(&self) -> Guid {
        Guid::from_bytes(self.footer.unique_id)
    }

    /// Whether only the copy at the start of the file is left.
    pub(super) fn is_the_copy(&self) -> bool {
        self.offset == 0
    }

    /// Why something lies behind the end of the file, for the end of a message: who cuts a file cuts its last footer off.
    pub(super) fn hint_at_cut(&self) -> &'static str {
        if self.is_the_copy() { ": the file is cut short" } else { "" }
    }

    pub(super) fn mismatch(
        &self,
        at: usize,
        expected: impl Into<Cow<'static, str>>,
        found: impl ToString,
    ) -> Error {
        Mismatch::new(at, expected, found).in_vhd("footer", self.offset)
    }
}

/// Whether there is a dynamic header where every program puts it: both footers of such a file are destroyed.
fn has_dynamic_header(image: &dyn ReadAt) -> Result<bool, Error> {
    let mut cookie = [0; 8];
    if image.size() < (FOOTER_SIZE + cookie.len()) as u64 {
        return Ok(false);
    }
    read(image, "the VHD's dynamic header", &mut cookie, FOOTER_SIZE as u64)?;
    Ok(cookie == HEADER_COOKIE)
}

/// What stands where a footer may be.
struct Candidate {
    footer: Footer,
    offset: u64,
}

impl Candidate {
    fn read(image: &dyn ReadAt, offset: u64, length: usize) -> Result<Self, Error> {
        let mut bytes = [0; FOOTER_SIZE];
        read(image, "the VHD footer", &mut bytes[..length], offset)?;
        Ok(Self { footer: zerocopy::transmute!(bytes), offset })
    }

    fn is_sound(&self) -> bool {
        self.footer.has_cookie() && self.footer.check_sum().is_ok()
    }

    /// What keeps it from being sound.
    fn problem(&self) -> Error {
        match (self.footer.check_cookie(), self.footer.check_sum()) {
            (Err(mismatch), _) => mismatch.in_vhd("footer", self.offset),
            (Ok(()), Err(wrong)) => wrong.in_the(WHAT, self.offset),
            (Ok(()), Ok(())) => Mismatch::new(0, "another footer", "this one").in_vhd("footer", self.offset),
        }
    }

    fn placed(self, irregularity: Option<Irregularity>) -> PlacedFooter {
        let Self { footer, offset } = self;
        PlacedFooter { footer, offset, irregularities: irregularity.into_iter().collect() }
    }
}

/// The problem alone, without the remedy that the error gives.
fn told(error: &Error) -> String {
    match error {
        Error::Vhd { expected, found, .. } => format!("expected {expected}, found {found}"),
        _ => "its checksum is wrong".to_owned(),
    }
}
