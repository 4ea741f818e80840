//! What an image is made of: a folder of the host.
//!
//! ```text
//! names of all folders ─> order of NTFS ─> facts of every file ─> hard links ─> targets of links
//!       listing             arrange             facts            hard_links         links
//! ```
//! [`walk`] reads everything but content, level by level, with several threads: a cold disk answers several questions at
//! once. What comes out depends on the folder alone, not on the order in which the system lists names. What Windows could
//! not read is given a name that it can, always: so the walk can go on to its end, and knows every offender. It is
//! refused afterwards, unless the caller asked for a portable tree.
//!
//! Folders are opened relative to the root, never through a link, and in stages where a path is longer than the
//! system takes. File systems that are mounted below the folder are entered. Whatever is opened later is compared with what was
//! found here: an image never holds half of one version of a file and half of another.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::error::CreateError;
use hard_links::merge_hard_links;
use sys::Root;

mod arrange;
mod content;
mod facts;
mod hard_links;
mod links;
mod listing;
mod naming;
mod offender;
mod sys;
mod tree;

pub(crate) use content::OpenFile;
pub use offender::{Offender, Problem};
pub(crate) use tree::{Inode, Kind, Target, Tree};

/// A folder that is read.
pub(crate) struct Folder {
    root: Root,
    /// As the user named it, for messages.
    path: Arc<Path>,
}

/// What the caller wants of a folder.
pub(crate) struct Wanted<'a> {
    /// Whether something is left out, by its path in the folder and by whether it is a folder itself. Such a folder is not entered.
    pub(crate) excluded: &'a (dyn Fn(&Path, bool) -> bool + Sync),
    /// Times are not later than this NTFS time.
    pub(crate) newest: Option<u64>,
    /// Names that Windows cannot have are changed, in place of being refused.
    pub(crate) portable: bool,
    /// Links that only the system of this folder can follow are kept, in place of being refused.
    pub(crate) keep_links: bool,
    /// Owners are read; otherwise all of them are 0.
    pub(crate) owners: bool,
    /// Is told the number of names found so far, by any thread, and may end the walk.
    pub(crate) watch: &'a (dyn Fn(u64) -> ControlFlow<()> + Sync),
}

impl Folder {
    /// Opens the folder. Its own path may lead through links.
    pub(crate) fn open(path: &Path) -> Result<Self, CreateError> {
        let root = Root::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CreateError::Missing { path: path.into() },
            io::ErrorKind::NotADirectory => CreateError::NotAFolder { path: path.into() },
            _ => CreateError::Unreadable { path: path.into(), source },
        })?;
        Ok(Self { root, path: path.into() })
    }
}

/// Reads the names and the facts of everything in the folder.
pub(crate) fn walk(folder: &Folder, wanted: &Wanted<'_>) -> Result<Tree, CreateError> {
    let (mut tree, mut offenders) = arrange::read_names(folder, wanted)?;
    let targets = facts::ask(folder, wanted, &mut tree)?;
    merge_hard_links(&mut tree);
    offenders.extend(links::resolve(&mut tree, &targets, wanted.keep_links));
    if !offenders.is_empty() {
        offenders.sort_by(|a, b| a.path.cmp(&b.path));
        return Err(CreateError::Offenders(offenders));
    }
    tree.tell_renamed();
    Ok(tree)
}

impl CreateError {
    /// What it means that something which was found a moment ago cannot be looked at.
    pub(super) fn of_found(folder: &Path, path: &Path, source: io::Error) -> Self {
        let path = folder.join(path);
        if sys::has_vanished(&source) { Self::Changed { path } } else { Self::Unreadable { path, source } }
    }
}

/// Whether the folder of an output lies inside the folder that is read, which would then read what it writes.
///
/// # Errors
/// What the system says when one of them does not exist, or cannot be looked at.
pub fn contains(folder: &Path, output_folder: &Path) -> io::Result<bool> {
    Ok(output_folder.canonicalize()?.starts_with(folder.canonicalize()?))
}

#[cfg(test)]
mod tests;
