//! What can go wrong with an image that is looked into.

use std::io;
use std::path::{Path, PathBuf};

use gonto_image::{Damaged, Unreadable};

use super::path::text;
use super::walk::LONGEST_PATH;

/// Something that was asked of an image cannot be done. Paths of the host are [`PathBuf`]s, those inside the volume are
/// text with slashes, in which what is no Unicode is replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image file cannot be opened.
    #[error("cannot open the image {}", image.display())]
    Open {
        /// The file.
        image: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The image holds no volume that can be read.
    #[error("cannot read the image {}", image.display())]
    Read {
        /// The file.
        image: PathBuf,
        /// What is wrong with it, and where.
        source: Box<gonto_image::Error>,
    },
    /// The volume has no such path.
    #[error("there is no {name:?} in {}{}", place(folder), hint(similar))]
    NotFound {
        /// The name that is missing.
        name: String,
        /// The folder that was reached; empty for the root.
        folder: String,
        /// Names there that differ by upper and lower case only.
        similar: Vec<String>,
    },
    /// A path goes on behind something that is no folder.
    #[error("{path:?} is no folder, so that there is no {rest:?} in it")]
    NotAFolder {
        /// What was reached.
        path: String,
        /// The name behind it.
        rest: String,
    },
    /// Bytes are asked of a folder.
    #[error("{} is a folder: name a file in it, or one of its streams as in folder:stream", place(path))]
    IsAFolder {
        /// The folder; empty for the root.
        path: String,
    },
    /// A symbolic link leads out of the volume.
    #[error("{path:?} is a link to {target:?}, which does not lie in this volume")]
    LinkOutside {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// Symbolic links lead to each other, or to more than anybody follows.
    #[error("{path:?} leads through more than {limit} symbolic links")]
    TooManyLinks {
        /// The path that was asked for.
        path: String,
        /// How many are followed.
        limit: u32,
    },
    /// Content cannot be read.
    #[error("cannot read {path:?}")]
    Content {
        /// The file, and the stream if it is one, as in `file:stream`.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system is damaged, so that something is missing.
    #[error(transparent)]
    Damaged(Damaged),
    /// A path is longer than Windows could follow, so that nothing below is looked at.
    #[error(
        "what lies in the folder {path:?} is left out: no system follows a path of more than {limit} bytes"
    )]
    TooDeep {
        /// The folder.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// Files that would be written are there already.
    #[error(
        "{} is there already{}: nothing was written; choose another folder, or replace files with --force",
        path.display(),
        others(*count)
    )]
    Exists {
        /// The first one.
        path: PathBuf,
        /// How many there are.
        count: u64,
    },
    /// A stream cannot be extracted.
    #[error("{path:?} is a named stream, which is not extracted: print it (gonto image cat)")]
    IsAStream {
        /// The stream.
        path: String,
    },
    /// Something was not extracted, though the rest was.
    #[error("{} is left out", path.display())]
    LeftOut {
        /// Its path in the volume.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The files of an image cannot be written. Nothing is left of them.
    #[error("cannot extract into {}{}", folder.display(), remedy(source))]
    Extract {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The files of an image could be moved to their places only in part, and not be moved back.
    #[error(
        "the extraction stopped half-way and could not be taken back: {}{} {} new; files that were there before are in {}",
        paths.first().map(|path| path.display().to_string()).unwrap_or_default(),
        others(paths.len() as u64),
        if paths.len() == 1 { "is" } else { "are" },
        replaced.display()
    )]
    HalfExtracted {
        /// What is in its place though it should not be.
        paths: Vec<PathBuf>,
        /// The folder with the files that were replaced.
        replaced: PathBuf,
        /// What stopped it.
        source: Box<io::Error>,
    },
    /// Results cannot be written.
    #[error("cannot write the results")]
    Output(#[source] io::Error),
    /// Somebody asked to stop.
    #[error("interrupted{}", if *signal == 2 { "" } else { " by a signal" })]
    Interrupted {
        /// The signal's number: 2 for Ctrl-C, 15 for SIGTERM.
        signal: i32,
    },
}

impl Error {
    pub(super) fn content(path: &[u8], error: io::Error) -> Self {
        Self::Content { path: text(path), source: reason(error) }
    }

    pub(super) fn extract(folder: &Path, source: io::Error) -> Self {
        Self::Extract { folder: folder.to_owned(), source }
    }

    pub(super) fn impossible_name(path: &str) -> Self {
        Self::LeftOut { path: path.into(), source: "no Linux system can have such a name".into() }
    }

    pub(super) fn too_deep(path: &[u8]) -> Self {
        Self::TooDeep { path: text(path), limit: LONGEST_PATH }
    }

    /// The exit status of a program that ends with this error: for an interrupt as in [`crate::Error::exit_code`], 1 for
    /// everything else.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Interrupted { signal } => crate::error::interrupted(*signal),
            _ => 1,
        }
    }
}

fn place(folder: &str) -> String {
    if folder.is_empty() { "the root folder of the volume".to_owned() } else { format!("{folder:?}") }
}

fn hint(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        names => format!(": upper and lower case decide between {}", names.join(", ")),
    }
}

fn others(count: u64) -> String {
    match count {
        0 | 1 => String::new(),
        2 => ", and another one".to_owned(),
        count => format!(", and {} others", count - 1),
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": there is not enough space; nothing was left behind, choose a folder on a larger disk"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ": choose a folder in which you may write"
        }
        _ => "",
    }
}

/// Why content cannot be read, without its path, which is told by whoever asked.
pub(super) fn reason(error: io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let inner = error.get_ref();
    if let Some(damaged) = inner.and_then(|inner| inner.downcast_ref::<Damaged>()) {
        Box::new(damaged.why.clone())
    } else if let Some(Unreadable(note)) = inner.and_then(|inner| inner.downcast_ref()) {
        note.reason.to_string().into()
    } else {
        error.into()
    }
}
