//! What stands in a child, read by nothing but this, and held against what Windows writes.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gonto_image::{NewChild, NewContainer, ParentPath, ParentPaths};

use crate::family::{ABSOLUTE, Image, RELATIVE, created, fixed_vhd, put_mbr_entry, wanted};
use crate::support::corpus::{corpus, load};
use crate::support::volume;

fn be(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn le(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn at(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect::<Vec<_>>();
    String::from_utf16(&units).unwrap()
}

/// The one's complement of the sum of all other bytes.
fn is_sealed(bytes: &[u8], checksum: usize) -> bool {
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = bytes[checksum..checksum + 4].iter().map(|byte| u32::from(*byte)).sum();
    u64::from(!(sum - own)) == be(bytes, checksum, 4)
}

/// The parent of these tests: an MBR, and a geometry that no rule would give the disk.
fn parent_vhd() -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk.extend(volume());
    put_mbr_entry(&mut disk, 0, 7, 1 << 20, volume().len() as u64);
    fixed_vhd(disk)
}

fn vhd_with(wanted: &NewChild<'_>) -> Vec<u8> {
    fs::read(Image::new(Arc::new(parent_vhd())).try_child(wanted).unwrap().path).unwrap()
}

#[test]
fn a_vhd_is_what_the_specification_says() {
    let (parent, child) = (parent_vhd(), vhd_with(&wanted(1)));
    let old = &parent[parent.len() - 512..];
    let footer = &child[child.len() - 512..];
    assert_eq!(&child[..512], footer, "the copy");
    assert!(is_sealed(footer, 64));
    assert_eq!(&footer[..16], b"conectix\0\0\0\x02\0\x01\0\0");
    // Data offset, size and geometry of the parent, type, no saved state.
    assert_eq!((be(footer, 16, 8), be(footer, 60, 4), footer[84]), (512, 4, 0));
    assert_eq!(&footer[48..60], &old[48..60]);
    assert_ne!(&footer[68..84], &old[68..84]);

    let header = &child[512..1536];
    assert!(is_sealed(header, 36));
    assert_eq!(&header[..16], b"cxsparse\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!((be(header, 24, 4), be(header, 32, 4)), (0x0001_0000, 2 << 20));
    let size = be(footer, 48, 8);
    assert_eq!(be(header, 28, 4), size.div_ceil(2 << 20));
    assert_eq!(&header[40..56], &old[68..84]);
    assert_eq!(be(header, 56, 4), 0, "no time was given");
    assert_eq!(utf16(&header[64..576], u16::from_be_bytes).trim_end_matches('\0'), ABSOLUTE);
    let mut places = Vec::new();
    for (locator, (code, path)) in [(b"W2ku", ABSOLUTE), (b"W2ru", RELATIVE)].into_iter().enumerate() {
        let locator = &header[576 + locator * 24..][..24];
        assert_eq!(&locator[..4], code);
        let (space, length, offset) = (at(be(locator, 4, 4)), at(be(locator, 8, 4)), at(be(locator, 16, 8)));
        assert_eq!(utf16(&child[offset..offset + length], u16::from_le_bytes), path);
        assert!(space >= length && space.is_multiple_of(512) && offset.is_multiple_of(512));
        places.push(offset..offset + space);
    }
    assert_eq!(header[576 + 48..576 + 192], [0; 144], "unused locators");

    let table = at(be(header, 16, 8));
    places.push(table..table + 512);
    let block = at(be(&child, table, 4)) * 512;
    assert_eq!(child[table + 4..table + 512], [0xff; 508], "one block");
    places.push(block..block + 512 + (2 << 20));
    places.push(child.len() - 512..child.len());
    assert!(places[0].start >= 1536);
    assert!(places.windows(2).all(|pair| pair[0].end <= pair[1].start), "{places:?}");
    // Of that block one sector, the MBR, with another signature.
    assert_eq!(child[block], 0x80);
    assert_eq!(child[block + 1..block + 512], [0; 511]);
    let mut mbr = parent[..512].to_vec();
    mbr[440..444].copy_from_slice(&child[block + 512 + 440..block + 512 + 444]);
    assert_eq!(child[block + 512..block + 1024], mbr);
}

#[test]
fn a_vhd_keeps_the_time_of_its_parent() {
    let since_2000 = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800 + seconds);
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    for (time, expected) in [
        (since_2000(0x2715_ab13) + Duration::from_millis(900), 0x2715_ab13),
        (since_2000(u64::from(u32::MAX) + 1), 0),
        (before, 0),
    ] {
        let child = vhd_with(&NewChild { parent_modified: Some(time), ..wanted(1) });
        assert_eq!(be(&child, 512 + 56, 4), expected, "{time:?}");
    }
}

/// The name in the header has room for 256 units; the locators have room for all.
#[test]
fn long_paths_stay_whole_in_the_locators() {
    for (length, is_whole) in [(255, true), (256, false), (32_766, false)] {
        let folder = "ä".repeat(length - r"\\?\C:\\parent".len());
        let path = format!(r"\\?\C:\{folder}\parent");
        let absolute = ParentPath::absolute(&path).unwrap();
        let wanted = NewChild { paths: ParentPaths { absolute, relative: None }, ..wanted(1) };
        let child = vhd_with(&wanted);
        let name = utf16(&child[512 + 64..512 + 576], u16::from_be_bytes);
        assert_eq!(name.trim_end_matches('\0'), if is_whole { path.as_str() } else { "parent" });
        let (bytes, offset) = (at(be(&child, 512 + 584, 4)), at(be(&child, 512 + 592, 8)));
        assert_eq!(utf16(&child[offset..offset + bytes], u16::from_le_bytes), path);
        assert_eq!(child[512 + 600..512 + 604], [0; 4], "there is no relative path");
        // A VHDX has no other place for it.
        let (_scratch, parent) = created(NewContainer::Vhdx, 0);
        let born = Image::at(&parent).try_child(&wanted).unwrap();
        let locator = Vhdx::new(fs::read(born.path).unwrap()).locator();
        assert_eq!(locator[1], ("absolute_win32_path".to_owned(), path));
    }
}

/// A VHDX, by the places of [MS-VHDX].
struct Vhdx {
    bytes: Vec<u8>,
    table: usize,
    /// GUID, flags and bytes of each item.
    items: Vec<(u64, u64, Vec<u8>)>,
}

const PARENT_LOCATOR: u64 = 0xa8d3_5f2d;

impl Vhdx {
    fn new(bytes: Vec<u8>) -> Self {
        assert_eq!(&bytes[..8], b"vhdxfile");
        let regions = 192 << 10;
        assert_eq!((&bytes[regions..regions + 4], le(&bytes, regions + 8, 4)), (&b"regi"[..], 2));
        assert_eq!(bytes[regions..regions + (64 << 10)], bytes[256 << 10..320 << 10]);
        let place = |guid: u64| {
            let entries = [16, 48].map(|entry| regions + entry);
            let entry = entries.into_iter().find(|entry| le(&bytes, *entry, 4) == guid).unwrap();
            at(le(&bytes, entry + 16, 8))
        };
        let (table, metadata) = (place(0x2dc2_7766), place(0x8b7c_a206));
        let count = at(le(&bytes, metadata + 10, 2));
        let item = |number: usize| {
            let entry = metadata + 32 + number * 32;
            let start = metadata + at(le(&bytes, entry + 16, 4));
            let item = &bytes[start..start + at(le(&bytes, entry + 20, 4))];
            (le(&bytes, entry, 4), le(&bytes, entry + 24, 4), item.to_vec())
        };
        let mut items: Vec<_> = (0..count).map(item).collect();
        items.sort();
        Self { table, items, bytes }
    }

    fn item(&self, guid: u64) -> &[u8] {
        &self.items.iter().find(|(found, ..)| *found == guid).unwrap().2
    }

    /// Keys and values.
    fn locator(&self) -> Vec<(String, String)> {
        let item = self.item(PARENT_LOCATOR);
        let pair = |number: usize| {
            let entry = 20 + number * 12;
            let text = |offset: usize, length: usize| {
                let start = at(le(item, entry + offset, 4));
                utf16(&item[start..start + at(le(item, entry + length, 2))], u16::from_le_bytes)
            };
            (text(0, 8), text(4, 10))
        };
        (0..at(le(item, 18, 2))).map(pair).collect()
    }

    /// Index, state and place of the entries of the block table that are in use, as far as it may be here.
    fn entries(&self) -> Vec<(usize, u64, usize)> {
        let entries = self.bytes[self.table..self.table + (1 << 20)].chunks_exact(8).enumerate();
        let entry =
            |(index, entry): (usize, &[u8])| (index, le(entry, 0, 1), at(le(entry, 0, 8) & !0xf_ffff));
        entries.map(entry).filter(|(_, state, _)| *state != 0).collect()
    }
}

#[test]
fn a_vhdx_is_what_the_specification_says() {
    let (_scratch, path) = created(NewContainer::Vhdx, 0);
    let parent = Image::at(&path);
    let child = Vhdx::new(fs::read(parent.child(1).path).unwrap());
    let id = parent.disk().layers()[0].id.unwrap();
    let expected = [
        ("parent_linkage", format!("{{{id}}}")),
        ("relative_path", RELATIVE.to_owned()),
        ("absolute_win32_path", ABSOLUTE.to_owned()),
    ];
    assert_eq!(child.locator(), expected.map(|(key, value)| (key.to_owned(), value)));
    // Blocks of 2 MiB; the disk is small enough for one chunk of 2048 blocks, whose bitmap comes last.
    let last = at(parent.disk().disk().size().div_ceil(2 << 20)) - 1;
    let found: Vec<_> = child.entries();
    let [(first, 7, first_at), (second, 7, second_at), (2048, 6, bitmap)] = found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((first, second), (0, last));
    let mut places =
        [bitmap..bitmap + (1 << 20), first_at..first_at + (2 << 20), second_at..second_at + (2 << 20)];
    places.sort_by_key(|place| place.start);
    assert!(places.windows(2).all(|pair| pair[0].end <= pair[1].start), "{places:?}");
    assert_eq!(places[2].end, child.bytes.len());
    // Of the first block the header and the first entries, the lowest bit being the first sector.
    let mut bits = vec![0; 1 << 20];
    bits[0] = 0b110;
    let sectors = parent.disk().disk().size() / 512;
    for sector in [sectors - 33, sectors - 1] {
        bits[at(sector / 8)] |= 1 << (sector % 8);
    }
    assert!(child.bytes[bitmap..bitmap + (1 << 20)] == bits[..]);
}

/// A path by the GUID of the volume has a key of its own, and must not stand under another one.
#[test]
fn a_path_of_a_volume_is_told_as_one() {
    let (_scratch, path) = created(NewContainer::Vhdx, 0);
    let of_volume = r"\\?\Volume{9cdf8dfa-0000-0000-0000-501f00000000}\größe\parent.vhdx";
    let paths = ParentPaths { absolute: ParentPath::absolute(of_volume).unwrap(), relative: None };
    let born = Image::at(&path).try_child(&NewChild { paths, ..wanted(1) }).unwrap();
    let locator = Vhdx::new(fs::read(born.path).unwrap()).locator();
    assert_eq!(locator[1], ("volume_path".to_owned(), of_volume.to_owned()));
    assert_eq!(locator.len(), 2);
}

/// Windows made these children of the same parents.
#[test]
fn windows_writes_the_same_fields() {
    let Some((folder, images)) = corpus() else { return };
    let image = |name: &str| {
        let image = load(&folder, images.iter().find(|image| image.name == name).unwrap());
        let mut bytes = vec![0; at(image.size())];
        image.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let ours = |name: &str| {
        let parent = Image::new(Arc::new(image(name)));
        fs::read(parent.child(1).path).unwrap()
    };
    let (our, their) = (ours("dfvfs/ntfs-parent.vhd"), image("dfvfs/ntfs-differential.vhd"));
    for range in [
        // Footer: cookie to data offset, host; original and current size, geometry, type.
        0..24,
        36..64,
        // Header: cookie, data offset; version, entries, block size; parent's id and time, code of the first locator.
        512..528,
        536..548,
        552..576,
        1088..1092,
    ] {
        assert_eq!(our[range.clone()], their[range.clone()], "{range:?}");
    }
    let (our, their) =
        (Vhdx::new(ours("dfvfs/ntfs-parent.vhdx")), Vhdx::new(image("dfvfs/ntfs-differential.vhdx")));
    // The id of the disk is another one, so that two children can be told apart.
    const DISK_ID: u64 = 0xbeca_12ab;
    for (our, their) in our.items.iter().zip(&their.items) {
        assert_eq!((our.0, our.1), (their.0, their.1));
        assert_eq!(our.2 == their.2, ![PARENT_LOCATOR, DISK_ID].contains(&our.0), "{:x}", our.0);
    }
    assert_eq!(our.items.len(), their.items.len());
    let (ours, theirs) = (our.locator(), their.locator());
    assert_eq!(ours[0], theirs[0], "parent_linkage");
    let keys = |pairs: &[(String, String)]| pairs.iter().map(|pair| pair.0.clone()).collect::<Vec<_>>();
    assert!(keys(&ours).iter().all(|key| keys(&theirs).contains(key)));
    // Headers: version of the log, version, length and place of the log.
    assert_eq!(our.bytes[(64 << 10) + 64..(64 << 10) + 80], their.bytes[(64 << 10) + 64..(64 << 10) + 80]);
    // The bitmap has its entry where Windows has it.
    assert_eq!(our.entries().last().unwrap().0, their.entries().last().unwrap().0);
}
