//! The road that works everywhere: the files of an image, unpacked.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use gonto_image::{FileTree, Kind, NodeId};

use crate::Interrupt;

/// Bytes that are read from the image at a time, per thread.
const CHUNK: usize = 1 << 20;

/// NAME_MAX of Linux, in bytes. NTFS allows 255 UTF-16 units, which may be more.
const LONGEST_NAME: usize = 255;

/// More threads than this only make the disk seek.
const MOST_THREADS: usize = 8;

/// One file to write: where, and what.
struct Job {
    path: PathBuf,
    node: NodeId,
}

/// Writes all files of `tree` into the new folder `into`, with their times, modes and hard links. Nothing outside `into`
/// is touched: names of a tree hold no separators, and nothing is written through a link.
///
/// A file whose kind of content is not read yet, or whose name is too long, is left out and told to `unreadable`; all
/// other errors end the work.
///
/// # Errors
/// What the file system says, with the path of the file.
pub(super) fn unpack(
    tree: &FileTree,
    into: &Path,
    read_only: bool,
    interrupt: &Interrupt,
    unreadable: &(dyn Fn(&io::Error) + Sync),
) -> io::Result<()> {
    fs::create_dir(into).map_err(|error| at(into, error))?;
    let mut folders = vec![(into.to_owned(), tree.root())];
    let (mut files, mut links, mut hard_links) = (Vec::new(), Vec::new(), Vec::new());
    let mut first_paths: HashMap<NodeId, PathBuf> = HashMap::new();
    let mut next = 0;
    while let Some((folder, id)) = folders.get(next).cloned() {
        next += 1;
        for (name, child) in tree.entries(id).iter() {
            let path = folder.join(OsStr::from_bytes(name));
            if name.len() > LONGEST_NAME {
                let reason = format!("{}: the name is too long to be unpacked", tree.path(child));
                unreadable(&io::Error::other(reason));
                continue;
            }
            match tree.node(child).kind {
                Kind::Directory => {
                    fs::create_dir(&path).map_err(|error| at(&path, error))?;
                    folders.push((path, child));
                }
                Kind::Symlink => links.push(Job { path, node: child }),
                Kind::File => match first_paths.get(&child) {
                    Some(first) => hard_links.push((first.clone(), path)),
                    None => {
                        if tree.node(child).links > 1 {
                            first_paths.insert(child, path.clone());
                        }
                        files.push(Job { path, node: child });
                    }
                },
            }
        }
    }
    Writing { tree, read_only, interrupt, unreadable }.files(&files)?;
    for (first, path) in &hard_links {
        match fs::hard_link(first, path) {
            // The first one was unreadable, and so is this one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|error| at(path, error))?,
        }
    }
    for Job { path, node } in &links {
        std::os::unix::fs::symlink(OsStr::from_bytes(tree.link_target(*node)), path)
            .map_err(|error| at(path, error))?;
    }
    // Innermost first: what is made in a folder changes its time, and a folder without write permission takes no files.
    for (path, id) in folders.iter().rev() {
        let node = tree.node(*id);
        set_folder(path, mode(node.mode, read_only), node.modified.to_system_time())
            .map_err(|error| at(path, error))?;
    }
    Ok(())
}

/// How files are written.
struct Writing<'a> {
    tree: &'a FileTree,
    read_only: bool,
    interrupt: &'a Interrupt,
    unreadable: &'a (dyn Fn(&io::Error) + Sync),
}

impl Writing<'_> {
    /// Writes all files, by several threads. The first error ends the work.
    fn files(&self, files: &[Job]) -> io::Result<()> {
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let work = || {
            let mut buffer = vec![0; CHUNK];
            while let Some(job) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.file(job, &mut buffer) {
                    // The others stop at their next file.
                    next.store(files.len(), Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Writes one file; what is zero becomes a hole.
    fn file(&self, Job { path, node: id }: &Job, buffer: &mut [u8]) -> io::Result<()> {
        let node = self.tree.node(*id);
        let file = create(path, mode(node.mode, self.read_only)).map_err(|error| at(path, error))?;
        file.set_len(node.size).map_err(|error| at(path, error))?;
        let mut offset = 0;
        while offset < node.size {
            self.interrupt.check()?;
            match self.tree.read_at(*id, buffer, offset) {
                Ok(0) => return Err(at(path, io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => {
                    let chunk = buffer.get(..read).unwrap_or_default();
                    if chunk.iter().any(|byte| *byte != 0) {
                        file.write_all_at(chunk, offset).map_err(|error| at(path, error))?;
                    }
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    drop(file);
                    fs::remove_file(path).map_err(|error| at(path, error))?;
                    (self.unreadable)(&error);
                    return Ok(());
                }
                Err(error) => return Err(at(path, error)),
            }
        }
        let times = FileTimes::new()
            .set_modified(node.modified.to_system_time())
            .set_accessed(node.accessed.to_system_time());
        // Some file systems cannot hold every time that NTFS can; the content matters more.
        if let Err(error) = file.set_times(times) {
            tracing::debug!(path = %path.display(), %error, "cannot set the times");
        }
        Ok(())
    }
}

fn mode(mode: u32, read_only: bool) -> u32 {
    if read_only { mode & 0o555 } else { mode & 0o777 }
}

/// Says where it happened.
fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

fn set_folder(path: &Path, mode: u32, modified: SystemTime) -> io::Result<()> {
    if let Err(error) = File::open(path)?.set_times(FileTimes::new().set_modified(modified)) {
        tracing::debug!(path = %path.display(), %error, "cannot set the times");
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
