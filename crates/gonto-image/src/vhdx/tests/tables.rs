//! Headers, region tables, metadata and block tables that are damaged, or lie.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[test]
fn the_header_with_the_higher_number_counts() {
    for (newer, older) in [(0, 1), (1, 0)] {
        let mut image = Plan::new(&[Some(1)]).image();
        let [newer, older] = [newer, older].map(|copy: usize| usize::try_from(HEADER_PLACES[copy]).unwrap());
        for (at, sequence, own) in [(newer, 9u64, id(9)), (older, 8, id(8))] {
            edit(&mut image, at, |header: &mut Header| {
                header.sequence_number = sequence.into();
                header.data_write_guid = own;
            });
            seal(&mut image, at, 4096);
        }
        let id_of = |image: &Vec<u8>| identity(image, &Options::default()).unwrap();
        assert_eq!(id_of(&image), Some(id(9)));
        // Where it is damaged the other one is all that there is.
        image[newer + 100] ^= 1;
        assert_eq!(id_of(&image), Some(id(8)));
        let disk = open_image(image).unwrap();
        let Irregularity::CopyUsed { offset, .. } = disk.layers()[0].irregularities[0] else { panic!() };
        assert_eq!(offset, newer as u64);
    }
}

#[test]
fn headers_with_the_same_number_are_the_same() {
    let mut image = Plan::new(&[Some(1)]).image();
    edit_headers(&mut image, |header| header.sequence_number = 3.into());
    assert!(content(image.clone()) == blocks(&[1]));
    let second = usize::try_from(HEADER_PLACES[1]).unwrap();
    edit(&mut image, second, |header: &mut Header| header.file_write_guid = id(0x66));
    seal(&mut image, second, 4096);
    refused(image, "another sequence number than that of the first header");
}

#[test]
fn without_a_sound_header_or_region_table_the_image_is_refused() {
    for (places, name) in [(HEADER_PLACES, "header"), (REGION_TABLE_PLACES, "region table")] {
        let places = places.map(|place| usize::try_from(place).unwrap());
        let sound = Plan::new(&[Some(1)]).image();
        let mut image = sound.clone();
        places.iter().for_each(|place| image[place + 3000] ^= 1);
        refused(
            image.clone(),
            &format!("the checksum of the VHDX's first {name} at byte {:#x} is wrong", places[0] + 4),
        );
        let options = Options { ignore_checksums: true, ..Options::default() };
        let disk = open_with(image.clone(), &options).unwrap();
        assert!(content_of(&disk) == blocks(&[1]));
        assert_eq!(disk.layers()[0].irregularities.len(), 2);
        image[places[0]] = b'x';
        refused(
            image.clone(),
            &format!("the checksum of the VHDX's second {name} at byte {:#x}", places[1] + 4),
        );
        image[places[1]] = b'x';
        refused(
            image,
            &format!("the VHDX's first {name} at byte {:#x} is damaged: expected the sign", places[0]),
        );
    }
}

#[test]
fn other_versions_are_refused_by_name() {
    let mut image = Plan::new(&[Some(1)]).image();
    edit_headers(&mut image, |header| header.version = 2.into());
    refused(image, "version 2 of VHDX with version 0 of its log is not read: convert the image to VHD");
}

#[test]
fn regions_have_to_be_known_or_not_needed_and_lie_apart() {
    let sound = Plan::new(&[Some(1)]).image();
    let with = |regions: &[RegionEntry]| {
        let mut image = sound.clone();
        set_regions(&mut image, regions);
        image
    };
    let bat = || region(BAT_REGION, BAT_AT, 1);
    let metadata = || region(METADATA_REGION, METADATA_AT, 1);
    let unknown = |at, required| region(id(0xab), at, required);
    let mut longer = with(&[unknown(sound.len(), 0), bat(), metadata()]);
    longer.extend(vec![0xee; BLOCK]);
    assert!(content(longer) == blocks(&[1]));
    refused(
        with(&[bat(), metadata(), unknown(BLOCKS_AT, 0)]),
        "block 0, found one that overlaps a region that is not",
    );
    refused(with(&[bat(), metadata(), unknown(BLOCKS_AT, 1)]), "region abababab-abab-abab-abab-abababababab");
    refused(with(&[bat(), metadata(), bat()]), "each region once, found the block table again");
    refused(with(&[bat()]), "expected an entry for the metadata, found none");
    refused(with(&[metadata()]), "expected an entry for the block table, found none");
    refused(
        with(&[region(BAT_REGION, METADATA_AT, 1), metadata()]),
        "the block table and the metadata at the same",
    );
    refused(with(&[region(BAT_REGION, LOG_AT, 1), metadata()]), "at the same place");
    refused(with(&[region(BAT_REGION, 0, 1), metadata()]), "the header section");
    refused(with(&[region(BAT_REGION, BAT_AT + 4096, 1), metadata()]), "a region of whole MiB");
    refused(with(&[region(BAT_REGION, sound.len(), 1), metadata()]), "inside the file");
    let mut image = sound;
    for at in REGION_TABLE_PLACES.map(|place| usize::try_from(place).unwrap()) {
        put(&mut image, at + 8, &2048u32);
        seal(&mut image, at, REGION_TABLE_SIZE);
    }
    refused(image, "at most 2047 regions, found 2048");
}

#[test]
fn impossible_metadata_is_refused() {
    let sound = Plan::new(&[Some(1)]);
    let with = |id: Guid, value: Vec<u8>| {
        let mut items = sound.items();
        items.iter_mut().filter(|item| item.id == id).for_each(|item| item.value.clone_from(&value));
        let mut image = sound.image();
        set_metadata(&mut image, &items);
        image
    };
    for block_size in [0u32, 1 << 19, 3 << 20, 1 << 29] {
        let parameters = [block_size.to_le_bytes(), [0; 4]].concat();
        refused(with(FILE_PARAMETERS, parameters), "a power of two from 1 to 256 MiB");
    }
    for size in [0u64, 1000, 64 * MIB * MIB + 512, u64::MAX] {
        refused(
            with(VIRTUAL_DISK_SIZE, size.to_le_bytes().into()),
            "whole sectors of 512 bytes, up to 64 TiB",
        );
    }
    for sector_size in [0u32, 513, 1024, u32::MAX] {
        for id in [LOGICAL_SECTOR_SIZE, PHYSICAL_SECTOR_SIZE] {
            refused(with(id, sector_size.to_le_bytes().into()), "sectors of 512 or 4096 bytes");
        }
    }
    refused(
        with(VIRTUAL_DISK_SIZE, vec![1; 7]),
        "the VHDX's virtual disk size at byte 0x210008 is damaged: expected 8 b",
    );
    refused(with(FILE_PARAMETERS, [(1u32 << 20).to_le_bytes(), [2, 0, 0, 0]].concat()), "the parent locator");
    refused(with(VIRTUAL_DISK_SIZE, (1u64 << 40).to_le_bytes().into()), "for the 1048576 blocks of the disk");
}

#[test]
fn items_of_the_metadata_have_a_place_of_their_own_and_are_known_or_not_needed() {
    let sound = Plan::new(&[Some(1)]);
    let with = |items: &[Item]| {
        let mut image = sound.image();
        set_metadata(&mut image, items);
        image
    };
    let items = sound.items();
    let and = |item: Item| [items.clone(), vec![item]].concat();
    for flags in [0, IS_USER] {
        let unknown = Item { id: id(0xab), flags, value: vec![1; 100] };
        assert!(content(with(&and(unknown))) == blocks(&[1]));
    }
    for flags in [IS_REQUIRED, IS_REQUIRED | IS_USER] {
        let unknown = Item { id: id(0xab), flags, value: vec![1; 100] };
        refused(with(&and(unknown)), "required metadata abababab-abab-abab-abab-abababababab");
    }
    // A user may give an item of his own the name of a known one.
    let users = Item { flags: IS_USER, ..item(VIRTUAL_DISK_SIZE, vec![0; 8]) };
    assert!(content(with(&and(users))) == blocks(&[1]));
    refused(with(&and(items[1].clone())), "the virtual disk size once, found two of them");
    for missing in [FILE_PARAMETERS, VIRTUAL_DISK_SIZE, LOGICAL_SECTOR_SIZE] {
        let rest: Vec<Item> = items.iter().filter(|item| item.id != missing).cloned().collect();
        refused(with(&rest), "found no such item");
    }
    // Nothing that is read depends on these.
    let rest: Vec<Item> = items[..3].to_vec();
    assert!(content(with(&rest)) == blocks(&[1]));
    for (offset, length) in [(0u32, 8u32), (100, 8), (u32::MAX, 8), (65536, 1 << 21), ((1 << 20) - 4, 8)] {
        let mut image = sound.image();
        edit(&mut image, METADATA_AT + 64, |entry: &mut MetadataEntry| {
            entry.offset = offset.into();
            entry.length = length.into();
        });
        refused(image, "an item of at most 1 MiB from byte 65536 to byte 1048576 of the region");
    }
    let mut image = sound.image();
    image[METADATA_AT] = b'M';
    refused(image, "the signature \"metadata\", found \"Metadata\"");
    let mut image = sound.image();
    put(&mut image, METADATA_AT + 10, &2048u16);
    refused(image, "at most 2047 items, found 2048");
}

#[test]
fn blocks_outside_the_file_or_on_each_other_are_refused() {
    let sound = Plan::new(&[Some(1), Some(2)]).image();
    let with = |number: usize, mib: u64| {
        let mut image = sound.clone();
        put(&mut image, BAT_AT + number * 8, &(mib << 20 | u64::from(state::FULLY_PRESENT)));
        image
    };
    refused(
        with(0, 6),
        "the VHDX's block table at byte 0x300000 is damaged: expected block 0 inside the file",
    );
    refused(with(1, (1 << 44) - 1), "the VHDX's block table at byte 0x300008");
    refused(with(1, 1 << 32), "expected block 1 inside the file of 6291456 bytes");
    refused(with(0, 4), "a place of its own for block 1, found one that overlaps block 0");
    for (mib, owner) in
        [(0, "the header section"), (1, "the log"), (2, "the metadata"), (3, "the block table")]
    {
        refused(with(1, mib), &format!("a place of its own for block 1, found one that overlaps {owner}"));
    }
}

/// A file whose end is a hole: bytes that are known to be zero.
struct Hollow {
    start: Vec<u8>,
    size: u64,
    bytes_read: AtomicU64,
}

impl ReadAt for Hollow {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes_read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        buf.fill(0);
        let known = self.start.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = known.len().min(buf.len());
        buf[..count].copy_from_slice(&known[..count]);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn extent(&self, offset: u64) -> Extent {
        match (self.start.len() as u64).checked_sub(offset) {
            Some(length @ 1..) => Extent { length, place: Place::Image { layer: 0, offset } },
            _ => Extent { length: self.size - offset, place: Place::Zero },
        }
    }
}

#[test]
fn a_huge_empty_disk_costs_next_to_nothing() {
    for parent in [false, true] {
        let mut plan = Plan { disk_size: 64 * MIB * MIB, blocks: Vec::new(), ..Plan::child(1, 2, &[]) };
        if !parent {
            plan = Plan { flags: 0, parent: Vec::new(), ..plan };
        }
        let mut image = plan.image();
        image.truncate(BAT_AT);
        let table = RegionEntry { length: (516 << 20).into(), ..region(BAT_REGION, BAT_AT, 1) };
        set_regions(&mut image, &[table, region(METADATA_REGION, METADATA_AT, 1)]);
        let file = Arc::new(Hollow { start: image, size: 520 * MIB, bytes_read: AtomicU64::new(0) });
        let opened = open(&(file.clone() as Arc<dyn ReadAt>), &Descent::new(&family(&[])));
        let read = file.bytes_read.load(Ordering::Relaxed);
        assert!(read < MIB, "{read} bytes were read");
        match opened {
            Err(Error::MissingParent { .. }) => assert!(parent),
            opened => {
                let disk = opened.unwrap().unwrap();
                let extent = disk.disk().extent(12345);
                assert_eq!(extent, Extent { length: 64 * MIB * MIB - 12345, place: Place::Zero });
            }
        }
    }
}
