//! Linux: namespaces, FUSE, overlayfs.
//!
//! | module | is about |
//! | --- | --- |
//! | [`session`] | one run: its mounts and commands |
//! | [`namespace`], [`init`], [`wire`], [`exec_image`] | the process that holds a run together, from both sides |
//! | [`shared`], [`stack`] | mounts that everybody sees |
//! | [`fuse`], [`server`], [`fusermount`] | serving a file tree to the kernel |
//! | [`overlay`] | the writable layer |
//! | [`unpacked`] | files in place of mounts |
//! | [`register`], [`stored_path`], [`lock`], [`folders`] | who uses what, so that all is cleaned up |

mod exec_image;
mod folders;
mod fuse;
mod fusermount;
mod init;
mod lock;
mod namespace;
mod overlay;
mod register;
mod server;
mod session;
mod shared;
mod stack;
mod stored_path;
mod unpacked;
mod wire;

use std::fs;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gonto_image::{FileTree, ReadAt, Reason, VirtualDisk, Volume};
use rustix::mount::MountFlags;

use crate::image_file::{self, ParentSearch};
use crate::{Error, Image, MountPoint, Notice, Notices, Options};

pub use session::Session;
pub use shared::Mounts;

/// The file tree of an image, and the descriptors from which it is read: those of the image and its parents. An image of the
/// cache has its parents there as well, beside it.
fn open_image(image: &Path) -> Result<(Arc<FileTree>, Vec<RawFd>), Error> {
    let opened = image_file::open(image, ParentSearch::Siblings)
        .map_err(|source| Error::OpenImage { image: image.to_owned(), source })?;
    let options = gonto_image::Options {
        container_only: true,
        parents: opened.parents.clone(),
        ..gonto_image::Options::default()
    };
    let tree = read_tree(opened.image.clone(), image, &options)
        .map_err(|error| Error::ReadImage { image: image.to_owned(), source: Box::new(error) })?;
    // They stay open as long as the tree is there.
    let descriptors = opened.files().iter().map(|file| file.file().as_raw_fd()).collect();
    Ok((Arc::new(tree), descriptors))
}

fn read_tree(
    bytes: Arc<dyn ReadAt>,
    image: &Path,
    options: &gonto_image::Options,
) -> Result<FileTree, gonto_image::Error> {
    let disk = VirtualDisk::open(bytes, options)?;
    let volume = Volume::find(&disk, options)?;
    // They are for whoever made the image; to read it, they make no difference.
    for irregularity in disk.irregularities().chain(volume.irregularities()) {
        tracing::debug!(image = %image.display(), %irregularity);
    }
    FileTree::read(&volume, options)
}

/// Flags of every mount: nothing in an image is a device or changes who somebody is.
const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// The options with the state folder made and without symbolic links in its path: mount tables show real paths.
fn resolved(options: Options) -> Result<Options, Error> {
    let state_dir = fs::create_dir_all(&options.state_dir)
        .and_then(|()| options.state_dir.canonicalize())
        .map_err(|source| Error::State { path: options.state_dir.clone(), source })?;
    // The cache may not be there yet, or not be ours; who uses it says so.
    let cache_dir = options.cache_dir.canonicalize().unwrap_or(options.cache_dir);
    Ok(Options { state_dir, cache_dir, ..options })
}

/// Tells what the tree does not show as it is. Content that cannot be read is told when somebody reads it, or here if
/// `content` is set.
fn tell_notes(tree: &FileTree, image: &Path, notices: &Notices, content: bool) {
    for note in tree.notes() {
        let told = match note.reason {
            Reason::ImpossibleName | Reason::ReparsedDirectory(_) | Reason::BrokenLink => true,
            // Long names work in a mount, and links out of the image may be meant so. Copies are as good as the first one.
            Reason::LongName
            | Reason::LinkOutside
            | Reason::TooManyStreams
            | Reason::DirtyVolume
            | Reason::UncleanLog
            | Reason::BackupBootSector
            | Reason::MirroredRecords => false,
            Reason::LargerThanPartition => true,
            _ => content,
        };
        if told {
            notices.send(Notice::Unreadable { image: image.to_owned(), reason: note.to_string() });
        } else {
            tracing::debug!(image = %image.display(), %note);
        }
    }
}

/// The folder that a mount point means here: a drive becomes a folder of that name, and an image without a mount point
/// gets the same path every time, because build caches hold absolute paths.
fn folder_of(image: &Image, options: &Options) -> PathBuf {
    let automatic = options.state_dir.join("mnt");
    match &image.mount_point {
        MountPoint::Path(path) => real_path(path),
        MountPoint::Drive(letter) => automatic.join(letter.to_string()),
        MountPoint::Automatic => automatic.join(image.file.file_stem().unwrap_or_default()),
    }
}

/// The path without symbolic links, as far as it exists: two names of one folder are one mount point.
fn real_path(path: &Path) -> PathBuf {
    let mut real = path.to_owned();
    for existing in path.ancestors() {
        if let Ok(found) = existing.canonicalize() {
            // Pushing an empty rest would add a separator.
            real = match path.strip_prefix(existing) {
                Ok(rest) if rest.as_os_str().is_empty() => found,
                Ok(rest) => found.join(rest),
                Err(_) => path.to_owned(),
            };
            break;
        }
    }
    real
}
