//! Reparse points: what a file or directory really is (\[MS-FSCC\] 2.1.2).

use super::overlay::Algorithm;
use super::{field, name};
use crate::error::Mismatch;

/// NTFS keeps no more for a file (\[MS-FSCC\] 2.1.2, MAXIMUM_REPARSE_DATA_BUFFER_SIZE).
pub(crate) const LONGEST: u64 = 16 << 10;

/// \[MS-FSCC\] 2.1.2.1.
pub(crate) mod tag {
    pub(super) const MOUNT_POINT: u32 = 0xa000_0003;
    pub(crate) const SYMLINK: u32 = 0xa000_000c;
    pub(crate) const LX_SYMLINK: u32 = 0xa000_001d;
    pub(super) const DEDUP: u32 = 0x8000_0013;
    pub(super) const WOF: u32 = 0x8000_0017;
    pub(super) const AF_UNIX: u32 = 0x8000_0023;
    pub(super) const LX_FIFO: u32 = 0x8000_0024;
    pub(super) const LX_CHR: u32 = 0x8000_0025;
    pub(super) const LX_BLK: u32 = 0x8000_0026;
    /// Cloud files have sixteen tags, which differ in these bits.
    pub(super) const CLOUD: u32 = 0x9000_001a;
    pub(super) const CLOUD_VARIANTS: u32 = 0x0000_f000;
}

/// A reparse point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReparsePoint {
    /// Whose it is (\[MS-FSCC\] 2.1.2.1).
    pub(crate) tag: u32,
    pub(crate) meaning: Reparse,
}

/// What a reparse point says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reparse {
    /// A symbolic link or a junction of Windows.
    Link(WindowsTarget),
    /// A symbolic link of WSL, with the target as Linux wrote it.
    LinuxLink(Box<[u8]>),
    /// Behind the Windows Overlay Filter.
    Overlay(Overlay),
    /// The content lies in the chunk store of data deduplication.
    Dedup,
    /// Kept in step with a cloud by a program such as OneDrive.
    Cloud,
    /// Something of Linux that holds no bytes.
    Special(SpecialFile),
    /// Something else.
    Other,
}

/// How the Windows Overlay Filter provides the content of a file (\[MS-FSCC\] 2.1.2.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overlay {
    /// Compressed, in a stream of the same file.
    File(Algorithm),
    /// From a WIM file.
    Wim,
    /// In a way that is not known.
    Unknown,
}

/// Files of Linux that hold no bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SpecialFile {
    /// The address of a Unix socket.
    Socket,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

impl SpecialFile {
    /// By the type bits of a Unix mode; `None` for files, directories and links.
    pub(crate) fn from_mode(mode: u32) -> Option<Self> {
        match mode & 0o170_000 {
            0o140_000 => Some(Self::Socket),
            0o010_000 => Some(Self::Fifo),
            0o020_000 => Some(Self::CharacterDevice),
            0o060_000 => Some(Self::BlockDevice),
            _ => None,
        }
    }
}

/// Where a link of Windows points to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WindowsTarget {
    /// WTF-8, with backslashes, as it is stored: `\??\C:\dir` or `..\dir`.
    pub(crate) path: Box<[u8]>,
    /// Whether it counts from the folder of the link.
    pub(crate) relative: bool,
}

impl ReparsePoint {
    /// Reads the content of `$REPARSE_POINT`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Mismatch> {
        let (Some(tag), Some(length)) = (field::u32(bytes, 0), field::u16(bytes, 4)) else {
            return Err(Mismatch::new(0, "a reparse point of 8 bytes or more", bytes.len()));
        };
        let data = bytes.get(8..).and_then(|data| data.get(..usize::from(length)));
        let Some(data) = data else {
            return Err(Mismatch::new(4, format!("at most {} bytes", bytes.len() - 6), length));
        };
        let meaning = match tag {
            tag::SYMLINK => {
                let relative = field::u32(data, 8).is_some_and(|flags| flags & 1 != 0);
                Reparse::Link(WindowsTarget { path: substitute_name(data, 12)?, relative })
            }
            tag::MOUNT_POINT => {
                Reparse::Link(WindowsTarget { path: substitute_name(data, 8)?, relative: false })
            }
            // Behind a version number of four bytes.
            tag::LX_SYMLINK => Reparse::LinuxLink(data.get(4..).unwrap_or_default().into()),
            tag::WOF => Reparse::Overlay(Overlay::parse(data)),
            tag::DEDUP => Reparse::Dedup,
            tag::AF_UNIX => Reparse::Special(SpecialFile::Socket),
            tag::LX_FIFO => Reparse::Special(SpecialFile::Fifo),
            tag::LX_CHR => Reparse::Special(SpecialFile::CharacterDevice),
            tag::LX_BLK => Reparse::Special(SpecialFile::BlockDevice),
            other if other & !tag::CLOUD_VARIANTS == tag::CLOUD => Reparse::Cloud,
            _ => Reparse::Other,
        };
        Ok(Self { tag, meaning })
    }
}

impl Overlay {
    /// Version and provider; for files, version and algorithm. All versions are 1.
    fn parse(data: &[u8]) -> Self {
        let number = |index: usize| field::u32(data, index * 4);
        match (number(0), number(1), number(2), number(3)) {
            (Some(1), Some(1), ..) => Self::Wim,
            (Some(1), Some(2), Some(1), Some(algorithm)) => {
                Algorithm::from_raw(algorithm).map_or(Self::Unknown, Self::File)
            }
            _ => Self::Unknown,
        }
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

    fn meaning(bytes: &[u8]) -> Result<Reparse, Mismatch> {
        ReparsePoint::parse(bytes).map(|point| point.meaning)
    }

    #[test]
    fn links_of_all_kinds_are_read() {
        let symlink = point(0xa000_000c, &names(&[], &[1, 0, 0, 0], "..\\b"));
        let target = WindowsTarget { path: (*b"..\\b").into(), relative: true };
        assert_eq!(meaning(&symlink), Ok(Reparse::Link(target)));
        let junction = point(0xa000_0003, &names(&[], &[], "\\??\\C:\\b"));
        let target = WindowsTarget { path: (*b"\\??\\C:\\b").into(), relative: false };
        assert_eq!(meaning(&junction), Ok(Reparse::Link(target)));
        let linux = point(0xa000_001d, b"\x02\0\0\0../b");
        assert_eq!(meaning(&linux), Ok(Reparse::LinuxLink((*b"../b").into())));
    }

    #[test]
    fn other_tags_are_told_apart() {
        for (tag, expected) in [
            (0x8000_0013, Reparse::Dedup),
            (0x9000_601a, Reparse::Cloud),
            (0x9000_001a, Reparse::Cloud),
            (0x8000_0023, Reparse::Special(SpecialFile::Socket)),
            (0x8000_0024, Reparse::Special(SpecialFile::Fifo)),
            (0x8000_0025, Reparse::Special(SpecialFile::CharacterDevice)),
            (0x8000_0026, Reparse::Special(SpecialFile::BlockDevice)),
            (0x8000_001b, Reparse::Other),
        ] {
            assert_eq!(ReparsePoint::parse(&point(tag, &[])), Ok(ReparsePoint { tag, meaning: expected }));
        }
        let overlay = |numbers: &[u32]| {
            let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            meaning(&point(0x8000_0017, &data)).unwrap()
        };
        assert_eq!(overlay(&[1, 2, 1, 0]), Reparse::Overlay(Overlay::File(Algorithm::Xpress4K)));
        assert_eq!(overlay(&[1, 2, 1, 1]), Reparse::Overlay(Overlay::File(Algorithm::Lzx)));
        assert_eq!(overlay(&[1, 2, 1, 3, 0]), Reparse::Overlay(Overlay::File(Algorithm::Xpress16K)));
        assert_eq!(overlay(&[1, 1, 1, 7, 8]), Reparse::Overlay(Overlay::Wim));
        for unknown in [&[][..], &[1, 2, 1], &[1, 2, 1, 4], &[2, 2, 1, 1], &[1, 2, 2, 1], &[1, 3, 1, 1]] {
            assert_eq!(overlay(unknown), Reparse::Overlay(Overlay::Unknown), "{unknown:?}");
        }
    }

    #[test]
    fn points_that_lie_about_their_length_are_refused() {
        assert!(ReparsePoint::parse(&[0; 7]).is_err());
        let mut long = point(0x8000_0017, &[1, 2]);
        long[4] = 3;
        assert!(ReparsePoint::parse(&long).is_err());
        let mut target = point(0xa000_000c, &names(&[], &[0; 4], "a"));
        target[10] = 200;
        assert!(ReparsePoint::parse(&target).is_err());
        assert!(ReparsePoint::parse(&point(0xa000_000c, &[])).is_err());
    }
}
