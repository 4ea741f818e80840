//! overlayfs: a writable, throw-away layer above a read-only folder.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The folders of one writable layer, which must lie on one file system.
#[derive(Clone, Debug)]
pub(super) struct Upper {
    folder: PathBuf,
}

impl Upper {
    /// A layer below `folder`, which is made (or not) by [`create`](Self::create).
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// A path for a layer that no other gonto uses: on the file system of the cache, where there is room.
    pub(super) fn unused(cache_dir: &Path) -> Self {
        let unique = format!("{}-{:016x}", std::process::id(), random());
        let layers = cache_dir.join(".gonto").join("layers");
        // The real path, as the register believes no other. Where it cannot be made, the layer cannot either.
        let real = fs::create_dir_all(&layers).and_then(|()| layers.canonicalize());
        Self { folder: real.unwrap_or(layers).join(unique) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.folder.join("upper")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    pub(super) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.upper())?;
        fs::create_dir_all(self.work())
    }
}

/// Data for mount(2) of type overlay. In a user namespace overlayfs keeps its marks in `user.` attributes; as root it can
/// rename folders of the lower layer.
pub(super) fn options(lower: &Path, upper: &Upper, user_namespace: bool) -> OsString {
    let mut data = OsString::from("lowerdir=");
    data.push(escape(lower));
    data.push(",upperdir=");
    data.push(escape(&upper.upper()));
    data.push(",workdir=");
    data.push(escape(&upper.work()));
    data.push(if user_namespace { ",userxattr" } else { ",redirect_dir=on" });
    data
}

/// Mounts with the options of root, or where those are not permitted (root in a user namespace), with a user's.
pub(super) fn as_permitted<T>(user_namespace: bool, mount: impl Fn(bool) -> io::Result<T>) -> io::Result<T> {
    match mount(user_namespace) {
        Err(error) if !user_namespace && error.kind() == io::ErrorKind::PermissionDenied => mount(true),
        other => other,
    }
}

/// overlayfs splits its options at commas and its lower folders at colons.
fn escape(path: &Path) -> OsString {
    let mut escaped = Vec::with_capacity(path.as_os_str().len());
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b',' | b':') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    OsString::from_vec(escaped)
}

/// Sixty-four bits that differ from call to call and process to process.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn what_overlayfs_splits_at_is_escaped() {
        let data = options(Path::new("/a:b/c,d"), &Upper::at("/e\\f".into()), true);
        assert_eq!(
            data,
            OsStr::new("lowerdir=/a\\:b/c\\,d,upperdir=/e\\\\f/upper,workdir=/e\\\\f/work,userxattr")
        );
    }
}
