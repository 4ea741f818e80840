//! The files of a volume, written to a folder.
//!
//! ```text
//! <destination>/
//!   .gonto-extract-XXXXXX/    new, and nobody else's
//!     new/                    everything is written here first
//!     replaced/               files that were there before
//!   <the files>               appear by rename when all of it is there
//! ```
//! So nothing is ever written through a link, whether the image holds it or the destination, and no file is seen before it is
//! whole. An error or an interrupt half-way leaves the destination as it was, or names what could not be moved back. What
//! `kill -9` leaves is cleared away by the next extraction into that folder (see `staging`). One thing is asked for: that nobody
//! who may write to the destination replaces its folders by links while files are moved to their places.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use gonto_image::FileTree;
use gonto_mount::unpack::{LeftOut, Plan, Unpacking};
use serde::Serialize;

mod publish;
mod staging;

use super::error::reason;
use super::path::text;
use super::{Error, Image, Place, Progress, Watch};

use publish::Publication;
use staging::{Leftover, Staging};

/// What [`Image::extract`] has done.
#[derive(Debug, Serialize)]
pub struct Extracted {
    /// Files that were written, each hard link counted.
    pub files: u64,
    /// Folders that were made, or were there already.
    pub folders: u64,
    /// Bytes of the files; hard links count once.
    pub bytes: u64,
    /// What was left out, and why.
    #[serde(skip)]
    pub problems: Vec<Error>,
    /// Folders with files that extractions had replaced which were killed before all was done. Those whose place is free are
    /// there again, and those that this extraction has replaced are gone; these are for the user to decide on.
    #[serde(skip)]
    pub former_files: Vec<PathBuf>,
}

impl Image {
    /// Writes files to a folder, which is made when it is missing: all of the volume, or some places with everything in them,
    /// under the paths that they have in the volume. Times, modes, links, hard links and holes are kept; named streams and
    /// owners are not. Files that are there already are replaced with `force` only; folders are merged.
    ///
    /// # Errors
    /// [`Error::Exists`] before anything is written; [`Error::Extract`] when the file system fails; [`Error::Interrupted`].
    /// In all of these cases nothing is left behind. [`Error::HalfExtracted`] when the file system failed while files were moved to
    /// their places, and when they were moved back as well. What only concerns single files is told in [`Extracted::problems`].
    pub fn extract(
        &self,
        places: &[Place],
        destination: &Path,
        force: bool,
        watch: &Watch<'_>,
    ) -> Result<Extracted, Error> {
        let tree = self.tree();
        let mut plan = plan(tree, places)?;
        let failed = |source: io::Error| match watch.interrupt.signal() {
            Some(signal) => Error::Interrupted { signal },
            None => Error::extract(destination, source),
        };
        let is_new = !destination.exists();
        fs::create_dir_all(destination).map_err(failed)?;
        let absolute = std::path::absolute(destination).map_err(failed)?;
        // Links that lead to it are followed once, and Windows takes long paths best in the form that this gives. Not every
        // file system there can tell it.
        let real = destination.canonicalize().unwrap_or_else(|_| absolute.clone());
        let shown = |path: PathBuf| path.strip_prefix(&real).map_or(path.clone(), |rest| absolute.join(rest));
        let extraction = Extraction { plan: &mut plan, destination: &real, force };
        let done = extraction.run(watch).map_err(|error| match error {
            Failure::Exists(first, count) => Error::Exists { path: shown(first), count },
            Failure::Io(source) => failed(source),
            Failure::Left { paths, replaced, source } => Error::HalfExtracted {
                paths: paths.into_iter().map(shown).collect(),
                replaced: shown(replaced),
                source: Box::new(source),
            },
        });
        let Done { mut problems, former_files } = done.inspect_err(|_| {
            if is_new {
                // It may have been made by somebody else meanwhile, and is only removed when it is empty.
                let _ = fs::remove_dir(destination);
            }
        })?;
        let left_out: HashSet<&Path> = problems
            .iter()
            .filter_map(
                |problem| if let Error::LeftOut { path, .. } = problem { Some(&**path) } else { None },
            )
            .collect();
        let files = plan.others().filter(|other| !left_out.contains(&*other.path)).count() as u64;
        let (folders, bytes) = (plan.folders().len() as u64, plan.bytes());
        for place in places {
            problems.extend(self.damage_below(place, true, &problems));
        }
        let former_files = former_files.into_iter().map(shown).collect();
        Ok(Extracted { files, folders, bytes, problems, former_files })
    }
}

/// What is written, and where: the places and the folders above them.
fn plan<'t>(tree: &'t FileTree, places: &[Place]) -> Result<Plan<'t>, Error> {
    if let Some(stream) = places.iter().find(|place| place.stream.is_some()) {
        return Err(Error::IsAStream { path: text(&stream.path) });
    }
    let mut places: Vec<&Place> = places.iter().collect();
    places.sort_by(|a, b| a.path.cmp(&b.path));
    let mut plan = Plan::new(tree);
    // Where the folders above the places are, by their paths in the volume.
    let mut planned = HashMap::from([(Vec::new(), PathBuf::new())]);
    let mut whole: Vec<&[u8]> = Vec::new();
    'places: for place in places {
        if whole.iter().any(|whole| is_inside(&place.path, whole)) {
            continue;
        }
        whole.push(&place.path);
        let (mut folder, mut path) = (tree.root(), PathBuf::new());
        let mut so_far = Vec::new();
        for name in place.path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let Some(node) = tree.lookup(folder, name) else { continue 'places };
            so_far.push(b'/');
            so_far.extend(name);
            path = match planned.get(&so_far) {
                Some(path) => path.clone(),
                None => {
                    let Some(new) = plan.add(&path, name, node) else { continue 'places };
                    planned.insert(so_far.clone(), new.path.clone());
                    new.path
                }
            };
            folder = node;
        }
        plan.add_inside(&path, folder);
    }
    Ok(plan)
}

/// Whether a path of the volume is another one or lies below it.
fn is_inside(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || folder.is_empty() || rest.starts_with(b"/"))
}

struct Extraction<'a, 't> {
    plan: &'a mut Plan<'t>,
    destination: &'a Path,
    force: bool,
}

struct Done {
    problems: Vec<Error>,
    former_files: Vec<PathBuf>,
}

#[derive(Debug)]
enum Failure {
    /// The first file that is in the way, and how many there are.
    Exists(PathBuf, u64),
    Io(io::Error),
    /// What was moved to its place and could not be moved back, and where the files are that were there before.
    Left {
        paths: Vec<PathBuf>,
        replaced: PathBuf,
        source: io::Error,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Exists(path, _) => {
                Self::new(io::ErrorKind::AlreadyExists, format!("{} appeared meanwhile", path.display()))
            }
            Failure::Io(source) | Failure::Left { source, .. } => source,
        }
    }
}

impl Extraction<'_, '_> {
    fn run(self, watch: &Watch<'_>) -> Result<Done, Failure> {
        let Self { plan, destination, force } = self;
        let leftovers = Leftover::clear(destination)?;
        let merged = merged_folders(plan, destination, force)?;
        let staging = Staging::new(destination)?;

        let problems = Mutex::new(Vec::new());
        let (total, done) = (plan.bytes(), AtomicU64::new(0));
        let left_out = |LeftOut { path, why }: LeftOut| {
            let problem = Error::LeftOut { path, source: reason(why) };
            problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
        };
        let written = |count| {
            let done = done.fetch_add(count, Ordering::Relaxed).saturating_add(count);
            (watch.progress)(Progress { done, total });
        };
        let how = Unpacking {
            read_only: false,
            despite_damage: true,
            interrupt: watch.interrupt,
            left_out: &left_out,
            written: &written,
            durable: false,
        };
        let (new, replaced) = (staging.new_files(), staging.replaced());
        plan.write(&new, &how)?;
        watch.check()?;

        let mut publication = Publication::default();
        let finished = publication
            .add(&new, destination, &replaced, force)
            .and_then(|()| Ok(plan.finish_folders(destination, false, |path| !merged.contains(path))?));
        if let Err(failure) = finished {
            let paths = publication.undo();
            if paths.is_empty() {
                return Err(failure);
            }
            staging.keep();
            return Err(Failure::Left { paths, replaced, source: failure.into() });
        }
        let former_files = former_files(leftovers, &publication.replaced(&replaced));
        drop(staging);
        let mut problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
        problems.sort_by_cached_key(ToString::to_string);
        Ok(Done { problems, former_files })
    }
}

/// What stays of dead extractions after one that has replaced these files.
fn former_files(leftovers: Vec<Leftover>, replaced: &HashSet<&Path>) -> Vec<PathBuf> {
    let kept = leftovers.into_iter().filter_map(|leftover| {
        if let Err(error) = leftover.forget(replaced) {
            tracing::debug!(path = %leftover.replaced().display(), %error, "cannot remove files");
        }
        leftover.finish()
    });
    kept.map(|leftover| leftover.replaced()).collect()
}

/// The folders of the plan that are there already. Everything else that is in the way is an error: files unless they are to be
/// replaced, and always what is a folder on one side only.
fn merged_folders(plan: &Plan<'_>, destination: &Path, force: bool) -> Result<HashSet<PathBuf>, Failure> {
    let mut merged = HashSet::from([PathBuf::new()]);
    let mut in_the_way = Vec::new();
    let is_merged =
        |merged: &HashSet<PathBuf>, path: &Path| path.parent().is_some_and(|parent| merged.contains(parent));
    for folder in plan.folders() {
        if !is_merged(&merged, &folder.path) {
            continue;
        }
        match existing(&destination.join(&folder.path))? {
            None => {}
            Some(Existing::Folder) => drop(merged.insert(folder.path.clone())),
            Some(Existing::Other) => in_the_way.push(&folder.path),
        }
    }
    for other in plan.others().filter(|other| is_merged(&merged, &other.path)) {
        match existing(&destination.join(&other.path))? {
            None => {}
            Some(Existing::Other) if force => {}
            Some(_) => in_the_way.push(&other.path),
        }
    }
    match in_the_way.iter().min() {
        Some(first) => Err(Failure::Exists(destination.join(first), in_the_way.len() as u64)),
        None => Ok(merged),
    }
}

enum Existing {
    Folder,
    /// A file or a link, whatever it leads to.
    Other,
}

fn existing(path: &Path) -> io::Result<Option<Existing>> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(Some(Existing::Folder)),
        Ok(_) => Ok(Some(Existing::Other)),
        // A name that the system cannot have is told when it is written.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename) => {
            Ok(None)
        }
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}
