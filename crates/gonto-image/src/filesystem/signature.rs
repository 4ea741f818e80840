//! File systems by their signatures.

use crate::error::Error;
use crate::ntfs::boot::Boot;
use crate::source::ReadAt;

/// What a volume can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileSystem {
    Ntfs,
    BitLocker,
    ExFat,
    Fat,
    ReFs,
    Ext,
    Xfs,
    Btrfs,
    HfsPlus,
    Apfs,
    Iso9660,
    Udf,
    SquashFs,
    Swap,
    Luks,
    Lvm,
    DynamicDisk,
    StorageSpaces,
}

impl FileSystem {
    pub(super) fn refusal(self) -> Error {
        const FORMAT: &str = "format the image with NTFS";
        const DECRYPT: &str = "decrypt the image";
        const COPY: &str = "copy the files to an image with a basic disk and NTFS";
        let (what, remedy) = match self {
            Self::BitLocker => ("a volume encrypted with BitLocker", "turn BitLocker off for the image"),
            Self::ExFat => ("the file system exFAT", FORMAT),
            Self::Fat => ("the file system FAT", FORMAT),
            Self::ReFs => ("the file system ReFS", FORMAT),
            Self::Ext => ("the file system ext2/3/4", FORMAT),
            Self::Xfs => ("the file system XFS", FORMAT),
            Self::Btrfs => ("the file system btrfs", FORMAT),
            Self::HfsPlus => ("the file system HFS+", FORMAT),
            Self::Apfs => ("the file system APFS", FORMAT),
            Self::Iso9660 => ("the file system ISO 9660 of CDs", FORMAT),
            Self::Udf => ("the file system UDF", FORMAT),
            Self::SquashFs => ("the file system SquashFS", FORMAT),
            Self::Swap => ("Linux swap space", FORMAT),
            Self::Luks => ("a volume encrypted with LUKS", DECRYPT),
            Self::Lvm => ("a volume group of Linux (LVM)", COPY),
            Self::DynamicDisk => ("a dynamic disk (LDM)", COPY),
            Self::StorageSpaces => ("a storage pool (Storage Spaces)", COPY),
            Self::Ntfs => ("this NTFS volume", FORMAT),
        };
        Error::Unsupported { what: what.into(), yet: false, remedy }
    }
}

/// A signature, where it stands, and what has it.
type Signature = (usize, &'static [u8], FileSystem);

/// Those in the first sector, which no partition table leaves room for.
const AT_THE_START: [Signature; 10] = [
    (3, b"NTFS    ", FileSystem::Ntfs),
    (3, b"-FVE-FS-", FileSystem::BitLocker),
    // BitLocker To Go looks like FAT to systems that do not know it.
    (424, &BITLOCKER_TO_GO, FileSystem::BitLocker),
    (3, b"EXFAT   ", FileSystem::ExFat),
    (3, b"ReFS\0\0\0\0", FileSystem::ReFs),
    (54, b"FAT", FileSystem::Fat),
    (82, b"FAT32", FileSystem::Fat),
    (0, b"XFSB", FileSystem::Xfs),
    (0, b"LUKS\xba\xbe", FileSystem::Luks),
    (0, b"hsqs", FileSystem::SquashFs),
];

/// 4967D63B-2E29-4AD8-8399-F6A339E3D001, little-endian.
const BITLOCKER_TO_GO: [u8; 16] =
    [0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01];

/// Those behind it. On a disk they may be remains of what was there before its partition table.
const BEHIND: [Signature; 13] = [
    (32, b"NXSB", FileSystem::Apfs),
    (0, b"SPACEDB ", FileSystem::StorageSpaces),
    (512, b"LABELONE", FileSystem::Lvm),
    (0, b"LABELONE", FileSystem::Lvm),
    (1024, b"H+\0\x04", FileSystem::HfsPlus),
    (1024, b"HX\0\x05", FileSystem::HfsPlus),
    (1024 + 56, &[0x53, 0xef], FileSystem::Ext),
    (4096, b"SPACEDB ", FileSystem::StorageSpaces),
    (4096 - 10, b"SWAPSPACE2", FileSystem::Swap),
    (4096 - 10, b"SWAP-SPACE", FileSystem::Swap),
    (0x8001, b"CD001", FileSystem::Iso9660),
    (0x8001, b"BEA01", FileSystem::Udf),
    (0x10000 + 64, b"_BHRfS_M", FileSystem::Btrfs),
];

/// What begins in the first sector.
pub(super) fn recognise_start(volume: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let mut sector = [0; 512];
    let length = usize::try_from(volume.size()).unwrap_or(usize::MAX).min(sector.len());
    read(volume, &mut sector[..length], 0)?;
    let found = AT_THE_START.iter().find(|(at, signature, _)| sector[*at..].starts_with(signature));
    Ok(found.map(|(_, _, file_system)| *file_system))
}

/// What a volume holds, as far as anything tells.
pub(super) fn recognise(volume: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    if let Some(found) = recognise_start(volume)? {
        return Ok(Some(found));
    }
    for (at, signature, file_system) in BEHIND {
        let mut found = [0; 16];
        let found = &mut found[..signature.len()];
        if volume.size() >= (at + found.len()) as u64 {
            read(volume, found, at as u64)?;
            if found == signature {
                return Ok(Some(file_system));
            }
        }
    }
    // The first sector is gone, but the last one may tell what was there.
    Ok(Boot::backup(volume).map(|_| FileSystem::Ntfs))
}

fn read(volume: &dyn ReadAt, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let length = buf.len();
    let what = "the start of the volume";
    volume.read_at(buf, offset).map_err(|source| Error::Read { what, offset, length, source })
}
