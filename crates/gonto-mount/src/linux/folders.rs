//! Making, holding and removing the folders that mounts need.
//!
//! rmdir(2) of a folder takes away what is mounted there in *every* namespace. So whoever mounts somewhere holds a shared
//! flock on the folder below, and whoever wants to remove a folder asks for the exclusive one first. That works between
//! users and whatever name they have for the folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::stack::is_mount_point;
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
pub(super) fn make_folders<P: AsRef<Path>>(missing: &[P], mount_point: &Path) -> Result<(), Error> {
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

/// Keeps a folder from being removed by other gontos as long as the file is open. None where the file system has no locks,
/// and where something is mounted already: that would be kept busy, and the folder below it is out of reach.
pub(super) fn hold(folder: &Path) -> io::Result<Option<File>> {
    if is_mount_point(folder) {
        return Ok(None);
    }
    loop {
        let held = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(folder)?;
        if let Err(error) = held.lock_shared() {
            tracing::debug!(folder = %folder.display(), %error, "cannot be locked");
            return Ok(None);
        }
        // Between opening and locking it may have been removed and made anew.
        let (ours, there) = (held.metadata()?, fs::metadata(folder)?);
        if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
            return Ok(Some(held));
        }
    }
}

/// Removes a folder unless it holds something, which belongs to somebody else then. False when it is in use, so that it has
/// to be tried again later.
pub(super) fn remove_unless_held(folder: &Path) -> bool {
    let open = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(folder);
    let lock = open.and_then(|folder| match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    });
    let removed = match lock {
        Ok(None) => return false,
        Ok(Some(_held)) => fs::remove_dir(folder),
        // It cannot be opened or locked, so nobody holds it.
        Err(_) => fs::remove_dir(folder),
    };
    if let Err(error) = removed {
        tracing::debug!(folder = %folder.display(), %error, "left in place");
    }
    true
}

/// Removes a folder of our own with all it holds, whatever modes a build has left in there. False when something stays.
pub(super) fn remove_tree(folder: &Path) -> bool {
    let gone = |result: &io::Result<()>| match result {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if gone(&fs::remove_dir_all(folder)) {
        return true;
    }
    open_up(folder);
    let result = fs::remove_dir_all(folder);
    if let Err(error) = &result {
        tracing::debug!(folder = %folder.display(), %error, "cannot be removed");
    }
    gone(&result)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_is_not_removed_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir_all(real.join("point")).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let held = hold(&link.join("point")).unwrap();
        assert!(!remove_unless_held(&real.join("point")));
        assert!(real.join("point").exists());
        drop(held);
        assert!(remove_unless_held(&real.join("point")));
        assert!(!real.join("point").exists());
    }
}
