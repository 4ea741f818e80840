//! What a path means inside a volume.

use std::collections::VecDeque;

use gonto_image::{FileTree, Kind, NodeId};

use super::Error;
use super::content::Content;

/// What a path leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The path as the volume spells it, without links: WTF-8, with slashes; empty for the root.
    pub path: Vec<u8>,
    /// The node.
    pub node: NodeId,
    /// Which of its streams, when the path names one; the name is a part of `path` then.
    pub stream: Option<usize>,
}

/// As many links as Linux follows in one path.
const MOST_LINKS: u32 = 40;

impl Place {
    /// What is read there.
    pub(super) fn content(&self) -> Content {
        Content { node: self.node, stream: self.stream }
    }
}

/// Finds what a path leads to, as Windows would: slashes and backslashes separate names, and upper and lower case are the
/// same where only one name is meant. A name that is spelled exactly always wins, so that everything can be reached.
/// Links inside the path are followed as long as they stay in the volume, one at its end only when `follow` is set.
pub(super) fn find(tree: &FileTree, path: &[u8], follow: bool) -> Result<Place, Error> {
    let exactly = |separators: &'static [u8]| Search::new(tree, path, separators).run(follow);
    if path.contains(&b'\\') {
        // Linux may have put a backslash into a name.
        if let Ok(place) = exactly(b"/") {
            return Ok(place);
        }
    }
    exactly(b"/\\")
}

struct Search<'t, 'p> {
    tree: &'t FileTree,
    asked: &'p [u8],
    separators: &'static [u8],
    /// From the root down to where the search is, each with the length of its path.
    way: Vec<(NodeId, usize)>,
    path: Vec<u8>,
    names: VecDeque<Vec<u8>>,
    links: u32,
}

impl<'t, 'p> Search<'t, 'p> {
    fn new(tree: &'t FileTree, asked: &'p [u8], separators: &'static [u8]) -> Self {
        let mut search = Self {
            tree,
            asked,
            separators,
            way: vec![(tree.root(), 0)],
            path: Vec::new(),
            names: VecDeque::new(),
            links: 0,
        };
        search.put_before(asked);
        search
    }

    /// The names of a path come before those that are still to be looked up.
    fn put_before(&mut self, path: &[u8]) {
        let separators = self.separators;
        let names =
            path.split(|byte| separators.contains(byte)).filter(|name| !name.is_empty() && *name != b".");
        for (at, name) in names.enumerate() {
            self.names.insert(at, name.to_vec());
        }
    }

    fn run(mut self, follow: bool) -> Result<Place, Error> {
        while let Some(name) = self.names.pop_front() {
            if name == b".." {
                if self.way.len() > 1 {
                    self.way.pop();
                }
                self.path.truncate(self.here().1);
                continue;
            }
            let (folder, length) = self.here();
            if self.tree.node(folder).kind != Kind::Directory {
                return Err(Error::NotAFolder { path: text(&self.path), rest: text(&name) });
            }
            let (name, node) = match self.lookup(folder, &name) {
                Ok(found) => found,
                Err(error) if self.names.is_empty() => {
                    return self.stream(folder, &name).unwrap_or(Err(error));
                }
                Err(error) => return Err(error),
            };
            self.push(&name);
            let is_link = self.tree.node(node).kind == Kind::Symlink;
            if is_link && (follow || !self.names.is_empty()) {
                self.follow(node)?;
                self.path.truncate(length);
            } else {
                self.way.push((node, self.path.len()));
            }
        }
        Ok(Place { node: self.here().0, path: self.path, stream: None })
    }

    fn here(&self) -> (NodeId, usize) {
        self.way.last().copied().unwrap_or((self.tree.root(), 0))
    }

    fn push(&mut self, name: &[u8]) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend(name);
    }

    /// The node that a name in a folder means, and how the folder spells it.
    fn lookup(&self, folder: NodeId, name: &[u8]) -> Result<(Vec<u8>, NodeId), Error> {
        if let Some(node) = self.tree.lookup(folder, name) {
            return Ok((name.to_vec(), node));
        }
        let folded = fold(name);
        let similar: Vec<_> =
            self.tree.entries(folder).iter().filter(|(found, _)| fold(found) == folded).collect();
        match similar[..] {
            [(only, node)] => Ok((only.to_vec(), node)),
            _ => Err(Error::NotFound {
                name: text(name),
                folder: text(&self.path),
                similar: similar.iter().map(|(name, _)| text(name)).collect(),
            }),
        }
    }

    /// Puts the target of a link in its place.
    fn follow(&mut self, link: NodeId) -> Result<(), Error> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Error::TooManyLinks { path: text(self.asked), limit: MOST_LINKS });
        }
        let target = self.tree.link_target(link);
        let has_drive = target.first().is_some_and(u8::is_ascii_alphabetic) && target.get(1) == Some(&b':');
        // What could be found in the volume was made relative when the tree was read.
        if target.is_empty() || target.starts_with(b"/") || has_drive {
            return Err(Error::LinkOutside { path: text(&self.path), target: text(target) });
        }
        self.put_before(target);
        Ok(())
    }

    /// A stream of something in `folder`, or of the folder itself, if the name is one of a stream.
    fn stream(&mut self, folder: NodeId, name: &[u8]) -> Option<Result<Place, Error>> {
        let colon = name.iter().position(|byte| *byte == b':')?;
        let (file, stream) = (&name[..colon], &name[colon + 1..]);
        let stream = stream.strip_suffix(b":$DATA").unwrap_or(stream);
        let node = if file.is_empty() {
            folder
        } else {
            let (file, node) = match self.lookup(folder, file) {
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            self.push(&file);
            node
        };
        let streams = super::content::streams(self.tree, node);
        let found = streams
            .iter()
            .position(|found| found.name == stream)
            .or_else(|| streams.iter().position(|found| fold(&found.name) == fold(stream)));
        let Some(found) = found else {
            let (name, folder) = (format!(":{}", text(stream)), text(&self.path));
            return Some(Err(Error::NotFound { name, folder, similar: Vec::new() }));
        };
        let mut path = std::mem::take(&mut self.path);
        path.push(b':');
        path.extend(&streams[found].name);
        Some(Ok(Place { path, node, stream: Some(found) }))
    }
}

/// For messages.
pub(super) fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The name as Windows compares it: each character by its own upper case, if that is a single one.
fn fold(name: &[u8]) -> Vec<char> {
    let upper = |character: char| {
        let mut upper = character.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(only), None) => only,
            _ => character,
        }
    };
    String::from_utf8_lossy(name).chars().map(upper).collect()
}
