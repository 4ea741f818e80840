//! Where indexes are kept, and which of them may be used.
//!
//! ```text
//! <cache_dir>/.gonto/index/
//!   <image>.erofs        the index of an image; appears by rename when it is whole
//!   <image>.<uid>.erofs  the same, of a user who must not replace somebody else's
//!   .new-<name>          being written by whoever holds a lock on it
//! ```
//!
//! The kernel believes what an index says, and a file that is cut short while it is mapped into memory ends the process. So an
//! index counts only if it is a file that belongs to this user or to root, and that nobody else can write.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::lock;
use crate::{Notice, Options};

/// The place for the index of one image.
pub(super) struct IndexFolder<'o> {
    folder: PathBuf,
    /// The name of the index without its ending.
    name: String,
    options: &'o Options,
}

impl<'o> IndexFolder<'o> {
    /// The place for the index of the image `file`. In a cache the names of images are unique; others have their path in it.
    pub(super) fn new(file: &Path, options: &'o Options) -> Self {
        let mut name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !file.starts_with(&options.cache_dir) {
            let path = blake3::hash(file.as_os_str().as_encoded_bytes()).to_hex();
            name = format!("{name}-{}", &path[..16]);
        }
        Self { folder: options.cache_dir.join(".gonto").join("index"), name, options }
    }

    /// Where an index of it may lie: everybody's, and this user's own.
    pub(super) fn candidates(&self) -> [PathBuf; 2] {
        let own = format!("{}.{}.erofs", self.name, rustix::process::geteuid().as_raw());
        [self.folder.join(format!("{}.erofs", self.name)), self.folder.join(own)]
    }

    /// Whoever can write into a folder on the way can put another index there, which root must not give to the kernel.
    pub(super) fn check(&self) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let real = self.folder.canonicalize()?;
        for folder in real.ancestors() {
            let metadata = fs::symlink_metadata(folder)?;
            // In a folder like /tmp, others cannot move what is not theirs; but they can put something there.
            let sticky = metadata.mode() & 0o1000 != 0 && folder != real;
            if metadata.uid() != 0 || (metadata.mode() & 0o022 != 0 && !sticky) {
                return Err(io::Error::other(format!("others can write to {}", folder.display())));
            }
        }
        Ok(())
    }

    /// Begins an index with the rights of its image, alone: others who want it wait.
    ///
    /// # Errors
    /// When none can be kept here.
    pub(super) fn begin(&self, image: &Path) -> io::Result<NewIndex> {
        // Whatever the umask says: what others can write would not be used.
        DirBuilder::new().recursive(true).mode(0o755).create(&self.folder)?;
        self.check()?;
        let [everybodys, own] = self.candidates();
        let me = rustix::process::geteuid().as_raw();
        // Two users would make it anew for each other, for ever. Root is trusted by all, so what root makes is everybody's.
        let is_taken = me != 0 && fs::symlink_metadata(&everybodys).is_ok_and(|there| there.uid() != me);
        let kept = if is_taken { own } else { everybodys };
        let new = self.folder.join(format!(".new-{}", kept.file_name().unwrap_or_default().display()));
        let waiting = || self.options.notices.send(Notice::Waiting { activity: "indexes the image" });
        let file = lock::exclusive_at(&new, &self.options.interrupt, waiting)?;
        // Who may read the image may read its index.
        let mode = fs::metadata(image)?.mode();
        file.set_permissions(Permissions::from_mode(mode & 0o444 | 0o600))?;
        if !is_trusted(&file)? {
            return Err(io::Error::other("the file system does not keep owners and rights"));
        }
        Ok(NewIndex { file, new: Some(new), kept })
    }

    /// Removes what killed gontos have left, and the indexes of images that are gone, as `is_orphan` tells. It is no failure when that
    /// does not work.
    pub(super) fn tidy_up(&self, but: &NewIndex, is_orphan: impl Fn(File) -> io::Result<bool>) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let useless = if name.as_encoded_bytes().starts_with(b".new-") {
                Some(&path) != but.new.as_ref() && !lock::is_held(&path)
            } else {
                name.as_encoded_bytes().ends_with(b".erofs")
                    && open_trusted(&path).and_then(&is_orphan).unwrap_or(false)
            };
            if useless {
                let removed = fs::remove_file(&path);
                tracing::debug!(path = %path.display(), ?removed, "nobody needs it any more");
            }
        }
    }
}

/// An index that is being written. Dropped before it is published, it is gone.
pub(super) struct NewIndex {
    pub(super) file: File,
    /// Where it is written; `None` when it lies there no more.
    new: Option<PathBuf>,
    /// Where it will lie.
    pub(super) kept: PathBuf,
}

impl NewIndex {
    /// Gives it its name, when it is whole.
    pub(super) fn publish(mut self) -> io::Result<()> {
        // After a power failure, an index that is there is whole.
        self.file.sync_data()?;
        if let Some(new) = &self.new {
            fs::rename(new, &self.kept)?;
        }
        // What lies there from now on is somebody else's.
        self.new = None;
        Ok(())
    }
}

impl Drop for NewIndex {
    fn drop(&mut self) {
        let Some(new) = &self.new else { return };
        // The lock is held until the file is closed, so nobody else has begun there.
        if let Err(error) = fs::remove_file(new) {
            tracing::debug!(path = %new.display(), %error, "cannot be removed; the next gonto writes there");
        }
    }
}

/// Opens an index that may be used.
pub(super) fn open_trusted(path: &Path) -> io::Result<File> {
    let file = open_file(path, OFlags::NOFOLLOW)?;
    if is_trusted(&file)? { Ok(file) } else { Err(io::Error::other("somebody else can write it")) }
}

/// Opens a file, and nothing else: a pipe would make us wait for its other end.
pub(super) fn open_file(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no file", path.display())))
    }
}

/// Whether a file is in the hands of this user or of root, and of nobody else.
fn is_trusted(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    let me = rustix::process::geteuid().as_raw();
    Ok([0, me].contains(&metadata.uid()) && metadata.mode() & 0o022 == 0 && metadata.is_file())
}
