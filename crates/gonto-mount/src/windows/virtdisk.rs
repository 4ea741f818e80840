//! The calls to virtdisk.dll: Windows' own way to attach a disk image.
//!
//! Nothing here decides anything; each function is one call with the arguments that its documentation asks for ("Virtual Storage",
//! <https://learn.microsoft.com/windows/win32/api/virtdisk/>).

use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Component, Path, Prefix};
use std::ptr::{null, null_mut};

use gonto_image::Container;
use windows_sys::Win32::Foundation::{
    ERROR_DEV_NOT_EXIST, ERROR_INSUFFICIENT_BUFFER, ERROR_SUCCESS, HANDLE, MAX_PATH, WIN32_ERROR,
};
use windows_sys::Win32::Storage::Vhd::{
    ATTACH_VIRTUAL_DISK_FLAG, ATTACH_VIRTUAL_DISK_FLAG_NO_DRIVE_LETTER,
    ATTACH_VIRTUAL_DISK_FLAG_PERMANENT_LIFETIME, ATTACH_VIRTUAL_DISK_FLAG_READ_ONLY,
    ATTACH_VIRTUAL_DISK_PARAMETERS, ATTACH_VIRTUAL_DISK_VERSION_1, AttachVirtualDisk,
    DETACH_VIRTUAL_DISK_FLAG_NONE, DetachVirtualDisk, GetVirtualDiskPhysicalPath,
    OPEN_VIRTUAL_DISK_FLAG_NONE, OPEN_VIRTUAL_DISK_PARAMETERS, OPEN_VIRTUAL_DISK_PARAMETERS_0,
    OPEN_VIRTUAL_DISK_PARAMETERS_0_0, OPEN_VIRTUAL_DISK_PARAMETERS_0_1, OPEN_VIRTUAL_DISK_VERSION_1,
    OPEN_VIRTUAL_DISK_VERSION_2, OpenVirtualDisk, VIRTUAL_DISK_ACCESS_ATTACH_RO,
    VIRTUAL_DISK_ACCESS_ATTACH_RW, VIRTUAL_DISK_ACCESS_DETACH, VIRTUAL_DISK_ACCESS_GET_INFO,
    VIRTUAL_DISK_ACCESS_MASK, VIRTUAL_DISK_ACCESS_NONE, VIRTUAL_STORAGE_TYPE,
    VIRTUAL_STORAGE_TYPE_DEVICE_VHD, VIRTUAL_STORAGE_TYPE_DEVICE_VHDX, VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT,
};

use super::text::{text, wide};

/// What kind of image a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Vhd,
    Vhdx,
}

impl Format {
    /// The format of an image that is such a container, and of its children.
    pub(super) fn of_container(container: Container) -> Self {
        match container {
            Container::FixedVhdx | Container::DynamicVhdx | Container::DifferencingVhdx => Self::Vhdx,
            _ => Self::Vhd,
        }
    }

    /// The format of a child, by the ending of its name.
    pub(super) fn of(file: &Path) -> Self {
        let is_vhdx = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("vhdx"));
        if is_vhdx { Self::Vhdx } else { Self::Vhd }
    }

    /// The ending of such a file's name.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
        }
    }
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attachment {
    /// Nothing can be written to it.
    pub(super) read_only: bool,
    /// It stays when its handle is closed, until it is detached or the system ends.
    pub(super) permanent: bool,
}

/// An open disk image. A disk that is not attached permanently is detached when its last handle is closed, so also when
/// the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Disk(OwnedHandle);

impl Disk {
    /// Opens an image in order to attach it.
    pub(super) fn open(file: &Path, format: Format, read_only: bool) -> io::Result<Self> {
        let (access, parameters) = match format {
            Format::Vhd => {
                let attach =
                    if read_only { VIRTUAL_DISK_ACCESS_ATTACH_RO } else { VIRTUAL_DISK_ACCESS_ATTACH_RW };
                let parameters = OPEN_VIRTUAL_DISK_PARAMETERS {
                    Version: OPEN_VIRTUAL_DISK_VERSION_1,
                    Anonymous: OPEN_VIRTUAL_DISK_PARAMETERS_0 {
                        // So many images of the chain may be written to: the child, and never its parent.
                        Version1: OPEN_VIRTUAL_DISK_PARAMETERS_0_0 { RWDepth: u32::from(!read_only) },
                    },
                };
                (attach | VIRTUAL_DISK_ACCESS_DETACH | VIRTUAL_DISK_ACCESS_GET_INFO, parameters)
            }
            // Version 2 takes no other access mask; the handle may do everything then. It came with VHDX, in Windows 8.
            Format::Vhdx => {
                let parameters = OPEN_VIRTUAL_DISK_PARAMETERS {
                    Version: OPEN_VIRTUAL_DISK_VERSION_2,
                    Anonymous: OPEN_VIRTUAL_DISK_PARAMETERS_0 {
                        Version2: OPEN_VIRTUAL_DISK_PARAMETERS_0_1 {
                            GetInfoOnly: 0,
                            ReadOnly: i32::from(read_only),
                            ..Default::default()
                        },
                    },
                };
                (VIRTUAL_DISK_ACCESS_NONE, parameters)
            }
        };
        Self::open_with(file, format, access, Some(&parameters))
    }

    /// Opens an image that is attached, in order to detach it.
    pub(super) fn open_attached(file: &Path, format: Format) -> io::Result<Self> {
        Self::open_with(file, format, VIRTUAL_DISK_ACCESS_DETACH, None)
    }

    fn open_with(
        file: &Path,
        format: Format,
        access: VIRTUAL_DISK_ACCESS_MASK,
        parameters: Option<&OPEN_VIRTUAL_DISK_PARAMETERS>,
    ) -> io::Result<Self> {
        let kind = VIRTUAL_STORAGE_TYPE {
            DeviceId: match format {
                Format::Vhd => VIRTUAL_STORAGE_TYPE_DEVICE_VHD,
                Format::Vhdx => VIRTUAL_STORAGE_TYPE_DEVICE_VHDX,
            },
            VendorId: VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT,
        };
        let path = wide(long_path(file)?)?;
        let parameters = parameters.map_or(null(), |parameters| parameters);
        let mut handle: HANDLE = null_mut();
        // SAFETY: all pointers are to values that live until the call returns, `path` ends with a zero, the version of the
        // parameters says which part of their union is set, and null stands for the default ones.
        succeeded(unsafe {
            OpenVirtualDisk(
                &kind,
                path.as_ptr(),
                access,
                OPEN_VIRTUAL_DISK_FLAG_NONE,
                parameters,
                &mut handle,
            )
        })?;
        // SAFETY: the call has succeeded, so this is an open handle, it is nobody else's, and CloseHandle closes it.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    /// Makes it a disk of the system. It gets no drive letter.
    pub(super) fn attach(&self, Attachment { read_only, permanent }: Attachment) -> io::Result<()> {
        let set = |flag: ATTACH_VIRTUAL_DISK_FLAG, wanted: bool| if wanted { flag } else { 0 };
        let flags = ATTACH_VIRTUAL_DISK_FLAG_NO_DRIVE_LETTER
            | set(ATTACH_VIRTUAL_DISK_FLAG_READ_ONLY, read_only)
            | set(ATTACH_VIRTUAL_DISK_FLAG_PERMANENT_LIFETIME, permanent);
        let parameters =
            ATTACH_VIRTUAL_DISK_PARAMETERS { Version: ATTACH_VIRTUAL_DISK_VERSION_1, ..Default::default() };
        // SAFETY: the handle is open, the parameters live until the call returns, null stands for the security
        // descriptor of the file, and without OVERLAPPED the call returns when it is done.
        succeeded(unsafe {
            AttachVirtualDisk(self.0.as_raw_handle(), null_mut(), flags, 0, &parameters, null())
        })
    }

    /// The path of the attached disk, such as `\\.\PhysicalDrive3`, as soon as the system has found it.
    pub(super) fn physical_path(&self) -> io::Result<Option<OsString>> {
        let mut path = vec![0_u16; 64];
        loop {
            let mut bytes = u32::try_from(path.len() * 2).map_err(io::Error::other)?;
            // SAFETY: the handle is open, and the buffer has as many bytes as `bytes` says.
            let outcome =
                unsafe { GetVirtualDiskPhysicalPath(self.0.as_raw_handle(), &mut bytes, path.as_mut_ptr()) };
            if outcome == ERROR_DEV_NOT_EXIST {
                return Ok(None);
            }
            // Nobody has paths that long; a system that asks for ever more is not followed.
            if outcome != ERROR_INSUFFICIENT_BUFFER || path.len() > 1 << 15 {
                succeeded(outcome)?;
                return Ok(Some(text(&path)));
            }
            path.resize(path.len() * 2, 0);
        }
    }

    /// Takes it away from the system, also while files on it are open.
    pub(super) fn detach(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        succeeded(unsafe { DetachVirtualDisk(self.0.as_raw_handle(), DETACH_VIRTUAL_DISK_FLAG_NONE, 0) })
    }
}

/// Without a prefix Windows takes paths of up to 259 characters. std sees to that for its own functions only.
fn long_path(path: &Path) -> io::Result<OsString> {
    let path = std::path::absolute(path)?;
    let has_drive = matches!(
        path.components().next(),
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::Disk(_))
    );
    let mut long = OsString::new();
    if has_drive && path.as_os_str().len() >= MAX_PATH as usize {
        long.push(r"\\?\");
    }
    long.push(path);
    Ok(long)
}

/// These functions return their error instead of setting the last one.
fn succeeded(outcome: WIN32_ERROR) -> io::Result<()> {
    if outcome == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(outcome.cast_signed())) }
}
