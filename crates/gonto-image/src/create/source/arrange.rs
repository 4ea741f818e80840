//! All names, found level by level and brought into the order of the volume.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::facts::What;
use super::listing::{Entry, Listing};
use super::offender::Offender;
use super::sys::Reader;
use super::tree::{Inode, Kind, Name, Piece, Text, Tree};
use super::{Folder, Wanted};
use crate::create::error::CreateError;
use crate::parallel::map_waiting;

/// Reads the names of everything in the folder. Of the inodes only the kinds are known then.
pub(super) fn read_names(folder: &Folder, wanted: &Wanted<'_>) -> Result<(Tree, Vec<Offender>), CreateError> {
    let mut levels = Levels::new();
    let names = AtomicU64::new(0);
    let mut level = 0..1;
    while !level.is_empty() {
        let listings = map_waiting(level.len(), Reader::new, |reader, number| {
            if (wanted.watch)(names.load(Ordering::Relaxed)).is_break() {
                return Err(CreateError::Interrupted);
            }
            let path = levels.path(level.start + number);
            let listing = Listing::read(folder, &path, reader, wanted)
                .map_err(|error| CreateError::of_found(&folder.path, &path, error))?;
            names.fetch_add(listing.entries.len() as u64, Ordering::Relaxed);
            Ok(listing)
        });
        let next = level.end;
        for (number, listing) in level.zip(listings) {
            levels
                .add(number, listing?)
                .ok_or_else(|| CreateError::TooMany { path: (*folder.path).into() })?;
        }
        level = next..levels.folders.len();
    }
    Ok(levels.arrange())
}

/// What was found, in the order of the levels.
struct Levels {
    folders: Vec<Found>,
    entries: Vec<Entry>,
    text: Text,
    offenders: Vec<Offender>,
}

/// A folder.
struct Found {
    /// The number of the folder that holds it; the root holds itself.
    folder: usize,
    name: Piece,
    entries: Range<usize>,
    /// The number of its first subfolder; the others follow.
    subfolders: usize,
}

impl Levels {
    fn new() -> Self {
        let root = Found { folder: 0, name: Piece::default(), entries: 0..0, subfolders: 0 };
        Self { folders: vec![root], entries: Vec::new(), text: Text::default(), offenders: Vec::new() }
    }

    /// Adds what a folder holds; `None` when it is too much to be counted.
    fn add(&mut self, number: usize, listing: Listing) -> Option<()> {
        let shift = u32::try_from(self.text.units.len()).ok()?;
        self.text.units.extend(listing.text.units);
        // The root is a name as well.
        u32::try_from(self.text.units.len().max(self.entries.len() + listing.entries.len() + 1)).ok()?;
        self.text.sources.extend(listing.text.sources.into_iter().map(|(start, name)| (start + shift, name)));
        self.offenders.extend(listing.offenders);
        let first = self.entries.len();
        self.folders[number].subfolders = self.folders.len();
        for Entry { text, what } in listing.entries {
            let name = Piece { start: text.start + shift, ..text };
            self.entries.push(Entry { text: name, what });
            if what == What::Folder {
                self.folders.push(Found { folder: number, name, entries: 0..0, subfolders: 0 });
            }
        }
        self.folders[number].entries = first..self.entries.len();
        Some(())
    }

    fn path(&self, mut number: usize) -> PathBuf {
        let mut pieces = Vec::new();
        while number != 0 {
            pieces.push(self.folders[number].name);
            number = self.folders[number].folder;
        }
        pieces.reverse();
        self.text.path(&pieces)
    }

    /// Brings everything into the order of the volume.
    fn arrange(self) -> (Tree, Vec<Offender>) {
        let count = self.entries.len() + 1;
        let (mut names, mut inodes) = (Vec::with_capacity(count), Vec::with_capacity(count));
        names.push(Name { folder: 0, inode: 0, text: Piece::default() });
        inodes.push(Inode::unknown(0, What::Folder));
        // Folders whose entries have no place yet, with the numbers of their inodes; the next one is the last.
        let mut waiting = vec![(0, 0)];
        while let Some((number, folder)) = waiting.pop() {
            let found: &Found = &self.folders[number];
            let (first, below) = (position(names.len()), waiting.len());
            let mut subfolders = found.subfolders..;
            for Entry { text, what } in &self.entries[found.entries.clone()] {
                let inode = position(names.len());
                names.push(Name { folder, inode, text: *text });
                inodes.push(Inode::unknown(inode, *what));
                if *what == What::Folder {
                    waiting.extend(subfolders.next().map(|number| (number, inode)));
                }
            }
            waiting[below..].reverse();
            let count = position(names.len()) - first;
            inodes[folder as usize].kind = Kind::Folder { first, count };
        }
        let tree = Tree { names, inodes, renamed: Vec::new(), text: self.text, targets: Vec::new() };
        (tree, self.offenders)
    }
}

/// There are no more names than a `u32` can count: [`Levels::add`] sees to it.
#[expect(clippy::cast_possible_truncation, reason = "checked when the names were added")]
fn position(count: usize) -> u32 {
    count as u32
}
