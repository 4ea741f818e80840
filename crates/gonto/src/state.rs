//! The state folder: what is mounted, and the mount points that the system chooses.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::Error;

/// Names the state folder and overrides every rule.
pub(crate) const VARIABLE: &str = "GONTO_STATE_DIR";

/// `$GONTO_STATE_DIR`; else `/var/lib/gonto` for root; else `$XDG_STATE_HOME/gonto` or `~/.local/state/gonto`, or without
/// those a folder of the user in `$TMPDIR` or `/tmp` (on Windows `%LOCALAPPDATA%\gonto`).
///
/// `GONTO_STATE_DIR` may be relative to the current folder. The others count only when they are absolute: nobody means a
/// state folder for each folder in which gonto is started.
pub(crate) fn folder() -> Result<PathBuf, Error> {
    let absolute = |variable: &str| absolute(env::var_os(variable));
    if let Some(folder) = env::var_os(VARIABLE).filter(|value| *value != OsString::new()) {
        return std::path::absolute(folder).map_err(|_| Error::NoStateFolder);
    }
    sys::folder(&absolute).ok_or(Error::NoStateFolder)
}

fn absolute(path: Option<impl Into<PathBuf>>) -> Option<PathBuf> {
    path.map(Into::into).filter(|path| path.is_absolute())
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
        let home = || super::absolute(env::home_dir());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(home()?.join(".local").join("state")));
        let folder =
            state.map(|state| state.join("gonto")).filter(|folder| fs::create_dir_all(folder).is_ok());
        folder.or_else(|| {
            // A user without a home, as services and containers have them.
            let temporary = absolute("TMPDIR").unwrap_or_else(|| "/tmp".into());
            let folder = temporary.join(format!("gonto-{}", uid.as_raw()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_count() {
        let here = env::current_dir().unwrap();
        assert_eq!(absolute(Some(&here)), Some(here));
        for relative in ["", "state", "./state", "~"] {
            assert_eq!(absolute(Some(relative)), None, "{relative}");
        }
        assert_eq!(absolute(None::<OsString>), None);
    }
}
