//! VHDs that are made here: fixed and dynamic ones, and children of others.

use std::fs::File;
use std::io;

use zerocopy::{FromZeros, IntoBytes};

use super::creator::GONTO;
pub(crate) use super::footer::BIGGEST_DISK;
use super::format::{
    DiskType, DynamicHeader, FOOTER_COOKIE, FOOTER_SIZE, Footer, HEADER_COOKIE, RESERVED_FEATURE, SECTOR,
    VERSION_1_0,
};
use super::table::ABSENT;
use crate::create::disk::{Layout, NewContainer, WRITER_VERSION, too_big};
use crate::identity::Identity;
use crate::source::write_all_at;

mod child;

pub(crate) use child::write as write_child;

/// How many bytes a disk has that holds at least `needed` bytes, and that every reader takes for as big: its geometry is exact,
/// or ends where all geometries end, so that nobody believes it. It is a multiple of 4 KiB. `None` when that is too much.
pub(crate) fn disk_size(needed: u64) -> Option<u64> {
    if needed > BIGGEST_DISK {
        return None;
    }
    let pages = needed.max(1).div_ceil(4096);
    let is_exact = |size: &u64| Geometry::of(size / SECTOR).sectors() * SECTOR == *size;
    let size = if pages * 4096 <= Geometry::BIGGEST.sectors() * SECTOR {
        // A cylinder has 4080 sectors at most, so that it is never far to the next one.
        (pages..).map(|pages| pages * 4096).find(is_exact)?
    } else {
        needed.next_multiple_of(1 << 20)
    };
    (size <= BIGGEST_DISK).then_some(size)
}

/// Cylinders, heads and sectors of a track.
#[derive(Clone, Copy)]
struct Geometry {
    cylinders: u16,
    heads: u8,
    sectors_per_track: u8,
}

impl Geometry {
    const BIGGEST: Self = Self { cylinders: 65535, heads: 16, sectors_per_track: 255 };

    /// "Appendix: CHS Calculation".
    fn of(sectors: u64) -> Self {
        let (heads, sectors_per_track) = Self::shape(sectors);
        let cylinders = sectors / u64::from(sectors_per_track) / u64::from(heads);
        // Behind the biggest one there is no other.
        Self { cylinders: u16::try_from(cylinders).unwrap_or(u16::MAX), heads, sectors_per_track }
    }

    /// Heads, and sectors of a track.
    fn shape(sectors: u64) -> (u8, u8) {
        if sectors >= 65535 * 16 * 63 {
            return (16, 255);
        }
        let tracks = sectors / 17;
        let most = |heads: u8| u64::from(heads) * 1024;
        match (4..=16).find(|heads| tracks <= most(*heads)) {
            Some(heads) if tracks < most(heads) => (heads, 17),
            _ if sectors / 31 < most(16) => (16, 31),
            _ => (16, 63),
        }
    }

    fn sectors(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors_per_track)
    }
}

/// A fixed VHD: the disk, then the footer.
pub(crate) struct Fixed;

impl Layout for Fixed {
    /// All of the disk lies together.
    fn block_size(&self) -> u64 {
        u64::MAX
    }

    fn place(&mut self, _: &File, offset: u64) -> io::Result<u64> {
        Ok(offset)
    }

    fn finish(&mut self, file: &File, size: u64, identity: &Identity, time: u32) -> io::Result<()> {
        write_all_at(file, footer(DiskType::Fixed, size, identity, time).as_bytes(), size)
    }
}

/// What Windows and the specification take.
const BLOCK_SIZE: u32 = 2 << 20;
/// A block has a bit for each sector before its data. All are set: sectors that were not written are zero.
const BITMAP: [u8; 512] = [0xff; 512];
const _: () = assert!(BITMAP.len() as u64 == SECTOR && SECTOR * 8 * SECTOR == BLOCK_SIZE as u64);
/// The data of blocks begin at multiples of this, so that a file system can share them, and another one map them.
const ALIGNMENT: u64 = 4096;

const HEADER_AT: u64 = FOOTER_SIZE as u64;
const TABLE_AT: u64 = HEADER_AT + size_of::<DynamicHeader>() as u64;

/// A dynamic VHD: copy of the footer, dynamic header, block table, blocks in the order in which they come, footer.
pub(crate) struct Dynamic {
    /// Sector of the bitmap of each block for which there is room.
    table: Vec<u32>,
    /// Behind the last block of the file.
    end: u64,
}

impl Dynamic {
    /// There is room for the blocks of a disk of `most` bytes.
    pub(crate) fn new(most: u64) -> Self {
        // A block table fills its last sector ("Block Allocation Table").
        let room = (most.div_ceil(u64::from(BLOCK_SIZE)) * 4).next_multiple_of(SECTOR);
        let entries = usize::try_from(room / 4).unwrap_or(usize::MAX);
        Self { table: vec![ABSENT; entries], end: TABLE_AT + room }
    }
}

impl Layout for Dynamic {
    fn block_size(&self) -> u64 {
        u64::from(BLOCK_SIZE)
    }

    fn place(&mut self, file: &File, offset: u64) -> io::Result<u64> {
        let number = usize::try_from(offset / self.block_size()).unwrap_or(usize::MAX);
        let entry = self.table.get_mut(number).ok_or_else(|| too_big(NewContainer::DynamicVhd))?;
        if *entry == ABSENT {
            let data = (self.end + SECTOR).next_multiple_of(ALIGNMENT);
            *entry =
                u32::try_from((data - SECTOR) / SECTOR).map_err(|_| too_big(NewContainer::DynamicVhd))?;
            write_all_at(file, &BITMAP, data - SECTOR)?;
            self.end = data + u64::from(BLOCK_SIZE);
        }
        Ok((u64::from(*entry) + 1) * SECTOR + offset % self.block_size())
    }

    fn finish(&mut self, file: &File, size: u64, identity: &Identity, time: u32) -> io::Result<()> {
        let footer = footer(DiskType::Dynamic, size, identity, time);
        let header = header(size, TABLE_AT)?;
        let table: Vec<u8> = self.table.iter().flat_map(|sector| sector.to_be_bytes()).collect();
        write_all_at(file, footer.as_bytes(), 0)?;
        write_all_at(file, header.sealed().as_bytes(), HEADER_AT)?;
        write_all_at(file, &table, TABLE_AT)?;
        write_all_at(file, footer.as_bytes(), self.end)
    }
}

/// The header of a disk of `size` bytes whose block table begins at the byte `table_at`.
fn header(size: u64, table_at: u64) -> io::Result<DynamicHeader> {
    let entries = u32::try_from(size.div_ceil(u64::from(BLOCK_SIZE)));
    Ok(DynamicHeader {
        cookie: HEADER_COOKIE,
        data_offset: u64::MAX.into(),
        table_offset: table_at.into(),
        header_version: VERSION_1_0.into(),
        max_table_entries: entries.map_err(|_| too_big(NewContainer::DynamicVhd))?.into(),
        block_size: BLOCK_SIZE.into(),
        ..DynamicHeader::new_zeroed()
    })
}

fn footer(disk_type: DiskType, size: u64, identity: &Identity, time: u32) -> Footer {
    let Geometry { cylinders, heads, sectors_per_track } = Geometry::of(size / SECTOR);
    let data_offset = if disk_type == DiskType::Fixed { u64::MAX } else { HEADER_AT };
    let (major, minor) = WRITER_VERSION;
    let footer = Footer {
        cookie: FOOTER_COOKIE,
        features: RESERVED_FEATURE.into(),
        file_format_version: VERSION_1_0.into(),
        data_offset: data_offset.into(),
        time_stamp: time.into(),
        creator_application: GONTO,
        creator_version: (u32::from(major) << 16 | u32::from(minor)).into(),
        // There is no mark for other systems.
        creator_host_os: *b"Wi2k",
        original_size: size.into(),
        current_size: size.into(),
        cylinders: cylinders.into(),
        heads,
        sectors_per_track,
        disk_type: (disk_type as u32).into(),
        unique_id: identity.guid("VHD").to_bytes(),
        ..Footer::new_zeroed()
    };
    footer.sealed()
}
