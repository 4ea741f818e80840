//! overlayfs: a writable, throw-away layer above a read-only folder. (And once a read-only folder with a name of its own.)

use std::ffi::OsString;
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// overlayfs makes some folders for itself.
const FEWEST_INODES: u64 = 16;

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

/// Mounts a writable layer above `lower` by `mount`, which gets the data for mount(2) of type overlay: with the options of
/// root, or where those are not permitted (root in a user namespace), with a user's.
pub(super) fn mount<T>(
    lower: &Path,
    upper: &Upper,
    user_namespace: bool,
    mount: impl Fn(OsString) -> io::Result<T>,
) -> io::Result<T> {
    let unsynced = |user| match mount(options(lower, upper, user, true)) {
        // Linux before 5.10 does not know `volatile`. Where something else was wrong, that is still wrong.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => mount(options(lower, upper, user, false)),
        other => other,
    };
    match unsynced(user_namespace) {
        Err(error) if !user_namespace && error.kind() == io::ErrorKind::PermissionDenied => unsynced(true),
        other => other,
    }
}

/// In a user namespace overlayfs keeps its marks in `user.` attributes; as root it can rename folders of the lower layer.
/// A volatile layer is never synced and cannot be mounted again, which nobody wants of what is thrown away.
fn options(lower: &Path, upper: &Upper, user_namespace: bool, volatile: bool) -> OsString {
    let mut data = OsString::from("lowerdir=");
    data.push(escape(lower));
    data.push(",upperdir=");
    data.push(escape(&upper.upper()));
    data.push(",workdir=");
    data.push(escape(&upper.work()));
    data.push(if user_namespace { ",userxattr" } else { ",redirect_dir=on" });
    data.push(if volatile { ",volatile" } else { "" });
    data
}

/// Data for mount(2) of type overlay that shows `folder` without a layer above it, so that nothing can be written. overlayfs wants
/// something to lay together: an `empty` folder will do.
pub(super) fn read_only(folder: &Path, empty: &Path) -> OsString {
    let mut data = OsString::from("lowerdir=");
    data.push(escape(folder));
    data.push(":");
    data.push(escape(empty));
    data
}

/// Data for mount(2) of type tmpfs, for a layer in memory. The kernel takes 1 KiB as the size of what has no content, too:
/// without a number of inodes, empty files would know no limit.
pub(super) fn tmpfs_options(limit: Option<NonZeroU64>) -> String {
    let mode = "mode=0700";
    match limit {
        None => mode.to_owned(),
        Some(limit) => {
            // What is rounded up to pages beyond 64 bits would be 0, which is no limit.
            let size = limit.get().min(i64::MAX.unsigned_abs());
            format!("{mode},size={size},nr_inodes={}", (size / 1024).max(FEWEST_INODES))
        }
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
        let data = options(Path::new("/a:b/c,d"), &Upper::at("/e\\f".into()), true, false);
        assert_eq!(
            data,
            OsStr::new("lowerdir=/a\\:b/c\\,d,upperdir=/e\\\\f/upper,workdir=/e\\\\f/work,userxattr")
        );
    }

    #[test]
    fn folders_that_are_laid_together_are_told_apart() {
        let data = read_only(Path::new("/a:b"), Path::new("/c,d"));
        assert_eq!(data, OsStr::new("lowerdir=/a\\:b:/c\\,d"));
    }

    #[test]
    fn a_kernel_without_volatile_gets_a_layer_all_the_same() {
        let old_kernel = |data: OsString| match data.to_string_lossy() {
            data if data.contains("volatile") => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            data if data.contains("redirect_dir") => Err(io::Error::from_raw_os_error(libc::EPERM)),
            data => Ok(data.into_owned()),
        };
        let data = mount(Path::new("/l"), &Upper::at("/u".into()), false, old_kernel).unwrap();
        assert_eq!(data, "lowerdir=/l,upperdir=/u/upper,workdir=/u/work,userxattr");
    }

    #[test]
    fn no_limit_becomes_none() {
        let limited = |bytes| tmpfs_options(NonZeroU64::new(bytes));
        assert_eq!(limited(0), "mode=0700");
        assert_eq!(limited(1), "mode=0700,size=1,nr_inodes=16");
        assert_eq!(limited(1 << 20), "mode=0700,size=1048576,nr_inodes=1024");
        assert!(limited(u64::MAX).starts_with("mode=0700,size=9223372036854775807,"));
    }
}
