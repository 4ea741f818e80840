//! An image that is open: by its index, or by its file tree where it has none.
//!
//! An index carries a stamp: what the image files looked like, and what an index cannot tell of the tree. An image whose files
//! look different, or an index of another version, is indexed anew. What cannot be kept in the cache (it is read-only, or in
//! other hands) becomes a file without a name, for this mount only.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use gonto_image::index::{self, Index, IndexError, Unindexed};
use gonto_image::{FileTree, ImageFile, ReadAt};
use memmap2::Mmap;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::index_folder::{IndexFolder, open_file, open_trusted};
use super::served::Served;
use super::stored_path::StoredPath;
use crate::error::chain;
use crate::image_file::{self, ParentSearch, ends};
use crate::told::{MOST_TOLD, Told};
use crate::{Error, Notice, Options};

/// An image that is about to be mounted. What it takes to show it is opened when a road asks for it.
pub(super) struct OpenImage<'o> {
    file: &'o Path,
    options: &'o Options,
    tree: OnceCell<OpenTree>,
    /// Why there is none is remembered as well: finding that out may take long.
    index: OnceCell<Result<Arc<OpenIndex>, NoIndex>>,
}

/// The file tree of an image.
#[derive(Clone)]
pub(super) struct OpenTree {
    pub(super) tree: Arc<FileTree>,
    /// The image files behind it, the child first.
    layers: Vec<Arc<ImageFile>>,
    /// Where they lie.
    paths: Vec<PathBuf>,
}

/// The index of an image, and the files that it points into.
pub(super) struct OpenIndex {
    pub(super) index: Index<Mmap>,
    pub(super) file: File,
    /// The image files, the child first.
    pub(super) layers: Vec<Arc<ImageFile>>,
    pub(super) notes: Vec<StampedNote>,
}

/// What an index was made of.
#[derive(PartialEq, Eq, Serialize, Deserialize, Debug)]
struct Stamp {
    /// The image; relative to the cache if it lies in there.
    image: StoredPath,
    /// The image files, the child first.
    layers: Vec<LayerStamp>,
    notes: Vec<StampedNote>,
}

/// What tells an image file from another one.
#[derive(PartialEq, Eq, Serialize, Deserialize, Debug)]
struct LayerStamp {
    /// In the folder of the image.
    name: StoredPath,
    size: u64,
    /// Seconds since 1970 and nanoseconds.
    modified: (i64, i64),
    /// A digest of its first and last bytes, where containers keep their identity.
    ends: String,
}

/// Something that is not shown as it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct StampedNote {
    pub(super) path: String,
    /// The whole sentence.
    pub(super) text: String,
    pub(super) told: Told,
}

/// So many are kept in the stamp; where one is read that is not among them, that is told as well.
const MOST_NOTES: usize = 1000;

/// Making an index that takes longer is worth a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most bytes of an index without a name, which is made for each mount: more of that is slower than doing without.
const LARGEST_UNNAMED: u64 = 256 << 20;

impl<'o> OpenImage<'o> {
    /// Makes sure that the file is there; nothing is read yet.
    pub(super) fn new(file: &'o Path, options: &'o Options) -> Result<Self, Error> {
        File::open(file).map_err(|source| Error::OpenImage { image: file.to_owned(), source })?;
        Ok(Self { file, options, tree: OnceCell::new(), index: OnceCell::new() })
    }

    pub(super) fn path(&self) -> &Path {
        self.file
    }

    /// The file tree, which is read when this is called first.
    pub(super) fn tree(&self) -> Result<&Arc<FileTree>, Error> {
        self.open_tree().map(|open| &open.tree)
    }

    /// The index, which is looked for, or made, when this is called first.
    ///
    /// # Errors
    /// [`Error::Index`] when there can be none, and those of [`tree`](Self::tree).
    pub(super) fn index(&self) -> Result<&Arc<OpenIndex>, Error> {
        let found = get_or_make(&self.index, || match self.find_or_make() {
            Ok(open) => Ok(Ok(Arc::new(open))),
            Err(Error::Index { source, .. }) => Ok(Err(NoIndex { kind: source.kind(), why: chain(&source) })),
            Err(error) => Err(error),
        })?;
        found.as_ref().map_err(|NoIndex { kind, why }| self.no_index(io::Error::new(*kind, why.clone())))
    }

    /// What a FUSE server needs: the index, or where there can be none the tree.
    pub(super) fn served(&self) -> Result<Served, Error> {
        match self.index() {
            Ok(open) => Ok(Served::Index(open.clone())),
            Err(error @ Error::Index { .. }) if error.closes_a_road().is_some() => {
                tracing::debug!(reason = chain(&error), "served without an index");
                self.open_tree().map(|open| Served::Tree(open.clone()))
            }
            Err(error) => Err(error),
        }
    }

    /// Tells what is not shown as it is; also what would be told when it is read, if `content` is set.
    pub(super) fn tell_notes(&self, content: bool) {
        let stamped;
        let notes = match (self.index.get(), self.tree.get()) {
            (Some(Ok(open)), _) => &open.notes,
            (_, Some(open)) => {
                stamped = notes(&open.tree, &[]);
                &stamped
            }
            _ => return,
        };
        let tell = |reason: String| {
            self.options.notices.send(Notice::Unreadable { image: self.file.to_owned(), reason });
        };
        let mut unreadable = 0;
        for note in notes {
            match note.told {
                Told::AtOnce => tell(note.text.clone()),
                Told::WhenRead if content => {
                    unreadable += 1;
                    if unreadable <= MOST_TOLD {
                        tell(note.text.clone());
                    }
                }
                _ => tracing::debug!(image = %self.file.display(), note = note.text),
            }
        }
        if unreadable > MOST_TOLD {
            tell(format!("{} more files cannot be read", unreadable - MOST_TOLD));
        }
    }

    /// The descriptors from which content is read: a server in another process needs them.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let layers = match (self.index.get(), self.tree.get()) {
            (Some(Ok(open)), _) => &open.layers,
            (_, Some(open)) => &open.layers,
            _ => return Vec::new(),
        };
        layers.iter().map(|file| file.file().as_raw_fd()).collect()
    }

    fn open_tree(&self) -> Result<&OpenTree, Error> {
        get_or_make(&self.tree, || {
            // An image of the cache has its parents there as well, beside it.
            let opened = image_file::open(self.file, ParentSearch::Siblings)
                .map_err(|source| Error::OpenImage { image: self.file.to_owned(), source })?;
            let tree = opened
                .tree(self.file)
                .map_err(|error| Error::ReadImage { image: self.file.to_owned(), source: Box::new(error) })?;
            let (paths, layers) = opened.files().into_iter().unzip();
            Ok(OpenTree { tree: Arc::new(tree), layers, paths })
        })
    }

    fn find_or_make(&self) -> Result<OpenIndex, Error> {
        let folder = IndexFolder::new(self.file, self.options);
        if folder.check().is_ok() {
            for kept in folder.candidates() {
                match self.find(&kept) {
                    Ok(open) => return Ok(open),
                    Err(why) => tracing::debug!(index = %kept.display(), %why, "not used"),
                }
            }
        }
        match self.keep(&folder) {
            Ok(open) => Ok(open),
            Err(NotKept::Made(error)) => Err(error),
            Err(NotKept::Place(why)) => {
                tracing::debug!(%why, "the index cannot be kept in the cache");
                let unnamed =
                    tempfile::tempfile_in(&self.options.state_dir).map_err(|why| self.no_index(why))?;
                self.make(&unnamed, LARGEST_UNNAMED)?;
                self.open(unnamed).map_err(|why| self.no_index(why))
            }
        }
    }

    /// An index that is there, if it fits the image and may be trusted.
    fn find(&self, kept: &Path) -> io::Result<OpenIndex> {
        self.open(open_trusted(kept)?)
    }

    fn open(&self, file: File) -> io::Result<OpenIndex> {
        // SAFETY: the file belongs to this user or to root, nobody else can write it, and no gonto changes it once it has its name:
        // what replaces it is another file.
        let map = unsafe { Mmap::map(&file) }?;
        let index = Index::open(map).map_err(io::Error::other)?;
        let stamp: Stamp = serde_json::from_slice(index.stamp())?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let mut layers = Vec::new();
        for (number, layer) in stamp.layers.iter().enumerate() {
            let path = if number == 0 { self.file.to_owned() } else { folder.join(&layer.name) };
            let open = ImageFile::new(open_file(&path, OFlags::empty())?)?;
            if LayerStamp::of(&open, &path)? != *layer {
                return Err(io::Error::other(format!(
                    "{} is another file than the one indexed",
                    path.display()
                )));
            }
            layers.push(Arc::new(open));
        }
        if index.devices().any(|device| device as usize >= layers.len()) {
            return Err(io::Error::other("it has more devices than the image has files"));
        }
        Ok(OpenIndex { index, file, layers, notes: stamp.notes })
    }

    /// Makes the index in the cache. One of those that want it at the same time does; the others wait for it.
    fn keep(&self, folder: &IndexFolder<'_>) -> Result<OpenIndex, NotKept> {
        let new = folder.begin(self.file).map_err(|why| match why.kind() {
            io::ErrorKind::Interrupted => NotKept::Made(self.no_index(why)),
            _ => NotKept::Place(why),
        })?;
        if let Ok(open) = self.find(&new.kept) {
            return Ok(open);
        }
        folder.tidy_up(&new, |index| is_orphan(&index, &self.options.cache_dir));
        new.file.set_len(0).map_err(NotKept::Place)?;
        self.make(&new.file, u64::MAX).map_err(NotKept::of)?;
        let kept = new.kept.clone();
        new.publish().and_then(|()| self.find(&kept)).map_err(NotKept::Place)
    }

    /// Writes the index into an empty file, of at most so many bytes.
    fn make(&self, output: &File, most: u64) -> Result<(), Error> {
        let open = self.open_tree()?;
        let begun = Instant::now();
        let layers: Vec<Arc<dyn ReadAt>> =
            open.layers.iter().map(|file| file.clone() as Arc<dyn ReadAt>).collect();
        let mut stamps = Vec::new();
        for (file, path) in open.layers.iter().zip(&open.paths) {
            stamps.push(LayerStamp::of(file, path).map_err(|why| self.no_index(why))?);
        }
        let image = self.file.strip_prefix(&self.options.cache_dir).unwrap_or(self.file).into();
        let stamp = |unindexed: &[Unindexed]| {
            let stamp = Stamp { image, layers: stamps, notes: notes(&open.tree, unindexed) };
            serde_json::to_vec(&stamp).unwrap_or_default()
        };
        let told = Once::new();
        let go_on = || {
            if begun.elapsed() > PATIENCE {
                told.call_once(|| {
                    self.options.notices.send(Notice::Indexing { image: self.file.to_owned() });
                });
            }
            if most < u64::MAX && output.metadata()?.len() > most {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "too large to be made for each mount",
                ));
            }
            self.options.interrupt.check()
        };
        let written = index::write(&open.tree, &layers, output, stamp, &go_on).map_err(|error| {
            self.no_index(match error {
                IndexError::Interrupted(why) => why,
                error => io::Error::other(error),
            })
        })?;
        tracing::debug!(image = %self.file.display(), ?written, took = ?begun.elapsed(), "indexed");
        Ok(())
    }

    fn no_index(&self, source: io::Error) -> Error {
        Error::Index { image: self.file.to_owned(), source }
    }
}

/// Why an index is not in the cache.
enum NotKept {
    /// It cannot be there; elsewhere it could.
    Place(io::Error),
    /// There can be none.
    Made(Error),
}

/// Why an image has no index.
struct NoIndex {
    kind: io::ErrorKind,
    why: String,
}

impl NotKept {
    /// A full disk or a limit says nothing about another place.
    fn of(error: Error) -> Self {
        match error {
            Error::Index { source, .. } if is_about_the_place(&source) => Self::Place(source),
            error => Self::Made(error),
        }
    }
}

fn is_about_the_place(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<IndexError>());
    matches!(inner, Some(IndexError::Write(_)))
}

/// The value, which is made when there is none yet.
fn get_or_make<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}

impl LayerStamp {
    fn of(image: &ImageFile, path: &Path) -> io::Result<Self> {
        let metadata = image.file().metadata()?;
        Ok(Self {
            name: Path::new(path.file_name().unwrap_or_default()).into(),
            size: image.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            ends: ends(image)?,
        })
    }
}

/// What the tree does not show as it is, and what cannot be read though the tree thought so.
fn notes(tree: &FileTree, unindexed: &[Unindexed]) -> Vec<StampedNote> {
    let mut notes: Vec<StampedNote> = tree
        .notes()
        .iter()
        .map(|note| StampedNote {
            path: note.path.clone(),
            text: note.to_string(),
            told: Told::of(&note.reason),
        })
        .collect();
    let known: HashSet<&str> = tree.notes().iter().map(|note| note.path.as_str()).collect();
    let unknown = unindexed.iter().filter(|Unindexed { path, .. }| !known.contains(path.as_str()));
    notes.extend(unknown.take(MOST_NOTES).map(|Unindexed { path, why }| StampedNote {
        path: path.clone(),
        text: told_of(path, why),
        told: Told::WhenRead,
    }));
    notes
}

/// An error about a file names it; one of the image's disk does not.
pub(super) fn told_of(path: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::Unsupported => error.to_string(),
        _ => format!("{path}: {error}"),
    }
}

/// Whether an index is one of an image that is gone.
fn is_orphan(file: &File, cache_dir: &Path) -> io::Result<bool> {
    // SAFETY: as for the index that is used: in trusted hands, whole, and replaced by other files only.
    let index = Index::open(unsafe { Mmap::map(file) }?).map_err(io::Error::other)?;
    let stamp: Stamp = serde_json::from_slice(index.stamp())?;
    Ok(!cache_dir.join(stamp.image).try_exists()?)
}
