//! The bytes of a file or of one of its streams.

use std::io;

use gonto_image::{FileTree, NodeId};
use serde::Serialize;

/// Something that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Content {
    pub(super) node: NodeId,
    pub(super) stream: Option<usize>,
}

/// A named stream of a file or folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Stream {
    /// Its name: WTF-8.
    #[serde(serialize_with = "super::list::lossy")]
    pub name: Vec<u8>,
    /// Its size in bytes.
    pub size: u64,
}

/// The named streams of a node, sorted by the bytes of their names, which is how they are numbered.
pub(super) fn streams(tree: &FileTree, node: NodeId) -> Vec<Stream> {
    tree.streams(node).map(|stream| Stream { name: stream.name.to_vec(), size: stream.size }).collect()
}

impl Content {
    /// What is in the file itself.
    pub(super) fn of(node: NodeId) -> Self {
        Self { node, stream: None }
    }

    /// Reads as [`FileTree::read_at`] does.
    pub(super) fn read_at(self, tree: &FileTree, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.stream {
            None => tree.read_at(self.node, buf, offset),
            Some(number) => tree.read_stream_at(self.node, number, buf, offset),
        }
    }

    /// Hands all bytes to `take`, in pieces as long as `buf`.
    pub(super) fn read_all(
        self,
        tree: &FileTree,
        buf: &mut [u8],
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<u64> {
        let mut offset = 0;
        loop {
            let count = self.read_at(tree, buf, offset)?;
            take(&buf[..count])?;
            offset += count as u64;
            if count < buf.len() {
                return Ok(offset);
            }
        }
    }
}
