//! From records and indexes to the tree: whatever the root's index leads to, level by level.

use std::collections::HashMap;
use std::sync::Arc;

use super::content::Content;
use super::damage::Damages;
use super::entries::{Directory, Entry};
use super::node::{Kind, NodeId, Owner, Reparsed};
use super::note::{Notes, Reason};
use super::seen::Seen;
use super::streams::Streams;
use super::{FileTree, link};
use crate::error::{Error, Mismatch};
use crate::ntfs::directories::Listings;
use crate::ntfs::extended_attributes::Wsl;
use crate::ntfs::gathering::NamedData;
use crate::ntfs::index::{Listed, Listing};
use crate::ntfs::log_file::LogState;
use crate::ntfs::mft::Mft;
use crate::ntfs::reparse::{Reparse, ReparsePoint};
use crate::ntfs::scan::Inodes;
use crate::ntfs::unit_cache::UnitCache;
use crate::ntfs::volume_record::VolumeRecord;
use crate::ntfs::{FIRST_USER_RECORD, LOG_FILE_RECORD, ROOT_RECORD, Reference};
use crate::options::Damage;

/// Reads everything and builds the tree.
pub(super) fn build(mft: &Mft, damage: Damage) -> Result<FileTree, Error> {
    let (volume, damaged) = match VolumeRecord::read(mft) {
        Err(error) if damage == Damage::Show => (VolumeRecord::default(), Some(error)),
        read => (read?, None),
    };
    let inodes = Inodes::scan(mft);
    let listings = Listings::read(mft, &inodes);
    let mut builder = Builder::new(mft, damage, inodes, listings, &volume);
    builder.note_volume(&volume);
    if let Some(error) = damaged {
        builder.tree.damage.add(&Arc::new(error), || "$Volume".into());
    }
    builder.add_root()?;
    builder.walk()?;
    let Builder { mut tree, links, .. } = builder;
    link::resolve(&mut tree, links);
    Ok(tree)
}

struct Builder<'m> {
    mft: &'m Mft,
    damage: Damage,
    inodes: Inodes,
    listings: Listings,
    tree: FileTree,
    /// For each inode one more than its node, or 0 as long as no name led to it.
    node_of: Vec<u32>,
    /// For each node its inode: directories are entered when their turn comes.
    inode_of: Vec<u32>,
    /// The nodes that stand for what is damaged.
    damaged: HashMap<Reference, NodeId>,
    /// Links whose targets can only be looked up when the tree is whole.
    links: Vec<(NodeId, Reparse)>,
    streams_left_out: bool,
}

/// A place among the names of a directory.
#[derive(Clone, Copy)]
struct Position {
    dir: NodeId,
    number: u32,
}

/// The longest name that Linux takes, in bytes.
const LONGEST_NAME: usize = 255;

impl<'m> Builder<'m> {
    fn new(mft: &'m Mft, damage: Damage, inodes: Inodes, listings: Listings, volume: &VolumeRecord) -> Self {
        let node_of = vec![0; inodes.all().len()];
        let tree = FileTree {
            volume: mft.volume.clone(),
            geometry: mft.geometry,
            nodes: Vec::with_capacity(node_of.len()),
            contents: Vec::with_capacity(node_of.len()),
            parents: Vec::with_capacity(node_of.len()),
            positions: Vec::with_capacity(node_of.len()),
            directories: Vec::new(),
            streams: Streams::default(),
            reparse_points: Vec::new(),
            owners: Vec::new(),
            cache: UnitCache::new(),
            notes: Notes::default(),
            damage: Damages::default(),
            label: volume.label.clone(),
            version: volume.version,
        };
        Self {
            mft,
            damage,
            inodes,
            listings,
            tree,
            node_of,
            inode_of: Vec::new(),
            damaged: HashMap::new(),
            links: Vec::new(),
            streams_left_out: false,
        }
    }

    /// What there is to say about the volume as a whole.
    fn note_volume(&mut self, volume: &VolumeRecord) {
        let Mft { geometry, copies, volume: bytes, .. } = self.mft;
        // What is wrong with a log that cannot be found is of no interest to who reads the files.
        let log = self.inodes.find_any(self.mft, LOG_FILE_RECORD).ok();
        let log = log.and_then(|log| self.inodes.all()[log].data.as_ref());
        let log = log.map(|data| LogState::read(bytes.as_ref(), geometry, &data.stream));
        for (applies, reason) in [
            (volume.dirty, Reason::DirtyVolume),
            (log == Some(LogState::InUse), Reason::UncleanLog),
            (copies.boot, Reason::BackupBootSector),
            (copies.mft || volume.from_mirror, Reason::MirroredRecords),
            (geometry.size > bytes.size(), Reason::LargerThanPartition),
        ] {
            if applies {
                self.tree.notes.add(reason, String::new);
            }
        }
    }

    fn add_root(&mut self) -> Result<(), Error> {
        let inode = self.inodes.find_any(self.mft, ROOT_RECORD)?;
        let (root, _) = self.add_node(inode, Position { dir: NodeId(0), number: 0 })?;
        match self.tree.node(root).kind {
            Kind::Directory => Ok(()),
            _ => Err(Mismatch::new(0x16, "the root directory", "something else")
                .in_record(ROOT_RECORD, self.mft.place(ROOT_RECORD))),
        }
    }

    /// Enters each directory in the order of the nodes, to which it appends: no recursion, however deep the tree is.
    fn walk(&mut self) -> Result<(), Error> {
        let mut at = NodeId(0);
        while let Some(inode) = self.inode_of.get(at.index()).copied() {
            if let Content::Directory(index) = self.tree.contents[at.index()] {
                let mut listing = self.listings.take(self.mft, &self.inodes, inode as usize);
                if let Some(error) = listing.damage.take() {
                    self.tell_damage(at, None, *error)?;
                }
                self.tree.directories[index as usize] = self.enter(at, listing)?;
            }
            at = NodeId(at.0 + 1);
        }
        Ok(())
    }

    fn enter(&mut self, dir: NodeId, listing: Listing) -> Result<Directory, Error> {
        let mut entries = Vec::with_capacity(listing.entries.len());
        for listed in &listing.entries {
            let name = &listing.names[listed.name_range()];
            if self.is_system(dir, listed) {
                continue;
            }
            if is_impossible(name) {
                self.note(dir, &without_slashes(name), Reason::ImpossibleName);
                continue;
            }
            let position = Position { dir, number: count_to_u32(entries.len())? };
            let (node, incomplete) = match self.add_name(position, listed.reference()) {
                Ok(added) => added,
                Err(error) => (self.add_damaged(position, name, listed.reference(), error)?, None),
            };
            if let Some(reason) = incomplete {
                self.note(dir, name, reason);
            }
            if name.len() > LONGEST_NAME {
                self.note(dir, name, Reason::LongName);
            }
            entries.push(Entry { start: listed.start, length: listed.length, node });
        }
        Ok(Directory { names: listing.names.into_boxed_slice(), entries: entries.into_boxed_slice() })
    }

    /// The files that NTFS is made of lie in the root and are not shown; the root is among them, as `.`.
    fn is_system(&self, dir: NodeId, listed: &Listed) -> bool {
        dir == self.tree.root() && listed.reference().record < FIRST_USER_RECORD
    }

    /// The node that a name leads to, and, when it is new, what is incomplete about it.
    fn add_name(
        &mut self,
        position: Position,
        reference: Reference,
    ) -> Result<(NodeId, Option<Reason>), Error> {
        let wrong = |expected: &'static str, found: String| {
            let place = self.mft.place(reference.record);
            Err(Mismatch::new(0, expected, found).in_record(reference.record, place))
        };
        if reference.record < FIRST_USER_RECORD {
            return wrong("a file of a user", "one that NTFS itself is made of".into());
        }
        let inode = self.inodes.find(self.mft, reference)?;
        let Some(known) = self.node_of[inode].checked_sub(1).map(NodeId) else {
            return self.add_node(inode, position);
        };
        if self.inodes.all()[inode].is_directory() {
            let found = format!("two, the other one in {:?}", self.tree.path(self.tree.parent(known)));
            return wrong("one name that leads to a directory", found);
        }
        let links = &mut self.tree.nodes[known.index()].links;
        *links = links.saturating_add(1);
        Ok((known, None))
    }

    fn add_node(&mut self, inode: usize, position: Position) -> Result<(NodeId, Option<Reason>), Error> {
        let (number, inode_number) = (count_to_u32(self.tree.nodes.len())?, count_to_u32(inode)?);
        let next_directory = count_to_u32(self.tree.directories.len())?;
        let seen = Seen::new(&mut self.inodes.all_mut()[inode], next_directory);
        if seen.node.kind == Kind::Directory {
            self.tree.directories.push(Directory::default());
        }
        let id = NodeId(number);
        self.tree.nodes.push(seen.node);
        self.tree.contents.push(seen.content);
        self.tree.parents.push(position.dir);
        self.tree.positions.push(position.number);
        self.inode_of.push(inode_number);
        self.node_of[inode] = number + 1;
        self.keep_apart(id, seen.reparse, seen.streams, seen.wsl);
        Ok((id, seen.incomplete))
    }

    /// What few files have is not kept in each node.
    fn keep_apart(&mut self, id: NodeId, reparse: Option<ReparsePoint>, streams: Box<[NamedData]>, wsl: Wsl) {
        if let (Some(uid), Some(gid)) = (wsl.user, wsl.group) {
            self.tree.owners.push((id, Owner { uid, gid }));
        }
        if let Some(ReparsePoint { tag, meaning }) = reparse {
            let target = if let Reparse::Link(target) = &meaning { Some(target.path.clone()) } else { None };
            self.tree.reparse_points.push((id, Reparsed { tag, target }));
            if self.tree.node(id).kind == Kind::Symlink {
                self.links.push((id, meaning));
            }
        }
        if !self.tree.streams.add(id, streams) && !self.streams_left_out {
            self.streams_left_out = true;
            self.tree.notes.add(Reason::TooManyStreams, String::new);
        }
    }

    /// The node that stands for what a name should lead to.
    fn add_damaged(
        &mut self,
        position: Position,
        name: &[u8],
        reference: Reference,
        error: Error,
    ) -> Result<NodeId, Error> {
        let why = self.tell_damage(position.dir, Some(name), error)?;
        if let Some(known) = self.damaged.get(&reference).copied() {
            let links = &mut self.tree.nodes[known.index()].links;
            *links = links.saturating_add(1);
            return Ok(known);
        }
        let id = NodeId(count_to_u32(self.tree.nodes.len())?);
        self.tree.nodes.push(Seen::damaged_node());
        self.tree.contents.push(Content::Damaged(why));
        self.tree.parents.push(position.dir);
        self.tree.positions.push(position.number);
        // No directory, so that nobody is going to enter it.
        self.inode_of.push(u32::MAX);
        self.damaged.insert(reference, id);
        Ok(id)
    }

    /// Keeps what is wrong with a name in a directory, or with the directory itself, where that is wanted.
    fn tell_damage(&mut self, dir: NodeId, name: Option<&[u8]>, error: Error) -> Result<Arc<Error>, Error> {
        if self.damage == Damage::Refuse || matches!(error, Error::TooMany { .. }) {
            return Err(self.about(dir, name, error));
        }
        let why = Arc::new(error);
        let mut damage = std::mem::take(&mut self.tree.damage);
        damage.add(&why, || name.map_or_else(|| self.tree.path(dir), |name| self.child_path(dir, name)));
        self.tree.damage = damage;
        Ok(why)
    }

    fn note(&mut self, dir: NodeId, name: &[u8], reason: Reason) {
        let mut notes = std::mem::take(&mut self.tree.notes);
        notes.add(reason, || self.child_path(dir, name));
        self.tree.notes = notes;
    }

    /// Says which path an error is about.
    fn about(&self, dir: NodeId, name: Option<&[u8]>, error: Error) -> Error {
        let path = match name {
            Some(name) => self.child_path(dir, name),
            None => self.tree.path(dir),
        };
        Error::Entry { path: if path.is_empty() { "/".into() } else { path }, source: Box::new(error) }
    }

    fn child_path(&self, dir: NodeId, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name);
        match self.tree.path(dir).as_str() {
            "" => name.into_owned(),
            folder => format!("{folder}/{name}"),
        }
    }
}

fn count_to_u32(count: usize) -> Result<u32, Error> {
    let limit = u64::from(u32::MAX);
    u32::try_from(count).map_err(|_| Error::TooMany { what: "files", found: count as u64, limit })
}

/// Names that have no place in a Linux directory.
fn is_impossible(name: &[u8]) -> bool {
    name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0)
}

/// For messages, in which a name shall not look like a path.
fn without_slashes(name: &[u8]) -> Vec<u8> {
    name.split(|byte| *byte == b'/').collect::<Vec<_>>().join("\u{fffd}".as_bytes())
}
