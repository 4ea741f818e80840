//! Windows.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Creates a file that must not exist yet, for writing; who may read it follows from its folder.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Sets `length` bytes of disk space aside, so that a full disk is noticed before the download and not at its end.
/// Moving the end of a file that is not sparse allocates its clusters.
pub(crate) fn reserve(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)
}

/// Gives a file another name. Scanners for viruses and the like open what has just been written, and a file that they hold
/// cannot be renamed: it is tried for [`PATIENCE`].
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match fs::rename(from, to) {
            Err(error) if is_held(&error) && begun.elapsed() < PATIENCE => thread::sleep(TICK),
            outcome => return outcome,
        }
    }
}

/// Scanners take seconds. Whoever holds a file for longer holds it for long.
const PATIENCE: Duration = Duration::from_secs(10);

const TICK: Duration = Duration::from_millis(50);

/// `ERROR_ACCESS_DENIED` (also for a file that is being removed), `ERROR_SHARING_VIOLATION`, `ERROR_LOCK_VIOLATION`.
fn is_held(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(5 | 32 | 33))
}

/// Whether a name stands for a device in every folder, so that no folder can have it. `name` is lower-case.
pub(crate) fn is_device(name: &str) -> bool {
    let port = name.strip_prefix("com").or_else(|| name.strip_prefix("lpt"));
    matches!(name, "con" | "prn" | "aux" | "nul")
        || port.is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
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
