//! From records and indexes to the tree: whatever the root's index leads to, level by level.

use std::collections::HashMap;
use std::sync::Arc;

use super::damage::Damages;
use super::entries::{Directory, Entry};
use super::node::{Kind, Node, NodeId, Timestamp};
use super::note::{Notes, Reason};
use super::{Content, FileTree, link};
use crate::error::{Error, Mismatch};
use crate::ntfs::directories::Listings;
use crate::ntfs::index::{Listed, Listing};
use crate::ntfs::inode::{Data, Encoding, Inode, Standard};
use crate::ntfs::log_file::LogState;
use crate::ntfs::mft::Mft;
use crate::ntfs::reparse::Reparse;
use crate::ntfs::scan::Inodes;
use crate::ntfs::stream::{Mapped, Stream};
use crate::ntfs::volume_record::VolumeRecord;
use crate::ntfs::{FIRST_USER_RECORD, LOG_FILE_RECORD, ROOT_RECORD, Reference};
use crate::options::Damage;

/// Reads everything and builds the tree.
pub(super) fn build(mft: &Mft, damage: Damage) -> Result<FileTree, Error> {
    let volume = VolumeRecord::read(mft)?;
    let inodes = Inodes::scan(mft);
    let listings = Listings::read(mft, &inodes);
    let mut builder = Builder::new(mft, damage, inodes, listings, volume.label.clone());
    builder.note_volume(&volume);
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
}

/// Bits of `$STANDARD_INFORMATION`'s attributes (\[MS-FSCC\] 2.6): offline, recall on open, recall on data access. With
/// any of them the content of a cloud file lies elsewhere.
const CONTENT_ELSEWHERE: u32 = 0x0000_1000 | 0x0004_0000 | 0x0040_0000;

const PERMISSIONS: u32 = 0o777;
const DEFAULT_MODE: u32 = 0o755;

/// The longest name that Linux takes, in bytes.
const LONGEST_NAME: usize = 255;

impl<'m> Builder<'m> {
    fn new(mft: &'m Mft, damage: Damage, inodes: Inodes, listings: Listings, label: String) -> Self {
        let node_of = vec![0; inodes.all().len()];
        let tree = FileTree {
            volume: mft.volume.clone(),
            geometry: mft.geometry,
            nodes: Vec::with_capacity(node_of.len()),
            contents: Vec::with_capacity(node_of.len()),
            parents: Vec::with_capacity(node_of.len()),
            directories: Vec::new(),
            notes: Notes::default(),
            damage: Damages::default(),
            label,
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
        let (root, _) = self.add_node(inode, NodeId(0))?;
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
                self.note(dir, name, Reason::ImpossibleName);
                continue;
            }
            let (node, incomplete) = match self.add_name(dir, listed.reference()) {
                Ok(added) => added,
                Err(error) => (self.add_damaged(dir, name, listed.reference(), error)?, None),
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
    fn add_name(&mut self, dir: NodeId, reference: Reference) -> Result<(NodeId, Option<Reason>), Error> {
        let wrong = |expected: &'static str, found: String| {
            let place = self.mft.place(reference.record);
            Err(Mismatch::new(0, expected, found).in_record(reference.record, place))
        };
        if reference.record < FIRST_USER_RECORD {
            return wrong("a file of a user", "one that NTFS itself is made of".into());
        }
        let inode = self.inodes.find(self.mft, reference)?;
        let Some(known) = self.node_of[inode].checked_sub(1).map(NodeId) else {
            return self.add_node(inode, dir);
        };
        if self.inodes.all()[inode].is_directory() {
            let found = format!("two, the other one in {:?}", self.tree.path(self.tree.parent(known)));
            return wrong("one name that leads to a directory", found);
        }
        let links = &mut self.tree.nodes[known.index()].links;
        *links = links.saturating_add(1);
        Ok((known, None))
    }

    fn add_node(&mut self, inode: usize, parent: NodeId) -> Result<(NodeId, Option<Reason>), Error> {
        let (number, inode_number) = (count_to_u32(self.tree.nodes.len())?, count_to_u32(inode)?);
        let next_directory = count_to_u32(self.tree.directories.len())?;
        let seen = Seen::new(&mut self.inodes.all_mut()[inode], next_directory);
        if seen.node.kind == Kind::Directory {
            self.tree.directories.push(Directory::default());
        }
        let id = NodeId(number);
        self.tree.nodes.push(seen.node);
        self.tree.contents.push(seen.content);
        self.tree.parents.push(parent);
        self.inode_of.push(inode_number);
        self.node_of[inode] = number + 1;
        if let Some(link) = seen.link {
            self.links.push((id, link));
        }
        Ok((id, seen.incomplete))
    }

    /// The node that stands for what a name should lead to.
    fn add_damaged(
        &mut self,
        dir: NodeId,
        name: &[u8],
        reference: Reference,
        error: Error,
    ) -> Result<NodeId, Error> {
        let why = self.tell_damage(dir, Some(name), error)?;
        if let Some(known) = self.damaged.get(&reference).copied() {
            let links = &mut self.tree.nodes[known.index()].links;
            *links = links.saturating_add(1);
            return Ok(known);
        }
        let id = NodeId(count_to_u32(self.tree.nodes.len())?);
        self.tree.nodes.push(node(Kind::File, 0, DEFAULT_MODE, &Standard::default()));
        self.tree.contents.push(Content::Damaged(why));
        self.tree.parents.push(dir);
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

/// How an inode is shown.
struct Seen {
    node: Node,
    content: Content,
    link: Option<Reparse>,
    incomplete: Option<Reason>,
}

impl Seen {
    /// Moves the content out of the inode: it is not needed there any more. If it is a directory, it becomes
    /// `directory` of the tree.
    fn new(inode: &mut Inode, directory: u32) -> Self {
        let is_directory = inode.is_directory();
        let (kind, size, content, incomplete) = match inode.reparse.as_deref() {
            Some(Reparse::Link(_) | Reparse::LinuxLink(_)) => {
                (Kind::Symlink, 0, Content::Link(Box::default()), None)
            }
            other if is_directory => {
                (Kind::Directory, 0, Content::Directory(directory), hidden_directory(other))
            }
            other => {
                let reason = unreadable_file(other, inode.standard.attributes);
                let (size, content) = file_content(inode.data.take(), reason);
                let incomplete =
                    if let Content::Unreadable(reason) = &content { Some(*reason) } else { None };
                (Kind::File, size, content, incomplete)
            }
        };
        let link = if kind == Kind::Symlink { inode.reparse.take().map(|link| *link) } else { None };
        let mode = inode.wsl_mode.map_or(DEFAULT_MODE, |mode| mode & PERMISSIONS);
        Self { node: node(kind, size, mode, &inode.standard), content, link, incomplete }
    }
}

fn hidden_directory(reparse: Option<&Reparse>) -> Option<Reason> {
    match reparse {
        Some(Reparse::Wof) => Some(Reason::Wof),
        Some(Reparse::Dedup) => Some(Reason::Dedup),
        Some(Reparse::Other(tag)) => Some(Reason::ReparsedDirectory(*tag)),
        Some(Reparse::Cloud | Reparse::Link(_) | Reparse::LinuxLink(_)) | None => None,
    }
}

fn unreadable_file(reparse: Option<&Reparse>, attributes: u32) -> Option<Reason> {
    match reparse {
        Some(Reparse::Wof) => Some(Reason::Wof),
        Some(Reparse::Dedup) => Some(Reason::Dedup),
        Some(Reparse::Other(tag)) => Some(Reason::ReparsedFile(*tag)),
        Some(Reparse::Cloud) if attributes & CONTENT_ELSEWHERE != 0 => Some(Reason::CloudPlaceholder),
        Some(Reparse::Cloud | Reparse::Link(_) | Reparse::LinuxLink(_)) | None => None,
    }
}

/// The size of a file, and where its content is. Nothing is missing from an empty file, however it is encoded; but what
/// a reparse point stands for may be no file at all.
fn file_content(data: Option<Data>, reparsed: Option<Reason>) -> (u64, Content) {
    let (size, encoding) =
        data.as_ref().map_or((0, Encoding::Plain), |data| (data.stream.size(), data.encoding));
    let encoded = match encoding {
        Encoding::Lznt1 if size > 0 => Some(Reason::Lznt1),
        Encoding::Encrypted if size > 0 => Some(Reason::Encrypted),
        Encoding::Plain | Encoding::Lznt1 | Encoding::Encrypted => None,
    };
    let content = match (reparsed.or(encoded), data.map(|data| data.stream)) {
        (Some(reason), _) => Content::Unreadable(reason),
        (None, Some(Stream::Resident(bytes))) => Content::Inline(bytes),
        (None, Some(Stream::Mapped(Mapped { runs, sizes }))) => Content::Mapped { runs, valid: sizes.valid },
        (None, None) => Content::Inline(Box::default()),
    };
    (size, content)
}

fn node(kind: Kind, size: u64, mode: u32, standard: &Standard) -> Node {
    Node {
        kind,
        size,
        links: 1,
        mode,
        modified: Timestamp::from_filetime(standard.modified),
        changed: Timestamp::from_filetime(standard.changed),
        accessed: Timestamp::from_filetime(standard.accessed),
        created: Timestamp::from_filetime(standard.created),
    }
}
