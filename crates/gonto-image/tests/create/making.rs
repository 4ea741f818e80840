//! Folders to make images of, images, and what both hold.

use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use gonto_image::{
    CreateError, Created, FileTree, ImageFile, Kind, NewContainer, NewImage, NodeId, ReadAt, create,
};
use tempfile::TempDir;

use crate::support::{findings, sha256};

pub(crate) const CONTAINERS: [NewContainer; 3] =
    [NewContainer::FixedVhd, NewContainer::DynamicVhd, NewContainer::Vhdx];

/// An image as most tests want it.
pub(crate) fn usual() -> NewImage<'static> {
    NewImage::new(NewContainer::Vhdx, "")
}

/// A folder to make images of.
pub(crate) struct Source {
    scratch: TempDir,
}

impl Source {
    pub(crate) fn new() -> Self {
        Self { scratch: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// A path in it, whose folders are made.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        fs::write(self.at(path), content).unwrap();
    }

    pub(crate) fn folder(&self, path: impl AsRef<Path>) {
        fs::create_dir_all(self.path().join(path)).unwrap();
    }

    /// An image of it, in a file of its own.
    pub(crate) fn image(&self, wanted: &NewImage<'_>) -> Image {
        self.try_image(wanted).unwrap()
    }

    pub(crate) fn try_image(&self, wanted: &NewImage<'_>) -> Result<Image, CreateError> {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("image");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let created = create(self.path(), file, wanted, &|_| ControlFlow::Continue(()))?;
        Ok(Image { _scratch: scratch, path, created })
    }

    /// Makes an image, fails unless it is sound and holds what the folder does, by the names that it tells, and gives it back.
    #[track_caller]
    pub(crate) fn round_trip(&self, wanted: &NewImage<'_>) -> Image {
        let image = self.image(wanted);
        assert_eq!(findings(image.bytes()), Vec::<String>::new());
        let tree = image.tree();
        assert_eq!(tree.notes(), []);
        assert_same(&in_image(&tree), &renamed(in_folder(self.path()), &image.created.renamed));
        image
    }
}

/// An image that was made.
pub(crate) struct Image {
    _scratch: TempDir,
    path: PathBuf,
    pub(crate) created: Created,
}

impl Image {
    #[cfg(target_os = "linux")]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> Arc<dyn ReadAt> {
        Arc::new(ImageFile::new(File::open(&self.path).unwrap()).unwrap())
    }

    pub(crate) fn tree(&self) -> FileTree {
        FileTree::open(self.bytes()).unwrap()
    }
}

/// What comes before the target of a link.
const LINK_TO: &str = "link to ";

/// A file, a folder or a link, as both sides tell it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Found {
    /// With slashes; the root is empty.
    pub(crate) path: String,
    /// Size and hash of a file, target of a link.
    pub(crate) what: String,
    /// Nanoseconds since 1970, as exactly as NTFS keeps them.
    pub(crate) modified: i128,
    /// Permissions, and the number of names: what only Unix knows.
    unix: Option<(u32, u64)>,
}

#[track_caller]
fn assert_same(ours: &[Found], theirs: &[Found]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len(), "the lists differ in length");
}

/// For what is mounted so that everybody has the same permissions.
#[cfg(target_os = "linux")]
#[track_caller]
pub(crate) fn assert_same_but_modes(one: &[Found], other: &[Found]) {
    let without = |found: &[Found]| -> Vec<Found> {
        let unix = |found: &Found| found.unix.map(|(_, names)| (0, names));
        found.iter().map(|found| Found { unix: unix(found), ..found.clone() }).collect()
    };
    assert_same(&without(one), &without(other));
}

/// Everything in the folder, sorted.
pub(crate) fn in_folder(root: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), root.to_path_buf())];
    while let Some((path, folder)) = folders.pop() {
        found.push(system::found(&path, &folder, "folder".into()));
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push((path, entry.path()));
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                found.push(system::found(&path, &entry.path(), format!("{LINK_TO}{}", target.display())));
            } else {
                let content = fs::read(entry.path()).unwrap();
                let hash = sha256_of(content);
                found.push(system::found(&path, &entry.path(), hash));
            }
        }
    }
    found.sort();
    found
}

/// What is found where names were changed.
fn renamed(found: Vec<Found>, changes: &[(PathBuf, String)]) -> Vec<Found> {
    let changes: HashMap<&Path, &str> = changes.iter().map(|(path, name)| (&**path, &**name)).collect();
    // Follows a path from a folder, and tells what it becomes.
    let follow = |folder: &Path, path: &str| {
        let mut at = folder.to_path_buf();
        let parts = path.split('/').map(|part| match part {
            ".." => {
                at.pop();
                part
            }
            _ => {
                at.push(part);
                changes.get(&*at).copied().unwrap_or(part)
            }
        });
        parts.collect::<Vec<_>>().join("/")
    };
    let root = Path::new("");
    let change = |found: Found| {
        let what = match found.what.strip_prefix(LINK_TO) {
            Some(target) => {
                let folder = Path::new(&found.path).parent().unwrap_or(root);
                format!("{LINK_TO}{}", follow(folder, target))
            }
            None => found.what,
        };
        Found { path: follow(root, &found.path), what, ..found }
    };
    let mut found: Vec<Found> = found.into_iter().map(change).collect();
    found.sort();
    found
}

fn sha256_of(content: Vec<u8>) -> String {
    let size = content.len();
    format!("{size} bytes, {}", crate::support::sha256_of(&content).unwrap())
}

/// Everything in the image, sorted.
pub(crate) fn in_image(tree: &FileTree) -> Vec<Found> {
    let mut found = Vec::new();
    let mut hashes: HashMap<NodeId, String> = HashMap::new();
    let mut waiting = vec![(String::new(), tree.root())];
    while let Some((path, id)) = waiting.pop() {
        let node = tree.node(id);
        let what = match node.kind {
            Kind::Directory => {
                for (name, id) in tree.entries(id).iter() {
                    let name = String::from_utf8_lossy(name);
                    let path = if path.is_empty() { name.into() } else { format!("{path}/{name}") };
                    waiting.push((path, id));
                }
                "folder".into()
            }
            Kind::Symlink => format!("{LINK_TO}{}", String::from_utf8_lossy(tree.link_target(id))),
            // Of a file with a thousand names, the content is read once.
            Kind::File => hashes
                .entry(id)
                .or_insert_with(|| format!("{} bytes, {}", node.size, sha256(tree, id).unwrap()))
                .clone(),
        };
        let mode = if node.kind == Kind::Symlink { 0 } else { node.mode };
        let unix = cfg!(unix).then_some((mode, node.links.into()));
        found.push(Found { path, what, modified: node.modified.unix_nanos(), unix });
    }
    found.sort();
    found
}

/// A time as NTFS keeps it.
fn modified(time: SystemTime) -> i128 {
    let nanos = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).unwrap(),
        Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap(),
    };
    nanos.div_euclid(100) * 100
}

#[cfg(unix)]
mod system {
    use std::os::unix::fs::MetadataExt;

    use super::{Found, Path, fs, modified};

    pub(super) fn found(path: &str, at: &Path, what: String) -> Found {
        let metadata = fs::symlink_metadata(at).unwrap();
        // The permissions of a link mean nothing; what a folder is counted by are the dots in those below.
        let mode = if metadata.is_symlink() { 0 } else { metadata.mode() & 0o777 };
        // The names of a link become links of their own.
        let names = if metadata.is_file() { metadata.nlink() } else { 1 };
        let modified = modified(metadata.modified().unwrap());
        Found { path: path.into(), what, modified, unix: Some((mode, names)) }
    }
}

#[cfg(not(unix))]
mod system {
    use super::{Found, Path, fs, modified};

    pub(super) fn found(path: &str, at: &Path, what: String) -> Found {
        let modified = modified(fs::symlink_metadata(at).unwrap().modified().unwrap());
        Found { path: path.into(), what, modified, unix: None }
    }
}
