//! Files without a name: O_TMPFILE of open(2).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

/// Where open files can be named by whoever has no rights.
const OPEN_FILES: &str = "/proc/self/fd";

/// A file in `folder` that no name leads to.
pub(super) fn without_name(folder: &Path) -> io::Result<File> {
    // It could not be given a name later.
    Path::new(OPEN_FILES).read_dir()?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(File::from(open(folder, flags, Mode::from_raw_mode(0o666))?))
}

/// Gives it a name, if nothing has that.
pub(super) fn give_name(file: &File, place: &Path) -> io::Result<()> {
    let itself = format!("{OPEN_FILES}/{}", file.as_raw_fd());
    Ok(linkat(CWD, itself, CWD, place, AtFlags::SYMLINK_FOLLOW)?)
}
