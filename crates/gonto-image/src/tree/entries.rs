//! The names in a directory.

use super::NodeId;

/// A directory as it is kept: all names in one piece of memory, sorted by their bytes.
#[derive(Default)]
pub(super) struct Directory {
    pub(super) names: Box<[u8]>,
    pub(super) entries: Box<[Entry]>,
}

/// One name: where it lies in [`Directory::names`], and what it leads to.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) start: u32,
    pub(super) length: u16,
    pub(super) node: NodeId,
}

impl Directory {
    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { names: &self.names, entries: &self.entries }
    }
}

/// The names in a directory and the nodes that they lead to, sorted by the bytes of the names.
///
/// Names are WTF-8: UTF-8, except that lone surrogates, which NTFS allows, are kept. None is empty, `.` or `..`, and none holds
/// a slash or a zero byte; some may have more than 255 bytes.
#[derive(Clone, Copy, Default)]
pub struct Entries<'t> {
    names: &'t [u8],
    entries: &'t [Entry],
}

impl<'t> Entries<'t> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name at a position, counted from 0 on, and its node. Positions never change.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<(&'t [u8], NodeId)> {
        self.entries.get(position).map(|entry| (self.name(entry), entry.node))
    }

    /// The node that a name leads to.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<NodeId> {
        let position = self.entries.binary_search_by(|entry| self.name(entry).cmp(name)).ok()?;
        Some(self.entries[position].node)
    }

    /// All names and their nodes.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&'t [u8], NodeId)> + ExactSizeIterator + use<'t> {
        let all = *self;
        all.entries.iter().map(move |entry| (all.name(entry), entry.node))
    }

    fn name(&self, entry: &Entry) -> &'t [u8] {
        &self.names[entry.start as usize..entry.start as usize + usize::from(entry.length)]
    }
}
