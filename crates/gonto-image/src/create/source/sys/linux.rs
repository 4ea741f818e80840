//! Folders by descriptors relative to the root.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Stat, fgetxattr, fstat, openat,
    openat2, readlinkat, seek, statat,
};
use rustix::io::Errno;

use super::super::facts::{DOS_ATTRIBUTES, Facts, Stamp, What};
use super::super::tree::Target;
use crate::ntfs::name::{append_units, append_units_as_wtf8};
use crate::ntfs::upcase::UpCase;

/// The folder that is read.
pub(in super::super) struct Root(OwnedFd);

impl Root {
    pub(in super::super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// Opens a folder below.
    pub(in super::super) fn open_folder(&self, path: &Path) -> io::Result<OpenFolder> {
        let descriptor = self.open_below(path, OFlags::DIRECTORY)?;
        let has_dos_attributes = dos_attributes(&descriptor).is_some();
        Ok(OpenFolder { descriptor, has_dos_attributes })
    }

    /// Opens a file below for reading. What has become something else is opened as well, but never waited for.
    pub(in super::super) fn open_file(&self, path: &Path) -> io::Result<File> {
        Ok(self.open_below(path, OFlags::NONBLOCK)?.into())
    }

    /// Opens a path that leads through no link: in one step, or in several where it is longer than the system takes.
    fn open_below(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        /// `PATH_MAX` without the zero byte at the end.
        const LONGEST: usize = 4095;
        let mut path = path.as_os_str().as_bytes();
        let mut stage: Option<OwnedFd> = None;
        while path.len() > LONGEST {
            let Some(cut) = path[..=LONGEST].iter().rposition(|byte| *byte == b'/') else { break };
            let at = stage.as_ref().unwrap_or(&self.0).as_fd();
            stage = Some(open_without_links(at, &path[..cut], OFlags::PATH | OFlags::DIRECTORY)?);
            path = &path[cut + 1..];
        }
        let at = stage.as_ref().unwrap_or(&self.0).as_fd();
        open_without_links(at, if path.is_empty() { b"." } else { path }, flags)
    }
}

fn open_without_links(at: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(at, path, flags, Mode::empty(), resolve) {
        // Linux before 5.6, or a sandbox that does not know the call. A link in place of a folder is then noticed only
        // by what is found behind it: another file than the one that was looked at.
        Err(Errno::NOSYS | Errno::PERM) => openat(at, path, flags, Mode::empty()),
        opened => opened,
    }
}

/// Reads the names in folders, with one buffer for all of them.
pub(in super::super) struct Reader(Vec<u8>);

impl Reader {
    pub(in super::super) fn new() -> Self {
        Self(Vec::with_capacity(64 * 1024))
    }

    /// Tells all names in a folder in the order of the system.
    pub(in super::super) fn read(
        &mut self,
        root: &Root,
        path: &Path,
        mut each: impl FnMut(&OsStr, What),
    ) -> io::Result<()> {
        let folder = root.open_below(path, OFlags::DIRECTORY)?;
        let mut entries = RawDir::new(&folder, self.0.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    FileType::from_raw_mode(statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
                }
                known => known,
            };
            each(OsStr::from_bytes(name.to_bytes()), what(kind));
        }
        Ok(())
    }
}

fn what(kind: FileType) -> What {
    match kind {
        FileType::Directory => What::Folder,
        FileType::RegularFile => What::File,
        FileType::Symlink => What::Link,
        FileType::Socket => What::Socket,
        FileType::Fifo => What::Fifo,
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => What::Device,
    }
}

/// A folder whose entries are looked at.
pub(in super::super) struct OpenFolder {
    descriptor: OwnedFd,
    has_dos_attributes: bool,
}

impl OpenFolder {
    pub(in super::super) fn own_facts(&self) -> io::Result<Facts> {
        Ok(facts(&fstat(&self.descriptor)?, dos_attributes(&self.descriptor).unwrap_or_default()))
    }

    pub(in super::super) fn facts(&self, name: &OsStr) -> io::Result<Facts> {
        let stat = statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let dos = if self.has_dos_attributes { self.dos_attributes(name) } else { None };
        Ok(facts(&stat, dos.unwrap_or_default()))
    }

    pub(in super::super) fn target(&self, name: &OsStr) -> io::Result<OsString> {
        Ok(OsString::from_vec(readlinkat(&self.descriptor, name, Vec::new())?.into_bytes()))
    }

    fn dos_attributes(&self, name: &OsStr) -> Option<u16> {
        let file = open_without_links(self.descriptor.as_fd(), name.as_bytes(), OFlags::NONBLOCK).ok()?;
        dos_attributes(&file)
    }
}

/// What drivers of NTFS (ntfs3, ntfs-3g) tell. Others do not know the question.
fn dos_attributes(file: &OwnedFd) -> Option<u16> {
    let mut value = [0; 4];
    let length = fgetxattr(file, c"system.ntfs_attrib", &mut value).ok()?;
    (length == value.len()).then_some(())?;
    u16::try_from(u32::from_ne_bytes(value) & DOS_ATTRIBUTES).ok()
}

/// The facts of an open file, but for the attributes of DOS.
pub(in super::super) fn facts_of(file: &File) -> io::Result<Facts> {
    Ok(facts(&fstat(file)?, 0))
}

fn facts(stat: &Stat, dos: u16) -> Facts {
    Facts {
        what: what(FileType::from_raw_mode(stat.st_mode)),
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified: ntfs_time(stat.st_mtime, stat.st_mtime_nsec),
        mode: stat.st_mode,
        user: stat.st_uid,
        group: stat.st_gid,
        dos,
        shared: stat.st_nlink > 1,
        stamp: Stamp {
            device: device(stat.st_dev),
            number: stat.st_ino,
            written: exact_time(stat.st_mtime, stat.st_mtime_nsec),
            changed: exact_time(stat.st_ctime, stat.st_ctime_nsec),
        },
    }
}

/// The kernel's own number has 32 bits.
fn device(number: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) ^ u32::from_le_bytes([e, f, g, h])
}

/// In nanoseconds. That it wraps around after centuries does not matter to who only compares.
fn exact_time(seconds: i64, nanoseconds: u64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add_unsigned(nanoseconds)
}

/// In units of 100 ns since 1601, between the first and the last that Windows accepts.
fn ntfs_time(seconds: i64, nanoseconds: u64) -> u64 {
    /// From 1601 to 1970.
    const SECONDS: i128 = 11_644_473_600;
    let time = (i128::from(seconds) + SECONDS) * 10_000_000 + i128::from(nanoseconds / 100);
    u64::try_from(time.clamp(0, i64::MAX.into())).unwrap_or_default()
}

/// Where data begin at or behind `offset`; `None` when there are none. Where the system does not know holes all is data.
pub(in super::super) fn next_data(file: &File, offset: u64) -> Option<u64> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(next) => Some(next),
        Err(Errno::NXIO) => None,
        Err(_) => Some(offset),
    }
}

/// Whether an error says that something is no longer what it was a moment ago.
pub(in super::super) fn has_vanished(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::STALE, Errno::INVAL];
    Errno::from_io_error(error).is_some_and(|errno| gone.contains(&errno))
}

/// Appends a name as UTF-16; fails where it is no text.
pub(in super::super) fn decode(name: &OsStr, out: &mut Vec<u16>) -> Result<(), usize> {
    append_units(name.as_bytes(), out)
}

/// Appends a name as UTF-16, with something in place of each byte that is no text.
pub(in super::super) fn decode_lossily(name: &OsStr, out: &mut Vec<u16>, escape: fn(u8, &mut Vec<u16>)) {
    let mut rest = name.as_bytes();
    while let Err(at) = append_units(rest, out) {
        escape(rest[at], out);
        rest = &rest[at + 1..];
    }
}

/// Appends a name that was decoded.
pub(in super::super) fn append_name(name: &[u16], out: &mut OsString) {
    let mut bytes = std::mem::take(out).into_vec();
    append_units_as_wtf8(name.iter().copied(), &mut bytes);
    *out = OsString::from_vec(bytes);
}

/// The order in which a name of the system is looked up.
pub(in super::super) fn order(upcase: &UpCase, a: &[u16], b: &[u16]) -> Ordering {
    upcase.order(a, b)
}

/// The names in the target of a link.
pub(in super::super) fn parts(target: &OsStr) -> Vec<OsString> {
    target.as_bytes().split(|byte| *byte == b'/').map(|part| OsStr::from_bytes(part).into()).collect()
}

pub(in super::super) fn is_absolute(target: &OsStr) -> bool {
    target.as_bytes().starts_with(b"/")
}

/// The target of a link that only this system can follow.
pub(in super::super) fn kept_target(target: &OsStr) -> Target {
    Target::Linux(target.as_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::ntfs_time;

    #[test]
    fn times_that_ntfs_cannot_tell_are_its_first_and_last() {
        assert_eq!(ntfs_time(0, 0), 116_444_736_000_000_000);
        assert_eq!(ntfs_time(-1, 999_999_999), 116_444_735_999_999_999);
        assert_eq!(ntfs_time(-11_644_473_600, 0), 0);
        assert_eq!(ntfs_time(-11_644_473_601, 999_999_999), 0);
        assert_eq!(ntfs_time(i64::MIN, 0), 0);
        assert_eq!(ntfs_time(i64::MAX, 999_999_999), i64::MAX as u64);
    }
}
