//! Making and removing the folders that mounts need.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// The folders that have to be made so that `mount_point` exists, outermost first.
pub(super) fn missing_folders(mount_point: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut missing = Vec::new();
    for folder in mount_point.ancestors() {
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => return Err(Error::MountPointNotAFolder { path: folder.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link that leads nowhere is no folder either, and making one there would fail.
                if fs::symlink_metadata(folder).is_ok() {
                    return Err(Error::MountPointNotAFolder { path: folder.to_owned() });
                }
                missing.push(folder.to_owned());
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => missing.push(folder.to_owned()),
            Err(source) => return Err(Error::MountPointMissing { path: mount_point.to_owned(), source }),
        }
    }
    missing.reverse();
    Ok(missing)
}

/// Makes the `missing` folders of a mount point.
pub(super) fn make_folders(missing: &[PathBuf], mount_point: &Path) -> Result<(), Error> {
    for folder in missing {
        match fs::create_dir(folder) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::MountPointMissing { path: mount_point.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes a folder of our own with all it holds, whatever modes a build has left in there.
pub(super) fn remove_tree(folder: &Path) {
    let Err(first) = fs::remove_dir_all(folder) else { return };
    if first.kind() == io::ErrorKind::NotFound {
        return;
    }
    open_up(folder);
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::debug!(folder = %folder.display(), %error, "cannot be removed");
    }
}

/// Gives the owner every right on all folders below. overlayfs makes its work folder with no rights at all.
fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
