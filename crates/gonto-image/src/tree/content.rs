//! What is behind a node, and how it is read.

use std::io;
use std::sync::Arc;

use super::FileTree;
use super::damage::Damaged;
use super::node::{Kind, NodeId};
use super::note::{Note, Reason, Unreadable};
use crate::error::Error;
use crate::ntfs::Vcn;
use crate::ntfs::content::{Failure, Reader};
use crate::ntfs::gathering::Data;
use crate::ntfs::overlay::Overlaid;
use crate::ntfs::runs::Runs;
use crate::ntfs::stream::read_runs;
use crate::source::{Extent, Place, ReadAt};

/// What is behind a node.
#[derive(Debug)]
pub(super) enum Content {
    /// Place in `FileTree::directories`.
    Directory(u32),
    /// So small that it lay in the file's record.
    Inline(Box<[u8]>),
    /// In clusters. Behind the valid bytes the file is zero.
    Mapped { runs: Runs, valid: u64 },
    /// In clusters, compressed by NTFS.
    Compressed(Box<Data>),
    /// In a stream of the same file, compressed by the Windows Overlay Filter.
    Overlaid(Box<Overlaid>),
    /// The target of a symbolic link.
    Link(Box<[u8]>),
    /// There, but not read.
    Unreadable(Reason),
    /// A name is there; what it leads to is not, or lies.
    Damaged(Arc<Error>),
}

/// What the cache knows the content of a node, or one of its streams (counted from 1), by.
pub(super) fn content_number(id: NodeId, stream: usize) -> u64 {
    u64::from(id.0) | (stream as u64) << 32
}

/// A caller that asks for all extents of a file must not wait for a second each time: pieces that continue each other are joined
/// up to this many.
const MOST_JOINED: usize = 1000;

impl FileTree {
    /// Reads the content of a file from `offset` on, and returns how many bytes were read: as many as `buf` holds, or as
    /// there are up to the end of the file.
    ///
    /// Compressed content is decoded in units of 4 to 64 KiB: whole units straight into `buf`, others through a cache of a few MiB
    /// that all files share.
    ///
    /// # Errors
    /// [`io::ErrorKind::IsADirectory`] and [`io::ErrorKind::InvalidInput`] for what is no file;
    /// [`io::ErrorKind::Unsupported`], with an [`Unreadable`] in it, for content that is not read;
    /// [`io::ErrorKind::InvalidData`], with a [`Damaged`] in it, for what is damaged; what the image says.
    pub fn read_at(&self, file: NodeId, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.node(file).size.saturating_sub(offset);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..length];
        // Behind the end there is nothing to be looked for, but what is no readable file says so.
        let offset = if length == 0 { 0 } else { offset };
        let read = match &self.contents[file.index()] {
            Content::Inline(bytes) => bytes.as_ref().read_at(buf, offset).map_err(Failure::from),
            Content::Mapped { runs, valid } => {
                read_runs(self.volume.as_ref(), &self.geometry, runs, *valid, buf, offset)
                    .map_err(Failure::from)
            }
            Content::Compressed(data) => data.read_at(self.reader(), content_number(file, 0), buf, offset),
            Content::Overlaid(overlaid) => {
                overlaid.read_at(self.reader(), content_number(file, 0), buf, offset)
            }
            Content::Unreadable(reason) => return Err(unsupported(&self.path(file), *reason)),
            Content::Damaged(why) => {
                let damaged = Damaged { path: self.path(file), why: why.clone() };
                return Err(io::Error::new(io::ErrorKind::InvalidData, damaged));
            }
            Content::Directory(_) => return Err(io::ErrorKind::IsADirectory.into()),
            Content::Link(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        read.map_err(|failure| failure.about(|| self.path(file)))?;
        Ok(length)
    }

    /// Where the bytes of a file from `offset` on lie in the image files, up to where that changes: the extent map of the file, one
    /// range at a time. Nothing is read. Behind the end the length is 0. What lies in a record, is compressed or cannot be read is
    /// [`Place::Derived`], and so are links.
    #[must_use]
    pub fn extent(&self, file: NodeId, offset: u64) -> Extent {
        let rest = self.node(file).size.saturating_sub(offset);
        let whole = |place| Extent { length: rest, place };
        match &self.contents[file.index()] {
            _ if rest == 0 => whole(Place::Zero),
            Content::Mapped { runs, valid } => self.mapped_extent(runs, *valid, offset, rest),
            _ => whole(Place::Derived),
        }
    }

    /// All files, in the order in which their content begins in the image: reading them in this order is the fastest. Those without
    /// clusters come first.
    #[must_use]
    pub fn disk_order(&self) -> Vec<NodeId> {
        let ids = (0..).map(NodeId).take(self.len());
        let files = ids.filter(|id| self.node(*id).kind == Kind::File);
        let place = |id| self.first_place(id).unwrap_or((0, 0));
        let mut files: Vec<((u32, u64), NodeId)> = files.map(|id| (place(id), id)).collect();
        files.sort_unstable();
        files.into_iter().map(|(_, id)| id).collect()
    }

    /// Image file and offset in it at which the content of a file begins; `None` for what lies in no clusters.
    pub(crate) fn first_place(&self, file: NodeId) -> Option<(u32, u64)> {
        let place = match &self.contents[file.index()] {
            Content::Mapped { runs, .. } => {
                let first = runs.extents().find_map(|extent| extent.lcn);
                first.map(|lcn| self.geometry.offset(lcn))
            }
            Content::Compressed(data) => Some(data.place(&self.geometry, 0)),
            Content::Overlaid(overlaid) => Some(overlaid.stream().place(&self.geometry, 0)),
            _ => None,
        };
        match self.volume.extent(place?).place {
            Place::Image { layer, offset } => Some((layer, offset)),
            Place::Zero | Place::Derived => None,
        }
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { volume: self.volume.as_ref(), geometry: &self.geometry, cache: &self.cache }
    }

    fn mapped_extent(&self, runs: &Runs, valid: u64, offset: u64, rest: u64) -> Extent {
        let mut extent = self.piece(runs, valid, offset);
        for _ in 0..MOST_JOINED {
            if extent.length >= rest {
                break;
            }
            let next = self.piece(runs, valid, offset + extent.length);
            let joined = match (extent.place, next.place) {
                (Place::Image { layer, offset }, next) => {
                    next == Place::Image { layer, offset: offset + extent.length }
                }
                (here, next) => here == next,
            };
            if !joined {
                break;
            }
            extent.length = extent.length.saturating_add(next.length);
        }
        extent.at_most(rest)
    }

    /// The extent at `offset`, up to where a run, or what lies below the volume, ends.
    fn piece(&self, runs: &Runs, valid: u64, offset: u64) -> Extent {
        if offset >= valid {
            return Extent { length: u64::MAX, place: Place::Zero };
        }
        let cluster_size = self.geometry.cluster_size;
        let inside = offset % cluster_size;
        let Some(run) = runs.from(Vcn(offset / cluster_size)) else {
            return Extent { length: u64::MAX, place: Place::Derived };
        };
        let length = (run.length.saturating_mul(cluster_size) - inside).min(valid - offset);
        let Some(lcn) = run.lcn else { return Extent { length, place: Place::Zero } };
        match self.volume.extent(self.geometry.offset(lcn) + inside).at_most(length) {
            // Behind the end of the volume: reading it says so.
            Extent { length: 0, .. } => Extent { length, place: Place::Derived },
            extent => extent,
        }
    }
}

impl Failure {
    /// The error for the caller, who knows no other name of the content than its path.
    pub(super) fn about(self, path: impl FnOnce() -> String) -> io::Error {
        match self {
            Self::Io(error) => error,
            Self::Corrupt(why) => {
                let damaged = Damaged { path: path(), why: Arc::from(why) };
                io::Error::new(io::ErrorKind::InvalidData, damaged)
            }
            Self::Encrypted => unsupported(&path(), Reason::Encrypted),
        }
    }
}

fn unsupported(path: &str, reason: Reason) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, Unreadable(Note { path: path.to_owned(), reason }))
}
