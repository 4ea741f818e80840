//! Linux, and whatever else is a Unix.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::retry_on_intr;

/// Creates a file that must not exist yet, for writing; everybody may read it, as far as the umask allows.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)
}

/// Sets `length` bytes of disk space aside, so that a full disk is noticed before the download and not at its end.
/// File systems that cannot do so return an error of the kind `Unsupported`.
pub(crate) fn reserve(file: &File, length: u64) -> io::Result<()> {
    retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, length)).map_err(Into::into)
}

/// Gives a file another name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Whether a name stands for a device in every folder: never here.
pub(crate) fn is_device(_name: &str) -> bool {
    false
}

/// Makes new names in `folder` survive a power failure.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The path that a `file://` URL means; `path` is its decoded path, `host` is empty for this machine.
pub(crate) fn path_of_file_url(host: &str, path: Vec<u8>) -> Result<PathBuf, &'static str> {
    if host.is_empty() {
        Ok(PathBuf::from(OsString::from_vec(path)))
    } else {
        Err("a file URL cannot name another host here: mount its share, and use the path of that")
    }
}
