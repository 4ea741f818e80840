//! The state folder: what is mounted, and the mount points that the system chooses.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::Error;

/// Names the state folder and overrides every rule.
pub(crate) const VARIABLE: &str = "GONTO_STATE_DIR";

/// `$GONTO_STATE_DIR`; else `/var/lib/gonto` for root; else `$XDG_STATE_HOME/gonto` or `~/.local/state/gonto` (on Windows
/// `%LOCALAPPDATA%\gonto`).
pub(crate) fn folder() -> Result<PathBuf, Error> {
    let absolute =
        |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = env::var_os(VARIABLE).filter(|value| *value != OsString::new()) {
        return std::path::absolute(folder).map_err(|_| Error::NoStateFolder);
    }
    sys::folder(&absolute).ok_or(Error::NoStateFolder)
}

#[cfg(unix)]
mod sys {
    use super::{PathBuf, env};
    use std::fs::{self, DirBuilder};
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    use std::path::Path;

    pub(super) fn folder(absolute: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            return Some("/var/lib/gonto".into());
        }
        let state =
            absolute("XDG_STATE_HOME").or_else(|| Some(env::home_dir()?.join(".local").join("state")));
        let folder =
            state.map(|state| state.join("gonto")).filter(|folder| fs::create_dir_all(folder).is_ok());
        folder.or_else(|| {
            // A user without a home, as services and containers have them.
            let folder = env::temp_dir().join(format!("gonto-{}", uid.as_raw()));
            is_ours(&folder, uid.as_raw()).then_some(folder)
        })
    }

    /// Everybody may write into the folder for temporary files, so somebody else may have made this one.
    fn is_ours(folder: &Path, uid: u32) -> bool {
        let _ = DirBuilder::new().mode(0o700).create(folder);
        fs::symlink_metadata(folder)
            .is_ok_and(|found| found.is_dir() && found.uid() == uid && found.mode() & 0o077 == 0)
    }
}

#[cfg(windows)]
mod sys {
    use super::PathBuf;

    pub(super) fn folder(absolute: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
        absolute("LOCALAPPDATA").map(|local| local.join("gonto"))
    }
}
