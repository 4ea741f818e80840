//! What was found: names, and what has them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{MAIN_SEPARATOR_STR, PathBuf};

use super::facts::Stamp;
use super::sys;

/// Everything in the folder, in the order in which the volume will have it. A million names take about 120 MB.
pub(crate) struct Tree {
    /// All names. Those of a folder follow each other, in the order of NTFS. The first is the root, then come its entries;
    /// then, for each of them that is a folder, its entries, followed at once by those of its subfolders.
    pub(crate) names: Vec<Name>,
    /// What has the names, numbered by the first name of each. The first is the root.
    pub(crate) inodes: Vec<Inode>,
    /// Paths in the folder whose last name the volume has in another form, and that form.
    pub(crate) renamed: Vec<(PathBuf, String)>,
    pub(super) text: Text,
    pub(super) targets: Vec<Target>,
}

/// One name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    /// The number of the folder that holds it; the root holds itself.
    pub(crate) folder: u32,
    /// The number of what it names.
    pub(crate) inode: u32,
    pub(super) text: Piece,
}

/// A file, a folder or a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inode {
    pub(crate) kind: Kind,
    /// In units of 100 ns since 1601.
    pub(crate) modified: u64,
    /// As `st_mode` has it, with the type; 0 where the system has none.
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// The position of its first name.
    pub(crate) name: u32,
    /// Attributes of DOS: read-only 1, hidden 2, system 4, archive 0x20, not indexed 0x2000. 0 where the system has none.
    pub(crate) dos: u16,
    /// How many names it has in the tree, at most [`MOST_NAMES`](super::hard_links::MOST_NAMES).
    pub(crate) names: u16,
    pub(super) stamp: Stamp,
}

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Folder {
        /// The position of its first entry in the names.
        first: u32,
        count: u32,
    },
    File {
        size: u64,
    },
    Link(LinkId),
}

/// A target in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkId(pub(super) u32);

/// Where a link leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// Relative and inside the folder.
    Windows {
        /// With backslashes, otherwise as the link has it, but for names that were changed.
        path: Box<[u16]>,
        /// Whether it leads to a folder in the end, also through other links. Windows wants to know.
        to_folder: bool,
    },
    /// What only Linux can follow: absolute, out of the folder, or with names that Windows cannot have.
    #[cfg_attr(windows, allow(dead_code, reason = "only links of Linux have such targets"))]
    Linux(Box<[u8]>),
    /// An absolute path of Windows, with the prefix `\??\`.
    #[cfg_attr(unix, allow(dead_code, reason = "only links of Windows have such targets"))]
    WindowsAbsolute(Box<[u16]>),
}

impl Tree {
    /// The name at a position, as the volume has it. That of the root is empty.
    pub(crate) fn name(&self, position: usize) -> &[u16] {
        self.text.units(self.names[position].text)
    }

    /// The path in the source of the name at a position, relative to the folder.
    pub(crate) fn path(&self, position: usize) -> PathBuf {
        path_in(&self.names, &self.text, position, |folder| self.inodes[folder].name as usize)
    }

    /// How many bytes all files have; `None` when nobody can count so far.
    pub(crate) fn content(&self) -> Option<u64> {
        self.inodes.iter().try_fold(0_u64, |sum, inode| match inode.kind {
            Kind::File { size } => sum.checked_add(size),
            _ => Some(sum),
        })
    }

    /// Where a link leads.
    pub(crate) fn target(&self, link: LinkId) -> &Target {
        &self.targets[link.0 as usize]
    }

    /// Fills the list of what was renamed.
    pub(super) fn tell_renamed(&mut self) {
        if self.text.sources.is_empty() {
            return;
        }
        let positions = (1..self.names.len()).filter(|at| self.text.is_renamed(self.names[*at].text));
        self.renamed = positions.map(|at| (self.path(at), String::from_utf16_lossy(self.name(at)))).collect();
    }
}

/// The path of a name. `name_of` gives the position of the name of a folder.
pub(super) fn path_in(
    names: &[Name],
    text: &Text,
    position: usize,
    name_of: impl Fn(usize) -> usize,
) -> PathBuf {
    let up = |position: &usize| Some(name_of(names[*position].folder as usize));
    let mut pieces: Vec<Piece> = std::iter::successors(Some(position), up)
        .take_while(|position| *position != 0)
        .map(|position| names[position].text)
        .collect();
    pieces.reverse();
    text.path(&pieces)
}

/// The text of all names, one behind the other.
#[derive(Default)]
pub(super) struct Text {
    pub(super) units: Vec<u16>,
    /// For names that the source has in another form, by their start: that form.
    pub(super) sources: HashMap<u32, Box<OsStr>>,
}

/// Where the text of a name lies. No name is longer than 255 units.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Piece {
    pub(super) start: u32,
    pub(super) length: u8,
}

impl Text {
    pub(super) fn units(&self, piece: Piece) -> &[u16] {
        let start = piece.start as usize;
        &self.units[start..start + usize::from(piece.length)]
    }

    pub(super) fn is_renamed(&self, piece: Piece) -> bool {
        self.sources.contains_key(&piece.start)
    }

    /// Appends the name as the source has it.
    pub(super) fn append_source(&self, piece: Piece, out: &mut OsString) {
        match self.sources.get(&piece.start) {
            Some(source) => out.push(source),
            None => sys::append_name(self.units(piece), out),
        }
    }

    /// The path in the source that these names make.
    pub(super) fn path(&self, pieces: &[Piece]) -> PathBuf {
        let units: usize = pieces.iter().map(|piece| usize::from(piece.length) + 1).sum();
        let mut path = OsString::with_capacity(units);
        for (number, piece) in pieces.iter().enumerate() {
            if number > 0 {
                path.push(MAIN_SEPARATOR_STR);
            }
            self.append_source(*piece, &mut path);
        }
        path.into()
    }
}
