//! Locks between processes: LockFileEx on a file. Windows frees them when their owner dies.
//!
//! Nobody else can read a file that is locked, so that what is locked holds nothing.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Interrupt;

/// How often a taken lock is tried again.
const TICK: Duration = Duration::from_millis(10);

/// Waits shorter than this are not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes the lock on `path`, which is made when missing. `waiting` is called once if that takes long.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] when the interrupt is raised; what the system says.
pub(super) fn exclusive(path: &Path, interrupt: &Interrupt, waiting: impl FnOnce()) -> io::Result<File> {
    wait(interrupt, waiting, || try_exclusive(path))
}

/// The same, shared with others that read only.
///
/// # Errors
/// As for [`exclusive`].
pub(super) fn shared(path: &Path, interrupt: &Interrupt, waiting: impl FnOnce()) -> io::Result<File> {
    wait(interrupt, waiting, || {
        let file = open(path)?;
        taken(file.try_lock_shared()).map(|taken| taken.then_some(file))
    })
}

/// Takes the lock on `path` for cleaning up, which an interrupt must not prevent.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when somebody else holds it for longer than `limit`; what the system says.
pub(super) fn exclusive_within(path: &Path, limit: Duration) -> io::Result<File> {
    let start = Instant::now();
    loop {
        if let Some(file) = try_exclusive(path)? {
            return Ok(file);
        }
        if start.elapsed() >= limit {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(TICK);
    }
}

/// Takes the lock if nobody has it.
///
/// # Errors
/// What the system says.
pub(super) fn try_exclusive(path: &Path) -> io::Result<Option<File>> {
    let file = open(path)?;
    taken(file.try_lock()).map(|taken| taken.then_some(file))
}

/// Whether a living process holds the lock. Where that cannot be told, it may be one.
pub(super) fn is_held(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        _ => !matches!(try_exclusive(path), Ok(Some(_))),
    }
}

fn wait(
    interrupt: &Interrupt,
    waiting: impl FnOnce(),
    mut attempt: impl FnMut() -> io::Result<Option<File>>,
) -> io::Result<File> {
    let mut waiting = Some(waiting);
    let start = Instant::now();
    loop {
        if let Some(file) = attempt()? {
            return Ok(file);
        }
        interrupt.check()?;
        if start.elapsed() >= PATIENCE
            && let Some(waiting) = waiting.take()
        {
            waiting();
        }
        thread::sleep(TICK);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn taken(outcome: Result<(), TryLockError>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_its_file_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let interrupt = Interrupt::new().unwrap();
        assert!(!is_held(&path));
        assert!(!path.exists(), "asking makes no file");
        let lock = exclusive(&path, &interrupt, || ()).unwrap();
        assert!(is_held(&path));
        assert!(try_exclusive(&path).unwrap().is_none());
        let error = exclusive_within(&path, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        interrupt.raise(2, crate::Reach::Gonto);
        let error = exclusive(&path, &interrupt, || ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        let error = exclusive_within(&path, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(lock);
        assert!(!is_held(&path));
        exclusive_within(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn readers_share_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let interrupt = Interrupt::new().unwrap();
        let readers = [(); 2].map(|()| shared(&path, &interrupt, || ()).unwrap());
        assert!(try_exclusive(&path).unwrap().is_none());
        drop(readers);
        assert!(try_exclusive(&path).unwrap().is_some());
    }
}
