//! What the system tells about each file.

use std::ffi::OsString;
use std::sync::Mutex;

use super::offender::Problem;
use super::tree::{Inode, Kind, LinkId, Tree, path_in};
use super::{Folder, Wanted};
use crate::create::error::CreateError;
use crate::parallel::map_waiting;

/// What something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(windows, allow(dead_code, reason = "Windows has only the first three"))]
pub(super) enum What {
    Folder,
    File,
    Link,
    Socket,
    Fifo,
    Device,
}

impl What {
    /// Why it cannot be in an image.
    pub(super) fn problem(self) -> Option<Problem> {
        match self {
            Self::Folder | Self::File | Self::Link => None,
            Self::Socket => Some(Problem::Socket),
            Self::Fifo => Some(Problem::Fifo),
            Self::Device => Some(Problem::Device),
        }
    }
}

/// What the system tells.
pub(super) struct Facts {
    pub(super) what: What,
    pub(super) size: u64,
    /// NTFS time.
    pub(super) modified: u64,
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) dos: u16,
    /// Whether it has several names, here or elsewhere.
    pub(super) shared: bool,
    pub(super) stamp: Stamp,
}

/// What changes when a file is written to or replaced. There are millions: no padding between them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(Rust, packed(4))]
pub(super) struct Stamp {
    pub(super) device: u32,
    /// The number of the file on its device.
    pub(super) number: u64,
    /// When the content changed, and when anything did, as exactly as the system tells, in units of its own.
    pub(super) written: i64,
    pub(super) changed: i64,
}

const _: () = assert!(size_of::<Inode>() == 72);

/// The attributes of DOS that a volume takes over from its source: \[MS-FSCC\] 2.6.
pub(super) const DOS_ATTRIBUTES: u32 = 0x1 | 0x2 | 0x4 | 0x20 | 0x2000;

/// How many files of one folder a thread asks for at a time.
const AT_ONCE: usize = 1024;

/// Fills all inodes, of which only the kinds were known, and returns the targets of links with the positions of their names.
///
/// Until hard links are merged each name has an inode of its own, with the same number; `names` is then 2 for all
/// files that have several.
pub(super) fn ask(
    folder: &Folder,
    wanted: &Wanted<'_>,
    tree: &mut Tree,
) -> Result<Vec<(usize, OsString)>, CreateError> {
    let Tree { names, inodes, text, .. } = tree;
    let Some((root, mut rest)) = inodes.split_first_mut() else { return Ok(Vec::new()) };
    let facts = folder.root.open_folder("".as_ref()).and_then(|root| root.own_facts());
    let facts = facts.map_err(|error| CreateError::of_found(&folder.path, "".as_ref(), error))?;
    root.fill(&facts, wanted);

    let mut parts = Vec::new();
    let mut first = 1;
    for family in names[1..].chunk_by(|a, b| a.folder == b.folder) {
        for part in family.chunks(AT_ONCE) {
            let (inodes, behind) = rest.split_at_mut(part.len());
            parts.push((first, Mutex::new(inodes)));
            rest = behind;
            first += part.len();
        }
    }
    let found = names.len() as u64;
    let done = map_waiting(
        parts.len(),
        || (),
        |(), number| {
            if (wanted.watch)(found).is_break() {
                return Err(CreateError::Interrupted);
            }
            let (first, inodes) = &parts[number];
            // Nobody else has this part.
            let mut inodes = inodes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let names_here = &names[*first..*first + inodes.len()];
            let path = path_in(names, text, names_here[0].folder as usize, |folder| folder);
            let changed = |error| CreateError::of_found(&folder.path, &path, error);
            let open = folder.root.open_folder(&path).map_err(changed)?;
            let mut targets = Vec::new();
            let mut source = OsString::new();
            for (position, (name, inode)) in (*first..).zip(names_here.iter().zip(inodes.iter_mut())) {
                source.clear();
                text.append_source(name.text, &mut source);
                let changed = |error| CreateError::of_found(&folder.path, &path.join(&source), error);
                let facts = open.facts(&source).map_err(changed)?;
                if !inode.fill(&facts, wanted) {
                    return Err(CreateError::Changed { path: folder.path.join(&path).join(&source) });
                }
                if facts.what == What::Link {
                    targets.push((position, open.target(&source).map_err(changed)?));
                }
            }
            Ok(targets)
        },
    );
    let mut targets = Vec::new();
    for part in done {
        targets.append(&mut part?);
    }
    Ok(targets)
}

impl Inode {
    /// One of which only the kind is known. What is neither folder nor link counts as a file.
    pub(super) fn unknown(name: u32, what: What) -> Self {
        let kind = match what {
            What::Folder => Kind::Folder { first: 0, count: 0 },
            What::Link => Kind::Link(LinkId(0)),
            _ => Kind::File { size: 0 },
        };
        Self {
            kind,
            modified: 0,
            mode: 0,
            user: 0,
            group: 0,
            name,
            dos: 0,
            names: 1,
            stamp: Stamp::default(),
        }
    }

    /// Takes over the facts; false when it has become something else since it was found.
    fn fill(&mut self, facts: &Facts, wanted: &Wanted<'_>) -> bool {
        let same = match (&mut self.kind, facts.what) {
            (Kind::File { size }, What::File) => {
                *size = facts.size;
                true
            }
            (Kind::Folder { .. }, What::Folder) | (Kind::Link(_), What::Link) => true,
            _ => false,
        };
        self.modified = wanted.newest.map_or(facts.modified, |newest| facts.modified.min(newest));
        self.mode = facts.mode;
        (self.user, self.group) = if wanted.owners { (facts.user, facts.group) } else { (0, 0) };
        self.dos = facts.dos;
        self.names = if facts.shared { 2 } else { 1 };
        self.stamp = facts.stamp;
        same
    }
}
