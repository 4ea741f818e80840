//! Reparse points: symbolic links as Windows and WSL have them (\[MS-FSCC\] 2.1.2).

use super::narrow;
use crate::ntfs::Reference;
use crate::ntfs::reparse::{LONGEST, tag};

/// A symbolic link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link<'t> {
    /// One that Windows follows, and so do all others. UTF-16, with backslashes.
    Relative(&'t [u16]),
    /// One with a drive letter, as Windows keeps it: `\??\C:\dir`.
    Absolute(&'t [u16]),
    /// One that only Linux follows: the target as it is.
    Linux(&'t [u8]),
}

/// \[MS-FSCC\] 2.1.2.4, Flags.
const RELATIVE: u32 = 1;
/// WSL's links begin with this version number.
const LINUX_LINK_VERSION: u32 = 2;

/// What the namespace of the kernel puts before a path of Windows; users do not see it.
const KERNEL_PREFIX: [u16; 4] = [b'\\' as u16, b'?' as u16, b'?' as u16, b'\\' as u16];

impl Link<'_> {
    pub(crate) fn tag(self) -> u32 {
        match self {
            Self::Relative(_) | Self::Absolute(_) => tag::SYMLINK,
            Self::Linux(_) => tag::LX_SYMLINK,
        }
    }

    /// The value of `$REPARSE_POINT`.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let data = match self {
            // Who is shown a link follows it all the same where there is no room for a second text.
            Self::Relative(target) if target.len() as u64 > LONGEST_TWICE => symlink(target, &[], RELATIVE),
            Self::Relative(target) => symlink(target, target, RELATIVE),
            Self::Absolute(target) => {
                symlink(target, target.strip_prefix(&KERNEL_PREFIX).unwrap_or(target), 0)
            }
            Self::Linux(target) => [&LINUX_LINK_VERSION.to_le_bytes(), target].concat(),
        };
        let mut bytes = Vec::with_capacity(8 + data.len());
        bytes.extend(self.tag().to_le_bytes());
        bytes.extend(narrow::<u16>(data.len()).to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(data);
        bytes
    }
}

/// \[MS-FSCC\] 2.1.2.4: where the link leads, and what users are shown.
fn symlink(substitute: &[u16], print: &[u16], flags: u32) -> Vec<u8> {
    let lengths = [substitute.len() * 2, print.len() * 2].map(narrow::<u16>);
    let mut data = Vec::new();
    for field in [0, lengths[0], lengths[0], lengths[1]] {
        data.extend(field.to_le_bytes());
    }
    data.extend(flags.to_le_bytes());
    data.extend(substitute.iter().chain(print).flat_map(|unit| unit.to_le_bytes()));
    data
}

/// The longest target, in UTF-16 units, whose text fits twice into a reparse point.
const LONGEST_TWICE: u64 = (LONGEST - 20) / 4;

/// The key of a reparse point in `$Extend\$Reparse`.
pub(crate) fn key(tag: u32, file: Reference) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &file.to_raw().to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntfs::reparse::{Reparse, ReparsePoint, WindowsTarget};

    #[test]
    fn what_is_written_is_read() {
        let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        let parsed = |link: Link<'_>| ReparsePoint::parse(&link.to_bytes()).unwrap().meaning;
        let windows =
            |path: &str, relative| Reparse::Link(WindowsTarget { path: path.as_bytes().into(), relative });
        assert_eq!(parsed(Link::Relative(&units(r"..\bin\ä"))), windows(r"..\bin\ä", true));
        assert_eq!(parsed(Link::Absolute(&units(r"\??\C:\x"))), windows(r"\??\C:\x", false));
        assert_eq!(parsed(Link::Linux(b"/usr/bin")), Reparse::LinuxLink((*b"/usr/bin").into()));
    }

    #[test]
    fn users_are_not_shown_the_kernels_prefix() {
        let link: Vec<u16> = r"\??\C:\x".encode_utf16().collect();
        let bytes = Link::Absolute(&link).to_bytes();
        let print: Vec<u8> = r"C:\x".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(bytes.ends_with(&print));
        assert_eq!(bytes[14..16], [8, 0], "its length");
    }
}
