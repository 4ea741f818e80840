//! Which container an image file is: told by its content, because names can be wrong.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::options::Options;
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

/// The disk that a guest would see, and the image files that it is made of.
pub struct VirtualDisk {
    disk: Arc<dyn ReadAt>,
    layers: Vec<Layer>,
}

/// One image file of a virtual disk. There are several where it is differencing.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Layer {
    /// The name of a parent, as whoever found it says; empty for the image itself.
    pub name: String,
    /// What kind of container it is.
    pub container: Container,
    /// Bytes of the file.
    pub file_size: u64,
}

impl VirtualDisk {
    /// Recognises the container of `image` by its content. What is no container that is known by name is taken for the bytes
    /// of a disk.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for the containers of other systems, [`Error::Vhd`] for a VHD that is damaged or, where
    /// [`Options::container_only`] asks for it, for the bytes of a disk; [`Error::Read`] from below.
    pub fn open(image: Arc<dyn ReadAt>, options: &Options) -> Result<Self, Error> {
        refuse_other_containers(image.as_ref())?;
        let file_size = image.size();
        let (container, disk): (_, Arc<dyn ReadAt>) = match vhd::open(&image)? {
            Some(vhd::Disk::Fixed(disk)) => (Container::FixedVhd, Arc::new(disk)),
            Some(vhd::Disk::Dynamic(disk)) => (Container::DynamicVhd, Arc::new(disk)),
            None if options.container_only => {
                return Err(Error::Vhd {
                    structure: "footer",
                    offset: file_size.saturating_sub(512),
                    expected: "the cookie \"conectix\" at the start of the last 512 bytes".into(),
                    found: "something else".into(),
                });
            }
            None => (Container::Raw, image),
        };
        Ok(Self { disk, layers: vec![Layer { name: String::new(), container, file_size }] })
    }

    /// The bytes of the disk.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn ReadAt> {
        &self.disk
    }

    /// The kind of container that the image itself is.
    #[must_use]
    pub fn container(&self) -> Container {
        self.layers[0].container
    }

    /// The image files, the image itself first and then each one's parent. [`Place::Image`](crate::Place::Image) counts them.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
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
