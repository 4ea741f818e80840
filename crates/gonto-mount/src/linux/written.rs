//! What a run has written: the upper layer, counted.
//!
//! overlayfs puts into it what is new and what was changed, and a *whiteout*, a character device with the numbers 0 and 0,
//! for each name of the image that is gone. So counting costs what was written, however large the image is.

use std::collections::HashSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags};

use crate::Interrupt;

/// How folders of a layer are opened.
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The numbers of a layer; [`crate::Written`] says what they mean.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Count {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) deleted: u64,
    pub(super) partial: bool,
    pub(super) full: bool,
}

/// Counts what lies in the folder `upper`, until it is interrupted. What is opened is opened in a folder that is open
/// already, and never through a link; processes that the script has left running may go on writing.
pub(super) fn count(upper: &OwnedFd, interrupt: &Interrupt) -> io::Result<Count> {
    let mut count = Count { full: is_full(upper)?, ..Count::default() };
    let mut seen = HashSet::new();
    // The folders on the way from the upper layer to where the walk is.
    let mut way = vec![Dir::read_from(upper)?];
    while let Some(folder) = way.last_mut() {
        interrupt.check()?;
        match folder.read() {
            None => drop(way.pop()),
            Some(Ok(entry)) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            Some(entry) => {
                let below = entry.and_then(|entry| count.take(folder.fd()?, &entry, &mut seen));
                match below {
                    Ok(below) => way.extend(below),
                    Err(rustix::io::Errno::NOENT) => {}
                    // A folder that its owner has closed, say.
                    Err(error) => {
                        tracing::debug!(%error, "not counted");
                        count.partial = true;
                    }
                }
            }
        }
    }
    Ok(count)
}

impl Count {
    /// Counts an entry of `folder`, and opens it if it is a folder.
    fn take(
        &mut self,
        folder: BorrowedFd<'_>,
        entry: &DirEntry,
        seen: &mut HashSet<u64>,
    ) -> rustix::io::Result<Option<Dir>> {
        if entry.file_type() == FileType::Directory {
            let below = rustix::fs::openat(folder, entry.file_name(), FOLDER, Mode::empty())?;
            return Dir::new(below).map(Some);
        }
        let stat = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice if stat.st_rdev == 0 => self.deleted += 1,
            FileType::Symlink => self.files += 1,
            // Of several names, the first one counts.
            FileType::RegularFile if stat.st_nlink == 1 || seen.insert(stat.st_ino) => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            }
            _ => {}
        }
        Ok(None)
    }
}

/// Whether the file system takes no more: it is out of blocks, or out of inodes where it counts them.
fn is_full(folder: &OwnedFd) -> io::Result<bool> {
    let told = rustix::fs::fstatvfs(folder)?;
    Ok((told.f_blocks > 0 && told.f_bavail == 0) || (told.f_files > 0 && told.f_favail == 0))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_counted_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let upper = folder.path().join("upper");
        fs::create_dir_all(upper.join("deep/deeper")).unwrap();
        fs::write(folder.path().join("outside"), [0; 1000]).unwrap();
        fs::write(upper.join("deep/deeper/file"), [0; 10]).unwrap();
        fs::hard_link(upper.join("deep/deeper/file"), upper.join("again")).unwrap();
        symlink("..", upper.join("deep/up")).unwrap();
        symlink("../outside", upper.join("outside")).unwrap();
        symlink("nowhere", upper.join("nowhere")).unwrap();
        let opened = rustix::fs::open(&upper, FOLDER, Mode::empty()).unwrap();
        let counted = count(&opened, &Interrupt::new().unwrap()).unwrap();
        assert_eq!(counted, Count { files: 4, bytes: 10, full: counted.full, ..Count::default() });
        // It can be counted again.
        assert_eq!(count(&opened, &Interrupt::new().unwrap()).unwrap(), counted);
    }

    #[test]
    fn an_interrupt_ends_the_counting() {
        let folder = tempfile::tempdir().unwrap();
        let opened = rustix::fs::open(folder.path(), FOLDER, Mode::empty()).unwrap();
        let interrupt = Interrupt::new().unwrap();
        interrupt.raise(libc::SIGTERM, crate::Reach::Gonto);
        assert_eq!(count(&opened, &interrupt).unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
