//! The index of a directory: a B-tree of names, its root in the record, its other nodes in blocks.
//!
//! Blocks are read in the order of the disk, not of the tree; the tree is followed afterwards in memory. So a cold disk is
//! read forwards, and blocks that no node leads to stay out, as they do on Windows.

use super::attribute::kind::FILE_NAME;
use super::boot::Geometry;
use super::inode::IndexParts;
use super::{Reference, field, name};
use crate::error::{Error, Mismatch};
use crate::source::ReadAt;

pub(crate) mod entry;
pub(crate) mod layout;

use entry::{ENTRY_HEADER_SIZE, Entry, FileName, each_entry};
use layout::{Layout, Unread};

/// Where in `$INDEX_ROOT` and in a block the header of the node lies; entries count from there.
pub(crate) const ROOT_NODE_AT: usize = 16;
pub(crate) const BLOCK_NODE_AT: usize = 24;

/// The names of one directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// All names, one behind the other.
    pub(crate) names: Vec<u8>,
    /// Sorted by the bytes of their names.
    pub(crate) entries: Vec<Listed>,
    /// The first thing that was wrong, if any: then names may be missing.
    pub(crate) damage: Option<Box<Error>>,
}

/// One name of a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    /// Where its name lies in [`Listing::names`].
    pub(crate) start: u32,
    /// Of the name, in bytes.
    pub(crate) length: u16,
    sequence: u16,
    record: u64,
}

impl Listed {
    pub(crate) fn reference(&self) -> Reference {
        Reference { record: self.record, sequence: self.sequence }
    }

    pub(crate) fn name_range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + usize::from(self.length)
    }
}

impl Listing {
    /// Reads the index of the directory `record`: as many names as can be read.
    ///
    /// `$BITMAP` is not asked which blocks are in use. Windows follows the tree, whatever the bitmap says, and a block that
    /// no node leads to changes nothing.
    pub(crate) fn read(volume: &dyn ReadAt, geometry: &Geometry, record: u64, parts: &IndexParts) -> Self {
        let mut nodes = Nodes::new(record);
        let root = nodes.add_root(&parts.root);
        if root.children.is_empty() {
            return nodes.into_listing(vec![root]);
        }
        let Some(allocation) = &parts.allocation else {
            let expected = "$INDEX_ALLOCATION for the children of the root";
            nodes
                .wrong(Mismatch::new(ROOT_NODE_AT, expected, "a directory without it").in_index_root(record));
            return nodes.into_listing(vec![root]);
        };
        match Layout::new(geometry, &parts.root, allocation) {
            Ok(layout) => {
                let blocks = nodes.add_blocks(volume, geometry, &layout);
                let reached = nodes.follow(root, blocks, &layout);
                nodes.into_listing(reached)
            }
            Err(mismatch) => {
                nodes.wrong(mismatch.in_index_root(record));
                nodes.into_listing(vec![root])
            }
        }
    }

    /// A directory of which nothing could be read.
    pub(crate) fn unread(why: Error) -> Self {
        Self { damage: Some(Box::new(why)), ..Self::default() }
    }
}

/// What was found in one node of the tree.
struct Node {
    entries: Span,
    children: Span,
    /// What kept the rest of it from being read.
    damage: Option<Box<Error>>,
}

/// A part of the tables in [`Nodes`].
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// All nodes of one index, taken apart.
struct Nodes {
    record: u64,
    names: Vec<u8>,
    entries: Vec<Listed>,
    children: Vec<u64>,
    damage: Option<Box<Error>>,
}

impl Nodes {
    fn new(record: u64) -> Self {
        Self { record, names: Vec::new(), entries: Vec::new(), children: Vec::new(), damage: None }
    }

    fn add_root(&mut self, root: &[u8]) -> Node {
        let record = self.record;
        let result = match field::u32(root, 0) {
            Some(FILE_NAME) => Ok(root),
            other => Err(Mismatch::new(0, "an index of file names (0x30)", format!("{other:x?}"))),
        };
        self.add_node(result, ROOT_NODE_AT, |mismatch| mismatch.in_index_root(record))
    }

    /// Adds all blocks; what comes back is sorted by their number.
    fn add_blocks(
        &mut self,
        volume: &dyn ReadAt,
        geometry: &Geometry,
        layout: &Layout<'_>,
    ) -> Vec<(u64, Node)> {
        let record = self.record;
        let mut nodes = Vec::new();
        layout.each_block(volume, geometry, |number, block| {
            let place = |mismatch: Mismatch| mismatch.in_index_block(record, layout.offset(number));
            let node = match block {
                Ok(block) => self.add_node(Ok(block), BLOCK_NODE_AT, place),
                Err(Unread::Lies(mismatch)) => self.add_node(Err(mismatch), BLOCK_NODE_AT, place),
                Err(Unread::Below(error)) => Node {
                    entries: self.no_entries(),
                    children: self.no_children(),
                    damage: Some(Box::new(error)),
                },
            };
            nodes.push((number, node));
        });
        nodes
    }

    /// Takes the entries of a node, up to the first that cannot be told from its neighbours.
    fn add_node(
        &mut self,
        bytes: Result<&[u8], Mismatch>,
        header_at: usize,
        place: impl Fn(Mismatch) -> Error,
    ) -> Node {
        let (entries, children) = (self.no_entries(), self.no_children());
        let result = bytes.and_then(|bytes| self.add_entries(bytes, header_at));
        Node {
            entries: Span { end: self.entries.len(), ..entries },
            children: Span { end: self.children.len(), ..children },
            damage: result.err().map(|mismatch| Box::new(place(mismatch))),
        }
    }

    fn no_entries(&self) -> Span {
        Span { start: self.entries.len(), end: self.entries.len() }
    }

    fn no_children(&self) -> Span {
        Span { start: self.children.len(), end: self.children.len() }
    }

    fn add_entries(&mut self, bytes: &[u8], header_at: usize) -> Result<(), Mismatch> {
        let mut first_wrong = None;
        let all = each_entry(bytes, header_at, |at, entry| {
            self.children.extend(entry.child);
            if entry.last {
                return;
            }
            // What lies in one entry does not keep those behind it from being read.
            if let Err(mismatch) = self.add_entry(entry) {
                first_wrong.get_or_insert(mismatch.shifted(at));
            }
        });
        first_wrong.map_or(all, Err)
    }

    fn add_entry(&mut self, entry: &Entry<'_>) -> Result<(), Mismatch> {
        let key = FileName::parse(entry.key).map_err(|mismatch| mismatch.shifted(ENTRY_HEADER_SIZE))?;
        if key.parent.record != self.record {
            let expected = format!("a name that lies in record {}", self.record);
            return Err(Mismatch::new(ENTRY_HEADER_SIZE, expected, key.parent));
        }
        if key.is_dos_only() {
            return Ok(());
        }
        let start = self.names.len();
        name::append_wtf8(key.utf16, &mut self.names);
        let (Ok(start), Ok(length)) = (u32::try_from(start), u16::try_from(self.names.len() - start)) else {
            return Err(Mismatch::new(0, "names of less than 4 GiB in a directory", "more"));
        };
        let Reference { record, sequence } = entry.reference;
        self.entries.push(Listed { start, length, sequence, record });
        Ok(())
    }

    /// Follows the tree from its root on, as far as it leads. Every node is reached once, so that it ends.
    fn follow(&mut self, root: Node, blocks: Vec<(u64, Node)>, layout: &Layout<'_>) -> Vec<Node> {
        let (numbers, mut blocks): (Vec<u64>, Vec<Option<Node>>) =
            blocks.into_iter().map(|(number, node)| (number, Some(node))).unzip();
        let mut reached = vec![root];
        let mut next = 0;
        while let Some(children) = reached.get(next).map(|node| node.children) {
            next += 1;
            for position in children.start..children.end {
                let vcn = self.children[position];
                let found = layout.block(vcn).and_then(|block| numbers.binary_search(&block).ok());
                match found.map(|index| blocks[index].take()) {
                    Some(Some(node)) => reached.push(node),
                    Some(None) => self.wrong_child(vcn, "a block that another node leads to as well"),
                    None => self.wrong_child(vcn, "no block there"),
                }
            }
        }
        reached
    }

    fn wrong_child(&mut self, vcn: u64, found: &str) {
        let expected = format!("a block of its own at VCN {vcn}");
        self.wrong(Mismatch::new(0, expected, found).in_index_block(self.record, 0));
    }

    /// Keeps the first thing that is wrong.
    fn wrong(&mut self, error: Error) {
        self.damage.get_or_insert_with(|| Box::new(error));
    }

    fn into_listing(mut self, reached: Vec<Node>) -> Listing {
        let mut listing = Vec::new();
        for node in reached {
            listing.extend_from_slice(&self.entries[node.entries.start..node.entries.end]);
            self.damage = self.damage.or(node.damage);
        }
        let name = |listed: &Listed| &self.names[listed.name_range()];
        listing.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        let mut twice = None;
        listing.dedup_by(|later, first| {
            let same = name(later) == name(first);
            if same && twice.is_none() {
                twice = Some(format!("{:?} twice", String::from_utf8_lossy(name(first))));
            }
            same
        });
        if let Some(found) = twice {
            self.wrong(Mismatch::new(0, "each name once", found).in_index_root(self.record));
        }
        Listing { names: self.names, entries: listing, damage: self.damage }
    }
}

#[cfg(test)]
mod tests;
