//! What is decided before anything is written: the size of clusters, the numbers of records, what lies in a record and what in
//! clusters, in which order content is written, and where `$MFT` and the indexes of folders lie.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

use super::read_ahead::HOLE_SIZE;
use super::source::{Inode, Kind, Target, Tree};
use super::system;
use crate::ntfs::upcase::UPCASE;
use crate::ntfs::write::attribute::resident_size;
use crate::ntfs::write::extended_attributes::Linux;
use crate::ntfs::write::file_name::{self, FILE_NAME_SIZE, Facts, STANDARD_INFORMATION_SIZE, dos};
use crate::ntfs::write::index::{Shape, name_entry_size};
use crate::ntfs::write::record::ROOM;
use crate::ntfs::write::reparse::Link;
use crate::ntfs::write::{BLOCK_SIZE, RECORD_SIZE, security};
use crate::ntfs::{ROOT_RECORD, Reference};

/// The records before this one are left to NTFS, which makes files of its own when the volume is first written to.
pub(super) const FIRST_RECORD: u64 = 64;

/// Records come in such numbers, so that the bitmap of `$MFT` is full.
pub(super) const RECORDS_AT_ONCE: u64 = 64;

/// What a file without extended attributes is taken to have by those who read the image.
const USUAL_PERMISSIONS: u32 = 0o755;
const PERMISSIONS: u32 = 0o7777;

/// Big files begin at a multiple of this, so that host file systems can share their extents and pages are read as they are. For
/// smaller ones the gap would be too much.
pub(super) const ALIGNMENT: u64 = 4096;
pub(super) const BIG_FILE: u64 = 1 << 20;

/// Files that are written to a volume, and where.
pub(super) struct Plan<'t> {
    pub(super) tree: &'t Tree,
    /// In bytes.
    pub(super) cluster_size: u64,
    /// The inodes of files that are not empty, in the order in which their content is written.
    pub(super) order: Vec<u32>,
    /// The positions of all names but the first, for inodes that have several.
    other_names: HashMap<u32, Vec<u32>>,
    /// Whether owners are written.
    owners: bool,
    /// Of all files, in bytes.
    pub(super) content: u64,
    /// How many records `$MFT` has without extension records.
    pub(super) records: u64,
    /// What the index blocks of all folders take, in bytes.
    pub(super) index_size: u64,
}

impl<'t> Plan<'t> {
    /// `first` names files whose content is to come first, in this order; `more_free` bytes of the volume will stay free beside the
    /// usual ones.
    pub(super) fn new(tree: &'t Tree, first: &[PathBuf], owners: bool, more_free: u64) -> Self {
        let mut plan = Self {
            tree,
            cluster_size: SMALLEST_CLUSTER,
            order: Vec::new(),
            other_names: other_names(tree),
            owners,
            content: 0,
            records: (FIRST_RECORD + tree.inodes.len() as u64).next_multiple_of(RECORDS_AT_ONCE),
            index_size: 0,
        };
        plan.order = plan.content_order(first);
        plan.content = plan.order.iter().map(|inode| plan.size(*inode as usize)).sum();
        plan.cluster_size = plan.choose_cluster_size(more_free);
        let folders =
            tree.inodes.iter().enumerate().filter(|(_, inode)| matches!(inode.kind, Kind::Folder { .. }));
        plan.index_size = folders.map(|(inode, _)| plan.index_room(&plan.shape(inode))).sum();
        plan
    }

    fn content_order(&self, first: &[PathBuf]) -> Vec<u32> {
        let has_content = |inode: &Inode| matches!(inode.kind, Kind::File { size } if size > 0);
        let all = || self.tree.inodes.iter().zip(0u32..).filter(|(inode, _)| has_content(inode));
        if first.is_empty() {
            return all().map(|(_, number)| number).collect();
        }
        // A trace of a build names files again and again: the first time counts.
        let mut ranks: HashMap<&PathBuf, usize> = HashMap::new();
        for (rank, path) in first.iter().enumerate() {
            ranks.entry(path).or_insert(rank);
        }
        let rank = |number: u32| {
            let paths = self.names(number as usize).map(|position| self.tree.path(position));
            paths.filter_map(|path| ranks.get(&path).copied()).min().unwrap_or(usize::MAX)
        };
        let mut order: Vec<(usize, u32)> = all().map(|(_, number)| (rank(number), number)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, number)| number).collect()
    }

    /// The biggest clusters that waste little. A compiler has a hundred thousand small files, a game engine few.
    fn choose_cluster_size(&self, more_free: u64) -> u64 {
        let sizes = || self.order.iter().map(|inode| self.size_in_clusters(*inode as usize));
        let waste = |cluster: u64| sizes().map(|size| size.next_multiple_of(cluster) - size).sum::<u64>();
        let allowed = self.content / WASTE_ALLOWED;
        let small = [4096, 2048, 1024].into_iter().find(|cluster| waste(*cluster) <= allowed);
        let mut cluster = small.unwrap_or(SMALLEST_CLUSTER);
        // Numbers of clusters have 32 bits. What needs bigger clusters than the biggest has holes, or fits into no container.
        while self.content.saturating_add(more_free) / cluster >= MOST_CLUSTERS && cluster < BIGGEST_CLUSTER {
            cluster *= 2;
        }
        cluster
    }

    /// The bytes of a file that lie in clusters: none where its record has room for them.
    fn size_in_clusters(&self, inode: usize) -> u64 {
        if self.is_resident(inode) { 0 } else { self.size(inode) }
    }

    /// Bytes that the disk does not exceed, apart from free space.
    pub(super) fn most(&self) -> u64 {
        let inodes = self.tree.inodes.len() as u64;
        let names = self.tree.names.len() as u64;
        let gaps = inodes * (self.cluster_size * 17 + ALIGNMENT);
        let records = self.records * RECORD_SIZE as u64 + names * RECORD_SIZE as u64;
        // Runs of sparse files, the bitmap, the log, and all that every volume has.
        let rest = self.content / 256 + (128 << 20);
        self.content + gaps + records + self.index_size + rest
    }

    pub(super) fn inode(&self, inode: usize) -> &Inode {
        &self.tree.inodes[inode]
    }

    /// The size of a file in bytes; 0 for all else.
    pub(super) fn size(&self, inode: usize) -> u64 {
        match self.inode(inode).kind {
            Kind::File { size } => size,
            _ => 0,
        }
    }

    /// How an inode is called in the volume.
    #[expect(clippy::unused_self, reason = "the plan decides it")]
    pub(super) fn reference(&self, inode: usize) -> Reference {
        match inode {
            // Sequence numbers of what NTFS consists of are those of its records.
            0 => Reference { record: ROOT_RECORD, sequence: ROOT_SEQUENCE },
            _ => Reference { record: FIRST_RECORD - 1 + inode as u64, sequence: 1 },
        }
    }

    /// The positions of the names of an inode.
    pub(super) fn names(&self, inode: usize) -> impl Iterator<Item = usize> + '_ {
        let first = self.inode(inode).name as usize;
        let number = u32::try_from(inode).unwrap_or(u32::MAX);
        let others = self.other_names.get(&number).into_iter().flatten();
        std::iter::once(first).chain(others.map(|position| *position as usize))
    }

    /// What Linux knows of an inode, and would not know otherwise.
    pub(super) fn linux(&self, inode: usize) -> Linux {
        let Inode { kind, mode, user, group, .. } = *self.inode(inode);
        let known = mode != 0 && !matches!(kind, Kind::Link(_));
        Linux {
            mode: (known && mode & PERMISSIONS != USUAL_PERMISSIONS).then_some(mode),
            owner: (known && self.owners).then_some((user, group)),
        }
    }

    /// The link that an inode is, if it is one.
    pub(super) fn link(&self, inode: usize) -> Option<Link<'t>> {
        let Kind::Link(link) = self.inode(inode).kind else { return None };
        Some(match self.tree.target(link) {
            Target::Windows { path, .. } => Link::Relative(path),
            Target::WindowsAbsolute(path) => Link::Absolute(path),
            Target::Linux(path) => Link::Linux(path),
        })
    }

    /// Whether Windows shows it as a folder: folders and links to them.
    pub(super) fn is_folder(&self, inode: usize) -> bool {
        match self.inode(inode).kind {
            Kind::Folder { .. } => true,
            Kind::File { .. } => false,
            Kind::Link(link) => matches!(self.tree.target(link), Target::Windows { to_folder: true, .. }),
        }
    }

    /// What is written about an inode, in its record and in its folder. `in_clusters` tells what its content takes there, and
    /// whether it has holes.
    pub(super) fn facts(&self, inode: usize, in_clusters: Option<InClusters>) -> Facts {
        let Inode { modified, dos, mode, .. } = *self.inode(inode);
        let link = self.link(inode);
        let is_directory = self.is_folder(inode);
        let mut attributes = u32::from(dos);
        // Where the system has no such attributes, a file is one that was not backed up yet, as all new ones are.
        if mode != 0 && dos == 0 && !is_directory {
            attributes |= dos::ARCHIVE;
        }
        if link.is_some() {
            attributes |= dos::REPARSE_POINT;
        }
        if in_clusters.is_some_and(|content| content.has_holes) {
            attributes |= dos::SPARSE;
        }
        let size = self.size(inode);
        let resident = size.next_multiple_of(8);
        Facts {
            time: modified,
            attributes,
            is_directory,
            allocated: in_clusters.map_or(resident, |content| content.allocated),
            size,
            tag: link.map_or_else(|| self.linux(inode).packed_size(), Link::tag),
            security: if is_directory { security::id::FOLDER } else { security::id::FILE },
        }
    }

    /// `$FILE_NAME` of an inode's name at a position.
    pub(super) fn key(&self, facts: &Facts, position: usize) -> Vec<u8> {
        let folder = self.tree.names[position].folder as usize;
        file_name::key(facts, self.reference(folder), self.tree.name(position))
    }

    /// Whether the content of a file lies in its record.
    pub(super) fn is_resident(&self, inode: usize) -> bool {
        usize::try_from(self.size(inode)).is_ok_and(|size| resident_size(size) <= self.room(inode))
    }

    /// What a record has room for beside what every inode has.
    pub(super) fn room(&self, inode: usize) -> usize {
        let names: usize = if inode == 0 {
            resident_size(FILE_NAME_SIZE + 2)
        } else {
            self.names(inode)
                .map(|position| resident_size(FILE_NAME_SIZE + self.tree.name(position).len() * 2))
                .sum()
        };
        ROOM.saturating_sub(STANDARD_INFORMATION_SIZE + names + self.linux(inode).size())
    }

    /// The shape of a folder's index.
    pub(super) fn shape(&self, folder: usize) -> Shape {
        let lengths: Vec<usize> = if folder == 0 {
            self.root_entries().iter().map(|entry| name_entry_size(self.root_name(entry).len())).collect()
        } else {
            self.entries(folder).map(|at| name_entry_size(self.tree.name(at).len())).collect()
        };
        shape(&lengths, self.room(folder))
    }

    /// The clusters that an index takes, in bytes: its blocks, then the bitmap of these where it is too long for a record.
    pub(super) fn index_room(&self, shape: &Shape) -> u64 {
        let blocks = shape.blocks() as u64 * BLOCK_SIZE as u64;
        let bitmap = shape.bitmap_size();
        let bitmap = if bitmap > LONGEST_RESIDENT_BITMAP { bitmap as u64 } else { 0 };
        blocks.next_multiple_of(self.cluster_size) + bitmap.next_multiple_of(self.cluster_size)
    }

    /// What the root holds, in its order: the files of NTFS itself come among the others.
    pub(super) fn root_entries(&self) -> Vec<RootEntry> {
        let system = system::ROOT_FILES.iter().map(|file| RootEntry::System(file.record));
        let mut entries: Vec<RootEntry> = system.chain(self.entries(0).map(RootEntry::Name)).collect();
        entries.sort_by(|a, b| UPCASE.order(&self.root_name(a), &self.root_name(b)));
        entries
    }

    /// The name of an entry of the root.
    fn root_name(&self, entry: &RootEntry) -> Cow<'t, [u16]> {
        match entry {
            RootEntry::Name(position) => self.tree.name(*position).into(),
            RootEntry::System(record) => system::name(*record).into(),
        }
    }

    /// The positions of the names in a folder.
    pub(super) fn entries(&self, folder: usize) -> std::ops::Range<usize> {
        match self.inode(folder).kind {
            Kind::Folder { first, count } => first as usize..(first + count) as usize,
            _ => 0..0,
        }
    }
}

/// An entry of the root directory.
#[derive(Clone, Copy, Debug)]
pub(super) enum RootEntry {
    /// A file of NTFS itself, by the number of its record.
    System(u64),
    /// A name of the folder, by its position.
    Name(usize),
}

/// The shape of an index whose attributes may take `room` bytes of a record.
pub(super) fn shape(lengths: &[usize], room: usize) -> Shape {
    let root = resident_size(INDEX_ROOT_BESIDE_ENTRIES);
    // A block is three quarters full at least, but for the last.
    let most_blocks = lengths.iter().sum::<usize>() / (BLOCK_SIZE / 4 * 3) + 2;
    let bitmap = resident_size(NAME_SIZE + most_blocks.div_ceil(64) * 8).min(NON_RESIDENT_SIZE);
    Shape::new(lengths, room.saturating_sub(root), room.saturating_sub(root + NON_RESIDENT_SIZE + bitmap))
}

/// The bitmap of an index with more blocks than this has bits goes to clusters.
pub(super) const LONGEST_RESIDENT_BITMAP: usize = 64;

/// Name of the attribute, header of the root, header of the node.
const INDEX_ROOT_BESIDE_ENTRIES: usize = NAME_SIZE + 16 + 16;
const NAME_SIZE: usize = 8;
/// With a name and the pairs of one or two runs.
const NON_RESIDENT_SIZE: usize = 64 + NAME_SIZE + 24;

/// What the content of a file takes in clusters.
#[derive(Clone, Copy, Debug)]
pub(super) struct InClusters {
    /// In bytes, without holes.
    pub(super) allocated: u64,
    pub(super) has_holes: bool,
}

const SMALLEST_CLUSTER: u64 = 512;
/// Holes are made of whole clusters.
const BIGGEST_CLUSTER: u64 = HOLE_SIZE as u64;
/// Of the content, the ends of clusters may take this part.
const WASTE_ALLOWED: u64 = 128;
/// Well below 2^32, so that there is room for all that is not content, and for the usual free space.
const MOST_CLUSTERS: u64 = 7 << 29;

/// The sequence number of the root directory.
const ROOT_SEQUENCE: u16 = 5;

fn other_names(tree: &Tree) -> HashMap<u32, Vec<u32>> {
    let mut others: HashMap<u32, Vec<u32>> = HashMap::new();
    for (name, position) in tree.names.iter().zip(0..) {
        if tree.inodes[name.inode as usize].name != position {
            others.entry(name.inode).or_default().push(position);
        }
    }
    others
}
