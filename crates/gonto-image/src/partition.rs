//! Partition tables: GPT (UEFI 2.10, section 5.3) and MBR with chained extended partitions.

use std::fmt;

use crate::container::VirtualDisk;
use crate::error::Error;
use crate::guid::Guid;
use crate::irregularity::Irregularity;
use crate::options::Options;
use crate::source::ReadAt;

pub(crate) mod gpt;
mod kind;
mod mbr;
mod renew;

pub(crate) use renew::{Renewed, renew};

pub use kind::{PartitionKind, Role};

/// The partition table of a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    scheme: Scheme,
    id: Option<DiskId>,
    sector_size: u32,
    partitions: Vec<Partition>,
    irregularities: Vec<Irregularity>,
}

/// The kinds of partition table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Scheme {
    /// GUID partition table.
    Gpt,
    /// Master boot record.
    Mbr,
    /// Neither: the disk is one volume, or empty.
    None,
}

/// What Windows tells disks apart by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskId {
    /// That of a GPT.
    Guid(Guid),
    /// That of an MBR.
    Signature(u32),
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guid(guid) => guid.fmt(f),
            Self::Signature(signature) => write!(f, "{signature:08x}"),
        }
    }
}

impl Table {
    pub(crate) fn none() -> Self {
        Self {
            scheme: Scheme::None,
            id: None,
            sector_size: 512,
            partitions: Vec::new(),
            irregularities: Vec::new(),
        }
    }

    /// Which kind of table it is.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The name that users know it by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.scheme {
            Scheme::Gpt => "GPT",
            Scheme::Mbr => "MBR",
            Scheme::None => "no partition table",
        }
    }

    /// The identity of the disk, as far as it has a table.
    #[must_use]
    pub fn id(&self) -> Option<DiskId> {
        self.id
    }

    /// In bytes, as the table counts sectors: 512 or 4096.
    #[must_use]
    pub fn sector_size(&self) -> u32 {
        self.sector_size
    }

    /// The partitions: those of a GPT in the order of its entries; those of an MBR first the primary ones, then the logical ones
    /// in the order of their chain.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// What is not as it should be with the table.
    #[must_use]
    pub fn irregularities(&self) -> &[Irregularity] {
        &self.irregularities
    }

    /// The partition with this number.
    #[must_use]
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.number == number)
    }
}

/// One partition. Nothing says yet that it lies inside the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Partition {
    /// Number, as the tools of the system count: the position in the table from 1 on, logical partitions of an MBR from 5 on.
    pub number: u32,
    /// First byte on the disk.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// Where its entry in the table is, as a byte offset on the disk.
    pub entry: u64,
    /// What the table says that it holds.
    pub kind: PartitionKind,
    /// What that means for it here.
    pub role: Role,
    /// Its own identity; partitions of an MBR have none.
    pub id: Option<Guid>,
    /// Its name in a GPT; often empty, or the same for all.
    pub name: String,
    /// The attributes of its entry in a GPT (UEFI 2.10, table 5.8); for an MBR 4, the bit for booting, if it is the active one.
    pub attributes: u64,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} ({}, {} bytes)", self.number, self.kind, self.size)
    }
}

/// Reads the partition table of a disk.
///
/// A GPT counts where its protective MBR is there, or where the MBR is empty; otherwise the MBR counts, even when
/// remains of a GPT lie behind it. Where an MBR has both a protective entry and others ("hybrid"), the GPT lists at least what
/// the MBR lists, and is shown, unless it is empty or cannot be read.
///
/// # Errors
/// [`Error::PartitionTable`] and [`Error::Checksum`] when it does not hold together, [`Error::Read`] from below.
pub fn table(disk: &VirtualDisk, options: &Options) -> Result<Table, Error> {
    read(disk.disk().as_ref(), disk.sector_size(), options)
}

/// The same for a disk whose sectors have `sector_size` bytes, if that is known.
pub(crate) fn read(disk: &dyn ReadAt, sector_size: Option<u32>, options: &Options) -> Result<Table, Error> {
    let Some(mbr) = mbr::read(disk)? else { return gpt_without_mbr(disk, sector_size, options) };
    if mbr.is_empty() {
        return gpt_without_mbr(disk, sector_size, options);
    }
    if !mbr.is_protective() {
        return mbr.table(disk, sector_size);
    }
    let gpt = gpt::read(disk, sector_size, options);
    if !mbr.is_hybrid() {
        return gpt;
    }
    match gpt {
        Ok(mut gpt) if !gpt.partitions.is_empty() => {
            gpt.irregularities.push(Irregularity::HybridTable);
            Ok(gpt)
        }
        Err(error @ Error::Read { .. }) => Err(error),
        _ => mbr.table(disk, sector_size),
    }
}

fn gpt_without_mbr(disk: &dyn ReadAt, sector_size: Option<u32>, options: &Options) -> Result<Table, Error> {
    if gpt::has_primary_signature(disk)? || is_erased(disk)? && gpt::has_backup_signature(disk)? {
        gpt::read(disk, sector_size, options)
    } else {
        Ok(Table::none())
    }
}

/// Whether the start of the disk was overwritten with zeroes, both tables included. Where anything is left of it, a backup at
/// the end may be older than that.
fn is_erased(disk: &dyn ReadAt) -> Result<bool, Error> {
    let mut start = [0; 4096];
    if disk.size() < start.len() as u64 {
        return Ok(false);
    }
    read_part(disk, "the start of the disk", &mut start, 0)?;
    Ok(start.iter().all(|byte| *byte == 0))
}

/// Reads a part of a partition table.
fn read_part(disk: &dyn ReadAt, what: &'static str, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let length = buf.len();
    disk.read_at(buf, offset).map_err(|source| Error::Read { what, offset, length, source })
}
