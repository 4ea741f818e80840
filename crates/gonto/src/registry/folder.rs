//! The folder of the journal, and the locks in it.
//!
//! ```text
//! <state>/registry/
//!   lock             held by whoever reads or changes the journal and the registry, for moments only
//!   journal.json     what was in the registry before; missing when there is nothing to put back
//!   run-XXXXXX.lock  held by a run as long as it lives
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::RegistryError;
use super::format::{self, RUN, is_name_of_run};
use super::journal::{Holder, Journal};

/// A journal before it has its name.
const UNFINISHED: &str = ".new-";

/// How often a taken lock is tried again. Waiting for it in the system would not listen to Ctrl-C.
const TICK: Duration = Duration::from_millis(10);

/// `<state>/registry`.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

/// The folder, locked against every other gonto.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    folder: &'a Folder,
    _lock: File,
}

/// Tells others that this run lives, as long as it is not dropped.
#[derive(Debug)]
pub(super) struct Run {
    name: String,
    path: PathBuf,
    /// Keeps the lock.
    _file: File,
}

impl Folder {
    /// Nothing is made yet.
    pub(super) fn new(state: &Path) -> Self {
        Self { path: state.join("registry") }
    }

    fn journal(&self) -> PathBuf {
        self.path.join("journal.json")
    }

    /// Whether there may be something to put back.
    pub(super) fn has_journal(&self) -> bool {
        !fs::symlink_metadata(self.journal()).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Locks the folder, which is made when missing. `again` is asked with the time that was waited whether to try once
    /// more.
    ///
    /// # Errors
    /// [`RegistryError::Journal`], also with what `again` says.
    pub(super) fn lock(
        &self,
        again: impl FnMut(Duration) -> io::Result<()>,
    ) -> Result<Locked<'_>, RegistryError> {
        let path = self.path.join("lock");
        let lock = || {
            fs::create_dir_all(&self.path)?;
            take(OpenOptions::new().create(true).truncate(false).write(true).open(&path)?, again)
        };
        let lock = lock().map_err(failed(&path))?;
        Ok(Locked { folder: self, _lock: lock })
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RegistryError {
    move |source| RegistryError::Journal { path: path.to_owned(), source }
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

impl Locked<'_> {
    /// Reads the journal.
    ///
    /// # Errors
    /// [`RegistryError::Journal`]; [`RegistryError::Damaged`], and then nobody may write another one.
    pub(super) fn read(&self) -> Result<Journal, RegistryError> {
        let path = self.folder.journal();
        match fs::read(&path) {
            Ok(text) => format::from_json(&text).map_err(|reason| RegistryError::Damaged { path, reason }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Journal::default()),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// Replaces the journal in one step. It is on the disk before anything that it tells of is done.
    ///
    /// # Errors
    /// [`RegistryError::Journal`].
    pub(super) fn write(&self, journal: &Journal) -> Result<(), RegistryError> {
        let path = self.folder.journal();
        let write = || {
            if journal.is_empty() {
                return remove(&path);
            }
            let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.folder.path)?;
            file.write_all(&format::to_json(journal)?)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(failed(&path))
    }

    /// Makes the file of a new run. What killed ones have left is removed.
    ///
    /// # Errors
    /// [`RegistryError::Journal`].
    pub(super) fn new_run(&self) -> Result<Run, RegistryError> {
        let folder = &self.folder.path;
        let make = || {
            self.clear_away()?;
            let (prefix, suffix) = RUN;
            let file = tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(folder)?;
            file.as_file().lock()?;
            let name = file.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (file, path) = file.keep()?;
            Ok(Run { name, path, _file: file })
        };
        make().map_err(failed(folder))
    }

    /// Whether the holder lives. Where that cannot be told, it may.
    pub(super) fn lives(&self, holder: &Holder) -> bool {
        match holder {
            Holder::Run { lock } => is_held(&self.folder.path.join(lock)),
            Holder::Target { .. } => true,
        }
    }

    /// Files of runs are locked before this lock is free, so one that is not locked is a dead one's.
    fn clear_away(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.folder.path)? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) || is_name_of_run(&name) && !is_held(&file.path()) {
                remove(&file.path())?;
            }
        }
        Ok(())
    }
}

impl Run {
    /// Who it is in the journal.
    pub(super) fn holder(&self) -> Holder {
        Holder::Run { lock: self.name.clone() }
    }

    /// Removes the file; the journal does not name it any more.
    pub(super) fn end(self) {
        if let Err(error) = remove(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "left for the next gonto");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_held(path: &Path) -> bool {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => file.try_lock().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RegistryRoot;
    use crate::registry::data::Data;
    use crate::registry::place::{Key, Place};

    fn at_once(_: Duration) -> io::Result<()> {
        Err(io::ErrorKind::TimedOut.into())
    }

    fn journal(holder: &Holder) -> Journal {
        let place = Place::new(Key::new(RegistryRoot::CurrentUser, "a"), "x").unwrap();
        let mut journal = Journal::default();
        journal.add(&place, None, Vec::new());
        journal.set(&place, holder, &Data { kind: 4, bytes: vec![1, 0, 0, 0] });
        journal
    }

    fn names(folder: &Folder) -> Vec<String> {
        let names = fs::read_dir(&folder.path).unwrap();
        let mut names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_journal_is_there_as_long_as_something_is_in_it() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path());
        assert!(!folder.has_journal());
        assert!(!state.path().join("registry").exists(), "looking makes nothing");
        let locked = folder.lock(at_once).unwrap();
        assert_eq!(locked.read().unwrap(), Journal::default());
        let run = locked.new_run().unwrap();
        let journal = journal(&run.holder());
        locked.write(&journal).unwrap();
        assert!(folder.has_journal());
        assert_eq!(locked.read().unwrap(), journal);
        locked.write(&Journal::default()).unwrap();
        assert!(!folder.has_journal());
        run.end();
        assert_eq!(names(&folder), ["lock"]);
    }

    #[test]
    fn one_at_a_time() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path());
        let locked = folder.lock(at_once).unwrap();
        let error = folder.lock(at_once).unwrap_err();
        assert!(
            matches!(&error, RegistryError::Journal { source, .. } if source.kind() == io::ErrorKind::TimedOut)
        );
        assert!(error.to_string().contains("lock, by which registry values are put back"), "{error}");
        drop(locked);
        folder.lock(at_once).unwrap();
    }

    #[test]
    fn a_run_lives_until_it_is_dropped() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path());
        let locked = folder.lock(at_once).unwrap();
        let (first, second) = (locked.new_run().unwrap(), locked.new_run().unwrap());
        let dead = first.holder();
        assert!(locked.lives(&dead) && locked.lives(&second.holder()));
        // As the system does for one that is killed.
        drop(first);
        assert!(!locked.lives(&dead) && locked.lives(&second.holder()));
        assert!(!locked.lives(&Holder::Run { lock: "run-x.lock".into() }));
        assert!(locked.lives(&Holder::target("build", Path::new("project"))));
        fs::write(folder.path.join(".new-x"), "half").unwrap();
        let third = locked.new_run().unwrap();
        let mut left = vec!["lock".to_owned(), second.name.clone(), third.name.clone()];
        left.sort();
        assert_eq!(names(&folder), left);
    }

    #[test]
    fn a_damaged_journal_stays_and_is_told_by_name() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path());
        let locked = folder.lock(at_once).unwrap();
        fs::write(folder.journal(), "").unwrap();
        let error = locked.read().unwrap_err().to_string();
        assert!(error.starts_with(&folder.journal().display().to_string()), "{error}");
        assert!(
            error.contains("is damaged: EOF while parsing a value at line 1 column 0. Nothing is changed"),
            "{error}"
        );
        assert!(error.contains("moved that file away"), "{error}");
        assert_eq!(fs::read(folder.journal()).unwrap(), b"");
    }
}
