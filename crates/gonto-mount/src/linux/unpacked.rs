//! Images unpacked into the cache, for machines that cannot mount.
//!
//! ```text
//! <cache_dir>/.gonto/trees/
//!   lock                                held while a tree is made
//!   <image>-<size>-<time>-<ends>/       the files as they are in the image; lower folder of an overlay
//!   <image>-<size>-<time>-<ends>-ro/    the same without write permission; used as it is
//!   .new-XXXXXX/                        being made; whoever holds the lock may remove it
//! ```
//!
//! A tree appears by rename when it is whole. Size and time of the image, and a digest of its first and last bytes, are in its
//! name, so a new image gets a new tree.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gonto_image::FileTree;

use super::folders::remove_tree;
use super::opened::OpenImage;
use crate::image_file;
use crate::lock;
use crate::unpack::{LeftOut, Plan, Unpacking};
use crate::{Error, Interrupt, Notice, Options};

/// The unpacked files of an image; made now if they are not there. `reason` says why it is not mounted.
///
/// # Errors
/// When the image cannot be read; [`Error::Unpack`] when it cannot be unpacked.
pub(super) fn tree_of(
    open: &OpenImage<'_>,
    options: &Options,
    read_only: bool,
    reason: &str,
) -> Result<PathBuf, Error> {
    let (image, trees) = (open.path(), options.cache_dir.join(".gonto").join("trees"));
    let failed = |source| Error::Unpack { image: image.to_owned(), folder: trees.clone(), source };
    fs::create_dir_all(&trees).map_err(failed)?;
    let finished = trees.join(tree_name(image, read_only).map_err(failed)?);
    if finished.is_dir() {
        return Ok(finished);
    }
    let waiting = || options.notices.send(Notice::Waiting { activity: "unpacks" });
    let _lock = lock::exclusive(&trees.join("lock"), &options.interrupt, waiting).map_err(failed)?;
    if !finished.is_dir() {
        let tree = open.tree()?;
        open.tell_notes(false);
        options.notices.send(Notice::Unpacking { image: image.to_owned(), reason: reason.to_owned() });
        make(image, tree, &finished, read_only, options).map_err(failed)?;
    }
    Ok(finished)
}

/// Unpacks next to the place where the files shall be, and moves them there when all of it worked.
fn make(
    image: &Path,
    tree: &FileTree,
    finished: &Path,
    read_only: bool,
    options: &Options,
) -> io::Result<()> {
    let Options { notices, interrupt, .. } = options;
    let trees = finished.parent().unwrap_or(finished);
    remove_unfinished(trees)?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(trees)?.keep();
    let left_out = |LeftOut { path, why }: LeftOut| {
        let reason = format!("{}: {why}; the file is left out", path.display());
        notices.send(Notice::Unreadable { image: image.to_owned(), reason });
    };
    // What is written is synced as a whole.
    let how = Unpacking {
        read_only,
        despite_damage: false,
        interrupt,
        left_out: &left_out,
        written: &|_| {},
        durable: false,
    };
    let made = unpack(tree, &new.join("files"), &how);
    let published = made.and_then(|()| publish(&new.join("files"), finished, read_only));
    remove_tree(&new);
    published
}

/// Writes all files of `tree` into the new folder `into`. Nothing outside of it is touched: names of a tree hold no separators,
/// and nothing is written through a link.
fn unpack(tree: &FileTree, into: &Path, how: &Unpacking<'_>) -> io::Result<()> {
    fs::create_dir(into)?;
    let mut plan = Plan::new(tree);
    plan.add_inside(Path::new(""), tree.root());
    plan.write(into, how)?;
    plan.finish_folders(into, how.read_only, |_| true)?;
    plan.finish_folder(into, tree.root(), how.read_only)
}

/// A folder that moves to another one has to be writable, so its own mode comes last.
fn publish(files: &Path, finished: &Path, read_only: bool) -> io::Result<()> {
    let mode = fs::metadata(files)?.permissions().mode();
    fs::set_permissions(files, fs::Permissions::from_mode(mode | 0o200))?;
    // After a power failure, a tree that is there is whole.
    rustix::fs::syncfs(File::open(files)?)?;
    fs::rename(files, finished)?;
    if read_only { fs::set_permissions(finished, fs::Permissions::from_mode(mode)) } else { Ok(()) }
}

fn tree_name(image: &Path, read_only: bool) -> io::Result<String> {
    Ok(format!("{}{}", image_file::name_of_content(image)?, if read_only { "-ro" } else { "" }))
}

/// What a killed gonto had not finished.
fn remove_unfinished(trees: &Path) -> io::Result<()> {
    for entry in fs::read_dir(trees)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(".new-") {
            remove_tree(&entry.path());
        }
    }
    Ok(())
}

/// Whether files in `folder` can share their blocks (reflinks), so that a copy costs nothing.
pub(super) fn can_share_blocks(folder: &Path) -> io::Result<bool> {
    let (mut source, target) = (tempfile::tempfile_in(folder)?, tempfile::tempfile_in(folder)?);
    source.write_all(&[0; 4096])?;
    Ok(rustix::fs::ioctl_ficlone(&target, &source).is_ok())
}

/// Copies a tree into the new folder `to`, sharing its blocks where the file system can.
pub(super) fn copy(from: &Path, to: &Path, interrupt: &Interrupt) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target, interrupt)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else {
            interrupt.check()?;
            copy_file(&source, &target)?;
        }
    }
    let metadata = fs::metadata(from)?;
    File::open(to)?.set_times(fs::FileTimes::new().set_modified(metadata.modified()?))?;
    fs::set_permissions(to, metadata.permissions())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let (source, target) = (File::open(from)?, File::create_new(to)?);
    let metadata = source.metadata()?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        io::copy(&mut &source, &mut &target)?;
    }
    target.set_times(fs::FileTimes::new().set_modified(metadata.modified()?))?;
    target.set_permissions(metadata.permissions())
}
