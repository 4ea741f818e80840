//! The file tree of an image as a read-only FUSE file system.
//!
//! Nothing ever changes, so the kernel may keep whatever it has been told for as long as it likes: names (also those
//! that are not there), attributes, folders and file content. It is asked again only when it runs short of memory.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEntry, ReplyOpen, ReplyStatfs, Request, Session, SessionACL,
};
use gonto_image::{FileTree, Kind, NodeId};

use crate::notice::{Notice, Notices};

/// As good as for ever; the kernel counts in jiffies and would overflow on more.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// More threads than this do not make one file system faster: each copies at the speed of the memory.
const MOST_THREADS: usize = 8;

/// NTFS allows 255 UTF-16 units, each of which may take three bytes. overlayfs refuses longer names than what is told here.
const LONGEST_NAME: u32 = 3 * 255;

/// One image, served.
pub(super) struct TreeFs {
    tree: Arc<FileTree>,
    image: PathBuf,
    uid: u32,
    gid: u32,
    /// Bytes of all files, for statfs(2).
    size: u64,
    notices: Notices,
    /// The kernel opens files and folders without asking, once it has been told that we have nothing to say about it.
    opens_files: bool,
    opens_folders: bool,
    /// Files whose unreadable content has been told.
    told: Mutex<HashSet<NodeId>>,
}

impl TreeFs {
    pub(super) fn new(tree: Arc<FileTree>, image: &Path, notices: Notices) -> Self {
        let nodes = (0..tree.len()).filter_map(|index| u32::try_from(index).ok()).map(NodeId);
        let size = nodes.fold(0u64, |sum, id| sum.saturating_add(tree.node(id).size));
        Self {
            tree,
            size,
            image: image.to_owned(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            notices,
            opens_files: false,
            opens_folders: false,
            told: Mutex::default(),
        }
    }

    /// Takes up the FUSE connection `device`, which is mounted already. Call [`Session::spawn`] or [`Session::run`] then.
    ///
    /// # Errors
    /// When the kernel breaks the connection off, or speaks a FUSE that is too old.
    pub(super) fn connect(self, device: OwnedFd) -> io::Result<Session<Self>> {
        let mut config = Config::default();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        config.n_threads = Some(threads.clamp(2, MOST_THREADS));
        config.clone_fd = true;
        // Who may access is decided by the mount's options.
        Session::from_fd(self, device, SessionACL::All, config)
    }

    /// Mount options that `TreeFs` counts on: the kernel checks permissions by mode and owner.
    pub(super) fn mount_options() -> String {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        format!("rootmode=40000,user_id={uid},group_id={gid},default_permissions,allow_other")
    }

    fn node(&self, ino: INodeNo) -> Option<NodeId> {
        let index = ino.0.checked_sub(INodeNo::ROOT.0)?;
        let id = NodeId(u32::try_from(index).ok()?);
        (usize::try_from(index).ok()? < self.tree.len()).then_some(id)
    }

    fn attributes(&self, id: NodeId) -> FileAttr {
        let node = self.tree.node(id);
        let kind = match node.kind {
            Kind::Directory => FileType::Directory,
            Kind::File => FileType::RegularFile,
            Kind::Symlink => FileType::Symlink,
        };
        FileAttr {
            ino: number(id),
            size: node.size,
            blocks: node.size.div_ceil(512),
            atime: node.accessed.to_system_time(),
            mtime: node.modified.to_system_time(),
            ctime: node.changed.to_system_time(),
            crtime: node.created.to_system_time(),
            kind,
            perm: u16::try_from(node.mode & 0o777).unwrap_or(0o555),
            nlink: node.links,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn tell_unreadable(&self, id: NodeId, error: &io::Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(id) {
            // An error about the file names it; one of the image's disk does not.
            let reason = match error.kind() {
                io::ErrorKind::Unsupported => error.to_string(),
                _ => format!("{}: {error}", self.tree.path(id)),
            };
            self.notices.send(Notice::Unreadable { image: self.image.clone(), reason });
        }
    }
}

/// Inode numbers are node numbers shifted by FUSE's root, so nothing has to be remembered and `forget` is free.
fn number(id: NodeId) -> INodeNo {
    INodeNo(u64::from(id.0) + INodeNo::ROOT.0)
}

impl Filesystem for TreeFs {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut has = |flag| config.add_capabilities(flag).is_ok();
        self.opens_files = has(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.opens_folders = has(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        let wanted = [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_MAX_PAGES,
        ];
        for flag in wanted {
            if !has(flag) {
                tracing::debug!(?flag, "this kernel's FUSE does not have it");
            }
        }
        // Only reads come, so the window may be as wide as the kernel allows.
        if let Err(nearest) = config.set_max_readahead(1 << 20) {
            let _ = config.set_max_readahead(nearest);
        }
        let _ = config.set_max_write(1 << 20);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(parent) = self.node(parent) else { return reply.error(Errno::ESTALE) };
        let mut attributes = self.attributes(parent);
        match self.tree.lookup(parent, name.as_bytes()) {
            Some(id) => attributes = self.attributes(id),
            // Inode 0 says "not there, and you may remember that": compilers look for many headers in vain.
            None => attributes.ino = INodeNo(0),
        }
        reply.entry(&FOREVER, &attributes, Generation(0));
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(ino) {
            Some(id) => reply.attr(&FOREVER, &self.attributes(id)),
            None => reply.error(Errno::ESTALE),
        }
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.node(ino) {
            Some(id) if self.tree.node(id).kind == Kind::Symlink => reply.data(self.tree.link_target(id)),
            _ => reply.error(Errno::EINVAL),
        }
    }

    /// "Not implemented" is what the kernel wants to hear, once, to open files by itself and keep their content cached.
    fn open(&self, _request: &Request, _ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            reply.error(Errno::EROFS);
        } else if self.opens_files {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        }
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(id) = self.node(ino) else { return reply.error(Errno::ESTALE) };
        let left = self.tree.node(id).size.saturating_sub(offset);
        let length = usize::try_from(left.min(size.into())).unwrap_or(0);
        let mut buffer = vec![0; length];
        match self.tree.read_at(id, &mut buffer, offset) {
            Ok(read) => reply.data(buffer.get(..read).unwrap_or_default()),
            Err(error) => {
                self.tell_unreadable(id, &error);
                reply.error(Errno::EIO);
            }
        }
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.opens_folders {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(id) = self.node(ino) else { return reply.error(Errno::ESTALE) };
        for (next, child, name) in self.listing(id, offset) {
            if reply.add(number(child), next, self.attributes(child).kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let Some(id) = self.node(ino) else { return reply.error(Errno::ESTALE) };
        for (next, child, name) in self.listing(id, offset) {
            if reply.add(number(child), next, name, &FOREVER, &self.attributes(child), Generation(0)) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let files = self.tree.len() as u64;
        reply.statfs(self.size.div_ceil(4096), 0, 0, files, 0, 4096, LONGEST_NAME, 4096);
    }
}

impl TreeFs {
    /// The entries of a folder from position `offset` on: position of the next entry, node, name. `.` and `..` come first.
    fn listing(&self, folder: NodeId, offset: u64) -> impl Iterator<Item = (u64, NodeId, &OsStr)> {
        let dots = [(self.tree.root(), OsStr::new("."), 0u64), (self.tree.root(), OsStr::new(".."), 1)]
            .into_iter()
            .filter(move |(_, _, position)| *position >= offset)
            .map(move |(_, name, position)| (position + 1, folder, name));
        let skip = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        let entries = self.tree.entries(folder).iter().enumerate().skip(skip);
        dots.chain(entries.map(|(index, (name, child))| (index as u64 + 3, child, OsStr::from_bytes(name))))
    }
}
