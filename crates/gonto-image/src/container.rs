//! Which container an image file is: told by its content, because names can be wrong.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::filesystem::Volume;
use crate::guid::Guid;
use crate::irregularity::Irregularity;
use crate::layer::Layer;
use crate::options::Options;
use crate::parent::Descent;
use crate::source::ReadAt;
use crate::{vhd, vhdx};

mod others;

/// Nothing could be said of less than a sector.
const SMALLEST_DISK: u64 = 512;

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
    /// A differencing VHD: what was written since it was made from its parent.
    DifferencingVhd,
    /// A fixed VHDX: all blocks were there from the start.
    FixedVhdx,
    /// A dynamic VHDX: blocks that are there only when they were written.
    DynamicVhdx,
    /// A differencing VHDX: what was written since it was made from its parent.
    DifferencingVhdx,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw disk",
            Self::FixedVhd => "fixed VHD",
            Self::DynamicVhd => "dynamic VHD",
            Self::DifferencingVhd => "differencing VHD",
            Self::FixedVhdx => "fixed VHDX",
            Self::DynamicVhdx => "dynamic VHDX",
            Self::DifferencingVhdx => "differencing VHDX",
        })
    }
}

/// The disk that a guest would see, and the image files that it is made of.
pub struct VirtualDisk {
    disk: Arc<dyn ReadAt>,
    layers: Vec<Layer>,
}

impl VirtualDisk {
    /// Recognises the container of `image` by its content. What is no container that is known by name is taken for the bytes
    /// of a disk. The parents of a differencing image are found by [`Options::parents`] and opened as well.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for the containers of other systems; [`Error::Vhd`], [`Error::Vhdx`] and [`Error::Checksum`]
    /// for one that is damaged or, where [`Options::container_only`] asks for it, for the bytes of a disk;
    /// [`Error::MissingParent`], [`Error::Parent`] and [`Error::ParentChain`] for a differencing image whose chain is not
    /// whole; [`Error::Read`] from below.
    pub fn open(image: Arc<dyn ReadAt>, options: &Options) -> Result<Self, Error> {
        Self::open_in(image, &Descent::new(options))
    }

    /// The same for an image of a chain.
    pub(crate) fn open_in(image: Arc<dyn ReadAt>, descent: &Descent<'_>) -> Result<Self, Error> {
        if image.size() < SMALLEST_DISK {
            return Err(Error::NoVolume { found: format!("the image file has {} bytes", image.size()) });
        }
        others::refuse(image.as_ref())?;
        if let Some(disk) = vhdx::open(&image, descent)? {
            return Ok(disk);
        }
        if let Some(disk) = vhd::open(&image, descent)? {
            return Ok(disk);
        }
        let size = image.size();
        let raw = Self::new(image, Layer::new(Container::Raw, size, size), Vec::new());
        if descent.options.container_only {
            let missing = Volume::find(&raw, descent.options).map_or(0, |volume| volume.missing());
            return Err(Error::Vhd {
                structure: "footer",
                offset: size.saturating_sub(512),
                expected: "the cookie \"conectix\" at the start of the last 512 bytes, \
                           or \"vhdxfile\" at the start of the file"
                    .into(),
                found: match missing {
                    0 => "neither".into(),
                    _ => format!("neither: the file is cut short, {missing} bytes of its volume are missing"),
                },
            });
        }
        Ok(raw)
    }

    /// A disk made of an image file and those of its parent.
    pub(crate) fn new(disk: Arc<dyn ReadAt>, layer: Layer, parents: Vec<Layer>) -> Self {
        let mut layers = vec![layer];
        layers.extend(parents);
        Self { disk, layers }
    }

    /// The same with the name by which the image file was found.
    pub(crate) fn named(mut self, name: String) -> Self {
        self.layers[0].name = name;
        self
    }

    /// Bytes and image files, for the disk of a child.
    pub(crate) fn into_parts(self) -> (Arc<dyn ReadAt>, Vec<Layer>) {
        (self.disk, self.layers)
    }

    /// The image itself, without its parents.
    pub(crate) fn into_layer(mut self) -> Layer {
        self.layers.swap_remove(0)
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

    /// The image itself.
    pub(crate) fn layer(&self) -> &Layer {
        &self.layers[0]
    }

    /// Bytes of a sector, 512 or 4096, as partition tables count; raw disks do not tell.
    #[must_use]
    pub fn sector_size(&self) -> Option<u32> {
        self.layers[0].sector_size
    }

    /// What is not as it should be with any of the image files.
    pub fn irregularities(&self) -> impl Iterator<Item = &Irregularity> {
        self.layers.iter().flat_map(|layer| &layer.irregularities)
    }
}

/// The identity by which children know an image; `None` for what is no container. Little of it is read.
pub(crate) fn identity(image: &dyn ReadAt, options: &Options) -> Result<Option<Guid>, Error> {
    match vhdx::identity(image, options)? {
        Some(id) => Ok(Some(id)),
        None => vhd::identity(image, options),
    }
}
