//! Where links lead.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::naming::is_forbidden;
use super::offender::{Offender, Problem};
use super::sys;
use super::tree::{Kind, LinkId, Name, Target, Tree};
use crate::ntfs::upcase::UPCASE;

/// In UTF-16 units: a reparse point has at most 16 KiB, and may hold the target twice behind a header of 20 bytes.
const LONGEST: usize = (16 * 1024 - 20) / 4;

/// As many links as Linux follows in one path.
const MOST_HOPS: usize = 40;

/// Gives every link its target. `targets` come with the positions of the names of their links, in ascending order.
pub(super) fn resolve(tree: &mut Tree, targets: &[(usize, OsString)], keep_links: bool) -> Vec<Offender> {
    let mut of_links: Vec<&OsStr> = Vec::new();
    for (position, target) in targets {
        let inode = &mut tree.inodes[tree.names[*position].inode as usize];
        inode.kind = Kind::Link(LinkId(u32::try_from(of_links.len()).unwrap_or(u32::MAX)));
        of_links.push(target);
    }
    let mut offenders = Vec::new();
    let mut resolved = Vec::with_capacity(of_links.len());
    let resolver = Resolver { renamed: renamed(tree), tree, targets: &of_links };
    for (position, target) in targets {
        resolved.push(match resolver.for_windows(tree.names[*position].folder, target) {
            Ok(target) => target,
            Err(_) if keep_links => sys::kept_target(target),
            Err(problem) => {
                offenders.push(Offender { path: tree.path(*position), problem });
                sys::kept_target(target)
            }
        });
    }
    tree.targets = resolved;
    offenders
}

/// The renamed entries of all folders by the names that they have in the source.
fn renamed(tree: &Tree) -> HashMap<(u32, &OsStr), usize> {
    if tree.text.sources.is_empty() {
        return HashMap::new();
    }
    let source = |name: &Name| tree.text.sources.get(&name.text.start);
    let renamed = tree.names.iter().enumerate().skip(1);
    renamed.filter_map(|(at, name)| Some(((name.folder, &**source(name)?), at))).collect()
}

struct Resolver<'t> {
    tree: &'t Tree,
    targets: &'t [&'t OsStr],
    renamed: HashMap<(u32, &'t OsStr), usize>,
}

/// Where the parts of a target lead.
struct Followed {
    /// For each part the position of the name that it means, if the tree has it.
    names: Vec<Option<usize>>,
    end: End,
}

#[derive(PartialEq, Eq)]
enum End {
    Folder,
    /// Anything else, or nothing.
    Other,
    /// It goes up from the root.
    Outside,
}

impl Resolver<'_> {
    /// The target as Windows can follow it.
    fn for_windows(&self, folder: u32, target: &OsStr) -> Result<Target, Problem> {
        let text = || target.to_string_lossy().into_owned();
        let parts = sys::parts(target);
        if sys::is_absolute(target) || self.goes_up_too_far(folder, &parts) {
            return Err(Problem::LinkLeaves(text()));
        }
        let followed = self.follow(folder, &parts);
        if followed.end == End::Outside {
            return Err(Problem::LinkLeaves(text()));
        }
        if self.goes_up_behind_a_link(&parts, &followed) {
            return Err(Problem::LinkTarget(text()));
        }
        let mut path = Vec::new();
        // Windows takes `a\\b` for no path at all.
        let parts_and_names = parts.iter().zip(&followed.names).filter(|(part, _)| !part.is_empty());
        for (number, (part, name)) in parts_and_names.enumerate() {
            if number > 0 {
                path.push(u16::from(b'\\'));
            }
            match name {
                Some(name) if self.tree.text.is_renamed(self.tree.names[*name].text) => {
                    path.extend(self.tree.name(*name));
                }
                _ => {
                    let start = path.len();
                    let decoded = sys::decode(part, &mut path).is_ok();
                    if !decoded || path[start..].iter().any(|unit| is_forbidden(*unit)) {
                        return Err(Problem::LinkTarget(text()));
                    }
                }
            }
        }
        if path.is_empty() || path.len() > LONGEST {
            return Err(Problem::LinkTarget(text()));
        }
        Ok(Target::Windows { path: path.into(), to_folder: followed.end == End::Folder })
    }

    /// Whether `..` follows a link in a target: Windows takes both away, and would go elsewhere than Linux.
    fn goes_up_behind_a_link(&self, parts: &[OsString], followed: &Followed) -> bool {
        let is_link = |name: usize| {
            matches!(self.tree.inodes[self.tree.names[name].inode as usize].kind, Kind::Link(_))
        };
        let real = parts
            .iter()
            .zip(&followed.names)
            .filter(|(part, _)| !matches!(part.as_encoded_bytes(), b"" | b"."));
        let mut behind_link = false;
        for (part, name) in real {
            if behind_link && part == ".." {
                return true;
            }
            behind_link = name.is_some_and(is_link);
        }
        false
    }

    /// Windows takes `name\..` away before it looks what `name` is, so the text alone must not leave the folder either.
    fn goes_up_too_far(&self, mut folder: u32, parts: &[OsString]) -> bool {
        let mut depth = 0_usize;
        while folder != 0 {
            folder = self.folder_of(folder);
            depth += 1;
        }
        for part in parts {
            match part.as_encoded_bytes() {
                b"" | b"." => {}
                b".." if depth == 0 => return true,
                b".." => depth -= 1,
                _ => depth += 1,
            }
        }
        false
    }

    /// Follows the parts of a target as the system of the source does.
    fn follow(&self, mut folder: u32, parts: &[OsString]) -> Followed {
        let mut names = vec![None; parts.len()];
        let end = |names, end| Followed { names, end };
        // What is still to be gone, the next part last. Those of the target itself have their numbers.
        let mut rest: Vec<(Option<usize>, OsString)> =
            parts.iter().cloned().enumerate().map(|(number, part)| (Some(number), part)).rev().collect();
        let mut hops = 0;
        while let Some((number, part)) = rest.pop() {
            match part.as_encoded_bytes() {
                b"" | b"." => continue,
                b".." if folder == 0 => {
                    // A link on the way may leave the folder; it is told itself.
                    return end(names, if number.is_some() { End::Outside } else { End::Other });
                }
                b".." => {
                    folder = self.folder_of(folder);
                    continue;
                }
                _ => {}
            }
            let Some(name) = self.look_up(folder, &part) else { return end(names, End::Other) };
            if let Some(number) = number {
                names[number] = Some(name);
            }
            let inode = self.tree.names[name].inode;
            match self.tree.inodes[inode as usize].kind {
                Kind::Folder { .. } => folder = inode,
                Kind::File { .. } => return end(names, End::Other),
                Kind::Link(link) => {
                    hops += 1;
                    let target = self.targets[link.0 as usize];
                    if hops > MOST_HOPS || sys::is_absolute(target) {
                        return end(names, End::Other);
                    }
                    rest.extend(sys::parts(target).into_iter().rev().map(|part| (None, part)));
                }
            }
        }
        end(names, End::Folder)
    }

    /// The position of an entry of a folder by its name in the source.
    fn look_up(&self, folder: u32, source: &OsStr) -> Option<usize> {
        let Kind::Folder { first, count } = self.tree.inodes[folder as usize].kind else { return None };
        let (first, count) = (first as usize, count as usize);
        let mut units = Vec::new();
        let position = sys::decode(source, &mut units).ok().and_then(|()| {
            let names = &self.tree.names[first..first + count];
            let found =
                names.binary_search_by(|name| sys::order(&UPCASE, self.tree.text.units(name.text), &units));
            found.ok().map(|at| first + at)
        });
        // What has this name on the volume may have another one in the source.
        position
            .filter(|position| !self.tree.text.is_renamed(self.tree.names[*position].text))
            .or_else(|| self.renamed.get(&(folder, source)).copied())
    }

    fn folder_of(&self, folder: u32) -> u32 {
        self.tree.names[self.tree.inodes[folder as usize].name as usize].folder
    }
}
