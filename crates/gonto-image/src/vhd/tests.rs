//! VHDs that are built byte by byte, sound ones and broken ones.

use super::format::{DynamicHeader, checksum};
use super::*;
use zerocopy::{FromZeros, IntoBytes};

const BLOCK: usize = 64 << 10;
const HEADER_AT: usize = 512;
const TABLE_AT: usize = 1536;

fn footer(disk_type: u32, disk_size: u64) -> Footer {
    let mut footer = Footer::new_zeroed();
    footer.cookie = *b"conectix";
    footer.file_format_version = 0x0001_0000.into();
    footer.data_offset = if disk_type == 2 { u64::MAX } else { HEADER_AT as u64 }.into();
    footer.current_size = disk_size.into();
    footer.disk_type = disk_type.into();
    footer.checksum = checksum(footer.as_bytes(), std::mem::offset_of!(Footer, checksum)).into();
    footer
}

fn fixed(disk: &[u8]) -> Vec<u8> {
    [disk, footer(2, disk.len() as u64).as_bytes()].concat()
}

/// A dynamic VHD; the blocks lie in the file in reverse order, so that order matters.
fn dynamic(disk_size: usize, blocks: &[Option<u8>]) -> Vec<u8> {
    let footer = footer(3, disk_size as u64);
    let mut header = DynamicHeader::new_zeroed();
    header.cookie = *b"cxsparse";
    header.table_offset = (TABLE_AT as u64).into();
    header.max_table_entries = u32::try_from(blocks.len()).unwrap().into();
    header.block_size = u32::try_from(BLOCK).unwrap().into();
    seal(&mut header);
    let mut image = [footer.as_bytes(), header.as_bytes(), &[0xff; 512]].concat();
    for (number, fill) in blocks.iter().enumerate().rev() {
        let Some(fill) = fill else { continue };
        let sector = u32::try_from(image.len() / 512).unwrap();
        image[TABLE_AT + number * 4..][..4].copy_from_slice(&sector.to_be_bytes());
        image.extend([0xff; 512]);
        image.extend(vec![*fill; BLOCK]);
    }
    image.extend(footer.as_bytes());
    image
}

fn seal(header: &mut DynamicHeader) {
    header.checksum = checksum(header.as_bytes(), std::mem::offset_of!(DynamicHeader, checksum)).into();
}

fn open_bytes(image: Vec<u8>) -> Result<Option<Disk>, Error> {
    open(&(Arc::new(image) as Arc<dyn ReadAt>))
}

fn message(image: Vec<u8>) -> String {
    match open_bytes(image) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("opened"),
    }
}

fn content(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0x77; usize::try_from(disk.size()).unwrap()];
    disk.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn edit_header(image: &mut [u8], edit: impl FnOnce(&mut DynamicHeader)) {
    let header = DynamicHeader::mut_from_bytes(&mut image[HEADER_AT..HEADER_AT + 1024]).unwrap();
    edit(header);
    seal(header);
}

#[test]
fn a_fixed_disk_is_what_lies_before_the_footer() {
    let disk: Vec<u8> = (0..2048u32).map(|n| n.to_le_bytes()[0]).collect();
    let Ok(Some(Disk::Fixed(opened))) = open_bytes(fixed(&disk)) else { panic!("not fixed") };
    assert_eq!(content(&opened), disk);
}

#[test]
fn blocks_are_found_in_any_order_and_absent_ones_are_zero() {
    let size = 3 * BLOCK + 512;
    let image = dynamic(size, &[Some(1), None, Some(3), Some(4)]);
    let Ok(Some(Disk::Dynamic(opened))) = open_bytes(image) else { panic!("not dynamic") };
    let mut expected = [vec![1; BLOCK], vec![0; BLOCK], vec![3; BLOCK], vec![4; BLOCK]].concat();
    expected.truncate(size);
    assert_eq!(content(&opened), expected);
    let mut across = [9; 1000];
    opened.read_at(&mut across, 2 * BLOCK as u64 - 500).unwrap();
    assert_eq!(across, expected[2 * BLOCK - 500..][..1000]);
    assert!(opened.read_at(&mut across, size as u64 - 999).is_err());
    let block = BLOCK as u64;
    let known: Vec<u64> =
        [0, block - 1, block, block + 100, 2 * block, u64::MAX].map(|at| opened.extent(at).zeroes()).into();
    assert_eq!(known, [0, 0, block, block - 100, 0, 0]);
}

#[test]
fn what_is_no_vhd_is_left_alone() {
    assert!(matches!(open_bytes(vec![0; 4096]), Ok(None)));
    assert!(matches!(open_bytes(vec![0; 100]), Ok(None)));
}

#[test]
fn a_damaged_footer_of_a_dynamic_disk_is_replaced_by_its_copy() {
    for damage in [0, 70] {
        let mut image = dynamic(BLOCK, &[Some(5)]);
        let last = image.len() - 512;
        image[last + damage] ^= 0x20;
        let Ok(Some(Disk::Dynamic(opened))) = open_bytes(image) else { panic!("not dynamic") };
        assert_eq!(content(&opened), vec![5; BLOCK]);
    }
}

#[test]
fn a_damaged_footer_of_a_fixed_disk_is_refused() {
    let sound = fixed(&[0; 4096]);
    let mut image = sound.clone();
    image[4096 + 50] ^= 1;
    assert!(message(image).contains("the VHD's footer at byte 0x1040 is damaged: expected the checksum"));
    let mut image = sound;
    image[4096] = b'C';
    let message = message(image);
    assert!(message.contains("expected the cookie \"conectix\", found \"Conectix\""), "{message}");
}

#[test]
fn a_dynamic_disk_with_both_footers_damaged_is_refused() {
    let mut image = dynamic(BLOCK, &[Some(5)]);
    let last = image.len() - 512;
    image[last + 70] ^= 1;
    image[70] ^= 1;
    assert!(message(image).contains("checksum"));
}

#[test]
fn a_fixed_disk_that_was_cut_is_refused() {
    let image = [&[0; 2048][..], footer(2, 4096).as_bytes()].concat();
    assert!(message(image).contains("4096 bytes: the file is cut short"));
}

#[test]
fn a_differencing_disk_is_refused_by_name() {
    let image = [&[0; 2048][..], footer(4, 4096).as_bytes()].concat();
    assert_eq!(message(image), "a differencing VHD is not read yet: merge it into its parent");
}

#[test]
fn impossible_footers_are_refused() {
    let image = footer(7, 4096).as_bytes().to_vec();
    assert!(message(image).contains("found 7"));
    for size in [0, u64::MAX] {
        let image = footer(3, size).as_bytes().to_vec();
        assert!(message(image).contains("2040 GiB"));
    }
    let mut beyond = footer(3, 4096);
    beyond.data_offset = u64::MAX.into();
    beyond.checksum = checksum(beyond.as_bytes(), 64).into();
    assert!(message(beyond.as_bytes().to_vec()).contains("a dynamic header inside the file"));
}

#[test]
fn impossible_headers_are_refused() {
    let sound = dynamic(BLOCK * 2, &[Some(1), Some(2)]);
    let refused = |edit: fn(&mut DynamicHeader)| {
        let mut image = sound.clone();
        edit_header(&mut image, edit);
        message(image)
    };
    assert!(refused(|header| header.cookie[0] = 0).contains("cxsparse"));
    assert!(refused(|header| header.block_size = 512.into()).contains("power of two"));
    assert!(refused(|header| header.block_size = 0.into()).contains("power of two"));
    assert!(refused(|header| header.max_table_entries = 1.into()).contains("at least 2 blocks"));
    assert!(refused(|header| header.table_offset = (u64::MAX - 3).into()).contains("a table of 2 entries"));
    assert!(refused(|header| header.table_offset = 600.into()).contains("overlaps"));
    let mut image = sound.clone();
    image[HEADER_AT + 40] ^= 1;
    assert!(message(image).contains("dynamic header at byte 0x224"));
}

#[test]
fn blocks_outside_the_file_or_on_each_other_are_refused() {
    let sound = dynamic(BLOCK * 2, &[Some(1), Some(2)]);
    let with_entry = |number: usize, sector: u32| {
        let mut image = sound.clone();
        image[TABLE_AT + number * 4..][..4].copy_from_slice(&sector.to_be_bytes());
        message(image)
    };
    assert!(with_entry(1, u32::MAX - 1).contains("block 1 to end before byte"));
    assert!(
        with_entry(1, 0)
            .contains("place of its own for block 1, found one that overlaps the copy of the footer")
    );
    assert!(with_entry(1, 1).contains("found one that overlaps the dynamic header"));
    assert!(with_entry(1, 3).contains("found one that overlaps the block table"));
    let first = u32::from_be_bytes(sound[TABLE_AT..TABLE_AT + 4].try_into().unwrap());
    assert!(with_entry(1, first - 1).contains("overlaps block"));
}
