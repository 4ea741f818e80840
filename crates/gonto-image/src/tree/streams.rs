//! Named streams, which Windows shows as `file:stream`.

use super::FileTree;
use super::content::content_number;
use super::damage::Damaged;
use super::node::NodeId;
use crate::ntfs::gathering::NamedData;
use crate::ntfs::stream::Stream;
use std::io;
use std::sync::Arc;

/// A named stream of a file or directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedStream<'t> {
    /// WTF-8, never empty.
    pub name: &'t [u8],
    /// In bytes.
    pub size: u64,
}

/// All named streams of a tree. Most volumes have few, so that they are not part of the nodes.
#[derive(Default)]
pub(super) struct Streams {
    /// Nodes that have any, ascending, and where in `streams` theirs begin.
    nodes: Vec<(NodeId, usize)>,
    streams: Vec<NamedData>,
    /// What they take in memory, about.
    bytes: usize,
}

/// Far more than the streams of any real volume take, and little enough to be kept.
const MOST_BYTES: usize = 256 << 20;

impl Streams {
    /// Adds those of a node, which is behind all nodes before; `false` when there are too many already.
    pub(super) fn add(&mut self, node: NodeId, streams: Box<[NamedData]>) -> bool {
        if streams.is_empty() {
            return true;
        }
        let bytes: usize = streams.iter().map(memory).sum();
        if self.bytes.saturating_add(bytes) > MOST_BYTES {
            return false;
        }
        self.bytes += bytes;
        self.nodes.push((node, self.streams.len()));
        self.streams.extend(streams);
        true
    }

    fn of(&self, node: NodeId) -> &[NamedData] {
        let Ok(place) = self.nodes.binary_search_by_key(&node, |(node, _)| *node) else { return &[] };
        let end = self.nodes.get(place + 1).map_or(self.streams.len(), |(_, start)| *start);
        &self.streams[self.nodes[place].1..end]
    }
}

fn memory(stream: &NamedData) -> usize {
    let content = match stream.data.as_ref().map(|data| &data.stream) {
        Ok(Stream::Resident(bytes)) => bytes.len(),
        Ok(Stream::Mapped(mapped)) => mapped.runs.memory(),
        Err(_) => 0,
    };
    size_of::<NamedData>() + 128 + stream.name.len() + content
}

impl FileTree {
    /// The named streams of a file or directory, sorted by the bytes of their names. Compressed data of the Windows Overlay
    /// Filter are among them, as `WofCompressedData`.
    ///
    /// They are kept in at most 256 MiB; where that is not enough, there is a note, and some nodes show none.
    pub fn streams(&self, id: NodeId) -> impl ExactSizeIterator<Item = NamedStream<'_>> {
        self.streams.of(id).iter().map(|stream| NamedStream {
            name: &stream.name,
            size: stream.data.as_ref().map_or(0, |data| data.stream.size()),
        })
    }

    /// Reads from the stream at position `index` of [`streams`](Self::streams), as [`read_at`](Self::read_at) does from a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when there is no such stream; else as [`read_at`](Self::read_at).
    pub fn read_stream_at(&self, id: NodeId, index: usize, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(stream) = self.streams.of(id).get(index) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let path = || format!("{}:{}", self.path(id), String::from_utf8_lossy(&stream.name));
        let data = stream.data.as_ref().map_err(|why: &Arc<_>| {
            io::Error::new(io::ErrorKind::InvalidData, Damaged { path: path(), why: why.clone() })
        })?;
        let rest = data.stream.size().saturating_sub(offset);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        if length > 0 {
            let number = content_number(id, index + 1);
            let read = data.read_at(self.reader(), number, &mut buf[..length], offset);
            read.map_err(|failure| failure.about(path))?;
        }
        Ok(length)
    }
}
