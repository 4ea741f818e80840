//! Working copies of an image's files, for those who may not attach disks.
//!
//! ```text
//! <cache_dir>/.gonto/trees/<image>-<size>-<time>-<ends>/
//!   0/, 1/, …           copies to write to: each is used by one run at a time
//!   0.lock, 1.lock, …   held by the run that uses the copy, or puts it right
//!   0.ID.kept, …        the copy is mounted until it is unmounted: the path of an entry in somebody's register
//!   read-only/          a copy to read, shared by all
//!   read-only.lock      shared by those that read it; held alone by whoever puts it right
//!   read-only.right     it is as it should be
//! ```
//!
//! A copy is unpacked once. Whoever uses it next finds it as the image has it: what was done to it since is undone before. So a
//! run that is killed, while unpacking or later, costs the next one no more than what is missing. Where that fails, because somebody
//! else has a file of it open, say, the next copy is taken.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use gonto_image::FileTree;

use crate::image_file;
use crate::lock;
use crate::told::MOST_TOLD;
use crate::unpack::{LeftOut, Unpacking, restore};
use crate::{Notice, Options};

/// Nobody has the disk for more of them.
const MOST_COPIES: usize = 64;

const READ_ONLY: &str = "read-only";

/// The ending of files that keep copies.
const KEPT: &str = "kept";

/// A copy of an image's files that is this gonto's for now.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) folder: PathBuf,
    /// Of those to write to; they are tried in this order.
    pub(super) number: Option<usize>,
    /// Others read it at this moment, and have made sure.
    is_right: bool,
    _lock: File,
}

impl Copy {
    /// A copy that nobody uses: an old one, or a folder for a new one. Of those to write to, those before number `first` are
    /// passed over.
    pub(super) fn acquire(
        image: &Path,
        options: &Options,
        read_only: bool,
        first: usize,
    ) -> io::Result<Self> {
        let trees = trees(options);
        let tree = trees.join(image_file::name_of_content(image)?);
        fs::create_dir_all(&tree)?;
        remove_outdated(image, &trees, &tree);
        if read_only {
            return Self::acquire_to_read(&tree, options);
        }
        for number in first..MOST_COPIES {
            let name = number.to_string();
            let folder = tree.join(&name);
            match lock::try_exclusive(&lock_of(&tree, &name)) {
                Ok(Some(lock)) if !is_kept(&folder)? => {
                    return Ok(Self { folder, number: Some(number), is_right: false, _lock: lock });
                }
                // Somebody else's, in a cache that several users have.
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        Err(io::Error::other(format!("{MOST_COPIES} runs have a copy of it already")))
    }

    fn acquire_to_read(tree: &Path, options: &Options) -> io::Result<Self> {
        let (folder, lock) = (tree.join(READ_ONLY), lock_of(tree, READ_ONLY));
        loop {
            // What is mounted was made sure of then, and is read now.
            let is_mounted = right(&folder).exists() && is_kept(&folder)?;
            if !is_mounted && let Some(lock) = lock::try_exclusive(&lock)? {
                remove_if_there(&right(&folder))?;
                return Ok(Self { folder, number: None, is_right: false, _lock: lock });
            }
            let waiting = || options.notices.send(Notice::Waiting { activity: "unpacks" });
            let lock = lock::shared(&lock, &options.interrupt, waiting)?;
            // Whoever had it alone may have been killed.
            if right(&folder).exists() {
                return Ok(Self { folder, number: None, is_right: true, _lock: lock });
            }
            options.interrupt.check()?;
        }
    }

    /// Makes it what the image says. A copy to read is shared with others from then on.
    pub(super) fn put_right(
        self,
        image: &Path,
        tree: &FileTree,
        options: &Options,
        read_only: bool,
    ) -> io::Result<Self> {
        if self.is_right {
            return Ok(self);
        }
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
            durable: true,
        };
        restore(tree, &self.folder, &how)?;
        let left_out = left_out.into_inner();
        if left_out > MOST_TOLD {
            tell(format!("{} more files are left out", left_out - MOST_TOLD));
        }
        if read_only { self.share(options) } else { Ok(self) }
    }

    fn share(self, options: &Options) -> io::Result<Self> {
        let Self { folder, _lock: exclusive, .. } = self;
        File::create(right(&folder))?;
        drop(exclusive);
        let lock = lock::shared(&folder.with_extension("lock"), &options.interrupt, || ())?;
        // Whoever took the lock in between has found everything right, unless they were killed over it.
        if !right(&folder).exists() {
            return Err(io::Error::other("another gonto was killed while it unpacked: try again"));
        }
        Ok(Self { folder, number: None, is_right: true, _lock: lock })
    }

    /// The file that keeps it in use when this gonto ends, as long as there is a file `entry`.
    pub(super) fn kept_for(&self, entry: &Path) -> PathBuf {
        let id = entry.file_stem().unwrap_or_default().to_string_lossy();
        self.folder.with_extension(format!("{id}.{KEPT}"))
    }

    /// Writes that file.
    pub(super) fn keep_for(&self, entry: &Path) -> io::Result<()> {
        let mut kept = File::create(self.kept_for(entry))?;
        kept.write_all(entry.as_os_str().as_encoded_bytes())?;
        kept.sync_all()
    }
}

/// The copies of an image that nobody uses.
pub(super) fn unused(image: &Path, options: &Options) -> io::Result<Vec<Copy>> {
    let tree = trees(options).join(image_file::name_of_content(image)?);
    let mut copies = Vec::new();
    for entry in fs::read_dir(tree)? {
        let folder = entry?.path();
        if folder.is_dir()
            && let Some(lock) = lock::try_exclusive(&folder.with_extension("lock"))?
            && !is_kept(&folder)?
        {
            copies.push(Copy { folder, number: None, is_right: false, _lock: lock });
        }
    }
    Ok(copies)
}

fn trees(options: &Options) -> PathBuf {
    options.cache_dir.join(".gonto").join("trees")
}

/// Whether the copy is mounted until it is unmounted, by whomever.
fn is_kept(copy: &Path) -> io::Result<bool> {
    let prefix = format!("{}.", copy.file_name().unwrap_or_default().to_string_lossy());
    for file in fs::read_dir(copy.parent().unwrap_or(copy))? {
        let file = file?;
        let is_of_copy = file.file_name().to_string_lossy().starts_with(&prefix);
        if is_of_copy && is_kept_file(&file.path()) {
            if keeps(&file.path()) {
                return Ok(true);
            }
            remove_if_there(&file.path())?;
        }
    }
    Ok(false)
}

/// Whether the entry that it names is there. What cannot be read or seen is somebody else's; what was cut by a power failure
/// names nothing.
fn keeps(file: &Path) -> bool {
    match fs::read_to_string(file) {
        Ok(entry) => Path::new(&entry).is_absolute() && Path::new(&entry).try_exists().unwrap_or(true),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Whether it is a file that keeps a copy.
pub(super) fn is_kept_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == KEPT)
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn right(copy: &Path) -> PathBuf {
    copy.with_extension("right")
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

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use gonto_image::{ImageFile, NewContainer, NewImage};

    use super::*;
    use crate::{Backend, Interrupt, Layer, Notices};

    struct Bench {
        scratch: tempfile::TempDir,
        image: PathBuf,
        options: Options,
    }

    impl Bench {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let options = Options {
                state_dir: scratch.path().join("state"),
                cache_dir: scratch.path().join("cache"),
                backend: Backend::Extract,
                layer: Layer::Cache,
                notices: Notices::new(drop),
                interrupt: Interrupt::new().unwrap(),
            };
            let image = scratch.path().join("tool.vhd");
            let bench = Self { scratch, image, options };
            bench.make_image("first");
            bench
        }

        fn make_image(&self, text: &str) {
            let content = self.scratch.path().join("content");
            fs::create_dir_all(&content).unwrap();
            fs::write(content.join("file"), text).unwrap();
            let output = File::options().read(true).write(true).create(true).truncate(true).open(&self.image);
            let wanted = NewImage::new(NewContainer::DynamicVhd, "copies");
            gonto_image::create(&content, output.unwrap(), &wanted, &|_| ControlFlow::Continue(())).unwrap();
        }

        fn acquire(&self, read_only: bool) -> Copy {
            Copy::acquire(&self.image, &self.options, read_only, 0).unwrap()
        }

        fn put_right(&self, copy: Copy, read_only: bool) -> Copy {
            let image = ImageFile::new(File::open(&self.image).unwrap()).unwrap();
            let tree = FileTree::open(Arc::new(image)).unwrap();
            let copy = copy.put_right(&self.image, &tree, &self.options, read_only).unwrap();
            assert!(copy.folder.join("file").exists());
            copy
        }

        fn get(&self, read_only: bool) -> Copy {
            self.put_right(self.acquire(read_only), read_only)
        }
    }

    fn name(copy: &Copy) -> &str {
        copy.folder.file_name().unwrap().to_str().unwrap()
    }

    #[test]
    fn runs_at_the_same_time_have_different_copies_and_later_ones_the_same() {
        let bench = Bench::new();
        let (first, second) = (bench.get(false), bench.get(false));
        assert_eq!((name(&first), name(&second)), ("0", "1"));
        drop(first);
        assert_eq!(name(&bench.get(false)), "0");
    }

    #[test]
    fn those_who_only_read_share_a_copy() {
        let bench = Bench::new();
        let first = bench.get(true);
        let second = bench.acquire(true);
        assert!(second.is_right, "nobody changes what another one reads");
        let second = bench.put_right(second, true);
        assert_eq!(first.folder, second.folder);
        drop((first, second));
        assert!(!bench.acquire(true).is_right, "who is alone makes sure");
    }

    #[test]
    fn a_copy_that_was_being_unpacked_is_not_taken_for_a_right_one() {
        let bench = Bench::new();
        drop(bench.get(true));
        let unpacking = bench.acquire(true);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| bench.acquire(true));
            // Killed, whether or not the other one waits for it already.
            drop(unpacking);
            assert!(!waiting.join().unwrap().is_right);
        });
    }

    #[test]
    fn a_copy_that_is_mounted_stays_in_use_without_its_gonto() {
        let bench = Bench::new();
        let entry = bench.scratch.path().join("entry");
        fs::write(&entry, "").unwrap();
        let copy = bench.get(false);
        copy.keep_for(&entry).unwrap();
        drop(copy);
        assert_eq!(name(&bench.get(false)), "1");
        // Its owner's register has forgotten it: the system was restarted, say.
        fs::remove_file(&entry).unwrap();
        assert_eq!(name(&bench.get(false)), "0");
    }

    #[test]
    fn copies_of_what_the_image_was_go_when_nobody_uses_them() {
        let bench = Bench::new();
        let old = bench.get(false);
        let old_folder = old.folder.clone();
        bench.make_image("another");
        let new = bench.get(false);
        assert_eq!(fs::read_to_string(new.folder.join("file")).unwrap(), "another");
        assert!(old_folder.exists(), "somebody uses it");
        drop((old, new));
        drop(bench.get(false));
        assert!(!old_folder.exists());
    }
}
