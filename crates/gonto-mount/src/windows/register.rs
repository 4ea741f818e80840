//! What gonto has put into the system, and who still needs it.
//!
//! ```text
//! <state>/register/
//!   lock            held by whoever reads or changes the entries, for moments only
//!   XXXXXX.json     an image that is shown, or about to be
//!   XXXXXX.lock     held by the gonto that shows it: a run as long as it lives, gonto mount until all is there
//! ```
//!
//! An entry is written before the first thing that it names is made, so that whatever a killed gonto leaves behind is known:
//! a drive letter, a disk that is attached, the file of its layer. [`Locked::sweep`] takes down what dead entries name; it
//! runs when gonto starts and when an entry ends.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION};

use super::child::explain_rights;
use super::copies;
use super::letter::Letter;
use super::logon::Logon;
use super::virtdisk::{Disk, Format};
use super::volumes::{self, VolumeName};
use crate::lock;
use crate::{Error, Interrupt, MountPoint, Notice, Notices, Options};

/// How long a file that was in use may be in use after it. Windows detaches a disk a moment later than it says.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same for what a dead gonto has left. There may be much of it that this user cannot take down, and others wait.
const PATIENCE_WITH_THE_DEAD: Duration = Duration::from_millis(200);

/// How long cleaning up waits for others. What is not cleaned up then, the next gonto takes down.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// How long a virus scanner may look at an entry.
const SCAN: Duration = Duration::from_secs(5);

/// How often it is looked at again.
const TICK: Duration = Duration::from_millis(50);

/// The folder of entries.
#[derive(Clone, Debug)]
pub(super) struct Register {
    folder: PathBuf,
    notices: Notices,
    interrupt: Interrupt,
}

/// An image that is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Entry {
    pub(super) image: PathBuf,
    /// The drive; none where the folder of a copy is shown as it is.
    pub(super) letter: Option<Letter>,
    /// What it is made of, as soon as that is known.
    pub(super) carrier: Option<Carrier>,
    /// Nothing can be written to it.
    pub(super) read_only: bool,
    /// For whom it is shown until `gonto umount`. Nobody: for a run.
    pub(super) holders: Vec<Holder>,
    /// The process that has made it.
    pub(super) process: u32,
    /// The logon session of that process, to which a letter for a copy belongs.
    #[serde(default)]
    pub(super) logon: Option<Logon>,
    /// They are taken down in reverse order.
    pub(super) order: u64,
    /// All of it is there.
    pub(super) complete: bool,
}

/// What an image is shown by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) enum Carrier {
    /// A disk of the system.
    Disk {
        /// The image file that is attached: a child of the image.
        child: PathBuf,
        /// The volume on it, as soon as there is one.
        volume: Option<VolumeName>,
    },
    /// A copy of its files.
    Copy {
        /// The folder that holds them.
        folder: PathBuf,
        /// The file that keeps it for what is mounted for everybody.
        kept: Option<PathBuf>,
    },
}

/// A target of a project.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Holder {
    pub(super) target: String,
    pub(super) project: PathBuf,
}

impl Entry {
    /// An entry for `image` of which nothing is there yet.
    pub(super) fn new(image: &Path, letter: Option<Letter>, read_only: bool, holder: Option<Holder>) -> Self {
        Self {
            image: image.to_owned(),
            letter,
            carrier: None,
            read_only,
            holders: holder.into_iter().collect(),
            process: process::id(),
            logon: Logon::current().ok(),
            order: 0,
            complete: false,
        }
    }

    /// Where it is shown.
    pub(super) fn folder(&self) -> PathBuf {
        match (self.letter, &self.carrier) {
            (Some(letter), _) => letter.root().into(),
            (None, Some(Carrier::Copy { folder, .. })) => folder.clone(),
            (None, _) => PathBuf::new(),
        }
    }

    /// The holders, in words.
    pub(super) fn describe_holders(&self) -> String {
        let describe =
            |Holder { target, project }: &Holder| format!("target {target} of {}", project.display());
        let targets: Vec<String> = self.holders.iter().map(describe).collect();
        if targets.is_empty() { format!("a run (process {})", self.process) } else { targets.join(" and ") }
    }

    /// Whether what was mounted for everybody is still there. Disks and letters do not survive a restart of the system.
    fn is_shown(&self) -> bool {
        match &self.carrier {
            Some(Carrier::Disk { volume: Some(volume), .. }) => self.has_letter(volume),
            Some(Carrier::Copy { folder, .. }) => {
                self.is_elsewhere()
                    || folder.is_dir() && self.letter.is_none_or(|letter| letter.is_defined_as(folder))
            }
            _ => false,
        }
    }

    /// Whether its letter leads to the volume: for this process, or for who manages the mounts of all sessions, as this one may have
    /// another drive of that letter.
    fn has_letter(&self, volume: &VolumeName) -> bool {
        let leads_there =
            |letter| volumes::at(letter).as_ref() == Some(volume) || volume.is_at(letter).unwrap_or(false);
        self.letter.is_some_and(leads_there)
    }

    /// Its letter is seen in another logon session only, as that of an administrator, or of one who is none here.
    fn is_elsewhere(&self) -> bool {
        let is_other =
            |logon: Logon| !Logon::current().is_ok_and(|current| current == logon) && logon.goes_on();
        let has_session_letter = self.letter.is_some() && matches!(self.carrier, Some(Carrier::Copy { .. }));
        has_session_letter && self.logon.is_some_and(is_other)
    }

    /// Takes away all that the entry names. `disk` is the handle of its disk, where this process has one.
    ///
    /// # Errors
    /// The first thing that could not be taken away; the others are.
    fn take_down(&self, disk: Option<Disk>, patience: Duration) -> io::Result<()> {
        match &self.carrier {
            None => Ok(()),
            Some(Carrier::Copy { .. }) if self.is_elsewhere() => Err(io::Error::other(
                "it was mounted in another logon session: unmount it there, as administrator or not, as it was mounted",
            )),
            Some(Carrier::Copy { folder, kept }) => {
                self.letter.map_or(Ok(()), |letter| letter.undefine(folder))?;
                kept.as_deref().filter(|kept| copies::is_kept_file(kept)).map_or(Ok(()), remove_if_there)
            }
            Some(Carrier::Disk { child, .. }) if !is_layer(child) => {
                Err(io::Error::other(format!("{} is no layer of gonto", child.display())))
            }
            Some(Carrier::Disk { child, volume }) => {
                let freed = match (self.letter, volume) {
                    (Some(letter), Some(volume)) if self.has_letter(volume) => volumes::free(letter),
                    _ => Ok(()),
                };
                let disk = disk.map_or_else(|| Disk::open_attached(child, Format::of(child)), Ok);
                // Most often it is not attached any more. If it is, its file cannot be removed, and that tells.
                let detached = disk.and_then(|disk| disk.detach());
                let removed = remove_when_free(child, patience);
                freed.and(match (detached, removed) {
                    (_, Ok(())) => Ok(()),
                    (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(error),
                })
            }
        }
    }
}

/// A guard against a damaged entry: only files that gonto makes itself are removed.
fn is_layer(file: &Path) -> bool {
    let mut above = file.ancestors().skip(1).map(|folder| folder.file_name().unwrap_or_default());
    let plain = !file.components().any(|part| part == Component::ParentDir);
    plain
        && above.next().is_some_and(|name| name == "layers")
        && above.next().is_some_and(|name| name == ".gonto")
}

/// Removes a file that may be in use a moment longer.
fn remove_when_free(file: &Path, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match fs::remove_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(error) => {
                tracing::debug!(file = %file.display(), %error, "still in use");
                thread::sleep(TICK);
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// An entry of this gonto. Dropped without [`end`](Self::end), it stays, and the next sweep takes it down.
#[derive(Debug)]
pub(super) struct Claim {
    register: Register,
    /// The file, without its ending.
    path: PathBuf,
    pub(super) entry: Entry,
    /// The disk that the entry names, once it is open.
    pub(super) disk: Option<Disk>,
    /// Keeps the identity of the disk from others.
    pub(super) slot: Option<File>,
    _lock: File,
}

impl Claim {
    /// A name that no other claim has.
    pub(super) fn id(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Records what `change` does to the entry, before that is done to the system.
    pub(super) fn record(&mut self, change: impl FnOnce(&mut Entry)) -> Result<(), Error> {
        change(&mut self.entry);
        // A file that somebody reads cannot be replaced.
        let _locked = self.register.lock_for_cleanup()?;
        write(&self.path, &self.entry)
    }

    /// Chooses another letter, as somebody has taken the one that was chosen; none when all are taken.
    pub(super) fn change_letter(&mut self) -> Result<(), Error> {
        let register = self.register.clone();
        let locked = register.lock_for_cleanup()?;
        // The letter of this entry is among theirs.
        self.entry.letter = locked.choose_letter(&locked.entries()?, &MountPoint::Automatic)?;
        write(&self.path, &self.entry)
    }

    /// The file of the entry.
    pub(super) fn file(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    /// Takes down what the entry names; it stays for what comes instead.
    ///
    /// # Errors
    /// [`Error::Unmount`]: the next sweep tries again.
    pub(super) fn take_down(&mut self) -> Result<(), Error> {
        self.entry.take_down(self.disk.take(), PATIENCE).map_err(|source| unmount(&self.entry, source))?;
        self.slot = None;
        self.record(|entry| entry.carrier = None)
    }

    /// Takes down what the entry names, and forgets it.
    ///
    /// # Errors
    /// As [`take_down`](Self::take_down).
    pub(super) fn end(mut self) -> Result<(), Error> {
        self.take_down()?;
        let Self { register, path, .. } = self;
        let _locked = register.lock_for_cleanup()?;
        forget(&path).map_err(|source| Error::State { path, source })
    }
}

fn unmount(entry: &Entry, source: io::Error) -> Error {
    let source = match entry.carrier {
        Some(Carrier::Disk { .. }) => explain_rights(source),
        _ => source,
    };
    Error::Unmount { path: entry.folder(), users: String::new(), source }
}

impl Register {
    /// Opens the register, and makes it when it is missing.
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        let folder = options.state_dir.join("register");
        fs::create_dir_all(&folder).map_err(|source| Error::State { path: folder.clone(), source })?;
        Ok(Self { folder, notices: options.notices.clone(), interrupt: options.interrupt.clone() })
    }

    /// Keeps every other gonto of this user from reading or changing it.
    pub(super) fn lock(&self) -> Result<Locked<'_>, Error> {
        let path = self.folder.join("lock");
        let waiting = || self.notices.send(Notice::Waiting { activity: "mounts or unmounts" });
        match lock::exclusive(&path, &self.interrupt, waiting) {
            Ok(lock) => Ok(Locked { register: self, _lock: lock }),
            Err(source) => Err(Error::State { path, source }),
        }
    }
}

impl Register {
    /// The same for those who have to go on, whatever is typed.
    fn lock_for_cleanup(&self) -> Result<Locked<'_>, Error> {
        let path = self.folder.join("lock");
        match lock::exclusive_within(&path, CLEAN_UP) {
            Ok(lock) => Ok(Locked { register: self, _lock: lock }),
            Err(source) => Err(Error::State { path, source }),
        }
    }
}

/// The register, locked against every other gonto of this user.
pub(super) struct Locked<'r> {
    register: &'r Register,
    _lock: File,
}

/// An entry and where it is.
pub(super) struct Found {
    /// The file, without its ending.
    pub(super) path: PathBuf,
    pub(super) entry: Entry,
}

impl Found {
    /// The gonto that has made it lives.
    fn is_held(&self) -> bool {
        lock::is_held(&self.path.with_extension("lock"))
    }

    fn is_alive(&self) -> bool {
        self.is_held() || (!self.entry.holders.is_empty() && self.entry.complete && self.entry.is_shown())
    }
}

impl Locked<'_> {
    /// All entries, in the order in which they were made.
    pub(super) fn entries(&self) -> Result<Vec<Found>, Error> {
        let folder = &self.register.folder;
        let failed = |source| Error::State { path: folder.clone(), source };
        let mut found = Vec::new();
        for file in fs::read_dir(folder).map_err(failed)? {
            let file = file.map_err(failed)?.path();
            if file.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let text = fs::read(&file).map_err(|source| Error::State { path: file.clone(), source })?;
            match serde_json::from_slice(&text) {
                Ok(entry) => found.push(Found { path: file.with_extension(""), entry }),
                Err(error) if error.is_data() => {
                    tracing::debug!(entry = %file.display(), %error, "of another version; left alone");
                }
                // Entries appear as a whole, so a power failure has eaten this one.
                Err(error) => {
                    tracing::debug!(entry = %file.display(), %error, "damaged; removed");
                    if let Err(error) = forget(&file.with_extension("")) {
                        tracing::debug!(%error, "it stays");
                    }
                }
            }
        }
        found.sort_by_key(|Found { entry, .. }| entry.order);
        Ok(found)
    }

    /// Takes down what dead entries name, and returns those that live.
    pub(super) fn sweep(&self) -> Result<Vec<Found>, Error> {
        self.remove_unfinished()?;
        let (alive, dead): (Vec<_>, Vec<_>) = self.entries()?.into_iter().partition(Found::is_alive);
        for Found { path, entry } in dead.into_iter().rev() {
            let taken_down = entry.take_down(None, PATIENCE_WITH_THE_DEAD).and_then(|()| forget(&path));
            match taken_down {
                Ok(()) if entry.carrier.is_some() => {
                    self.register.notices.send(Notice::TidiedUp { mount_point: entry.folder() });
                }
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(folder = %entry.folder().display(), %error, "left for the next time");
                }
            }
        }
        Ok(alive)
    }

    /// Locks for which a killed gonto has not written the entry, and entries that it had not finished.
    fn remove_unfinished(&self) -> Result<(), Error> {
        let folder = &self.register.folder;
        let failed = |source| Error::State { path: folder.clone(), source };
        for file in fs::read_dir(folder).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            let has_ending = |wanted: &str| path.extension().is_some_and(|ending| ending == wanted);
            let is_alone = has_ending("lock") && !path.with_extension("json").exists();
            // Whoever writes one has locked the register.
            if (has_ending("new") || is_alone && !lock::is_held(&path))
                && let Err(error) = remove_if_there(&path)
            {
                tracing::debug!(path = %path.display(), %error, "left for the next time");
            }
        }
        Ok(())
    }

    /// The letter for an image: the one that was asked for, or any that is free; none when all are taken.
    ///
    /// # Errors
    /// When the one that was asked for is another entry's: whose. Whether the system has it is not asked.
    pub(super) fn choose_letter(
        &self,
        alive: &[Found],
        wanted: &MountPoint,
    ) -> Result<Option<Letter>, Error> {
        let entry_at = |letter| alive.iter().map(|found| &found.entry).find(|it| it.letter == Some(letter));
        let letter = match wanted {
            MountPoint::Automatic => {
                return Ok(Letter::all().find(|it| entry_at(*it).is_none() && it.user().is_none()));
            }
            MountPoint::Drive(letter) => Letter::try_from(*letter).ok(),
            MountPoint::Path(_) => None,
        };
        let Some(letter) = letter else {
            return Err(Error::MountPointSyntax { text: format!("{wanted:?}") });
        };
        if let Some(entry) = entry_at(letter) {
            let (path, image) = (letter.root().into(), entry.image.clone());
            return Err(Error::MountPointTaken { path, image, holder: entry.describe_holders() });
        }
        Ok(Some(letter))
    }

    /// Records that this gonto is about to show something.
    pub(super) fn claim(&self, mut entry: Entry) -> Result<Claim, Error> {
        let folder = &self.register.folder;
        let failed = |source| Error::State { path: folder.clone(), source };
        let last = self.entries()?.iter().map(|Found { entry, .. }| entry.order).max();
        entry.order = last.map_or(0, |last| last.saturating_add(1));
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(|error| failed(error.into()))?;
        let path = folder.join(id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let lock = File::create_new(path.with_extension("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        write(&path, &entry)?;
        Ok(Claim { register: self.register.clone(), path, entry, disk: None, slot: None, _lock: lock })
    }

    /// Adds a holder to what is shown for everybody.
    pub(super) fn add_holder(&self, found: &mut Found, holder: Holder) -> Result<(), Error> {
        if found.entry.holders.contains(&holder) {
            return Ok(());
        }
        found.entry.holders.push(holder);
        write(&found.path, &found.entry)
    }

    /// Takes a holder away, and with the last one what was shown.
    pub(super) fn remove_holder(&self, mut found: Found, holder: &Holder) -> Result<(), Error> {
        found.entry.holders.retain(|known| known != holder);
        if !found.entry.holders.is_empty() {
            return write(&found.path, &found.entry);
        }
        found.entry.take_down(None, PATIENCE).map_err(|source| unmount(&found.entry, source))?;
        forget(&found.path).map_err(|source| Error::State { path: found.path, source })
    }
}

/// The entry appears, or changes, as a whole. Whoever calls it has locked the register.
fn write(path: &Path, entry: &Entry) -> Result<(), Error> {
    let (new, file) = (path.with_extension("new"), path.with_extension("json"));
    let written = || {
        let mut output = File::create(&new)?;
        output.write_all(&serde_json::to_vec(entry)?)?;
        output.sync_all()?;
        drop(output);
        patiently(|| fs::rename(&new, &file))
    };
    written().map_err(|source| Error::State { path: file.clone(), source })
}

/// First the entry: a lock without one says nothing.
fn forget(path: &Path) -> io::Result<()> {
    ["json", "lock"].iter().try_for_each(|ending| remove_if_there(&path.with_extension(ending)))
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match patiently(|| fs::remove_file(file)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Does something to a file that a virus scanner may have open for a moment.
fn patiently(mut action: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    const BUSY: [u32; 3] = [ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION];
    let deadline = Instant::now() + SCAN;
    loop {
        match action() {
            Err(error)
                if Instant::now() < deadline
                    && BUSY.iter().any(|code| error.raw_os_error() == Some(code.cast_signed())) =>
            {
                thread::sleep(TICK);
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_files_are_removed() {
        assert!(is_layer(Path::new(r"D:\cache\.gonto\layers\jdk_v21-abc.vhd")));
        for bad in [
            r"D:\cache\jdk\jdk_v21_win64.vhd",
            r"D:\cache\.gonto\layers",
            r"D:\cache\.gonto\layers\..\..\jdk\jdk.vhd",
            r"layers\x.vhd",
            "",
        ] {
            assert!(!is_layer(Path::new(bad)), "{bad}");
        }
    }

    fn register() -> (tempfile::TempDir, Register) {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            state_dir: folder.path().join("state"),
            cache_dir: folder.path().join("cache"),
            backend: crate::Backend::Auto,
            layer: crate::Layer::Cache,
            notices: Notices::new(drop),
            interrupt: Interrupt::new().unwrap(),
        };
        let register = Register::open(&options).unwrap();
        (folder, register)
    }

    fn files(register: &Register) -> Vec<String> {
        let entries = fs::read_dir(&register.folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_claim_lives_as_long_as_its_owner() {
        let (_folder, register) = register();
        let letter = Letter::try_from('U').unwrap();
        let locked = register.lock().unwrap();
        let claim = locked.claim(Entry::new(Path::new("a.vhd"), Some(letter), false, None)).unwrap();
        let alive = locked.sweep().unwrap();
        assert_eq!(alive.len(), 1);
        let error = locked.choose_letter(&alive, &MountPoint::Drive('U')).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("a.vhd") && text.contains(&format!("process {}", process::id())), "{text}");
        let other = locked.choose_letter(&alive, &MountPoint::Automatic).unwrap();
        assert_ne!(other, Some(letter));
        // As when it is killed: the system frees the lock, and the entry stays.
        drop(claim);
        assert!(locked.sweep().unwrap().is_empty());
        assert_eq!(locked.choose_letter(&[], &MountPoint::Drive('U')).unwrap(), Some(letter));
        assert_eq!(files(&register), ["lock"]);
    }

    #[test]
    fn what_ends_is_forgotten() {
        let (_folder, register) = register();
        let locked = register.lock().unwrap();
        let claim = locked.claim(Entry::new(Path::new("a.vhd"), None, false, None)).unwrap();
        drop(locked);
        assert_eq!(files(&register).len(), 3);
        claim.end().unwrap();
        assert_eq!(files(&register), ["lock"]);
    }

    #[test]
    fn damaged_entries_and_lonely_locks_are_removed_and_foreign_ones_stay() {
        let (_folder, register) = register();
        fs::write(register.folder.join(".tmpA.json"), "").unwrap();
        fs::write(register.folder.join(".tmpA.lock"), "").unwrap();
        fs::write(register.folder.join(".tmpB.lock"), "").unwrap();
        fs::write(register.folder.join(".tmpC.json"), r#"{"version": 99}"#).unwrap();
        assert!(register.lock().unwrap().sweep().unwrap().is_empty());
        assert_eq!(files(&register), [".tmpC.json", "lock"]);
    }

    /// A damaged entry must not make gonto remove an image.
    #[test]
    fn an_entry_that_names_a_foreign_file_removes_nothing() {
        let (folder, register) = register();
        let precious = folder.path().join("precious.vhd");
        fs::write(&precious, "precious").unwrap();
        let claim = register.lock().unwrap().claim(Entry::new(Path::new("a.vhd"), None, false, None));
        let mut claim = claim.unwrap();
        claim
            .record(|entry| entry.carrier = Some(Carrier::Disk { child: precious.clone(), volume: None }))
            .unwrap();
        drop(claim);
        assert!(register.lock().unwrap().sweep().unwrap().is_empty());
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
