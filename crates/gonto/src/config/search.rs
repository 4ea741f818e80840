//! Which configuration files there are, and what is in them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Report};
use super::source::{Place, Source};

/// The names of configuration files, in the order in which they are read within a folder. A later one overrides an
/// earlier one.
pub const FILE_NAMES: [&str; 4] = ["gonto.yaml", "gonto.yml", ".gonto.yaml", ".gonto.yml"];

/// Largest configuration file, in bytes. People write a few kilobytes.
const MAX_FILE_SIZE: u64 = 4 << 20;

/// Where configuration files are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The folder of the installed program, searched first.
    pub program_dir: Option<PathBuf>,
    /// The home folder of the user, searched second; also what `~` stands for.
    pub home: Option<PathBuf>,
    /// The current folder, searched last.
    pub directory: PathBuf,
    /// Read this file and no other. A relative path is meant from [`Search::directory`].
    pub file: Option<PathBuf>,
}

impl Search {
    /// Searches the folder of this program, the home folder of the user, and `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Search {
        let program = std::env::current_exe().ok();
        Search {
            program_dir: program.and_then(|program| program.parent().map(Path::to_owned)),
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            directory: directory.into(),
            file: None,
        }
    }

    /// Reads `file` only.
    #[must_use]
    pub fn only(mut self, file: impl Into<PathBuf>) -> Search {
        self.file = Some(file.into());
        self
    }

    /// The folders, in the order in which they are searched.
    pub(super) fn folders(&self) -> Vec<&Path> {
        let optional = [&self.program_dir, &self.home].into_iter().flatten();
        optional.chain([&self.directory]).map(PathBuf::as_path).collect()
    }

    /// The files in the order in which they are merged. A folder that is searched twice gives its files twice: they override
    /// what stands between.
    pub(super) fn read(&self, report: &Report) -> Found {
        let mut found = Found::default();
        if let Some(file) = &self.file {
            found.add(&self.directory.join(file), Kind::Named, report);
            return found;
        }
        let mut searched: Vec<(PathBuf, std::ops::Range<usize>)> = Vec::new();
        for folder in self.folders() {
            let identity = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            if let Some((_, files)) = searched.iter().find(|(known, _)| *known == identity) {
                found.order.extend(files.clone());
                continue;
            }
            let before = found.files.len();
            for name in FILE_NAMES {
                found.add(&folder.join(name), Kind::Searched, report);
            }
            searched.push((identity, before..found.files.len()));
        }
        found
    }
}

/// The files that a search found.
#[derive(Default)]
pub(super) struct Found {
    /// Each file that could be read, once.
    pub(super) files: Vec<Arc<Source>>,
    /// Indexes of [`Found::files`], in the order of the merge.
    pub(super) order: Vec<usize>,
    /// Whether a file is there that could not be read.
    pub(super) unreadable: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The caller asked for this file: it has to be there, and may be a pipe.
    Named,
    /// The file is read if it is there.
    Searched,
}

impl Found {
    /// The files, in the order in which they were found.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|source| source.path.clone()).collect()
    }

    /// When the file of `place` is merged; the last time, if more than once.
    pub(super) fn rank(&self, place: &Place) -> Option<usize> {
        let is_from =
            |index: &usize| self.files.get(*index).is_some_and(|file| Arc::ptr_eq(file, place.source()));
        self.order.iter().rposition(is_from)
    }

    fn add(&mut self, path: &Path, kind: Kind, report: &Report) {
        match read(path, kind) {
            Ok(Some(source)) => {
                self.order.push(self.files.len());
                self.files.push(source);
            }
            Ok(None) => {}
            Err(diagnostic) => {
                self.unreadable = true;
                report.add(*diagnostic);
            }
        }
    }
}

/// Reads a file as text. None when a searched file is not there.
fn read(path: &Path, kind: Kind) -> Result<Option<Arc<Source>>, Box<Diagnostic>> {
    let shown = path.display();
    let cannot = |reason: &str, help: &str| {
        Box::new(
            Diagnostic::error(format!("the configuration file {shown} cannot be read: {reason}")).help(help),
        )
    };
    let failed = |error: io::Error| {
        let help = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "make the file readable for this user, or remove it",
            _ => "check the file and the disk that it lies on",
        };
        cannot(&error.to_string(), help)
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        // Not there, below something that is no folder, or in a folder that this user may not look into.
        Err(_) if kind == Kind::Searched && !is_there(path) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if metadata.is_dir() {
        return Err(cannot("it is a folder", "remove the folder or give it another name"));
    }
    if kind == Kind::Searched && !metadata.is_file() {
        // Opening a pipe would wait for somebody to write into it.
        return Err(cannot("it is not a regular file", "remove it, or name it with --config"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        let reason = format!("it is larger than {} MiB", MAX_FILE_SIZE >> 20);
        return Err(cannot(&reason, "check that it is a configuration file"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Source::new(path, &text))),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            let reason = format!("it is not UTF-8 (byte {at}, line {line})");
            Err(cannot(&reason, "save it as UTF-8"))
        }
    }
}

/// Whether there is an entry of that name, be it a link that leads nowhere.
fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
