//! Volumes, the disks that they lie on, and the drive letters that lead to them.
//!
//! The calls are documented in "Volume Management" and "Disk Management Control Codes" of the Windows API.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::ptr::{null, null_mut};

use serde::{Deserialize, Serialize};
use windows_sys::Win32::Foundation::{
    ERROR_MORE_DATA, ERROR_NO_MORE_FILES, HANDLE, INVALID_HANDLE_VALUE, MAX_PATH,
};
use windows_sys::Win32::Storage::FileSystem::{
    DeleteVolumeMountPointW, FILE_SHARE_READ, FILE_SHARE_WRITE, FindFirstVolumeW, FindNextVolumeW,
    FindVolumeClose, GetVolumeNameForVolumeMountPointW, GetVolumePathNamesForVolumeNameW,
    SetVolumeMountPointW,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{
    DISK_ATTRIBUTE_OFFLINE, GET_DISK_ATTRIBUTES, IOCTL_DISK_GET_DISK_ATTRIBUTES,
    IOCTL_STORAGE_GET_DEVICE_NUMBER, STORAGE_DEVICE_NUMBER, VOLUME_DISK_EXTENTS,
};

use super::letter::Letter;
use super::text::{text, texts, wide};

/// Room for the name of a volume: 49 characters and the zero, by the documentation.
const NAME_ROOM: u32 = 64;

/// `CTL_CODE(IOCTL_VOLUME_BASE, 0, METHOD_BUFFERED, FILE_ANY_ACCESS)` of winioctl.h.
const IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS: u32 = 0x56_0000;

/// The name of a volume, such as `\\?\Volume{a1b2…}\`: with the backslash at its end, as the calls want it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct VolumeName(String);

impl VolumeName {
    fn new(name: OsString) -> io::Result<Self> {
        // Windows makes these names of a GUID.
        let wrong = |name: OsString| io::Error::other(format!("{} is no volume", name.display()));
        name.into_string().map(Self).map_err(wrong)
    }

    /// The name that opens the volume itself; with the backslash it would be its root folder.
    fn device(&self) -> &str {
        self.0.trim_end_matches('\\')
    }

    /// Gives the volume a drive letter.
    pub(super) fn show_at(&self, letter: Letter) -> io::Result<()> {
        let (root, name) = (wide(letter.root())?, wide(&self.0)?);
        // SAFETY: both are texts that end with a zero and live until the call returns.
        done(unsafe { SetVolumeMountPointW(root.as_ptr(), name.as_ptr()) })
    }

    /// Whether the letter leads to it.
    pub(super) fn is_at(&self, letter: Letter) -> io::Result<bool> {
        let name = wide(&self.0)?;
        let mut paths = vec![0_u16; MAX_PATH as usize + 1];
        loop {
            let (room, mut needed) = (u32::try_from(paths.len()).map_err(io::Error::other)?, 0);
            // SAFETY: the name ends with a zero, and the buffer has as many units as `room` says.
            let outcome = done(unsafe {
                GetVolumePathNamesForVolumeNameW(name.as_ptr(), paths.as_mut_ptr(), room, &mut needed)
            });
            match outcome {
                Err(error) if is(&error, ERROR_MORE_DATA) && needed > room => {
                    paths.resize(needed as usize, 0);
                }
                outcome => {
                    outcome?;
                    let root = letter.root();
                    return Ok(texts(&paths).iter().any(|path| path.eq_ignore_ascii_case(&root)));
                }
            }
        }
    }
}

/// The volume to which a drive letter leads for this process, if it is one.
pub(super) fn at(letter: Letter) -> Option<VolumeName> {
    let root = wide(letter.root()).ok()?;
    let mut name = [0_u16; NAME_ROOM as usize];
    // SAFETY: the root ends with a zero, and the buffer has as many units as is said.
    let found = unsafe { GetVolumeNameForVolumeMountPointW(root.as_ptr(), name.as_mut_ptr(), NAME_ROOM) };
    (found != 0).then(|| VolumeName::new(text(&name)).ok())?
}

/// Takes a drive letter away from its volume.
pub(super) fn free(letter: Letter) -> io::Result<()> {
    let root = wide(letter.root())?;
    // SAFETY: the root ends with a zero and lives until the call returns.
    done(unsafe { DeleteVolumeMountPointW(root.as_ptr()) })
}

/// The number of an attached disk, by its path.
pub(super) fn disk_number(physical_path: &OsStr) -> io::Result<u32> {
    let mut number = STORAGE_DEVICE_NUMBER::default();
    ask(&device(physical_path)?, IOCTL_STORAGE_GET_DEVICE_NUMBER, &mut number)?;
    Ok(number.DeviceNumber)
}

/// Whether Windows keeps the disk offline, so that its volumes do not appear.
pub(super) fn is_offline(physical_path: &OsStr) -> io::Result<bool> {
    let mut attributes = GET_DISK_ATTRIBUTES::default();
    ask(&device(physical_path)?, IOCTL_DISK_GET_DISK_ATTRIBUTES, &mut attributes)?;
    Ok(attributes.Attributes & DISK_ATTRIBUTE_OFFLINE != 0)
}

/// The volume on disk number `disk` that begins at byte `offset` of it, if it has appeared.
pub(super) fn find(disk: u32, offset: u64) -> io::Result<Option<VolumeName>> {
    for name in Names::all()? {
        let name = name?;
        match lies_at(&name, disk, offset) {
            Ok(true) => return Ok(Some(name)),
            Ok(false) => {}
            // A card reader without a card, a volume that is just vanishing, one over several disks: none is ours.
            Err(error) => tracing::debug!(volume = name.0, %error, "not the one"),
        }
    }
    Ok(None)
}

fn lies_at(volume: &VolumeName, disk: u32, offset: u64) -> io::Result<bool> {
    let mut extents = VOLUME_DISK_EXTENTS::default();
    ask(&device(volume.device().as_ref())?, IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS, &mut extents)?;
    let [extent] = &extents.Extents;
    Ok(extents.NumberOfDiskExtents == 1
        && extent.DiskNumber == disk
        && u64::try_from(extent.StartingOffset) == Ok(offset))
}

/// The names of all volumes.
struct Names {
    search: HANDLE,
    /// The first one comes with the search.
    first: Option<OsString>,
}

impl Names {
    fn all() -> io::Result<Self> {
        let mut name = [0_u16; NAME_ROOM as usize];
        // SAFETY: the buffer has as many units as is said.
        let search = unsafe { FindFirstVolumeW(name.as_mut_ptr(), NAME_ROOM) };
        if search == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { search, first: Some(text(&name)) })
    }
}

impl Iterator for Names {
    type Item = io::Result<VolumeName>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(VolumeName::new(first));
        }
        let mut name = [0_u16; NAME_ROOM as usize];
        // SAFETY: the search is open until the drop, and the buffer has as many units as is said.
        match done(unsafe { FindNextVolumeW(self.search, name.as_mut_ptr(), NAME_ROOM) }) {
            Ok(()) => Some(VolumeName::new(text(&name))),
            Err(error) if is(&error, ERROR_NO_MORE_FILES) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // SAFETY: FindFirstVolumeW has opened the search, and nobody else closes it.
        unsafe { FindVolumeClose(self.search) };
    }
}

/// Opens a disk or volume to ask about it, for which no right is needed.
fn device(path: &OsStr) -> io::Result<File> {
    OpenOptions::new().access_mode(0).share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE).open(path)
}

/// Structures of plain numbers, all of whose bytes the system may set.
///
/// # Safety
/// Every pattern of bytes is a value of the type.
unsafe trait Answer: Default {}
// SAFETY: integers only.
unsafe impl Answer for STORAGE_DEVICE_NUMBER {}
// SAFETY: integers only.
unsafe impl Answer for GET_DISK_ATTRIBUTES {}
// SAFETY: integers only.
unsafe impl Answer for VOLUME_DISK_EXTENTS {}

/// Asks a device a question that has no parameters.
fn ask<T: Answer>(device: &File, question: u32, answer: &mut T) -> io::Result<()> {
    let room = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let mut given = 0;
    // SAFETY: the handle is open, there is no input, `answer` has as many bytes as `room` says and takes any, and without
    // OVERLAPPED the call returns when it is done.
    done(unsafe {
        DeviceIoControl(
            device.as_raw_handle(),
            question,
            null(),
            0,
            (answer as *mut T).cast(),
            room,
            &mut given,
            null_mut(),
        )
    })?;
    if given < room {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the device answers too little"));
    }
    Ok(())
}

/// What most functions return: not zero when they have done it.
fn done(outcome: i32) -> io::Result<()> {
    if outcome == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}
