//! Windows.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Creates a file that must not exist yet, for writing; who may read it follows from its folder.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Sets `length` bytes of disk space aside, so that a full disk is noticed before the download and not at its end.
/// Moving the end of a file that is not sparse allocates its clusters.
pub(crate) fn reserve(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)
}

/// Names are journalled by NTFS; a folder cannot be synced.
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// The path that a `file://` URL means; `path` is its decoded path, `host` is empty for this machine.
pub(crate) fn path_of_file_url(host: &str, path: Vec<u8>) -> Result<PathBuf, &'static str> {
    let path = String::from_utf8(path).map_err(|_| "its path is not UTF-8")?;
    Ok(match path.strip_prefix('/') {
        // file:///C:/images
        Some(drive) if host.is_empty() && drive.as_bytes().get(1) == Some(&b':') => PathBuf::from(drive),
        _ if host.is_empty() => PathBuf::from(path),
        // file://server/share
        _ => PathBuf::from(format!(r"\\{host}{}", path.replace('/', r"\"))),
    })
}
