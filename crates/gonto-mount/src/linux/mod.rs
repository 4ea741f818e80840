//! Linux: namespaces, FUSE, overlayfs.
//!
//! | module | is about |
//! | --- | --- |
//! | [`session`] | one run: its mounts and commands |
//! | [`namespace`], [`init`], [`wire`], [`exec_image`] | the process that holds a run together, from both sides |
//! | [`shared`], [`stack`] | mounts that everybody sees |
//! | [`opened`], [`index_folder`] | an image's index, or its file tree |
//! | [`erofs`], [`loop_device`] | the kernel reads the image itself |
//! | [`fuse`], [`served`], [`server`], [`fusermount`] | serving an image to the kernel |
//! | [`overlay`], [`written`] | the writable layer, and what is in it |
//! | [`unpacked`] | files in place of mounts |
//! | [`diagnose`](mod@diagnose) | which of all that works here |
//! | [`register`], [`stored_path`], [`lock`], [`folders`] | who uses what, so that all is cleaned up |

mod diagnose;
mod erofs;
mod exec_image;
mod folders;
mod fuse;
mod fusermount;
mod index_folder;
mod init;
mod loop_device;
mod namespace;
mod opened;
mod overlay;
mod register;
mod served;
mod server;
mod session;
mod shared;
mod stack;
mod stored_path;
mod unpacked;
mod wire;
mod written;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

use crate::{Error, Image, MountPoint, Options};

pub use diagnose::diagnose;
pub use session::Session;
pub use shared::Mounts;

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

/// A mount at `folder` goes on without a layer that keeps the limit, unless one was asked for. `reason` says why.
fn unlimited(options: &Options, folder: &Path, reason: impl std::fmt::Display) -> Result<(), Error> {
    match options.layer.limit() {
        None => Ok(()),
        Some(_) => Err(Error::NoLimit { path: folder.to_owned(), reason: reason.to_string() }),
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
