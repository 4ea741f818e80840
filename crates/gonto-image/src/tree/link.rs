//! Targets of symbolic links: what Windows wrote, made into something that Linux can follow.

use std::collections::HashMap;

use super::node::{Kind, NodeId};
use super::note::Reason;
use super::{Content, FileTree};
use crate::ntfs::reparse::{Reparse, WindowsTarget};

/// Gives every link its target. The tree is whole, so that targets can be looked up in it.
pub(super) fn resolve(tree: &mut FileTree, links: Vec<(NodeId, Reparse)>) {
    let mut resolver = Resolver::default();
    for (id, link) in links {
        let (target, reason) = match link {
            Reparse::LinuxLink(target) => (target.into_vec(), None),
            Reparse::Link(target) => resolver.windows_target(tree, id, &target),
            _ => continue,
        };
        let usable = (1..=LONGEST_TARGET).contains(&target.len()) && !target.contains(&0);
        let reason = if usable { reason } else { Some(Reason::BrokenLink) };
        if let Some(reason) = reason {
            // The path is searched for, which is only worth it for the notes that are kept.
            let mut notes = std::mem::take(&mut tree.notes);
            notes.add(reason, || tree.path(id));
            tree.notes = notes;
        }
        let node = &mut tree.nodes[id.index()];
        if reason == Some(Reason::BrokenLink) {
            node.kind = Kind::File;
            tree.contents[id.index()] = Content::Unreadable(Reason::BrokenLink);
        } else {
            node.size = target.len() as u64;
            tree.contents[id.index()] = Content::Link(target.into_boxed_slice());
        }
    }
}

/// Linux follows no longer one (PATH_MAX without its zero byte).
const LONGEST_TARGET: usize = 4095;

/// So deep that the way up alone, two dots and a slash for each folder, would be too long.
const DEEPEST: usize = LONGEST_TARGET / 3;

/// Looks targets up as Windows would: upper and lower case are the same.
#[derive(Default)]
struct Resolver {
    /// Names of a directory without regard to case and their positions, made when they are first asked for.
    folded: HashMap<NodeId, HashMap<String, usize>>,
}

/// How far a path could be followed.
struct Followed<'t> {
    /// From the root to what was found, both included.
    nodes: Vec<NodeId>,
    /// For each node the name that led to it: a hard link has others as well. Empty for those above the start.
    names: Vec<&'t [u8]>,
    /// What comes behind a link on the way: only whoever follows it knows where that is.
    rest: Vec<&'t [u8]>,
    /// Whether every name had the case of the path.
    exact: bool,
}

impl Resolver {
    fn windows_target(
        &mut self,
        tree: &FileTree,
        link: NodeId,
        target: &WindowsTarget,
    ) -> (Vec<u8>, Option<Reason>) {
        let folder = tree.parent(link);
        let path = &*target.path;
        if path.len() > LONGEST_TARGET {
            return (Vec::new(), None);
        }
        if target.relative && !path.starts_with(b"\\") {
            let followed = self.follow(tree, folder, path).filter(|followed| !followed.exact);
            // Windows does not care about case, so that a target may need the case that the tree has.
            let text = followed.and_then(|followed| relative(tree, folder, &followed));
            return (text.unwrap_or_else(|| with_slashes(path)), None);
        }
        let path = path.strip_prefix(br"\??\").or_else(|| path.strip_prefix(br"\\?\")).unwrap_or(path);
        let inside = inside_volume(path, target.relative);
        let followed = inside.and_then(|inside| self.follow(tree, tree.root(), inside));
        match followed.and_then(|followed| relative(tree, folder, &followed)) {
            Some(text) => (text, None),
            None => (with_slashes(path), Some(Reason::LinkOutside)),
        }
    }

    /// Follows a path through the directories of the tree, as far as the first link; `None` when a name is missing.
    fn follow<'t>(&mut self, tree: &'t FileTree, start: NodeId, path: &'t [u8]) -> Option<Followed<'t>> {
        let nodes = ancestors(tree, start)?;
        let names = vec![&b""[..]; nodes.len()];
        let mut followed = Followed { nodes, names, rest: Vec::new(), exact: true };
        let mut parts = path.split(|byte| matches!(byte, b'\\' | b'/'));
        while let Some(part) = parts.next() {
            match part {
                b"" | b"." => {}
                b".." if followed.nodes.len() == 1 => {}
                b".." => {
                    followed.nodes.pop();
                    followed.names.pop();
                }
                _ => {
                    let dir = *followed.nodes.last()?;
                    let (name, node) = match tree.lookup(dir, part) {
                        Some(node) => (part, node),
                        None => self.lookup_folded(tree, dir, part)?,
                    };
                    followed.exact &= name == part;
                    followed.nodes.push(node);
                    followed.names.push(name);
                    if tree.node(node).kind == Kind::Symlink {
                        followed.rest = parts.filter(|part| !part.is_empty()).collect();
                        break;
                    }
                }
            }
        }
        Some(followed)
    }

    fn lookup_folded<'t>(
        &mut self,
        tree: &'t FileTree,
        dir: NodeId,
        name: &[u8],
    ) -> Option<(&'t [u8], NodeId)> {
        let entries = tree.entries(dir);
        let positions = self.folded.entry(dir).or_insert_with(|| {
            entries.iter().enumerate().map(|(position, (name, _))| (fold(name), position)).collect()
        });
        entries.get(*positions.get(&fold(name))?)
    }
}

/// The path from `folder` to what was found.
fn relative(tree: &FileTree, folder: NodeId, to: &Followed<'_>) -> Option<Vec<u8>> {
    let here = ancestors(tree, folder)?;
    let common = here.iter().zip(&to.nodes).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(&b".."[..], here.len() - common);
    let names: Vec<&[u8]> =
        up.chain(to.names[common..].iter().copied()).chain(to.rest.iter().copied()).collect();
    Some(if names.is_empty() { b".".to_vec() } else { names.join(&b'/') })
}

/// The part of an absolute path behind its volume, which is taken to be this one: which letter it has, or had, is not
/// written in it. `None` where there is no volume in it.
fn inside_volume(path: &[u8], root_relative: bool) -> Option<&[u8]> {
    match path {
        [letter, b':', rest @ ..] if letter.is_ascii_alphabetic() => Some(rest),
        [b'\\', rest @ ..] if root_relative => Some(rest),
        _ => {
            let behind_brace = path.iter().position(|byte| *byte == b'}').map(|at| &path[at + 1..]);
            // Without a path it is a volume mounted in a folder, and that is another one.
            behind_brace.filter(|rest| path.starts_with(b"Volume{") && rest.iter().any(|byte| *byte != b'\\'))
        }
    }
}

/// From the root down to a node, both included; `None` when that is too deep for a target.
fn ancestors(tree: &FileTree, node: NodeId) -> Option<Vec<NodeId>> {
    let mut nodes = vec![node];
    let mut at = node;
    while at != tree.root() {
        at = tree.parent(at);
        nodes.push(at);
        if nodes.len() > DEEPEST {
            return None;
        }
    }
    nodes.reverse();
    Some(nodes)
}

fn with_slashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

fn fold(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_behind_the_volume_is_told_apart_from_other_volumes() {
        let inside = |path: &'static str| {
            inside_volume(path.as_bytes(), false).map(|rest| str::from_utf8(rest).unwrap())
        };
        assert_eq!(inside(r"C:\dir\file"), Some(r"\dir\file"));
        assert_eq!(inside(r"c:dir"), Some("dir"));
        assert_eq!(inside(r"C:\"), Some(r"\"));
        assert_eq!(inside(r"Volume{9b2ae2cc-8461-11eb}\dir\"), Some(r"\dir\"));
        assert_eq!(inside(r"Volume{9b2ae2cc-8461-11eb}\"), None);
        assert_eq!(inside(r"Volume{9b2ae2cc-8461-11eb"), None);
        assert_eq!(inside(r"UNC\server\share"), None);
        assert_eq!(inside(r"\dir"), None);
        assert_eq!(inside_volume(br"\dir", true), Some(&br"dir"[..]));
    }
}
