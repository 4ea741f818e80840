//! Sharing with `copy_file_range`.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{copy_file_range, fstatfs};
use rustix::io::Errno;

/// File systems that share extents (btrfs, XFS, bcachefs, ZFS, OCFS2) or whose server copies (NFS, SMB under both its numbers), as
/// statfs(2) numbers them. Others copy bytes as well, but slower than they are written.
const SHARING: [i128; 8] = [
    0x9123_683e, // btrfs
    0x5846_5342, // XFS
    0xca45_1a4e, // bcachefs
    0x2fc1_2fc1, // ZFS
    0x7461_636f, // OCFS2
    0x0000_6969, // NFS
    0xfe53_4d42, // SMB 2 and 3
    0xff53_4d42, // CIFS
];

/// With which files the image can share.
pub(crate) struct Sharing {
    /// The image's file system, if it can share at all.
    own: Option<i128>,
    /// The devices that sources were seen on, and whether it works from there.
    devices: Vec<(u64, bool)>,
}

impl Sharing {
    pub(crate) fn new(image: &File) -> io::Result<Self> {
        Ok(Self { own: Some(file_system(image)?).filter(|own| SHARING.contains(own)), devices: Vec::new() })
    }

    /// Whether it is worth trying. Subvolumes of btrfs are devices of their own and share nevertheless, so that only trying
    /// tells.
    pub(crate) fn is_possible(&mut self, source: &File) -> bool {
        let (Some(own), Ok(metadata)) = (self.own, source.metadata()) else { return false };
        let device = metadata.dev();
        if let Some((_, known)) = self.devices.iter().find(|(known, _)| *known == device) {
            return *known;
        }
        let possible = file_system(source).is_ok_and(|other| other == own);
        self.devices.push((device, possible));
        possible
    }

    /// Copies all of it; `false` when the system refuses, which is remembered for the device.
    pub(crate) fn copy(
        &mut self,
        source: &File,
        mut at: u64,
        image: &File,
        mut offset: u64,
        length: u64,
    ) -> io::Result<bool> {
        let end = at + length;
        while at < end {
            let rest = usize::try_from(end - at).unwrap_or(usize::MAX);
            match copy_file_range(source, Some(&mut at), image, Some(&mut offset), rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.forget(source)?;
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn forget(&mut self, source: &File) -> io::Result<()> {
        let device = source.metadata()?.dev();
        self.devices.retain(|(known, _)| *known != device);
        self.devices.push((device, false));
        Ok(())
    }
}

/// The number of a file's file system. Systems disagree about its sign and width.
fn file_system(file: &File) -> io::Result<i128> {
    Ok(i128::from(fstatfs(file)?.f_type) & 0xffff_ffff)
}
