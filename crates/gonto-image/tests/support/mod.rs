//! What the integration tests share: images in memory, and trees as lists of lines.

#![allow(dead_code, reason = "no test needs all of it")]

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read};
use std::sync::Arc;

use gonto_image::partition::Partition;
use gonto_image::{
    Extent, FileTree, Kind, NodeId, Options, Place, ReadAt, Verification, VirtualDisk, Volume, verify,
};
use sha2::{Digest, Sha256};

pub(crate) mod corpus;
#[cfg(target_os = "linux")]
pub(crate) mod ntfs3g;

/// An image in memory that keeps only what is not zero: images of a gigabyte are mostly empty.
#[derive(Default)]
pub(crate) struct SparseMemory {
    size: u64,
    chunks: HashMap<u64, Box<[u8]>>,
}

const CHUNK: usize = 64 << 10;

impl SparseMemory {
    pub(crate) fn from_reader(mut reader: impl Read) -> io::Result<Self> {
        let mut memory = Self::default();
        let mut buf = vec![0; CHUNK];
        loop {
            let mut filled = 0;
            while filled < CHUNK {
                match reader.read(&mut buf[filled..])? {
                    0 => break,
                    count => filled += count,
                }
            }
            if buf[..filled].iter().any(|byte| *byte != 0) {
                let mut chunk = buf.clone();
                chunk[filled..].fill(0);
                memory.chunks.insert(memory.size / CHUNK as u64, chunk.into());
            }
            memory.size += filled as u64;
            if filled < CHUNK {
                return Ok(memory);
            }
        }
    }
}

impl ReadAt for SparseMemory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let inside = usize::try_from(at % CHUNK as u64).unwrap();
            let count = (CHUNK - inside).min(buf.len() - done);
            let piece = &mut buf[done..done + count];
            match self.chunks.get(&(at / CHUNK as u64)) {
                Some(chunk) => piece.copy_from_slice(&chunk[inside..inside + count]),
                None => piece.fill(0),
            }
            done += count;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// The fixture that `fixtures/make.sh` makes.
pub(crate) fn everything() -> Vec<u8> {
    zstd::decode_all(&include_bytes!("../fixtures/everything.vhd.zst")[..]).unwrap()
}

/// The fixture that `fixtures/make-compressed.sh` makes.
pub(crate) fn compressed() -> Vec<u8> {
    zstd::decode_all(&include_bytes!("../fixtures/compressed.raw.zst")[..]).unwrap()
}

/// The node that a path with slashes leads to.
pub(crate) fn find(tree: &FileTree, path: &str) -> NodeId {
    path.split('/').fold(tree.root(), |dir, name| {
        tree.lookup(dir, name.as_bytes()).unwrap_or_else(|| panic!("{path}: {name} is missing"))
    })
}

/// All of a file's content.
pub(crate) fn content(tree: &FileTree, file: NodeId) -> io::Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(tree.node(file).size).unwrap()];
    let count = tree.read_at(file, &mut content, 0)?;
    assert_eq!(count, content.len());
    Ok(content)
}

/// Every path of a tree but the root's, sorted, with its node.
pub(crate) fn paths(tree: &FileTree) -> Vec<(String, NodeId)> {
    let mut paths = Vec::new();
    let mut folders = vec![(String::new(), tree.root())];
    while let Some((folder, dir)) = folders.pop() {
        for (name, node) in tree.entries(dir).iter() {
            let path = format!("{folder}{}", String::from_utf8_lossy(name));
            if tree.node(node).kind == Kind::Directory {
                folders.push((format!("{path}/"), node));
            }
            paths.push((path, node));
        }
    }
    paths.sort();
    paths
}

/// SHA-256 of a file's content, read in pieces of an odd size, so that they begin and end anywhere.
pub(crate) fn sha256(tree: &FileTree, file: NodeId) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buf = vec![0; 123_457];
    let mut offset = 0;
    loop {
        match tree.read_at(file, &mut buf, offset)? {
            0 => return Ok(hex(hash)),
            count => {
                hash.update(&buf[..count]);
                offset += count as u64;
            }
        }
    }
}

/// SHA-256 of all of a source.
pub(crate) fn sha256_of(source: &dyn ReadAt) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < source.size() {
        let count = buf.len().min(usize::try_from(source.size() - offset).unwrap_or(usize::MAX));
        source.read_at(&mut buf[..count], offset)?;
        hash.update(&buf[..count]);
        offset += count as u64;
    }
    Ok(hex(hash))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The disk in a container.
pub(crate) fn disk(image: Arc<dyn ReadAt>) -> Arc<dyn ReadAt> {
    VirtualDisk::open(image, &Options::default()).unwrap().disk().clone()
}

/// The whole chain of an error, as the program prints it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[track_caller]
pub(crate) fn assert_tells(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

/// Of the fixture.
pub(crate) const RECORD_SIZE: usize = 1024;

/// Byte offsets in the image at which a record of a file or an index block with this name begins.
pub(crate) fn blocks_with_name(image: &[u8], signature: &[u8; 4], name: &str) -> Vec<usize> {
    let utf16: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let starts =
        (0..image.len() / 512).map(|sector| sector * 512).filter(|at| image[*at..].starts_with(signature));
    starts
        .filter(|at| image[*at..at + RECORD_SIZE].windows(utf16.len()).any(|window| window == utf16))
        .collect()
}

/// Where the record of the file with this name begins.
pub(crate) fn record_of(image: &[u8], name: &str) -> usize {
    let found = blocks_with_name(image, b"FILE", name);
    // Directories keep the names of their files in their record as well; the file's own comes with its data.
    *found.iter().find(|at| attribute(image, **at, 0x90).is_none()).unwrap()
}

/// Where in a record the attribute of a type begins.
pub(crate) fn attribute(image: &[u8], record: usize, kind: u32) -> Option<usize> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(image[at..at + 2].try_into().unwrap()));
    let u32_at = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let mut at = record + u16_at(record + 0x14);
    while u32_at(at) != u32::MAX {
        if u32_at(at) == kind {
            return Some(at);
        }
        at += u32_at(at + 4) as usize;
    }
    None
}

/// Checks that the extent maps of all files, and what lies there in the image files (the image itself first, then its parents),
/// are the same as their content.
pub(crate) fn check_extents(tree: &FileTree, layers: &[&dyn ReadAt]) {
    for (path, id) in paths(tree).into_iter().filter(|(_, id)| tree.node(*id).kind == Kind::File) {
        let size = tree.node(id).size;
        assert_eq!(tree.extent(id, size).length, 0, "{path}");
        assert_eq!(tree.extent(id, u64::MAX).length, 0, "{path}");
        let mut offset = 0;
        let mut last = None;
        while offset < size {
            let extent = tree.extent(id, offset);
            assert!(extent.length > 0 && extent.length <= size - offset, "{path}: {offset} {extent:?}");
            let goes_on = match (last, extent.place) {
                (Some((Place::Image { layer, offset }, length)), next) => {
                    next == Place::Image { layer, offset: offset + length }
                }
                (last, next) => last.is_some_and(|(last, _)| last == next),
            };
            assert!(!goes_on, "{path}: {offset} {extent:?} continues {last:?}");
            last = Some((extent.place, extent.length));
            check_extent(tree, layers, id, offset, extent);
            // From anywhere inside, the rest is told.
            let inside = extent.length / 2;
            let rest = tree.extent(id, offset + inside);
            assert_eq!(rest.length, extent.length - inside, "{path}: {offset}");
            offset += extent.length;
        }
    }
}

fn check_extent(tree: &FileTree, layers: &[&dyn ReadAt], file: NodeId, offset: u64, extent: Extent) {
    // Of long ones the start and the end.
    let length = extent.length.min(1 << 20);
    for from in [0, extent.length - length] {
        let mut expected = vec![0; usize::try_from(length).unwrap()];
        match extent.place {
            Place::Zero => {}
            Place::Image { layer, offset } => {
                layers[layer as usize].read_at(&mut expected, offset + from).unwrap();
            }
            Place::Derived => return,
        }
        let mut found = vec![9; expected.len()];
        assert_eq!(tree.read_at(file, &mut found, offset + from).unwrap(), found.len());
        assert!(found == expected, "{}: {offset} {extent:?}", tree.path(file));
    }
}

/// The partitions of a disk without a container.
pub(crate) fn partitions(disk: &Arc<dyn ReadAt>) -> Vec<Partition> {
    let options = Options::default();
    let disk = VirtualDisk::open(disk.clone(), &options).unwrap();
    gonto_image::partition::table(&disk, &options).unwrap().partitions().to_vec()
}

/// The volume of the fixture alone.
pub(crate) fn volume() -> Vec<u8> {
    let disk = disk(Arc::new(everything()));
    let partition = partitions(&disk)[1].clone();
    let mut volume = vec![0; usize::try_from(partition.size).unwrap()];
    disk.read_at(&mut volume, partition.start).unwrap();
    volume
}

/// What verifying the volume of an image finds.
pub(crate) fn verified(image: Arc<dyn ReadAt>) -> Result<Verification, gonto_image::Error> {
    let options = Options::default();
    verify(&Volume::find(&VirtualDisk::open(image, &options)?, &options)?)
}

/// All of it, a line each.
pub(crate) fn findings(image: Arc<dyn ReadAt>) -> Vec<String> {
    let verification = verified(image).unwrap();
    verification.findings().iter().map(|finding| format!("{}: {finding}", finding.severity)).collect()
}

/// Bytes that are the same nowhere else.
pub(crate) fn distinct(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(next).flat_map(u64::to_le_bytes).take(size).collect()
}

/// A small generator of numbers that is the same everywhere (splitmix64), so that a failure can be repeated.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}
