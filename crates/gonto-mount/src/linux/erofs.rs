//! The road `erofs`: the kernel mounts the index, and reads the image itself.
//!
//! Since Linux 6.12 both may be plain files. Before that, and where the files lie on a file system whose files the kernel cannot read
//! by itself (tmpfs, overlayfs), loop devices stand for them. They go away with the mount.
//!
//! Only the system's root may do this, as the kernel has to trust what it reads. It can: the index is our own, and of the image
//! only content is read.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::loop_device::LoopDevice;
use super::opened::OpenIndex;

/// Why an ordinary user cannot take this road.
pub(super) const ONLY_ROOT: &str = "only the system's root may have the kernel mount an index";

/// A mount that is nowhere yet. It has what it takes: all files may be closed.
pub(super) struct Detached {
    pub(super) mount: OwnedFd,
    /// Its source, as mountinfo shows it.
    pub(super) source: String,
}

/// Mounts an index.
///
/// # Errors
/// What the kernel says, in words where it has some.
pub(super) fn mount(open: &OpenIndex) -> io::Result<Detached> {
    // The very files that were looked at, whatever their names lead to by now. Not by way of `self`: the name is what tells the mount
    // from one of another gonto.
    let process = fs::read_link("/proc/self")?;
    let of_process = |fd: &dyn AsRawFd| format!("/proc/{}/fd/{}", process.display(), fd.as_raw_fd());
    let devices = devices(open).map(|device| of_process(device.file())).collect();
    match by_names(of_process(&open.file), devices) {
        Err(error) if error.raw_os_error() == Some(Errno::NOTBLK.raw_os_error()) => {
            tracing::debug!("the kernel does not read these files by itself; loop devices stand for them");
            by_loop_devices(open)
        }
        result => result,
    }
}

/// The image files in the order in which the kernel wants them.
fn devices(open: &OpenIndex) -> impl Iterator<Item = &gonto_image::ImageFile> {
    // An index that is open has no more devices than layers.
    open.index.devices().filter_map(|device| open.layers.get(device as usize).map(AsRef::as_ref))
}

fn by_loop_devices(open: &OpenIndex) -> io::Result<Detached> {
    let index = LoopDevice::attach(&open.file)?;
    let devices: Vec<LoopDevice> =
        devices(open).map(|device| LoopDevice::attach(device.file())).collect::<Result<_, _>>()?;
    by_names(index.path(), devices.iter().map(LoopDevice::path).collect())
}

fn by_names(source: String, devices: Vec<String>) -> io::Result<Detached> {
    use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let create = || {
        fsconfig_set_string(&context, "source", &*source)?;
        for device in devices {
            fsconfig_set_string(&context, "device", device)?;
        }
        fsconfig_set_flag(&context, "ro")?;
        fsconfig_create(&context)
    };
    create().map_err(|errno| in_words(errno, &context))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok(Detached { mount, source })
}

/// The error with what the kernel has to say about it: a line at a time can be read from the context.
fn in_words(errno: Errno, context: &OwnedFd) -> io::Error {
    let mut words = Vec::new();
    let mut line = vec![0; 1024];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        // "e " for an error, "w " for a warning, "i " for information.
        let text = String::from_utf8_lossy(&line[..length]).trim().to_owned();
        words.push(text.get(2..).unwrap_or_default().to_owned());
    }
    let error = io::Error::from(errno);
    if words.is_empty() || errno == Errno::NOTBLK {
        error
    } else {
        io::Error::new(error.kind(), format!("{error}: {}", words.join("; ")))
    }
}
