//! New images: a folder of the host becomes an NTFS volume on a disk, in one pass.
//!
//! ```text
//! folder ─> tree of names ─> plan ─> content, front to back ─> records and indexes ─> what NTFS needs ─> container
//!           source           plan    read_ahead, files         files                  system             disk
//! ```
//! The walk knows names and sizes, so that the plan can give each file its record, and the records and the indexes of all folders
//! their places at the front of the volume. Then each file is read once, by several threads, and written by one. Only then is it
//! known where holes are, and so how big the volume is; its bitmap, its log and its boot sector are written last.
//!
//! # The same folder makes the same bytes
//! What is written depends on names, sizes, times of modification, modes, links, content and options: not on the clock, on
//! the order in which the system lists a folder, on inode numbers, or on which of its zeros the folder keeps as holes.
//! Identifiers derive from a digest of everything that was written.

pub(crate) mod disk;
mod error;
mod files;
mod plan;
mod read_ahead;
mod sharing;
mod source;
mod system;
mod volume;

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::identity::Identity;
use crate::ntfs::write::boot::{Boot, SECTOR};
use crate::partition::gpt::{self, PARTITION_START};
use crate::tree::Timestamp;

pub use disk::NewContainer;
pub use error::CreateError;
pub use source::{Offender, Problem, contains};

use disk::{DiskWriter, disk_size};
use plan::Plan;
use source::{Folder, Kind};
use system::LEAST_FREE;
use volume::Volume;

/// What an image is to be like.
#[derive(Clone, Copy)]
pub struct NewImage<'a> {
    /// The format of the file.
    pub container: NewContainer,
    /// The name of the volume, of at most [`LONGEST_LABEL`] UTF-16 units.
    pub label: &'a str,
    /// Free space beside the usual one, in bytes. The usual one is 64 MiB or a twentieth, whichever is more.
    pub more_free: u64,
    /// Tells what is left out, by its path in the folder and whether it is a folder. Nothing in such a folder is looked at.
    pub excluded: &'a (dyn Fn(&Path, bool) -> bool + Sync),
    /// Files whose content comes first, in this order; paths in the folder.
    pub first: &'a [PathBuf],
    /// No time in the image is later than this one.
    pub newest: Option<Timestamp>,
    /// Changes names that Windows cannot have, in place of refusing them.
    pub portable: bool,
    /// Keeps links that lead out of the folder, in place of refusing them. Windows cannot follow them.
    pub keep_links: bool,
    /// Writes who owns what, for WSL.
    pub owners: bool,
}

impl<'a> NewImage<'a> {
    /// An image of all that lies in a folder, with no options.
    #[must_use]
    pub fn new(container: NewContainer, label: &'a str) -> Self {
        Self {
            container,
            label,
            more_free: 0,
            excluded: &|_, _| false,
            first: &[],
            newest: None,
            portable: false,
            keep_links: false,
            owners: false,
        }
    }
}

/// The longest label of a volume, in UTF-16 units.
pub const LONGEST_LABEL: usize = 32;

/// Windows allows no more bytes for a file, holes included; a folder that has more in all fits nowhere.
const MOST_CONTENT: u64 = 8 << 50;

/// What happens while an image is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The folder is being walked through.
    Found {
        /// How many names were found so far.
        names: u64,
    },
    /// Content is being written.
    Written {
        /// Bytes of files so far.
        bytes: u64,
        /// Bytes of all files.
        total: u64,
    },
}

/// An image that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Created {
    /// Files; those with several names count once.
    pub files: u64,
    /// Folders, without the one that became the root.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes in all files.
    pub content: u64,
    /// How many of these are in the image, and not in holes.
    pub stored: u64,
    /// Size of the disk in bytes.
    pub disk: u64,
    /// Free space of the volume in bytes.
    pub free: u64,
    /// Size of a cluster in bytes.
    pub cluster: u64,
    /// Paths in the folder whose last name is another one in the image, and that name.
    pub renamed: Vec<(PathBuf, String)>,
}

impl Created {
    /// What the disk has beside content and free space, in bytes: records, indexes, the log, the ends of clusters.
    #[must_use]
    pub fn overhead(&self) -> u64 {
        self.disk.saturating_sub(self.free + self.stored)
    }
}

/// Makes an image of what lies in `folder`, and writes it to `output`, which is an empty file. `watch` is told of progress, by any
/// thread, and can end it.
///
/// File systems that are mounted in the folder are entered. Hard links, holes, modes and times of modification are kept; extended
/// attributes, access control lists and named streams are not.
///
/// # Errors
/// [`CreateError`]. Whatever is in `output` then is no image.
///
/// # Example
/// ```no_run
/// use std::{fs::File, ops::ControlFlow, path::Path};
/// use gonto_image::{NewContainer, NewImage, create};
///
/// let excluded = |path: &Path, _| path.starts_with("demo");
/// let wanted = NewImage { excluded: &excluded, ..NewImage::new(NewContainer::FixedVhd, "jdk 21") };
/// let output = File::create_new("jdk_v21_multi.vhd")?;
/// let created = create(Path::new("/usr/lib/jvm/jdk-21"), output, &wanted, &|_| ControlFlow::Continue(()))?;
/// println!("{} files", created.files);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn create(
    folder: &Path,
    output: File,
    wanted: &NewImage<'_>,
    watch: &(dyn Fn(Event) -> ControlFlow<()> + Sync),
) -> Result<Created, CreateError> {
    if wanted.label.encode_utf16().count() > LONGEST_LABEL || wanted.label.contains(char::is_control) {
        return Err(CreateError::Label { label: wanted.label.to_owned() });
    }
    let path = folder;
    let folder = Folder::open(path)?;
    let tree = source::walk(
        &folder,
        &source::Wanted {
            excluded: wanted.excluded,
            newest: wanted.newest.map(Timestamp::filetime),
            portable: wanted.portable,
            keep_links: wanted.keep_links,
            owners: wanted.owners,
            watch: &|names| watch(Event::Found { names }),
        },
    )?;
    if tree.content().is_none_or(|content| content > MOST_CONTENT) {
        return Err(CreateError::TooMuch { folder: path.to_owned() });
    }
    let plan = Plan::new(&tree, wanted.first, wanted.owners, wanted.more_free);
    let (finished, stored) = write(&plan, &folder, output, wanted, watch)?;

    let count = |is: fn(&Kind) -> bool| tree.inodes.iter().filter(|inode| is(&inode.kind)).count() as u64;
    let created = Created {
        files: count(|kind| matches!(kind, Kind::File { .. })),
        folders: count(|kind| matches!(kind, Kind::Folder { .. })) - 1,
        links: count(|kind| matches!(kind, Kind::Link(_))),
        content: plan.content,
        stored,
        disk: finished.disk_size,
        free: finished.free,
        cluster: plan.cluster_size,
        renamed: tree.renamed,
    };
    Ok(created)
}

fn write(
    plan: &Plan<'_>,
    folder: &Folder,
    output: File,
    wanted: &NewImage<'_>,
    watch: &(dyn Fn(Event) -> ControlFlow<()> + Sync),
) -> Result<(system::Finished, u64), CreateError> {
    if disk_size(wanted.container, wanted.more_free).is_none() {
        return Err(CreateError::TooBig { limit: wanted.container.biggest() });
    }
    // With the usual free space, and the bitmap of all of it.
    let most = plan.most().saturating_add(wanted.more_free);
    let most = most.saturating_add(most / 8).saturating_add(LEAST_FREE * 2);
    // Holes may make the disk much smaller than the sizes of the files.
    let most = disk_size(wanted.container, most).unwrap_or(wanted.container.biggest());
    let disk = DiskWriter::new(output, wanted.container, most)?;
    let mut volume = Volume::new(disk, plan);
    volume.tell(wanted.container.name().as_bytes());
    volume.take_boot();
    volume.place_mft();
    volume.align();
    let first_block = volume.take(plan.index_size);
    volume.align();
    let stored = files::write_content(&mut volume, plan, folder, watch)?;
    files::write_the_rest(&mut volume, plan, folder, first_block)?;
    Ok((finish(volume, plan, first_block, wanted)?, stored))
}

/// Writes what NTFS itself needs, and what lies around the volume.
fn finish(
    mut volume: Volume,
    plan: &Plan<'_>,
    first_block: crate::ntfs::Lcn,
    wanted: &NewImage<'_>,
) -> io::Result<system::Finished> {
    let NewImage { container, label, more_free, .. } = *wanted;
    let finished =
        system::write(&mut volume, plan, first_block, &system::Wanted { container, label, more_free })?;
    let cluster_size = volume.cluster_size;
    let (mut disk, digest) = volume.finish();
    let identity = Identity::new(digest);

    let boot = Boot {
        cluster_size,
        sectors: finished.sectors,
        hidden_sectors: PARTITION_START / SECTOR,
        mft: finished.mft,
        mirror: finished.mirror,
        serial: identity.number("serial number of the volume"),
    };
    disk.write_at(&boot.to_bytes(), PARTITION_START)?;
    disk.write_at(&boot.to_bytes(), PARTITION_START + finished.sectors * SECTOR)?;
    gpt::write(&mut disk, finished.disk_size, PARTITION_START..finished.partition_end, &identity)?;
    disk.finish(finished.disk_size, &identity, seconds_since_2000(plan.inode(0).modified))?;
    Ok(finished)
}

/// What a VHD counts; 0 before that.
fn seconds_since_2000(filetime: u64) -> u32 {
    /// From 1601 to 2000, in units of 100 ns.
    const YEAR_2000: u64 = 125_911_584_000_000_000;
    u32::try_from(filetime.saturating_sub(YEAR_2000) / 10_000_000).unwrap_or(u32::MAX)
}
