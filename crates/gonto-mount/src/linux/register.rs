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
//! A folder that was made for a mount point must not be removed while another run has mounted there: the kernel takes
//! mounts away from every namespace when their folder goes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::folders::{make_folders, missing_folders, remove_tree};
use super::lock;
use crate::{Error, Interrupt, Notice, Notices, Options};

const RUN: &str = "run-";
const MOUNT: &str = "mount-";

/// How long cleaning up waits for others. What is not cleaned up then, the next gonto removes.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// The folder of entries.
#[derive(Clone, Debug)]
pub(super) struct Register {
    folder: PathBuf,
    notices: Notices,
    interrupt: Interrupt,
}

/// One use of a mount point.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Entry {
    pub(super) mount_point: PathBuf,
    pub(super) image: PathBuf,
    /// Folders that were missing and have been made, outermost first. Removed when empty and nobody uses them.
    pub(super) made: Vec<PathBuf>,
    /// Folders of our own that are removed with all they hold.
    pub(super) scratch: Vec<PathBuf>,
    /// Set for `mount-` entries only.
    pub(super) mounted: Option<Mounted>,
}

/// How an image is mounted for everybody.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Mounted {
    /// What the mount is good for: targets and their folders. It is unmounted when the last one has gone.
    pub(super) holders: Vec<Holder>,
    /// Where something is mounted, in the order in which it was.
    pub(super) stack: Vec<Layer>,
    /// The file on which the FUSE server (before it starts: the gonto that mounts) holds a flock. None when nothing
    /// needs to run.
    pub(super) server_lock: Option<PathBuf>,
    /// Mounts are taken away in reverse order, as one may lie inside another.
    pub(super) order: u64,
    /// The files do not survive a restart of the system.
    pub(super) boot_id: String,
    /// All of it is there. The register is locked while a mount is being made, so whoever finds an entry for one that
    /// is not complete knows that its gonto was killed, whether or not a server runs already.
    pub(super) complete: bool,
}

/// One element of a mount that has to be taken away again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) enum Layer {
    /// Mounted by mount(2).
    Kernel(PathBuf),
    /// Mounted by fusermount3.
    Fusermount(PathBuf),
    /// A symbolic link to unpacked files.
    Link(PathBuf),
}

/// Who needs a mount.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) enum Holder {
    /// `gonto mount`, until `gonto umount`.
    Target { name: String, folder: PathBuf },
    /// A run that has no namespace of its own, known by its entry in the register.
    Run { claim: PathBuf },
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
    /// Keeps the flock.
    file: File,
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
    /// [`Error::State`] when the folder cannot be made.
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        let folder = options.state_dir.join("register");
        fs::create_dir_all(&folder).map_err(|source| Error::State { path: folder.clone(), source })?;
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
        scratch: Vec<PathBuf>,
    ) -> Result<Claim, Error> {
        let locked = self.lock()?;
        let entry = Entry {
            mount_point: mount_point.to_owned(),
            image: image.to_owned(),
            made: missing_folders(mount_point)?,
            scratch,
            mounted: None,
        };
        let (path, file) = locked.add(RUN, &entry)?;
        file.lock().map_err(Self::error(&path))?;
        let claim = Claim { register: self.clone(), path, file };
        let made = make_folders(&entry.made, mount_point);
        // The lock must be free before the claim may drop.
        drop(locked);
        made.map(|()| claim)
    }
}

impl Claim {
    /// The entry's file, by which others recognise this run.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing would free it as well, but only after this function.
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
    pub(super) fn add(&self, prefix: &str, entry: &Entry) -> Result<(PathBuf, File), Error> {
        let failed = Register::error(&self.register.folder);
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.register.folder)?;
            file.write_all(&serde_json::to_vec_pretty(entry)?)?;
            let name = file.path().file_name().unwrap_or_default().to_string_lossy().replace(".new-", prefix);
            let path = self.register.folder.join(name).with_extension("json");
            let file = file.persist_noclobber(&path).map_err(|error| error.error)?;
            Ok((path, file))
        };
        write().map_err(failed)
    }

    /// Writes a new entry for an image that is mounted for everybody.
    pub(super) fn add_mount(&self, entry: &Entry) -> Result<PathBuf, Error> {
        self.add(MOUNT, entry).map(|(path, _)| path)
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

    /// Replaces an entry of [`add_mount`](Self::add_mount) in one step.
    pub(super) fn rewrite(&self, path: &Path, entry: &Entry) -> Result<(), Error> {
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.register.folder)?;
            file.write_all(&serde_json::to_vec_pretty(entry)?)?;
            file.persist(path).map_err(|error| error.error)
        };
        write().map(drop).map_err(Register::error(path))
    }

    /// All images that are mounted for everybody, with their files, in the order in which they were mounted.
    pub(super) fn mounts(&self) -> Result<Vec<(PathBuf, Entry)>, Error> {
        let mut mounts: Vec<_> = self.read()?.into_iter().map(|known| (known.path, known.entry)).collect();
        mounts.retain(|(_, entry)| entry.mounted.is_some());
        mounts.sort_by_key(|(_, entry)| entry.mounted.as_ref().map(|mounted| mounted.order));
        Ok(mounts)
    }

    /// Every entry that can be read.
    fn read(&self) -> Result<Vec<Known>, Error> {
        let failed = |source| Error::State { path: self.register.folder.clone(), source };
        let mut all = Vec::new();
        for file in fs::read_dir(&self.register.folder).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with("lock") {
                continue;
            }
            if let Some(known) = Known::read(&path, &name) {
                all.push(known);
            } else {
                // Half written by a gonto that was killed, before anything that it names was made.
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(all)
    }

    /// Removes what dead runs, dead servers and a restart have left behind. Returns the mount points that were freed.
    pub(super) fn sweep(&self) -> Result<Vec<PathBuf>, Error> {
        let (live, dead): (Vec<_>, Vec<_>) = self.read()?.into_iter().partition(|known| known.alive);
        let mut freed = Vec::new();
        for Known { entry, .. } in &dead {
            if let Some(mounted) = &entry.mounted {
                super::shared::force_unmount(mounted);
                freed.push(entry.mount_point.clone());
            }
            for folder in &entry.scratch {
                remove_tree(folder);
            }
        }
        self.remove_made_folders(&live, &dead);
        for Known { path, entry, .. } in &dead {
            // Who still uses a folder finds this entry when it ends.
            if !entry.made.iter().any(|folder| is_used(folder, &live)) {
                fs::remove_file(path).map_err(Register::error(path))?;
            }
        }
        self.remove_stale_locks(&live)?;
        Ok(freed)
    }

    /// Innermost first, of all dead entries together: a folder that one has made may hold the folders of another.
    fn remove_made_folders(&self, live: &[Known], dead: &[Known]) {
        let mut folders: Vec<&PathBuf> = dead.iter().flat_map(|known| &known.entry.made).collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
        for folder in folders {
            if !is_used(folder, live)
                && let Err(error) = fs::remove_dir(folder)
            {
                // Not empty: somebody put something there, and it is theirs now.
                tracing::debug!(folder = %folder.display(), %error, "left in place");
            }
        }
    }

    /// The locks of dead servers, and those for which a killed gonto has not written the entry.
    fn remove_stale_locks(&self, live: &[Known]) -> Result<(), Error> {
        let failed = |source| Error::State { path: self.register.folder.clone(), source };
        for file in fs::read_dir(&self.register.folder).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut used = live.iter().filter_map(|known| known.entry.mounted.as_ref()?.server_lock.as_ref());
            if name.starts_with(MOUNT) && name.ends_with(".lock") && !used.any(|lock| *lock == path) {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn is_used(folder: &Path, live: &[Known]) -> bool {
    live.iter().any(|known| known.entry.mount_point.starts_with(folder))
}

/// An entry as it was found.
struct Known {
    path: PathBuf,
    entry: Entry,
    alive: bool,
}

impl Known {
    fn read(path: &Path, name: &str) -> Option<Self> {
        let mut entry: Entry = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let alive = match &mut entry.mounted {
            None if name.starts_with(RUN) => lock::is_held(path),
            Some(mounted) if name.starts_with(MOUNT) => {
                mounted.holders.retain(Holder::is_alive);
                mounted.complete
                    && mounted.boot_id == boot_id()
                    && !mounted.holders.is_empty()
                    && mounted.server_lock.as_ref().is_none_or(|lock| lock::is_held(lock))
            }
            _ => return None,
        };
        Some(Self { path: path.to_owned(), entry, alive })
    }
}

/// Differs after each start of the system.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| String::new(), |id| id.trim().to_owned())
}
