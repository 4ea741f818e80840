//! The boot sector.

use zerocopy::IntoBytes;

use super::{BLOCK_SIZE, RECORD_SIZE};
use crate::ntfs::Lcn;
use crate::ntfs::boot::{BootSector, OEM_ID};

/// In bytes. All disks that are written have sectors of this size.
pub(crate) const SECTOR: u64 = 512;

/// `$Boot` has room for a boot loader of 16 sectors, which images do not need.
pub(crate) const BOOT_SIZE: u64 = 16 * SECTOR;

/// What a boot sector tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boot {
    pub(crate) cluster_size: u64,
    /// Of the volume, without the backup of the boot sector.
    pub(crate) sectors: u64,
    /// Where the partition begins on the disk.
    pub(crate) hidden_sectors: u64,
    pub(crate) mft: Lcn,
    pub(crate) mirror: Lcn,
    pub(crate) serial: u64,
}

/// Jumps behind the parameter block.
const JUMP: [u8; 3] = [0xeb, 0x52, 0x90];

/// There is nothing to start from: ask the BIOS for the next disk (INT 18h), and if it comes back, halt.
const CODE: [u8; 5] = [0xcd, 0x18, 0xf4, 0xeb, 0xfd];

/// What BIOSes are told of a hard disk; nothing else looks at it.
const MEDIA: u8 = 0xf8;
const SECTORS_PER_TRACK: u16 = 63;
const HEADS: u16 = 255;

impl Boot {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        // Behind the number of sectors in a cluster, as FAT has it.
        let mut unused1 = [0; 26];
        unused1[7] = MEDIA;
        unused1[10..12].copy_from_slice(&SECTORS_PER_TRACK.to_le_bytes());
        unused1[12..14].copy_from_slice(&HEADS.to_le_bytes());
        let hidden = u32::try_from(self.hidden_sectors).unwrap_or(0);
        unused1[14..18].copy_from_slice(&hidden.to_le_bytes());
        unused1[22..26].copy_from_slice(&[0x80, 0, 0x80, 0]);
        let mut code = [0; 426];
        code[..CODE.len()].copy_from_slice(&CODE);
        let boot = BootSector {
            jump: JUMP,
            oem_id: *OEM_ID,
            bytes_per_sector: super::narrow::<u16>(512).into(),
            sectors_per_cluster: sectors_per_cluster(self.cluster_size),
            unused1,
            total_sectors: self.sectors.into(),
            mft_lcn: self.mft.0.into(),
            mft_mirror_lcn: self.mirror.0.into(),
            record_size: size(RECORD_SIZE, self.cluster_size),
            unused2: [0; 3],
            index_block_size: size(BLOCK_SIZE, self.cluster_size),
            unused3: [0; 3],
            serial_number: self.serial.into(),
            checksum: [0; 4],
            code,
            signature: [0x55, 0xaa],
        };
        boot.as_bytes().to_vec()
    }
}

/// The number itself, or above 128 its binary logarithm, taken from 256.
fn sectors_per_cluster(cluster_size: u64) -> u8 {
    let sectors = cluster_size / SECTOR;
    u8::try_from(sectors)
        .ok()
        .filter(|sectors| *sectors <= 128)
        .unwrap_or_else(|| u8::try_from(256 - u64::from(sectors.ilog2())).unwrap_or(0))
}

/// In clusters, or where it is smaller than one, the binary logarithm in bytes, below zero.
fn size(bytes: usize, cluster_size: u64) -> i8 {
    let clusters = bytes as u64 / cluster_size;
    let logarithm = i8::try_from(bytes.ilog2()).unwrap_or(0);
    i8::try_from(clusters).ok().filter(|clusters| *clusters > 0).unwrap_or(-logarithm)
}
