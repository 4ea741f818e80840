//! Indexes: B-trees, sorted by NTFS' rules, built from below.
//!
//! All entries are known and sorted, so that every block is filled to its end. What separates two neighbours goes up one level,
//! until what is left fits into the root:
//! ```text
//! root    [ ──────────────── m ──────────────── end ]
//! level 1 [ ── d ── h ── end ]   [ ── q ── u ── end ]
//! leaves  [abc][efg][ijkl]        [nop][rst][vwxyz]
//! ```

use std::ops::Range;

use super::attribute::Attribute;
use super::{ALIGNMENT, BLOCK_SIZE, narrow};
use crate::ntfs::attribute::kind;
use crate::ntfs::{Reference, fixup};

/// What an index sorts by.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// The type of the attribute that is indexed; 0 for none.
    pub(crate) kind: u32,
    /// The collation rule.
    pub(crate) rule: u32,
}

impl Order {
    /// The names of a directory.
    pub(crate) const NAMES: Self = Self { kind: kind::FILE_NAME, rule: 1 };
    /// 32-bit numbers.
    pub(crate) const NUMBER: Self = Self { kind: 0, rule: 0x10 };
    /// Security identifiers.
    pub(crate) const SID: Self = Self { kind: 0, rule: 0x11 };
    /// A hash, then an id.
    pub(crate) const SECURITY_HASH: Self = Self { kind: 0, rule: 0x12 };
    /// Sequences of 32-bit numbers.
    pub(crate) const NUMBERS: Self = Self { kind: 0, rule: 0x13 };
}

const ENTRY_HEADER_SIZE: usize = 16;
const CHILD_SIZE: usize = 8;
const NODE_HEADER_SIZE: usize = 16;
/// Type, rule, size of blocks, blocks in clusters.
const ROOT_HEADER_SIZE: usize = 16;

const HAS_CHILD: u16 = 1;
const LAST: u16 = 2;

/// Where the header of the node lies in a block, and where its entries begin: behind the fixups.
const BLOCK_NODE_AT: usize = 24;
const BLOCK_FIXUPS_AT: usize = 40;
const BLOCK_ENTRIES_AT: usize = 64;
/// What entries may take in a block.
const BLOCK_ROOM: usize = BLOCK_SIZE - BLOCK_ENTRIES_AT;

/// What the last bytes of each stride are replaced by; any number that is not 0.
const FIXUP: u16 = 1;

/// The entries of an index, in their order.
#[derive(Default)]
pub(crate) struct Entries {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Entries {
    /// Adds a name of a directory, which comes behind those that are there already.
    pub(crate) fn push_name(&mut self, file: Reference, key: &[u8]) {
        self.push(file.to_raw().to_le_bytes(), key, &[], &[]);
    }

    /// Adds an entry of another index: a key, and what is found by it.
    pub(crate) fn push_value(&mut self, key: &[u8], value: &[u8]) {
        self.push_value_and_padding(key, value, &[]);
    }

    /// The same with bytes behind the value that do not belong to it.
    pub(crate) fn push_value_and_padding(&mut self, key: &[u8], value: &[u8], padding: &[u8]) {
        let [a, b] = narrow::<u16>(ENTRY_HEADER_SIZE + key.len()).to_le_bytes();
        let [c, d] = narrow::<u16>(value.len()).to_le_bytes();
        self.push([a, b, c, d, 0, 0, 0, 0], key, value, padding);
    }

    fn push(&mut self, first: [u8; 8], key: &[u8], value: &[u8], padding: &[u8]) {
        let start = self.bytes.len();
        let length =
            (ENTRY_HEADER_SIZE + key.len() + value.len() + padding.len()).next_multiple_of(ALIGNMENT);
        self.bytes.extend(first);
        self.bytes.extend(narrow::<u16>(length).to_le_bytes());
        self.bytes.extend(narrow::<u16>(key.len()).to_le_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(key);
        self.bytes.extend(value);
        self.bytes.extend(padding);
        self.bytes.resize(start + length, 0);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    fn length(&self, index: usize) -> usize {
        self.get(index).len()
    }
}

/// The size of an entry of a directory for a name of so many UTF-16 units.
pub(crate) fn name_entry_size(units: usize) -> usize {
    (ENTRY_HEADER_SIZE + super::file_name::FILE_NAME_SIZE + units * 2).next_multiple_of(ALIGNMENT)
}

/// One node: some entries, and, above the leaves, where their children are.
#[derive(PartialEq, Eq, Debug)]
struct Node {
    /// Numbers of entries in it, without the last one, which has no key.
    entries: Vec<usize>,
    /// The first of its children in the level below; there is one more than there are entries.
    first_child: usize,
}

/// The shape of the tree: which entries lie in which node.
#[derive(Debug)]
pub(crate) struct Shape {
    /// From the leaves up. None when the root holds everything.
    levels: Vec<Vec<Node>>,
    root: Node,
}

impl Shape {
    /// Spreads entries of these lengths over nodes. The entries of the root may take `alone` bytes if it holds all of them,
    /// and `above` bytes if there are blocks below it.
    pub(crate) fn new(lengths: &[usize], alone: usize, above: usize) -> Self {
        let mut levels: Vec<Vec<Node>> = Vec::new();
        let mut entries: Vec<usize> = (0..lengths.len()).collect();
        loop {
            let (child, room) = if levels.is_empty() { (0, alone) } else { (CHILD_SIZE, above) };
            let size = |entries: &[usize]| {
                let all: usize = entries.iter().map(|entry| lengths[*entry] + child).sum();
                all + ENTRY_HEADER_SIZE + child
            };
            if size(&entries) <= room || (entries.is_empty() && child > 0) {
                return Self { levels, root: Node { entries, first_child: 0 } };
            }
            let ranges =
                pack(&entries, |entry| lengths[entry] + child, BLOCK_ROOM - ENTRY_HEADER_SIZE - child);
            let separators = ranges.iter().skip(1).map(|range| entries[range.start - 1]).collect();
            let mut first_child = 0;
            let nodes = ranges.into_iter().map(|range| {
                let node = Node { entries: entries[range].to_vec(), first_child };
                first_child += node.entries.len() + 1;
                node
            });
            levels.push(nodes.collect());
            entries = separators;
        }
    }

    /// How many blocks the index has.
    pub(crate) fn blocks(&self) -> usize {
        self.levels.iter().map(Vec::len).sum()
    }

    /// The size of the bitmap that tells which blocks are in use.
    pub(crate) fn bitmap_size(&self) -> usize {
        self.blocks().div_ceil(64) * 8
    }

    /// Whether the root is not all of it.
    pub(crate) fn is_large(&self) -> bool {
        !self.levels.is_empty()
    }
}

/// Fills nodes with as many entries as fit. Between two nodes lies one entry that separates them. No node is empty.
fn pack(entries: &[usize], size: impl Fn(usize) -> usize, room: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    let mut used = 0;
    for (place, entry) in entries.iter().enumerate() {
        if used + size(*entry) > room {
            ranges.push(start..place);
            start = place + 1;
            used = 0;
        } else {
            used += size(*entry);
        }
    }
    // The last entry of all may have become a separator, with nothing behind it: then it takes the place of the one before.
    if start == entries.len()
        && let Some(last) = ranges.last_mut().filter(|last| last.len() > 1)
    {
        last.end -= 1;
        start -= 1;
    }
    ranges.push(start..entries.len());
    ranges
}

/// An index whose bytes are made.
pub(crate) struct Index {
    /// The value of `$INDEX_ROOT`.
    pub(crate) root: Vec<u8>,
    /// The content of `$INDEX_ALLOCATION`, with fixups.
    pub(crate) blocks: Vec<u8>,
}

impl Index {
    /// Lays entries down in a shape that was made for their lengths.
    pub(crate) fn new(entries: &Entries, shape: &Shape, order: Order, cluster_size: u64) -> Self {
        let units = Units::new(cluster_size);
        let mut blocks = vec![0; shape.blocks() * BLOCK_SIZE];
        let mut all = blocks.chunks_exact_mut(BLOCK_SIZE).enumerate();
        let mut below = None;
        let mut number = 0;
        for level in &shape.levels {
            for (node, (number, block)) in level.iter().zip(&mut all) {
                let bytes =
                    node_bytes(entries, node, below, units, BLOCK_ENTRIES_AT - BLOCK_NODE_AT, BLOCK_ROOM);
                finish_block(block, &bytes, number as u64 * units.in_block);
            }
            below = Some(number);
            number += level.len();
        }
        let mut root = Vec::new();
        root.extend(order.kind.to_le_bytes());
        root.extend(order.rule.to_le_bytes());
        root.extend(narrow::<u32>(BLOCK_SIZE).to_le_bytes());
        root.extend([u8::try_from(units.in_block).unwrap_or(1), 0, 0, 0]);
        root.extend(node_bytes(entries, &shape.root, below, units, NODE_HEADER_SIZE, 0));
        debug_assert_eq!(root.len() % ALIGNMENT, ROOT_HEADER_SIZE % ALIGNMENT);
        Self { root, blocks }
    }

    /// The lengths of entries, which a [`Shape`] is made for.
    pub(crate) fn lengths(entries: &Entries) -> Vec<usize> {
        (0..entries.ends.len()).map(|index| entries.length(index)).collect()
    }

    /// `$INDEX_ROOT`.
    pub(crate) fn root_attribute(&self, name: &str) -> Attribute {
        Attribute::resident(kind::INDEX_ROOT, name, &self.root)
    }
}

/// `$BITMAP` of an index, all of whose blocks are in use.
pub(crate) fn bitmap(shape: &Shape) -> Vec<u8> {
    let mut bitmap = vec![0; shape.bitmap_size()];
    for block in 0..shape.blocks() {
        bitmap[block / 8] |= 1 << (block % 8);
    }
    bitmap
}

/// What the numbers of blocks count: clusters, or 512 bytes where a block is smaller than a cluster.
#[derive(Clone, Copy)]
struct Units {
    in_block: u64,
}

impl Units {
    fn new(cluster_size: u64) -> Self {
        let block = BLOCK_SIZE as u64;
        Self { in_block: if cluster_size <= block { block / cluster_size } else { block / 512 } }
    }
}

/// The header of a node and its entries. `below` is the number of the first block of the level below; `room` what the node could
/// hold, where that is more than it does.
fn node_bytes(
    entries: &Entries,
    node: &Node,
    below: Option<usize>,
    units: Units,
    entries_at: usize,
    room: usize,
) -> Vec<u8> {
    let mut bytes = vec![0; entries_at];
    let child = |place: usize| below.map(|first| (first + node.first_child + place) as u64 * units.in_block);
    for (place, entry) in node.entries.iter().enumerate() {
        let start = bytes.len();
        bytes.extend(entries.get(*entry));
        if let Some(vcn) = child(place) {
            add_child(&mut bytes, start, vcn);
        }
    }
    let start = bytes.len();
    bytes.resize(start + ENTRY_HEADER_SIZE, 0);
    bytes[start + 8..start + 10].copy_from_slice(&narrow::<u16>(ENTRY_HEADER_SIZE).to_le_bytes());
    bytes[start + 12..start + 14].copy_from_slice(&LAST.to_le_bytes());
    if let Some(vcn) = child(node.entries.len()) {
        add_child(&mut bytes, start, vcn);
    }
    let allocated = bytes.len().max(entries_at + room);
    for (at, length) in [(0, entries_at), (4, bytes.len()), (8, allocated)] {
        bytes[at..at + 4].copy_from_slice(&narrow::<u32>(length).to_le_bytes());
    }
    bytes[12] = u8::from(below.is_some());
    bytes
}

fn add_child(bytes: &mut Vec<u8>, entry: usize, vcn: u64) {
    bytes.extend(vcn.to_le_bytes());
    let length = narrow::<u16>(bytes.len() - entry);
    bytes[entry + 8..entry + 10].copy_from_slice(&length.to_le_bytes());
    bytes[entry + 12] |= narrow::<u8>(usize::from(HAS_CHILD));
}

fn finish_block(block: &mut [u8], node: &[u8], vcn: u64) {
    block[..4].copy_from_slice(b"INDX");
    block[4..6].copy_from_slice(&narrow::<u16>(BLOCK_FIXUPS_AT).to_le_bytes());
    block[6..8].copy_from_slice(&narrow::<u16>(BLOCK_SIZE / 512 + 1).to_le_bytes());
    block[16..24].copy_from_slice(&vcn.to_le_bytes());
    block[BLOCK_NODE_AT..BLOCK_NODE_AT + node.len()].copy_from_slice(node);
    fixup::apply(block, FIXUP);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The entries in the order in which they are found from the root on.
    fn in_order(shape: &Shape) -> Vec<usize> {
        fn visit(shape: &Shape, level: usize, node: &Node, found: &mut Vec<usize>) {
            for place in 0..=node.entries.len() {
                if level > 0 {
                    visit(shape, level - 1, &shape.levels[level - 1][node.first_child + place], found);
                }
                found.extend(node.entries.get(place));
            }
        }
        let mut found = Vec::new();
        visit(shape, shape.levels.len(), &shape.root, &mut found);
        found
    }

    proptest! {
        #[test]
        fn every_entry_is_found_once_and_in_its_place(
            lengths in prop::collection::vec((10usize..80).prop_map(|length| length * 8), 0..3000),
            alone in 16usize..600,
            above in 0usize..400,
        ) {
            let shape = Shape::new(&lengths, alone, above);
            prop_assert_eq!(in_order(&shape), (0..lengths.len()).collect::<Vec<_>>());
            for (number, level) in shape.levels.iter().enumerate() {
                let child = if number > 0 { CHILD_SIZE } else { 0 };
                for node in level {
                    let size: usize = node.entries.iter().map(|entry| lengths[*entry] + child).sum();
                    prop_assert!(!node.entries.is_empty());
                    prop_assert!(size + ENTRY_HEADER_SIZE + child <= BLOCK_ROOM);
                }
            }
        }
    }

    #[test]
    fn blocks_are_full_and_the_root_holds_what_it_can() {
        let shape = |count: usize, room| {
            let shape = Shape::new(&vec![112; count], room, room);
            (shape.levels.iter().map(Vec::len).collect::<Vec<_>>(), shape.root.entries.len())
        };
        assert_eq!(shape(0, 100), (vec![], 0));
        assert_eq!(shape(3, 400), (vec![], 3));
        assert_eq!(shape(4, 400), (vec![1], 0));
        assert_eq!(shape(35, 400), (vec![1], 0));
        assert_eq!(shape(36, 400), (vec![2], 1), "34, one between them, and one");
        assert_eq!(shape(37, 100), (vec![2, 1], 0), "35, one between them in a block of its own, and one");
        assert_eq!(shape(100_000, 100), (vec![2778, 82, 3, 1], 0));
    }
}
