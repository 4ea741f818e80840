//! VHDs that are built byte by byte, sound ones and broken ones.

use super::format::{DynamicHeader, Footer, checksum};
use super::*;
use crate::options::{Parent, ParentHint, Parents};
use crate::source::{Extent, Place};
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

fn open_with(image: Vec<u8>, options: &Options) -> Result<Option<VirtualDisk>, Error> {
    open(&(Arc::new(image) as Arc<dyn ReadAt>), &Descent::new(options))
}

fn open_bytes(image: Vec<u8>) -> Result<Option<VirtualDisk>, Error> {
    open_with(image, &Options::default())
}

/// A disk of the container that is expected, and what is irregular about it.
fn opened(image: Vec<u8>, container: Container) -> (Arc<dyn ReadAt>, Vec<String>) {
    let disk = open_bytes(image).unwrap().unwrap();
    assert_eq!(disk.container(), container);
    (disk.disk().clone(), disk.irregularities().map(ToString::to_string).collect())
}

fn message(image: Vec<u8>) -> String {
    match open_bytes(image) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("opened"),
    }
}

fn content(disk: &Arc<dyn ReadAt>) -> Vec<u8> {
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
    assert_eq!(content(&opened(fixed(&disk), Container::FixedVhd).0), disk);
}

#[test]
fn blocks_are_found_in_any_order_and_absent_ones_are_zero() {
    let size = 3 * BLOCK + 512;
    let image = dynamic(size, &[Some(1), None, Some(3), Some(4)]);
    let (opened, irregularities) = opened(image, Container::DynamicVhd);
    assert_eq!(irregularities, [""; 0]);
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
fn a_disk_without_any_block_is_called_empty() {
    let image: Arc<dyn ReadAt> = Arc::new(dynamic(2 * BLOCK, &[None, None]));
    let Err(error) = crate::FileTree::open(image) else { panic!("opened") };
    let error = error.to_string();
    assert!(
        error.contains("none of the 2 blocks of the dynamic VHD is present, so that it is empty"),
        "{error}"
    );
}

#[test]
fn a_damaged_footer_of_a_dynamic_disk_is_replaced_by_its_copy() {
    for damage in [0, 70] {
        let mut image = dynamic(BLOCK, &[Some(5)]);
        let last = image.len() - 512;
        image[last + damage] ^= 0x20;
        let (opened, irregularities) = opened(image, Container::DynamicVhd);
        assert_eq!(content(&opened), vec![5; BLOCK]);
        let told = format!("the VHD's footer at byte {last:#x} is damaged (");
        assert!(irregularities[0].starts_with(&told), "{irregularities:?}");
    }
}

#[test]
fn a_damaged_footer_of_a_fixed_disk_is_refused() {
    let sound = fixed(&[0; 4096]);
    let mut image = sound.clone();
    image[4096 + 50] ^= 1;
    assert!(message(image).contains("the checksum of the VHD's footer at byte 0x1040 is wrong: expected 0x"));
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
    assert!(message(image.clone()).contains("checksum"));
    // The dynamic header gives away what it was.
    image[..512].fill(0);
    image[last..].fill(0);
    assert!(message(image).contains("the VHD's footer at byte 0x10a00 is damaged: expected the cookie"));
}

#[test]
fn a_fixed_disk_that_was_cut_is_refused() {
    let image = [&[0; 2048][..], footer(2, 4096).as_bytes()].concat();
    assert!(message(image).contains("4096 bytes: the file is cut short"));
}

#[test]
fn a_dynamic_disk_that_was_cut_is_refused_as_that() {
    let image = dynamic(BLOCK, &[Some(5), Some(5 + 1 + 128)]);
    for length in [image.len() / 2, 2048, 1536, 700] {
        let text = message(image[..length].to_vec());
        assert!(text.contains(": the file is cut short; fetch the image again"), "{length}: {text}");
    }
    // With its footer behind it, it is the table that lies.
    let mut lying = image;
    lying[1536..1540].fill(0x7f);
    assert!(!message(lying).contains("cut short"));
}

/// Somebody copied the partition out of a fixed VHD up to the end of the file.
#[test]
fn a_volume_with_the_footer_of_the_disk_that_it_was_copied_from_is_read() {
    let mut disk = vec![0; 1 << 20];
    disk[3..][..8].copy_from_slice(b"NTFS    ");
    disk[0x0b..][..2].copy_from_slice(&512u16.to_le_bytes());
    disk[0x0d] = 8;
    disk[0x28..][..8].copy_from_slice(&2047u64.to_le_bytes());
    disk[0x40] = 0xf6;
    let larger = footer(2, (1 << 20) + (64 << 10));
    let copied = [disk.as_slice(), larger.as_bytes()].concat();
    let (opened, told) = opened(copied, Container::Raw);
    assert_eq!(content(&opened), disk);
    assert!(told[0].contains("footer at byte 0x100000 belongs to a larger disk"), "{told:?}");

    // A volume that is cut as well is no whole one.
    disk[0x28..][..8].copy_from_slice(&2049u64.to_le_bytes());
    let cut = [disk.as_slice(), larger.as_bytes()].concat();
    assert!(message(cut).contains("the file is cut short"));
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
    assert!(refused(|header| header.table_offset = 600.into()).contains("structures that lie apart"));
    let mut image = sound.clone();
    image[HEADER_AT + 40] ^= 1;
    assert!(message(image).contains("the VHD's dynamic header at byte 0x224 is wrong"));
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

#[test]
fn a_table_of_more_blocks_than_the_file_can_hold_is_refused_before_they_are_kept() {
    let mut image = dynamic(1 << 36, &[None; 64]);
    let table = image.len() - 512;
    // A million entries, all of them the same.
    let sector = u32::try_from(table / 512 + 8192).unwrap();
    image.splice(table..table, [sector.to_be_bytes().repeat(1 << 20), vec![0; 512 + BLOCK]].concat());
    edit_header(&mut image, |header| {
        header.table_offset = (table as u64).into();
        header.max_table_entries = (1 << 20).into();
    });
    let text = message(image.clone());
    assert!(text.contains("at byte 0x90c is damaged: expected at most 67 blocks in 4262400 bytes"), "{text}");
    // All of them 0: a hole in the file.
    image[table..table + (4 << 20)].fill(0);
    let text = message(image);
    assert!(
        text.contains("a place of its own for block 0, found one that overlaps the copy of the footer"),
        "{text}"
    );
}

#[test]
fn a_footer_without_its_last_byte_is_one() {
    let disk = vec![7; 1000];
    let mut image = fixed(&disk);
    image.pop();
    assert_eq!(content(&opened(image.clone(), Container::FixedVhd).0), disk);
    image[1000 + 50] ^= 1;
    assert!(message(image).contains("the checksum of the VHD's footer"));
    let mut image = dynamic(BLOCK, &[Some(5)]);
    image.pop();
    assert_eq!(opened(image, Container::DynamicVhd).1, [""; 0]);
}

#[test]
fn wrong_checksums_can_be_ignored() {
    let ignoring = Options { ignore_checksums: true, ..Options::default() };
    let told = |image: Vec<u8>| {
        let strict = open_bytes(image.clone()).err().unwrap().to_string();
        assert!(strict.contains("--ignore-checksums"), "{strict}");
        let disk = open_with(image, &ignoring).unwrap().unwrap();
        assert!(content(disk.disk()).iter().all(|byte| *byte == 5));
        disk.irregularities().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut image = fixed(&[5; 4096]);
    image[4096 + 70] ^= 1;
    let expected = "the checksum of the VHD's footer at byte 0x1000 is wrong, which was ignored";
    assert_eq!(told(image), [expected]);
    let mut image = dynamic(BLOCK, &[Some(5)]);
    let last = image.len() - 512;
    for at in [70, last + 70, HEADER_AT + 50] {
        image[at] ^= 1;
    }
    assert_eq!(told(image).len(), 2);
}

#[test]
fn a_table_that_leaves_out_less_than_a_cylinder_is_as_its_writer_meant_it() {
    let size = BLOCK as u64 + 1024;
    let with_geometry = |cylinders: u16| {
        let mut image = dynamic(BLOCK, &[Some(5)]);
        let footer_at = image.len() - 512;
        let footer = Footer::mut_from_bytes(&mut image[footer_at..]).unwrap();
        footer.current_size = size.into();
        footer.cylinders = cylinders.into();
        (footer.heads, footer.sectors_per_track) = (2, 4);
        footer.checksum = checksum(footer.as_bytes(), 64).into();
        image
    };
    let (disk, irregularities) = opened(with_geometry(16), Container::DynamicVhd);
    assert_eq!(content(&disk), [vec![5; BLOCK], vec![0; 1024]].concat());
    assert_eq!(disk.extent(BLOCK as u64 + 1), Extent { length: 1023, place: Place::Zero });
    assert!(irregularities[0].contains("covers 65536 of the disk's 66560 bytes"), "{irregularities:?}");
    // The geometry reaches behind the table: the table is damaged.
    assert!(message(with_geometry(17)).contains("at least 2 blocks"));
    // So is one without any entry, even where all of the disk is less than a cylinder.
    let mut image = with_geometry(0);
    for footer_at in [0, image.len() - 512] {
        let footer = Footer::mut_from_bytes(&mut image[footer_at..footer_at + 512]).unwrap();
        (footer.heads, footer.sectors_per_track) = (255, 255);
        footer.checksum = checksum(footer.as_bytes(), 64).into();
    }
    edit_header(&mut image, |header| header.max_table_entries = 0.into());
    assert!(message(image).contains("at least 2 blocks"));
}

#[test]
fn the_end_of_a_block_may_be_left_out_where_nothing_was_written() {
    let mut image = dynamic(BLOCK, &[Some(5)]);
    let footer = image.split_off(image.len() - 512);
    image.truncate(image.len() - BLOCK + 10 * 512);
    let bitmap = image.len() - 11 * 512;
    image[bitmap..bitmap + 512].fill(0);
    image.extend(&footer);
    let (disk, _) = opened(image.clone(), Container::DynamicVhd);
    assert_eq!(content(&disk), [vec![5; 10 * 512], vec![0; BLOCK - 10 * 512]].concat());
    assert_eq!(disk.extent(10 * 512), Extent { length: BLOCK as u64 - 10 * 512, place: Place::Zero });
    image[bitmap + 1] = 0x20;
    let text = message(image);
    assert!(text.contains("expected block 0 to end before byte"), "{text}");
    assert!(text.contains("that its sector 10, which was written, would end at byte"), "{text}");
}

/// A child of `parent`: for each block the sectors that it holds, as bits of which the first is the highest, and what it
/// holds there.
fn child(id: u8, parent: u8, disk_size: usize, blocks: &[Option<(u8, u8)>]) -> Vec<u8> {
    let mut image =
        dynamic(disk_size, &blocks.iter().map(|block| block.map(|(_, fill)| fill)).collect::<Vec<_>>());
    let footer_at = image.len() - 512;
    let footer = Footer::mut_from_bytes(&mut image[footer_at..]).unwrap();
    footer.disk_type = 4.into();
    footer.unique_id = [id; 16];
    footer.checksum = checksum(footer.as_bytes(), 64).into();
    edit_header(&mut image, |header| {
        header.parent_unique_id = [parent; 16];
        for (unit, slot) in "parent.vhd".encode_utf16().zip(&mut header.parent_unicode_name) {
            *slot = unit.into();
        }
    });
    for (number, block) in blocks.iter().enumerate() {
        let Some((bits, _)) = block else { continue };
        let entry: [u8; 4] = image[TABLE_AT + number * 4..][..4].try_into().unwrap();
        let bitmap = u32::from_be_bytes(entry) as usize * 512;
        image[bitmap..bitmap + 512].fill(0);
        image[bitmap] = *bits;
    }
    image
}

fn with_id(mut image: Vec<u8>, id: u8) -> Vec<u8> {
    let footer_at = image.len() - 512;
    let footer = Footer::mut_from_bytes(&mut image[footer_at..]).unwrap();
    footer.unique_id = [id; 16];
    footer.checksum = checksum(footer.as_bytes(), 64).into();
    image
}

/// Gives the same images for every hint, one after another as they are asked for by their children.
struct Folder(Vec<Vec<u8>>);

impl Parents for Folder {
    fn find(&self, hint: &ParentHint) -> io::Result<Option<Parent>> {
        let ParentHint::Name(name) = hint else { return Ok(None) };
        let Some((first, others)) = self.0.split_first() else { return Ok(None) };
        Ok(Some(Parent {
            name: name.clone(),
            image: Arc::new(first.clone()),
            modified: Some(SystemTime::UNIX_EPOCH),
            parents: Arc::new(Folder(others.to_vec())),
        }))
    }
}

fn open_chain(mut chain: Vec<Vec<u8>>) -> Result<VirtualDisk, Error> {
    let parents = chain.split_off(1);
    let options = Options { parents: Arc::new(Folder(parents)), ..Options::default() };
    open_with(chain.remove(0), &options).map(Option::unwrap)
}

#[test]
fn the_bitmaps_of_a_child_decide_for_each_sector() {
    // A parent that ends in the middle of the child's second block.
    let base = with_id(fixed(&[1; BLOCK + 1024]), 1);
    let middle = child(2, 1, 2 * BLOCK, &[Some((0b0110_0000, 2)), None]);
    let top = child(3, 2, 3 * BLOCK, &[Some((0b0011_0000, 3)), Some((0b0100_0000, 4)), None]);
    let disk = open_chain(vec![top, middle, base]).unwrap();
    let mut expected = [vec![1; BLOCK + 1024], vec![0; 2 * BLOCK - 1024]].concat();
    expected[512..1024].fill(2);
    expected[1024..2048].fill(3);
    expected[BLOCK + 512..BLOCK + 1024].fill(4);
    assert_eq!(content(disk.disk()), expected);
    let mut across = [9; 700];
    disk.disk().read_at(&mut across, 900).unwrap();
    assert_eq!(across, expected[900..1600]);

    let containers: Vec<_> = disk.layers().iter().map(|layer| (layer.container, &*layer.name)).collect();
    let differencing = Container::DifferencingVhd;
    assert_eq!(
        containers,
        [(differencing, ""), (differencing, "parent.vhd"), (Container::FixedVhd, "parent.vhd"),]
    );
    assert_eq!(disk.layers()[0].parent_id, disk.layers()[1].id);
}

#[test]
fn extents_tell_which_file_of_the_chain_holds_each_sector() {
    let base = with_id(fixed(&[1; BLOCK + 1024]), 1);
    let middle = child(2, 1, 2 * BLOCK, &[Some((0b0110_0000, 2)), None]);
    let top = child(3, 2, 3 * BLOCK, &[Some((0b0011_0000, 3)), Some((0b0100_0000, 4)), None]);
    let files = [top.clone(), middle.clone(), base.clone()];
    let disk = open_chain(vec![top, middle, base]).unwrap();
    let expected = content(disk.disk());
    let (mut offset, mut lengths) = (0, Vec::new());
    while offset < disk.disk().size() {
        let extent = disk.disk().extent(offset);
        let length = usize::try_from(extent.length).unwrap();
        let bytes = &expected[usize::try_from(offset).unwrap()..][..length];
        match extent.place {
            Place::Image { layer, offset } => {
                assert_eq!(bytes, &files[layer as usize][usize::try_from(offset).unwrap()..][..length]);
            }
            Place::Zero => assert!(bytes.iter().all(|byte| *byte == 0)),
            Place::Derived => panic!("nothing is made here"),
        }
        lengths.push(length / 512);
        offset += extent.length;
    }
    // The base, its child, the top, the base | the base, the top, nothing | nothing.
    assert_eq!(lengths, [1, 1, 2, 124, 1, 1, 126, 128]);
}

#[test]
fn a_parent_must_have_the_identity_that_the_child_names() {
    let top = child(3, 2, BLOCK, &[None]);
    let message = open_chain(vec![top.clone(), with_id(fixed(&[1; BLOCK]), 9)]).err().unwrap().to_string();
    assert!(message.contains("with the identity 02020202-0202-0202-0202-020202020202, was not found"));
    assert!(message.contains("beside it parent.vhd (another image, 09090909-"), "{message}");
    let message = open_chain(vec![top.clone(), vec![0; 4096]]).err().unwrap().to_string();
    assert!(message.contains("parent.vhd (no VHD or VHDX)"), "{message}");
    let message = open_chain(vec![top]).err().unwrap().to_string();
    assert!(message.contains("parent.vhd (none there); put the parent beside the image"), "{message}");
}

#[test]
fn a_damaged_parent_is_named() {
    let mut base = with_id(dynamic(BLOCK, &[Some(1)]), 1);
    base[TABLE_AT..TABLE_AT + 4].copy_from_slice(&7u32.to_be_bytes()[..]);
    base.truncate(base.len() - 512 - BLOCK / 2);
    let footer = with_id([footer(3, BLOCK as u64).as_bytes()].concat(), 1);
    base.extend(footer);
    let error = open_chain(vec![child(2, 1, BLOCK, &[None]), base]).err().unwrap();
    assert_eq!(error.to_string(), "cannot open the parent image parent.vhd");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("the VHD's block table at byte 0x600 is damaged"), "{source}");
}

#[test]
fn a_chain_that_turns_in_a_circle_or_has_no_end_is_refused() {
    let message = |chain| match open_chain(chain) {
        Err(error) => std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
            .last()
            .unwrap()
            .to_string(),
        Ok(_) => panic!("opened"),
    };
    let itself = message(vec![child(2, 2, BLOCK, &[None])]);
    assert!(itself.contains("02020202-0202-0202-0202-020202020202 is its own ancestor"), "{itself}");
    let circle = (0..5).map(|n| child(2 + n % 2, 3 - n % 2, BLOCK, &[None])).collect();
    assert!(message(circle).contains("is its own ancestor"));
    let endless = (0..=200).map(|n| child(n, n + 1, BLOCK, &[None])).collect();
    assert!(message(endless).contains("it has more than 128 images"));
}

#[test]
fn another_time_of_the_parent_is_told() {
    let mut top = child(2, 1, BLOCK, &[None]);
    edit_header(&mut top, |header| header.parent_time_stamp = 1000.into());
    let disk = open_chain(vec![top, with_id(fixed(&[1; BLOCK]), 1)]).unwrap();
    let told: Vec<_> = disk.irregularities().map(ToString::to_string).collect();
    assert_eq!(told, ["the parent parent.vhd has another time than when the child was made from it"]);
}

#[test]
fn what_a_footer_tells_of_itself_is_kept() {
    let mut image = dynamic(2 * BLOCK, &[Some(5), None]);
    let footer_at = image.len() - 512;
    let footer = Footer::mut_from_bytes(&mut image[footer_at..]).unwrap();
    footer.creator_application = *b"win ";
    footer.creator_version = 0x0006_0001.into();
    footer.time_stamp = 86_400.into();
    footer.checksum = checksum(footer.as_bytes(), 64).into();
    let disk = open_bytes(image).unwrap().unwrap();
    let layer = &disk.layers()[0];
    assert_eq!(layer.blocks, Some(crate::layer::Blocks { size: BLOCK as u64, total: 2, present: 1 }));
    assert_eq!(layer.creator.as_ref().unwrap().program, "Windows 7 or Server 2008 R2");
    // 2000-01-02.
    assert_eq!(layer.created.unwrap().unix_nanos(), 946_771_200_000_000_000);
    assert_eq!((layer.disk_size, disk.sector_size()), (2 * BLOCK as u64, Some(512)));
}

/// A small generator of numbers that is the same everywhere (splitmix64), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

#[test]
fn any_chain_reads_as_one_disk_written_over_by_the_next() {
    let mut numbers = Numbers(0x0076_6864);
    for _ in 0..200 {
        let mut size = 512 * (1 + numbers.below(300));
        let mut model = vec![0; size];
        let first = u8::try_from(1 + numbers.below(100)).unwrap();
        model.fill(first);
        let mut chain = vec![with_id(fixed(&model), 1)];
        for id in 2..2 + u8::try_from(numbers.below(4)).unwrap() {
            // Children may be of another size.
            size = 512 * (1 + numbers.below(300));
            model.resize(size, 0);
            let blocks: Vec<Option<(u8, u8)>> = (0..size.div_ceil(BLOCK))
                .map(|_| {
                    (numbers.below(3) > 0).then(|| (u8::try_from(numbers.below(256)).unwrap(), 100 + id))
                })
                .collect();
            for (number, block) in blocks.iter().enumerate() {
                for sector in
                    (0..8).filter(|sector| block.is_some_and(|(bits, _)| bits & (0x80 >> sector) != 0))
                {
                    let at = number * BLOCK + sector * 512;
                    if at < size {
                        model[at..at + 512].fill(100 + id);
                    }
                }
            }
            chain.insert(0, child(id, id - 1, size, &blocks));
        }
        let disk = open_chain(chain.clone()).unwrap();
        let disk = disk.disk();
        assert!(content(disk) == model);
        let mut offset = 0;
        while offset < disk.size() {
            let extent = disk.extent(offset);
            let length = usize::try_from(extent.length).unwrap();
            assert!(length > 0);
            let expected = &model[usize::try_from(offset).unwrap()..][..length];
            match extent.place {
                Place::Image { layer, offset } => {
                    assert_eq!(
                        &chain[layer as usize][usize::try_from(offset).unwrap()..][..length],
                        expected
                    );
                }
                Place::Zero => assert!(expected.iter().all(|byte| *byte == 0)),
                Place::Derived => panic!("nothing is made here"),
            }
            offset += extent.length;
        }
    }
}
