//! The index of a directory: a B-tree of names, its root in the record, its other nodes in blocks.
//!
//! Blocks are read in the order of the disk, not of the tree; the tree is followed afterwards in memory. So a cold disk is
//! read forwards, and blocks that no node leads to stay out, as they do on Windows.

use super::boot::Geometry;
use super::inode::IndexParts;
use super::stream::{Mapped, Stream, read_runs};
use super::{Reference, field, fixup, name};
use crate::error::{Error, Mismatch};
use crate::source::ReadAt;

const SIGNATURE: [u8; 4] = *b"INDX";

/// The type of attribute that `$I30` sorts.
const FILE_NAME: u32 = 0x30;

/// Where in `$INDEX_ROOT` and in a block the header of the node lies; entries count from there.
const ROOT_NODE_AT: usize = 16;
const BLOCK_NODE_AT: usize = 24;
const NODE_HEADER_SIZE: usize = 16;
const ENTRY_HEADER_SIZE: usize = 16;

const HAS_CHILD: u16 = 1;
const LAST: u16 = 2;

/// Names for MS-DOS only, such as `PROGRA~1`: the same file has another name.
const DOS_NAMESPACE: u8 = 2;

/// A directory of more bytes has some ten million names. Names are counted with 32 bits below.
const BIGGEST_ALLOCATION: u64 = 2 << 30;

/// How much of an index is read at a time.
const BATCH: usize = 256 << 10;

/// The names of one directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// All names, one behind the other.
    pub(crate) names: Vec<u8>,
    /// Sorted by the bytes of their names.
    pub(crate) entries: Vec<Listed>,
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
    /// Reads the index of the directory `record`.
    ///
    /// # Errors
    /// [`Error::Index`] when it lies, [`Error::Read`] from below.
    pub(crate) fn read(
        volume: &dyn ReadAt,
        geometry: &Geometry,
        record: u64,
        parts: &IndexParts,
    ) -> Result<Self, Error> {
        let mut nodes = Nodes::new(record);
        let root = nodes.add_root(&parts.root).map_err(|mismatch| mismatch.in_index_root(record))?;
        if root.children.is_empty() {
            return nodes.into_listing(&[root]);
        }
        let layout = Layout::new(geometry, parts).map_err(|mismatch| mismatch.in_index_root(record))?;
        let blocks = nodes.add_blocks(volume, geometry, &layout)?;
        let reached = nodes.follow(root, &blocks, &layout)?;
        nodes.into_listing(&reached)
    }
}

/// How the blocks of an index are laid out.
struct Layout<'p> {
    allocation: &'p Mapped,
    bitmap: &'p Stream,
    block_size: usize,
    /// What the numbers of blocks count: clusters, or 512 bytes where a block is smaller than a cluster.
    unit: u64,
}

impl<'p> Layout<'p> {
    fn new(geometry: &Geometry, parts: &'p IndexParts) -> Result<Self, Mismatch> {
        let block_size = field::u32(&parts.root, 8).unwrap_or(0);
        if !block_size.is_power_of_two() || !(512..=2 << 20).contains(&block_size) {
            return Err(Mismatch::new(
                8,
                "index blocks of a power of two from 512 bytes to 2 MiB",
                block_size,
            ));
        }
        let (Some(allocation), Some(bitmap)) = (&parts.allocation, &parts.bitmap) else {
            let expected = "$INDEX_ALLOCATION and $BITMAP for the children of the root";
            return Err(Mismatch::new(ROOT_NODE_AT, expected, "a directory without them"));
        };
        let size = allocation.sizes.data;
        if size > BIGGEST_ALLOCATION {
            let expected = format!("an index of at most {BIGGEST_ALLOCATION} bytes");
            return Err(Mismatch::new(ROOT_NODE_AT, expected, size));
        }
        let unit = if u64::from(block_size) < geometry.cluster_size { 512 } else { geometry.cluster_size };
        Ok(Self { allocation, bitmap, block_size: block_size as usize, unit })
    }

    fn offset(&self, block: u64) -> u64 {
        block * self.block_size as u64
    }

    /// Which block a child's number means; `None` when it lies inside one.
    fn block(&self, vcn: u64) -> Option<u64> {
        let offset = vcn.checked_mul(self.unit)?;
        offset.is_multiple_of(self.block_size as u64).then(|| offset / self.block_size as u64)
    }

    /// The blocks that the bitmap says are in use, in ascending order.
    fn used_blocks(&self, volume: &dyn ReadAt, geometry: &Geometry, record: u64) -> Result<Vec<u64>, Error> {
        let blocks = self.allocation.sizes.data / self.block_size as u64;
        let size = usize::try_from(blocks.div_ceil(8).min(self.bitmap.size())).unwrap_or(0);
        let mut bitmap = vec![0; size];
        self.bitmap.read_at(volume, geometry, &mut bitmap, 0).map_err(|source| Error::Read {
            what: "the bitmap of a directory",
            offset: record,
            length: size,
            source,
        })?;
        let bits = bitmap.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        Ok((0..blocks).zip(bits).filter_map(|(block, used)| used.then_some(block)).collect())
    }
}

/// What was found in one node of the tree.
#[derive(Clone, Copy)]
struct Node {
    entries: Span,
    children: Span,
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
}

impl Nodes {
    fn new(record: u64) -> Self {
        Self { record, names: Vec::new(), entries: Vec::new(), children: Vec::new() }
    }

    fn add_root(&mut self, root: &[u8]) -> Result<Node, Mismatch> {
        match field::u32(root, 0) {
            Some(FILE_NAME) => self.add_node(root, ROOT_NODE_AT),
            other => Err(Mismatch::new(0, "an index of file names (0x30)", format!("{other:x?}"))),
        }
    }

    /// Reads all blocks that are in use; what comes back is sorted by their number.
    fn add_blocks(
        &mut self,
        volume: &dyn ReadAt,
        geometry: &Geometry,
        layout: &Layout<'_>,
    ) -> Result<Vec<(u64, Node)>, Error> {
        let used = layout.used_blocks(volume, geometry, self.record)?;
        let mut nodes = Vec::with_capacity(used.len());
        let most_in_batch = (BATCH / layout.block_size).max(1);
        let mut buf = Vec::new();
        for batch in used.chunk_by(|a, b| a + 1 == *b).flat_map(|row| row.chunks(most_in_batch)) {
            let first = batch[0];
            buf.resize(batch.len() * layout.block_size, 0);
            let allocation = layout.allocation;
            let offset = layout.offset(first);
            let length = buf.len();
            read_runs(volume, geometry, &allocation.runs, allocation.sizes.valid, &mut buf, offset)
                .map_err(|source| Error::Read { what: "the index of a directory", offset, length, source })?;
            for (number, block) in (first..).zip(buf.chunks_exact_mut(layout.block_size)) {
                let node = self.add_block(block, number, layout);
                nodes.push((number, node.map_err(|m| m.in_index_block(self.record, layout.offset(number)))?));
            }
        }
        Ok(nodes)
    }

    fn add_block(&mut self, block: &mut [u8], number: u64, layout: &Layout<'_>) -> Result<Node, Mismatch> {
        fixup::undo(block, SIGNATURE)?;
        let vcn = field::u64(block, 16).unwrap_or(u64::MAX);
        if layout.block(vcn) != Some(number) {
            let expected = format!("its own VCN {}", layout.offset(number) / layout.unit);
            return Err(Mismatch::new(16, expected, vcn));
        }
        self.add_node(block, BLOCK_NODE_AT)
    }

    fn add_node(&mut self, bytes: &[u8], header_at: usize) -> Result<Node, Mismatch> {
        let (first_entry, first_child) = (self.entries.len(), self.children.len());
        let header = bytes.get(header_at..).unwrap_or_default();
        let start = field::u32(header, 0).unwrap_or(0) as usize;
        let end = field::u32(header, 4).unwrap_or(0) as usize;
        if start < NODE_HEADER_SIZE || start > end || end > header.len() {
            let found = format!("{start} to {end}");
            return Err(Mismatch::new(header_at, format!("entries between 16 and {}", header.len()), found));
        }
        let entries = &header[..end];
        let mut at = start;
        loop {
            let place = |mismatch: Mismatch| mismatch.shifted(header_at + at);
            let entry = Entry::parse(&entries[at..]).map_err(place)?;
            if let Some(child) = entry.child {
                self.children.push(child);
            }
            if entry.last {
                break;
            }
            self.add_entry(&entry).map_err(place)?;
            at += entry.length;
        }
        Ok(Node {
            entries: Span { start: first_entry, end: self.entries.len() },
            children: Span { start: first_child, end: self.children.len() },
        })
    }

    fn add_entry(&mut self, entry: &Entry<'_>) -> Result<(), Mismatch> {
        let key = FileName::parse(entry.key).map_err(|mismatch| mismatch.shifted(ENTRY_HEADER_SIZE))?;
        if key.parent.record != self.record {
            let expected = format!("a name that lies in record {}", self.record);
            return Err(Mismatch::new(ENTRY_HEADER_SIZE, expected, key.parent));
        }
        if key.namespace == DOS_NAMESPACE {
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

    /// Follows the tree from its root on. Every node is reached once, so that it ends.
    fn follow(&self, root: Node, blocks: &[(u64, Node)], layout: &Layout<'_>) -> Result<Vec<Node>, Error> {
        let mut seen = vec![false; blocks.len()];
        let mut reached = vec![root];
        let mut next = 0;
        while let Some(node) = reached.get(next).copied() {
            next += 1;
            for child in &self.children[node.children.start..node.children.end] {
                let found = layout
                    .block(*child)
                    .and_then(|block| blocks.binary_search_by_key(&block, |(n, _)| *n).ok());
                match found {
                    Some(index) if !std::mem::replace(&mut seen[index], true) => {
                        reached.push(blocks[index].1);
                    }
                    Some(_) => {
                        return Err(self.bad_child(*child, "a block that another node leads to as well"));
                    }
                    None => return Err(self.bad_child(*child, "a block that the bitmap calls free")),
                }
            }
        }
        Ok(reached)
    }

    fn bad_child(&self, vcn: u64, found: &str) -> Error {
        Mismatch::new(0, format!("a block of its own at VCN {vcn}"), found).in_index_block(self.record, 0)
    }

    fn into_listing(self, reached: &[Node]) -> Result<Listing, Error> {
        let Self { record, names, entries, .. } = self;
        let mut listing: Vec<Listed> =
            reached.iter().flat_map(|node| &entries[node.entries.start..node.entries.end]).copied().collect();
        let name = |listed: &Listed| &names[listed.name_range()];
        listing.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        if let Some(pair) = listing.windows(2).find(|pair| name(&pair[0]) == name(&pair[1])) {
            let found = format!("{:?} twice", String::from_utf8_lossy(name(&pair[0])));
            return Err(Mismatch::new(0, "each name once", found).in_index_root(record));
        }
        Ok(Listing { names, entries: listing })
    }
}

/// An entry of a node.
struct Entry<'b> {
    reference: Reference,
    length: usize,
    key: &'b [u8],
    child: Option<u64>,
    last: bool,
}

impl<'b> Entry<'b> {
    fn parse(bytes: &'b [u8]) -> Result<Self, Mismatch> {
        let (Some(reference), Some(length), Some(key_length), Some(flags)) =
            (field::u64(bytes, 0), field::u16(bytes, 8), field::u16(bytes, 10), field::u16(bytes, 12))
        else {
            return Err(Mismatch::new(0, "an index entry", "the end of the node"));
        };
        let length = usize::from(length);
        let child_size = if flags & HAS_CHILD != 0 { 8 } else { 0 };
        if length < ENTRY_HEADER_SIZE + child_size || !length.is_multiple_of(8) || length > bytes.len() {
            let expected = format!("an entry of {} to {} bytes", ENTRY_HEADER_SIZE + child_size, bytes.len());
            return Err(Mismatch::new(8, expected, length));
        }
        let key_end = ENTRY_HEADER_SIZE + usize::from(key_length);
        let last = flags & LAST != 0;
        if !last && key_end > length - child_size {
            let expected = format!("a key of at most {} bytes", length - child_size - ENTRY_HEADER_SIZE);
            return Err(Mismatch::new(10, expected, key_length));
        }
        Ok(Self {
            reference: Reference::from_raw(reference),
            length,
            key: if last { &[] } else { &bytes[ENTRY_HEADER_SIZE..key_end] },
            child: (child_size > 0).then(|| field::u64(bytes, length - 8)).flatten(),
            last,
        })
    }
}

/// The key of an entry: a copy of the file's `$FILE_NAME`.
struct FileName<'b> {
    parent: Reference,
    namespace: u8,
    utf16: &'b [u8],
}

impl<'b> FileName<'b> {
    fn parse(key: &'b [u8]) -> Result<Self, Mismatch> {
        let parsed = || {
            let length = usize::from(*key.get(64)?) * 2;
            Some(Self {
                parent: Reference::from_raw(field::u64(key, 0)?),
                namespace: *key.get(65)?,
                utf16: key.get(66..66 + length).filter(|name| !name.is_empty())?,
            })
        };
        parsed().ok_or_else(|| {
            Mismatch::new(64, format!("a name inside its key of {} bytes", key.len()), "another")
        })
    }
}

#[cfg(test)]
mod tests;
