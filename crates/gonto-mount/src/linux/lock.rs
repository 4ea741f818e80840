//! Locks between processes: flock(2) on a file. The kernel frees them when their owner dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

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
    take(path, |waited| {
        if waited >= PATIENCE
            && let Some(waiting) = waiting.take()
        {
            waiting();
        }
        interrupt.check()
    })
}

/// Like [`exclusive`], for a file that its owner may move to another name: what is locked lies at `path`.
///
/// # Errors
/// As there.
pub(super) fn exclusive_at(path: &Path, interrupt: &Interrupt, waiting: impl Fn()) -> io::Result<File> {
    loop {
        let file = exclusive(path, interrupt, &waiting)?;
        let ours = file.metadata()?;
        let is_there =
            fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        if is_there {
            return Ok(file);
        }
    }
}

/// Takes the lock on `path` for cleaning up, which an interrupt must not prevent.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when somebody else holds it for longer than `limit`.
pub(super) fn exclusive_within(path: &Path, limit: Duration) -> io::Result<File> {
    take(path, |waited| if waited < limit { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) })
}

fn take(path: &Path, mut again: impl FnMut(Duration) -> io::Result<()>) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
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
