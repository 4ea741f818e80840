//! The road that works everywhere: the files of an image, written to a folder.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use gonto_image::{FileTree, Kind, Node, NodeId, Place, Unreadable, map_in_order_with};

use crate::Interrupt;

#[cfg(any(windows, test))]
mod restore;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
use unix as sys;
#[cfg(windows)]
use windows as sys;

#[cfg(windows)]
pub(crate) use restore::restore;

/// Bytes that are read from the image at a time, per thread.
const CHUNK: usize = 1 << 20;

/// What is to be written, and where in a folder. Paths are relative to it, and made of names of the tree only, which hold no
/// separators.
pub struct Plan<'t> {
    tree: &'t FileTree,
    /// Each behind the one that it lies in.
    folders: Vec<Planned>,
    files: Vec<Planned>,
    links: Vec<Planned>,
    /// More names of files, which have the position of the first one.
    hard_links: Vec<(usize, Planned)>,
    first_names: HashMap<NodeId, usize>,
    left_out: Vec<LeftOut>,
}

/// One name of a plan.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Where it will be.
    pub path: PathBuf,
    /// What it is.
    pub node: NodeId,
}

/// Something that is not written, though the rest is.
#[derive(Debug)]
pub struct LeftOut {
    /// Where it would be.
    pub path: PathBuf,
    /// Why not. The path is not in it.
    pub why: io::Error,
}

/// How a plan is carried out.
#[derive(Clone, Copy)]
pub struct Unpacking<'a> {
    /// Takes write permission away from everything.
    pub read_only: bool,
    /// Goes on when content is damaged, and tells; otherwise that ends the work.
    pub despite_damage: bool,
    /// Ends the work.
    pub interrupt: &'a Interrupt,
    /// Is told of what is left out, from any thread.
    pub left_out: &'a (dyn Fn(LeftOut) + Sync),
    /// Is told of bytes that have been written, or are holes, from any thread.
    pub written: &'a (dyn Fn(u64) + Sync),
    /// A file gets its times when its content is on the disk, so that they tell whole ones even after a power failure.
    pub durable: bool,
}

impl<'t> Plan<'t> {
    /// Nothing yet.
    #[must_use]
    pub fn new(tree: &'t FileTree) -> Self {
        Self {
            tree,
            folders: Vec::new(),
            files: Vec::new(),
            links: Vec::new(),
            hard_links: Vec::new(),
            first_names: HashMap::new(),
            left_out: Vec::new(),
        }
    }

    /// All that lies in a folder, for a place that is planned already (or the folder of the plan, whose path is empty).
    pub fn add_inside(&mut self, path: &Path, folder: NodeId) {
        let mut folders = vec![Planned { path: path.to_owned(), node: folder }];
        let tree = self.tree;
        while let Some(folder) = folders.pop() {
            for (name, node) in tree.entries(folder.node).iter() {
                if let Some(planned) = self.add(&folder.path, name, node)
                    && tree.node(node).kind == Kind::Directory
                {
                    folders.push(planned);
                }
            }
        }
    }

    /// One name for the folder at `path`, and not what is in it; `None` when the system cannot have it.
    pub fn add(&mut self, path: &Path, name: &[u8], node: NodeId) -> Option<Planned> {
        let planned = match sys::name(name) {
            Ok(name) => Planned { path: path.join(name), node },
            Err(why) => {
                let path = told(path, name);
                self.left_out.push(LeftOut { path, why: io::Error::other(why) });
                return None;
            }
        };
        if planned.path.as_os_str().len() > sys::LONGEST_PATH {
            let why = io::Error::other("the path is longer than the system allows");
            self.left_out.push(LeftOut { path: planned.path, why });
            return None;
        }
        match self.tree.node(node).kind {
            Kind::Directory => self.folders.push(planned.clone()),
            Kind::Symlink => self.links.push(planned.clone()),
            Kind::File => match self.first_names.get(&node) {
                Some(first) => self.hard_links.push((*first, planned.clone())),
                None => {
                    if self.tree.node(node).links > 1 {
                        self.first_names.insert(node, self.files.len());
                    }
                    self.files.push(planned.clone());
                }
            },
        }
        Some(planned)
    }

    /// The folders of the plan, each behind the one that it lies in.
    #[must_use]
    pub fn folders(&self) -> &[Planned] {
        &self.folders
    }

    /// Everything in the plan that is no folder.
    pub fn others(&self) -> impl Iterator<Item = &Planned> {
        let more_names = self.hard_links.iter().map(|(_, planned)| planned);
        self.files.iter().chain(&self.links).chain(more_names)
    }

    /// Bytes of all files; hard links count once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let sizes = self.files.iter().map(|file| self.tree.node(file.node).size);
        sizes.fold(0, u64::saturating_add)
    }

    /// Writes everything into a folder in which there is nothing yet, with modes, times and hard links, and with holes where the
    /// image has holes. The folders can be written by their owner until [`finish_folders`](Self::finish_folders).
    ///
    /// What cannot be read, or have its name here, is left out and told. What the file system refuses otherwise ends the work.
    ///
    /// # Errors
    /// What the file system says, with the path; [`io::ErrorKind::Interrupted`].
    pub fn write(&mut self, into: &Path, how: &Unpacking<'_>) -> io::Result<()> {
        self.left_out.drain(..).for_each(how.left_out);
        self.make_folders(into, how)?;
        self.write_files(into, how)?;
        for (first, Planned { path, node }) in &self.hard_links {
            how.interrupt.check()?;
            let made = fs::hard_link(into.join(&self.files[*first].path), into.join(path));
            match made {
                Ok(()) => {}
                // The first one was left out, or the file system has no hard links: the file is told, or written, again.
                Err(_) => Writing { tree: self.tree, into, how }.file(path, *node, &mut vec![0; CHUNK])?,
            }
        }
        // At last, so that nothing is written through them.
        for Planned { path, node } in &self.links {
            let made = sys::link(self.tree.link_target(*node), &into.join(path), self.tree.node(*node));
            made.or_else(|error| leave_out_or_fail(path, error, how))?;
        }
        Ok(())
    }

    /// Gives folders their modes and times, where they lie now. Innermost first: what is made in a folder changes its time,
    /// and a folder without write permission takes no files. Those for which `is_ours` is not true are not touched.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn finish_folders(
        &self,
        at: &Path,
        read_only: bool,
        is_ours: impl Fn(&Path) -> bool,
    ) -> io::Result<()> {
        for Planned { path, node } in self.folders.iter().rev().filter(|folder| is_ours(&folder.path)) {
            self.finish_folder(&at.join(path), *node, read_only)?;
        }
        Ok(())
    }

    /// The same for one folder, wherever it is.
    ///
    /// # Errors
    /// What the file system says, with the path.
    pub fn finish_folder(&self, path: &Path, node: NodeId, read_only: bool) -> io::Result<()> {
        let node = self.tree.node(node);
        sys::open_folder(path)
            .and_then(|folder| {
                set_times(&folder, path, node);
                sys::set_mode(&folder, mode(node, read_only))
            })
            .map_err(|error| about(path, error))
    }

    /// Folders that cannot be made are taken out of the plan, and with them everything in them.
    fn make_folders(&mut self, into: &Path, how: &Unpacking<'_>) -> io::Result<()> {
        let mut missing = HashSet::new();
        for Planned { path, .. } in &self.folders {
            let made = if path.parent().is_some_and(|parent| missing.contains(parent)) {
                Err(io::Error::other("its folder is left out"))
            } else {
                fs::create_dir(into.join(path))
            };
            if let Err(error) = made {
                leave_out_or_fail(path, error, how)?;
                missing.insert(path.clone());
            }
        }
        if !missing.is_empty() {
            self.retain(|planned| !planned.path.ancestors().any(|folder| missing.contains(folder)));
        }
        Ok(())
    }

    /// Takes out of the plan what is not wanted.
    fn retain(&mut self, is_wanted: impl Fn(&Planned) -> bool) {
        self.folders.retain(&is_wanted);
        self.links.retain(&is_wanted);
        // Hard links know their first names by position.
        let files = std::mem::take(&mut self.files);
        let more = std::mem::take(&mut self.hard_links).into_iter().map(|(_, planned)| planned);
        let has_more: HashSet<NodeId> = std::mem::take(&mut self.first_names).into_keys().collect();
        for planned in files.into_iter().chain(more).filter(is_wanted) {
            match self.first_names.get(&planned.node) {
                Some(first) => self.hard_links.push((*first, planned)),
                None => {
                    if has_more.contains(&planned.node) {
                        self.first_names.insert(planned.node, self.files.len());
                    }
                    self.files.push(planned);
                }
            }
        }
    }

    /// Writes all files with all processors, in the order of the disk. The first error ends the work.
    fn write_files(&self, into: &Path, how: &Unpacking<'_>) -> io::Result<()> {
        let order: HashMap<NodeId, usize> = self.tree.disk_order().into_iter().zip(0..).collect();
        let mut files: Vec<&Planned> = self.files.iter().collect();
        files.sort_by_key(|file| order.get(&file.node));
        let writing = Writing { tree: self.tree, into, how };
        let failed = AtomicBool::new(false);
        let failure = Mutex::new(None);
        map_in_order_with(
            files.len(),
            || vec![0; CHUNK],
            |buffer, number| {
                if failed.load(Ordering::Relaxed) {
                    return;
                }
                if let Err(error) = writing.file(&files[number].path, files[number].node, buffer) {
                    failed.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            },
        );
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

/// How files are written.
struct Writing<'a> {
    tree: &'a FileTree,
    into: &'a Path,
    how: &'a Unpacking<'a>,
}

/// Why a file is not there.
enum Failure {
    /// The image does not give its content.
    Content(io::Error),
    /// The host does not take it.
    Host(io::Error),
}

impl Writing<'_> {
    /// Writes one file, or leaves nothing of it behind.
    fn file(&self, path: &Path, id: NodeId, buffer: &mut [u8]) -> io::Result<()> {
        let whole = self.into.join(path);
        let node = self.tree.node(id);
        let made = match self.tree.read_at(id, &mut [], 0) {
            // Nothing has to be made for what cannot be read at all.
            Err(error) => Err(Failure::Content(error)),
            Ok(_) => sys::create(&whole).map_err(Failure::Host).and_then(|file| {
                let written = self.content(&file, id, buffer).and_then(|()| {
                    if self.how.durable {
                        file.sync_data().map_err(Failure::Host)?;
                    }
                    set_times(&file, &whole, node);
                    sys::set_mode(&file, mode(node, self.how.read_only)).map_err(Failure::Host)
                });
                written.inspect_err(|_| {
                    if let Err(error) = fs::remove_file(&whole) {
                        tracing::debug!(path = %whole.display(), %error, "half a file stays");
                    }
                })
            }),
        };
        match made {
            Ok(()) => Ok(()),
            Err(Failure::Host(error)) => leave_out_or_fail(path, error, self.how),
            Err(Failure::Content(error)) => {
                let unreadable = error.get_ref().and_then(|inner| inner.downcast_ref());
                let reason = unreadable.map(|Unreadable(note)| note.reason.to_string());
                if reason.is_none() && !self.how.despite_damage {
                    return Err(about(path, error));
                }
                let why = reason.map_or(error, io::Error::other);
                (self.how.left_out)(LeftOut { path: path.to_owned(), why });
                Ok(())
            }
        }
    }

    /// Writes what is not zero.
    fn content(&self, file: &File, id: NodeId, buffer: &mut [u8]) -> Result<(), Failure> {
        let size = self.tree.node(id).size;
        file.set_len(size).map_err(Failure::Host)?;
        let mut offset = 0;
        while offset < size {
            self.how.interrupt.check().map_err(Failure::Host)?;
            let extent = self.tree.extent(id, offset);
            let mut done = extent.length;
            if extent.place != Place::Zero {
                let length = usize::try_from(extent.length).unwrap_or(usize::MAX).min(buffer.len());
                let chunk = &mut buffer[..length];
                let read = self.tree.read_at(id, chunk, offset).map_err(Failure::Content)?;
                sys::write_at(file, &chunk[..read], offset).map_err(Failure::Host)?;
                done = read as u64;
            }
            if done == 0 {
                return Err(Failure::Content(io::ErrorKind::UnexpectedEof.into()));
            }
            (self.how.written)(done);
            offset += done;
        }
        Ok(())
    }
}

/// The path of a name that the system cannot have. Joined to a folder, it could be a path of its own: `C:x` is one on Windows.
fn told(folder: &Path, name: &[u8]) -> PathBuf {
    let mut path = folder.join("").into_os_string();
    path.push(&*String::from_utf8_lossy(name));
    path.into()
}

/// What one name cannot have does not end the work; what would not be better for the next one does.
fn leave_out_or_fail(path: &Path, error: io::Error, how: &Unpacking<'_>) -> io::Result<()> {
    use io::ErrorKind::{AlreadyExists, FileTooLarge, InvalidFilename, InvalidInput, Other, Unsupported};
    let why = match error.kind() {
        // Nothing was in the folder before.
        AlreadyExists => io::Error::new(
            AlreadyExists,
            "the file system takes its name for that of another file, which differs by upper and lower case only",
        ),
        FileTooLarge | InvalidFilename | InvalidInput | Other | Unsupported => error,
        _ if sys::concerns_one_name(&error) => error,
        _ => return Err(about(path, error)),
    };
    (how.left_out)(LeftOut { path: path.to_owned(), why });
    Ok(())
}

fn mode(node: &Node, read_only: bool) -> u32 {
    if read_only { node.mode & 0o555 } else { node.mode & 0o777 }
}

/// Some file systems cannot hold every time that NTFS can; the content matters more.
fn set_times(file: &File, path: &Path, node: &Node) {
    let times = FileTimes::new()
        .set_modified(node.modified.to_system_time())
        .set_accessed(node.accessed.to_system_time());
    if let Err(error) = file.set_times(sys::with_creation(times, node)) {
        tracing::debug!(path = %path.display(), %error, "cannot set the times");
    }
}

/// Says where it happened.
fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
