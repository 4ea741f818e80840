//! VHD, the virtual hard disk of Virtual PC and Hyper-V (Microsoft, *Virtual Hard Disk Image Format Specification*,
//! version 1.0).
//!
//! ```text
//! fixed          disk bytes ……………………………………………………………… footer
//! dynamic        copy of the footer | dynamic header | block table (BAT) | blocks … | footer
//!                block = sector bitmap, then block_size bytes of the disk
//! differencing   as dynamic; what the bitmaps do not show as written is the parent's
//! ```
//! All integers are big endian.
//!
//! # How big the disk is
//! A footer tells two sizes: that of the disk, and cylinders × heads × sectors, which is smaller by rounding (at most a
//! cylinder) or ends at 127 GiB. Virtual PC shows its guests the second one, and QEMU imitates it for some creators. Windows
//! attaches every VHD with the first one, and what Windows shows is what counts here; the bytes before the smaller end are
//! the same.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use zerocopy::FromBytes;

use crate::container::{Container, VirtualDisk};
use crate::error::Error;
use crate::guid::Guid;
use crate::irregularity::Irregularity;
use crate::layer::Layer;
use crate::ntfs::boot::Boot;
use crate::options::Options;
use crate::parent::{Below, Descent};
use crate::source::{ReadAt, Window};
use crate::tree::Timestamp;

mod creator;
mod dynamic;
mod footer;
mod format;
mod header;
mod locator;
mod table;
pub(crate) mod write;

use dynamic::Dynamic;
use footer::PlacedFooter;
use format::DiskType;
use header::PlacedHeader;

/// Opens `image` as a VHD, with its parents; `None` when nothing in it says that it is one.
pub(crate) fn open(image: &Arc<dyn ReadAt>, descent: &Descent<'_>) -> Result<Option<VirtualDisk>, Error> {
    let Some(mut footer) = PlacedFooter::find(image.as_ref(), descent.options)? else { return Ok(None) };
    let disk_type = footer.disk_type()?;
    let mut layer = layer(&mut footer, disk_type, image.size())?;
    if disk_type == DiskType::Fixed {
        if !descent.options.container_only
            && let Some(volume) = volume_alone(image, &footer)?
        {
            return Ok(Some(volume));
        }
        return Ok(Some(VirtualDisk::new(Arc::new(open_fixed(image, &footer)?), layer, Vec::new())));
    }
    let header = PlacedHeader::read(image.as_ref(), &footer, descent.options, &mut layer.irregularities)?;
    let (below, parents) = if disk_type == DiskType::Differencing {
        let (below, parents) = open_parent(image.as_ref(), &footer, &header, descent, &mut layer)?;
        (Some(below), parents)
    } else {
        (None, Vec::new())
    };
    let disk = Dynamic::open(image.clone(), &footer, &header, below, &mut layer.irregularities)?;
    layer.blocks = Some(disk.blocks());
    Ok(Some(VirtualDisk::new(Arc::new(disk), layer, parents)))
}

/// The unique id of a VHD.
pub(crate) fn identity(image: &dyn ReadAt, options: &Options) -> Result<Option<Guid>, Error> {
    Ok(PlacedFooter::find(image, options)?.map(|footer| footer.id()))
}

fn layer(footer: &mut PlacedFooter, disk_type: DiskType, file_size: u64) -> Result<Layer, Error> {
    let container = match disk_type {
        DiskType::Fixed => Container::FixedVhd,
        DiskType::Dynamic => Container::DynamicVhd,
        DiskType::Differencing => Container::DifferencingVhd,
    };
    let seconds = footer.footer.time_stamp.get();
    Ok(Layer {
        id: Some(footer.id()),
        creator: creator::creator(&footer.footer),
        created: (seconds != 0).then(|| time_of(seconds)),
        // "Sector length": a VHD has always had 512 bytes.
        sector_size: Some(512),
        irregularities: std::mem::take(&mut footer.irregularities),
        ..Layer::new(container, file_size, footer.disk_size()?)
    })
}

fn open_fixed(image: &Arc<dyn ReadAt>, footer: &PlacedFooter) -> Result<Window, Error> {
    let disk_size = footer.disk_size()?;
    Window::new(image.clone(), 0, disk_size).filter(|_| disk_size <= footer.offset).ok_or_else(|| {
        footer.mismatch(
            format::CURRENT_SIZE_AT,
            format!("a disk of at most {} bytes, which is what lies before it", footer.offset),
            format!("{disk_size} bytes: the file is cut short"),
        )
    })
}

/// A volume that was copied out of a fixed disk together with the footer behind it: the footer then tells of a disk that is not
/// there, while what is there is whole.
fn volume_alone(image: &Arc<dyn ReadAt>, footer: &PlacedFooter) -> Result<Option<VirtualDisk>, Error> {
    let offset = footer.offset;
    let is_whole = |boot: &Boot| boot.geometry.size <= offset;
    if footer.disk_size()? <= offset || !Boot::first(image.as_ref()).as_ref().is_ok_and(is_whole) {
        return Ok(None);
    }
    let Some(volume) = Window::new(image.clone(), 0, offset) else { return Ok(None) };
    let mut layer = Layer::new(Container::Raw, image.size(), offset);
    layer.irregularities.push(Irregularity::StrayFooter { offset });
    Ok(Some(VirtualDisk::new(Arc::new(volume), layer, Vec::new())))
}

fn open_parent(
    image: &dyn ReadAt,
    footer: &PlacedFooter,
    header: &PlacedHeader,
    descent: &Descent<'_>,
    layer: &mut Layer,
) -> Result<(Below, Vec<Layer>), Error> {
    let link = locator::link(image, &header.header)?;
    layer.parent_id = link.ids.first().copied();
    let parent = descent.open_parent(footer.id(), &link)?;
    let stamp = header.header.parent_time_stamp.get();
    if stamp != 0 && parent.modified.is_some_and(|modified| is_another_time(modified, stamp)) {
        let parent = parent.layers.first().map(|parent| parent.name.clone()).unwrap_or_default();
        layer.irregularities.push(Irregularity::ParentTime { parent });
    }
    Ok((Below::new(parent.disk), parent.layers))
}

/// File systems keep times to two seconds or better.
fn is_another_time(modified: SystemTime, stamp: u32) -> bool {
    let stamp = time_of(stamp).to_system_time();
    let apart = modified.duration_since(stamp).or_else(|_| stamp.duration_since(modified));
    apart.is_ok_and(|apart| apart > Duration::from_secs(2))
}

/// A moment by its seconds since 2000-01-01 UTC.
fn time_of(seconds: u32) -> Timestamp {
    /// 2000-01-01 as FILETIME.
    const START_OF_2000: u64 = 125_911_584_000_000_000;
    Timestamp::from_filetime(START_OF_2000 + u64::from(seconds) * 10_000_000)
}

/// Reads one structure of the container.
fn read(image: &dyn ReadAt, what: &'static str, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let length = buf.len();
    image.read_at(buf, offset).map_err(|source: io::Error| Error::Read { what, offset, length, source })
}

/// Reads a structure of fixed layout.
fn read_struct<T: FromBytes + zerocopy::IntoBytes>(
    image: &dyn ReadAt,
    what: &'static str,
    offset: u64,
) -> Result<T, Error> {
    let mut value = T::new_zeroed();
    read(image, what, value.as_mut_bytes(), offset)?;
    Ok(value)
}

#[cfg(test)]
mod tests;
