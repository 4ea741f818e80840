//! Reading an index: what a file system is asked, answered from its bytes where they lie.

use std::fmt;

use zerocopy::FromBytes;

use super::VERSION;
use super::format::{
    BLOCK_BITS, CHUNK, CHUNK_BITS, CHUNK_INDEXES, Chunk, DIRENT, Dirent, HEADER_MAGIC, HEADER_SIZE, HOLE,
    Header, INODE, KIND_DIRECTORY, KIND_FILE, KIND_LINK, Layout, MODE_DIRECTORY, MODE_FILE, MODE_KIND,
    MODE_LINK, NID_UNIT, RawInode, SUPER_MAGIC, SUPER_OFFSET, SuperBlock,
};
use crate::tree::Kind;

/// The number of an inode: its place in the index. Numbers are small where the index is, and never change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Nid(pub u64);

/// An index that is in memory, or mapped into it.
///
/// Nothing is looked up beforehand, so opening one costs nothing, and any number of threads can ask at once. Answers borrow from
/// the bytes. An index that lies gives wrong answers, or none; it makes no panic and no endless loop.
pub struct Index<B> {
    bytes: B,
    root: Nid,
    block_bits: u8,
    layers: u32,
    devices: u16,
    inodes: u64,
    content: u64,
    stamp: std::ops::Range<usize>,
}

/// These bytes are no index that this version reads.
#[derive(Debug, thiserror::Error)]
#[error("it is no index of this version: {0}")]
pub struct Invalid(&'static str);

/// A file, directory or link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inode {
    /// Its number.
    pub nid: Nid,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most 0o777.
    pub mode: u16,
    /// In bytes: of the content, of the link's target, of the list of names.
    pub size: u64,
    /// How many names lead to it; for a directory 2 and its subfolders.
    pub links: u32,
    /// When the content was changed: seconds since 1970 and nanoseconds.
    pub modified: (i64, u32),
    layout: Layout,
    data: u32,
}

/// A name in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'i> {
    /// The name; `.` and `..` are among them.
    pub name: &'i [u8],
    /// What it leads to.
    pub nid: Nid,
    /// What that is.
    pub kind: Kind,
    /// The position of the next entry, for [`Index::entries`].
    pub next: u64,
}

/// Where content lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At<'i> {
    /// In the index.
    Here(&'i [u8]),
    /// In a device, from a byte of it on. Devices count from 0, and there is one for each image file.
    Device {
        /// Which one.
        device: u16,
        /// The byte.
        offset: u64,
    },
    /// It is zero.
    Zero,
    /// It cannot be read.
    Unreadable,
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Takes the bytes of a whole index.
    ///
    /// # Errors
    /// [`Invalid`] when they are something else, or were written by another version.
    pub fn open(bytes: B) -> Result<Self, Invalid> {
        let all = bytes.as_ref();
        let (header, _) = Header::ref_from_prefix(all).map_err(|_| Invalid("it is too short"))?;
        if header.magic != HEADER_MAGIC || header.version.get() != VERSION {
            return Err(Invalid("it was written by another program or version"));
        }
        let super_block = all
            .get(usize::try_from(SUPER_OFFSET).unwrap_or(usize::MAX)..)
            .and_then(|rest| SuperBlock::ref_from_prefix(rest).ok())
            .map(|(super_block, _)| super_block)
            .filter(|super_block| super_block.magic.get() == SUPER_MAGIC)
            .ok_or(Invalid("it has no super block"))?;
        let size = u64::from(super_block.blocks.get()).checked_shl(super_block.block_bits.into());
        if !BLOCK_BITS.contains(&super_block.block_bits) || size != Some(all.len() as u64) {
            return Err(Invalid("it is cut short"));
        }
        let start = usize::try_from(header.stamp_offset.get()).ok();
        let length = usize::try_from(header.stamp_length.get()).ok();
        let stamp = start
            .and_then(|start| Some(start..start.checked_add(length?)?))
            .filter(|stamp| all.get(stamp.clone()).is_some())
            .ok_or(Invalid("its stamp lies outside"))?;
        let index = Self {
            root: Nid(super_block.root_nid.get().into()),
            block_bits: super_block.block_bits,
            layers: header.layers.get(),
            devices: super_block.extra_devices.get(),
            inodes: super_block.inodes.get(),
            content: header.content.get(),
            stamp,
            bytes,
        };
        match index.inode(index.root) {
            Some(Inode { kind: Kind::Directory, .. }) => Ok(index),
            _ => Err(Invalid("its root is no directory")),
        }
    }

    /// What the writer's caller wanted to be kept.
    #[must_use]
    pub fn stamp(&self) -> &[u8] {
        self.all().get(self.stamp.clone()).unwrap_or_default()
    }

    /// The image files that belong to it, as positions in the chain, in the order of the devices that the kernel wants to have. One
    /// may be there twice.
    pub fn devices(&self) -> impl Iterator<Item = u32> + use<B> {
        let layers = self.layers;
        (0..u32::from(self.devices)).map(move |device| if device < layers { device } else { 0 })
    }

    /// The directory that everything lies in.
    #[must_use]
    pub fn root(&self) -> Nid {
        self.root
    }

    /// How many files, directories and links there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.inodes
    }

    /// Whether there are none; not even a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inodes == 0
    }

    /// Bytes of all files.
    #[must_use]
    pub fn content(&self) -> u64 {
        self.content
    }

    /// What is known of an inode; `None` when there is none with this number.
    #[must_use]
    pub fn inode(&self, nid: Nid) -> Option<Inode> {
        let (raw, _) = RawInode::ref_from_prefix(self.all().get(place(nid)?..)?).ok()?;
        let mode = raw.mode.get();
        let kind = match mode & MODE_KIND {
            MODE_DIRECTORY => Kind::Directory,
            MODE_FILE => Kind::File,
            MODE_LINK => Kind::Symlink,
            _ => return None,
        };
        Some(Inode {
            nid,
            kind,
            mode: mode & 0o777,
            size: raw.size.get(),
            links: raw.links.get(),
            modified: (raw.mtime.get().cast_signed(), raw.mtime_nsec.get()),
            layout: Layout::from_format(raw.format)?,
            data: raw.data.get(),
        })
    }

    /// The target of a symbolic link; `None` for what is no link.
    #[must_use]
    pub fn target(&self, link: &Inode) -> Option<&[u8]> {
        if link.kind == Kind::Symlink { self.flat(link, 0, link.size) } else { None }
    }

    /// What a name in a directory leads to.
    #[must_use]
    pub fn lookup(&self, directory: &Inode, name: &[u8]) -> Option<Nid> {
        let blocks = directory.size.div_ceil(self.block_size());
        // Names ascend, from block to block and in each block.
        let (mut low, mut high) = (0, blocks);
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.names(directory, middle)?;
            if block.name(0)? <= name { low = middle + 1 } else { high = middle }
        }
        let block = self.names(directory, low.checked_sub(1)?)?;
        let (mut low, mut high) = (0, block.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match block.name(middle)?.cmp(name) {
                std::cmp::Ordering::Equal => return Some(Nid(block.dirent(middle)?.nid.get())),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The names in a directory from a position on: 0, or the [`next`](Entry::next) of an entry.
    pub fn entries<'i>(
        &'i self,
        directory: &Inode,
        position: u64,
    ) -> impl Iterator<Item = Entry<'i>> + use<'i, B> {
        let directory = *directory;
        let blocks =
            if directory.kind == Kind::Directory { directory.size.div_ceil(self.block_size()) } else { 0 };
        // A block has fewer entries than bytes.
        let (first, skipped) = (position >> self.block_bits, position & (self.block_size() - 1));
        (first..blocks).map_while(move |number| Some((number, self.names(&directory, number)?))).flat_map(
            move |(number, block)| {
                let skipped =
                    if number == first { usize::try_from(skipped).unwrap_or(usize::MAX) } else { 0 };
                let count = block.count;
                (skipped..count).map_while(move |entry| {
                    let dirent = block.dirent(entry)?;
                    let next = if entry + 1 < count {
                        number << self.block_bits | (entry as u64 + 1)
                    } else {
                        (number + 1) << self.block_bits
                    };
                    let kind = match dirent.kind {
                        KIND_DIRECTORY => Kind::Directory,
                        KIND_FILE => Kind::File,
                        KIND_LINK => Kind::Symlink,
                        _ => return None,
                    };
                    Some(Entry { name: block.name(entry)?, nid: Nid(dirent.nid.get()), kind, next })
                })
            },
        )
    }

    /// Where the content of a file from `offset` on lies, and for how many bytes, of which `wanted` are enough. Nothing behind
    /// the end.
    #[must_use]
    pub fn content_at(&self, file: &Inode, offset: u64, wanted: u64) -> (u64, At<'_>) {
        let rest = file.size.saturating_sub(offset);
        if rest == 0 || file.kind != Kind::File {
            return (0, At::Zero);
        }
        let whole = (rest, At::Unreadable);
        match file.layout {
            Layout::Plain | Layout::Inline => match self.flat(file, offset, rest) {
                Some(bytes) => (rest, At::Here(bytes)),
                None => whole,
            },
            Layout::Chunked => self.chunks(file, offset, wanted.min(rest)).unwrap_or(whole),
        }
    }

    /// The path of an inode from the root, with slashes; empty for the root. For messages, because it is searched for.
    #[must_use]
    pub fn path(&self, nid: Nid) -> Option<String> {
        // Each directory that is met, with the one before it and its name there.
        let mut met: Vec<(Nid, usize, &[u8])> = vec![(self.root, 0, b"")];
        let path = |met: &[(Nid, usize, &[u8])], mut folder: usize, name| {
            let mut names = vec![String::from_utf8_lossy(name)];
            while folder > 0 {
                let (_, before, name) = met[folder];
                names.push(String::from_utf8_lossy(name));
                folder = before;
            }
            names.reverse();
            names.join("/")
        };
        if nid == self.root {
            return Some(String::new());
        }
        // In an index that lies, directories hold each other, or share their names. In any other one, all names have their own bytes.
        let mut left = self.all().len();
        let mut next = 0;
        while let Some((directory, ..)) = met.get(next).copied() {
            for entry in self.entries(&self.inode(directory)?, 0) {
                left = left.checked_sub(DIRENT + entry.name.len())?;
                if matches!(entry.name, b"." | b"..") {
                    continue;
                }
                if entry.nid == nid {
                    return Some(path(&met, next, entry.name));
                }
                if entry.kind == Kind::Directory {
                    met.push((entry.nid, next, entry.name));
                }
            }
            next += 1;
        }
        None
    }

    fn all(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    fn block_size(&self) -> u64 {
        1 << self.block_bits
    }

    fn slice(&self, start: u64, length: u64) -> Option<&[u8]> {
        let start = usize::try_from(start).ok()?;
        self.all().get(start..start.checked_add(usize::try_from(length).ok()?)?)
    }

    /// Content that lies in the index in one piece. Nothing that is inline is longer than a block here.
    fn flat(&self, inode: &Inode, offset: u64, length: u64) -> Option<&[u8]> {
        let start = match inode.layout {
            Layout::Inline => place(inode.nid)? as u64 + INODE,
            Layout::Plain => u64::from(inode.data) << self.block_bits,
            Layout::Chunked => return None,
        };
        self.slice(start.checked_add(offset)?, length)
    }

    /// A block of a directory.
    fn names(&self, directory: &Inode, number: u64) -> Option<Names<'_>> {
        let start = number << self.block_bits;
        let length = directory.size.checked_sub(start)?.min(self.block_size());
        Names::new(self.flat(directory, start, length)?)
    }

    fn chunks(&self, file: &Inode, offset: u64, wanted: u64) -> Option<(u64, At<'_>)> {
        let bits = file.data ^ CHUNK_INDEXES;
        if bits > CHUNK_BITS {
            return None;
        }
        let bits = u32::from(self.block_bits) + bits;
        let table = place(file.nid)? as u64 + INODE;
        let chunk = |number: u64| -> Option<Chunk> {
            let entry = self.slice(number.checked_mul(CHUNK)?.checked_add(table)?, CHUNK)?;
            Chunk::read_from_bytes(entry).ok()
        };
        let first = offset >> bits;
        let start = chunk(first)?;
        let end = |number: u64| (number + 1).saturating_mul(1 << bits).min(file.size);
        let (mut length, mut number) = (end(first) - offset, first);
        let blocks_per_chunk = 1u64 << (bits - u32::from(self.block_bits));
        while length < wanted {
            let (next, run) = (chunk(number + 1)?, (number + 1 - first) * blocks_per_chunk);
            let continues = match (start.block.get(), next.block.get()) {
                (HOLE, block) => block == HOLE,
                (from, block) => next.device == start.device && u64::from(block) == u64::from(from) + run,
            };
            if !continues {
                break;
            }
            number += 1;
            length = end(number) - offset;
        }
        let inside = offset - (first << bits);
        let at = (u64::from(start.block.get()) << self.block_bits).checked_add(inside)?;
        let place = match (start.block.get(), start.device.get()) {
            (HOLE, _) => At::Zero,
            (_, 0) => At::Here(self.slice(at, length)?),
            (_, device) if device <= self.devices => At::Device {
                device: u16::try_from(self.devices().nth(usize::from(device) - 1)?).ok()?,
                offset: at,
            },
            _ => At::Unreadable,
        };
        Some((length, place))
    }
}

impl<B> fmt::Debug for Index<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("inodes", &self.inodes).finish_non_exhaustive()
    }
}

/// The byte at which an inode begins. No inode lies in the header.
fn place(nid: Nid) -> Option<usize> {
    let place = nid.0.checked_mul(NID_UNIT).filter(|place| *place > HEADER_SIZE)?;
    usize::try_from(place).ok()
}

/// A block of a directory: dirents, and their names behind them.
#[derive(Clone, Copy)]
struct Names<'i> {
    block: &'i [u8],
    count: usize,
}

impl<'i> Names<'i> {
    fn new(block: &'i [u8]) -> Option<Self> {
        let (first, _) = Dirent::ref_from_prefix(block).ok()?;
        let count = usize::from(first.name_offset.get()) / DIRENT;
        (count > 0 && count * DIRENT <= block.len()).then_some(Self { block, count })
    }

    fn dirent(&self, entry: usize) -> Option<&'i Dirent> {
        let (dirent, _) = Dirent::ref_from_prefix(self.block.get(entry * DIRENT..)?).ok()?;
        Some(dirent)
    }

    fn name(&self, entry: usize) -> Option<&'i [u8]> {
        let start = usize::from(self.dirent(entry)?.name_offset.get());
        if entry + 1 < self.count {
            return self.block.get(start..usize::from(self.dirent(entry + 1)?.name_offset.get()));
        }
        // The last name ends with the block, or at a zero.
        let rest = self.block.get(start..)?;
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        rest.get(..end)
    }
}
