//! The parents of differencing images, whatever container they are in.
//!
//! A child tells where its parent was and which identity it has. Names change when images are moved; the identity decides.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::container::{VirtualDisk, identity};
use crate::error::Error;
use crate::guid::Guid;
use crate::layer::Layer;
use crate::options::{Options, Parent, ParentHint};
use crate::source::{Extent, Place, ReadAt};

/// The longest chain of images. Hyper-V keeps 50 checkpoints of a machine; every image of the chain costs a look at each
/// read, and a chain without a limit would be recursion without one.
const LONGEST_CHAIN: usize = 128;

/// What a child says of its parent.
pub(crate) struct Link {
    /// Where it may be, the best place first.
    pub(crate) hints: Vec<ParentHint>,
    /// The identities that it may have.
    pub(crate) ids: Vec<Guid>,
}

impl Link {
    /// Adds the file names that the paths end with: children and parents are moved together more often than not.
    pub(crate) fn new(paths: Vec<ParentHint>, ids: Vec<Guid>) -> Self {
        let mut hints: Vec<ParentHint> = Vec::new();
        let names: Vec<ParentHint> = paths.iter().filter_map(file_name).collect();
        for hint in paths.into_iter().chain(names) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        Self { hints, ids }
    }
}

/// The last component of a path.
fn file_name(hint: &ParentHint) -> Option<ParentHint> {
    let (ParentHint::Relative(path) | ParentHint::Absolute(path) | ParentHint::Name(path)) = hint;
    let name = path.rsplit(['\\', '/']).next().unwrap_or_default();
    (!name.is_empty()).then(|| ParentHint::Name(name.to_owned()))
}

/// A parent.
pub(crate) struct Found {
    pub(crate) disk: Arc<dyn ReadAt>,
    /// Its image file, and those of its own parents.
    pub(crate) layers: Vec<Layer>,
    /// When its file was changed last, as far as whoever found it knows.
    pub(crate) modified: Option<std::time::SystemTime>,
}

/// The way down a chain of differencing images, from the one that was asked for to the one that is being opened.
pub(crate) struct Descent<'o> {
    pub(crate) options: &'o Options,
    children: Vec<Guid>,
    /// Parents are not looked for: what is theirs is taken for zero.
    alone: bool,
}

impl<'o> Descent<'o> {
    pub(crate) fn new(options: &'o Options) -> Self {
        Self { options, children: Vec::new(), alone: false }
    }

    /// For an image of which only its own file counts.
    pub(crate) fn alone(options: &'o Options) -> Self {
        Self { alone: true, ..Self::new(options) }
    }

    /// Opens the parent of the image with the identity `child`.
    pub(crate) fn open_parent(&self, child: Guid, link: &Link) -> Result<Found, Error> {
        if self.alone {
            return Ok(Found { disk: Arc::new(Nothing), layers: Vec::new(), modified: None });
        }
        let mut children = self.children.clone();
        children.push(child);
        if children.len() >= LONGEST_CHAIN {
            return Err(Error::ParentChain { found: format!("it has more than {LONGEST_CHAIN} images") });
        }
        if let Some(id) = link.ids.iter().find(|id| children.contains(id)) {
            let found = format!("the image {id} is its own ancestor");
            return Err(Error::ParentChain { found });
        }
        let mut looked_for = Vec::new();
        for hint in &link.hints {
            match self.look_at(hint, link) {
                Ok(parent) => return open_found(parent, self.options, children),
                Err(outcome) => looked_for.push(Looked { hint: hint.clone(), outcome }),
            }
        }
        Err(missing(link, &looked_for))
    }

    fn look_at(&self, hint: &ParentHint, link: &Link) -> Result<Parent, Outcome> {
        let parent =
            self.options.parents.find(hint).map_err(Outcome::Unopenable)?.ok_or(Outcome::NotThere)?;
        match identity(parent.image.as_ref(), self.options) {
            Ok(Some(id)) if link.ids.contains(&id) => Ok(parent),
            Ok(Some(id)) => Err(Outcome::Another(id)),
            Ok(None) => Err(Outcome::NoContainer),
            Err(error) => Err(Outcome::Damaged(error)),
        }
    }
}

fn open_found(parent: Parent, options: &Options, children: Vec<Guid>) -> Result<Found, Error> {
    let options = Options { parents: parent.parents, ..options.clone() };
    let descent = Descent { options: &options, children, alone: false };
    let disk = VirtualDisk::open_in(parent.image, &descent)
        .map_err(|error| Error::Parent { name: parent.name.clone(), source: Box::new(error) })?;
    let (disk, layers) = disk.named(parent.name).into_parts();
    Ok(Found { disk, layers, modified: parent.modified })
}

/// In the place of a parent that is not looked for.
struct Nothing;

impl ReadAt for Nothing {
    fn size(&self) -> u64 {
        0
    }

    fn read_at(&self, buf: &mut [u8], _offset: u64) -> io::Result<()> {
        if buf.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn missing(link: &Link, looked_for: &[Looked]) -> Error {
    let ids: Vec<_> = link.ids.iter().map(Guid::to_string).collect();
    let looked_for: Vec<_> = looked_for.iter().map(Looked::to_string).collect();
    let looked_for = match looked_for.as_slice() {
        [] => "nowhere, because it does not say where".to_owned(),
        places => places.join(", "),
    };
    Error::MissingParent { id: ids.join(" or "), looked_for }
}

/// A place that was looked at in vain.
struct Looked {
    hint: ParentHint,
    outcome: Outcome,
}

enum Outcome {
    NotThere,
    Unopenable(io::Error),
    NoContainer,
    Damaged(Error),
    Another(Guid),
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path) = match &self.hint {
            ParentHint::Relative(path) => ("", path),
            ParentHint::Absolute(path) => ("", path),
            ParentHint::Name(name) => ("beside it ", name),
        };
        // A path comes from the image and may hold what steers a terminal.
        write!(f, "{kind}{}", path.replace(char::is_control, "\u{fffd}"))?;
        match &self.outcome {
            // Whoever looks decides whether absolute paths are looked at, and does not tell.
            Outcome::NotThere if matches!(self.hint, ParentHint::Absolute(_)) => {
                write!(f, " (none there, or not looked at)")
            }
            Outcome::NotThere => write!(f, " (none there)"),
            Outcome::Unopenable(error) => write!(f, " ({error})"),
            Outcome::NoContainer => write!(f, " (no VHD or VHDX)"),
            Outcome::Damaged(error) => write!(f, " ({error})"),
            Outcome::Another(id) => write!(f, " (another image, {id})"),
        }
    }
}

/// The disk of a parent as its child sees it: one file deeper in the chain, and zero behind its end.
pub(crate) struct Below(Arc<dyn ReadAt>);

impl Below {
    pub(crate) fn new(parent: Arc<dyn ReadAt>) -> Self {
        Self(parent)
    }

    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let there = self.0.size().saturating_sub(offset);
        let length = usize::try_from(there).unwrap_or(usize::MAX).min(buf.len());
        let (there, behind) = buf.split_at_mut(length);
        behind.fill(0);
        if there.is_empty() { Ok(()) } else { self.0.read_at(there, offset) }
    }

    pub(crate) fn extent(&self, offset: u64) -> Extent {
        let extent = self.0.extent(offset);
        if extent.length == 0 {
            return Extent { length: u64::MAX - offset, place: Place::Zero };
        }
        let place = match extent.place {
            Place::Image { layer, offset } => Place::Image { layer: layer.saturating_add(1), offset },
            other => other,
        };
        Extent { place, ..extent }
    }
}
