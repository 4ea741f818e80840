//! VHDX, the virtual hard disk of Hyper-V since Windows 8 ([MS-VHDX]).
//!
//! ```text
//! 0        64K      128K     192K             256K             1 MiB
//! identifier | header | header | region table | region table | log, metadata, block table (BAT), blocks … in any order
//! ```
//! All integers are little endian. What changes the metadata goes through the log, so that a file whose writer was interrupted
//! is whole again when the log is replayed. That is done in memory: the file is never changed.

use std::sync::Arc;

use zerocopy::{FromZeros, IntoBytes};

use crate::container::{Container, VirtualDisk};
use crate::error::{Error, Mismatch};
use crate::guid::Guid;
use crate::irregularity::Irregularity;
use crate::layer::{Blocks, Layer};
use crate::options::Options;
use crate::parent::{Below, Descent};
use crate::source::ReadAt;

mod bat;
mod copies;
mod creator;
mod disk;
mod format;
mod header;
mod locator;
mod log;
mod metadata;
mod regions;
mod replay;
mod table;
pub(crate) mod write;

use disk::Disk;
use format::{FILE_SIGNATURE, FileTypeIdentifier};
use metadata::Metadata;

/// Opens `image` as a VHDX, with its parents; `None` when nothing in it says that it is one.
pub(crate) fn open(image: &Arc<dyn ReadAt>, descent: &Descent<'_>) -> Result<Option<VirtualDisk>, Error> {
    let Some(identifier) = recognise(image.as_ref())? else { return Ok(None) };
    let (options, mut irregularities) = (descent.options, Vec::new());
    let header = header::find(image.as_ref(), options, &mut irregularities)?;
    let (file, replayed) = replay::replay(image, header.log)?;
    if replayed > 0 {
        irregularities.push(Irregularity::ReplayedLog { entries: replayed });
    }
    let regions = regions::find(file.as_ref(), header.log, options, &mut irregularities)?;
    let metadata = Metadata::read(file.as_ref(), &regions.metadata)?;
    let table = bat::read_table(file.as_ref(), &regions, &metadata)?;
    let layer = Layer {
        id: Some(header.data_write_guid),
        disk_id: metadata.disk_id,
        parent_id: metadata.parent.as_ref().and_then(|link| link.ids.first().copied()),
        creator: creator::creator(&identifier),
        sector_size: Some(metadata.logical_sector_size),
        physical_sector_size: metadata.physical_sector_size,
        blocks: Some(Blocks { size: metadata.block_size, total: table.total, present: table.present }),
        irregularities,
        ..Layer::new(container(&metadata), image.size(), metadata.disk_size)
    };
    let (parent, layers) = match &metadata.parent {
        None => (None, Vec::new()),
        Some(link) => {
            let parent = descent.open_parent(header.data_write_guid, link)?;
            (Some(Below::new(parent.disk)), parent.layers)
        }
    };
    let disk = Disk::new(file, &metadata, table, parent)?;
    Ok(Some(VirtualDisk::new(Arc::new(disk), layer, layers)))
}

/// The data write GUID of a VHDX.
pub(crate) fn identity(image: &dyn ReadAt, options: &Options) -> Result<Option<Guid>, Error> {
    match recognise(image)? {
        None => Ok(None),
        Some(_) => header::find(image, options, &mut Vec::new()).map(|header| Some(header.data_write_guid)),
    }
}

fn recognise(image: &dyn ReadAt) -> Result<Option<FileTypeIdentifier>, Error> {
    let mut identifier = FileTypeIdentifier::new_zeroed();
    if image.size() < size_of::<FileTypeIdentifier>() as u64 {
        return Ok(None);
    }
    read(image, "the VHDX file type identifier", identifier.as_mut_bytes(), 0)?;
    if identifier.signature == FILE_SIGNATURE {
        return Ok(Some(identifier));
    }
    match header::is_at_its_place(image)? {
        false => Ok(None),
        true => {
            let found = format!("\"{}\"", identifier.signature.escape_ascii());
            Err(Mismatch::new(0, "the signature \"vhdxfile\"", found).in_vhdx("file type identifier", 0))
        }
    }
}

fn container(metadata: &Metadata) -> Container {
    match (&metadata.parent, metadata.is_fixed) {
        (Some(_), _) => Container::DifferencingVhdx,
        (None, true) => Container::FixedVhdx,
        (None, false) => Container::DynamicVhdx,
    }
}

/// Reads one structure of the container.
fn read(image: &dyn ReadAt, what: &'static str, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let length = buf.len();
    image.read_at(buf, offset).map_err(|source| Error::Read { what, offset, length, source })
}

#[cfg(test)]
mod tests;
