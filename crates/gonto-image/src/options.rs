//! How an image is opened, and who finds the parents of differencing disks.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use crate::source::ReadAt;

/// How an image is opened. The default is what a mount needs: the first NTFS volume, no parents, nothing that is damaged.
///
/// ```
/// use gonto_image::{Damage, Options};
///
/// let options = Options { partition: Some(2), damage: Damage::Show, ..Options::default() };
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct Options {
    /// Finds the parents of differencing disks.
    pub parents: Arc<dyn Parents>,
    /// Takes structures of containers and partition tables whose checksum is wrong, and notes it.
    pub ignore_checksums: bool,
    /// Refuses an image that is not in a container. For files that are called `….vhd` or `….vhdx`: a fixed VHD whose footer
    /// is gone would otherwise pass for the bytes of a disk.
    pub container_only: bool,
    /// The number of the partition that holds the volume; the first one with NTFS when not given.
    pub partition: Option<u32>,
    /// What to do with files that cannot be read because the file system is damaged there.
    pub damage: Damage,
}

/// What to do with a file or directory whose records lie.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Damage {
    /// The image is refused: a toolchain that lacks a file is worse than none.
    #[default]
    Refuse,
    /// The rest is shown. A name that leads to something damaged is a file without content that cannot be read, a damaged
    /// directory holds what could be read of it, and [`FileTree::damage`](crate::FileTree::damage) tells of both.
    Show,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parents: Arc::new(NoParents),
            ignore_checksums: false,
            container_only: false,
            partition: None,
            damage: Damage::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("ignore_checksums", &self.ignore_checksums)
            .field("container_only", &self.container_only)
            .field("partition", &self.partition)
            .field("damage", &self.damage)
            .finish_non_exhaustive()
    }
}

/// Finds the parents of one differencing disk: this crate knows no paths of the host.
///
/// A child names its parent in several ways. They are asked for one after another, and the first image that has the
/// identity which the child demands is taken.
pub trait Parents: Send + Sync {
    /// The image that `hint` leads to; `None` when there is none there, or when the caller does not want to look there.
    ///
    /// # Errors
    /// When there is one that cannot be opened.
    fn find(&self, hint: &ParentHint) -> io::Result<Option<Parent>>;
}

/// One way in which a child names its parent. Paths are as Windows wrote them, with backslashes, unless said otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ParentHint {
    /// A path from the folder of the child; some writers use slashes.
    Relative(String),
    /// A path with a drive or a volume, or (from a Mac) a `file:` address.
    Absolute(String),
    /// The name of a file, which is to be looked for beside the child.
    Name(String),
}

/// An image that may be the parent.
pub struct Parent {
    /// Its name, for messages.
    pub name: String,
    /// Its bytes.
    pub image: Arc<dyn ReadAt>,
    /// When it was changed last, if that is known: a child remembers it.
    pub modified: Option<SystemTime>,
    /// Finds its own parents: their paths count from its own folder.
    pub parents: Arc<dyn Parents>,
}

/// Finds nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoParents;

impl Parents for NoParents {
    fn find(&self, _hint: &ParentHint) -> io::Result<Option<Parent>> {
        Ok(None)
    }
}
