//! Loop devices: files that stand for disks (loop(4)).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// A file as a read-only disk. It goes away when this is dropped, or when the mount that uses it does.
pub(super) struct LoopDevice {
    path: String,
    /// While somebody has it open, the kernel keeps it.
    _device: OwnedFd,
}

/// Between finding a free device and taking it, somebody else may have taken it.
const ATTEMPTS: usize = 100;

/// linux/loop.h: asks the control device for the number of a free one.
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
/// linux/loop.h: binds a file to a device, all at once (Linux 5.8).
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_config`, with `struct loop_info64` in it.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// Device and inode of the file, which the kernel sets, offset and size limit: 0 means all of it.
    places: [u64; 5],
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    names: [u8; 64 + 64 + 32],
    init: [u64; 2],
    reserved: [u64; 8],
}
const _: () = assert!(size_of::<LoopConfig>() == 304);

impl LoopDevice {
    /// Takes a free device for a file.
    ///
    /// # Errors
    /// What the system says; there is no `/dev/loop-control` in most containers.
    pub(super) fn attach(file: &File) -> io::Result<Self> {
        let control = open("/dev/loop-control", OFlags::RDWR)?;
        let mut failure = io::Error::from(io::ErrorKind::ResourceBusy);
        for _ in 0..ATTEMPTS {
            // SAFETY: this request takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let path = format!("/dev/loop{number}");
            let device = open(&path, OFlags::RDONLY)?;
            match configure(&device, file) {
                Ok(()) => return Ok(Self { path, _device: device }),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    pub(super) fn path(&self) -> String {
        self.path.clone()
    }
}

fn configure(device: &OwnedFd, file: &File) -> io::Result<()> {
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?,
        block_size: 0,
        places: [0; 5],
        number: 0,
        encryption: [0; 2],
        flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
        names: [0; 160],
        init: [0; 2],
        reserved: [0; 8],
    };
    // SAFETY: the kernel reads a `loop_config`, which this is, and keeps no pointer to it.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn open(path: &str, access: OFlags) -> io::Result<OwnedFd> {
    rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| io::Error::new(io::Error::from(errno).kind(), format!("{path}: {errno}")))
}
