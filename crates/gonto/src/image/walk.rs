//! The way through a volume: every name below a folder, in the order of the bytes of its path.

use std::cmp::Ordering;

use gonto_image::{FileTree, Kind, NodeId};

/// No path is longer on Windows: 32,767 characters, of up to three bytes each. It also bounds what a chain of folders, each
/// in the one before, can cost.
pub(super) const LONGEST_PATH: usize = 3 * 32_767;

/// Goes through the names of a volume. The order is that of the bytes of the whole paths, so that `a.txt` comes before
/// `a/b`, as in a sorted list.
pub struct Walk<'t> {
    tree: &'t FileTree,
    path: Vec<u8>,
    levels: Vec<Level<'t>>,
}

/// What is found on the way. [`Walk::path`] tells its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A name.
    Name(NodeId),
    /// The place of a node's streams, whose paths are its own, a colon and their names. Told of every node, also of those that
    /// have none.
    Streams(NodeId),
    /// A folder that is not entered, because the paths in it would be too long.
    TooDeep(NodeId),
}

/// A folder that is gone through.
struct Level<'t> {
    /// What is still to come, the next one at the end.
    items: Vec<Item<'t>>,
    /// Length of the paths' common start, the slash included.
    start: usize,
}

#[derive(Clone, Copy)]
struct Item<'t> {
    name: &'t [u8],
    node: NodeId,
    what: What,
}

/// In the order of what comes behind the name in the path: nothing, a slash, a colon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Name,
    Inside,
    Streams,
}

impl<'t> Walk<'t> {
    /// All that lies in `folder`, whose path is `path`, and its own streams; the folder itself is not told.
    pub(super) fn inside(tree: &'t FileTree, folder: NodeId, path: &[u8]) -> Self {
        let mut walk = Self { tree, path: path.to_vec(), levels: Vec::new() };
        let item = |what| Item { name: b"", node: folder, what };
        // The streams of the root have their place between its names.
        let items = if path.is_empty() {
            vec![item(What::Inside)]
        } else {
            vec![item(What::Streams), item(What::Inside)]
        };
        walk.levels.push(Level { items, start: path.len() });
        walk
    }

    /// A node that is known, and all that lies in it.
    pub(super) fn from(tree: &'t FileTree, node: NodeId, path: &[u8]) -> Self {
        let mut walk = Self::inside(tree, node, path);
        walk.levels[0].items.push(Item { name: b"", node, what: What::Name });
        walk
    }

    /// The next step; `None` at the end.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it lends, the path, lives until the next step only"
    )]
    pub fn next(&mut self) -> Option<Step> {
        loop {
            let level = self.levels.last_mut()?;
            self.path.truncate(level.start);
            let Some(item) = level.items.pop() else {
                self.levels.pop();
                continue;
            };
            self.path.extend(item.name);
            match item.what {
                What::Name => return Some(Step::Name(item.node)),
                What::Streams => return Some(Step::Streams(item.node)),
                What::Inside if self.tree.node(item.node).kind != Kind::Directory => {}
                What::Inside if self.path.len() >= LONGEST_PATH => return Some(Step::TooDeep(item.node)),
                What::Inside => self.enter(item.node),
            }
        }
    }

    /// The path of the last step, from the root of the volume on, with slashes.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    fn enter(&mut self, folder: NodeId) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        let entries = self.tree.entries(folder);
        let mut items = Vec::with_capacity(entries.len() * 2);
        if self.path.is_empty() {
            items.push(Item { name: b"", node: folder, what: What::Streams });
        }
        for (name, node) in entries.iter() {
            let is_folder = self.tree.node(node).kind == Kind::Directory;
            let whats = [What::Name, What::Inside, What::Streams].into_iter();
            items.extend(whats.filter(|what| is_folder || *what != What::Inside).map(|what| Item {
                name,
                node,
                what,
            }));
        }
        items.sort_by(|a, b| b.order(a));
        self.levels.push(Level { items, start: self.path.len() });
    }
}

impl Item<'_> {
    /// The order of the paths' bytes.
    fn order(&self, other: &Self) -> Ordering {
        let common = self.name.len().min(other.name.len());
        self.name[..common]
            .cmp(&other.name[..common])
            .then_with(|| self.behind(common).cmp(other.behind(common)))
    }

    /// The rest of the name, and the byte that comes behind it.
    fn behind(&self, start: usize) -> impl Iterator<Item = u8> {
        let behind: &[u8] = match self.what {
            What::Name => b"",
            What::Inside => b"/",
            What::Streams => b":",
        };
        self.name[start..].iter().chain(behind).copied()
    }
}
