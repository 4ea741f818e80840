//! What a mount for everybody consists of, and how it is taken away again: exactly that, and nothing that somebody else
//! has mounted at the same place.

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::UnmountFlags;
use serde::{Deserialize, Serialize};

use super::fusermount;
use super::stored_path::StoredPath;

/// One element of a mount.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) enum Layer {
    /// Something mounted at `path`. Its `source`, as mountinfo shows it, tells it from what others mount there.
    Mount { path: StoredPath, source: String, by: By },
    /// A symbolic link to unpacked files.
    Link { path: StoredPath, target: StoredPath },
}

/// Who mounted it, and so has to unmount it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) enum By {
    /// mount(2).
    Kernel,
    /// fusermount3, for an ordinary user.
    Fusermount,
}

/// What to do about a mount that is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InUse {
    /// It stays, and that is an error.
    Keep,
    /// It vanishes from sight at once, and for good when its last user has gone.
    Detach,
}

impl Layer {
    /// Whether it is there, be its server alive or dead.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Mount { path, source, .. } => sources_at(path).contains(source),
            Self::Link { path, target } => fs::read_link(path).is_ok_and(|found| *found == **target),
        }
    }

    /// Takes it away, if it is there.
    pub(super) fn take_away(&self, in_use: InUse) -> io::Result<()> {
        match self {
            _ if !self.is_there() => Ok(()),
            Self::Link { path, .. } => fs::remove_file(path),
            Self::Mount { path, source, .. } if sources_at(path).last() != Some(source) => {
                Err(io::Error::new(io::ErrorKind::ResourceBusy, "something else is mounted above it"))
            }
            Self::Mount { path, by: By::Kernel, .. } => {
                let flags =
                    if in_use == InUse::Detach { UnmountFlags::DETACH } else { UnmountFlags::empty() };
                Ok(rustix::mount::unmount(&**path, flags | UnmountFlags::NOFOLLOW)?)
            }
            Self::Mount { path, by: By::Fusermount, .. } => {
                fusermount::unmount(path, in_use == InUse::Detach)
            }
        }
    }
}

/// Whether anything is mounted at `path`, which has no symbolic links.
pub(super) fn is_mount_point(path: &Path) -> bool {
    !sources_at(path).is_empty()
}

/// The sources of all mounts at `path` in this mount namespace, the lowest first: proc_pid_mountinfo(5).
fn sources_at(path: &Path) -> Vec<String> {
    let Ok(table) = fs::read("/proc/self/mountinfo") else { return Vec::new() };
    let wanted = escape_octal(path);
    let source = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        if fields.nth(4)? != wanted {
            return None;
        }
        // Optional fields end with a hyphen; type and source follow.
        let source = fields.skip_while(|field| *field != b"-").nth(2)?;
        Some(String::from_utf8_lossy(source).into_owned())
    };
    table.split(|byte| *byte == b'\n').filter_map(source).collect()
}

/// mountinfo shows white space and backslashes of a path in octal.
fn escape_octal(path: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\') {
            escaped.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            escaped.push(byte);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_writes_blanks_in_octal() {
        assert_eq!(escape_octal(Path::new("/a b\\c")), b"/a\\040b\\134c");
    }

    #[test]
    fn what_others_have_mounted_is_not_ours() {
        assert!(!sources_at(Path::new("/proc")).is_empty());
        assert!(sources_at(Path::new("/proc/self")).is_empty());
        let layer = Layer::Mount {
            path: Path::new("/proc").into(),
            source: "gonto-of-this-test".to_owned(),
            by: By::Kernel,
        };
        assert!(!layer.is_there());
        layer.take_away(InUse::Detach).unwrap();
        assert!(!sources_at(Path::new("/proc")).is_empty());
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        std::os::unix::fs::symlink("/elsewhere", &path).unwrap();
        let layer = |target: &str| Layer::Link { path: (&*path).into(), target: Path::new(target).into() };
        layer("/ours").take_away(InUse::Detach).unwrap();
        assert!(path.is_symlink());
        layer("/elsewhere").take_away(InUse::Keep).unwrap();
        assert!(!path.is_symlink());
    }
}
