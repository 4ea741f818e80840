//! Images that every process of the user sees, until they are unmounted.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MoveMountFlags};

use super::fuse::{self, ImageFs};
use super::opened::{OpenImage, OpenIndex};
use super::overlay::{self, Upper};
use super::register::{self, Entry, Holder, Locked, Mounted, Register};
use super::served::Served;
use super::stack::{self, By, InUse};
use super::stored_path::StoredPath;
use super::{HARMLESS, erofs, folder_of, folders, fusermount, resolved, server, unlimited, unpacked};
use crate::backend::{Backend, Road};
use crate::error::chain;
use crate::{Error, Image, Layer, Notice, Notices, Options, Shown};

/// The images that are mounted for everybody.
#[derive(Debug)]
pub struct Mounts {
    register: Register,
    options: Options,
}

impl Mounts {
    /// Opens the register and removes what killed runs, dead servers and a restart of the system have left.
    ///
    /// # Errors
    /// [`Error::State`] when the state folder cannot be used.
    pub fn open(options: Options) -> Result<Self, Error> {
        let options = resolved(options)?;
        let register = Register::open(&options)?;
        Ok(Self { register, options })
    }

    /// Shows an image until [`unmount`](Self::unmount) is called for the same target. Two targets may share a mount.
    ///
    /// # Errors
    /// When the image cannot be read, the mount point cannot be used or is taken, or no road works.
    pub fn mount(&self, image: &Image, target: &str, project: &Path) -> Result<Shown, Error> {
        let holder = Holder::Target { name: target.to_owned(), folder: project.into() };
        let at = folder_of(image, &self.options);
        mount(&self.register, &self.options, image, &at, holder, None)
    }

    /// Takes away what a target has mounted, the last image first, unless another target needs it too. Returns the folders
    /// that the target no longer holds, and what failed.
    ///
    /// # Errors
    /// [`Error::State`] when the register cannot be read.
    pub fn unmount(&self, target: &str, project: &Path) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
        let holder = Holder::Target { name: target.to_owned(), folder: project.into() };
        unmount(&self.register.lock()?, &holder, &|_| true)
    }

    /// Like [`unmount`](Self::unmount), but only for some folders, as [`Shown::folder`] names them. For taking back what has
    /// just been mounted: an interrupt does not stop it.
    ///
    /// # Errors
    /// [`Error::State`] when the register cannot be read.
    pub fn unmount_folders(
        &self,
        target: &str,
        project: &Path,
        folders: &[PathBuf],
    ) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
        let holder = Holder::Target { name: target.to_owned(), folder: project.into() };
        unmount(&self.register.lock_to_clean_up()?, &holder, &|folder| {
            folders.iter().any(|one| one == folder)
        })
    }
}

/// Mounts `image` at `folder` for `holder`. `closed` says why a run has no namespace.
pub(super) fn mount(
    register: &Register,
    options: &Options,
    image: &Image,
    folder: &Path,
    holder: Holder,
    closed: Option<&str>,
) -> Result<Shown, Error> {
    // Others wait for the register; nobody has to wait for an index. Whether it is needed is seen below: an image that is mounted already
    // may be gone.
    let open = OpenImage::new(&image.file, options);
    if let Ok(open) = &open
        && options.backend != Backend::Extract
        && let Err(error) = open.index()
    {
        tracing::debug!(reason = chain(&error), "there is no index");
        options.interrupt.check().map_err(|source| Error::Index { image: image.file.clone(), source })?;
    }
    let locked = register.lock()?;
    if let Some(shown) = join(&locked, options, image, folder, &holder)? {
        return Ok(shown);
    }
    let open = open?;
    let last = locked.mounts()?.into_iter().map(|(_, _, mounted)| mounted.order).max();
    let (server_lock, lock_file) = locked.new_server_lock()?;
    let missing = folders::missing_folders(folder)?;
    let mut new = NewMount {
        locked: &locked,
        options,
        image: &image.file,
        open,
        lock_file,
        held: None,
        path: PathBuf::new(),
        entry: Entry {
            mount_point: folder.into(),
            image: (&*image.file).into(),
            made: missing.into_iter().map(StoredPath::from).collect(),
            scratch: Vec::new(),
            mounted: None,
        },
        mounted: Mounted {
            holders: vec![holder],
            stack: Vec::new(),
            server_lock: Some(server_lock.into()),
            order: last.map_or(0, |order| order + 1),
            limit: options.layer.limit(),
            read_only: options.layer == Layer::None,
            boot_id: register::boot_id(),
            namespace: register::mount_namespace(),
            complete: false,
        },
    };
    new.entry.mounted = Some(new.mounted.clone());
    new.path = locked.add_mount(&new.entry)?;
    let result = new.by_any_road(closed).and_then(|()| new.finish());
    if result.is_err() {
        new.give_up();
        drop(new);
        // The entry is not complete, hence dead.
        if let Err(error) = locked.sweep() {
            tracing::debug!(%error, "cannot tidy up; the next gonto will");
        }
    }
    result.map(|()| Shown { folder: folder.to_owned(), already: false })
}

/// Joins those who have the same image mounted there already. A mount that somebody has taken away by other means, or that
/// is broken, is cleared away instead.
fn join(
    locked: &Locked<'_>,
    options: &Options,
    image: &Image,
    folder: &Path,
    holder: &Holder,
) -> Result<Option<Shown>, Error> {
    let there = locked.mounts()?.into_iter().find(|(_, entry, _)| *entry.mount_point == *folder);
    let Some((path, mut entry, mut mounted)) = there else { return Ok(None) };
    if !is_intact(&mounted, folder) {
        if mounted.namespace != register::mount_namespace() {
            return Err(Error::MountedElsewhere { path: folder.to_owned() });
        }
        mounted.complete = false;
        entry.mounted = Some(mounted);
        locked.rewrite(&path, &entry)?;
        locked.sweep()?;
        return Ok(None);
    }
    if *entry.image != *image.file {
        let holders: Vec<_> = mounted.holders.iter().map(Holder::describe).collect();
        return Err(Error::MountPointTaken {
            path: folder.to_owned(),
            image: entry.image.to_path_buf(),
            holder: holders.join(" and "),
        });
    }
    if options.layer.limit() != mounted.limit {
        unlimited(options, folder, "it is mounted already, with another limit or none (unmount it first)")?;
    }
    tell_difference(options, folder, mounted.read_only);
    let already = mounted.holders.contains(holder);
    if !already {
        mounted.holders.push(holder.clone());
        entry.mounted = Some(mounted);
        locked.rewrite(&path, &entry)?;
    }
    Ok(Some(Shown { folder: folder.to_owned(), already }))
}

/// Whoever joins wants to know that less, or more, can be written there than was asked for.
fn tell_difference(options: &Options, folder: &Path, read_only: bool) {
    let mount_point = folder.to_owned();
    match (options.layer == Layer::None, read_only) {
        (false, true) => {
            let reason = "it is mounted already, without a layer for writes (unmount it first)".to_owned();
            options.notices.send(Notice::ReadOnly { mount_point, reason });
        }
        (true, false) => {
            let reason = "it is mounted already, with a layer for writes (unmount it first)".to_owned();
            options.notices.send(Notice::Writable { mount_point, reason });
        }
        (false, false) | (true, true) => {}
    }
}

/// Whether all of a mount is there and somebody answers.
fn is_intact(mounted: &Mounted, folder: &Path) -> bool {
    mounted.stack.iter().all(stack::Layer::is_there) && fs::metadata(folder).is_ok()
}

/// A mount that is being made.
struct NewMount<'a> {
    locked: &'a Locked<'a>,
    options: &'a Options,
    image: &'a Path,
    open: OpenImage<'a>,
    /// Who has a copy of this descriptor is the server.
    lock_file: File,
    /// Keeps the folder of the mount point from being removed.
    held: Option<File>,
    /// The register's file for `entry`.
    path: PathBuf,
    entry: Entry,
    mounted: Mounted,
}

impl NewMount<'_> {
    /// Takes the first road that works. `closed` says why a run has no namespace.
    fn by_any_road(&mut self, closed: Option<&str>) -> Result<(), Error> {
        if !rustix::process::geteuid().is_root() {
            let prefix = closed.map_or_else(String::new, |reason| format!("{reason}, and "));
            let reason = "an ordinary user cannot mount a tmpfs that all processes see";
            unlimited(self.options, &self.entry.mount_point, format!("{prefix}{reason}"))?;
        }
        self.options.backend.first_that_works(|road, reason| match road {
            Road::Erofs => self.mounting(closed, Self::erofs),
            Road::Fuse => self.mounting(closed, Self::fuse),
            Road::Extract => self.by_unpacking(reason),
        })
    }

    /// A road that mounts something at the mount point. When it is closed, nothing of it stays in the way of the next one.
    fn mounting(
        &mut self,
        closed: Option<&str>,
        road: fn(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.make_folder()?;
        let Err(error) = road(self) else {
            self.tell_shared(closed);
            // Neither the kernel nor a server in the background has anybody to tell when a file is read.
            self.open.tell_notes(true);
            return Ok(());
        };
        self.give_up();
        Err(match (error, closed) {
            (Error::Mount { source, .. }, Some(closed)) => {
                self.failed(io::Error::new(source.kind(), format!("{closed}, and {source}")))
            }
            (error, _) => error,
        })
    }

    fn failed(&self, source: io::Error) -> Error {
        let path = self.entry.mount_point.to_path_buf();
        Error::Mount { image: self.image.to_owned(), path, source }
    }

    /// The kernel reads the image itself: nothing has to run.
    fn erofs(&mut self) -> Result<(), Error> {
        if !rustix::process::geteuid().is_root() {
            return Err(self.failed(io::Error::new(io::ErrorKind::PermissionDenied, erofs::ONLY_ROOT)));
        }
        let open = self.open.index()?.clone();
        self.by_index(&open).map_err(|error| self.failed(error))?;
        self.needs_no_server();
        Ok(())
    }

    fn by_index(&mut self, open: &OpenIndex) -> io::Result<()> {
        // Nowhere yet, it is gone if gonto is. Its name is known only now, and has to be recorded before it goes to its place.
        let below = erofs::mount(open)?;
        let (upper, source) = self.unused();
        let lower = self.plan(&upper, (&below.source, &source), By::Kernel)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&below.mount, "", rustix::fs::CWD, &*lower, flags)?;
        self.overlay_by_root(&lower, &upper, (&below.source, &source))
    }

    /// A server in the background serves the image.
    fn fuse(&mut self) -> Result<(), Error> {
        let served = self.open.served()?;
        let because = |what| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        let mounted = if rustix::process::geteuid().is_root() {
            self.by_root(&served).map_err(because("FUSE cannot be mounted"))
        } else if fusermount::is_installed() {
            self.by_fusermount(&served).map_err(because("fusermount3 does not work"))
        } else {
            Err(io::Error::other("fusermount3 is not installed (package fuse3)"))
        };
        mounted.map_err(|error| self.failed(error))
    }

    /// As root: FUSE and overlayfs by mount(2), visible to all users.
    fn by_root(&mut self, served: &Served) -> io::Result<()> {
        let (upper, source) = self.unused();
        let lower = self.plan(&upper, (&source, &source), By::Kernel)?;
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let data = format!("fd={},{}", device.as_raw_fd(), ImageFs::mount_options());
        let data = std::ffi::CString::new(data)?;
        let flags = HARMLESS | MountFlags::RDONLY;
        rustix::mount::mount(&*source, &*lower, "fuse.gonto", flags, Some(data.as_c_str()))?;
        self.serve(served, device.into())?;
        if let Ok(folder) = File::open(&lower) {
            fuse::read_ahead(folder.as_fd());
        }
        self.overlay_by_root(&lower, &upper, (&source, &source))
    }

    /// overlayfs by mount(2), or where that does not work the lower folder itself, which has the source `below` there, too. Without a
    /// layer the image is where it has to be already.
    fn overlay_by_root(
        &mut self,
        lower: &Path,
        upper: &Upper,
        (below, source): (&str, &str),
    ) -> io::Result<()> {
        if self.options.layer == Layer::None {
            return Ok(());
        }
        let folder = self.entry.mount_point.clone();
        if self.options.layer.is_in_memory() {
            fs::create_dir_all(upper.folder())?;
            let data = std::ffi::CString::new(overlay::tmpfs_options(self.options.layer.limit()))?;
            rustix::mount::mount(source, upper.folder(), "tmpfs", HARMLESS, Some(data.as_c_str()))?;
        }
        let overlaid = upper.create().and_then(|()| {
            overlay::mount(lower, upper, false, |data| {
                let data = std::ffi::CString::new(data.into_encoded_bytes())?;
                Ok(rustix::mount::mount(source, &*folder, "overlay", HARMLESS, Some(data.as_c_str()))?)
            })
        });
        match overlaid {
            Err(error) if self.options.layer.limit().is_some() => return Err(error),
            Err(error) => {
                let mut stack = self.mounted.stack.clone();
                if let Some(stack::Layer::Mount { source, .. }) = stack.last_mut() {
                    below.clone_into(source);
                }
                self.record(stack)?;
                rustix::mount::mount_bind(lower, &*folder)?;
                self.tell_read_only(format!("overlayfs cannot be used: {error}"));
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// As an ordinary user: fusermount3, below fuse-overlayfs if that is there, so that the files can be written.
    fn by_fusermount(&mut self, served: &Served) -> io::Result<()> {
        if self.options.layer == Layer::None {
            return self.by_fusermount_alone(served);
        }
        let reason = if fusermount::can_overlay() {
            match self.by_fuse_overlayfs(served) {
                Ok(()) => return Ok(()),
                Err(error) => format!("fuse-overlayfs does not work: {error}"),
            }
        } else {
            "an ordinary user cannot make it writable for all processes without fuse-overlayfs".to_owned()
        };
        self.give_up();
        self.make_folder().map_err(io::Error::other)?;
        self.by_fusermount_alone(served)?;
        self.tell_read_only(reason);
        Ok(())
    }

    fn by_fusermount_alone(&mut self, served: &Served) -> io::Result<()> {
        let (_, source) = self.unused();
        let folder = self.entry.mount_point.clone();
        let mount = stack::Layer::Mount { path: folder.clone(), source: source.clone(), by: By::Fusermount };
        self.record(vec![mount])?;
        let device = fusermount::mount(&folder, &source)?;
        self.serve(served, device)
    }

    fn by_fuse_overlayfs(&mut self, served: &Served) -> io::Result<()> {
        let (upper, source) = self.unused();
        // fuse-overlayfs does not let its name be chosen.
        let lower = self.plan(&upper, (&source, fusermount::OVERLAY_SOURCE), By::Fusermount)?;
        upper.create()?;
        let device = fusermount::mount(&lower, &source)?;
        self.serve(served, device)?;
        fusermount::overlay(&lower, &upper, &self.entry.mount_point)?;
        self.tell_on_disk("fuse-overlayfs takes the writes");
        Ok(())
    }

    /// Unpacked files and a link to them.
    fn by_unpacking(&mut self, reason: &str) -> Result<(), Error> {
        let folder = self.entry.mount_point.clone();
        unlimited(self.options, &folder, reason)?;
        if self.options.layer == Layer::None && rustix::process::geteuid().is_root() {
            match self.unpacked_read_only(reason) {
                Err(Error::Mount { source, .. }) => {
                    self.give_up();
                    self.tell_writable(format!(
                        "its files are unpacked for root, and cannot be mounted read-only: {source}"
                    ));
                }
                done => return done,
            }
        }
        if fs::symlink_metadata(&folder).is_ok() {
            let source = io::Error::other(format!(
                "{reason}; the image can only be unpacked, and something lies where the link to its files has to be"
            ));
            return Err(Error::Mount { image: self.image.to_owned(), path: folder.to_path_buf(), source });
        }
        self.entry.made.retain(|made| *made != folder);
        folders::make_folders(&self.entry.made, &folder)?;
        let (clone, _) = self.unused();
        self.entry.scratch = vec![clone.folder().into()];
        // Recorded before it is made, like everything.
        self.locked.rewrite(&self.path, &self.entry)?;
        let files = self.files(clone.folder(), reason)?;
        let failed =
            |source| Error::Unpack { image: self.image.to_owned(), folder: folder.to_path_buf(), source };
        let link = stack::Layer::Link { path: folder.clone(), target: (&*files).into() };
        self.record(vec![link]).map_err(failed)?;
        std::os::unix::fs::symlink(files, &*folder).map_err(failed)?;
        self.needs_no_server();
        Ok(())
    }

    /// The unpacked files, mounted read-only: root may write to files whatever their modes say. By overlayfs, because a bind mount
    /// has no name by which it could be told from somebody else's.
    fn unpacked_read_only(&mut self, reason: &str) -> Result<(), Error> {
        let tree = unpacked::tree_of(&self.open, self.options, false, reason)?;
        self.make_folder()?;
        self.by_overlay_alone(&tree).map_err(|error| self.failed(error))?;
        self.needs_no_server();
        Ok(())
    }

    fn by_overlay_alone(&mut self, tree: &Path) -> io::Result<()> {
        let (unique, source) = self.unused();
        let (empty, folder) = (self.lower_folder(&unique), self.entry.mount_point.clone());
        self.entry.scratch = vec![(&*empty).into()];
        let mount = stack::Layer::Mount { path: folder.clone(), source: source.clone(), by: By::Kernel };
        self.record(vec![mount])?;
        fs::create_dir_all(&empty)?;
        let data = std::ffi::CString::new(overlay::read_only(tree, &empty).into_encoded_bytes())?;
        let flags = HARMLESS | MountFlags::RDONLY;
        Ok(rustix::mount::mount(&*source, &*folder, "overlay", flags, Some(data.as_c_str()))?)
    }

    /// The unpacked files: a copy at `clone` where that costs nothing, else the one tree that all share, read-only. Root may
    /// write whatever the modes say, so root gets a copy at any cost.
    fn files(&mut self, clone: &Path, reason: &str) -> Result<PathBuf, Error> {
        let failed =
            |source| Error::Unpack { image: self.image.to_owned(), folder: clone.to_owned(), source };
        let layers = clone.parent().unwrap_or(clone);
        fs::create_dir_all(layers).map_err(failed)?;
        let wanted = self.options.layer != Layer::None;
        let writable = rustix::process::geteuid().is_root()
            || (wanted && unpacked::can_share_blocks(layers).map_err(failed)?);
        let files = unpacked::tree_of(&self.open, self.options, !writable, reason)?;
        if writable {
            self.tell_on_disk("its files are unpacked");
            unpacked::copy(&files, clone, &self.options.interrupt).map_err(failed)?;
            return Ok(clone.to_owned());
        }
        self.tell_read_only("its files are unpacked, and the file system cannot clone them".into());
        Ok(files)
    }

    /// A layer and a name for mounts that nobody else has.
    fn unused(&self) -> (Upper, String) {
        let upper = Upper::unused(&self.options.cache_dir);
        let unique = upper.folder().file_name().unwrap_or_default();
        let source = format!("gonto-{}", unique.to_string_lossy());
        (upper, source)
    }

    /// Makes the folder of the mount point, and keeps it.
    fn make_folder(&mut self) -> Result<(), Error> {
        let folder = &self.entry.mount_point;
        folders::make_folders(&self.entry.made, folder)?;
        let failed = |source| Error::MountPointMissing { path: folder.to_path_buf(), source };
        self.held = folders::hold(folder).map_err(failed)?;
        Ok(())
    }

    /// A folder for what lies below, of the same name as the layer.
    fn lower_folder(&self, upper: &Upper) -> PathBuf {
        self.options.state_dir.join("lower").join(upper.folder().file_name().unwrap_or_default())
    }

    /// Records a lower mount and one above it, by the names that they will have, and makes the folder for the lower one, which it
    /// returns. Without a layer the lower one is all, and its folder the mount point.
    fn plan(&mut self, upper: &Upper, (below, above): (&str, &str), by: By) -> io::Result<PathBuf> {
        let mount = |path, source: &str| stack::Layer::Mount { path, source: source.to_owned(), by };
        if self.options.layer == Layer::None {
            let folder = self.entry.mount_point.clone();
            self.record(vec![mount(folder.clone(), below)])?;
            return Ok(folder.to_path_buf());
        }
        let lower = self.lower_folder(upper);
        self.entry.scratch = vec![upper.folder().into(), (&*lower).into()];
        let mut stack = vec![mount((&*lower).into(), below), mount(self.entry.mount_point.clone(), above)];
        if by == By::Kernel && self.options.layer.is_in_memory() {
            stack.insert(0, mount(upper.folder().into(), above));
        }
        self.record(stack)?;
        fs::create_dir_all(&lower)?;
        Ok(lower)
    }

    fn record(&mut self, stack: Vec<stack::Layer>) -> io::Result<()> {
        self.mounted.stack = stack;
        self.entry.mounted = Some(self.mounted.clone());
        self.locked.rewrite(&self.path, &self.entry).map_err(io::Error::other)
    }

    fn serve(&self, served: &Served, device: std::os::fd::OwnedFd) -> io::Result<()> {
        // A process of its own has nobody to tell anything.
        let file_system = ImageFs::new(served.clone(), self.image, Notices::new(drop));
        let mut keep = self.open.descriptors();
        keep.push(self.lock_file.as_raw_fd());
        keep.extend(self.held.as_ref().map(AsRawFd::as_raw_fd));
        server::start(file_system, device, &keep)
    }

    /// Nobody holds the lock of a server, so nobody shall look whether it is held.
    fn needs_no_server(&mut self) {
        if let Some(lock) = self.mounted.server_lock.take()
            && let Err(error) = fs::remove_file(&*lock)
        {
            tracing::debug!(%error, "the lock of a server that is not needed stays");
        }
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.mounted.complete = true;
        self.entry.mounted = Some(self.mounted.clone());
        self.locked.rewrite(&self.path, &self.entry)
    }

    /// Where the layer should be in memory, and cannot.
    fn tell_on_disk(&self, reason: &str) {
        if self.options.layer.is_in_memory() {
            let mount_point = self.entry.mount_point.to_path_buf();
            self.options.notices.send(Notice::WritesOnDisk { mount_point, reason: reason.to_owned() });
        }
    }

    /// Where nothing can be written, and not everybody wants that.
    fn tell_read_only(&mut self, reason: String) {
        self.mounted.read_only = true;
        if self.options.layer != Layer::None {
            let mount_point = self.entry.mount_point.to_path_buf();
            self.options.notices.send(Notice::ReadOnly { mount_point, reason });
        }
    }

    /// Where nothing should be written, and can be.
    fn tell_writable(&mut self, reason: String) {
        self.mounted.read_only = false;
        let mount_point = self.entry.mount_point.to_path_buf();
        self.options.notices.send(Notice::Writable { mount_point, reason });
    }

    /// A run expects mounts of its own.
    fn tell_shared(&self, closed: Option<&str>) {
        if let Some(reason) = closed {
            let mount_point = self.entry.mount_point.to_path_buf();
            self.options.notices.send(Notice::Shared { mount_point, reason: reason.to_owned() });
        }
    }

    /// Takes away what the last road has made. The sweep that follows a failure removes the rest.
    fn give_up(&mut self) {
        self.held = None;
        for layer in self.mounted.stack.iter().rev() {
            if let Err(error) = layer.take_away(InUse::Detach) {
                tracing::debug!(?layer, %error, "not unmounted");
            }
        }
        self.entry.scratch.retain(|folder| !folders::remove_tree(folder));
        for folder in self.entry.made.iter().rev() {
            folders::remove_unless_held(folder);
        }
    }
}

/// Gives up what `holder` holds of the folders that are `wanted`. Returns the folders, and what could not be unmounted.
pub(super) fn unmount(
    locked: &Locked<'_>,
    holder: &Holder,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
    let (mut freed, mut errors) = (Vec::new(), Vec::new());
    for (path, mut entry, mut mounted) in locked.mounts()?.into_iter().rev() {
        let folder = entry.mount_point.to_path_buf();
        if !mounted.holders.contains(holder) || !wanted(&folder) {
            continue;
        }
        mounted.holders.retain(|other| other != holder);
        if mounted.holders.is_empty()
            && let Err(error) = take_away(&mounted, &folder)
        {
            errors.push(error);
            continue;
        }
        // An entry without holders is dead; the sweep removes it and what belongs to it.
        entry.mounted = Some(mounted);
        locked.rewrite(&path, &entry)?;
        freed.push(folder);
    }
    locked.sweep()?;
    Ok((freed, errors))
}

/// Only what users see, the topmost mount, can be busy: what lies below goes as soon as the kernel has let go of it.
fn take_away(mounted: &Mounted, folder: &Path) -> Result<(), Error> {
    if mounted.namespace != register::mount_namespace() {
        return Err(Error::MountedElsewhere { path: folder.to_owned() });
    }
    let mut layers = mounted.stack.iter().rev();
    if let Some(Err(source)) = layers.next().map(|top| top.take_away(InUse::Keep)) {
        let users = users_of(folder);
        // A run that has its own mount of the image above ours keeps ours busy, too. It does not need it.
        let busy = source.kind() == io::ErrorKind::ResourceBusy;
        let detached = busy && users.is_empty() && is_detached(mounted);
        return if detached {
            Ok(())
        } else {
            Err(Error::Unmount { path: folder.to_owned(), users, source })
        };
    }
    for layer in layers {
        let failed = |source| Error::Unmount { path: folder.to_owned(), users: String::new(), source };
        layer.take_away(InUse::Detach).map_err(failed)?;
    }
    mounted.wait_for_server();
    Ok(())
}

fn is_detached(mounted: &Mounted) -> bool {
    mounted.stack.iter().rev().all(|layer| layer.take_away(InUse::Detach).is_ok())
}

/// The processes that work in `folder` or have a file of it open, for an error message.
fn users_of(folder: &Path) -> String {
    let device = fs::metadata(folder).map(|folder| folder.dev()).ok();
    let uses = |link: &Path| {
        let inside = fs::read_link(link).is_ok_and(|target| target.starts_with(folder));
        // Our own server keeps the folder below the mount open, which has the same name.
        let below = || fs::metadata(link).is_ok_and(|found| found.is_dir() && Some(found.dev()) != device);
        inside && !below()
    };
    let mut users = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        let mut files = fs::read_dir(path.join("fd")).into_iter().flatten().flatten().map(|fd| fd.path());
        if ["cwd", "exe", "root"].iter().any(|link| uses(&path.join(link))) || files.any(|file| uses(&file)) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            users.push(format!("{} ({})", name.trim(), process.file_name().display()));
        }
    }
    if users.is_empty() {
        String::new()
    } else {
        format!(", which is used by {}: end that first", users.join(", "))
    }
}
