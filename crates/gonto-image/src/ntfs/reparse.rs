//! Reparse points: what a file or directory really is (\[MS-FSCC\] 2.1.2).

use super::{field, name};
use crate::error::Mismatch;

/// NTFS keeps no more for a file (\[MS-FSCC\] 2.1.2, MAXIMUM_REPARSE_DATA_BUFFER_SIZE).
pub(crate) const LONGEST: u64 = 16 << 10;

/// \[MS-FSCC\] 2.1.2.1.
mod tag {
    pub(super) const MOUNT_POINT: u32 = 0xa000_0003;
    pub(super) const SYMLINK: u32 = 0xa000_000c;
    pub(super) const LX_SYMLINK: u32 = 0xa000_001d;
    pub(super) const DEDUP: u32 = 0x8000_0013;
    pub(super) const WOF: u32 = 0x8000_0017;
    /// Cloud files have sixteen tags, which differ in these bits.
    pub(super) const CLOUD: u32 = 0x9000_001a;
    pub(super) const CLOUD_VARIANTS: u32 = 0x0000_f000;
}

/// What a reparse point says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reparse {
    /// A symbolic link or a junction of Windows.
    Link(WindowsTarget),
    /// A symbolic link of WSL, with the target as Linux wrote it.
    LinuxLink(Box<[u8]>),
    /// Compressed by the Windows Overlay Filter (CompactOS).
    Wof,
    /// The content lies in the chunk store of data deduplication.
    Dedup,
    /// Kept in step with a cloud by a program such as OneDrive.
    Cloud,
    /// Something else, by its tag.
    Other(u32),
}

/// Where a link of Windows points to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WindowsTarget {
    /// WTF-8, with backslashes, as it is stored: `\??\C:\dir` or `..\dir`.
    pub(crate) path: Box<[u8]>,
    /// Whether it counts from the folder of the link.
    pub(crate) relative: bool,
}

impl Reparse {
    /// Reads the content of `$REPARSE_POINT`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Mismatch> {
        let (Some(tag), Some(length)) = (field::u32(bytes, 0), field::u16(bytes, 4)) else {
            return Err(Mismatch::new(0, "a reparse point of 8 bytes or more", bytes.len()));
        };
        let data = bytes.get(8..).and_then(|data| data.get(..usize::from(length)));
        let Some(data) = data else {
            return Err(Mismatch::new(4, format!("at most {} bytes", bytes.len() - 6), length));
        };
        Ok(match tag {
            tag::SYMLINK => {
                let relative = field::u32(data, 8).is_some_and(|flags| flags & 1 != 0);
                Self::Link(WindowsTarget { path: substitute_name(data, 12)?, relative })
            }
            tag::MOUNT_POINT => {
                Self::Link(WindowsTarget { path: substitute_name(data, 8)?, relative: false })
            }
            // Behind a version number of four bytes.
            tag::LX_SYMLINK => Self::LinuxLink(data.get(4..).unwrap_or_default().into()),
            tag::WOF => Self::Wof,
            tag::DEDUP => Self::Dedup,
            other if other & !tag::CLOUD_VARIANTS == tag::CLOUD => Self::Cloud,
            other => Self::Other(other),
        })
    }
}

/// The name that the system follows; the other one, for printing, may be missing. `names_at` is where both lie.
fn substitute_name(data: &[u8], names_at: usize) -> Result<Box<[u8]>, Mismatch> {
    let place = || {
        let start = names_at + usize::from(field::u16(data, 0)?);
        data.get(start..start + usize::from(field::u16(data, 2)?))
    };
    match place() {
        Some(utf16) => Ok(name::to_wtf8(utf16).into()),
        None => Err(Mismatch::new(8, "the link's target inside the reparse point", "one that leaves it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(tag: u32, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap();
        [&tag.to_le_bytes()[..], &length.to_le_bytes(), &[0, 0], data].concat()
    }

    fn names(head: &[u8], flags: &[u8], target: &str) -> Vec<u8> {
        let utf16: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u16::try_from(utf16.len()).unwrap().to_le_bytes();
        // The name for printing comes first here, so that the offset matters.
        [&[4, 0][..], &length, &[0, 0, 4, 0], head, flags, b"x\0y\0", &utf16].concat()
    }

    #[test]
    fn links_of_all_kinds_are_read() {
        let symlink = point(0xa000_000c, &names(&[], &[1, 0, 0, 0], "..\\b"));
        let target = WindowsTarget { path: (*b"..\\b").into(), relative: true };
        assert_eq!(Reparse::parse(&symlink), Ok(Reparse::Link(target)));
        let junction = point(0xa000_0003, &names(&[], &[], "\\??\\C:\\b"));
        let target = WindowsTarget { path: (*b"\\??\\C:\\b").into(), relative: false };
        assert_eq!(Reparse::parse(&junction), Ok(Reparse::Link(target)));
        let linux = point(0xa000_001d, b"\x02\0\0\0../b");
        assert_eq!(Reparse::parse(&linux), Ok(Reparse::LinuxLink((*b"../b").into())));
    }

    #[test]
    fn other_tags_are_told_apart() {
        assert_eq!(Reparse::parse(&point(0x8000_0017, &[])), Ok(Reparse::Wof));
        assert_eq!(Reparse::parse(&point(0x8000_0013, &[])), Ok(Reparse::Dedup));
        assert_eq!(Reparse::parse(&point(0x9000_601a, &[])), Ok(Reparse::Cloud));
        assert_eq!(Reparse::parse(&point(0x9000_001a, &[])), Ok(Reparse::Cloud));
        assert_eq!(Reparse::parse(&point(0x8000_0023, &[])), Ok(Reparse::Other(0x8000_0023)));
    }

    #[test]
    fn points_that_lie_about_their_length_are_refused() {
        assert!(Reparse::parse(&[0; 7]).is_err());
        let mut long = point(0x8000_0017, &[1, 2]);
        long[4] = 3;
        assert!(Reparse::parse(&long).is_err());
        let mut target = point(0xa000_000c, &names(&[], &[0; 4], "a"));
        target[10] = 200;
        assert!(Reparse::parse(&target).is_err());
        assert!(Reparse::parse(&point(0xa000_000c, &[])).is_err());
    }
}
