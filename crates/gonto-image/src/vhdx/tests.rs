//! VHDXs that are built byte by byte, sound ones and broken ones.

use std::collections::HashMap;
use std::io;

use super::format::*;
use super::*;
use crate::options::{Parent, ParentHint, Parents};
use crate::source::{Extent, Place};
use image::*;

mod differencing;
mod hostile;
mod image;
mod log;
mod tables;

const BLOCK: usize = 1 << 20;

fn open_with(image: Vec<u8>, options: &Options) -> Result<VirtualDisk, Error> {
    open(&(Arc::new(image) as Arc<dyn ReadAt>), &Descent::new(options)).map(Option::unwrap)
}

fn open_image(image: Vec<u8>) -> Result<VirtualDisk, Error> {
    open_with(image, &Options::default())
}

fn content_of(disk: &VirtualDisk) -> Vec<u8> {
    let mut bytes = vec![0x77; usize::try_from(disk.disk().size()).unwrap()];
    disk.disk().read_at(&mut bytes, 0).unwrap();
    bytes
}

fn content(image: Vec<u8>) -> Vec<u8> {
    content_of(&open_image(image).unwrap())
}

#[track_caller]
fn refused(image: Vec<u8>, words: &str) {
    let Err(error) = open_image(image) else { panic!("opened, though {words}") };
    let text = error.to_string();
    assert!(text.contains(words), "{text:?} does not say {words:?}");
}

/// Images by the path that children know them by.
#[derive(Clone, Default)]
struct Family(HashMap<String, Vec<u8>>);

impl Parents for Family {
    fn find(&self, hint: &ParentHint) -> io::Result<Option<Parent>> {
        let (ParentHint::Relative(path) | ParentHint::Absolute(path) | ParentHint::Name(path)) = hint;
        Ok(self.0.get(path).map(|image| Parent {
            name: path.clone(),
            image: Arc::new(image.clone()),
            modified: None,
            parents: Arc::new(self.clone()),
        }))
    }
}

fn family(images: &[(&str, Vec<u8>)]) -> Options {
    let images = images.iter().map(|(path, image)| ((*path).to_owned(), image.clone())).collect();
    Options { parents: Arc::new(Family(images)), ..Options::default() }
}

/// A small generator of numbers that is the same everywhere (splitmix64), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Whole blocks, each full of a byte.
fn blocks(fills: &[u8]) -> Vec<u8> {
    fills.iter().flat_map(|fill| vec![*fill; BLOCK]).collect()
}

#[test]
fn blocks_are_found_in_any_order_and_absent_ones_are_zero() {
    let plan = Plan { disk_size: 4 * MIB - 512, ..Plan::new(&[Some(1), None, None, Some(4)]) };
    let disk = open_image(plan.image()).unwrap();
    assert_eq!(disk.container(), Container::DynamicVhdx);
    let mut expected = blocks(&[1, 0, 0, 4]);
    expected.truncate(4 * BLOCK - 512);
    assert!(content_of(&disk) == expected);
    let mut across = [9; 1000];
    disk.disk().read_at(&mut across, 3 * MIB - 500).unwrap();
    assert_eq!(across, expected[3 * BLOCK - 500..][..1000]);
    assert!(disk.disk().read_at(&mut across, 4 * MIB - 512 - 999).is_err());
    let place = |at: u64| disk.disk().extent(at);
    // The last block lies first in the file.
    let in_file = |length, offset| Extent { length, place: Place::Image { layer: 0, offset } };
    assert_eq!(place(100), in_file(MIB - 100, BLOCKS_AT as u64 + MIB + 100));
    assert_eq!(place(MIB + 100), Extent { length: 2 * MIB - 100, place: Place::Zero });
    assert_eq!(place(3 * MIB), in_file(MIB - 512, BLOCKS_AT as u64));
    assert_eq!(place(u64::MAX).length, 0);
}

#[test]
fn what_the_image_tells_of_itself() {
    let disk =
        open_image(Plan { flags: LEAVES_BLOCKS_ALLOCATED, ..Plan::new(&[Some(1), None]) }.image()).unwrap();
    let layer = &disk.layers()[0];
    assert_eq!((layer.container, layer.disk_size), (Container::FixedVhdx, 2 * MIB));
    assert_eq!((layer.id, layer.disk_id, layer.parent_id), (Some(id(1)), Some(id(0x55)), None));
    assert_eq!((layer.sector_size, layer.physical_sector_size), (Some(512), Some(4096)));
    assert_eq!(layer.blocks, Some(Blocks { size: MIB, total: 2, present: 1 }));
    assert_eq!(layer.creator.as_ref().map(ToString::to_string).as_deref(), Some("Tests 1.0"));
    assert_eq!(layer.irregularities, []);
}

#[test]
fn big_sectors_and_big_blocks_are_read() {
    let plan = Plan {
        sector_size: 4096,
        block_size: 4 << 20,
        disk_size: 2 * 4 * MIB,
        ..Plan::new(&[Some(7), Some(8)])
    };
    let disk = open_image(plan.image()).unwrap();
    assert_eq!(disk.sector_size(), Some(4096));
    assert!(content_of(&disk) == [vec![7; 4 * BLOCK], vec![8; 4 * BLOCK]].concat());
}

#[test]
fn a_disk_of_several_chunks_leaves_the_entries_of_bitmaps_out() {
    // 16 blocks of 256 MiB are a chunk. Only the first bytes of the last block are on the disk and in the file.
    let plan = Plan {
        block_size: 256 << 20,
        disk_size: 16 * 256 * MIB + 512,
        blocks: Vec::new(),
        ..Plan::new(&[None])
    };
    let mut image = plan.image();
    // qemu leaves garbage in the entries of bitmaps, which mean nothing here.
    put(&mut image, BAT_AT + 16 * 8, &u64::MAX);
    let entry = image.len() as u64 | u64::from(state::FULLY_PRESENT);
    put(&mut image, BAT_AT + 17 * 8, &entry);
    image.extend([5; 512]);
    let disk = open_image(image).unwrap();
    let mut bytes = [9; 1024];
    disk.disk().read_at(&mut bytes, 16 * 256 * MIB - 512).unwrap();
    assert_eq!(bytes, *[[0; 512], [5; 512]].as_flattened());
}

#[test]
fn blocks_without_content_are_zero_whatever_their_state_is_called() {
    for state in [state::UNDEFINED, state::ZERO, state::UNMAPPED, state::UNMAPPED_DRAFT] {
        let mut image = Plan::new(&[Some(1), Some(2)]).image();
        image[BAT_AT] = image[BAT_AT] & !7 | state;
        assert!(content(image) == blocks(&[0, 2]), "state {state}");
    }
    for state in [4, state::PARTIALLY_PRESENT] {
        let mut image = Plan::new(&[Some(1), Some(2)]).image();
        image[BAT_AT + 8] = image[BAT_AT + 8] & !7 | state;
        refused(image, &format!("a state that block 1 of such a disk can have, found state {state}"));
    }
}

#[test]
fn what_is_no_vhdx_is_left_alone() {
    for image in [vec![0; 4096], vec![0; 100], vec![0; 2 << 20]] {
        let image: Arc<dyn ReadAt> = Arc::new(image);
        assert!(open(&image, &Descent::new(&Options::default())).unwrap().is_none());
    }
}

#[test]
fn a_vhdx_whose_first_bytes_are_damaged_does_not_pass_for_a_raw_disk() {
    let mut image = Plan::new(&[Some(1)]).image();
    image[0] = b'V';
    refused(
        image,
        "the VHDX's file type identifier at byte 0x0 is damaged: expected the signature \"vhdxfile\"",
    );
}

#[test]
fn a_file_that_is_cut_short_is_told_as_such() {
    let image = Plan::new(&[Some(1)]).image();
    refused(image[..100_000].to_vec(), "found the end of the file after 100000 bytes: it is cut short");
    let text = "a region of whole MiB inside the file of 3145828 bytes";
    refused(image[..BAT_AT + 100].to_vec(), text);
    refused(image[..BAT_AT + 100].to_vec(), ": the file may be cut short");
    let cut = image.len() - 1;
    refused(image[..cut].to_vec(), "block 0 inside the file of 5242879 bytes");
}
