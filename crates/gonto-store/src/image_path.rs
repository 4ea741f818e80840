//! The repository rules: which names, versions, platforms and formats an image may have, and the path that follows
//! from them.
//!
//! A repository and a cache share one layout, `<name>/<name>_v<version>_<platform>.<format>`. The rules are narrow
//! on purpose: every accepted part is lower-case ASCII without a separator, so that no configuration can name a file
//! outside the cache folder, and so that the same path is a URL path without escaping and a file name on every system.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The name of an image as a regular expression (anchored; for the JSON Schema of the configuration).
pub const NAME_PATTERN: &str = "^[a-z0-9-]+$";

/// The version of an image as a regular expression (anchored; for the JSON Schema of the configuration).
pub const VERSION_PATTERN: &str = r"^[0-9]+(\.[0-9]+)*(-[a-z0-9]+)?$";

/// The path of an image below a repository or a cache folder, known to follow the repository rules.
///
/// [`Display`](fmt::Display) writes it with `/` between folder and file, on every system.
///
/// ```
/// use gonto_store::{Format, ImagePath, Platform};
///
/// let path = ImagePath::new("foobar", "1.2.3", Platform::Win64, Format::Vhd)?;
/// assert_eq!(path.to_string(), "foobar/foobar_v1.2.3_win64.vhd");
/// # Ok::<(), gonto_store::InvalidImagePath>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImagePath {
    name: String,
    version: String,
    platform: Platform,
    format: Format,
}

impl ImagePath {
    /// Puts the four parts together, if name and version follow the repository rules.
    pub fn new(
        name: &str,
        version: &str,
        platform: Platform,
        format: Format,
    ) -> Result<ImagePath, InvalidImagePath> {
        check_name(name)?;
        check_version(version)?;
        Ok(ImagePath { name: name.to_owned(), version: version.to_owned(), platform, format })
    }

    /// The image's name, which is also its folder: `[a-z0-9-]+`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image's version, without the `v` that the file name puts before it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The platform that the image's content is for.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// The format of the disk image.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The last part of the path: `foobar_v1.2.3_win64.vhd`.
    pub fn file_name(&self) -> String {
        format!("{}_v{}_{}.{}", self.name, self.version, self.platform, self.format)
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.file_name())
    }
}

/// The platform that an image's content is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// 32-bit Windows: `win32`.
    Win32,
    /// 64-bit Windows, the default: `win64`.
    #[default]
    Win64,
    /// Content for more than one platform: `multi`.
    Multi,
    /// 64-bit Linux: `linux64`. The existing Gonto does not know it.
    Linux64,
}

impl Platform {
    /// Every platform, in the order in which messages list them.
    pub const ALL: [Platform; 4] = [Platform::Win32, Platform::Win64, Platform::Multi, Platform::Linux64];

    /// The spelling in configurations and paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Platform::Win32 => "win32",
            Platform::Win64 => "win64",
            Platform::Multi => "multi",
            Platform::Linux64 => "linux64",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Platform {
    type Err = InvalidImagePath;

    fn from_str(found: &str) -> Result<Platform, InvalidImagePath> {
        Platform::ALL
            .into_iter()
            .find(|platform| platform.as_str() == found)
            .ok_or_else(|| InvalidImagePath::Platform { found: found.to_owned() })
    }
}

/// The format of a disk image file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Virtual Hard Disk, the default: `vhd`.
    #[default]
    Vhd,
    /// Its successor: `vhdx`.
    Vhdx,
}

impl Format {
    /// Every format, in the order in which messages list them.
    pub const ALL: [Format; 2] = [Format::Vhd, Format::Vhdx];

    /// The spelling in configurations, and the file name's extension.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Vhd => "vhd",
            Format::Vhdx => "vhdx",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = InvalidImagePath;

    fn from_str(found: &str) -> Result<Format, InvalidImagePath> {
        Format::ALL
            .into_iter()
            .find(|format| format.as_str() == found)
            .ok_or_else(|| InvalidImagePath::Format { found: found.to_owned() })
    }
}

/// Holds `name` to [`NAME_PATTERN`].
pub fn check_name(name: &str) -> Result<(), InvalidImagePath> {
    if !name.is_empty() && name.bytes().all(|byte| is_lower_alphanumeric(byte) || byte == b'-') {
        Ok(())
    } else {
        Err(InvalidImagePath::Name { found: name.to_owned() })
    }
}

/// Holds `version` to [`VERSION_PATTERN`].
pub fn check_version(version: &str) -> Result<(), InvalidImagePath> {
    let (numbers, suffix) = match version.split_once('-') {
        Some((numbers, suffix)) => (numbers, Some(suffix)),
        None => (version, None),
    };
    let numbers_hold = numbers
        .split('.')
        .all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let suffix_holds =
        suffix.is_none_or(|suffix| !suffix.is_empty() && suffix.bytes().all(is_lower_alphanumeric));
    if numbers_hold && suffix_holds {
        Ok(())
    } else {
        Err(InvalidImagePath::Version { found: version.to_owned() })
    }
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// A part of an image's path breaks the repository rules. The message says the rule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidImagePath {
    /// The name does not match [`NAME_PATTERN`].
    #[error(
        "image name {found:?} is not valid: a name is made of lower-case letters (a-z), digits and hyphens, \
         such as \"my-toolchain\""
    )]
    Name {
        /// The name as it was given.
        found: String,
    },
    /// The version does not match [`VERSION_PATTERN`].
    #[error(
        "image version {found:?} is not valid: a version is made of numbers with dots between them, then perhaps \
         a hyphen and lower-case letters (a-z) or digits, such as \"1.2.3\" or \"5.4.1-custom1\""
    )]
    Version {
        /// The version as it was given.
        found: String,
    },
    /// The platform is none of [`Platform::ALL`].
    #[error("platform {found:?} is unknown: use one of win32, win64, multi, linux64")]
    Platform {
        /// The platform as it was given.
        found: String,
    },
    /// The format is none of [`Format::ALL`].
    #[error("image format {found:?} is unknown: use one of vhd, vhdx")]
    Format {
        /// The format as it was given.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_made_of_the_four_parts() {
        let path = |name, version, platform, format| {
            ImagePath::new(name, version, platform, format).map(|path| path.to_string())
        };
        assert_eq!(
            path("unreal", "5.4.1-custom1", Platform::Win64, Format::Vhd).unwrap(),
            "unreal/unreal_v5.4.1-custom1_win64.vhd"
        );
        assert_eq!(
            path("foobar", "42", Platform::Multi, Format::Vhdx).unwrap(),
            "foobar/foobar_v42_multi.vhdx"
        );
        assert_eq!(
            path("a-1", "0.0", Platform::Linux64, Format::default()).unwrap(),
            "a-1/a-1_v0.0_linux64.vhd"
        );
        assert!(matches!(
            path("../x", "1", Platform::Win32, Format::Vhd),
            Err(InvalidImagePath::Name { found }) if found == "../x"
        ));
        assert!(matches!(
            path("x", "1/..", Platform::Win32, Format::Vhd),
            Err(InvalidImagePath::Version { found }) if found == "1/.."
        ));
    }

    #[test]
    fn names_are_held_to_the_rule() {
        for good in ["a", "0", "-", "--", "foobar", "visual-studio-2022"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let bad = [
            "", ".", "..", "../x", "a/b", r"a\b", "A", "a_b", "a.b", "a b", " a", "a\n", "a\0", "é", "ａ",
            "C:", "a?b", "%2e",
        ];
        for bad in bad {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn versions_are_held_to_the_rule() {
        for good in ["1", "0", "1.2", "1.2.3", "007", "5.4.1-custom1", "1-0", "1-a", "20201231"] {
            assert_eq!(check_version(good), Ok(()), "{good}");
        }
        let bad = [
            "", ".", "1.", ".1", "1..2", "-", "1-", "-a", "1.-a", "1-a-b", "1-A", "1-a.b", "a", "1a", "v1",
            "1.a", "1_2", "1 ", " 1", "1\n", "1/2", "..", "1.2.3-", "٣", "1-é", "1+2",
        ];
        for bad in bad {
            assert!(check_version(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn spellings_are_read_as_they_are_written() {
        for platform in Platform::ALL {
            assert_eq!(platform.to_string().parse(), Ok(platform));
        }
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let unknown = "Win64".parse::<Platform>().unwrap_err().to_string();
        for platform in Platform::ALL {
            assert!(unknown.contains(platform.as_str()), "{unknown}");
        }
        let unknown = "vmdk".parse::<Format>().unwrap_err().to_string();
        for format in Format::ALL {
            assert!(unknown.contains(format.as_str()), "{unknown}");
        }
    }
}
