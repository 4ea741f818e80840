//! Which volume of a disk is the image's, and which file system is on it.

use std::sync::Arc;

use crate::container::VirtualDisk;
use crate::error::Error;
use crate::irregularity::Irregularity;
use crate::layer::{Blocks, Layer};
use crate::ntfs::boot::Boot;
use crate::options::Options;
use crate::partition::{self, Partition, Role, Scheme, Table};
use crate::source::{ReadAt, Window};

mod signature;

use signature::{FileSystem, recognise, recognise_start};

/// The volume of an image: one partition of its disk, or all of it.
pub struct Volume {
    bytes: Arc<dyn ReadAt>,
    table: Table,
    partition: Option<Partition>,
    irregularities: Vec<Irregularity>,
}

impl Volume {
    /// Finds the image's volume: the whole disk where it begins with a file system, else the partition that
    /// [`Options::partition`] chooses, else the first one that holds NTFS. Partitions that belong to the system (EFI, Microsoft
    /// reserved, recovery) are passed over unless they are chosen.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when there is a file system, but another one; [`Error::NoVolume`] when there is none;
    /// [`Error::NoPartition`] when the chosen one is not there; [`Error::PartitionTable`] and [`Error::Checksum`] when the
    /// table or a partition's place in it is wrong; [`Error::Read`] from below.
    pub fn find(disk: &VirtualDisk, options: &Options) -> Result<Self, Error> {
        let start = recognise_start(disk.disk().as_ref())?;
        if start == Some(FileSystem::Ntfs) && options.partition.is_none() {
            let (bytes, table) = (disk.disk().clone(), Table::none());
            return Ok(Self { bytes, table, partition: None, irregularities: Vec::new() });
        }
        // Boot sectors end like boot records; what is a file system has no table.
        if let Some(other) = start.filter(|_| options.partition.is_none()) {
            return Err(other.refusal());
        }
        let table = partition::table(disk, options)?;
        if table.partitions().is_empty() {
            return without_partitions(disk, table, options);
        }
        let found = choose(disk.disk(), &table, options);
        // Raw disks do not tell how big their sectors are, and an MBR does not either.
        if let (Err(_), Scheme::Mbr, None) = (&found, table.scheme(), disk.sector_size())
            && let Ok(larger) = partition::read(disk.disk().as_ref(), Some(4096), options)
            && let Ok(found) = choose(disk.disk(), &larger, options)
        {
            return Ok(found.volume(larger));
        }
        found.map(|found| found.volume(table))
    }

    /// The bytes of the volume.
    #[must_use]
    pub fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.bytes
    }

    /// The partition table of the disk.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The partition that the volume is; `None` when it is the whole disk.
    #[must_use]
    pub fn partition(&self) -> Option<&Partition> {
        self.partition.as_ref()
    }

    /// How many bytes of an NTFS volume lie behind the end of its partition or image: the image was cut short.
    #[must_use]
    pub fn missing(&self) -> u64 {
        Boot::missing(self.bytes.as_ref())
    }

    /// What is not as it should be with the partition table and the place of the volume.
    pub fn irregularities(&self) -> impl Iterator<Item = &Irregularity> {
        self.table.irregularities().iter().chain(&self.irregularities)
    }
}

/// A disk without partitions can still be one volume, whose first sector is gone.
fn without_partitions(disk: &VirtualDisk, table: Table, options: &Options) -> Result<Volume, Error> {
    if let Some(number) = options.partition {
        let found = match table.scheme() {
            Scheme::None => "no partition table".to_owned(),
            _ => format!("an empty {}", table.name()),
        };
        return Err(Error::NoPartition { number, found });
    }
    match recognise(disk.disk().as_ref())? {
        Some(FileSystem::Ntfs) => {
            Ok(Volume { bytes: disk.disk().clone(), table, partition: None, irregularities: Vec::new() })
        }
        Some(other) => Err(other.refusal()),
        None => Err(damage(&table).unwrap_or_else(|| Error::NoVolume {
            found: match disk.layers() {
                [Layer { container, blocks: Some(Blocks { total, present: 0, .. }), .. }] => {
                    format!("none of the {total} blocks of the {container} is present, so that it is empty")
                }
                _ => format!("{} and no partition was found", table.name()),
            },
        })),
    }
}

/// A partition with NTFS.
struct Found {
    bytes: Arc<dyn ReadAt>,
    partition: Partition,
    irregularities: Vec<Irregularity>,
}

impl Found {
    fn volume(self, table: Table) -> Volume {
        let Self { bytes, partition, irregularities } = self;
        Volume { bytes, table, partition: Some(partition), irregularities }
    }
}

fn choose(disk: &Arc<dyn ReadAt>, table: &Table, options: &Options) -> Result<Found, Error> {
    if let Some(number) = options.partition {
        let partition = table.partition(number).ok_or_else(|| Error::NoPartition {
            number,
            found: table.partitions().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })?;
        return look_into(disk, table, partition)?.map_err(|other| match other {
            Some(other) => other.refusal(),
            None => Error::NoVolume { found: format!("{partition} holds no file system that is known") },
        });
    }
    let mut problem = None;
    for partition in table.partitions() {
        if matches!(partition.role, Role::EfiSystem | Role::MicrosoftReserved | Role::Recovery) {
            continue;
        }
        match look_into(disk, table, partition) {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(other)) => problem = problem.or_else(|| other.map(FileSystem::refusal)),
            Err(error @ Error::Read { .. }) => return Err(error),
            // Another one may be sound.
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    Err(problem.or_else(|| damage(table)).unwrap_or_else(|| Error::NoVolume {
        found: match table.partitions() {
            [only] => format!("{} with {only}, which holds no file system that is known", table.name()),
            all => format!(
                "{} with {} partitions, none of them with a file system that is known",
                table.name(),
                all.len()
            ),
        },
    }))
}

/// The damage that may have hidden the partition that was looked for.
fn damage(table: &Table) -> Option<Error> {
    table.irregularities().iter().find_map(|irregularity| match irregularity.clone() {
        Irregularity::DamagedTable { table, offset, expected, found } => {
            Some(Error::PartitionTable { table, offset, expected: expected.into(), found })
        }
        _ => None,
    })
}

/// Opens a partition and looks whether it holds NTFS; if it does not, what else.
fn look_into(
    disk: &Arc<dyn ReadAt>,
    table: &Table,
    partition: &Partition,
) -> Result<Result<Found, Option<FileSystem>>, Error> {
    let (bytes, missing) = open(disk, partition, table.name())?;
    let number = partition.number;
    let mut irregularities = Vec::new();
    if missing > 0 {
        irregularities.push(Irregularity::CutPartition { number, missing });
    }
    Ok(match (recognise(bytes.as_ref())?, partition.role) {
        (Some(FileSystem::Ntfs), role) => {
            if role == Role::DynamicDisk {
                irregularities.push(Irregularity::DynamicDisk { number });
            }
            Ok(Found { bytes, partition: partition.clone(), irregularities })
        }
        (_, Role::DynamicDisk | Role::DynamicDiskDatabase) => Err(Some(FileSystem::DynamicDisk)),
        (_, Role::StorageSpaces) => Err(Some(FileSystem::StorageSpaces)),
        (other, _) => Err(other),
    })
}

/// The bytes of a partition that are on the disk, and how many are not.
fn open(
    disk: &Arc<dyn ReadAt>,
    partition: &Partition,
    table: &'static str,
) -> Result<(Arc<dyn ReadAt>, u64), Error> {
    let there = disk.size().checked_sub(partition.start).filter(|there| *there > 0);
    let window = there.and_then(|there| {
        let size = partition.size.min(there);
        Window::new(disk.clone(), partition.start, size)
    });
    match (window, there) {
        (Some(window), Some(there)) => Ok((Arc::new(window), partition.size.saturating_sub(there))),
        _ => Err(Error::PartitionTable {
            table,
            offset: partition.entry,
            expected: format!("partition {} inside the disk of {} bytes", partition.number, disk.size())
                .into(),
            found: format!(
                "{} bytes from byte {} on: the disk may be cut short",
                partition.size, partition.start
            ),
        }),
    }
}

#[cfg(test)]
mod tests;
