//! Indexes that are built byte by byte.

use super::super::runs::Assembly;
use super::super::stream::Mapped;
use super::super::{Vcn, attribute::Sizes};
use super::*;
use crate::source::{Extent, Place};

const LAST: u16 = 2;

const DIRECTORY: u64 = 40;
const BLOCK: usize = 1024;

fn entry(name: &str, record: u64, namespace: u8, child: Option<u64>) -> Vec<u8> {
    let utf16: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut key = vec![0; 66];
    key[..8].copy_from_slice(&(DIRECTORY | 1 << 48).to_le_bytes());
    key[64] = u8::try_from(utf16.len() / 2).unwrap();
    key[65] = namespace;
    key.extend(utf16);
    raw_entry(record | 3 << 48, &key, 0, child)
}

fn last(child: Option<u64>) -> Vec<u8> {
    raw_entry(0, &[], LAST, child)
}

fn raw_entry(reference: u64, key: &[u8], flags: u16, child: Option<u64>) -> Vec<u8> {
    let mut entry = vec![0; 16];
    entry[..8].copy_from_slice(&reference.to_le_bytes());
    entry[10..12].copy_from_slice(&u16::try_from(key.len()).unwrap().to_le_bytes());
    entry[12..14].copy_from_slice(&(flags | u16::from(child.is_some())).to_le_bytes());
    entry.extend(key);
    entry.resize(entry.len().next_multiple_of(8), 0);
    entry.extend(child.map(u64::to_le_bytes).into_iter().flatten());
    let length = u16::try_from(entry.len()).unwrap();
    entry[8..10].copy_from_slice(&length.to_le_bytes());
    entry
}

fn node(entries: &[Vec<u8>]) -> Vec<u8> {
    let entries = entries.concat();
    let end = u32::try_from(16 + entries.len()).unwrap();
    [&16u32.to_le_bytes()[..], &end.to_le_bytes(), &end.to_le_bytes(), &[0; 4], &entries].concat()
}

fn root(entries: &[Vec<u8>]) -> Box<[u8]> {
    let block = u32::try_from(BLOCK).unwrap().to_le_bytes();
    [&FILE_NAME.to_le_bytes()[..], &1u32.to_le_bytes(), &block, &[1, 0, 0, 0], &node(entries)].concat().into()
}

/// Entries count from the node header; 64 bytes of it are left for the fixups here.
fn block(number: u64, entries: &[Vec<u8>]) -> Vec<u8> {
    let entries = entries.concat();
    let mut block = vec![0; BLOCK];
    block[..8].copy_from_slice(b"INDX\x28\0\x03\0");
    block[16..24].copy_from_slice(&(number * 2).to_le_bytes());
    block[24..28].copy_from_slice(&64u32.to_le_bytes());
    block[28..32].copy_from_slice(&u32::try_from(64 + entries.len()).unwrap().to_le_bytes());
    block[88..88 + entries.len()].copy_from_slice(&entries);
    for end in [510, 1022] {
        let kept = 0x2a + (end - 510) / 256;
        block.copy_within(end..end + 2, kept);
        block[end..end + 2].fill(0);
    }
    block
}

fn list(root: Box<[u8]>, blocks: &[Vec<u8>]) -> Result<Vec<(String, u64)>, String> {
    let volume = blocks.concat();
    let geometry = Geometry::of_clusters(512, 100);
    let mut assembly = Assembly::default();
    let clusters = u8::try_from(volume.len() / 512).unwrap();
    let pairs = if clusters == 0 { vec![] } else { vec![0x11, clusters, 0] };
    let pairs = if clusters == 0 { pairs } else { [pairs, vec![0]].concat() };
    assembly.add(&pairs, Vcn(0), Some(Vcn(clusters.into())), 100).unwrap();
    let sizes = Sizes { data: volume.len() as u64, valid: volume.len() as u64 };
    let allocation = Mapped { runs: assembly.finish().unwrap(), sizes };
    let parts = IndexParts { root, allocation: Some(allocation), bitmap: Ok(None) };
    let listing = Listing::read(&volume, &geometry, DIRECTORY, &parts);
    if let Some(damage) = listing.damage {
        return Err(damage.to_string());
    }
    let name = |listed: &Listed| String::from_utf8(listing.names[listed.name_range()].to_vec()).unwrap();
    Ok(listing.entries.iter().map(|listed| (name(listed), listed.reference().record)).collect())
}

fn names(root: Box<[u8]>, blocks: &[Vec<u8>]) -> Vec<String> {
    list(root, blocks).unwrap().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn names_are_sorted_by_their_bytes_and_dos_names_left_out() {
    let entries =
        [entry("a", 30, 1, None), entry("B", 31, 3, None), entry("PROGRA~1", 32, 2, None), last(None)];
    assert_eq!(list(root(&entries), &[]).unwrap(), [("B".into(), 31), ("a".into(), 30)]);
}

#[test]
fn the_tree_is_followed_and_other_blocks_stay_out() {
    let root = root(&[entry("m", 30, 1, Some(0)), last(Some(4))]);
    let blocks = [
        block(0, &[entry("c", 31, 1, None), last(None)]),
        block(1, &[entry("stale", 32, 1, None), last(None)]),
        block(2, &[entry("x", 33, 1, None), last(None)]),
    ];
    assert_eq!(names(root.clone(), &blocks), ["c", "m", "x"]);
    let refused = list(root, &blocks[..2]).unwrap_err();
    assert!(refused.contains("a block of its own at VCN 4, found no block there"), "{refused}");
}

#[test]
fn a_tree_that_bites_its_tail_is_refused() {
    let refused = list(root(&[last(Some(0))]), &[block(0, &[last(Some(0))])]).unwrap_err();
    assert!(refused.contains("another node leads to"), "{refused}");
}

#[test]
fn blocks_that_lie_are_refused() {
    let sound = block(0, &[entry("c", 31, 1, None), last(None)]);
    let refused = |edit: fn(&mut Vec<u8>)| {
        let mut block = sound.clone();
        edit(&mut block);
        list(root(&[last(Some(0))]), &[block]).unwrap_err()
    };
    assert!(refused(|b| b[0] = 0).contains("INDX"));
    assert!(refused(|b| b[510] = 1).contains("torn"));
    assert!(refused(|b| b[16] = 2).contains("its own VCN 0, found 2"));
    assert!(refused(|b| b[29] = 0xff).contains("entries between 16 and 1000"));
    assert!(refused(|b| b[88 + 8] = 0).contains("an entry of 16 to"));
    assert!(refused(|b| b[88 + 10] = 0xff).contains("a key of at most"));
    assert!(refused(|b| b[88 + 16] = 41).contains("a name that lies in record 40"));
    assert!(refused(|b| b[88 + 16 + 64] = 9).contains("a name inside its key"));
    assert!(refused(|b| b[88 + 16 + 64] = 0).contains("a name inside its key"));
}

#[test]
fn roots_that_lie_are_refused() {
    let refused = |edit: fn(&mut Box<[u8]>)| {
        let mut root = root(&[last(Some(0))]);
        edit(&mut root);
        list(root, &[block(0, &[last(None)])]).unwrap_err()
    };
    assert!(refused(|r| r[0] = 0x80).contains("an index of file names"));
    assert!(refused(|r| r[9] = 3).contains("power of two"));
    assert!(refused(|r| *r = [].into()).contains("an index of file names"));
    assert!(refused(|r| *r = r[..20].into()).contains("entries between"));
    let twice = root(&[entry("a", 30, 1, None), entry("a", 31, 1, None), last(None)]);
    assert!(list(twice, &[]).unwrap_err().contains("\"a\" twice"));
}

/// A disk without a byte, of any size.
struct Hollow(u64);

impl ReadAt for Hollow {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        panic!("{} bytes at {offset} are known to be zero", buf.len())
    }

    fn size(&self) -> u64 {
        self.0
    }

    fn extent(&self, offset: u64) -> Extent {
        Extent { length: self.0 - offset, place: Place::Zero }
    }
}

#[test]
fn blocks_that_are_known_to_be_zero_are_not_read() {
    let clusters = 1 << 20;
    let mut assembly = Assembly::default();
    assembly.add(&[0x13, 0, 0, 0x10, 0, 0], Vcn(0), Some(Vcn(clusters)), clusters).unwrap();
    let sizes = Sizes { data: clusters * 512, valid: clusters * 512 };
    let allocation = Some(Mapped { runs: assembly.finish().unwrap(), sizes });
    let parts = IndexParts { root: root(&[last(Some(0))]), allocation, bitmap: Ok(None) };
    let geometry = Geometry::of_clusters(512, clusters);
    let listing = Listing::read(&Hollow(clusters * 512), &geometry, DIRECTORY, &parts);
    let damage = listing.damage.unwrap().to_string();
    assert!(damage.contains("expected a block of its own at VCN 0, found no block there"), "{damage}");
}
