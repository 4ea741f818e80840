//! Which volume of a disk is the image's, and which file system is on it.

use std::sync::Arc;

use crate::container::VirtualDisk;
use crate::error::Error;
use crate::ntfs::boot::Boot;
use crate::options::Options;
use crate::partition::{self, Partition, Role, Table};
use crate::source::{ReadAt, Window};

/// The volume of an image: one partition of its disk, or all of it.
pub struct Volume {
    bytes: Arc<dyn ReadAt>,
    table: Table,
    partition: Option<Partition>,
}

impl Volume {
    /// Finds the image's volume: the whole disk where it begins with a file system, else the first partition that holds NTFS.
    /// Partitions that belong to the system (EFI, Microsoft reserved, recovery) are passed over.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when there is a file system, but another one; [`Error::NoVolume`] when there is none;
    /// [`Error::PartitionTable`] when the table or a partition's place in it is wrong.
    pub fn find(disk: &VirtualDisk, options: &Options) -> Result<Self, Error> {
        let _ = options;
        let disk = disk.disk();
        match recognise(disk.as_ref())? {
            Some(FileSystem::Ntfs) => {
                return Ok(Self { bytes: disk.clone(), table: Table::None, partition: None });
            }
            Some(other) => return Err(other.refusal()),
            None => {}
        }
        let table = partition::table(disk.as_ref())?;
        let mut other = None;
        for &partition in table.partitions().iter().filter(|partition| partition.role == Role::Data) {
            let bytes = open(disk, &partition, table.name())?;
            match recognise(bytes.as_ref())? {
                Some(FileSystem::Ntfs) => return Ok(Self { bytes, table, partition: Some(partition) }),
                found => other = other.or(found),
            }
        }
        Err(match other {
            Some(other) => other.refusal(),
            None => Error::NoVolume {
                found: match table.partitions().len() {
                    0 => format!("{} and no partition was found", table.name()),
                    count => format!("{} with {count} partitions, none of them formatted", table.name()),
                },
            },
        })
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
}

fn open(
    disk: &Arc<dyn ReadAt>,
    partition: &Partition,
    table: &'static str,
) -> Result<Arc<dyn ReadAt>, Error> {
    match Window::new(disk.clone(), partition.start, partition.size) {
        Some(window) => Ok(Arc::new(window)),
        None => Err(Error::PartitionTable {
            table,
            offset: partition.start,
            expected: format!("partition {} inside the disk of {} bytes", partition.number, disk.size())
                .into(),
            found: format!("{} bytes from byte {} on", partition.size, partition.start),
        }),
    }
}

/// File systems that are told by their first sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FileSystem {
    Ntfs,
    BitLocker,
    ExFat,
    Fat,
    ReFs,
    Ext,
}

impl FileSystem {
    fn refusal(self) -> Error {
        let (what, remedy) = match self {
            Self::BitLocker => ("a volume encrypted with BitLocker", "turn BitLocker off for the image"),
            Self::ExFat => ("the file system exFAT", "format the image with NTFS"),
            Self::Fat => ("the file system FAT", "format the image with NTFS"),
            Self::ReFs => ("the file system ReFS", "format the image with NTFS"),
            Self::Ext => ("the file system ext2/3/4", "format the image with NTFS"),
            Self::Ntfs => ("this NTFS volume", "format the image with NTFS"),
        };
        Error::Unsupported { what: what.into(), yet: false, remedy }
    }
}

/// Where the superblock of ext2/3/4 has its magic number.
const EXT_MAGIC_AT: usize = 1024 + 56;

/// Enough to see every signature below.
const LOOKED_AT: usize = 2048;

fn recognise(volume: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let mut start = [0; LOOKED_AT];
    let length = usize::try_from(volume.size()).unwrap_or(usize::MAX).min(LOOKED_AT);
    volume.read_at(&mut start[..length], 0).map_err(|source| Error::Read {
        what: "the start of the volume",
        offset: 0,
        length,
        source,
    })?;
    let has = |at: usize, signature: &[u8]| start[at..].starts_with(signature);
    Ok(if has(3, b"NTFS    ") {
        Some(FileSystem::Ntfs)
    } else if has(3, b"-FVE-FS-") {
        Some(FileSystem::BitLocker)
    } else if has(3, b"EXFAT   ") {
        Some(FileSystem::ExFat)
    } else if has(3, b"ReFS\0\0\0\0") {
        Some(FileSystem::ReFs)
    } else if has(54, b"FAT") || has(82, b"FAT32") {
        Some(FileSystem::Fat)
    } else if has(EXT_MAGIC_AT, &[0x53, 0xef]) {
        Some(FileSystem::Ext)
    } else if Boot::backup(volume).is_some() {
        // The first sector is gone, but the last one tells what was there.
        Some(FileSystem::Ntfs)
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(disk: &Arc<dyn ReadAt>) -> Result<Volume, Error> {
        let options = Options::default();
        Volume::find(&VirtualDisk::open(disk.clone(), &options)?, &options)
    }

    fn refusal(signature_at: usize, signature: &[u8]) -> String {
        let mut disk = vec![0; 8192];
        disk[signature_at..][..signature.len()].copy_from_slice(signature);
        let disk: Arc<dyn ReadAt> = Arc::new(disk);
        match find(&disk) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("found NTFS"),
        }
    }

    #[test]
    fn other_file_systems_are_refused_by_name() {
        assert!(refusal(3, b"-FVE-FS-").contains("BitLocker is not read: turn BitLocker off"));
        assert!(refusal(3, b"EXFAT   ").contains("exFAT"));
        assert!(refusal(54, b"FAT16   ").contains("FAT is not read: format the image with NTFS"));
        assert!(refusal(82, b"FAT32   ").contains("FAT"));
        assert!(refusal(1080, &[0x53, 0xef]).contains("ext2/3/4"));
        assert!(refusal(0, b"").contains("no NTFS volume on the disk: no partition table"));
    }

    /// Sectors of 512 bytes: MBR, and NTFS signatures where partitions start.
    fn disk(partitions: &[(u8, u32, u32)], ntfs: &[usize]) -> Arc<dyn ReadAt> {
        let mut disk = vec![0; 512 * 100];
        for (number, (kind, start, size)) in partitions.iter().enumerate() {
            let entry = &mut disk[446 + number * 16..][..16];
            entry[4] = *kind;
            entry[8..12].copy_from_slice(&start.to_le_bytes());
            entry[12..16].copy_from_slice(&size.to_le_bytes());
        }
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        for sector in ntfs {
            disk[sector * 512 + 3..][..8].copy_from_slice(b"NTFS    ");
        }
        Arc::new(disk)
    }

    #[test]
    fn the_first_ntfs_partition_that_is_not_the_systems_is_taken() {
        let disk = disk(&[(0xef, 1, 9), (0x27, 10, 10), (7, 20, 10), (7, 30, 15)], &[1, 10, 30]);
        assert_eq!(find(&disk).map(|volume| volume.bytes().size()).unwrap(), 15 * 512);
    }

    #[test]
    fn a_partition_outside_the_disk_is_refused() {
        let Err(error) = find(&disk(&[(7, 90, 20)], &[90])) else { panic!("opened") };
        let text = error.to_string();
        assert!(text.contains("expected partition 1 inside the disk of 51200 bytes"), "{text}");
        assert!(text.contains("found 10240 bytes from byte 46080 on"), "{text}");
    }
}
