//! What can go wrong when an image is made.

use std::io;
use std::path::{Path, PathBuf};

use gonto_image::{CreateError, Offender, Problem};

/// No image was made, and nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of the image does not say its format.
    #[error("{} does not say which format it is to have: its name has to end with .vhd or .vhdx", output.display())]
    Format {
        /// The image.
        output: PathBuf,
    },
    /// Something has the name of the image, or of its digest, already.
    #[error("{} is there already: remove it, or choose another name", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// The folder for the image is missing.
    #[error("there is no folder {}: make it first", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The image would lie in the folder that it is made of.
    #[error("{} lies in {}, which would be read while it is written: choose another folder for the image", output.display(), folder.display())]
    Inside {
        /// The image.
        output: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// A pattern of what is left out names nothing.
    #[error("the pattern {pattern:?} of --exclude names nothing: give a name, or a path in the folder")]
    EmptyPattern {
        /// The pattern.
        pattern: String,
    },
    /// A pattern of what is left out cannot be understood.
    #[error("the pattern {pattern:?} of --exclude cannot be understood")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: globset::Error,
    },
    /// The order of content cannot be read.
    #[error("cannot read the order in {}", file.display())]
    Order {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// `SOURCE_DATE_EPOCH` is no number of seconds.
    #[error("SOURCE_DATE_EPOCH is {value:?}: it has to be a number of seconds since 1970")]
    SourceDateEpoch {
        /// Its value.
        value: String,
    },
    /// Names and links that Windows could not read: all of them, sorted by path.
    #[error("{} in the folder cannot be in an image for Windows: {}", things(.0.len()), remedies(.0))]
    Offenders(Vec<Offender>),
    /// The folder cannot be read, or changed meanwhile.
    #[error("cannot make an image of {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: CreateError,
    },
    /// The image cannot be written.
    #[error("cannot write {}{}", output.display(), remedy(source))]
    Write {
        /// The image, or its digest.
        output: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("interrupted{}", if *signal == 2 { "" } else { " by a signal" })]
    Interrupted {
        /// The signal's number: 2 for Ctrl-C, 15 for SIGTERM.
        signal: i32,
    },
}

impl Error {
    pub(super) fn write(output: &Path, source: io::Error) -> Self {
        Self::Write { output: output.to_owned(), source }
    }

    pub(super) fn from_image(error: CreateError, output: &Path, folder: &Path, signal: Option<i32>) -> Self {
        match error {
            CreateError::Interrupted => Self::Interrupted { signal: signal.unwrap_or(2) },
            CreateError::Offenders(offenders) => Self::Offenders(offenders),
            CreateError::Write(source) => Self::write(output, source),
            source => Self::Folder { folder: folder.to_owned(), source },
        }
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

fn things(count: usize) -> String {
    match count {
        1 => "one thing".to_owned(),
        count => format!("{count} things"),
    }
}

/// What helps against problems such as these.
fn remedies(offenders: &[Offender]) -> String {
    let any = |is: fn(&Problem) -> bool| offenders.iter().any(|offender| is(&offender.problem));
    let is_link: fn(&Problem) -> bool =
        |problem| matches!(problem, Problem::LinkLeaves(_) | Problem::LinkTarget(_));
    let is_name: fn(&Problem) -> bool = |problem| {
        !matches!(
            problem,
            Problem::LinkLeaves(_)
                | Problem::LinkTarget(_)
                | Problem::Socket
                | Problem::Fifo
                | Problem::Device
        )
    };
    let mut remedies = vec!["leave out what is not needed (--exclude)"];
    if any(is_name) {
        remedies.push("have names changed (--portable)");
    }
    if any(is_link) {
        remedies.push("keep links that only Linux can follow (--keep-links)");
    }
    remedies.join(", or ")
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": there is not enough space; choose a folder on a larger disk, or a dynamic image"
        }
        io::ErrorKind::FileTooLarge => ": the file system does not hold files of this size",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ": choose a folder in which you may write"
        }
        _ => "",
    }
}
