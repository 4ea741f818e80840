//! Names, files and links of Linux and its kind.

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use gonto_image::Node;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

/// NAME_MAX, in bytes. NTFS allows 255 UTF-16 units, which may be more.
const LONGEST_NAME: usize = 255;

/// PATH_MAX, without room for the folder that it is put into: the system says so itself when that is too much.
pub(super) const LONGEST_PATH: usize = 4095;

/// The name as the system has it.
pub(super) fn name(name: &[u8]) -> Result<OsString, &'static str> {
    if name.len() > LONGEST_NAME {
        return Err("the name is longer than 255 bytes");
    }
    Ok(OsStr::from_bytes(name).to_owned())
}

/// Nobody else sees what is in it until it is whole.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

pub(super) fn open_folder(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// The system does not let anybody set it.
pub(super) fn with_creation(times: FileTimes, _node: &Node) -> FileTimes {
    times
}

pub(super) fn link(target: &[u8], path: &Path, node: &Node) -> io::Result<()> {
    std::os::unix::fs::symlink(OsStr::from_bytes(target), path)?;
    let moment = |nanos: i128| Timespec {
        tv_sec: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(0),
        tv_nsec: i64::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: moment(node.accessed.unix_nanos()),
        last_modification: moment(node.modified.unix_nanos()),
    };
    // Not every file system can hold every time.
    if let Err(error) = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW) {
        tracing::debug!(path = %path.display(), %error, "cannot set the times");
    }
    Ok(())
}

/// Whether the next name may have no such error.
pub(super) fn concerns_one_name(error: &io::Error) -> bool {
    // EILSEQ: the file system takes no names that are no Unicode.
    error.raw_os_error() == Some(rustix::io::Errno::ILSEQ.raw_os_error())
}
