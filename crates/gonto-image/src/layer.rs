//! What an image file tells of itself.

use std::fmt;
use std::sync::Arc;

use crate::container::{Container, VirtualDisk};
use crate::error::Error;
use crate::guid::Guid;
use crate::irregularity::Irregularity;
use crate::options::Options;
use crate::parent::Descent;
use crate::source::ReadAt;
use crate::tree::Timestamp;

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
    /// Bytes of the disk that it describes.
    pub disk_size: u64,
    /// Its identity, which its children know it by: a VHD's unique id, a VHDX's data write GUID.
    pub id: Option<Guid>,
    /// What the disk calls itself to a guest, which children have from their parents; only VHDXs tell.
    pub disk_id: Option<Guid>,
    /// The identity that its parent must have.
    pub parent_id: Option<Guid>,
    /// The program that made it.
    pub creator: Option<Creator>,
    /// When it was made, to the second; only VHDs tell.
    pub created: Option<Timestamp>,
    /// Bytes of a sector of the disk: 512 or 4096. Raw disks do not tell.
    pub sector_size: Option<u32>,
    /// Bytes that the disk writes at once, whatever its sectors are: 512 or 4096; only VHDXs tell.
    pub physical_sector_size: Option<u32>,
    /// The blocks that the disk is stored in; a fixed VHD and a raw disk have none.
    pub blocks: Option<Blocks>,
    /// What is not as it should be.
    pub irregularities: Vec<Irregularity>,
}

/// The blocks of a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocks {
    /// Bytes of a block.
    pub size: u64,
    /// How many the disk has.
    pub total: u64,
    /// How many are in this file.
    pub present: u64,
}

impl Layer {
    /// What an image file tells of itself, whether its parents are there or not: none is looked for.
    ///
    /// # Errors
    /// As [`VirtualDisk::open`], except those about parents.
    pub fn of(image: Arc<dyn ReadAt>, options: &Options) -> Result<Self, Error> {
        VirtualDisk::open_in(image, &Descent::alone(options)).map(VirtualDisk::into_layer)
    }

    /// A layer of which nothing else is known yet.
    pub(crate) fn new(container: Container, file_size: u64, disk_size: u64) -> Self {
        Self {
            name: String::new(),
            container,
            file_size,
            disk_size,
            id: None,
            disk_id: None,
            parent_id: None,
            creator: None,
            created: None,
            sector_size: None,
            physical_sector_size: None,
            blocks: None,
            irregularities: Vec::new(),
        }
    }
}

/// The program that made an image file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Creator {
    /// Its name, as users know it; the mark where that is not known.
    pub program: String,
    /// The mark that it left: four characters in a VHD, a line in a VHDX.
    pub mark: String,
    /// Its version, major and minor, as far as the mark means one.
    pub version: Option<(u16, u16)>,
    /// The system it ran on.
    pub host: Option<&'static str>,
}

impl fmt::Display for Creator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)
    }
}
