//! What a FUSE server answers from: the index of an image, or its file tree where it has none.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gonto_image::index::{At, Inode, Nid};
use gonto_image::{FileTree, Kind, NodeId, ReadAt};

use super::opened::{OpenIndex, OpenTree, told_of};

/// An image that is served.
#[derive(Clone)]
pub(super) enum Served {
    Index(Arc<OpenIndex>),
    /// Slower to open; for images that EROFS cannot express.
    Tree(OpenTree),
}

/// What a file system says about a file.
pub(super) struct Attributes {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) size: u64,
    /// Permission bits.
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) modified: SystemTime,
}

/// A name in a folder.
pub(super) struct Entry<'s> {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) name: &'s [u8],
    /// The position of the next one.
    pub(super) next: u64,
}

/// The number of the root, as FUSE wants it. No inode of an index has it, and nodes of a tree count from here.
const ROOT: u64 = 1;

thread_local! {
    /// Content on its way. A new buffer for each read would be a new piece of memory from the system each time.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Served {
    /// What is known of a file.
    pub(super) fn attributes(&self, number: u64) -> Option<Attributes> {
        match self {
            Self::Index(open) => {
                let inode = inode(open, number)?;
                Some(Attributes {
                    number,
                    kind: inode.kind,
                    size: inode.size,
                    mode: inode.mode,
                    links: inode.links,
                    modified: moment(inode.modified),
                })
            }
            Self::Tree(OpenTree { tree, .. }) => {
                let node = tree.node(node(tree, number)?);
                Some(Attributes {
                    number,
                    kind: node.kind,
                    size: node.size,
                    mode: u16::try_from(node.mode & 0o777).unwrap_or(0),
                    links: node.links,
                    modified: node.modified.to_system_time(),
                })
            }
        }
    }

    /// The number of what a name in a folder leads to.
    pub(super) fn lookup(&self, folder: u64, name: &[u8]) -> Option<u64> {
        match self {
            Self::Index(open) => {
                open.index.lookup(&inode(open, folder)?, name).map(|nid| index_number(open, nid))
            }
            Self::Tree(OpenTree { tree, .. }) => tree.lookup(node(tree, folder)?, name).map(tree_number),
        }
    }

    /// Gives the entries of a folder from a position on to `each`, `.` and `..` among them, until that says `false`.
    pub(super) fn list(
        &self,
        folder: u64,
        position: u64,
        each: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Option<()> {
        match self {
            Self::Index(open) => {
                let inode = inode(open, folder)?;
                for entry in open.index.entries(&inode, position) {
                    let number = index_number(open, entry.nid);
                    if !each(Entry { number, kind: entry.kind, name: entry.name, next: entry.next }) {
                        break;
                    }
                }
            }
            Self::Tree(OpenTree { tree, .. }) => {
                let id = node(tree, folder)?;
                let dots = [(&b"."[..], id), (b"..", tree.parent(id))];
                let skipped = usize::try_from(position).unwrap_or(usize::MAX);
                let all = dots.into_iter().chain(tree.entries(id).iter());
                for (next, (name, child)) in all.enumerate().skip(skipped) {
                    let (number, kind) = (tree_number(child), tree.node(child).kind);
                    if !each(Entry { number, kind, name, next: next as u64 + 1 }) {
                        break;
                    }
                }
            }
        }
        Some(())
    }

    /// The target of a symbolic link.
    pub(super) fn target(&self, number: u64) -> Option<&[u8]> {
        match self {
            Self::Index(open) => open.index.target(&inode(open, number)?),
            Self::Tree(OpenTree { tree, .. }) => {
                let id = node(tree, number)?;
                (tree.node(id).kind == Kind::Symlink).then(|| tree.link_target(id))
            }
        }
    }

    /// Gives at most `size` bytes of a file from `offset` on to `take`; fewer only at its end.
    pub(super) fn read<T>(
        &self,
        number: u64,
        offset: u64,
        size: u32,
        take: impl FnOnce(&[u8]) -> T,
    ) -> io::Result<T> {
        let stale = || io::Error::from_raw_os_error(libc::ESTALE);
        match self {
            Self::Index(open) => {
                let inode = inode(open, number).ok_or_else(stale)?;
                let wanted = inode.size.saturating_sub(offset).min(size.into());
                if let (length, At::Here(bytes)) = open.index.content_at(&inode, offset, wanted)
                    && length >= wanted
                {
                    return Ok(take(&bytes[..usize::try_from(wanted).unwrap_or(0).min(bytes.len())]));
                }
                in_buffer(wanted, |buffer| read_pieces(open, &inode, offset, buffer), take)
            }
            Self::Tree(OpenTree { tree, .. }) => {
                let id = node(tree, number).ok_or_else(stale)?;
                let wanted = tree.node(id).size.saturating_sub(offset).min(size.into());
                in_buffer(wanted, |buffer| tree.read_at(id, buffer, offset).map(drop), take)
            }
        }
    }

    /// The path of a file and what is wrong with it, for a message.
    pub(super) fn describe(&self, number: u64, error: &io::Error) -> String {
        match self {
            Self::Index(open) => {
                let path = open.index.path(index_nid(open, number)).unwrap_or_default();
                let known = open.notes.iter().find(|note| note.path == path);
                known.map_or_else(|| told_of(&path, error), |note| note.text.clone())
            }
            Self::Tree(OpenTree { tree, .. }) => {
                told_of(&node(tree, number).map_or_else(String::new, |id| tree.path(id)), error)
            }
        }
    }

    /// How many files there are, and how many bytes they have.
    pub(super) fn totals(&self) -> (u64, u64) {
        match self {
            Self::Index(open) => (open.index.len(), open.index.content()),
            Self::Tree(OpenTree { tree, .. }) => {
                let ids = (0..).map(NodeId).take(tree.len());
                let bytes = ids.fold(0u64, |sum, id| sum.saturating_add(tree.node(id).size));
                (tree.len() as u64, bytes)
            }
        }
    }
}

fn in_buffer<T>(
    length: u64,
    fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    take: impl FnOnce(&[u8]) -> T,
) -> io::Result<T> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let part = &mut buffer[..length];
        fill(part)?;
        Ok(take(part))
    })
}

fn read_pieces(open: &OpenIndex, inode: &Inode, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        let (length, at) = open.index.content_at(inode, offset, buffer.len() as u64);
        let piece = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
        if piece == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (part, rest) = buffer.split_at_mut(piece);
        match at {
            At::Here(bytes) => part.copy_from_slice(&bytes[..piece]),
            At::Zero => part.fill(0),
            At::Device { device, offset } => {
                let layer = open.layers.get(usize::from(device)).ok_or(io::ErrorKind::NotFound)?;
                layer.read_at(part, offset)?;
            }
            At::Unreadable => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its content cannot be read"));
            }
        }
        buffer = rest;
        offset += piece as u64;
    }
    Ok(())
}

fn inode(open: &OpenIndex, number: u64) -> Option<Inode> {
    open.index.inode(index_nid(open, number))
}

fn index_nid(open: &OpenIndex, number: u64) -> Nid {
    if number == ROOT { open.index.root() } else { Nid(number) }
}

fn index_number(open: &OpenIndex, nid: Nid) -> u64 {
    if nid == open.index.root() { ROOT } else { nid.0 }
}

fn node(tree: &FileTree, number: u64) -> Option<NodeId> {
    let index = number.checked_sub(ROOT)?;
    (index < tree.len() as u64).then_some(NodeId(u32::try_from(index).ok()?))
}

fn tree_number(id: NodeId) -> u64 {
    u64::from(id.0) + ROOT
}

/// The moment as the system counts; 1970 where the system cannot count so far.
fn moment((seconds, nanos): (i64, u32)) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    };
    let moment = whole.and_then(|whole| whole.checked_add(Duration::from_nanos(nanos.into())));
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}
