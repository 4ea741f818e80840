//! What gonto has put into the file system, and who still needs it.
//!
//! ```text
//! <state>/register/
//!   lock              held (flock) by whoever reads or changes the entries, for moments only
//!   run-XXXXXX.json   a run uses a mount point; the run holds a flock on the file as long as it lives
//!   mount-XXXXXX.json an image mounted for everybody; lives until it is unmounted, its server ends or the system restarts
//!   mount-XXXXXX.lock its server holds a flock on this file as long as it lives
//! ```
//!
//! Who lives is told by locks, not by process numbers: those mean nothing in another PID namespace, and a script may well
//! call gonto again inside its run.
//!
//! An entry is written before the first thing that it names is made, so that whatever a killed gonto leaves behind is
//! known. [`Locked::sweep`] removes what dead entries name; it runs when gonto starts and when an entry ends.
//!
//! The folder belongs to one user, and nobody else may look into it: what it says is removed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::folders::{self, make_folders, missing_folders};
use super::stack::{InUse, Layer};
use super::stored_path::StoredPath;
use crate::lock;
use crate::{Error, Interrupt, Notice, Notices, Options};

const RUN: &str = "run-";
const MOUNT: &str = "mount-";

/// An entry before it has its name.
const UNFINISHED: &str = ".new-";

/// How long cleaning up waits for others. What is not cleaned up then, the next gonto removes.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// A server ends as soon as the kernel has let go of its mount. A run that is going on may have a copy of it.
const SERVER_END: Duration = Duration::from_secs(2);

/// The folder of entries.
#[derive(Clone, Debug)]
pub(super) struct Register {
    folder: PathBuf,
    notices: Notices,
    interrupt: Interrupt,
}

/// One use of a mount point.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Entry {
    pub(super) mount_point: StoredPath,
    pub(super) image: StoredPath,
    /// Folders that were missing and have been made, outermost first. Removed when empty and nobody uses them.
    pub(super) made: Vec<StoredPath>,
    /// Folders of our own that are removed with all they hold.
    pub(super) scratch: Vec<StoredPath>,
    /// Set for what is mounted for everybody.
    pub(super) mounted: Option<Mounted>,
}

/// How an image is mounted for everybody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Mounted {
    /// What the mount is good for: targets and their folders. It is unmounted when the last one has gone.
    pub(super) holders: Vec<Holder>,
    /// Where something is mounted, in the order in which it was.
    pub(super) stack: Vec<Layer>,
    /// The file on which the FUSE server (before it starts: the gonto that mounts) holds a flock. None when nothing
    /// needs to run.
    pub(super) server_lock: Option<StoredPath>,
    /// Mounts are taken away in reverse order, as one may lie inside another.
    pub(super) order: u64,
    /// The most that its layer holds, if there is such a limit. Entries of older versions know none.
    #[serde(default)]
    pub(super) limit: Option<NonZeroU64>,
    /// Nothing can be written to it. Entries of older versions do not know.
    #[serde(default)]
    pub(super) read_only: bool,
    /// The files do not survive a restart of the system.
    pub(super) boot_id: String,
    /// The mount namespace in which it was mounted, and only from which it can be unmounted.
    pub(super) namespace: String,
    /// All of it is there. The register is locked while a mount is being made, so whoever finds an entry for one that
    /// is not complete knows that its gonto was killed, whether or not a server runs already.
    pub(super) complete: bool,
}

impl Mounted {
    /// Waits until the server of what was unmounted has ended: it keeps the folder of the mount point.
    pub(super) fn wait_for_server(&self) {
        let deadline = Instant::now() + SERVER_END;
        while let Some(lock) = &self.server_lock
            && lock::is_held(lock)
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Who needs a mount.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) enum Holder {
    /// `gonto mount`, until `gonto umount`.
    Target { name: String, folder: StoredPath },
    /// A run that has no namespace of its own, known by its entry in the register.
    Run { claim: StoredPath },
}

impl Holder {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Target { name, folder } => format!("target {name} of {}", folder.display()),
            Self::Run { .. } => "another run".to_owned(),
        }
    }

    fn is_alive(&self) -> bool {
        match self {
            Self::Target { .. } => true,
            Self::Run { claim } => lock::is_held(claim),
        }
    }
}

/// A mount point in use by this run; given back when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    register: Register,
    path: PathBuf,
    /// Keeps the flock on the entry.
    file: File,
    /// Keeps the folder of the mount point.
    held: Option<File>,
}

/// The register, locked against every other gonto of this user.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    register: &'a Register,
    _lock: File,
}

impl Register {
    /// Opens the register and tidies up.
    ///
    /// # Errors
    /// [`Error::State`] when the folder cannot be made, or is in other hands.
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        let folder = options.state_dir.join("register");
        own_folder(&folder).map_err(|source| Error::State { path: folder.clone(), source })?;
        let register =
            Self { folder, notices: options.notices.clone(), interrupt: options.interrupt.clone() };
        for mount_point in register.lock()?.sweep()? {
            register.notices.send(Notice::TidiedUp { mount_point });
        }
        Ok(register)
    }

    fn error(path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::State { path: path.to_owned(), source }
    }

    /// Locks the register. Others hold it for moments, or as long as they unpack an image for everybody.
    pub(super) fn lock(&self) -> Result<Locked<'_>, Error> {
        let path = self.folder.join("lock");
        let waiting = || self.notices.send(Notice::Waiting { activity: "mounts or unmounts" });
        let lock = lock::exclusive(&path, &self.interrupt, waiting).map_err(Self::error(&path))?;
        Ok(Locked { register: self, _lock: lock })
    }

    /// Locks the register although the run is interrupted.
    pub(super) fn lock_to_clean_up(&self) -> Result<Locked<'_>, Error> {
        let path = self.folder.join("lock");
        let lock = lock::exclusive_within(&path, CLEAN_UP).map_err(Self::error(&path))?;
        Ok(Locked { register: self, _lock: lock })
    }

    /// Makes sure that the folder of a mount point exists, and says to all others that a run uses it. `scratch` are the
    /// folders that the run is about to make; they are removed with its claim.
    pub(super) fn claim(
        &self,
        mount_point: &Path,
        image: &Path,
        scratch: Vec<StoredPath>,
    ) -> Result<Claim, Error> {
        let locked = self.lock()?;
        let made = missing_folders(mount_point)?;
        let entry = Entry {
            mount_point: mount_point.into(),
            image: image.into(),
            made: made.iter().map(|folder| StoredPath::from(&**folder)).collect(),
            scratch,
            mounted: None,
        };
        let (path, file) = locked.add(RUN, &entry)?;
        file.lock().map_err(Self::error(&path))?;
        let mut claim = Claim { register: self.clone(), path, file, held: None };
        let held = make_folders(&made, mount_point).and_then(|()| {
            folders::hold(mount_point)
                .map_err(|source| Error::MountPointMissing { path: mount_point.to_owned(), source })
        });
        // The lock must be free before the claim may drop.
        drop(locked);
        claim.held = held?;
        Ok(claim)
    }
}

/// A folder that only its owner can use. What is written in it is believed, so it must not be somebody else's.
fn own_folder(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if ours && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "it belongs to somebody else, or others may write to it",
    ))
}

impl Claim {
    /// The entry's file, by which others recognise this run.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing would free the locks as well, but only when no process that is just being cloned has a copy of the files.
        if let Some(Err(error)) = self.held.take().map(|held| held.unlock()) {
            tracing::debug!(%error, "the mount point's folder stays locked");
        }
        let released = self.file.unlock().map_err(Register::error(&self.register.folder));
        let swept =
            released.and_then(|()| self.register.lock_to_clean_up()).and_then(|locked| locked.sweep());
        if let Err(error) = swept {
            tracing::debug!(%error, "cannot tidy up; the next gonto will");
        }
    }
}

impl Locked<'_> {
    /// Writes a new entry and returns its open file.
    fn add(&self, prefix: &str, entry: &Entry) -> Result<(PathBuf, File), Error> {
        let write = || {
            let new = self.write(entry)?;
            let name =
                new.path().file_name().unwrap_or_default().to_string_lossy().replace(UNFINISHED, prefix);
            let path = self.register.folder.join(name).with_extension("json");
            let file = new.persist_noclobber(&path).map_err(|error| error.error)?;
            Ok((path, file))
        };
        write().map_err(Register::error(&self.register.folder))
    }

    /// Writes a new entry for an image that is mounted for everybody.
    pub(super) fn add_mount(&self, entry: &Entry) -> Result<PathBuf, Error> {
        self.add(MOUNT, entry).map(|(path, _)| path)
    }

    /// Replaces an entry in one step. Not for the entry of a living run, which holds a lock on the file.
    pub(super) fn rewrite(&self, path: &Path, entry: &Entry) -> Result<(), Error> {
        let write = || self.write(entry)?.persist(path).map_err(|error| error.error);
        write().map(drop).map_err(Register::error(path))
    }

    fn write(&self, entry: &Entry) -> io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.register.folder)?;
        file.write_all(&serde_json::to_vec_pretty(entry)?)?;
        Ok(file)
    }

    /// A new file, locked, for [`Mounted::server_lock`]. Who has a copy of the descriptor holds the lock.
    pub(super) fn new_server_lock(&self) -> Result<(PathBuf, File), Error> {
        let create = || {
            let (file, path) = tempfile::Builder::new()
                .prefix(MOUNT)
                .suffix(".lock")
                .tempfile_in(&self.register.folder)?
                .keep()?;
            file.lock()?;
            Ok((path, file))
        };
        create().map_err(Register::error(&self.register.folder))
    }

    /// All images that are mounted for everybody, with their files, in the order in which they were mounted.
    pub(super) fn mounts(&self) -> Result<Vec<(PathBuf, Entry, Mounted)>, Error> {
        let living = self.read()?.into_iter().filter(|known| known.alive);
        let mut mounts: Vec<_> = living
            .filter_map(|Known { path, entry, .. }| {
                let mounted = entry.mounted.clone()?;
                Some((path, entry, mounted))
            })
            .collect();
        mounts.sort_by_key(|(_, _, mounted)| mounted.order);
        Ok(mounts)
    }

    /// Every entry that can be read. What cannot is left alone: it may belong to another version of gonto.
    fn read(&self) -> Result<Vec<Known>, Error> {
        let failed = |source| Error::State { path: self.register.folder.clone(), source };
        let mut all = Vec::new();
        for file in fs::read_dir(&self.register.folder).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) {
                // Of a gonto that was killed before anything that it names was made: we have the lock.
                fs::remove_file(&path).map_err(failed)?;
            } else if name.ends_with(".json") {
                match Known::read(&path) {
                    Ok(known) => all.push(known),
                    // Not even JSON: no version of gonto can make anything of it.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        fs::remove_file(&path).map_err(failed)?;
                    }
                    Err(error) => {
                        tracing::debug!(path = %path.display(), %error, "not understood, left alone");
                    }
                }
            }
        }
        Ok(all)
    }

    /// Removes what dead runs, dead servers and a restart have left behind. Returns the mount points that were freed.
    pub(super) fn sweep(&self) -> Result<Vec<PathBuf>, Error> {
        let (live, mut dead): (Vec<_>, Vec<_>) = self.read()?.into_iter().partition(|known| known.alive);
        let mut freed = Vec::new();
        let before: Vec<Entry> = dead.iter().map(|known| known.entry.clone()).collect();
        for Known { entry, .. } in &mut dead {
            if let Some(mounted) = &entry.mounted
                && is_taken_away(mounted)
            {
                mounted.wait_for_server();
                freed.push(entry.mount_point.to_path_buf());
                entry.mounted = None;
            }
            entry.scratch.retain(|folder| is_scratch(folder) && !folders::remove_tree(folder));
        }
        remove_made_folders(&mut dead, &live);
        for (Known { path, entry, .. }, before) in dead.iter().zip(&before) {
            // What is still in use, the next sweep finds in this entry.
            if entry.made.is_empty() && entry.scratch.is_empty() && entry.mounted.is_none() {
                fs::remove_file(path).map_err(Register::error(path))?;
            } else if entry != before {
                self.rewrite(path, entry)?;
            }
        }
        self.remove_stale_locks(&live)?;
        Ok(freed)
    }

    /// The locks of dead servers, and those for which a killed gonto has not written the entry.
    fn remove_stale_locks(&self, live: &[Known]) -> Result<(), Error> {
        let failed = |source| Error::State { path: self.register.folder.clone(), source };
        for file in fs::read_dir(&self.register.folder).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut used =
                live.iter().filter_map(|known| known.entry.mounted.as_ref()?.server_lock.as_deref());
            let is_lock = name.starts_with(MOUNT) && name.ends_with(".lock");
            if is_lock && !used.any(|lock| *lock == path) && !lock::is_held(&path) {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Unmounts what is left of a dead mount; false when something stays.
fn is_taken_away(mounted: &Mounted) -> bool {
    for layer in mounted.stack.iter().rev() {
        if let Err(error) = layer.take_away(InUse::Detach) {
            tracing::debug!(?layer, %error, "not unmounted");
        }
    }
    !mounted.stack.iter().any(Layer::is_there)
}

/// A guard against a damaged entry: only folders that gonto makes itself are removed with all they hold.
fn is_scratch(folder: &Path) -> bool {
    let mut above = folder.ancestors().skip(1).map(|folder| folder.file_name().unwrap_or_default());
    let plain = !folder.components().any(|part| part == std::path::Component::ParentDir);
    match (above.next(), above.next()) {
        (Some(layers), Some(gonto)) if layers == "layers" => plain && gonto == ".gonto",
        (Some(lower), _) => plain && lower == "lower",
        _ => false,
    }
}

/// Innermost first, of all dead entries together: a folder that one has made may hold the folders of another. Those that are
/// in use stay in their entries.
fn remove_made_folders(dead: &mut [Known], live: &[Known]) {
    let mut folders: Vec<StoredPath> =
        dead.iter().flat_map(|known| known.entry.made.iter().cloned()).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    let is_used = |folder: &Path| live.iter().any(|known| known.entry.mount_point.starts_with(folder));
    folders.retain(|folder| is_used(folder) || !folders::remove_unless_held(folder));
    for known in dead {
        known.entry.made.retain(|folder| folders.contains(folder));
    }
}

/// An entry as it was found.
struct Known {
    path: PathBuf,
    entry: Entry,
    alive: bool,
}

impl Known {
    fn read(path: &Path) -> io::Result<Self> {
        let value: serde_json::Value = serde_json::from_slice(&fs::read(path)?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut entry: Entry = serde_json::from_value(value).map_err(io::Error::other)?;
        let alive = match &mut entry.mounted {
            None => lock::is_held(path),
            Some(mounted) => {
                mounted.holders.retain(Holder::is_alive);
                mounted.complete
                    && mounted.boot_id == boot_id()
                    && !mounted.holders.is_empty()
                    && mounted.server_lock.as_ref().is_none_or(|lock| lock::is_held(lock))
            }
        };
        Ok(Self { path: path.to_owned(), entry, alive })
    }
}

/// Differs after each start of the system.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// Names the mount namespace of this process.
pub(super) fn mount_namespace() -> String {
    fs::read_link("/proc/self/ns/mnt").map_or_else(|_| String::new(), |link| link.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_folders_are_removed_with_all_they_hold() {
        assert!(is_scratch(Path::new("/cache/.gonto/layers/12-34")));
        assert!(is_scratch(Path::new("/state/lower/12-34")));
        for bad in
            ["/", "/home", "/home/me/layers/x", "/cache/.gonto/layers/../../x", "/lower", "/a/.gonto/layers"]
        {
            assert!(!is_scratch(Path::new(bad)), "{bad}");
        }
    }

    #[test]
    fn a_register_in_other_hands_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let register = folder.path().join("register");
        own_folder(&register).unwrap();
        own_folder(&register).unwrap();
        fs::set_permissions(&register, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(own_folder(&register).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
