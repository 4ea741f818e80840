//! Images that every process of the user sees, until they are unmounted.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gonto_image::FileTree;
use rustix::mount::{MountFlags, UnmountFlags};

use super::fuse::TreeFs;
use super::overlay::{self, Upper};
use super::register::{self, Entry, Holder, Layer, Locked, Mounted, Register};
use super::{folder_of, folders, fusermount, lock, open_image, server, tell_notes, unpacked};
use crate::{Error, Image, Notice, Options, Shown};

const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// A server ends as soon as the kernel has let go of its mount.
const SERVER_END: Duration = Duration::from_secs(5);

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
        let register = Register::open(&options)?;
        Ok(Self { register, options })
    }

    /// Shows an image until [`unmount`](Self::unmount) is called for the same target. Two targets may share a mount.
    ///
    /// # Errors
    /// When the image cannot be read, the mount point cannot be used or is taken, or no road works.
    pub fn mount(&self, image: &Image, target: &str, folder: &Path) -> Result<Shown, Error> {
        let holder = Holder::Target { name: target.to_owned(), folder: folder.to_owned() };
        let at = folder_of(image, &self.options);
        mount(&self.register, &self.options, image, &at, holder, None)
    }

    /// Takes away what a target has mounted, the last image first, unless another target needs it too. Returns the folders
    /// that the target no longer holds, and what failed.
    ///
    /// # Errors
    /// [`Error::State`] when the register cannot be read.
    pub fn unmount(&self, target: &str, folder: &Path) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
        unmount(&self.register, &Holder::Target { name: target.to_owned(), folder: folder.to_owned() })
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
    let locked = register.lock()?;
    if let Some(shown) = join(&locked, image, folder, &holder)? {
        return Ok(shown);
    }
    let (tree, image_fd) = open_image(&image.file)?;
    let last = locked.mounts()?.into_iter().filter_map(|(_, entry)| Some(entry.mounted?.order)).max();
    let (server_lock, lock_file) = locked.new_server_lock()?;
    let mut new = NewMount {
        locked: &locked,
        options,
        image: &image.file,
        tree,
        keep: [image_fd, lock_file.as_raw_fd()],
        path: PathBuf::new(),
        entry: Entry {
            mount_point: folder.to_owned(),
            image: image.file.clone(),
            made: folders::missing_folders(folder)?,
            scratch: Vec::new(),
            mounted: Some(Mounted {
                holders: vec![holder],
                stack: Vec::new(),
                server_lock: Some(server_lock),
                order: last.map_or(0, |order| order + 1),
                boot_id: register::boot_id(),
                complete: false,
            }),
        },
    };
    new.path = locked.add_mount(&new.entry)?;
    let result = new.by_any_road(closed).and_then(|()| new.finish());
    if result.is_err() {
        new.give_up();
        drop(lock_file);
        if let Err(error) = locked.sweep() {
            tracing::debug!(%error, "cannot tidy up; the next gonto will");
        }
    }
    result.map(|()| Shown { folder: folder.to_owned(), already: false })
}

/// Joins those who have the same image mounted there already.
fn join(locked: &Locked<'_>, image: &Image, folder: &Path, holder: &Holder) -> Result<Option<Shown>, Error> {
    let there = locked.mounts()?.into_iter().find(|(_, entry)| entry.mount_point == folder);
    let Some((path, mut entry)) = there else { return Ok(None) };
    let Some(mounted) = &mut entry.mounted else { return Ok(None) };
    if entry.image != image.file {
        let holders: Vec<_> = mounted.holders.iter().map(Holder::describe).collect();
        return Err(Error::MountPointTaken {
            path: folder.to_owned(),
            image: entry.image.clone(),
            holder: holders.join(" and "),
        });
    }
    let already = mounted.holders.contains(holder);
    if !already {
        mounted.holders.push(holder.clone());
        locked.rewrite(&path, &entry)?;
    }
    Ok(Some(Shown { folder: folder.to_owned(), already }))
}

/// A mount that is being made.
struct NewMount<'a> {
    locked: &'a Locked<'a>,
    options: &'a Options,
    image: &'a Path,
    tree: Arc<FileTree>,
    /// Descriptors that the server keeps.
    keep: [RawFd; 2],
    /// The register's file for `entry`.
    path: PathBuf,
    entry: Entry,
}

impl NewMount<'_> {
    /// Tries the roads in order; the reason why one is closed is told with the next one.
    fn by_any_road(&mut self, closed: Option<&str>) -> Result<(), Error> {
        let prefix = closed.map_or_else(String::new, |reason| format!("{reason}, and "));
        let reason = if rustix::process::geteuid().is_root() {
            folders::make_folders(&self.entry.made, &self.entry.mount_point)?;
            match self.by_root() {
                Ok(()) => return Ok(()),
                Err(error) => format!("{prefix}FUSE cannot be mounted: {error}"),
            }
        } else if fusermount::is_installed() {
            folders::make_folders(&self.entry.made, &self.entry.mount_point)?;
            match self.by_fusermount() {
                Ok(()) => return Ok(()),
                Err(error) => format!("{prefix}fusermount3 does not work: {error}"),
            }
        } else {
            format!("{prefix}fusermount3 is not installed (package fuse3)")
        };
        self.give_up();
        self.by_unpacking(&reason)
    }

    /// As root: FUSE and overlayfs by mount(2), visible to all users.
    fn by_root(&mut self) -> io::Result<()> {
        let folder = self.entry.mount_point.clone();
        let upper = Upper::unused(&self.options.cache_dir);
        let lower =
            self.plan(&upper, |lower| vec![Layer::Kernel(lower.to_owned()), Layer::Kernel(folder.clone())])?;
        let device = fs::File::options().read(true).write(true).open("/dev/fuse")?;
        let data = format!("fd={},{}", device.as_raw_fd(), TreeFs::mount_options());
        let data = std::ffi::CString::new(data)?;
        rustix::mount::mount(
            "gonto",
            &lower,
            "fuse.gonto",
            HARMLESS | MountFlags::RDONLY,
            Some(data.as_c_str()),
        )?;
        server::start(self.file_system(), device.into(), &self.keep)?;

        let overlaid = upper.create().and_then(|()| {
            let options = overlay::options(&lower, &upper, false);
            let options = std::ffi::CString::new(options.into_encoded_bytes())?;
            Ok(rustix::mount::mount("gonto", &folder, "overlay", HARMLESS, Some(options.as_c_str()))?)
        });
        if let Err(error) = overlaid {
            rustix::mount::mount_bind(&lower, &folder)?;
            self.tell_read_only(format!("overlayfs cannot be used: {error}"));
        }
        Ok(())
    }

    /// As an ordinary user: fusermount3, below fuse-overlayfs if that is there, so that the files can be written.
    fn by_fusermount(&mut self) -> io::Result<()> {
        let reason = if fusermount::can_overlay() {
            match self.by_fuse_overlayfs() {
                Ok(()) => return Ok(()),
                Err(error) => format!("fuse-overlayfs does not work: {error}"),
            }
        } else {
            "an ordinary user cannot make it writable for all processes without fuse-overlayfs".to_owned()
        };
        self.give_up();
        let folder = self.entry.mount_point.clone();
        folders::make_folders(&self.entry.made, &folder).map_err(io::Error::other)?;
        self.set_stack(vec![Layer::Fusermount(folder.clone())]).map_err(io::Error::other)?;
        let device = fusermount::mount(&folder)?;
        server::start(self.file_system(), device, &self.keep)?;
        self.tell_read_only(reason);
        Ok(())
    }

    fn by_fuse_overlayfs(&mut self) -> io::Result<()> {
        let folder = self.entry.mount_point.clone();
        let upper = Upper::unused(&self.options.cache_dir);
        let layers =
            |lower: &Path| vec![Layer::Fusermount(lower.to_owned()), Layer::Fusermount(folder.clone())];
        let lower = self.plan(&upper, layers)?;
        upper.create()?;
        let device = fusermount::mount(&lower)?;
        server::start(self.file_system(), device, &self.keep)?;
        fusermount::overlay(&lower, &upper, &folder)
    }

    /// Unpacked files and a link to them.
    fn by_unpacking(&mut self, reason: &str) -> Result<(), Error> {
        let folder = self.entry.mount_point.clone();
        if fs::symlink_metadata(&folder).is_ok() {
            let source = io::Error::other(format!(
                "{reason}; the image can only be unpacked, and something lies where the link to its files has to be"
            ));
            return Err(Error::Mount { image: self.image.to_owned(), path: folder, source });
        }
        self.entry.made.retain(|made| *made != folder);
        folders::make_folders(&self.entry.made, &self.entry.mount_point)?;
        let clone = Upper::unused(&self.options.cache_dir).folder().to_owned();
        self.entry.scratch = vec![clone.clone()];
        self.set_stack(vec![Layer::Link(folder.clone())])?;

        let failed = |source| Error::Unpack { image: self.image.to_owned(), folder: folder.clone(), source };
        let files = self.files(&clone, reason).map_err(failed)?;
        std::os::unix::fs::symlink(files, &folder).map_err(failed)?;
        if let Some(lock) = self.entry.mounted.as_mut().and_then(|mounted| mounted.server_lock.take()) {
            let _ = fs::remove_file(lock);
        }
        self.locked.rewrite(&self.path, &self.entry)
    }

    /// The unpacked files: a copy at `clone` where that costs nothing, else the one tree that all share, read-only. Root may
    /// write whatever the modes say, so root gets a copy at any cost.
    fn files(&self, clone: &Path, reason: &str) -> io::Result<PathBuf> {
        let layers = clone.parent().unwrap_or(clone);
        fs::create_dir_all(layers)?;
        let writable = rustix::process::geteuid().is_root() || unpacked::can_share_blocks(layers)?;
        let files = unpacked::tree_of(self.image, &self.tree, self.options, !writable, reason)?;
        if writable {
            return unpacked::copy(&files, clone, &self.options.interrupt).map(|()| clone.to_owned());
        }
        self.tell_read_only("its files are unpacked, and the file system cannot clone them".into());
        Ok(files)
    }

    /// Records what is about to be made, and makes the folder for the lower layer.
    fn plan(&mut self, upper: &Upper, stack: impl FnOnce(&Path) -> Vec<Layer>) -> io::Result<PathBuf> {
        let unique = upper.folder().file_name().unwrap_or_default();
        let lower = self.options.state_dir.join("lower").join(unique);
        self.entry.scratch = vec![upper.folder().to_owned(), lower.clone()];
        self.set_stack(stack(&lower)).map_err(io::Error::other)?;
        fs::create_dir_all(&lower)?;
        Ok(lower)
    }

    fn finish(&mut self) -> Result<(), Error> {
        // A server in the background has nobody to tell when a file is read.
        let served = self.entry.mounted.as_ref().is_some_and(|mounted| mounted.server_lock.is_some());
        tell_notes(&self.tree, self.image, &self.options.notices, served);
        if let Some(mounted) = &mut self.entry.mounted {
            mounted.complete = true;
        }
        self.locked.rewrite(&self.path, &self.entry)
    }

    fn set_stack(&mut self, stack: Vec<Layer>) -> Result<(), Error> {
        if let Some(mounted) = &mut self.entry.mounted {
            mounted.stack = stack;
        }
        self.locked.rewrite(&self.path, &self.entry)
    }

    fn file_system(&self) -> TreeFs {
        TreeFs::new(self.tree.clone(), self.image, self.options.notices.clone())
    }

    fn tell_read_only(&self, reason: String) {
        self.options.notices.send(Notice::ReadOnly { mount_point: self.entry.mount_point.clone(), reason });
    }

    /// Takes away what the last road has made. The sweep that follows removes the rest.
    fn give_up(&mut self) {
        if let Some(mounted) = &mut self.entry.mounted {
            force_unmount(mounted);
        }
        for folder in self.entry.scratch.drain(..) {
            folders::remove_tree(&folder);
        }
        for folder in self.entry.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Gives up what `holder` holds. Returns the folders, and what could not be unmounted.
pub(super) fn unmount(register: &Register, holder: &Holder) -> Result<(Vec<PathBuf>, Vec<Error>), Error> {
    let locked = register.lock_to_clean_up()?;
    let (mut freed, mut errors) = (Vec::new(), Vec::new());
    for (path, mut entry) in locked.mounts()?.into_iter().rev() {
        let folder = entry.mount_point.clone();
        let Some(mounted) = &mut entry.mounted else { continue };
        let before = mounted.holders.len();
        mounted.holders.retain(|other| other != holder);
        if mounted.holders.len() == before {
            continue;
        }
        if mounted.holders.is_empty()
            && let Err(error) = unmount_stack(mounted, &folder)
        {
            errors.push(error);
            continue;
        }
        // An entry without holders is dead; the sweep removes it and what belongs to it.
        locked.rewrite(&path, &entry)?;
        freed.push(folder);
    }
    locked.sweep()?;
    Ok((freed, errors))
}

/// Only what users see, the topmost mount, can be busy: what lies below goes as soon as the kernel has let go of it.
fn unmount_stack(mounted: &Mounted, folder: &Path) -> Result<(), Error> {
    let result = match mounted.stack.last() {
        Some(Layer::Kernel(path)) => {
            rustix::mount::unmount(path, UnmountFlags::NOFOLLOW).map_err(io::Error::from)
        }
        Some(Layer::Fusermount(path)) if is_mount_point(path) => fusermount::unmount(path, false),
        Some(Layer::Link(path)) => fs::remove_file(path),
        Some(Layer::Fusermount(_)) | None => Ok(()),
    };
    // "Not mounted" and "not there" are what we want.
    if let Err(source) = result
        && source.raw_os_error() != Some(libc::EINVAL)
        && source.kind() != io::ErrorKind::NotFound
    {
        return Err(Error::Unmount { path: folder.to_owned(), users: users_of(folder), source });
    }
    force_unmount(mounted);
    let deadline = Instant::now() + SERVER_END;
    while let Some(lock) = &mounted.server_lock
        && lock::is_held(lock)
        && Instant::now() < deadline
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Takes a mount away whoever uses it, for instance because its server is dead anyway.
pub(super) fn force_unmount(mounted: &Mounted) {
    for layer in mounted.stack.iter().rev() {
        let result = match layer {
            Layer::Kernel(path) => {
                rustix::mount::unmount(path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
                    .map_err(io::Error::from)
            }
            Layer::Fusermount(path) if is_mount_point(path) => fusermount::unmount(path, true),
            Layer::Fusermount(_) => Ok(()),
            Layer::Link(path) if path.is_symlink() => fs::remove_file(path),
            Layer::Link(_) => Ok(()),
        };
        if let Err(error) = result {
            tracing::debug!(?layer, %error, "not unmounted");
        }
    }
}

/// Whether something is mounted there, be its server alive or dead.
fn is_mount_point(path: &Path) -> bool {
    let Ok(table) = fs::read("/proc/self/mountinfo") else { return true };
    let wanted = escape_octal(path);
    table.split(|byte| *byte == b'\n').any(|line| line.split(|byte| *byte == b' ').nth(4) == Some(&wanted))
}

/// mountinfo shows white space and backslashes of a path in octal: proc_pid_mountinfo(5).
fn escape_octal(path: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\') {
            escaped.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            escaped.push(byte);
        }
    }
    escaped
}

/// The processes that work in `folder` or execute a file of it, for an error message.
fn users_of(folder: &Path) -> String {
    let mut users = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        let uses = ["cwd", "exe", "root"]
            .iter()
            .any(|link| fs::read_link(path.join(link)).is_ok_and(|target| target.starts_with(folder)))
            || fs::read_dir(path.join("fd"))
                .into_iter()
                .flatten()
                .flatten()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.starts_with(folder)));
        if uses {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_writes_blanks_in_octal() {
        assert_eq!(escape_octal(Path::new("/a b\\c")), b"/a\\040b\\134c");
    }

    #[test]
    fn a_mount_point_is_found_in_the_table() {
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(Path::new("/proc/self")));
    }
}
