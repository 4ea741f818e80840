//! An image that is open: by its index, or by its file tree where it has none.
//!
//! ```text
//! <cache_dir>/.gonto/index/
//!   <image>.erofs        the index of an image; appears by rename when it is whole
//!   .new-<image>.erofs   being written by whoever holds a lock on it
//! ```
//!
//! An index carries a stamp: what the image files looked like, and what an index cannot tell of the tree. An image whose files
//! look different, or an index of another version, is indexed anew. What cannot be kept there (the cache is read-only, or in
//! other hands) becomes a file without a name, for this mount only.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gonto_image::index::{self, Index, Unindexed};
use gonto_image::{FileTree, ImageFile, ReadAt, Reason, VirtualDisk, Volume};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::lock;
use super::served::Served;
use crate::error::chain;
use crate::image_file::{self, ParentSearch};
use crate::{Error, Notice, Options};

/// An image that is about to be mounted. What it takes to show it is opened when a road asks for it.
pub(super) struct OpenImage<'o> {
    file: &'o Path,
    options: &'o Options,
    tree: OnceCell<OpenTree>,
    index: OnceCell<Arc<OpenIndex>>,
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
    /// Where it lies; `None` for one without a name.
    pub(super) path: Option<PathBuf>,
    /// The image files, the child first.
    pub(super) layers: Vec<Arc<ImageFile>>,
    pub(super) notes: Vec<StampedNote>,
}

/// What an index was made of.
#[derive(PartialEq, Eq, Serialize, Deserialize, Debug)]
struct Stamp {
    /// The image; relative to the cache if it lies in there.
    image: PathBuf,
    /// The image files, the child first.
    layers: Vec<LayerStamp>,
    notes: Vec<StampedNote>,
}

/// What tells an image file from another one.
#[derive(PartialEq, Eq, Serialize, Deserialize, Debug)]
struct LayerStamp {
    /// In the folder of the image.
    name: PathBuf,
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

/// When a note is told.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) enum Told {
    /// When the image is mounted.
    AtOnce,
    /// When the content is read, or at once where nobody could tell it then.
    WhenRead,
    /// To those who debug.
    Never,
}

/// How much of each end of an image file is looked at. The headers and region tables of a VHDX are in the first 320 KiB.
const ENDS: u64 = 320 << 10;

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
        get_or_make(&self.index, || self.find_or_make().map(Arc::new))
    }

    /// What a FUSE server needs: the index, or where there can be none the tree.
    pub(super) fn served(&self) -> Result<Served, Error> {
        match self.index() {
            Ok(open) => Ok(Served::Index(open.clone())),
            Err(error @ Error::Index { .. }) => {
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
            (Some(open), _) => &open.notes,
            (_, Some(open)) => {
                stamped = notes(&open.tree, &[]);
                &stamped
            }
            _ => return,
        };
        for note in notes {
            if note.told == Told::AtOnce || (content && note.told == Told::WhenRead) {
                let notice = Notice::Unreadable { image: self.file.to_owned(), reason: note.text.clone() };
                self.options.notices.send(notice);
            } else {
                tracing::debug!(image = %self.file.display(), note = note.text);
            }
        }
    }

    /// The descriptors from which content is read: a server in another process needs them.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let layers = match (self.index.get(), self.tree.get()) {
            (Some(open), _) => &open.layers,
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
            let tree = read_tree(&opened, self.file)
                .map_err(|error| Error::ReadImage { image: self.file.to_owned(), source: Box::new(error) })?;
            let (paths, layers) = opened.files().into_iter().unzip();
            Ok(OpenTree { tree: Arc::new(tree), layers, paths })
        })
    }

    fn find_or_make(&self) -> Result<OpenIndex, Error> {
        let folder = self.options.cache_dir.join(".gonto").join("index");
        let name = self.index_name();
        let kept = folder.join(&name);
        match self.find(&kept) {
            Ok(open) => return Ok(open),
            Err(why) => tracing::debug!(index = %kept.display(), %why, "not used"),
        }
        match self.keep(&folder, &name) {
            Ok(open) => Ok(open),
            Err(NotKept::Made(error)) => Err(error),
            Err(NotKept::Place(why)) => {
                tracing::debug!(%why, "the index cannot be kept in the cache");
                let unnamed = tempfile::tempfile_in(&self.options.state_dir)
                    .map_err(|source| Error::State { path: self.options.state_dir.clone(), source })?;
                self.make(&unnamed)?;
                self.open(unnamed, None).map_err(|why| self.no_index(why))
            }
        }
    }

    /// The name of the index: that of the image, which is unique in a cache. Others have their path in it.
    fn index_name(&self) -> String {
        let file = self.file.file_name().unwrap_or_default().display();
        if self.file.starts_with(&self.options.cache_dir) {
            return format!("{file}.erofs");
        }
        let path = blake3::hash(self.file.as_os_str().as_encoded_bytes()).to_hex();
        format!("{file}-{}.erofs", &path[..16])
    }

    /// An index that is there, if it fits the image and may be trusted.
    fn find(&self, kept: &Path) -> io::Result<OpenIndex> {
        let file = File::open(kept)?;
        // The kernel reads it, and a file that is cut short while it is mapped ends the process.
        if !is_trusted(&file)? {
            return Err(io::Error::other("somebody else can write it"));
        }
        self.open(file, Some(kept.to_owned()))
    }

    fn open(&self, file: File, path: Option<PathBuf>) -> io::Result<OpenIndex> {
        // SAFETY: the file is never changed or cut once it is whole: what replaces it is another file. It belongs to this user or to
        // root, and nobody else can write it.
        let map = unsafe { Mmap::map(&file) }?;
        let index = Index::open(map).map_err(io::Error::other)?;
        let stamp: Stamp = serde_json::from_slice(index.stamp())?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let mut layers = Vec::new();
        for (number, layer) in stamp.layers.iter().enumerate() {
            let path = if number == 0 { self.file.to_owned() } else { folder.join(&layer.name) };
            // Opening a pipe would wait for its other end.
            if !fs::metadata(&path)?.is_file() {
                return Err(io::Error::other(format!("{} is no file", path.display())));
            }
            let open = ImageFile::new(File::open(&path)?)?;
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
        Ok(OpenIndex { index, file, path, layers, notes: stamp.notes })
    }

    /// Makes the index in the cache. One of those that want it at the same time does; the others wait for it.
    fn keep(&self, folder: &Path, name: &str) -> Result<OpenIndex, NotKept> {
        fs::create_dir_all(folder)?;
        self.check_owner(folder)?;
        let (new, kept) = (folder.join(format!(".new-{name}")), folder.join(name));
        let waiting = || self.options.notices.send(Notice::Waiting { activity: "indexes the image" });
        let file = lock::exclusive_at(&new, &self.options.interrupt, waiting)?;
        if let Ok(open) = self.find(&kept) {
            fs::remove_file(&new)?;
            return Ok(open);
        }
        remove_orphans(folder, &self.options.cache_dir);
        file.set_len(0)?;
        let made = self.make(&file).and_then(|()| {
            // After a power failure, an index that is there is whole.
            let published = self
                .permissions()
                .and_then(|permissions| file.set_permissions(permissions))
                .and_then(|()| file.sync_data())
                .and_then(|()| fs::rename(&new, &kept));
            published.map_err(|why| self.no_index(why))
        });
        if let Err(error) = made {
            let _ = fs::remove_file(&new);
            return Err(NotKept::of(error));
        }
        self.find(&kept).map_err(NotKept::Place)
    }

    /// Who may read the image may read its index; only its owner may write it, whatever the umask says.
    fn permissions(&self) -> io::Result<fs::Permissions> {
        let mode = fs::metadata(self.file)?.mode();
        Ok(fs::Permissions::from_mode(mode & 0o444 | 0o600))
    }

    /// Whoever can write into a folder on the way can put another index there, which root must not give to the kernel.
    fn check_owner(&self, folder: &Path) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        for folder in folder.canonicalize()?.ancestors() {
            let metadata = fs::symlink_metadata(folder)?;
            // In a folder like /tmp, others cannot move what is not theirs.
            let sticky = metadata.mode() & 0o1000 != 0;
            if metadata.uid() != 0 || (metadata.mode() & 0o022 != 0 && !sticky) {
                return Err(io::Error::other(format!("others can write to {}", folder.display())));
            }
        }
        Ok(())
    }

    fn make(&self, output: &File) -> Result<(), Error> {
        let open = self.open_tree()?;
        let begun = std::time::Instant::now();
        let layers: Vec<Arc<dyn ReadAt>> =
            open.layers.iter().map(|file| file.clone() as Arc<dyn ReadAt>).collect();
        let mut stamps = Vec::new();
        for (file, path) in open.layers.iter().zip(&open.paths) {
            stamps.push(LayerStamp::of(file, path).map_err(|why| self.no_index(why))?);
        }
        let image = self.file.strip_prefix(&self.options.cache_dir).unwrap_or(self.file).to_owned();
        let stamp = |unindexed: &[Unindexed]| {
            let stamp = Stamp { image, layers: stamps, notes: notes(&open.tree, unindexed) };
            serde_json::to_vec(&stamp).unwrap_or_default()
        };
        let go_on = || self.options.interrupt.check();
        let written = index::write(&open.tree, &layers, output, stamp, &go_on)
            .map_err(|source| self.no_index(io::Error::other(source)))?;
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

impl NotKept {
    /// A full disk or a limit says nothing about another place.
    fn of(error: Error) -> Self {
        match error {
            Error::Index { source, .. } if is_about_the_place(&source) => Self::Place(source),
            error => Self::Made(error),
        }
    }
}

impl From<io::Error> for NotKept {
    fn from(error: io::Error) -> Self {
        Self::Place(error)
    }
}

fn is_about_the_place(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<index::IndexError>());
    inner.is_none_or(|error| matches!(error, index::IndexError::Write(_)))
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

/// Whether a file is in the hands of this user or of root, and of nobody else.
fn is_trusted(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    let me = rustix::process::geteuid().as_raw();
    Ok([0, me].contains(&metadata.uid()) && metadata.mode() & 0o022 == 0 && metadata.is_file())
}

fn read_tree(opened: &image_file::OpenImage, image: &Path) -> Result<FileTree, gonto_image::Error> {
    let options = gonto_image::Options {
        container_only: true,
        parents: opened.parents.clone(),
        ..gonto_image::Options::default()
    };
    let disk = VirtualDisk::open(opened.image.clone(), &options)?;
    let volume = Volume::find(&disk, &options)?;
    // They are for whoever made the image; to read it, they make no difference.
    for irregularity in disk.irregularities().chain(volume.irregularities()) {
        tracing::debug!(image = %image.display(), %irregularity);
    }
    FileTree::read(&volume, &options)
}

impl LayerStamp {
    fn of(image: &ImageFile, path: &Path) -> io::Result<Self> {
        let metadata = image.file().metadata()?;
        let size = image.size();
        let mut ends = blake3::Hasher::new();
        let mut buffer = vec![0; usize::try_from(ENDS.min(size)).map_err(io::Error::other)?];
        for start in [0, size - buffer.len() as u64] {
            image.read_at(&mut buffer, start)?;
            ends.update(&buffer);
        }
        Ok(Self {
            name: path.file_name().unwrap_or_default().into(),
            size,
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            ends: ends.finalize().to_hex().to_string(),
        })
    }
}

/// What the tree does not show as it is, and what cannot be read though the tree thought so.
fn notes(tree: &FileTree, unindexed: &[Unindexed]) -> Vec<StampedNote> {
    let told = |reason: &Reason| match reason {
        Reason::ImpossibleName
        | Reason::ReparsedDirectory(_)
        | Reason::BrokenLink
        | Reason::LargerThanPartition => Told::AtOnce,
        // Long names work in a mount, and links out of the image may be meant so. Copies are as good as the first one.
        Reason::LongName
        | Reason::LinkOutside
        | Reason::TooManyStreams
        | Reason::DirtyVolume
        | Reason::UncleanLog
        | Reason::BackupBootSector
        | Reason::MirroredRecords => Told::Never,
        _ => Told::WhenRead,
    };
    let mut notes: Vec<StampedNote> = tree
        .notes()
        .iter()
        .map(|note| StampedNote { path: note.path.clone(), text: note.to_string(), told: told(&note.reason) })
        .collect();
    for Unindexed { path, why } in unindexed {
        if !notes.iter().any(|note| note.path == *path) {
            notes.push(StampedNote { path: path.clone(), text: told_of(path, why), told: Told::WhenRead });
        }
    }
    notes
}

/// An error about a file names it; one of the image's disk does not.
pub(super) fn told_of(path: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::Unsupported => error.to_string(),
        _ => format!("{path}: {error}"),
    }
}

/// Removes the indexes of images that are gone. It is no failure when that does not work.
fn remove_orphans(folder: &Path, cache_dir: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_orphan = || -> io::Result<bool> {
            let file = File::open(&path)?;
            if !is_trusted(&file)? {
                return Ok(false);
            }
            // SAFETY: as for the index that is used: in trusted hands, and replaced as a whole.
            let index = Index::open(unsafe { Mmap::map(&file) }?).map_err(io::Error::other)?;
            let stamp: Stamp = serde_json::from_slice(index.stamp())?;
            Ok(!cache_dir.join(stamp.image).try_exists()?)
        };
        let is_index = path.extension().is_some_and(|extension| extension == "erofs");
        if is_index && is_orphan().unwrap_or(false) {
            let removed = fs::remove_file(&path);
            tracing::debug!(index = %path.display(), ?removed, "its image is gone");
        }
    }
}
