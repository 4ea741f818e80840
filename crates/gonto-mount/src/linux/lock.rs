//! Locks between processes: flock(2) on a file. The kernel frees them when their owner dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::Interrupt;

/// How often a taken lock is tried again. flock(2) itself would wait without listening to Ctrl-C.
const TICK: Duration = Duration::from_millis(10);

/// Waits shorter than this are not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes the lock on `path`, which is made when missing. `waiting` is called once if that takes long.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] when the interrupt is raised; what open(2) and flock(2) say.
pub(super) fn exclusive(path: &Path, interrupt: &Interrupt, waiting: impl FnOnce()) -> io::Result<File> {
    let mut waiting = Some(waiting);
    take(open(path)?, |waited| {
        if waited >= PATIENCE
            && let Some(waiting) = waiting.take()
        {
            waiting();
        }
        interrupt.check()
    })
}

/// Like [`exclusive`], for a file that its owner may move to another name, in a folder that others may be able to write to: what is
/// locked lies at `path`, belongs to this user and has no other name.
///
/// # Errors
/// As there, and [`io::ErrorKind::PermissionDenied`] when something else lies there.
pub(super) fn exclusive_at(path: &Path, interrupt: &Interrupt, waiting: impl FnOnce()) -> io::Result<File> {
    let mut waiting = Some(waiting);
    loop {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
        let ours = file.metadata()?;
        // Without a name it was moved or removed since it was opened.
        let ok = ours.is_file() && ours.nlink() <= 1 && ours.uid() == rustix::process::geteuid().as_raw();
        if !ok {
            let what = format!("something else lies at {}", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let file = take(file, |waited| {
            if waited >= PATIENCE
                && let Some(waiting) = waiting.take()
            {
                waiting();
            }
            interrupt.check()
        })?;
        let there = fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()));
        if there.is_ok_and(|there| there == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

/// Takes the lock on `path` for cleaning up, which an interrupt must not prevent.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when somebody else holds it for longer than `limit`.
pub(super) fn exclusive_within(path: &Path, limit: Duration) -> io::Result<File> {
    take(open(path)?, |waited| if waited < limit { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn take(file: File, mut again: impl FnMut(Duration) -> io::Result<()>) -> io::Result<File> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => again(start.elapsed())?,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        thread::sleep(TICK);
    }
}

/// Whether a living process holds the lock on `path`. Where that cannot be told, it may be one.
pub(super) fn is_held(path: &Path) -> bool {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => file.try_lock().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_while_one_waited_is_not_the_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("new"), folder.path().join("whole"));
        let interrupt = Interrupt::new().unwrap();
        let first = exclusive_at(&path, &interrupt, || ()).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| exclusive_at(&path, &interrupt, || ()).unwrap());
            // Whether the second one has opened the file already or does so now: it gets the one that lies there.
            fs::rename(&path, &moved).unwrap();
            drop(first);
            let second = second.join().unwrap().metadata().unwrap();
            assert_eq!(second.ino(), fs::metadata(&path).unwrap().ino());
            assert_ne!(second.ino(), fs::metadata(&moved).unwrap().ino());
        });
    }

    #[test]
    fn a_planted_file_is_not_locked() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("new"), folder.path().join("precious"));
        let interrupt = Interrupt::new().unwrap();
        fs::write(&other, "precious").unwrap();
        let locked = || exclusive_at(&path, &interrupt, || ());
        std::os::unix::fs::symlink(&other, &path).unwrap();
        locked().unwrap_err();
        fs::remove_file(&path).unwrap();
        fs::hard_link(&other, &path).unwrap();
        assert_eq!(locked().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(locked().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_lock_is_held_until_its_file_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let interrupt = Interrupt::new().unwrap();
        assert!(!is_held(&path));
        let lock = exclusive(&path, &interrupt, || ()).unwrap();
        assert!(is_held(&path));
        let error = exclusive_within(&path, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        interrupt.raise(2, crate::Reach::Gonto);
        let error = exclusive(&path, &interrupt, || ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        drop(lock);
        assert!(!is_held(&path));
        exclusive_within(&path, Duration::ZERO).unwrap();
    }
}
