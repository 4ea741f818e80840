//! Locks between processes: flock(2) on a file, LockFileEx on Windows. The system frees them when their owner dies.
//!
//! On Windows nobody else can read a file that is locked, so that what is locked holds nothing there.

#[cfg(target_os = "linux")]
use std::fs;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
#[cfg(target_os = "linux")]
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use rustix::fs::{Mode, OFlags};

use crate::Interrupt;

/// How often a taken lock is tried again. The system itself would wait without listening to Ctrl-C.
const TICK: Duration = Duration::from_millis(10);

/// Waits shorter than this are not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes the lock on `path`, which is made when missing. `waiting` is called once if that takes long.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] when the interrupt is raised; what the system says.
pub(crate) fn exclusive(path: &Path, interrupt: &Interrupt, waiting: impl FnOnce()) -> io::Result<File> {
    wait(interrupt, waiting, || try_exclusive(path))
}

/// Like [`exclusive`], for a file that its owner may move to another name, in a folder that others may be able to write to: what is
/// locked lies at `path`, belongs to this user and has no other name.
///
/// # Errors
/// As there, and [`io::ErrorKind::PermissionDenied`] when something else lies there.
#[cfg(target_os = "linux")]
pub(crate) fn exclusive_at(path: &Path, interrupt: &Interrupt, waiting: impl FnOnce()) -> io::Result<File> {
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
        let told = || waiting.take().into_iter().for_each(|waiting| waiting());
        wait(interrupt, told, || taken(file.try_lock()).map(|taken| taken.then_some(())))?;
        let there = fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()));
        if there.is_ok_and(|there| there == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

/// Like [`exclusive`], shared with others that read only.
///
/// # Errors
/// As for [`exclusive`].
#[cfg(windows)]
pub(crate) fn shared(path: &Path, interrupt: &Interrupt, waiting: impl FnOnce()) -> io::Result<File> {
    wait(interrupt, waiting, || {
        let file = open(path)?;
        taken(file.try_lock_shared()).map(|taken| taken.then_some(file))
    })
}

/// Takes the lock on `path` for cleaning up, which an interrupt must not prevent.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when somebody else holds it for longer than `limit`; what the system says.
pub(crate) fn exclusive_within(path: &Path, limit: Duration) -> io::Result<File> {
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
pub(crate) fn try_exclusive(path: &Path) -> io::Result<Option<File>> {
    let file = open(path)?;
    taken(file.try_lock()).map(|taken| taken.then_some(file))
}

/// Whether a living process holds the lock. Where that cannot be told, it may be one.
pub(crate) fn is_held(path: &Path) -> bool {
    // It makes no file: that would be one that nobody removes.
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => file.try_lock().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn wait<T>(
    interrupt: &Interrupt,
    waiting: impl FnOnce(),
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<T> {
    let mut waiting = Some(waiting);
    let start = Instant::now();
    loop {
        if let Some(taken) = attempt()? {
            return Ok(taken);
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

    #[cfg(target_os = "linux")]
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

    #[cfg(target_os = "linux")]
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

    #[cfg(windows)]
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
