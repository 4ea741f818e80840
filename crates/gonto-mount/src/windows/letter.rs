//! Drive letters: which are free, who has the others, and folders that get one.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;

use serde::{Deserialize, Serialize};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, DDD_EXACT_MATCH_ON_REMOVE, DDD_REMOVE_DEFINITION, DEFINE_DOS_DEVICE_FLAGS,
    DefineDosDeviceW, FILE_FLAG_BACKUP_SEMANTICS, GetFileInformationByHandle, GetLogicalDrives,
    QueryDosDeviceW,
};

use super::text::{text, wide};

/// A letter from D to Z. A to C belong to the system.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(try_from = "char", into = "char")]
pub(super) struct Letter(u8);

impl TryFrom<char> for Letter {
    type Error = &'static str;

    fn try_from(letter: char) -> Result<Self, Self::Error> {
        match u8::try_from(letter) {
            Ok(letter @ b'D'..=b'Z') => Ok(Self(letter)),
            _ => Err("a drive letter is one from D to Z"),
        }
    }
}

impl From<Letter> for char {
    fn from(letter: Letter) -> Self {
        Self::from(letter.0)
    }
}

impl Letter {
    /// In the order in which they are given away: the ones at the start of the alphabet are those that Windows gives to new disks.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (b'D'..=b'Z').rev().map(Self)
    }

    /// The root folder, such as `U:\`.
    pub(super) fn root(self) -> String {
        format!("{}:\\", char::from(self.0))
    }

    /// The device, such as `U:`.
    pub(super) fn device(self) -> String {
        format!("{}:", char::from(self.0))
    }

    /// Whom it belongs to, if it is taken: a disk, a folder, a share.
    pub(super) fn user(self) -> Option<String> {
        let definition = self.definition().map(|definition| definition.to_string_lossy().into_owned());
        // SAFETY: the call has no arguments.
        let drives = unsafe { GetLogicalDrives() };
        let is_drive = drives >> (self.0 - b'A') & 1 == 1;
        match definition {
            Some(device) => Some(device.strip_prefix(r"\??\").unwrap_or(&device).to_owned()),
            None => is_drive.then(|| "the system".to_owned()),
        }
    }

    /// What the letter stands for, as the kernel has it: `\Device\HarddiskVolume3`, or `\??\C:\folder` for a folder.
    fn definition(self) -> Option<OsString> {
        let device = wide(self.device()).ok()?;
        let mut target = vec![0_u16; 1 << 15];
        let room = u32::try_from(target.len()).ok()?;
        // SAFETY: the device ends with a zero, and the buffer has as many units as `room` says.
        let units = unsafe { QueryDosDeviceW(device.as_ptr(), target.as_mut_ptr(), room) };
        (units != 0).then(|| text(&target))
    }

    /// Makes it stand for a folder, for all processes of this logon session. No right is needed for that.
    pub(super) fn define(self, folder: &Path) -> io::Result<()> {
        self.change(0, folder)
    }

    /// Ends what [`define`](Self::define) did. A letter that stands for something else stays.
    pub(super) fn undefine(self, folder: &Path) -> io::Result<()> {
        if !self.is_defined_as(folder) {
            return Ok(());
        }
        self.change(DDD_REMOVE_DEFINITION | DDD_EXACT_MATCH_ON_REMOVE, folder)
    }

    /// Whether it was defined to be the folder, however that looks from here.
    pub(super) fn is_defined_as(self, folder: &Path) -> bool {
        let mut wanted = OsString::from(r"\??\");
        wanted.push(folder);
        self.definition().is_some_and(|definition| definition == wanted)
    }

    fn change(self, flags: DEFINE_DOS_DEVICE_FLAGS, folder: &Path) -> io::Result<()> {
        let (device, target) = (wide(self.device())?, wide(folder)?);
        // SAFETY: both are texts that end with a zero and live until the call returns.
        if unsafe { DefineDosDeviceW(flags, device.as_ptr(), target.as_ptr()) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Whether its root is the same folder as `folder`.
    pub(super) fn leads_to(self, folder: &Path) -> io::Result<bool> {
        Ok(identity(Path::new(&self.root()))? == identity(folder)?)
    }
}

/// The number that the file system has for a folder.
fn identity(folder: &Path) -> io::Result<(u32, u32)> {
    let folder = File::options().access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(folder)?;
    let mut information = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the information is a structure of numbers that lives until the call returns.
    if unsafe { GetFileInformationByHandle(folder.as_raw_handle(), &mut information) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((information.nFileIndexHigh, information.nFileIndexLow))
}
