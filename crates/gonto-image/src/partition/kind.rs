//! What partitions are for, in words that users know.

use std::fmt;

use crate::guid::Guid;

/// What a partition table says that a partition holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartitionKind {
    /// The type of a GPT entry (UEFI 2.10, table 5.7, and what vendors publish).
    Guid(Guid),
    /// The type of an MBR entry.
    Byte(u8),
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
    /// A part of a dynamic disk (LDM): volumes that only its database describes. A simple one may fill the partition.
    DynamicDisk,
    /// The database of a dynamic disk.
    DynamicDiskDatabase,
    /// A part of a storage pool.
    StorageSpaces,
}

const EFI_SYSTEM: Guid = Guid::from_digits(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
const MICROSOFT_RESERVED: Guid = Guid::from_digits(0xe3c9e316_0b5c_4db8_817d_f92df00215ae);
const RECOVERY: Guid = Guid::from_digits(0xde94bba4_06d1_4d40_a16a_bfd50179d6ac);
const LDM_METADATA: Guid = Guid::from_digits(0x5808c8aa_7e8f_42e0_85d2_e1e90434cfb3);
const LDM_DATA: Guid = Guid::from_digits(0xaf9b60a0_1431_4f62_bc68_3311714a69ad);
pub(super) const BASIC_DATA: Guid = Guid::from_digits(0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7);
const STORAGE_SPACES: Guid = Guid::from_digits(0xe75caf8f_f680_4cee_afa3_b001e56efc2d);

/// Names of GPT types.
const GUIDS: [(Guid, &str); 21] = [
    (EFI_SYSTEM, "EFI system"),
    (MICROSOFT_RESERVED, "Microsoft reserved"),
    (RECOVERY, "Windows recovery"),
    (LDM_METADATA, "dynamic disk database (LDM)"),
    (LDM_DATA, "dynamic disk (LDM)"),
    (STORAGE_SPACES, "Storage Spaces"),
    (BASIC_DATA, "basic data"),
    (Guid::from_digits(0x21686148_6449_6e6f_744e_656564454649), "BIOS boot"),
    (Guid::from_digits(0x0fc63daf_8483_4772_8e79_3d69d8477de4), "Linux file system"),
    (Guid::from_digits(0x0657fd6d_a4ab_43c4_84e5_0933c84b4f4f), "Linux swap"),
    (Guid::from_digits(0xe6d6d379_f507_44c2_a23c_238f2a3df928), "Linux LVM"),
    (Guid::from_digits(0xa19d880f_05fc_4d3b_a006_743f0f84911e), "Linux RAID"),
    (Guid::from_digits(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709), "Linux root (x86-64)"),
    (Guid::from_digits(0x933ac7e1_2eb4_4f13_b844_0e14e2aef915), "Linux home"),
    (Guid::from_digits(0xbc13c2ff_59e6_4262_a352_b275fd6f7172), "Linux boot"),
    (Guid::from_digits(0xca7d7ccb_63ed_4c53_861c_1742536059cc), "LUKS"),
    (Guid::from_digits(0x48465300_0000_11aa_aa11_00306543ecac), "Apple HFS+"),
    (Guid::from_digits(0x7c3457ef_0000_11aa_aa11_00306543ecac), "Apple APFS"),
    (Guid::from_digits(0x426f6f74_0000_11aa_aa11_00306543ecac), "Apple boot"),
    (Guid::from_digits(0xaa31e02a_400f_11db_9590_000c2911d1b8), "VMware VMFS"),
    (Guid::from_digits(0x9d275380_40ad_11db_bf97_000c2911d1b8), "VMware diagnostic"),
];

/// Names of MBR types.
const BYTES: [(u8, &str); 29] = [
    (0x01, "FAT12"),
    (0x04, "FAT16"),
    (0x05, "extended"),
    (0x06, "FAT16"),
    (0x07, "NTFS or exFAT"),
    (0x0b, "FAT32"),
    (0x0c, "FAT32"),
    (0x0e, "FAT16"),
    (0x0f, "extended"),
    (0x11, "hidden FAT12"),
    (0x14, "hidden FAT16"),
    (0x16, "hidden FAT16"),
    (0x17, "hidden NTFS or exFAT"),
    (0x1b, "hidden FAT32"),
    (0x1c, "hidden FAT32"),
    (0x1e, "hidden FAT16"),
    (0x27, "Windows recovery"),
    (0x42, "dynamic disk (LDM)"),
    (0x82, "Linux swap"),
    (0x83, "Linux file system"),
    (0x85, "Linux extended"),
    (0x8e, "Linux LVM"),
    (0xa5, "FreeBSD"),
    (0xa8, "Apple UFS"),
    (0xaf, "Apple HFS+"),
    (0xee, "protects a GPT"),
    (0xef, "EFI system"),
    (0xfb, "VMware VMFS"),
    (0xfd, "Linux RAID"),
];

impl PartitionKind {
    /// The name that users know; `None` for types that hardly anybody has.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Guid(guid) => GUIDS.iter().find(|(known, _)| *known == guid).map(|(_, name)| *name),
            Self::Byte(byte) => BYTES.iter().find(|(known, _)| *known == byte).map(|(_, name)| *name),
        }
    }

    pub(super) fn role(self) -> Role {
        match self {
            Self::Guid(EFI_SYSTEM) | Self::Byte(0xef) => Role::EfiSystem,
            Self::Guid(MICROSOFT_RESERVED) => Role::MicrosoftReserved,
            Self::Guid(RECOVERY) | Self::Byte(0x27) => Role::Recovery,
            Self::Guid(LDM_DATA) | Self::Byte(0x42) => Role::DynamicDisk,
            Self::Guid(LDM_METADATA) => Role::DynamicDiskDatabase,
            Self::Guid(STORAGE_SPACES) => Role::StorageSpaces,
            Self::Guid(_) | Self::Byte(_) => Role::Data,
        }
    }
}

impl fmt::Display for PartitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self) {
            (Some(name), _) => f.write_str(name),
            (None, Self::Guid(guid)) => write!(f, "type {guid}"),
            (None, Self::Byte(byte)) => write!(f, "type {byte:#04x}"),
        }
    }
}
