//! What an image for Windows cannot hold.

use std::fmt;
use std::path::PathBuf;

/// A file, folder or link that Windows could not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offender {
    /// Where it lies, relative to the folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Why Windows could not read something.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// A device of Windows has this name: `CON`, `AUX.txt`, `com1`.
    ReservedName,
    /// A file of NTFS itself has this name: `$MFT`, `$Boot`. Only in the folder itself, not below it.
    NameOfNtfs,
    /// A character that no name on Windows can have.
    Character(char),
    /// Windows drops a dot or a space at the end of a name.
    TrailingDotOrSpace,
    /// The name is no text: its bytes are not UTF-8.
    NotUnicode,
    /// The name is longer than 255 UTF-16 units.
    TooLong,
    /// It differs from this one, also relative to the folder, by upper and lower case only: the same name to Windows.
    SameName(PathBuf),
    /// A link that leads out of the folder. Its target.
    LinkLeaves(String),
    /// A link whose target holds what Windows does not allow. Its target.
    LinkTarget(String),
    /// A socket.
    Socket,
    /// A named pipe.
    Fifo,
    /// A device, or something else that is no file.
    Device,
}

impl fmt::Display for Offender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedName => f.write_str("the name is reserved for a device of Windows"),
            Self::NameOfNtfs => f.write_str("the name is that of a file of NTFS itself"),
            Self::Character(char) => write!(f, "the name holds {char:?}, which Windows does not allow"),
            Self::TrailingDotOrSpace => {
                f.write_str("the name ends with a dot or a space, which Windows drops")
            }
            Self::NotUnicode => f.write_str("the name is not UTF-8"),
            Self::TooLong => f.write_str("the name is longer than 255 characters"),
            Self::SameName(other) => {
                write!(f, "the name differs from {} by upper and lower case only", other.display())
            }
            Self::LinkLeaves(target) => write!(f, "the link leads out of the folder, to {target}"),
            Self::LinkTarget(target) => write!(f, "Windows cannot follow a link to {target}"),
            Self::Socket => f.write_str("a socket"),
            Self::Fifo => f.write_str("a named pipe"),
            Self::Device => f.write_str("a device"),
        }
    }
}
