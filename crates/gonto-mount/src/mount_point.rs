//! Where an image is to appear.

use std::path::{Component, Path, PathBuf};

use crate::Error;

/// A mount point as the configuration names it.
///
/// ```
/// use gonto_mount::MountPoint;
/// assert_eq!("".parse::<MountPoint>()?, MountPoint::Automatic);
/// assert_eq!("U:\\".parse::<MountPoint>()?, MountPoint::Drive('U'));
/// assert!("U:".parse::<MountPoint>().is_err());
/// # Ok::<(), gonto_mount::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountPoint {
    /// The system chooses: the same path for the same image every time, on Windows a free letter.
    Automatic,
    /// A drive letter from D to Z. On Linux a folder of that name stands for the drive.
    Drive(char),
    /// A folder. Absolute, without `..`.
    Path(PathBuf),
}

impl std::str::FromStr for MountPoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::Automatic);
        }
        if let [letter @ b'D'..=b'Z', b':', b'\\'] = text.as_bytes() {
            return Ok(Self::Drive(char::from(*letter)));
        }
        let path = Path::new(text);
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if cfg!(unix) && path.is_absolute() && plain && path.parent().is_some() && !text.contains('\0') {
            return Ok(Self::Path(path.components().collect()));
        }
        Err(Error::MountPointSyntax { text: text.to_owned() })
    }
}

/// The text that stands for a mount point in scripts and variables: it always ends with the separator.
///
/// ```
/// # #[cfg(unix)]
/// assert_eq!(gonto_mount::with_separator("/opt/jdk".as_ref()), "/opt/jdk/");
/// ```
#[must_use]
pub fn with_separator(mount_point: &Path) -> std::ffi::OsString {
    let mut text = mount_point.as_os_str().to_owned();
    if !text.to_string_lossy().ends_with(std::path::is_separator) {
        text.push(std::path::MAIN_SEPARATOR_STR);
    }
    text
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_plain() {
        assert_eq!("/opt//jdk/".parse::<MountPoint>().unwrap(), MountPoint::Path("/opt/jdk".into()));
        for bad in ["/", "opt/jdk", "/opt/../etc", "./x", "u:\\", "C:\\", "U:/", "/a\0b"] {
            assert!(matches!(bad.parse::<MountPoint>(), Err(Error::MountPointSyntax { .. })), "{bad:?}");
        }
    }
}
