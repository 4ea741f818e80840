//! Making the index of a file tree.

mod copies;
mod layout;
mod output;
mod pieces;
mod tails;

use std::fs::File;
use std::io;
use std::sync::Arc;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::VERSION;
use super::format::{
    COMPAT_CHECKSUM, COMPAT_MTIME, Chunk, DEVICE_SLOT, DIRENT, DeviceSlot, Dirent, HEADER_MAGIC, HOLE,
    Header, INCOMPAT_CHUNKED, INCOMPAT_DEVICES, KIND_DIRECTORY, KIND_FILE, KIND_LINK, LONGEST_NAME, Layout,
    MODE_DIRECTORY, MODE_FILE, MODE_LINK, NID_UNIT, RawInode, SUPER_MAGIC, SUPER_OFFSET, SuperBlock,
    checksum, checksum_length, with_missing_device,
};
use crate::source::{ReadAt, write_all_at};
use crate::tree::{FileTree, Kind, NodeId};
use layout::{Content, Plan, dirents};
use output::Output;
use pieces::{Blocks, Chunks, Origin};

/// Why a tree has no index. It can be served without one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A name has more bytes than the kernel takes for one.
    #[error("{path} has a name of {length} bytes, and EROFS takes at most {LONGEST_NAME}")]
    NameTooLong {
        /// The path in the image.
        path: String,
        /// Bytes of the name.
        length: usize,
    },
    /// Block numbers have 32 bits.
    #[error("{what} has {bytes} bytes, more than EROFS can address in blocks of {block} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its bytes.
        bytes: u64,
        /// Bytes of a block.
        block: u64,
    },
    /// Most of the content lies so that EROFS cannot point to it; the index would be a copy of the image.
    #[error("{copied} bytes of plain content do not lie in whole sectors, and would have to be copied")]
    Misaligned {
        /// Bytes that would have to be copied.
        copied: u64,
    },
    /// The image says that there is more than its bytes can hold: a small image must not fill the disk with its index, nor the memory.
    #[error("{what}: {count} and more, out of all proportion to the {image} bytes of the image files")]
    OutOfProportion {
        /// What there is too much of.
        what: &'static str,
        /// How much of it was counted before the end was reached.
        count: u64,
        /// Bytes of all image files.
        image: u64,
    },
    /// The image cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path in the image.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The index cannot be written.
    #[error("cannot write the index")]
    Write(#[source] io::Error),
    /// The caller did not want to go on.
    #[error("interrupted")]
    Interrupted(#[source] io::Error),
}

/// A file whose content cannot be read. It is in the index, and reading it is an error.
#[derive(Debug)]
pub struct Unindexed {
    /// The path in the image.
    pub path: String,
    /// Why: as [`FileTree::read_at`] says it.
    pub why: io::Error,
}

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Written {
    /// Bytes of the index.
    pub size: u64,
    /// How many of them are content.
    pub copied: u64,
    /// Bytes of a block.
    pub block_size: u64,
}

/// Writes the index of `tree` to `output`, which is an empty file. `layers` are the image files that the tree is read from, the child
/// first.
///
/// `stamp` makes what is kept at the end of the index for the caller; it is told which files cannot be read. `go_on` is asked now
/// and then, by any thread; its error ends the work.
///
/// # Errors
/// [`IndexError`]. Whatever is in `output` then is no index.
///
/// # Example
/// ```no_run
/// use std::{fs::File, sync::Arc};
/// use gonto_image::{FileTree, ImageFile, index};
///
/// let image = Arc::new(ImageFile::new(File::open("jdk_v21_multi.vhd")?)?);
/// let tree = FileTree::open(image.clone())?;
/// let output = File::options().read(true).write(true).create_new(true).open("jdk_v21_multi.erofs")?;
/// let written = index::write(&tree, &[image], &output, |_| b"jdk 21".to_vec(), &|| Ok(()))?;
/// println!("{} bytes", written.size);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write(
    tree: &FileTree,
    layers: &[Arc<dyn ReadAt>],
    output: &File,
    stamp: impl FnOnce(&[Unindexed]) -> Vec<u8>,
    go_on: &(dyn Fn() -> io::Result<()> + Sync),
) -> Result<Written, IndexError> {
    layout::check_names(tree)?;
    let sizes: Vec<u64> = layers.iter().map(|layer| layer.size()).collect();
    let block_bits = layout::block_bits(tree, &sizes, go_on)?;
    let blocks = Blocks { size: 1 << block_bits, layers: &sizes };
    for bytes in &sizes {
        check_size("the image file", *bytes, blocks.size)?;
    }
    let spoiled = tails::spoiled(tree, layers, blocks.size, go_on)?;
    let mut plan = Plan::new(tree, &blocks, spoiled, go_on)?;
    let unreadable = copies::write(tree, &blocks, &plan, output, go_on)?;
    for (file, _) in &unreadable {
        plan.content[file.0 as usize] = Content::Unreadable;
    }
    let stamp = {
        let unindexed: Vec<Unindexed> =
            unreadable.into_iter().map(|(file, why)| Unindexed { path: tree.path(file), why }).collect();
        stamp(&unindexed)
    };
    Emission { tree, blocks: &blocks, block_bits, plan: &plan, devices: devices(&blocks, &plan) }
        .write(output, &stamp)
        .map_err(IndexError::Write)
}

fn check_size(what: &'static str, bytes: u64, block: u64) -> Result<(), IndexError> {
    // The highest number stands for a hole.
    if bytes / block < u64::from(HOLE) { Ok(()) } else { Err(IndexError::TooLarge { what, bytes, block }) }
}

/// The number of the inode at a byte of the index.
fn nid(place: u64) -> u64 {
    place / NID_UNIT
}

/// As [`Emission::devices`] has them.
fn devices(blocks: &Blocks<'_>, plan: &Plan) -> (u16, u16) {
    let layers = u16::try_from(blocks.layers.len()).unwrap_or(u16::MAX);
    if plan.content.contains(&Content::Unreadable) { with_missing_device(layers) } else { (layers, 0) }
}

/// What is written when everything has its place.
struct Emission<'a> {
    tree: &'a FileTree,
    blocks: &'a Blocks<'a>,
    block_bits: u8,
    plan: &'a Plan,
    /// How many device slots there are, and the number of one that is not there, if something names it.
    devices: (u16, u16),
}

impl Emission<'_> {
    fn write(&self, file: &File, stamp: &[u8]) -> io::Result<Written> {
        let plan = self.plan;
        let mut output = Output::new(file, plan.metadata);
        for id in plan.order() {
            output.skip_to(plan.places[id.0 as usize])?;
            self.inode(id, &mut output)?;
        }
        for id in [self.tree.root()].iter().chain(&plan.directories) {
            if let Content::Blocks { first } = plan.content[id.0 as usize] {
                output.skip_to(u64::from(first) * self.blocks.size)?;
                output.put(&self.names(*id))?;
            }
        }
        let end = plan.end.max(output.flush()?);
        write_all_at(file, stamp, end)?;
        // The kernel reads whole blocks.
        let size = (end + stamp.len() as u64).next_multiple_of(self.blocks.size);
        file.set_len(size)?;
        self.head(file, end, stamp, size)?;
        Ok(Written { size, copied: plan.copied, block_size: self.blocks.size })
    }

    /// Header, super block and device slots: all before the first inode.
    fn head(&self, file: &File, stamp_at: u64, stamp: &[u8], size: u64) -> io::Result<()> {
        let (devices, _) = self.devices;
        let identity = blake3::hash(stamp);
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&identity.as_bytes()[..16]);
        let header = Header {
            magic: HEADER_MAGIC,
            version: U32::new(VERSION),
            layers: U32::new(u32::try_from(self.blocks.layers.len()).unwrap_or(u32::MAX)),
            stamp_offset: U64::new(stamp_at),
            stamp_length: U64::new(stamp.len() as u64),
            content: U64::new(self.plan.size),
            reserved: [0; 984],
        };
        let block = self.blocks.size;
        let mut super_block = SuperBlock {
            magic: U32::new(SUPER_MAGIC),
            checksum: U32::new(0),
            feature_compat: U32::new(COMPAT_CHECKSUM | COMPAT_MTIME),
            block_bits: self.block_bits,
            extension_slots: 0,
            root_nid: U16::new(u16::try_from(nid(self.plan.places[0])).unwrap_or(0)),
            inodes: U64::new(self.tree.len() as u64),
            build_time: U64::new(0),
            build_time_nsec: U32::new(0),
            blocks: U32::new(u32::try_from(size / block).unwrap_or(u32::MAX)),
            meta_block: U32::new(0),
            xattr_block: U32::new(0),
            uuid,
            volume_name: [0; 16],
            feature_incompat: U32::new(INCOMPAT_CHUNKED | INCOMPAT_DEVICES),
            compression: U16::new(0),
            extra_devices: U16::new(devices),
            device_slot: U16::new(u16::try_from((SUPER_OFFSET + 128) / DEVICE_SLOT).unwrap_or(u16::MAX)),
            directory_block_bits: 0,
            reserved: [0; 37],
        };
        let mut head = header.as_bytes().to_vec();
        head.extend_from_slice(super_block.as_bytes());
        for device in 0..devices {
            // The one that makes room for a missing number is the first image again.
            let bytes = self.blocks.layers.get(usize::from(device)).or(self.blocks.layers.first());
            let slot = DeviceSlot {
                tag: [0; 64],
                blocks: U32::new(
                    u32::try_from(bytes.map_or(0, |bytes| bytes.div_ceil(block))).unwrap_or(u32::MAX),
                ),
                unified_block: U32::new(0),
                reserved: [0; 56],
            };
            head.extend_from_slice(slot.as_bytes());
        }
        // The checksum covers what lies behind as well, which is written already.
        let covered = usize::try_from(SUPER_OFFSET + checksum_length(block)).unwrap_or(usize::MAX);
        let written = head.len();
        if covered > written {
            head.resize(covered, 0);
            crate::source::read_exact_at(file, &mut head[written..], written as u64)?;
        }
        let start = size_of::<Header>();
        super_block.checksum = U32::new(checksum(&head[start..covered]));
        head[start..start + size_of::<SuperBlock>()].copy_from_slice(super_block.as_bytes());
        write_all_at(file, &head, 0)
    }

    fn inode(&self, id: NodeId, output: &mut Output<'_>) -> io::Result<()> {
        let (node, plan) = (self.tree.node(id), self.plan);
        let content = plan.content[id.0 as usize];
        let (kind, links, size) = match node.kind {
            Kind::Directory => (MODE_DIRECTORY, 2 + self.subfolders(id), self.names_length(id)),
            Kind::File => (MODE_FILE, node.links, node.size),
            Kind::Symlink => (MODE_LINK, node.links, node.size),
        };
        let (layout, data) = match content {
            Content::Empty => (Layout::Plain, 0),
            Content::Blocks { first } => (Layout::Plain, first),
            Content::Inline => (Layout::Inline, 0),
            Content::Chunks { bits, .. } => {
                (Layout::Chunked, super::format::CHUNK_INDEXES | u32::from(bits - self.block_bits))
            }
            Content::Unreadable => {
                (Layout::Chunked, super::format::CHUNK_INDEXES | super::format::CHUNK_BITS)
            }
        };
        let nanos = node.modified.unix_nanos();
        let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        let place = plan.places[id.0 as usize];
        let inode = RawInode {
            format: layout.to_format(),
            xattr_count: U16::new(0),
            mode: U16::new(kind | u16::try_from(node.mode & 0o777).unwrap_or(0)),
            reserved: U16::new(0),
            size: U64::new(size),
            data: U32::new(data),
            ino: U32::new(u32::try_from(nid(place)).unwrap_or(0)),
            uid: U32::new(0),
            gid: U32::new(0),
            mtime: U64::new(i64::try_from(seconds).unwrap_or(0).cast_unsigned()),
            mtime_nsec: U32::new(u32::try_from(rest).unwrap_or(0)),
            links: U32::new(links),
            reserved2: [0; 16],
        };
        output.put(inode.as_bytes())?;
        match content {
            Content::Inline if node.kind == Kind::Directory => output.put(&self.names(id)),
            Content::Inline if node.kind == Kind::Symlink => output.put(self.tree.link_target(id)),
            Content::Inline => {
                // Plan has read it before.
                let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
                self.tree.read_at(id, &mut bytes, 0)?;
                output.put(&bytes)
            }
            Content::Chunks { bits, own } => self.chunks(id, bits, own, output),
            Content::Unreadable => {
                let (_, missing) = self.devices;
                // One for each chunk; the largest chunks are so large that hardly a file has two.
                let chunks = size.div_ceil(self.blocks.size << super::format::CHUNK_BITS).max(1);
                (0..chunks).try_for_each(|_| output.put(chunk(missing, 0).as_bytes()))
            }
            Content::Empty | Content::Blocks { .. } => Ok(()),
        }
    }

    fn chunks(&self, id: NodeId, bits: u8, own: u32, output: &mut Output<'_>) -> io::Result<()> {
        let pieces = self.blocks.pieces(self.tree, id, self.plan.spoiled.contains(id));
        let block = |bytes: u64| u32::try_from(bytes >> self.block_bits).map_err(io::Error::other);
        let mut own = u64::from(own) << self.block_bits;
        for piece in Chunks::of(&pieces, bits).iter() {
            let entry = match piece.origin {
                Origin::Layer { layer, offset } => {
                    chunk(u16::try_from(layer + 1).map_err(io::Error::other)?, block(offset)?)
                }
                Origin::Zero => chunk(0, HOLE),
                Origin::Copied => {
                    let here = own;
                    own += (piece.end - piece.start).next_multiple_of(self.blocks.size);
                    chunk(0, block(here)?)
                }
            };
            output.put(entry.as_bytes())?;
        }
        Ok(())
    }

    /// The content of a directory: blocks of dirents, the last one cut short.
    fn names(&self, id: NodeId) -> Vec<u8> {
        let block_size = usize::try_from(self.blocks.size).unwrap_or(usize::MAX);
        let mut content = Vec::new();
        let mut waiting: Vec<(&[u8], NodeId)> = Vec::new();
        let mut used = 0;
        for (name, child) in dirents(self.tree, id) {
            if used + DIRENT + name.len() > block_size {
                self.block_of_names(&waiting, &mut content);
                content.resize(content.len().next_multiple_of(block_size), 0);
                waiting.clear();
                used = 0;
            }
            used += DIRENT + name.len();
            waiting.push((name, child));
        }
        self.block_of_names(&waiting, &mut content);
        content
    }

    fn block_of_names(&self, entries: &[(&[u8], NodeId)], content: &mut Vec<u8>) {
        let mut name_offset = entries.len() * DIRENT;
        for (name, child) in entries {
            let kind = match self.tree.node(*child).kind {
                Kind::Directory => KIND_DIRECTORY,
                Kind::File => KIND_FILE,
                Kind::Symlink => KIND_LINK,
            };
            let dirent = Dirent {
                nid: U64::new(nid(self.plan.places[child.0 as usize])),
                name_offset: U16::new(u16::try_from(name_offset).unwrap_or(u16::MAX)),
                kind,
                reserved: 0,
            };
            content.extend_from_slice(dirent.as_bytes());
            name_offset += name.len();
        }
        entries.iter().for_each(|(name, _)| content.extend_from_slice(name));
    }

    fn names_length(&self, id: NodeId) -> u64 {
        layout::names_length(self.tree, id, self.blocks.size)
    }

    fn subfolders(&self, id: NodeId) -> u32 {
        let folders =
            self.tree.entries(id).iter().filter(|(_, child)| self.tree.node(*child).kind == Kind::Directory);
        u32::try_from(folders.count()).unwrap_or(u32::MAX - 2)
    }
}

fn chunk(device: u16, block: u32) -> Chunk {
    Chunk { reserved: U16::new(0), device: U16::new(device), block: U32::new(block) }
}
