//! Partition tables: GPT (UEFI 2.10, section 5.3) and MBR with chained extended partitions.

use crate::error::Error;
use crate::source::ReadAt;

mod gpt;
mod mbr;

/// Which table a disk has, and what is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Table {
    /// GUID partition table; partitions in the order of its entries.
    Gpt(Vec<Partition>),
    /// Master boot record; the primary partitions, then the logical ones in the order of their chain.
    Mbr(Vec<Partition>),
    /// Neither: the disk is one volume, or empty.
    None,
}

impl Table {
    /// The name that users know it by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gpt(_) => "GPT",
            Self::Mbr(_) => "MBR",
            Self::None => "no partition table",
        }
    }

    /// The partitions, in the order of the table.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        match self {
            Self::Gpt(partitions) | Self::Mbr(partitions) => partitions,
            Self::None => &[],
        }
    }
}

/// One partition. Nothing says yet that it lies inside the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Number, as the tools of the system count: the position in the table from 1 on, logical partitions of an MBR from 5 on.
    pub number: u32,
    /// First byte on the disk.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// What the table says that it is for.
    pub role: Role,
}

/// What a partition is for, as far as it decides whether it can be the image's volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Role {
    /// It may hold the image's volume.
    Data,
    /// EFI system partition.
    EfiSystem,
    /// Microsoft's reserved partition, which holds no file system.
    MicrosoftReserved,
    /// Windows recovery environment.
    Recovery,
}

/// Reads the partition table of a disk.
///
/// A GPT counts where its protective MBR is there, or where the MBR is empty; otherwise the MBR counts, even when
/// remains of a GPT lie behind it.
///
/// # Errors
/// [`Error::PartitionTable`] when it does not hold together, [`Error::Read`] from below.
pub fn table(disk: &dyn ReadAt) -> Result<Table, Error> {
    let Some(mbr) = mbr::read(disk)? else { return gpt_without_mbr(disk) };
    if mbr.is_protective() {
        return gpt::read(disk).map(Table::Gpt);
    }
    if mbr.is_empty() {
        return gpt_without_mbr(disk);
    }
    mbr.partitions(disk).map(Table::Mbr)
}

fn gpt_without_mbr(disk: &dyn ReadAt) -> Result<Table, Error> {
    if gpt::has_primary_signature(disk)? { gpt::read(disk).map(Table::Gpt) } else { Ok(Table::None) }
}

/// Reads a part of a partition table.
fn read_part(disk: &dyn ReadAt, what: &'static str, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let length = buf.len();
    disk.read_at(buf, offset).map_err(|source| Error::Read { what, offset, length, source })
}
