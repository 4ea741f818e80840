//! Drive letters: which are free, who has the others, and folders that get one.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Component, Path, Prefix};

use serde::{Deserialize, Serialize};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, DDD_EXACT_MATCH_ON_REMOVE, DDD_RAW_TARGET_PATH, DDD_REMOVE_DEFINITION,
    DEFINE_DOS_DEVICE_FLAGS, DefineDosDeviceW, FILE_FLAG_BACKUP_SEMANTICS, GetFileInformationByHandle,
    GetLogicalDrives, QueryDosDeviceW,
};

use super::text::{texts, wide};

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
        let definition = self.definitions().first().map(|device| device.to_string_lossy().into_owned());
        // SAFETY: the call has no arguments.
        let drives = unsafe { GetLogicalDrives() };
        let is_drive = drives >> (self.0 - b'A') & 1 == 1;
        match definition {
            Some(device) => Some(device.strip_prefix(r"\??\").unwrap_or(&device).to_owned()),
            None => is_drive.then(|| "the system".to_owned()),
        }
    }

    /// What the letter stands for, as the kernel has it: `\Device\HarddiskVolume3`, or `\??\C:\folder` for a folder. Behind that
    /// comes what it stood for before, if it was defined more than once.
    fn definitions(self) -> Vec<OsString> {
        let Ok(device) = wide(self.device()) else { return Vec::new() };
        let mut targets = vec![0_u16; 1 << 15];
        let room = u32::try_from(targets.len()).unwrap_or(0);
        // SAFETY: the device ends with a zero, and the buffer has at least as many units as `room` says.
        let units = unsafe { QueryDosDeviceW(device.as_ptr(), targets.as_mut_ptr(), room) };
        if units == 0 { Vec::new() } else { texts(&targets) }
    }

    /// Makes it stand for a folder, for all processes of this logon session. No right is needed for that.
    pub(super) fn define(self, folder: &Path) -> io::Result<()> {
        self.change(0, folder)
    }

    /// Ends what [`define`](Self::define) did, also when somebody has defined the letter again since. A letter that stands for
    /// something else stays.
    pub(super) fn undefine(self, folder: &Path) -> io::Result<()> {
        let wanted = kernel_path(folder)?;
        if !self.definitions().contains(&wanted) {
            return Ok(());
        }
        self.change(DDD_REMOVE_DEFINITION | DDD_EXACT_MATCH_ON_REMOVE, folder)
    }

    /// Whether it stands for what was defined to be the folder, however that looks from here.
    pub(super) fn is_defined_as(self, folder: &Path) -> bool {
        kernel_path(folder).is_ok_and(|wanted| self.definitions().first() == Some(&wanted))
    }

    fn change(self, flags: DEFINE_DOS_DEVICE_FLAGS, folder: &Path) -> io::Result<()> {
        let (device, target) = (wide(self.device())?, wide(kernel_path(folder)?)?);
        // SAFETY: both are texts that end with a zero and live until the call returns.
        if unsafe { DefineDosDeviceW(flags | DDD_RAW_TARGET_PATH, device.as_ptr(), target.as_ptr()) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Whether its root is the same folder as `folder`.
    pub(super) fn leads_to(self, folder: &Path) -> io::Result<bool> {
        Ok(identity(Path::new(&self.root()))? == identity(folder)?)
    }
}

/// A folder as the kernel has it: `\??\C:\folder`, or `\??\UNC\server\share\folder`. Windows would find the same, but what it has
/// found has to be recognised.
fn kernel_path(folder: &Path) -> io::Result<OsString> {
    let unusual = || {
        let what = format!("{} is neither on a drive nor on a share", folder.display());
        io::Error::new(io::ErrorKind::InvalidFilename, what)
    };
    let absolute = std::path::absolute(folder)?;
    let mut parts = absolute.components();
    let Some(Component::Prefix(prefix)) = parts.next() else { return Err(unusual()) };
    let mut path = OsString::from(r"\??\");
    match prefix.kind() {
        Prefix::Disk(letter) | Prefix::VerbatimDisk(letter) => {
            path.push(format!("{}:", char::from(letter)));
        }
        Prefix::UNC(server, share) | Prefix::VerbatimUNC(server, share) => {
            for part in ["UNC".as_ref(), r"\".as_ref(), server, r"\".as_ref(), share] {
                path.push(part);
            }
        }
        Prefix::Verbatim(_) | Prefix::DeviceNS(_) => return Err(unusual()),
    }
    path.push(parts.as_path());
    Ok(path)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_same_for_the_kernel_however_it_is_written() {
        for (folder, expected) in [
            (r"C:\cache\trees", r"\??\C:\cache\trees"),
            ("C:/cache/x/../trees", r"\??\C:\cache\trees"),
            (r"\\?\C:\cache\trees", r"\??\C:\cache\trees"),
            (r"\\server\share\trees", r"\??\UNC\server\share\trees"),
            (r"\\?\UNC\server\share\trees", r"\??\UNC\server\share\trees"),
        ] {
            assert_eq!(kernel_path(Path::new(folder)).unwrap(), expected, "{folder}");
        }
        let error = kernel_path(Path::new(r"\\?\Volume{1}\trees")).unwrap_err().to_string();
        assert_eq!(error, r"\\?\Volume{1}\trees is neither on a drive nor on a share");
    }

    /// What is defined is known again, and taken away, without a look at the folder.
    #[test]
    fn a_letter_is_defined_until_it_is_not() {
        let Some(letter) = Letter::all().find(|letter| letter.user().is_none()) else {
            eprintln!("skipped: no drive letter is free");
            return;
        };
        for folder in [r"C:\gonto no such folder", r"\\gonto\no such\share", r"\\?\C:\gonto no such folder"] {
            let (folder, other) = (Path::new(folder), Path::new(r"C:\gonto another"));
            letter.define(folder).unwrap();
            assert!(letter.is_defined_as(folder) && !letter.is_defined_as(other), "{}", folder.display());
            assert!(letter.user().is_some());
            letter.undefine(other).unwrap();
            assert!(letter.is_defined_as(folder), "{}", folder.display());
            letter.undefine(folder).unwrap();
            assert_eq!(letter.user(), None, "{}", folder.display());
        }
    }

    /// Two gontos that know nothing of each other may choose the same letter.
    #[test]
    fn a_letter_that_was_defined_again_is_not_left_behind() {
        let Some(letter) = Letter::all().filter(|letter| letter.user().is_none()).nth(1) else {
            eprintln!("skipped: no drive letter is free");
            return;
        };
        let (first, second) = (Path::new(r"C:\gonto first"), Path::new(r"C:\gonto second"));
        letter.define(first).unwrap();
        if let Err(error) = letter.define(second) {
            eprintln!("skipped: the system lets no letter be defined twice: {error}");
            letter.undefine(first).unwrap();
            return;
        }
        assert!(letter.is_defined_as(second) && !letter.is_defined_as(first));
        letter.undefine(first).unwrap();
        assert!(letter.is_defined_as(second));
        letter.undefine(second).unwrap();
        assert_eq!(letter.user(), None);
    }
}
