//! Linux: namespaces, FUSE, overlayfs.
//!
//! | module | is about |
//! | --- | --- |
//! | [`session`] | one run: its mounts and commands |
//! | [`namespace`], [`init`], [`wire`], [`exec_image`] | the process that holds a run together, from both sides |
//! | [`shared`] | mounts that everybody sees |
//! | [`fuse`], [`server`], [`fusermount`] | serving a file tree to the kernel |
//! | [`overlay`] | the writable layer |
//! | [`unpacked`], [`unpack`] | files in place of mounts |
//! | [`register`], [`lock`], [`folders`] | who uses what, so that all is cleaned up |

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
mod unpack;
mod unpacked;
mod wire;

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gonto_image::{FileTree, ImageFile, Reason};

use crate::{Error, Image, MountPoint, Notice, Notices, Options};

pub use session::Session;
pub use shared::Mounts;

/// The file tree of an image, and the descriptor from which it is read.
fn open_image(image: &Path) -> Result<(Arc<FileTree>, RawFd), Error> {
    let opened = |source| Error::OpenImage { image: image.to_owned(), source };
    let file = File::open(image).map_err(opened)?;
    let fd = file.as_raw_fd();
    let file = ImageFile::new(file).map_err(opened)?;
    let tree = FileTree::open_container(Arc::new(file))
        .map_err(|error| Error::ReadImage { image: image.to_owned(), source: Box::new(error) })?;
    Ok((Arc::new(tree), fd))
}

/// Tells what the tree does not show as it is. Content that cannot be read is told when somebody reads it, or here if
/// `content` is set.
fn tell_notes(tree: &FileTree, image: &Path, notices: &Notices, content: bool) {
    for note in tree.notes() {
        let told = match note.reason {
            Reason::ImpossibleName | Reason::ReparsedDirectory(_) | Reason::BrokenLink => true,
            // Long names work in a mount, and links out of the image may be meant so.
            Reason::LongName | Reason::LinkOutside | Reason::DirtyVolume => false,
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
        MountPoint::Path(path) => path.clone(),
        MountPoint::Drive(letter) => automatic.join(letter.to_string()),
        MountPoint::Automatic => automatic.join(image.file.file_stem().unwrap_or_default()),
    }
}
