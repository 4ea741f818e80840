//! The boot sector: the geometry of a volume. Its backup lies behind the volume, in the last sector of the partition.

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Lcn;
use crate::error::{Error, Mismatch};
use crate::source::ReadAt;

/// BIOS parameter block of NTFS; fields of FAT that NTFS leaves zero are `unused`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct BootSector {
    pub(super) jump: [u8; 3],
    pub(super) oem_id: [u8; 8],
    pub(super) bytes_per_sector: U16,
    /// Up to 128 the number itself, above it `2^(256 - n)`.
    pub(super) sectors_per_cluster: u8,
    pub(super) unused1: [u8; 26],
    /// In sectors; the backup of the boot sector lies behind them.
    pub(super) total_sectors: U64,
    pub(super) mft_lcn: U64,
    pub(super) mft_mirror_lcn: U64,
    /// Positive in clusters, negative `2^-n` bytes.
    pub(super) record_size: i8,
    pub(super) unused2: [u8; 3],
    pub(super) index_block_size: i8,
    pub(super) unused3: [u8; 3],
    pub(super) serial_number: U64,
    pub(super) checksum: [u8; 4],
    pub(super) code: [u8; 426],
    pub(super) signature: [u8; 2],
}
const _: () = assert!(size_of::<BootSector>() == 512);

/// The sizes that everything else of a volume is counted in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// In bytes, a power of two from 256 to 4096.
    pub(crate) sector_size: u64,
    /// In bytes, a power of two from 512 to 2 MiB (256 on disks that Windows would not take).
    pub(crate) cluster_size: u64,
    /// How many clusters the volume says that it has. It may have more than its partition.
    pub(crate) clusters: u64,
    /// Bytes of a record of `$MFT`, a power of two from 512 to 64 KiB.
    pub(crate) record_size: usize,
    /// Where `$MFT` begins.
    pub(crate) mft: Lcn,
    /// Where `$MFTMirr` begins, which repeats the first records of `$MFT`. Nobody has looked whether that is on the volume.
    pub(crate) mirror: Lcn,
    /// In bytes, without the backup of the boot sector.
    pub(crate) size: u64,
    /// What Windows tells volumes apart by.
    pub(crate) serial: u64,
}

/// What the boot sector says, and which of its two copies said it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boot {
    pub(crate) geometry: Geometry,
    pub(crate) from_backup: bool,
}

pub(super) const OEM_ID: &[u8; 8] = b"NTFS    ";

impl Boot {
    /// Reads the boot sector at the start of `volume`, or, where that is damaged, its backup at the end.
    ///
    /// # Errors
    /// [`Error::BootSector`] for values that no NTFS has, [`Error::Read`] from below.
    pub(crate) fn read(volume: &dyn ReadAt) -> Result<Self, Error> {
        Self::first(volume).or_else(|error| Self::backup(volume).ok_or(error))
    }

    /// What the sector at the start says.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn first(volume: &dyn ReadAt) -> Result<Self, Error> {
        let mut bytes = [0; size_of::<BootSector>()];
        let length = bytes.len();
        volume.read_at(&mut bytes, 0).map_err(|source| Error::Read {
            what: "the NTFS boot sector",
            offset: 0,
            length,
            source,
        })?;
        let boot: BootSector = zerocopy::transmute!(bytes);
        let geometry = Geometry::new(&boot).map_err(Mismatch::in_boot_sector)?;
        Ok(Self { geometry, from_backup: false })
    }

    /// What the backup says; `None` where there is none that fits. It has to describe a volume that fills all of `volume`, as
    /// the backup of a partition must not be taken for that of the whole disk.
    ///
    /// It lies in the last sector, or, where Windows NT 3.51 or 4 formatted the volume, in the middle.
    pub(crate) fn backup(volume: &dyn ReadAt) -> Option<Self> {
        let size = volume.size();
        let last = [512, 256, 1024, 2048, 4096].map(|sector| size.checked_sub(sector));
        let places = last.into_iter().flatten().chain([size / 2 / 512 * 512]);
        places.into_iter().find_map(|at| {
            let mut bytes = [0; size_of::<BootSector>()];
            // A sector of 256 bytes holds all that is read here but for the code.
            let there = bytes.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
            volume.read_at(&mut bytes[..there], at).ok()?;
            let boot: BootSector = zerocopy::transmute!(bytes);
            let geometry = Geometry::new(&boot).ok()?;
            let behind = size.checked_sub(geometry.size)?;
            (behind <= geometry.sector_size && at.is_multiple_of(geometry.sector_size))
                .then_some(Self { geometry, from_backup: true })
        })
    }
}

impl Boot {
    /// What this copy and another one say differently, if they lead to different volumes: what it is, and both values.
    pub(crate) fn contradicts(&self, other: &Geometry) -> Option<(&'static str, u64, u64)> {
        let facts = |geometry: &Geometry| {
            let Geometry { sector_size, cluster_size, clusters, record_size, mft, mirror, .. } = *geometry;
            [
                ("bytes of a sector", sector_size),
                ("bytes of a cluster", cluster_size),
                ("clusters", clusters),
                ("bytes of a record", record_size as u64),
                ("as cluster of $MFT", mft.0),
                ("as cluster of $MFTMirr", mirror.0),
            ]
        };
        let pairs = facts(&self.geometry).into_iter().zip(facts(other));
        pairs.map(|((what, this), (_, other))| (what, this, other)).find(|(_, this, other)| this != other)
    }

    /// How many bytes of the volume lie behind the end of `volume`. None do where a backup at its end says that it ends there.
    pub(crate) fn missing(volume: &dyn ReadAt) -> u64 {
        match Self::read(volume) {
            Ok(Self { geometry, .. }) if geometry.size > volume.size() && Self::backup(volume).is_none() => {
                geometry.size - volume.size()
            }
            _ => 0,
        }
    }

    /// Tells why something lies behind the end of `volume`, if it is because the volume does not end there.
    pub(crate) fn why_cut(volume: &dyn ReadAt, error: Error) -> Error {
        let there = volume.size();
        match Self::missing(volume) {
            missing @ 1.. if error.is_about_the_end() => {
                Error::CutVolume { size: there + missing, there, source: Box::new(error) }
            }
            _ => error,
        }
    }
}

impl Geometry {
    /// Reads what a boot sector says.
    fn new(boot: &BootSector) -> Result<Self, Mismatch> {
        if boot.oem_id != *OEM_ID {
            let at = std::mem::offset_of!(BootSector, oem_id);
            return Err(Mismatch::new(at, "\"NTFS    \"", format!("\"{}\"", boot.oem_id.escape_ascii())));
        }
        let sector_size = u64::from(boot.bytes_per_sector.get());
        if !sector_size.is_power_of_two() || !(256..=4096).contains(&sector_size) {
            let at = std::mem::offset_of!(BootSector, bytes_per_sector);
            return Err(Mismatch::new(at, "sectors of 256, 512, 1024, 2048 or 4096 bytes", sector_size));
        }
        let cluster_size = cluster_size(boot.sectors_per_cluster, sector_size)?;
        let total_sectors = boot.total_sectors.get();
        let size = total_sectors.checked_mul(sector_size).filter(|size| i64::try_from(*size).is_ok());
        let Some(size) = size.filter(|size| *size >= cluster_size) else {
            let at = std::mem::offset_of!(BootSector, total_sectors);
            let found = format!("{total_sectors} sectors of {sector_size} bytes");
            return Err(Mismatch::new(at, "a size of one cluster or more, below 2^63 bytes", found));
        };
        let clusters = size / cluster_size;
        let mft = boot.mft_lcn.get();
        if mft >= clusters {
            let at = std::mem::offset_of!(BootSector, mft_lcn);
            return Err(Mismatch::new(at, format!("$MFT below cluster {clusters}"), mft));
        }
        let record_size = record_size(boot.record_size, cluster_size)?;
        let mirror = Lcn(boot.mft_mirror_lcn.get());
        let serial = boot.serial_number.get();
        Ok(Self { sector_size, cluster_size, clusters, record_size, mft: Lcn(mft), mirror, size, serial })
    }

    /// Where a cluster begins, in bytes of the volume. Clusters are checked to lie inside the volume, so that the product is
    /// no bigger than its size.
    pub(crate) fn offset(&self, lcn: Lcn) -> u64 {
        lcn.0 * self.cluster_size
    }
}

#[cfg(test)]
impl Geometry {
    /// A volume of some clusters with records of 1 KiB.
    pub(crate) fn of_clusters(cluster_size: u64, clusters: u64) -> Self {
        let size = cluster_size * clusters;
        Self {
            sector_size: 512,
            cluster_size,
            clusters,
            record_size: 1024,
            mft: Lcn(0),
            mirror: Lcn(0),
            size,
            serial: 0,
        }
    }
}

fn cluster_size(raw: u8, sector_size: u64) -> Result<u64, Mismatch> {
    let sectors = match raw {
        0..=128 => u64::from(raw),
        _ => 1u64.checked_shl(256 - u32::from(raw)).unwrap_or(0),
    };
    let size = sectors.checked_mul(sector_size).filter(|size| size.is_power_of_two() && *size <= 2 << 20);
    size.ok_or_else(|| {
        let at = std::mem::offset_of!(BootSector, sectors_per_cluster);
        Mismatch::new(at, "clusters of a power of two up to 2 MiB", format!("{raw:#04x}"))
    })
}

fn record_size(raw: i8, cluster_size: u64) -> Result<usize, Mismatch> {
    let size = match raw {
        0.. => u64::from(raw.unsigned_abs()).checked_mul(cluster_size),
        _ => 1u64.checked_shl(u32::from(raw.unsigned_abs())),
    };
    let size = size.filter(|size| size.is_power_of_two() && (512..=64 << 10).contains(size));
    size.and_then(|size| usize::try_from(size).ok()).ok_or_else(|| {
        let at = std::mem::offset_of!(BootSector, record_size);
        Mismatch::new(at, "records of a power of two from 512 bytes to 64 KiB", raw)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn sector(edit: impl FnOnce(&mut BootSector)) -> BootSector {
        let mut boot = BootSector::new_zeroed();
        boot.oem_id = *OEM_ID;
        boot.bytes_per_sector = 512.into();
        boot.sectors_per_cluster = 8;
        boot.total_sectors = 8000.into();
        boot.mft_lcn = 0.into();
        boot.record_size = -10;
        edit(&mut boot);
        boot
    }

    fn boot(edit: impl FnOnce(&mut BootSector)) -> Result<Geometry, Mismatch> {
        Geometry::new(&sector(edit))
    }

    #[test]
    fn sizes_are_read_in_both_encodings() {
        let geometry = boot(|_| {}).unwrap();
        assert_eq!((geometry.cluster_size, geometry.clusters, geometry.record_size), (4096, 1000, 1024));
        assert_eq!(boot(|b| b.record_size = 1).unwrap().record_size, 4096);
        assert_eq!(boot(|b| b.sectors_per_cluster = 128).unwrap().cluster_size, 64 << 10);
        assert_eq!(boot(|b| b.sectors_per_cluster = 0xf4).unwrap().cluster_size, 2 << 20);
    }

    #[test]
    fn impossible_values_are_refused_at_their_place() {
        let at = |edit: fn(&mut BootSector)| boot(edit).unwrap_err().at;
        assert_eq!(at(|b| b.oem_id[0] = 0), 0x03);
        assert_eq!(at(|b| b.bytes_per_sector = 500.into()), 0x0b);
        assert_eq!(at(|b| b.bytes_per_sector = 8192.into()), 0x0b);
        for raw in [0, 3, 0x81, 0xf0, 0xff] {
            assert_eq!(
                boot(|b| b.sectors_per_cluster = raw).map_err(|m| m.at).err(),
                (raw != 0xff).then_some(0x0d)
            );
        }
        assert_eq!(at(|b| b.total_sectors = 0.into()), 0x28);
        assert_eq!(at(|b| b.total_sectors = (1 << 54).into()), 0x28);
        assert_eq!(at(|b| b.total_sectors = u64::MAX.into()), 0x28);
        assert_eq!(at(|b| b.mft_lcn = 1000.into()), 0x30);
        for raw in [0, 3, 17, -8, -17, -64, -128] {
            assert_eq!(boot(|b| b.record_size = raw).unwrap_err().at, 0x40);
        }
    }

    /// A volume whose first sector is gone, with a copy at some place.
    fn with_backup(size: usize, at: usize, backup: &BootSector) -> Option<Geometry> {
        let mut volume = vec![0; size];
        let bytes = backup.as_bytes();
        let there = bytes.len().min(size - at);
        volume[at..at + there].copy_from_slice(&bytes[..there]);
        Boot::read(&volume).map(|boot| boot.geometry).ok()
    }

    #[test]
    fn the_backup_counts_where_it_describes_this_volume() {
        let size = 8001 * 512;
        let sound = sector(|_| {});
        assert_eq!(with_backup(size, 8000 * 512, &sound).map(|geometry| geometry.clusters), Some(1000));
        assert_eq!(with_backup(size, 4000 * 512, &sound).map(|geometry| geometry.clusters), Some(1000));
        assert!(with_backup(size, 7000 * 512, &sound).is_none(), "not a place for it");
        let of_a_partition = sector(|b| b.total_sectors = 5000.into());
        assert!(with_backup(size, 8000 * 512, &of_a_partition).is_none());
        for sector_size in [256u16, 1024, 4096] {
            let backup = sector(|b| b.bytes_per_sector = sector_size.into());
            let sector_size = usize::from(sector_size);
            assert!(with_backup(8001 * sector_size, 8000 * sector_size, &backup).is_some(), "{sector_size}");
        }
    }
}
