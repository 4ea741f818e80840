//! An image as a read-only FUSE file system.
//!
//! Nothing ever changes, so the kernel may keep whatever it has been told for as long as it likes: names (also those
//! that are not there), attributes, folders and file content. It is asked again only when it runs short of memory.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEntry, ReplyOpen, ReplyStatfs, Request, Session, SessionACL,
};
use gonto_image::Kind;

use super::served::{Attributes, Served};
use crate::notice::{Notice, Notices};

/// As good as for ever; the kernel counts in jiffies and would overflow on more.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// More threads than this do not make one file system faster: each copies at the speed of the memory.
const MOST_THREADS: usize = 8;

/// NTFS allows 255 UTF-16 units, each of which may take three bytes. overlayfs refuses longer names than what is told here.
const LONGEST_NAME: u32 = 3 * 255;

/// So many files that cannot be read are told.
const MOST_TOLD: usize = 100;

/// How far the kernel reads ahead in a file: as much as one request carries.
const READ_AHEAD_KIB: u32 = 1024;

/// Makes the kernel read further ahead in what is mounted at `folder` than it does by default; large files are read twice as fast
/// then. Only root may, and where it does not work nothing is lost.
pub(super) fn read_ahead(folder: BorrowedFd<'_>) {
    let set = || -> io::Result<()> {
        let device = rustix::fs::fstat(folder)?.st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let setting = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
        fs::write(setting, READ_AHEAD_KIB.to_string())
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "the kernel reads ahead as it likes");
    }
}

/// One image, served.
pub(super) struct ImageFs {
    served: Served,
    image: PathBuf,
    uid: u32,
    gid: u32,
    notices: Notices,
    /// The kernel opens files and folders without asking, once it has been told that we have nothing to say about it.
    opens_files: bool,
    opens_folders: bool,
    /// Files whose unreadable content has been told.
    told: Mutex<HashSet<u64>>,
}

impl ImageFs {
    pub(super) fn new(served: Served, image: &Path, notices: Notices) -> Self {
        Self {
            served,
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

    /// Mount options that `ImageFs` counts on: the kernel checks permissions by mode and owner.
    pub(super) fn mount_options() -> String {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        format!("rootmode=40000,user_id={uid},group_id={gid},default_permissions,allow_other")
    }

    fn file_attributes(&self, attributes: &Attributes) -> FileAttr {
        let moment = attributes.modified;
        FileAttr {
            ino: INodeNo(attributes.number),
            size: attributes.size,
            blocks: attributes.size.div_ceil(512),
            atime: moment,
            mtime: moment,
            ctime: moment,
            crtime: moment,
            kind: file_type(attributes.kind),
            perm: attributes.mode,
            nlink: attributes.links,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Once for each file, and not for more files than anybody reads about.
    fn tell_unreadable(&self, number: u64, error: &io::Error) {
        let is_new = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.len() < MOST_TOLD && told.insert(number)
        };
        if is_new {
            let reason = self.served.describe(number, error);
            self.notices.send(Notice::Unreadable { image: self.image.clone(), reason });
        }
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
    }
}

impl Filesystem for ImageFs {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut has = |flag| config.add_capabilities(flag).is_ok();
        self.opens_files = has(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.opens_folders = has(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        let wanted = [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            // Without READDIRPLUS_AUTO, which would ask for the attributes of a large folder one by one.
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_MAX_PAGES,
        ];
        for flag in wanted {
            if !has(flag) {
                tracing::debug!(?flag, "this kernel's FUSE does not have it");
            }
        }
        // The kernel takes the smaller one of this and its own default, which only root can raise (see `read_ahead`).
        if let Err(nearest) = config.set_max_readahead(1 << 20) {
            let _ = config.set_max_readahead(nearest);
        }
        let _ = config.set_max_write(1 << 20);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found =
            self.served.lookup(parent.0, name.as_bytes()).and_then(|child| self.served.attributes(child));
        match found {
            Some(found) => reply.entry(&FOREVER, &self.file_attributes(&found), Generation(0)),
            // Inode 0 says "not there, and you may remember that": compilers look for many headers in vain.
            None => {
                let Some(parent) = self.served.attributes(parent.0) else {
                    return reply.error(Errno::ESTALE);
                };
                let nothing = FileAttr { ino: INodeNo(0), ..self.file_attributes(&parent) };
                reply.entry(&FOREVER, &nothing, Generation(0));
            }
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.served.attributes(ino.0) {
            Some(attributes) => reply.attr(&FOREVER, &self.file_attributes(&attributes)),
            None => reply.error(Errno::ESTALE),
        }
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.served.target(ino.0) {
            Some(target) => reply.data(target),
            None => reply.error(Errno::EINVAL),
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
        // The answer is sent from where the content is; only a failure leaves the reply unused.
        let mut reply = Some(reply);
        let sent = self.served.read(ino.0, offset, size, |bytes| {
            if let Some(reply) = reply.take() {
                reply.data(bytes);
            }
        });
        if let (Err(error), Some(reply)) = (sent, reply) {
            self.tell_unreadable(ino.0, &error);
            reply.error(Errno::EIO);
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
        let listed = self.served.list(ino.0, offset, &mut |entry| {
            !reply.add(
                INodeNo(entry.number),
                entry.next,
                file_type(entry.kind),
                OsStr::from_bytes(entry.name),
            )
        });
        match listed {
            Some(()) => reply.ok(),
            None => reply.error(Errno::ESTALE),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let mut broken = false;
        let listed = self.served.list(ino.0, offset, &mut |entry| {
            let Some(attributes) = self.served.attributes(entry.number) else {
                broken = true;
                return false;
            };
            let (attributes, name) = (self.file_attributes(&attributes), OsStr::from_bytes(entry.name));
            !reply.add(attributes.ino, entry.next, name, &FOREVER, &attributes, Generation(0))
        });
        match listed {
            Some(()) if broken => reply.error(Errno::EIO),
            Some(()) => reply.ok(),
            None => reply.error(Errno::ESTALE),
        }
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let (files, bytes) = self.served.totals();
        reply.statfs(bytes.div_ceil(4096), 0, 0, files, 0, 4096, LONGEST_NAME, 4096);
    }
}
