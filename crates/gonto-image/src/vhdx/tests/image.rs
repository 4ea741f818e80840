//! VHDX images in memory, sound ones to begin with.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::super::format::*;
use crate::crc::Crc32c;
use crate::guid::Guid;

pub(super) const LOG_AT: usize = 1 << 20;
pub(super) const METADATA_AT: usize = 2 << 20;
pub(super) const BAT_AT: usize = 3 << 20;
pub(super) const BLOCKS_AT: usize = 4 << 20;
/// Where the items of the metadata begin.
pub(super) const ITEMS_AT: usize = METADATA_AT + (64 << 10);

/// What an image is to be.
pub(super) struct Plan {
    pub(super) disk_size: u64,
    pub(super) block_size: u32,
    pub(super) sector_size: u32,
    pub(super) flags: u32,
    pub(super) id: Guid,
    /// The keys of a parent locator.
    pub(super) parent: Vec<(&'static str, String)>,
    /// State of each block, and the byte that fills it where it is in the file.
    pub(super) blocks: Vec<(u8, u8)>,
    /// The sectors that are in the file, of a differencing disk of one chunk.
    pub(super) written: Vec<u64>,
}

impl Plan {
    /// A dynamic disk with blocks of 1 MiB; those with a byte are in the file and full of it.
    pub(super) fn new(blocks: &[Option<u8>]) -> Self {
        let block = |fill: &Option<u8>| match fill {
            Some(fill) => (state::FULLY_PRESENT, *fill),
            None => (state::NOT_PRESENT, 0),
        };
        Self {
            disk_size: blocks.len() as u64 * MIB,
            block_size: 1 << 20,
            sector_size: 512,
            flags: 0,
            id: id(1),
            parent: Vec::new(),
            blocks: blocks.iter().map(block).collect(),
            written: Vec::new(),
        }
    }

    /// A child of the image with the identity `parent`.
    pub(super) fn child(own: u8, parent: u8, blocks: &[(u8, u8)]) -> Self {
        let linkage = format!("{{{}}}", id(parent)).to_uppercase();
        Self {
            id: id(own),
            flags: HAS_PARENT,
            parent: vec![("parent_linkage", linkage), ("relative_path", ".\\parent.vhdx".into())],
            blocks: blocks.to_vec(),
            ..Self::new(&vec![None; blocks.len()])
        }
    }

    /// The image; its blocks lie in the file in reverse order, so that order matters.
    pub(super) fn image(&self) -> Vec<u8> {
        let mut image = vec![0; BLOCKS_AT];
        image[..8].copy_from_slice(b"vhdxfile");
        for (unit, at) in "Tests 1.0".encode_utf16().zip((8..).step_by(2)) {
            image[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        for (copy, offset) in HEADER_PLACES.into_iter().enumerate() {
            let mut header = Header::new_zeroed();
            header.signature = HEADER_SIGNATURE;
            header.sequence_number = (7 + copy as u64).into();
            header.file_write_guid = id(0x77);
            header.data_write_guid = self.id;
            header.version = 1.into();
            header.log_length = (1 << 20).into();
            header.log_offset = (LOG_AT as u64).into();
            put(&mut image, usize::try_from(offset).unwrap(), &header);
            seal(&mut image, usize::try_from(offset).unwrap(), 4096);
        }
        set_regions(&mut image, &[region(BAT_REGION, BAT_AT, 1), region(METADATA_REGION, METADATA_AT, 1)]);
        set_metadata(&mut image, &self.items());
        self.put_blocks(&mut image);
        image
    }

    pub(super) fn items(&self) -> Vec<Item> {
        let parameters = [self.block_size.to_le_bytes(), self.flags.to_le_bytes()].concat();
        let mut items = vec![
            item(FILE_PARAMETERS, parameters),
            item(VIRTUAL_DISK_SIZE, self.disk_size.to_le_bytes()),
            item(LOGICAL_SECTOR_SIZE, self.sector_size.to_le_bytes()),
            item(PHYSICAL_SECTOR_SIZE, 4096u32.to_le_bytes()),
            item(VIRTUAL_DISK_ID, id(0x55).as_bytes()),
        ];
        if !self.parent.is_empty() {
            items.push(item(PARENT_LOCATOR, locator(&self.parent)));
        }
        items
    }

    fn put_blocks(&self, image: &mut Vec<u8>) {
        let ratio = SECTORS_PER_BITMAP * u64::from(self.sector_size) / u64::from(self.block_size);
        let ratio = usize::try_from(ratio).unwrap();
        let entry = |image: &mut Vec<u8>, index: usize, state: u8| {
            let value = if state >= state::FULLY_PRESENT { image.len() as u64 } else { 0 };
            put(image, BAT_AT + index * 8, &(value | u64::from(state)));
        };
        if self.flags & HAS_PARENT != 0 {
            entry(image, ratio, state::FULLY_PRESENT);
            let mut bitmap = vec![0; 1 << 20];
            for sector in &self.written {
                bitmap[usize::try_from(sector / 8).unwrap()] |= 1 << (sector % 8);
            }
            image.extend(bitmap);
        }
        for (number, (state, fill)) in self.blocks.iter().enumerate().rev() {
            entry(image, number + number / ratio, *state);
            if *state >= state::FULLY_PRESENT {
                image.extend(vec![*fill; self.block_size as usize]);
            }
        }
    }
}

/// An identity.
pub(super) fn id(number: u8) -> Guid {
    Guid::from_bytes([number; 16])
}

pub(super) fn put(image: &mut [u8], at: usize, value: &(impl IntoBytes + Immutable + ?Sized)) {
    image[at..][..size_of_val(value)].copy_from_slice(value.as_bytes());
}

/// Mends the checksum of a structure.
pub(super) fn seal(image: &mut [u8], at: usize, size: usize) {
    image[at + 4..at + 8].fill(0);
    let mut crc = Crc32c::new();
    crc.update(&image[at..at + size]);
    put(image, at + 4, &crc.finish());
}

/// Edits a structure of both headers, and mends their checksums.
pub(super) fn edit_headers(image: &mut [u8], edit: impl Fn(&mut Header)) {
    for offset in HEADER_PLACES {
        let at = usize::try_from(offset).unwrap();
        edit(Header::mut_from_bytes(&mut image[at..at + 4096]).unwrap());
        seal(image, at, 4096);
    }
}

/// Edits something with a fixed layout.
pub(super) fn edit<T: FromBytes + IntoBytes + KnownLayout + Immutable>(
    image: &mut [u8],
    at: usize,
    edit: impl FnOnce(&mut T),
) {
    edit(T::mut_from_bytes(&mut image[at..at + size_of::<T>()]).unwrap());
}

pub(super) fn region(guid: Guid, at: usize, required: u32) -> RegionEntry {
    let (file_offset, length) = ((at as u64).into(), (1 << 20).into());
    RegionEntry { guid, file_offset, length, required: required.into() }
}

/// Writes both region tables.
pub(super) fn set_regions(image: &mut [u8], regions: &[RegionEntry]) {
    for offset in REGION_TABLE_PLACES {
        let at = usize::try_from(offset).unwrap();
        let mut header = RegionTableHeader::new_zeroed();
        header.signature = REGION_TABLE_SIGNATURE;
        header.entry_count = u32::try_from(regions.len()).unwrap().into();
        put(image, at, &header);
        put(image, at + 16, regions);
        seal(image, at, REGION_TABLE_SIZE);
    }
}

/// An item of the metadata.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) id: Guid,
    pub(super) flags: u32,
    pub(super) value: Vec<u8>,
}

pub(super) fn item(id: Guid, value: impl Into<Vec<u8>>) -> Item {
    Item { id, flags: IS_REQUIRED, value: value.into() }
}

/// Writes the metadata; items lie one behind the other.
pub(super) fn set_metadata(image: &mut [u8], items: &[Item]) {
    image[METADATA_AT..BAT_AT].fill(0);
    let mut header = MetadataTableHeader::new_zeroed();
    header.signature = METADATA_SIGNATURE;
    header.entry_count = u16::try_from(items.len()).unwrap().into();
    put(image, METADATA_AT, &header);
    let mut at = ITEMS_AT;
    for (number, item) in items.iter().enumerate() {
        let mut entry = MetadataEntry::new_zeroed();
        entry.item_id = item.id;
        entry.offset = u32::try_from(at - METADATA_AT).unwrap().into();
        entry.length = u32::try_from(item.value.len()).unwrap().into();
        entry.flags = item.flags.into();
        put(image, METADATA_AT + 32 + number * 32, &entry);
        put(image, at, item.value.as_slice());
        at += item.value.len();
    }
}

/// A parent locator as it lies in the metadata.
pub(super) fn locator(pairs: &[(&str, String)]) -> Vec<u8> {
    let mut header = ParentLocatorHeader::new_zeroed();
    header.locator_type = VHDX_PARENT;
    header.key_value_count = u16::try_from(pairs.len()).unwrap().into();
    let mut table = header.as_bytes().to_vec();
    let mut texts = Vec::new();
    for (key, value) in pairs {
        let mut entry = ParentLocatorEntry::new_zeroed();
        let mut text = |text: &str| {
            let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let place = 20 + pairs.len() * 12 + texts.len();
            texts.extend(&bytes);
            (u32::try_from(place).unwrap(), u16::try_from(bytes.len()).unwrap())
        };
        let ((key_at, key_length), (value_at, value_length)) = (text(key), text(value));
        (entry.key_offset, entry.key_length) = (key_at.into(), key_length.into());
        (entry.value_offset, entry.value_length) = (value_at.into(), value_length.into());
        table.extend(entry.as_bytes());
    }
    [table, texts].concat()
}

/// What an entry of the log writes.
#[derive(Clone, Copy)]
pub(super) enum Write {
    /// A sector full of a byte.
    Data { at: u64, fill: u8 },
    /// A number of bytes that are zero.
    Zero { at: u64, length: u64 },
}

/// An entry of a log.
pub(super) struct LogEntry {
    pub(super) log: Guid,
    pub(super) sequence: u64,
    /// Byte offset in the log of the first entry that is needed.
    pub(super) tail: u32,
    /// The file is that long at least.
    pub(super) flushed: u64,
    /// The file is to be that long.
    pub(super) last: u64,
    pub(super) writes: Vec<Write>,
}

impl LogEntry {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut header = LogEntryHeader::new_zeroed();
        header.signature = LOG_ENTRY_SIGNATURE;
        header.tail = self.tail.into();
        header.sequence_number = self.sequence.into();
        header.descriptor_count = u32::try_from(self.writes.len()).unwrap().into();
        header.log_guid = self.log;
        header.flushed_file_offset = self.flushed.into();
        header.last_file_offset = self.last.into();
        let mut entry = header.as_bytes().to_vec();
        let mut data: Vec<u8> = Vec::new();
        for write in &self.writes {
            let mut descriptor = LogDescriptor::new_zeroed();
            descriptor.sequence_number = self.sequence.into();
            match *write {
                Write::Zero { at, length } => {
                    descriptor.signature = ZERO_DESCRIPTOR_SIGNATURE;
                    descriptor.file_offset = at.into();
                    descriptor.leading_bytes = length.to_le_bytes();
                }
                Write::Data { at, fill } => {
                    descriptor.signature = DATA_DESCRIPTOR_SIGNATURE;
                    descriptor.file_offset = at.into();
                    // The ends differ from the middle, so that it matters where they come from.
                    descriptor.leading_bytes = [fill ^ 0xff; 8];
                    descriptor.trailing_bytes = [fill ^ 0xf0; 4];
                    let mut sector = LogDataSector::new_zeroed();
                    sector.signature = DATA_SECTOR_SIGNATURE;
                    sector.data.fill(fill);
                    sector.sequence_high = u32::try_from(self.sequence >> 32).unwrap().into();
                    sector.sequence_low = u32::try_from(self.sequence & 0xffff_ffff).unwrap().into();
                    data.extend(sector.as_bytes());
                }
            }
            entry.extend(descriptor.as_bytes());
        }
        entry.resize(entry.len().next_multiple_of(LOG_SECTOR_SIZE), 0);
        entry.extend(data);
        let length = u32::try_from(entry.len()).unwrap();
        entry[8..12].copy_from_slice(&length.to_le_bytes());
        let length = entry.len();
        seal(&mut entry, 0, length);
        entry
    }
}

/// The sector that [`Write::Data`] leaves in the file.
pub(super) fn logged_sector(fill: u8) -> Vec<u8> {
    let mut sector = vec![fill; LOG_SECTOR_SIZE];
    sector[..8].fill(fill ^ 0xff);
    sector[4092..].fill(fill ^ 0xf0);
    sector
}

/// Puts entries into the log one behind the other from byte `position` of it on, and round its end. Returns where each begins.
pub(super) fn put_log(image: &mut [u8], mut position: usize, entries: &[Vec<u8>]) -> Vec<usize> {
    let mut positions = Vec::new();
    for entry in entries {
        positions.push(position);
        for sector in entry.chunks(LOG_SECTOR_SIZE) {
            put(image, LOG_AT + position, sector);
            position = (position + LOG_SECTOR_SIZE) % (1 << 20);
        }
    }
    positions
}
