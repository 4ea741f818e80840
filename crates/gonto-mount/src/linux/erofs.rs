//! The road `erofs`: the kernel mounts the index, and reads the image itself.
//!
//! Since Linux 6.12 both may be plain files. Before that, and where the files lie on a file system whose files the kernel cannot read
//! by itself (tmpfs, overlayfs), loop devices stand for them. They go away with the mount.
//!
//! Only the system's root may do this, as the kernel has to trust what it reads. It can: the index is our own, and of the image
//! only content is read.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::loop_device::LoopDevice;
use super::opened::OpenIndex;

/// Why an ordinary user cannot take this road.
pub(super) const ONLY_ROOT: &str = "only the system's root may have the kernel mount an index";

/// Mounts an index, and returns the mount, which is nowhere yet. It has what it takes: all files may be closed.
///
/// # Errors
/// What the kernel says, in words where it has some.
pub(super) fn mount(open: &OpenIndex) -> io::Result<OwnedFd> {
    // The very files that were compared with the stamp, whatever their names lead to by now.
    let devices: Vec<PathBuf> = devices(open).map(|device| of_process(device.file())).collect();
    match by_names(name(open).into_os_string(), devices) {
        Err(error) if error.raw_os_error() == Some(Errno::NOTBLK.raw_os_error()) => {
            tracing::debug!("the kernel does not read these files by itself; loop devices stand for them");
            by_loop_devices(open)
        }
        result => result,
    }
}

/// The source of the mount, as mountinfo shows it: proc_pid_mountinfo(5) and the kernel's `mangle`.
pub(super) fn source(open: &OpenIndex) -> String {
    let mut shown = String::new();
    for character in name(open).to_string_lossy().chars() {
        match character {
            ' ' | '\t' | '\n' | '\\' | '#' => shown.push_str(&format!("\\{:03o}", u32::from(character))),
            _ => shown.push(character),
        }
    }
    shown
}

fn name(open: &OpenIndex) -> PathBuf {
    open.path.clone().unwrap_or_else(|| of_process(&open.file))
}

fn of_process(fd: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The image files in the order in which the kernel wants them.
fn devices(open: &OpenIndex) -> impl Iterator<Item = &gonto_image::ImageFile> {
    // An index that is open has no more devices than layers.
    open.index.devices().filter_map(|device| open.layers.get(device as usize).map(AsRef::as_ref))
}

fn by_loop_devices(open: &OpenIndex) -> io::Result<OwnedFd> {
    let index = LoopDevice::attach(&open.file)?;
    let devices: Vec<LoopDevice> =
        devices(open).map(|device| LoopDevice::attach(device.file())).collect::<Result<_, _>>()?;
    by_names(index.path().into(), devices.iter().map(|device| device.path().to_owned()).collect())
}

fn by_names(index: OsString, devices: Vec<PathBuf>) -> io::Result<OwnedFd> {
    use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let create = || {
        fsconfig_set_string(&context, "source", index)?;
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
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// The error with what the kernel has to say about it: a line at a time can be read from the context.
fn in_words(errno: Errno, context: &OwnedFd) -> io::Error {
    let mut words = Vec::new();
    let mut line = vec![0; 1024];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        // "e " for an error, "w " for a warning, "i " for information.
        let text = OsString::from_vec(line[..length].to_vec()).to_string_lossy().trim().to_owned();
        words.push(text.get(2..).unwrap_or_default().to_owned());
    }
    let error = io::Error::from(errno);
    if words.is_empty() || errno == Errno::NOTBLK {
        error
    } else {
        io::Error::new(error.kind(), format!("{error}: {}", words.join("; ")))
    }
}
