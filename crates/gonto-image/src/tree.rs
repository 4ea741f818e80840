//! The file tree: what a mount shows.

use std::sync::Arc;

use crate::container::VirtualDisk;
use crate::error::Error;
use crate::filesystem::Volume;
use crate::ntfs::boot::{Boot, Geometry};
use crate::ntfs::mft::Mft;
use crate::ntfs::unit_cache::UnitCache;
use crate::options::Options;
use crate::source::ReadAt;

mod build;
mod content;
mod damage;
mod entries;
mod link;
mod node;
mod note;
mod seen;
mod streams;

pub use damage::Damaged;
pub use entries::Entries;
pub use node::{Kind, Node, NodeId, Owner, Timestamp};
pub use note::{Note, Reason, Unreadable};
pub use streams::NamedStream;

use content::Content;
use damage::Damages;
use entries::Directory;
use node::Reparsed;
use note::Notes;
use streams::Streams;

/// All files of an image, ready to be shown: names, sizes, times, links and where the content lies.
///
/// It is never changed. Any number of threads can ask at once.
pub struct FileTree {
    volume: Arc<dyn ReadAt>,
    geometry: Geometry,
    nodes: Vec<Node>,
    contents: Vec<Content>,
    /// For hard links the folder of the name that was met first; the root is its own.
    parents: Vec<NodeId>,
    /// Of that name among the entries of the parent.
    positions: Vec<u32>,
    directories: Vec<Directory>,
    streams: Streams,
    /// Sorted by the node, as are the owners.
    reparse_points: Vec<(NodeId, Reparsed)>,
    owners: Vec<(NodeId, Owner)>,
    cache: UnitCache,
    notes: Notes,
    damage: Damages,
    label: String,
    version: (u8, u8),
}

/// What a volume says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Major and minor version of NTFS: 3.1 since Windows XP.
    pub version: (u8, u8),
    /// Bytes of a sector, 256 to 4096.
    pub sector_size: u64,
    /// Bytes of a cluster.
    pub cluster_size: u64,
    /// Bytes of a record of `$MFT`.
    pub record_size: u64,
    /// Bytes of the volume, without the backup of its boot sector. It may say that it is larger than its partition.
    pub size: u64,
    /// What Windows tells volumes apart by.
    pub serial: u64,
}

impl FileTree {
    /// Opens an image with the default options. The same as [`open_with`](Self::open_with).
    ///
    /// # Errors
    /// As there.
    pub fn open(image: Arc<dyn ReadAt>) -> Result<Self, Error> {
        Self::open_with(image, &Options::default())
    }

    /// Opens an image in three steps, which can also be gone one by one: [`VirtualDisk::open`] recognises the container by its
    /// content, [`Volume::find`] the volume, and [`read`](Self::read) reads all of its metadata.
    ///
    /// # Errors
    /// See [`Error`]: the container, the partition table or the file system is another one, is damaged, or cannot be read.
    pub fn open_with(image: Arc<dyn ReadAt>, options: &Options) -> Result<Self, Error> {
        let disk = VirtualDisk::open(image, options)?;
        Self::read(&Volume::find(&disk, options)?, options)
    }

    /// Reads the metadata of a volume.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn read(volume: &Volume, options: &Options) -> Result<Self, Error> {
        let bytes = volume.bytes();
        let tree = Mft::open(bytes.clone()).and_then(|mft| build::build(&mft, options.damage));
        let damage = |tree: &Result<Self, Error>| tree.as_ref().map_or(u64::MAX, Self::damage_count);
        if damage(&tree) > 0
            && let Some(mft) = Mft::by_backup(bytes)
        {
            // Where the boot sector lies about the size of the volume, what lies behind that end only seems to be damaged.
            let by_backup = build::build(&mft, options.damage);
            if damage(&by_backup) < damage(&tree) {
                return by_backup;
            }
        }
        tree.map_err(|error| Boot::why_cut(bytes.as_ref(), error))
    }

    /// The directory that everything lies in.
    #[must_use]
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// How many nodes there are; `NodeId(0)` up to this are all valid.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the root is always there")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What is known of a node.
    ///
    /// # Panics
    /// When `id` does not come from this tree.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The names in a directory, sorted by their bytes; empty for what is no directory.
    ///
    /// # Panics
    /// When `dir` does not come from this tree.
    #[must_use]
    pub fn entries(&self, dir: NodeId) -> Entries<'_> {
        match &self.contents[dir.index()] {
            Content::Directory(index) => self.directories[*index as usize].entries(),
            _ => Entries::default(),
        }
    }

    /// The node that a name in a directory leads to. Names are compared byte by byte.
    #[must_use]
    pub fn lookup(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        self.entries(dir).find(name)
    }

    /// The folder that a node lies in (for hard links one of them); the root lies in itself.
    #[must_use]
    pub fn parent(&self, id: NodeId) -> NodeId {
        self.parents[id.index()]
    }

    /// Path of a node from the root, with slashes; empty for the root. For messages: lone surrogates are replaced.
    #[must_use]
    pub fn path(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != self.root() {
            let parent = self.parent(at);
            let position = self.positions[at.index()] as usize;
            // While a directory is entered, its names are not there yet.
            let name = self.entries(parent).get(position).map_or(&b"?"[..], |(name, _)| name);
            names.push(String::from_utf8_lossy(name));
            at = parent;
        }
        names.reverse();
        names.join("/")
    }

    /// Target of a symbolic link, with slashes; empty for what is no link. A target of Windows that lies in the volume is
    /// relative to the folder of the link.
    #[must_use]
    pub fn link_target(&self, link: NodeId) -> &[u8] {
        match &self.contents[link.index()] {
            Content::Link(target) => target,
            _ => &[],
        }
    }

    /// The tag of a reparse point (\[MS-FSCC\] 2.1.2.1); `None` for what has none.
    #[must_use]
    pub fn reparse_tag(&self, id: NodeId) -> Option<u32> {
        self.reparsed(id).map(|reparsed| reparsed.tag)
    }

    /// Where a symbolic link or junction of Windows points to, as it is stored: WTF-8, with backslashes, often `\??\C:\…`.
    #[must_use]
    pub fn windows_target(&self, link: NodeId) -> Option<&[u8]> {
        self.reparsed(link).and_then(|reparsed| reparsed.target.as_deref())
    }

    fn reparsed(&self, id: NodeId) -> Option<&Reparsed> {
        let place = self.reparse_points.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.reparse_points[place].1)
    }

    /// Who owns it in the eyes of Linux, when WSL has written that.
    #[must_use]
    pub fn owner(&self, id: NodeId) -> Option<Owner> {
        let place = self.owners.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.owners[place].1)
    }

    /// What is shown incompletely, and why: the first hundred cases.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes.kept
    }

    /// How many notes there would be without a limit.
    #[must_use]
    pub fn note_count(&self) -> u64 {
        self.notes.total
    }

    /// What is damaged, in the order in which it was met: the first thousand cases. Always empty with
    /// [`Damage::Refuse`](crate::Damage::Refuse), which refuses the image at the first of them. Damage is not among the notes.
    ///
    /// A file that is listed here is shown as empty, and reading it is an error; of a directory, entries may be missing.
    #[must_use]
    pub fn damage(&self) -> &[Damaged] {
        &self.damage.kept
    }

    /// How many names and directories are damaged.
    #[must_use]
    pub fn damage_count(&self) -> u64 {
        self.damage.total
    }

    /// Version, sizes and serial number of the volume.
    #[must_use]
    pub fn format(&self) -> Format {
        let Geometry { sector_size, cluster_size, record_size, size, serial, .. } = self.geometry;
        Format {
            version: self.version,
            sector_size,
            cluster_size,
            record_size: record_size as u64,
            size,
            serial,
        }
    }

    /// The volume's label; often empty.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }
}

impl std::fmt::Debug for FileTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileTree")
            .field("label", &self.label)
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}
