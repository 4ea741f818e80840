//! An index, and whether it says the same as its tree.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use gonto_image::index::{self, At, Index, IndexError, Inode, Nid, Unindexed, Written};
use gonto_image::{FileTree, Kind, NodeId, ReadAt};

pub(crate) const STAMP: &[u8] = b"what the caller wants to keep";

/// An index in memory.
pub(crate) struct Indexed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) written: Written,
    /// Paths and reasons.
    pub(crate) unreadable: Vec<(String, String)>,
}

pub(crate) fn index_of(tree: &FileTree, layers: &[Arc<dyn ReadAt>]) -> Result<Indexed, IndexError> {
    let mut unreadable = Vec::new();
    let file = tempfile::tempfile().unwrap();
    let stamp = |unindexed: &[Unindexed]| {
        unreadable.extend(unindexed.iter().map(|file| (file.path.clone(), file.why.to_string())));
        STAMP.to_vec()
    };
    let written = index::write(tree, layers, &file, stamp, &|| Ok(()))?;
    Ok(Indexed { bytes: all_of(&file), written, unreadable })
}

fn all_of(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    io::Seek::rewind(&mut file).unwrap();
    io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    bytes
}

/// Writes the index of an image without parents, compares it with the tree, and gives it back.
#[track_caller]
pub(crate) fn check(image: Arc<dyn ReadAt>) -> Indexed {
    let tree = FileTree::open(image.clone()).unwrap();
    check_tree(&tree, &[image])
}

#[track_caller]
pub(crate) fn check_tree(tree: &FileTree, layers: &[Arc<dyn ReadAt>]) -> Indexed {
    let indexed = index_of(tree, layers).unwrap();
    // The order in which threads get their work must not be seen.
    assert!(indexed.bytes == index_of(tree, layers).unwrap().bytes, "another index the second time");
    let index = Index::open(indexed.bytes.as_slice()).unwrap();
    assert_eq!(indexed.written.size, indexed.bytes.len() as u64);
    assert!(indexed.written.size.is_multiple_of(indexed.written.block_size));
    assert_eq!(index.stamp(), STAMP);
    assert_eq!(index.len(), tree.len() as u64);
    let files = (0..u32::try_from(tree.len()).unwrap()).map(NodeId);
    let files = files.filter(|id| tree.node(*id).kind == Kind::File);
    assert_eq!(index.content(), files.map(|id| tree.node(id).size).sum::<u64>());
    let devices: Vec<u32> = index.devices().collect();
    let own: Vec<u32> = (0..u32::try_from(layers.len()).unwrap()).collect();
    assert!(devices == own || devices == [own, vec![0]].concat(), "{devices:?}");
    let mut comparison = Comparison { tree, layers, indexed: &indexed, index, met: HashMap::new() };
    comparison.all();
    indexed
}

struct Comparison<'a> {
    tree: &'a FileTree,
    layers: &'a [Arc<dyn ReadAt>],
    indexed: &'a Indexed,
    index: Index<&'a [u8]>,
    /// The node of each inode.
    met: HashMap<Nid, NodeId>,
}

impl Comparison<'_> {
    fn all(&mut self) {
        let mut unreadable: Vec<String> = Vec::new();
        let mut nids: HashMap<NodeId, Nid> = HashMap::from([(self.tree.root(), self.index.root())]);
        let mut waiting = vec![self.tree.root()];
        while let Some(id) = waiting.pop() {
            let inode = self.inode(id, nids[&id]);
            match inode.kind {
                Kind::Directory => {
                    let parent = nids[&self.tree.parent(id)];
                    self.directory(id, &inode, parent);
                    for (name, child) in self.tree.entries(id).iter() {
                        let nid = self.index.lookup(&inode, name).unwrap();
                        // All names of a file lead to one inode.
                        if nids.insert(child, nid).is_some_and(|before| before != nid) {
                            panic!("{} has two inodes", self.tree.path(child));
                        }
                        if !self.met.contains_key(&nid) {
                            waiting.push(child);
                        }
                    }
                }
                Kind::Symlink => {
                    assert_eq!(self.index.target(&inode), Some(self.tree.link_target(id)));
                }
                Kind::File => {
                    if !self.content(id, &inode) {
                        unreadable.push(self.tree.path(id));
                    }
                    assert_eq!(self.index.target(&inode), None);
                }
            }
        }
        let mut told: Vec<String> = self.indexed.unreadable.iter().map(|(path, _)| path.clone()).collect();
        told.sort();
        unreadable.sort();
        assert_eq!(told, unreadable);
        self.paths(&nids);
    }

    fn paths(&self, nids: &HashMap<NodeId, Nid>) {
        // Each is searched for.
        let step = nids.len().div_ceil(200);
        for (id, nid) in nids.iter().step_by(step) {
            let path = self.index.path(*nid).unwrap();
            if self.tree.node(*id).links == 1 || self.tree.node(*id).kind == Kind::Directory {
                assert_eq!(path, self.tree.path(*id));
            }
        }
        assert_eq!(self.index.path(Nid(u64::MAX)), None);
    }

    fn inode(&mut self, id: NodeId, nid: Nid) -> Inode {
        if let Some(other) = self.met.insert(nid, id).filter(|other| *other != id) {
            panic!("{} and {} are one inode", self.tree.path(id), self.tree.path(other));
        }
        let (node, path) = (self.tree.node(id), self.tree.path(id));
        let inode = self.index.inode(nid).unwrap_or_else(|| panic!("{path} has no inode"));
        assert_eq!((inode.nid, inode.kind), (nid, node.kind), "{path}");
        assert_eq!(u32::from(inode.mode), node.mode & 0o777, "{path}");
        let (seconds, nanos) = inode.modified;
        assert_eq!(
            i128::from(seconds) * 1_000_000_000 + i128::from(nanos),
            node.modified.unix_nanos(),
            "{path}"
        );
        if node.kind == Kind::Directory {
            let children = self.tree.entries(id);
            let is_folder = |(_, child): &(&[u8], NodeId)| self.tree.node(*child).kind == Kind::Directory;
            assert_eq!(inode.links as usize, 2 + children.iter().filter(is_folder).count(), "{path}");
        } else {
            assert_eq!((inode.size, inode.links), (node.size, node.links), "{path}");
        }
        inode
    }

    fn directory(&self, id: NodeId, inode: &Inode, parent: Nid) {
        let path = self.tree.path(id);
        let entries: Vec<_> = self.index.entries(inode, 0).collect();
        let mut expected: Vec<&[u8]> = self.tree.entries(id).iter().map(|(name, _)| name).collect();
        expected.extend([&b"."[..], b".."]);
        expected.sort_unstable();
        let names: Vec<&[u8]> = entries.iter().map(|entry| entry.name).collect();
        let first = names.iter().zip(&expected).position(|(one, other)| one != other);
        assert!(
            names == expected,
            "{path:?}: {} names and not {}, {first:?}, {inode:?}",
            names.len(),
            expected.len()
        );
        for (number, entry) in entries.iter().enumerate() {
            let lead_to = match entry.name {
                b"." => inode.nid,
                b".." => parent,
                _ => self.index.lookup(inode, entry.name).unwrap(),
            };
            assert_eq!((entry.nid, self.index.lookup(inode, entry.name)), (lead_to, Some(lead_to)), "{path}");
            assert_eq!(self.index.inode(entry.nid).unwrap().kind, entry.kind, "{path}");
            // Of a huge directory not all rests are read.
            let rest = &entries[number + 1..];
            let rest = if entries.len() > 400 { &rest[..rest.len().min(3)] } else { rest };
            let resumed = self.index.entries(inode, entry.next).take(rest.len().max(1));
            assert!(resumed.eq(rest.iter().copied()), "{path}: from {:?} on", entry.name);
        }
        let end = entries.last().unwrap().next;
        for position in [end, end + 1, u64::MAX, u64::MAX - 4095] {
            assert_eq!(self.index.entries(inode, position).count(), 0, "{path}: {position}");
        }
        for name in names_beside(&expected) {
            let found = self.index.lookup(inode, &name);
            assert_eq!(found.is_some(), expected.binary_search(&name.as_slice()).is_ok(), "{path}: {name:?}");
        }
    }

    /// Whether it can be read.
    fn content(&self, id: NodeId, inode: &Inode) -> bool {
        let path = self.tree.path(id);
        for offset in [inode.size, inode.size + 1, u64::MAX] {
            assert_eq!(self.index.content_at(inode, offset, 100).0, 0, "{path}: {offset}");
        }
        // What is not read says so at the first byte; what cannot be decompressed, somewhere.
        let readable = inode.size == 0
            || if inode.size > 1 << 30 { self.read(id, 0, 1).is_ok() } else { self.whole(id, inode.size) };
        let mut offset = 0;
        while offset < inode.size {
            let (length, at) = self.index.content_at(inode, offset, u64::MAX);
            assert!(length > 0 && length <= inode.size - offset, "{path}: {offset} {at:?}");
            assert_eq!(at == At::Unreadable, !readable, "{path}: {offset}");
            for inside in [0, 1, length / 2, length.saturating_sub(513), length - 1] {
                for wanted in [1, 512, 4096, length - inside.min(length - 1)] {
                    self.piece(id, inode, offset + inside.min(length - 1), wanted);
                }
            }
            offset += length;
        }
        if readable && inode.size > 0 {
            self.behind_the_end(inode, &path);
        }
        readable
    }

    fn read(&self, id: NodeId, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        let count = self.tree.read_at(id, &mut bytes, offset)?;
        assert_eq!(count, bytes.len());
        Ok(bytes)
    }

    fn whole(&self, id: NodeId, size: u64) -> bool {
        const PIECE: u64 = 1 << 20;
        (0..size.div_ceil(PIECE).max(1))
            .all(|n| self.read(id, n * PIECE, PIECE.min(size - n * PIECE)).is_ok())
    }

    fn piece(&self, id: NodeId, inode: &Inode, offset: u64, wanted: u64) {
        let path = self.tree.path(id);
        let (length, at) = self.index.content_at(inode, offset, wanted);
        assert!(
            length >= wanted.min(1) && length <= inode.size - offset,
            "{path}: {length} bytes at {offset}"
        );
        // Of a long piece the beginning and the end.
        let some = length.min(70_000);
        for from in [0, length - some] {
            let found = match at {
                At::Unreadable => return,
                At::Zero => vec![0; usize::try_from(some).unwrap()],
                At::Here(bytes) => {
                    assert_eq!(bytes.len() as u64, length, "{path}");
                    bytes[usize::try_from(from).unwrap()..][..usize::try_from(some).unwrap()].to_vec()
                }
                At::Device { device, offset } => {
                    let mut bytes = vec![0; usize::try_from(some).unwrap()];
                    self.layers[usize::from(device)].read_at(&mut bytes, offset + from).unwrap();
                    bytes
                }
            };
            let expected = self.read(id, offset + from, some).unwrap();
            assert!(found == expected, "{path}: {offset} + {from}, {some} bytes {at:?}");
        }
    }

    /// Who maps the file into memory sees the rest of its last block.
    fn behind_the_end(&self, inode: &Inode, path: &str) {
        let block = self.indexed.written.block_size;
        let last = (inode.size - 1) / block * block;
        let (length, at) = self.index.content_at(inode, last, u64::MAX);
        assert_eq!(length, inode.size - last, "{path}");
        let rest = usize::try_from(block - length).unwrap();
        match at {
            At::Here(bytes) => {
                let start = bytes.as_ptr() as usize - self.indexed.bytes.as_ptr() as usize;
                // Else it lies behind its inode, and the kernel makes zeros of what follows.
                if start.is_multiple_of(usize::try_from(block).unwrap()) {
                    let behind = &self.indexed.bytes[start + bytes.len()..][..rest];
                    assert!(behind.iter().all(|byte| *byte == 0), "{path}: in the index");
                }
            }
            At::Device { device, offset } => {
                assert!(offset.is_multiple_of(block), "{path}: {offset}");
                let mut behind = vec![0; rest];
                self.layers[usize::from(device)].read_at(&mut behind, offset + length).unwrap();
                assert!(behind.iter().all(|byte| *byte == 0), "{path}: in device {device} at {offset}");
            }
            At::Zero | At::Unreadable => {}
        }
    }
}

/// Names that sort before, between and behind these. Some may be among them.
fn names_beside(names: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut beside = vec![Vec::new(), vec![1], vec![255; 300], b".".repeat(3)];
    for name in names {
        beside.push([name, &[0x01][..]].concat());
        beside.push([name, &[0xff][..]].concat());
        beside.push(name[..name.len() - 1].to_vec());
        let mut other = name.to_vec();
        *other.last_mut().unwrap() ^= 1;
        beside.push(other);
    }
    beside
}
