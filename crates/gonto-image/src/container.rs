//! Which container an image file is: told by its content, because names can be wrong.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::source::ReadAt;
use crate::vhd;

/// The kinds of image file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Container {
    /// The bytes of the disk and nothing else.
    Raw,
    /// A fixed VHD: the bytes of the disk, then a footer.
    FixedVhd,
    /// A dynamic VHD: blocks that are there only when they were written.
    DynamicVhd,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw disk",
            Self::FixedVhd => "fixed VHD",
            Self::DynamicVhd => "dynamic VHD",
        })
    }
}

/// The disk that a guest would see in `image`, and what kind of container it lies in.
///
/// What is neither a VHD nor another container that is known by name is taken for the bytes of a disk.
///
/// # Errors
/// [`Error::Unsupported`] for VHDX, differencing VHDs and the containers of other systems, [`Error::Vhd`] for a VHD that
/// is damaged, [`Error::Read`] from below.
pub fn virtual_disk(image: Arc<dyn ReadAt>) -> Result<(Container, Arc<dyn ReadAt>), Error> {
    refuse_other_containers(image.as_ref())?;
    match vhd::open(&image)? {
        Some(vhd::Disk::Fixed(disk)) => Ok((Container::FixedVhd, Arc::new(disk))),
        Some(vhd::Disk::Dynamic(disk)) => Ok((Container::DynamicVhd, Arc::new(disk))),
        None => Ok((Container::Raw, image)),
    }
}

/// Signatures at the start of files that are disk images, but not ours.
const OTHERS: [(&[u8], &str, bool, &str); 3] = [
    (b"vhdxfile", "VHDX", true, "convert the image to VHD"),
    (b"QFI\xfb", "QCOW2", false, "convert the image to VHD"),
    (b"KDMV", "VMDK", false, "convert the image to VHD"),
];

fn refuse_other_containers(image: &dyn ReadAt) -> Result<(), Error> {
    let mut start = [0; 8];
    if image.size() < start.len() as u64 {
        return Err(Error::NoVolume { found: format!("the image file has {} bytes", image.size()) });
    }
    image.read_at(&mut start, 0).map_err(|source| Error::Read {
        what: "the image file",
        offset: 0,
        length: start.len(),
        source,
    })?;
    match OTHERS.iter().find(|(signature, ..)| start.starts_with(signature)) {
        Some(&(_, what, yet, remedy)) => Err(Error::Unsupported { what: what.into(), yet, remedy }),
        None => Ok(()),
    }
}
