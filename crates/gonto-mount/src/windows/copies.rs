//! Working copies of an image's files, for those who may not attach disks.
//!
//! ```text
//! <cache_dir>/.gonto/trees/<image>-<size>-<time>-<ends>/
//!   0/, 1/, …           copies to write to: each is used by one run at a time
//!   0.lock, 1.lock, …   held by the run that uses the copy, or puts it right
//!   0.kept, 1.kept, …   the copy is mounted until it is unmounted: the path of its entry in somebody's register
//!   read-only/          a copy to read, shared by all
//!   read-only.lock
//! ```
//!
//! A copy is unpacked once. Whoever uses it next finds it as the image has it: what was done to it since is undone before. So a
//! run that is killed, while unpacking or later, costs the next one no more than what is missing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use gonto_image::FileTree;

use super::lock;
use crate::image_file;
use crate::told::MOST_TOLD;
use crate::unpack::{LeftOut, Unpacking, restore};
use crate::{Notice, Options};

/// Nobody has the disk for more of them.
const MOST_COPIES: usize = 64;

const READ_ONLY: &str = "read-only";

/// A copy of an image's files that is this gonto's for now.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) folder: PathBuf,
    _lock: File,
}

impl Copy {
    /// A copy that nobody uses: an old one, or a folder for a new one.
    pub(super) fn acquire(image: &Path, options: &Options, read_only: bool) -> io::Result<Self> {
        let trees = options.cache_dir.join(".gonto").join("trees");
        let tree = trees.join(image_file::name_of_content(image)?);
        fs::create_dir_all(&tree)?;
        remove_outdated(image, &trees, &tree);
        if read_only {
            let waiting = || options.notices.send(Notice::Waiting { activity: "unpacks" });
            let lock = lock::exclusive(&lock_of(&tree, READ_ONLY), &options.interrupt, waiting)?;
            return Ok(Self { folder: tree.join(READ_ONLY), _lock: lock });
        }
        for number in 0..MOST_COPIES {
            let name = number.to_string();
            let folder = tree.join(&name);
            if let Some(lock) = lock::try_exclusive(&lock_of(&tree, &name))?
                && !is_kept(&folder)?
            {
                return Ok(Self { folder, _lock: lock });
            }
        }
        Err(io::Error::other(format!("{MOST_COPIES} runs have a copy of it already")))
    }

    /// Makes it what the image says. A copy to read is shared with others from then on.
    pub(super) fn put_right(
        self,
        image: &Path,
        tree: &FileTree,
        options: &Options,
        read_only: bool,
    ) -> io::Result<Self> {
        let left_out = AtomicUsize::new(0);
        let tell = |reason: String| {
            options.notices.send(Notice::Unreadable { image: image.to_owned(), reason });
        };
        let how = Unpacking {
            read_only,
            despite_damage: false,
            interrupt: &options.interrupt,
            left_out: &|LeftOut { path, why }| {
                if left_out.fetch_add(1, Ordering::Relaxed) < MOST_TOLD {
                    tell(format!("{}: {why}; the file is left out", path.display()));
                }
            },
            written: &|_| {},
        };
        restore(tree, &self.folder, &how)?;
        let left_out = left_out.into_inner();
        if left_out > MOST_TOLD {
            tell(format!("{} more files are left out", left_out - MOST_TOLD));
        }
        if read_only { self.share(options) } else { Ok(self) }
    }

    /// It stays in use when this gonto ends, as long as there is a file `entry`.
    pub(super) fn keep_for(&self, entry: &Path) -> io::Result<()> {
        fs::write(kept(&self.folder), entry.as_os_str().as_encoded_bytes())
    }

    fn share(self, options: &Options) -> io::Result<Self> {
        let Self { folder, _lock: exclusive } = self;
        drop(exclusive);
        // Whoever takes the lock in between finds everything right.
        let lock = lock::shared(&folder.with_extension("lock"), &options.interrupt, || ())?;
        Ok(Self { folder, _lock: lock })
    }
}

fn kept(copy: &Path) -> PathBuf {
    copy.with_extension("kept")
}

/// Whether the copy is mounted until it is unmounted, by whomever.
fn is_kept(copy: &Path) -> io::Result<bool> {
    let entry = match fs::read_to_string(kept(copy)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entry => entry?,
    };
    // What cannot be seen is somebody else's.
    let is_there = Path::new(&entry).try_exists().unwrap_or(true);
    if !is_there {
        free(copy)?;
    }
    Ok(is_there)
}

/// The copy is not mounted any more.
pub(super) fn free(copy: &Path) -> io::Result<()> {
    match fs::remove_file(kept(copy)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn lock_of(tree: &Path, name: &str) -> PathBuf {
    tree.join(name).with_extension("lock")
}

/// Removes copies of what the image was before, if nobody uses them. They may be as large as the image.
fn remove_outdated(image: &Path, trees: &Path, current: &Path) {
    let Some(prefix) = image.file_name().map(|name| format!("{}-", name.to_string_lossy())) else { return };
    for entry in fs::read_dir(trees).into_iter().flatten().flatten() {
        let tree = entry.path();
        if tree == current || !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        if let Err(error) = remove_unused(&tree) {
            tracing::debug!(tree = %tree.display(), %error, "stays");
        }
    }
}

fn remove_unused(tree: &Path) -> io::Result<()> {
    let mut locks = Vec::new();
    for entry in fs::read_dir(tree)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "lock") {
            let busy = || io::Error::from(io::ErrorKind::ResourceBusy);
            locks.push(lock::try_exclusive(&path)?.ok_or_else(busy)?);
        } else if is_kept(&path)? {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
    }
    fs::remove_dir_all(tree)
}
