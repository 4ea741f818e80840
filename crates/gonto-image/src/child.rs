//! Differencing children: a file of a few megabytes that is a writable disk, with an identity of its own, over an image that
//! stays as it is.
//!
//! ```text
//! parent's disk   MBR | GPT | partition ………………………………………………… | backup of the GPT
//! child           GUIDs of disk and partitions, checksums       the same
//! ```
//! For Windows, which attaches such a child by itself: two disks with the same identity are not shown at once, and so children of
//! one parent that only point to it would exclude each other. What the child does not hold is read from the parent.

use std::borrow::Cow;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::changes::Changes;
use crate::container::{Container, VirtualDisk};
use crate::filesystem::Volume;
use crate::guid::Guid;
use crate::identity::Identity;
use crate::irregularity::Irregularity;
use crate::options::Options;
use crate::partition::{self, DiskId, Partition, Renewed, Role, Scheme};
use crate::source::ReadAt;
use crate::{vhd, vhdx};

mod error;
mod path;

pub use error::ChildError;
pub use path::{LONGEST_PARENT_PATH, ParentPath, ParentPaths};

/// What a child is to be like.
#[derive(Clone, Copy, Debug)]
pub struct NewChild<'a> {
    /// Where the parent is: the child leads whoever opens it there.
    pub paths: ParentPaths<'a>,
    /// When the parent's file was changed last. Only VHDs keep it, in whole seconds. Windows 10 leaves it out; who finds one may take
    /// a parent with another time for another parent.
    pub parent_modified: Option<SystemTime>,
    /// Chance, from which all identities derive: the same seed and parent make the same child. Two children of one parent that
    /// are to be attached at once need two seeds.
    pub seed: [u8; 32],
}

/// A child that was made, and where in it the image's volume is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Child {
    /// Differencing VHD or differencing VHDX, as the parent is a VHD or a VHDX.
    pub container: Container,
    /// Bytes of its file.
    pub file_size: u64,
    /// The kind of partition table, which is the parent's: GPT or MBR.
    pub scheme: Scheme,
    /// The new identity of the disk, by that table.
    pub disk_id: DiskId,
    /// The partition that the volume is, as [`Volume::find`] chooses it: start and size in bytes of the disk, and, in a GPT, its
    /// new identity.
    pub partition: Partition,
}

/// Makes a differencing child of the image `parent`, and writes it to `output`, which is an empty file. The child holds another
/// identity of the disk and of its partitions in the copies of the partition table that are sound; everything else is read from
/// the parent. `options` decide how the parent is opened and which of its volumes counts.
///
/// Little is read and written, whatever size the disk has. Its file has 2 MiB for each block that differs (as a rule two), in a
/// VHDX 1 MiB more for each 4 GiB with such a block, and before them at most 5 MiB, in a VHD as well as in a VHDX. The
/// blocks of a VHDX of more than 224 GiB are bigger, up to 32 MiB, and before them are at most 20 MiB for a disk of 64 TiB.
///
/// # Errors
/// [`ChildError`]. Whatever is in `output` then is no image.
///
/// # Example
/// ```no_run
/// use std::{fs::File, sync::Arc};
/// use gonto_image::{ImageFile, NewChild, Options, ParentPath, ParentPaths, create_child};
///
/// let parent = ImageFile::new(File::open(r"C:\cache\jdk\jdk_v21_multi.vhd")?)?;
/// let absolute = ParentPath::absolute(r"C:\cache\jdk\jdk_v21_multi.vhd")?;
/// # let chance = [0; 32];
/// let wanted = NewChild { paths: ParentPaths { absolute, relative: None }, parent_modified: None, seed: chance };
/// let output = File::create_new("child.vhd")?;
/// let child = create_child(Arc::new(parent), &Options::default(), &wanted, &output)?;
/// println!("the volume is {} bytes from byte {} on", child.partition.size, child.partition.start);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn create_child(
    parent: Arc<dyn ReadAt>,
    options: &Options,
    wanted: &NewChild<'_>,
    output: &File,
) -> Result<Child, ChildError> {
    let disk = VirtualDisk::open(parent.clone(), options)?;
    let layer = disk.layer();
    let (container, sector_size, id) = usable(&disk)?;
    let volume = Volume::find(&disk, options)?;
    let Some(partition) = volume.partition() else { return Err(no_table()) };
    if partition.role == Role::DynamicDisk {
        return Err(ChildError::unsuitable(
            "the image has a dynamic disk (LDM), whose identity is also in a database that is not written",
            "convert it to a basic disk, or make the image anew with gonto create",
        ));
    }
    let identity = Identity::of_child(&wanted.seed, id);
    let bytes = disk.disk().as_ref();
    let mut changes = Changes::new(bytes, sector_size);
    let table = volume.table();
    let renewed = partition::renew(bytes, table, partition, options, &identity, &mut changes)?;
    let Some(Renewed { disk_id, partition_id }) = renewed else { return Err(no_table()) };

    let modified = wanted.parent_modified.map_or(0, seconds_since_2000);
    let origin = Origin { id, paths: wanted.paths, modified };
    let file_size = match container {
        Container::DifferencingVhdx => {
            vhdx::write::write_child(output, layer, sector_size, &origin, &identity, &changes)?
        }
        _ => vhd::write::write_child(output, parent.as_ref(), options, &origin, &identity, &changes)?,
    };
    let partition = Partition { id: partition_id, ..partition.clone() };
    Ok(Child { container, file_size, scheme: table.scheme(), disk_id, partition })
}

/// What a child says of its parent.
pub(crate) struct Origin<'a> {
    /// The identity that the parent has.
    pub(crate) id: Guid,
    pub(crate) paths: ParentPaths<'a>,
    /// In seconds since 2000-01-01 UTC; 0 for no time.
    pub(crate) modified: u32,
}

/// What kind of child the image can have, how big its sectors are and which identity it has.
fn usable(disk: &VirtualDisk) -> Result<(Container, u32, Guid), ChildError> {
    let layer = disk.layer();
    let container = match layer.container {
        Container::FixedVhd | Container::DynamicVhd | Container::DifferencingVhd => {
            Container::DifferencingVhd
        }
        Container::FixedVhdx | Container::DynamicVhdx | Container::DifferencingVhdx => {
            Container::DifferencingVhdx
        }
        Container::Raw => return Err(ChildError::no_container()),
    };
    let replayed = disk.irregularities().any(|found| matches!(found, Irregularity::ReplayedLog { .. }));
    if replayed {
        return Err(ChildError::unsuitable(
            "whoever wrote the image was interrupted, and left changes in its log that whoever opens it would have to write",
            "attach it once for writing where it was made, or convert it with qemu-img",
        ));
    }
    let Some(id) = layer.id.filter(|id| !id.is_nil()) else {
        return Err(ChildError::unsuitable(
            "the image has no identity, by which a child knows its parent",
            "convert it with qemu-img, or make the image anew with gonto create",
        ));
    };
    let sector_size = layer.sector_size.unwrap_or(512);
    if !layer.disk_size.is_multiple_of(u64::from(sector_size)) {
        let what = format!("its disk of {} bytes is not made of whole sectors", layer.disk_size);
        return Err(ChildError::unsuitable(what, "make the image anew with gonto create"));
    }
    Ok((container, sector_size, id))
}

/// What Windows shows of a fixed disk without a table is undefined, and it has no identity that could be another one.
fn no_table() -> ChildError {
    ChildError::unsuitable(
        "its disk has no partition table, so that Windows could not tell it from another one",
        "make the image anew with gonto create",
    )
}

/// What a VHD counts; 0, which is no time, for what cannot be told.
fn seconds_since_2000(time: SystemTime) -> u32 {
    const YEAR_2000: Duration = Duration::from_secs(946_684_800);
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since_1970.saturating_sub(YEAR_2000).as_secs()).unwrap_or(0)
}

impl ChildError {
    /// `problem` is what keeps an image from having children.
    fn unsuitable(problem: impl Into<Cow<'static, str>>, remedy: &'static str) -> Self {
        Self::Unsuitable { problem: problem.into(), remedy }
    }

    pub(crate) fn no_container() -> Self {
        Self::unsuitable("it is no VHD or VHDX", "convert it with qemu-img")
    }
}
