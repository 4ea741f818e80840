//! What is not as it should be with a container or a partition table, though the disk can be read.

use std::fmt;

/// Something about an image file or its partition table that its owner should know, and that does not keep it from being read.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Irregularity {
    /// A checksum is wrong, and [`Options::ignore_checksums`](crate::Options::ignore_checksums) is set.
    WrongChecksum {
        /// The structure, with the name of its container or table.
        what: &'static str,
        /// Its byte offset in the image file, or on the disk if it belongs to the partition table.
        offset: u64,
    },
    /// A structure is damaged, and its copy was read in its place.
    CopyUsed {
        /// The damaged structure.
        what: &'static str,
        /// Its byte offset, as above.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The file begins with a whole NTFS volume, and ends with the footer of a VHD that was larger than the file.
    StrayFooter {
        /// Byte offset of the footer.
        offset: u64,
    },
    /// The block table has fewer entries than the disk has blocks; the rest of the disk is zero.
    ShortTable {
        /// Bytes of the disk that have entries.
        covered: u64,
        /// Bytes of the disk.
        disk_size: u64,
    },
    /// Whoever wrote a VHDX was interrupted, and left changes in its log. They were read as if they were in their places.
    ReplayedLog {
        /// How many entries of the log there are.
        entries: usize,
    },
    /// The parent was changed after the child was made, or was copied without its time.
    ParentTime {
        /// The parent's name.
        parent: String,
    },
    /// A part of a partition table is damaged; the partitions that it describes are not listed.
    DamagedTable {
        /// `GPT` or `MBR`.
        table: &'static str,
        /// Byte offset on the disk.
        offset: u64,
        /// What a sound table holds there.
        expected: String,
        /// What this one holds.
        found: String,
    },
    /// The disk has a GPT, and an MBR that describes partitions as well. Windows shows those of the MBR alone.
    HybridTable,
    /// A partition reaches behind the end of the disk: what lies there is missing.
    CutPartition {
        /// Its number.
        number: u32,
        /// How many of its bytes are missing.
        missing: u64,
    },
    /// The volume lies on a dynamic disk, whose database is not read: the partition is taken as it is.
    DynamicDisk {
        /// The partition's number.
        number: u32,
    },
}

impl fmt::Display for Irregularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongChecksum { what, offset } => {
                write!(f, "the checksum of the {what} at byte {offset:#x} is wrong, which was ignored")
            }
            Self::CopyUsed { what, offset, problem } => {
                write!(f, "the {what} at byte {offset:#x} is damaged ({problem}); its copy was used")
            }
            Self::StrayFooter { offset } => write!(
                f,
                "the VHD's footer at byte {offset:#x} belongs to a larger disk; the file begins with a whole volume, and that was read"
            ),
            Self::ShortTable { covered, disk_size } => write!(
                f,
                "the block table covers {covered} of the disk's {disk_size} bytes; the rest was taken for zeroes"
            ),
            Self::ReplayedLog { entries } => write!(
                f,
                "the writer of the image was interrupted; {entries} entries of its log were read as if they were in their places"
            ),
            Self::ParentTime { parent } => {
                write!(f, "the parent {parent} has another time than when the child was made from it")
            }
            Self::DamagedTable { table, offset, expected, found } => write!(
                f,
                "the {table} partition table is damaged at byte {offset:#x} of the disk: expected {expected}, found {found}"
            ),
            Self::HybridTable => f.write_str(
                "the disk has an MBR beside its GPT (hybrid); Windows would show what the MBR lists",
            ),
            Self::CutPartition { number, missing } => {
                write!(f, "partition {number} reaches {missing} bytes behind the end of the disk")
            }
            Self::DynamicDisk { number } => write!(
                f,
                "partition {number} belongs to a dynamic disk (LDM); it was read as if it were a simple volume"
            ),
        }
    }
}
