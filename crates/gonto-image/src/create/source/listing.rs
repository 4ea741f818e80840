//! The names in one folder.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::facts::What;
use super::naming;
use super::offender::{Offender, Problem};
use super::sys::{Reader, decode};
use super::tree::{Piece, Text};
use super::{Folder, Wanted};
use crate::ntfs::upcase::UPCASE;

/// The names in a folder, in the order of NTFS.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    pub(super) text: Text,
    pub(super) offenders: Vec<Offender>,
}

/// A name, and what has it.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) text: Piece,
    pub(super) what: What,
}

/// A name that Windows cannot have.
struct Odd {
    source: OsString,
    what: What,
    /// What it may be called, if nothing else is.
    safe: Vec<u16>,
}

impl Listing {
    /// Reads the folder at `path`.
    pub(super) fn read(
        folder: &Folder,
        path: &Path,
        reader: &mut Reader,
        wanted: &Wanted<'_>,
    ) -> io::Result<Self> {
        let mut listing = Self::default();
        let in_root = path.as_os_str().is_empty();
        let mut odd = Vec::new();
        let mut place = PathBuf::from(path);
        reader.read(&folder.root, path, |name, what| {
            place.push(name);
            if !(wanted.excluded)(&place, what == What::Folder) {
                match what.problem() {
                    Some(problem) => listing.refuse(&place, [problem]),
                    None => odd.extend(listing.take(name, what, &place, in_root, wanted.portable)),
                }
            }
            place.pop();
        })?;
        listing.sort();
        odd.append(&mut listing.remove_twins(path, wanted.portable));
        if !odd.is_empty() {
            listing.add_odd(odd);
        }
        Ok(listing)
    }

    /// Adds a name, unless it is one that Windows cannot have.
    fn take(&mut self, name: &OsStr, what: What, path: &Path, in_root: bool, portable: bool) -> Option<Odd> {
        let start = self.text.units.len();
        let problems = match decode(name, &mut self.text.units) {
            Ok(()) => naming::problems(&self.text.units[start..], in_root),
            Err(_) => vec![Problem::NotUnicode],
        };
        if problems.is_empty() {
            self.add(start, what);
            return None;
        }
        self.text.units.truncate(start);
        if !portable {
            self.refuse(path, problems);
        }
        Some(Odd { source: name.into(), what, safe: naming::safe(name, in_root) })
    }

    /// Adds the text from `start` on as a name.
    fn add(&mut self, start: usize, what: What) {
        let length = self.text.units.len() - start;
        // No name is too long here, and a text of gigabytes is refused as a whole, by the levels.
        if let (Ok(start), Ok(length)) = (u32::try_from(start), u8::try_from(length)) {
            self.entries.push(Entry { text: Piece { start, length }, what });
        }
    }

    fn refuse(&mut self, path: &Path, problems: impl IntoIterator<Item = Problem>) {
        let offenders = problems.into_iter().map(|problem| Offender { path: path.into(), problem });
        self.offenders.extend(offenders);
    }

    fn sort(&mut self) {
        let text = &self.text;
        self.entries.sort_unstable_by(|a, b| UPCASE.order(text.units(a.text), text.units(b.text)));
    }

    /// Removes the names that differ only by case from the one before them.
    fn remove_twins(&mut self, path: &Path, portable: bool) -> Vec<Odd> {
        let Self { entries, text, offenders } = self;
        let source = |entry: Entry| {
            let mut source = OsString::new();
            text.append_source(entry.text, &mut source);
            source
        };
        let mut twins = Vec::new();
        let mut kept: Option<Entry> = None;
        entries.retain(|entry| {
            let name = text.units(entry.text);
            let twin = kept.filter(|kept| UPCASE.order_ignoring_case(text.units(kept.text), name).is_eq());
            let Some(twin) = twin else {
                kept = Some(*entry);
                return true;
            };
            let source_here = source(*entry);
            if !portable {
                let problem = Problem::SameName(path.join(source(twin)));
                offenders.push(Offender { path: path.join(&source_here), problem });
            }
            twins.push(Odd { source: source_here, what: entry.what, safe: name.to_vec() });
            false
        });
        twins
    }

    /// Adds names in a form that no other has. Those that need no change have kept theirs.
    fn add_odd(&mut self, mut odd: Vec<Odd>) {
        let upper = |name: &[u16]| -> Vec<u16> { name.iter().map(|unit| UPCASE.upper(*unit)).collect() };
        let mut taken: HashSet<Vec<u16>> =
            self.entries.iter().map(|entry| upper(self.text.units(entry.text))).collect();
        let mut numbers: HashMap<Vec<u16>, u32> = HashMap::new();
        odd.sort_unstable_by(|a, b| UPCASE.order(&a.safe, &b.safe).then_with(|| a.source.cmp(&b.source)));
        for Odd { source, what, safe } in odd {
            let mut name = safe.clone();
            while !taken.insert(upper(&name)) {
                let number = numbers.entry(upper(&safe)).or_insert(1);
                *number += 1;
                name = naming::with_suffix(&safe, &format!("~{number}"));
            }
            let start = self.text.units.len();
            self.text.units.extend(name);
            self.add(start, what);
            if let Some(entry) = self.entries.last() {
                self.text.sources.insert(entry.text.start, source.into_boxed_os_str());
            }
        }
        self.sort();
    }
}
