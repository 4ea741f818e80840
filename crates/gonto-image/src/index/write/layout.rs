//! Where everything lies in the index.

use std::io;

use super::super::format::{
    BLOCK_BITS, CHUNK, CHUNK_BITS, DEVICE_SLOT, DIRENT, INODE, LONGEST_NAME, NID_UNIT, SUPER_OFFSET,
};
use super::copies::is_about_the_file;
use super::pieces::{Blocks, Chunks};
use super::tails::Spoiled;
use super::{IndexError, check_size};
use crate::source::Place;
use crate::tree::{FileTree, Kind, NodeId};

/// The place of every inode, and of what belongs to it.
pub(super) struct Plan {
    /// Files and links, in the order of their inodes.
    pub(super) files: Vec<NodeId>,
    /// Directories but for the root, in the order of their inodes.
    pub(super) directories: Vec<NodeId>,
    /// The byte offset of each node's inode.
    pub(super) places: Vec<u64>,
    pub(super) content: Vec<Content>,
    /// Where the inodes begin.
    pub(super) metadata: u64,
    /// Where own data end.
    pub(super) end: u64,
    /// Bytes of own data.
    pub(super) copied: u64,
    /// Bytes of all files.
    pub(super) size: u64,
    pub(super) spoiled: Spoiled,
}

/// How the content of a node is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    Empty,
    /// Behind the inode.
    Inline,
    /// The names of a directory, or the target of a link, from this block of the index on.
    Blocks {
        first: u32,
    },
    /// A file in chunks of so many bytes (a power of two); what is copied lies from block `own` of the index on.
    Chunks {
        bits: u8,
        own: u32,
    },
    /// Reading it is an error.
    Unreadable,
}

/// Where more than this part of plain content would have to be copied, the index is no use.
const MOST_COPIED: u64 = 8;

/// So much may be copied of any image.
const ALWAYS_COPIED: u64 = 16 << 20;

/// So many times the bytes of its image files an index may have. What is decompressed is rarely more than three times what it was.
const MOST_BYTES: u64 = 8;

/// So many bytes the index of any image may have.
const ALWAYS_BYTES: u64 = 64 << 20;

/// So many nodes or extents are looked at before the caller is asked whether to go on.
const BETWEEN_QUESTIONS: u64 = 4096;

/// The largest blocks whose borders all content keeps.
///
/// # Errors
/// [`IndexError::OutOfProportion`] when there are more extents than sectors to make them of: files that share clusters, or blocks
/// of a container that share their bytes, make any number of them.
pub(super) fn block_bits(
    tree: &FileTree,
    layers: &[u64],
    go_on: &dyn Fn() -> io::Result<()>,
) -> Result<u8, IndexError> {
    let image = layers.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
    // Between two that lie in sectors there may be zeros, and at the end of each file.
    let most = image / 512 * 2 + 2 * tree.len() as u64;
    let (mut offsets, mut extents) = (0, 0);
    for id in (0..).map(NodeId).take(tree.len()) {
        if u64::from(id.0).is_multiple_of(BETWEEN_QUESTIONS) {
            go_on().map_err(IndexError::Interrupted)?;
        }
        let size = tree.node(id).size;
        if tree.node(id).kind != Kind::File {
            continue;
        }
        let mut offset = 0;
        while offset < size {
            let extent = tree.extent(id, offset);
            if let Place::Image { offset: at, .. } = extent.place {
                offsets |= at | offset;
            }
            if extent.length == 0 {
                break;
            }
            offset += extent.length;
            extents += 1;
            if extents > most {
                let what = "the extents of the files";
                return Err(IndexError::OutOfProportion { what, count: extents, image });
            }
            if extents.is_multiple_of(BETWEEN_QUESTIONS) {
                go_on().map_err(IndexError::Interrupted)?;
            }
        }
    }
    let bits = u8::try_from(offsets.trailing_zeros()).unwrap_or(u8::MAX);
    Ok(bits.clamp(*BLOCK_BITS.start(), *BLOCK_BITS.end()))
}

/// The names in a directory as EROFS wants them: sorted by their bytes, with `.` and `..`.
pub(super) fn dirents(tree: &FileTree, directory: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
    let mut entries = tree.entries(directory).iter().peekable();
    let mut dots = [(&b"."[..], directory), (&b".."[..], tree.parent(directory))].into_iter().peekable();
    std::iter::from_fn(move || match (entries.peek(), dots.peek()) {
        (Some((name, _)), Some((dot, _))) if name < dot => entries.next(),
        (_, Some(_)) => dots.next(),
        _ => entries.next(),
    })
}

/// Bytes of the content of a directory. A name is never cut by the end of a block.
pub(super) fn names_length(tree: &FileTree, directory: NodeId, block_size: u64) -> u64 {
    let (mut whole, mut used) = (0, 0);
    for (name, _) in dirents(tree, directory) {
        let length = (DIRENT + name.len()) as u64;
        if used + length > block_size {
            whole += block_size;
            used = 0;
        }
        used += length;
    }
    whole + used
}

/// Whether the kernel takes all names.
pub(super) fn check_names(tree: &FileTree) -> Result<(), IndexError> {
    for directory in (0..).map(NodeId).take(tree.len()) {
        let mut entries = tree.entries(directory).iter();
        if let Some((name, id)) = entries.find(|(name, _)| name.len() > LONGEST_NAME) {
            return Err(IndexError::NameTooLong { path: tree.path(id), length: name.len() });
        }
    }
    Ok(())
}

impl Plan {
    pub(super) fn new(
        tree: &FileTree,
        blocks: &Blocks<'_>,
        spoiled: Spoiled,
        go_on: &dyn Fn() -> io::Result<()>,
    ) -> Result<Self, IndexError> {
        let (files, directories) = order(tree);
        // There may be a slot more than image files.
        let metadata = SUPER_OFFSET + 128 + DEVICE_SLOT * (blocks.layers.len() as u64 + 1);
        let mut plan = Self {
            files,
            directories,
            places: vec![0; tree.len()],
            content: vec![Content::Empty; tree.len()],
            metadata,
            end: metadata,
            copied: 0,
            size: 0,
            spoiled,
        };
        let mut layout = Layout { tree, blocks, at: metadata, own: Vec::new(), own_bytes: 0, plain: 0 };
        let image = blocks.layers.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        let most = image.saturating_mul(MOST_BYTES).max(ALWAYS_BYTES);
        for (id, number) in plan.order().zip(0u64..).collect::<Vec<_>>() {
            if number.is_multiple_of(BETWEEN_QUESTIONS) {
                go_on().map_err(IndexError::Interrupted)?;
            }
            let (place, content) = layout.inode(id, &plan.spoiled)?;
            let count = layout.at.saturating_add(layout.own_bytes);
            if count > most {
                return Err(IndexError::OutOfProportion { what: "the bytes of the index", count, image });
            }
            plan.places[id.0 as usize] = place;
            plan.content[id.0 as usize] = content;
            if tree.node(id).kind == Kind::File {
                plan.size = plan.size.saturating_add(tree.node(id).size);
            }
        }
        if layout.plain > ALWAYS_COPIED && layout.plain > plan.size / MOST_COPIED {
            return Err(IndexError::Misaligned { copied: layout.plain });
        }
        // Blocks of names first, then own data.
        let own = std::mem::take(&mut layout.own);
        let mut at = layout.at.next_multiple_of(blocks.size);
        for names in [true, false] {
            for (id, length) in own.iter().filter(|(id, _)| (tree.node(*id).kind == Kind::Directory) == names)
            {
                check_size("the index", at.saturating_add(*length), blocks.size)?;
                let block = u32::try_from(at / blocks.size).unwrap_or(u32::MAX);
                match &mut plan.content[id.0 as usize] {
                    Content::Blocks { first } => *first = block,
                    Content::Chunks { own, .. } => *own = block,
                    _ => {}
                }
                at += length.next_multiple_of(blocks.size);
                plan.copied += if names { 0 } else { *length };
            }
        }
        plan.end = at;
        Ok(plan)
    }

    /// All nodes, as their inodes follow each other. The number of the root has only 16 bits, so it comes first.
    pub(super) fn order(&self) -> impl Iterator<Item = NodeId> + '_ {
        [NodeId(0)].into_iter().chain(self.files.iter().copied()).chain(self.directories.iter().copied())
    }
}

/// Gives inodes their places, one behind the other.
struct Layout<'a> {
    tree: &'a FileTree,
    blocks: &'a Blocks<'a>,
    at: u64,
    /// What needs blocks of the index, and how many bytes.
    own: Vec<(NodeId, u64)>,
    /// The sum of it.
    own_bytes: u64,
    /// Bytes of plain content that are copied.
    plain: u64,
}

impl Layout<'_> {
    fn inode(&mut self, id: NodeId, spoiled: &Spoiled) -> Result<(u64, Content), IndexError> {
        let (content, behind) = self.content(id, spoiled)?;
        let mut place = self.at.next_multiple_of(NID_UNIT);
        if content == Content::Inline && place % self.blocks.size + INODE + behind > self.blocks.size {
            // What is inline must not cross the border of a block. The inode may, but on some older kernels a link cannot be read whose
            // inode ends at the border.
            place = place.next_multiple_of(self.blocks.size);
        }
        self.at = place + INODE + behind;
        Ok((place, content))
    }

    /// How the content is kept, and how many bytes lie behind the inode.
    fn content(&mut self, id: NodeId, spoiled: &Spoiled) -> Result<(Content, u64), IndexError> {
        let node = self.tree.node(id);
        let inline = |length| length <= self.blocks.size - INODE;
        match node.kind {
            Kind::Directory => {
                let length = names_length(self.tree, id, self.blocks.size);
                if inline(length) {
                    return Ok((Content::Inline, length));
                }
                self.push_own(id, length);
                Ok((Content::Blocks { first: 0 }, 0))
            }
            Kind::Symlink if inline(node.size) => Ok((Content::Inline, node.size)),
            Kind::Symlink => {
                self.push_own(id, node.size);
                Ok((Content::Blocks { first: 0 }, 0))
            }
            Kind::File if node.size == 0 => Ok((Content::Empty, 0)),
            Kind::File => self.file(id, node.size, spoiled.contains(id)),
        }
    }

    fn push_own(&mut self, id: NodeId, length: u64) {
        self.own.push((id, length));
        self.own_bytes = self.own_bytes.saturating_add(length);
    }

    fn file(&mut self, id: NodeId, size: u64, spoiled: bool) -> Result<(Content, u64), IndexError> {
        let derived = self.tree.extent(id, 0).place == Place::Derived;
        let small = size <= self.blocks.size - INODE;
        if derived {
            // What is not read at all says so at the first byte; a small file is read as a whole.
            let mut bytes = vec![0; if small { usize::try_from(size).unwrap_or(1) } else { 1 }];
            match self.tree.read_at(id, &mut bytes, 0) {
                Ok(_) => {}
                Err(why) if is_about_the_file(&why) => {
                    let chunks = size.div_ceil(self.blocks.size << CHUNK_BITS);
                    return Ok((Content::Unreadable, chunks * CHUNK));
                }
                Err(source) => return Err(IndexError::Read { path: self.tree.path(id), source }),
            }
        }
        if derived && small {
            return Ok((Content::Inline, size));
        }
        let pieces = self.blocks.pieces(self.tree, id, spoiled);
        let block_bits = u8::try_from(self.blocks.size.trailing_zeros()).unwrap_or(0);
        let chunks = Chunks::cheapest(&pieces, block_bits);
        let (copied, bits) = (chunks.copied(), chunks.bits);
        if copied > 0 {
            // Each chunk that is copied takes whole blocks, and only the last one is short.
            self.push_own(id, copied.next_multiple_of(self.blocks.size));
            self.plain += if derived { 0 } else { copied };
        }
        Ok((Content::Chunks { bits, own: 0 }, chunks.count() * CHUNK))
    }
}

/// Files and links, and directories without the root, each in the order of their inodes: directories depth first by what lies
/// first in the image, files by their directory, and in it by their place in the image.
fn order(tree: &FileTree) -> (Vec<NodeId>, Vec<NodeId>) {
    let nowhere = (u32::MAX, u64::MAX);
    let is_directory = |id: NodeId| tree.node(id).kind == Kind::Directory;
    // Where the first content below each directory lies.
    let mut first = vec![nowhere; tree.len()];
    let mut walk = vec![tree.root()];
    let mut next = 0;
    while let Some(directory) = walk.get(next).copied() {
        walk.extend(
            tree.entries(directory).iter().map(|(_, child)| child).filter(|child| is_directory(*child)),
        );
        next += 1;
    }
    for directory in walk.into_iter().rev() {
        let places = tree.entries(directory).iter().map(|(_, child)| {
            if is_directory(child) {
                first[child.0 as usize]
            } else {
                tree.first_place(child).unwrap_or(nowhere)
            }
        });
        first[directory.0 as usize] = places.min().unwrap_or(nowhere);
    }

    let (mut files, mut directories) = (Vec::new(), Vec::new());
    let mut met = vec![false; tree.len()];
    let mut stack = vec![tree.root()];
    while let Some(directory) = stack.pop() {
        if directory != tree.root() {
            directories.push(directory);
        }
        let (mut inside, mut below) = (Vec::new(), Vec::new());
        for (_, child) in tree.entries(directory).iter() {
            if is_directory(child) {
                below.push((first[child.0 as usize], child));
            } else if !std::mem::replace(&mut met[child.0 as usize], true) {
                inside.push((tree.first_place(child).unwrap_or((0, 0)), child));
            }
        }
        inside.sort_by_key(|(place, _)| *place);
        below.sort_by_key(|(place, _)| *place);
        files.extend(inside.into_iter().map(|(_, file)| file));
        stack.extend(below.into_iter().rev().map(|(_, directory)| directory));
    }
    (files, directories)
}
