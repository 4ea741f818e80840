//! One run: its mounts and its commands.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, UnmountFlags};

use super::erofs;
use super::fuse::{self, ImageFs};
use super::namespace::{Namespace, NamespaceKind};
use super::opened::OpenImage;
use super::overlay::{self, Upper};
use super::register::{Claim, Holder, Register};
use super::written::{self, FOLDER};
use super::{HARMLESS, folder_of, fusermount, resolved, shared, stack, unlimited, unpacked};
use crate::backend::{Backend, Road};
use crate::error::chain;
use crate::{Command, Error, Image, Layer, Notice, Options, Visibility, Written};

/// How long killed processes may take to let go of a mount.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// MS_REMOUNT of mount(2), which rustix leaves out: changes the flags of what is mounted.
const REMOUNT: u32 = 32;

/// The images and processes of one run. They end with it.
///
/// ```no_run
/// use gonto_mount::{Backend, Command, Image, Interrupt, Layer, MountPoint, Notices, Options, Session};
///
/// let options = Options {
///     state_dir: "/var/lib/gonto".into(),
///     cache_dir: "/var/cache/gonto".into(),
///     backend: Backend::Auto,
///     layer: Layer::Cache,
///     notices: Notices::new(|notice| eprintln!("{notice}")),
///     interrupt: Interrupt::new()?,
/// };
/// let mut session = Session::new(options)?;
/// let image = Image { file: "/var/cache/gonto/jdk/jdk_v21_multi.vhd".into(), mount_point: MountPoint::Automatic };
/// let jdk = session.mount(&image)?;
/// let line = format!("{}/bin/javac Main.java", jdk.display());
/// let status = session.run(&Command::shell(&line, vec![], ".".as_ref()))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    options: Options,
    register: Register,
    mounted: Vec<Mounted>,
    /// What has been unmounted. Processes that a script has left running may still use its layer, so the claims are given
    /// back when those have ended.
    unmounted: Vec<Mounted>,
    /// None only while the session is dropped.
    namespace: Option<Namespace>,
    /// A folder in which only the namespace sees something.
    scratch: PathBuf,
    view: View,
}

/// Who sees the mounts of a session.
#[derive(Debug)]
enum View {
    /// Its commands.
    Own,
    /// Everybody, as was asked for.
    Shared,
    /// Its commands see mounts of their own, and everybody else the images as they are.
    Both,
    /// Everybody, because the system forbids namespaces; the reason.
    Closed(String),
}

#[derive(Debug)]
struct Mounted {
    image: PathBuf,
    folder: PathBuf,
    /// Mounts in the namespace, in the order in which they were made.
    stack: Vec<PathBuf>,
    /// The claim holds a mount that everybody sees.
    shared: bool,
    /// What the run writes, where it can write and nobody else writes there: the upper folder, and where it lies. Open, because
    /// one in memory is seen in the namespace only.
    writes: Option<(OwnedFd, Layer)>,
    /// How others see that this mount is in use. Released last.
    claim: Claim,
}

impl Mounted {
    fn failed(&self, source: io::Error) -> Error {
        Error::Mount { image: self.image.clone(), path: self.folder.clone(), source }
    }
}

impl Session {
    /// Starts the process that holds the run together. Where namespaces are forbidden, only the end of the run's
    /// processes is certain, and mounts take other roads.
    ///
    /// # Errors
    /// [`Error::State`] when the state folder cannot be used, [`Error::Processes`] when no process can be started.
    pub fn new(options: Options) -> Result<Self, Error> {
        Self::with_visibility(options, Visibility::Scripts)
    }

    /// Like [`new`](Self::new); its images are seen by those that `visibility` names.
    ///
    /// # Errors
    /// As there.
    pub fn with_visibility(options: Options, visibility: Visibility) -> Result<Self, Error> {
        let options = resolved(options)?;
        let register = Register::open(&options)?;
        let scratch = options.state_dir.join("ns");
        std::fs::create_dir_all(&scratch).map_err(|source| Error::State { path: scratch.clone(), source })?;
        // Only root and fusermount3 mount for everybody.
        let mounts = rustix::process::geteuid().is_root()
            || (options.backend != Backend::Extract && fusermount::is_installed());
        let entered = match visibility {
            Visibility::Everybody if !mounts => Namespace::processes_only(),
            _ => Namespace::new(&scratch),
        };
        let (namespace, view) = match entered {
            Ok(namespace) => {
                let view = match (visibility, namespace.kind()) {
                    (Visibility::Scripts, _) => View::Own,
                    (Visibility::Everybody, NamespaceKind::User) => View::Both,
                    (Visibility::Everybody, _) => View::Shared,
                };
                (namespace, view)
            }
            Err(error) => {
                let reason = chain(&error);
                tracing::debug!(reason, "no namespace");
                let only = Namespace::processes_only()
                    .map_err(|error| Error::Processes { source: io::Error::other(error) })?;
                let view = match visibility {
                    Visibility::Scripts => View::Closed(reason),
                    Visibility::Everybody => View::Shared,
                };
                (only, view)
            }
        };
        Ok(Self {
            options,
            register,
            mounted: Vec::new(),
            unmounted: Vec::new(),
            namespace: Some(namespace),
            scratch,
            view,
        })
    }

    /// Shows an image to the commands of this run and returns the folder in which it appears. What the run writes there is
    /// thrown away at its end, where the road allows writing.
    ///
    /// # Errors
    /// When the image cannot be read, the mount point cannot be used, or no road works.
    pub fn mount(&mut self, image: &Image) -> Result<PathBuf, Error> {
        let folder = folder_of(image, &self.options);
        if let Some(there) = self.mounted.iter().find(|mounted| mounted.folder == folder) {
            let (first, second) = (there.image.clone(), image.file.clone());
            return Err(Error::MountPointTwice { path: folder, first, second });
        }
        if let Some(hidden) = self.mounted.iter().find(|mounted| mounted.folder.starts_with(&folder)) {
            let (outer, inner) = (folder, hidden.folder.clone());
            return Err(Error::MountPointHides { outer, inner });
        }
        let mounted = match &self.view {
            View::Own => self.mount_inside(image, folder.clone())?,
            View::Closed(reason) => self.mount_for_everybody(image, folder.clone(), Some(reason))?,
            View::Shared => {
                let mut mounted = self.mount_for_everybody(image, folder.clone(), None)?;
                if let Err(error) = self.bring_inside(&mut mounted) {
                    self.take_back(mounted);
                    return Err(error);
                }
                mounted
            }
            View::Both => {
                let mut mounted = self.mount_inside(image, folder.clone())?;
                match self.show_to_others(image, &mut mounted) {
                    Ok(()) => mounted,
                    Err(error) => {
                        self.take_back(mounted);
                        let Some(reason) = error.closes_a_road() else { return Err(error) };
                        tracing::debug!(reason, "everybody sees one link to unpacked files");
                        self.mount_for_everybody(image, folder.clone(), None)?
                    }
                }
            }
        };
        self.mounted.push(mounted);
        Ok(folder)
    }

    /// Executes a command and waits for its end. Raising the interrupt of the options ends it.
    ///
    /// # Errors
    /// [`Error::Execute`] when it cannot be executed at all. How it ended is in the status.
    pub fn run(&self, command: &Command) -> Result<ExitStatus, Error> {
        self.namespace()?.run(command, &self.options.interrupt).map_err(|source| Error::Execute {
            program: command.arguments().first().map_or_else(String::new, |name| name.display().to_string()),
            source,
        })
    }

    /// What the run has written to the images that are mounted now, in their order; also to those to which it has written
    /// nothing. What is not there: images that cannot be written, those that the run shares with others, and all that is left
    /// when an interrupt is raised. It takes as long as what was written takes to be listed.
    #[must_use]
    pub fn written(&self) -> Vec<Written> {
        let mut all = Vec::new();
        for Mounted { folder, writes, .. } in &self.mounted {
            let Some((upper, layer)) = writes else { continue };
            match written::count(upper, &self.options.interrupt) {
                Ok(count) => all.push(Written {
                    folder: folder.clone(),
                    files: count.files,
                    bytes: count.bytes,
                    deleted: count.deleted,
                    partial: count.partial,
                    full: count.full,
                    layer: *layer,
                }),
                Err(error) => tracing::debug!(folder = %folder.display(), %error, "not counted"),
            }
        }
        all
    }

    /// Takes the images away, the last one first. One failure does not stop the others.
    pub fn unmount_all(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        while let Some(mut mounted) = self.mounted.pop() {
            mounted.writes = None;
            if let Err(error) = self.unmount(&mounted) {
                errors.push(error);
            }
            self.unmounted.push(mounted);
        }
        errors
    }

    /// What failed before anything has used it leaves nothing.
    fn take_back(&self, mut mounted: Mounted) {
        mounted.writes = None;
        if let Err(error) = self.unmount(&mounted) {
            tracing::debug!(%error, "unmounting after a failure");
        }
    }

    fn is_inside_a_mount(&self, path: &Path) -> bool {
        self.mounted.iter().any(|mounted| path != mounted.folder && path.starts_with(&mounted.folder))
    }

    fn namespace(&self) -> Result<&Namespace, Error> {
        let ended = || Error::Processes { source: io::ErrorKind::NotConnected.into() };
        self.namespace.as_ref().ok_or_else(ended)
    }

    /// With a namespace: a lower folder by the first road that works, and overlayfs above it if anything may be written.
    fn mount_inside(&self, image: &Image, folder: PathBuf) -> Result<Mounted, Error> {
        let failed = |source| Error::Mount { image: image.file.clone(), path: folder.clone(), source };
        let namespace = self.namespace()?;
        let open = OpenImage::new(&image.file, &self.options)?;
        let upper = (self.options.layer != Layer::None).then(|| Upper::unused(&self.options.cache_dir));
        let scratch = upper.iter().map(|upper| upper.folder().into()).collect();
        let claim = self.register.claim(&folder, &image.file, scratch)?;

        let own = self.scratch.join((self.mounted.len() + self.unmounted.len()).to_string());
        let lower = own.join("lower");
        for path in [&own, &lower] {
            namespace.make_folder(path).map_err(failed)?;
        }
        // Inside another image's mount the folder that the host sees is hidden.
        let inside: Vec<&Path> = folder.ancestors().collect();
        for path in inside.into_iter().rev().filter(|path| self.is_inside_a_mount(path)) {
            namespace
                .make_folder(path)
                .map_err(|source| Error::MountPointMissing { path: path.to_owned(), source })?;
        }
        let mut mounted = Mounted {
            image: image.file.clone(),
            folder: folder.clone(),
            stack: Vec::new(),
            shared: false,
            writes: None,
            claim,
        };
        let lower = self.options.backend.first_that_works(|road, reason| match road {
            Road::Erofs => self.erofs(&mut mounted, &open, &lower),
            Road::Fuse => self.fuse(&mut mounted, &open, &lower),
            Road::Extract => unpacked::tree_of(&open, &self.options, false, reason),
        })?;
        match upper {
            Some(upper) => self.put_above(&lower, &upper, &own, &mut mounted)?,
            None => {
                self.show_read_only(&lower, &folder).map_err(failed)?;
                mounted.stack.push(folder);
            }
        }
        Ok(mounted)
    }

    /// The kernel reads the image itself, by its index.
    fn erofs(&self, mounted: &mut Mounted, open: &OpenImage<'_>, lower: &Path) -> Result<PathBuf, Error> {
        let namespace = self.namespace()?;
        if namespace.kind() != NamespaceKind::Root {
            return Err(mounted.failed(io::Error::new(io::ErrorKind::PermissionDenied, erofs::ONLY_ROOT)));
        }
        let mount = erofs::mount(open.index()?);
        mount
            .and_then(|mount| namespace.attach(mount.mount.as_fd(), lower))
            .map_err(|error| mounted.failed(error))?;
        // Nobody of ours is asked when a file is read.
        open.tell_notes(true);
        mounted.stack.push(lower.to_owned());
        Ok(lower.to_owned())
    }

    /// gonto serves the image at `lower`, from this process: it needs no other one, and no mount outlives it.
    fn fuse(&self, mounted: &mut Mounted, open: &OpenImage<'_>, lower: &Path) -> Result<PathBuf, Error> {
        let namespace = self.namespace()?;
        let served = open.served()?;
        let serve = || {
            let device =
                namespace.mount_fuse(lower, HARMLESS | MountFlags::RDONLY, &ImageFs::mount_options())?;
            let file_system = ImageFs::new(served, open.path(), self.options.notices.clone());
            let session = file_system.connect(device)?;
            // The threads end when the last process of the namespace has, because that ends the connection.
            std::thread::Builder::new().name("gonto-fuse".to_owned()).spawn(move || {
                if let Err(error) = session.run() {
                    tracing::debug!(%error, "the FUSE connection has ended");
                }
            })
        };
        serve().map_err(|error| {
            mounted.failed(io::Error::new(error.kind(), format!("/dev/fuse cannot be used: {error}")))
        })?;
        if namespace.kind() == NamespaceKind::Root
            && let Ok(folder) = namespace.open_folder(lower)
        {
            fuse::read_ahead(folder.as_fd());
        }
        open.tell_notes(false);
        mounted.stack.push(lower.to_owned());
        Ok(lower.to_owned())
    }

    /// Mounts a writable layer above `lower`: where the options want it, or if that is not possible on the cache's file system, in
    /// memory, or none.
    fn put_above(&self, lower: &Path, upper: &Upper, own: &Path, mounted: &mut Mounted) -> Result<(), Error> {
        let (image, folder) = (mounted.image.clone(), mounted.folder.clone());
        let failed = |source| Error::Mount { image, path: folder.clone(), source };
        let namespace = self.namespace()?;
        let user = namespace.kind() == NamespaceKind::User;
        let overlay = |upper: &Upper| {
            overlay::mount(lower, upper, user, |data| {
                namespace.mount(OsStr::new("gonto"), &folder, "overlay", HARMLESS, &data)
            })
        };
        let on_disk = || {
            upper.create()?;
            let opened = rustix::fs::open(upper.upper(), FOLDER, Mode::empty())?;
            overlay(upper).map(|()| opened)
        };
        let mut layer = self.options.layer;
        let mut instead = None;
        if layer == Layer::Cache {
            match on_disk() {
                Ok(opened) => {
                    mounted.stack.push(folder.clone());
                    mounted.writes = Some((opened, layer));
                    return Ok(());
                }
                Err(error) => {
                    instead = Some(format!("the cache's file system cannot hold it: {error}"));
                    layer = Layer::Memory { limit: None };
                }
            }
        }

        let upper = Upper::at(own.join("layer"));
        let data = overlay::tmpfs_options(layer.limit());
        let mut in_memory = || {
            namespace.make_folder(upper.folder())?;
            namespace.mount(OsStr::new("gonto"), upper.folder(), "tmpfs", HARMLESS, data.as_ref())?;
            mounted.stack.push(upper.folder().to_owned());
            namespace.make_folder(&upper.upper())?;
            namespace.make_folder(&upper.work())?;
            let opened = namespace.open_folder(&upper.upper())?;
            overlay(&upper).map(|()| opened)
        };
        match in_memory() {
            Ok(opened) => {
                mounted.writes = Some((opened, layer));
                if let Some(reason) = instead {
                    self.options.notices.send(Notice::WritesInMemory { mount_point: folder.clone(), reason });
                }
            }
            Err(error) => {
                let reason = format!("overlayfs cannot be used: {error}");
                unlimited(&self.options, &folder, &reason)?;
                self.show_read_only(lower, &folder).map_err(failed)?;
                self.options.notices.send(Notice::ReadOnly { mount_point: folder.clone(), reason });
            }
        }
        mounted.stack.push(folder);
        Ok(())
    }

    fn show_read_only(&self, lower: &Path, folder: &Path) -> io::Result<()> {
        let namespace = self.namespace.as_ref().ok_or(Errno::SRCH)?;
        let bind = MountFlags::BIND | MountFlags::REC;
        namespace.mount(lower.as_os_str(), folder, "", bind, OsStr::new(""))?;
        let mut remount =
            MountFlags::from_bits_retain(REMOUNT) | MountFlags::BIND | MountFlags::RDONLY | HARMLESS;
        // Unpacked files may lie where nothing is executed. A user may not change that, and so has to repeat it.
        let flags = rustix::fs::fstatvfs(namespace.open_folder(folder)?)?.f_flag;
        if flags.contains(StatVfsMountFlags::NOEXEC) {
            remount |= MountFlags::NOEXEC;
        }
        namespace.mount(OsStr::new(""), folder, "", remount, OsStr::new(""))
    }

    /// Without a namespace: the mount is visible to all, and shared by those that want the same at the same time. `closed` says why
    /// it has to be so, unless it was asked for.
    fn mount_for_everybody(
        &self,
        image: &Image,
        folder: PathBuf,
        closed: Option<&str>,
    ) -> Result<Mounted, Error> {
        let claim = self.register.claim(&self.options.state_dir, &image.file, vec![])?;
        let holder = Holder::Run { claim: claim.path().into() };
        shared::mount(&self.register, &self.options, image, &folder, holder, closed)?;
        let image = image.file.clone();
        Ok(Mounted { image, folder, stack: Vec::new(), shared: true, writes: None, claim })
    }

    /// The commands of root see the very mount that everybody sees. The kernel shows it to them by itself only where the system has its
    /// mounts shared.
    fn bring_inside(&self, mounted: &mut Mounted) -> Result<(), Error> {
        let namespace = self.namespace()?;
        // Unpacked files are a link, which is there for all.
        if namespace.kind() != NamespaceKind::Root || !stack::is_mount_point(&mounted.folder) {
            return Ok(());
        }
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        rustix::mount::open_tree(CWD, &mounted.folder, clone)
            .map_err(io::Error::from)
            .and_then(|mount| namespace.attach(mount.as_fd(), &mounted.folder))
            .map_err(|error| mounted.failed(error))?;
        mounted.stack.push(mounted.folder.clone());
        Ok(())
    }

    /// Beside the mount that the commands see: the bare image for everybody else, at the same path. A layer there would be another one
    /// than that of the commands, which nobody could make sense of.
    fn show_to_others(&self, image: &Image, mounted: &mut Mounted) -> Result<(), Error> {
        let holder = Holder::Run { claim: mounted.claim.path().into() };
        let bare = Options { layer: Layer::None, ..self.options.clone() };
        shared::mount(&self.register, &bare, image, &mounted.folder, holder, None)?;
        mounted.shared = true;
        Ok(())
    }

    fn unmount(&self, mounted: &Mounted) -> Result<(), Error> {
        let namespace = self.namespace()?;
        for path in mounted.stack.iter().rev() {
            // Lazily: a process that the script has left running may still be in there; it ends with the run.
            namespace.unmount(path, UnmountFlags::DETACH).map_err(|source| Error::Unmount {
                path: path.clone(),
                users: String::new(),
                source,
            })?;
        }
        if mounted.shared { self.unmount_for_everybody(mounted) } else { Ok(()) }
    }
}

impl Session {
    /// What the script has left running may be in there. It ends with the run anyway, so it ends now if it is in the way.
    fn unmount_for_everybody(&self, mounted: &Mounted) -> Result<(), Error> {
        let holder = Holder::Run { claim: mounted.claim.path().into() };
        let unmount = || {
            let (_, errors) = shared::unmount(&self.register.lock_to_clean_up()?, &holder, &|_| true)?;
            errors.into_iter().next().map_or(Ok(()), Err)
        };
        let Err(mut error) = unmount() else { return Ok(()) };
        if matches!(self.view, View::Both) {
            // What the script has left running has mounts of its own.
            return Err(error);
        }
        self.namespace()?.kill_all().map_err(|source| Error::Processes { source })?;
        let deadline = Instant::now() + LAST_BREATH;
        while Instant::now() < deadline {
            match unmount() {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(error)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for error in self.unmount_all() {
            tracing::debug!(%error, "unmounting at the end of the session");
        }
        // Ends all processes; after that nothing of the run uses its folders, and the claims may go.
        drop(self.namespace.take());
    }
}
