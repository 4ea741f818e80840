//! Folders by paths that begin with the real one of the root, in the form that may be longer than 260 characters.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use winapi_util::file::information;

use super::super::facts::{DOS_ATTRIBUTES, Facts, Stamp, What};
use super::super::tree::Target;
use crate::ntfs::upcase::UpCase;

/// The folder that is read.
pub(in super::super) struct Root(PathBuf);

impl Root {
    pub(in super::super) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        if !path.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self(path))
    }

    /// Opens a folder below.
    pub(in super::super) fn open_folder(&self, path: &Path) -> io::Result<OpenFolder> {
        Ok(OpenFolder(self.0.join(path)))
    }

    /// Opens a file below for reading.
    pub(in super::super) fn open_file(&self, path: &Path) -> io::Result<File> {
        File::open(self.0.join(path))
    }
}

/// Reads the names in folders.
pub(in super::super) struct Reader;

impl Reader {
    pub(in super::super) fn new() -> Self {
        Self
    }

    /// Tells all names in a folder in the order of the system.
    pub(in super::super) fn read(
        &mut self,
        root: &Root,
        path: &Path,
        mut each: impl FnMut(&OsStr, What),
    ) -> io::Result<()> {
        for entry in fs::read_dir(root.0.join(path))? {
            let entry = entry?;
            each(&entry.file_name(), what(entry.file_type()?));
        }
        Ok(())
    }
}

/// A junction counts as a link.
fn what(kind: FileType) -> What {
    if kind.is_symlink() {
        What::Link
    } else if kind.is_dir() {
        What::Folder
    } else {
        What::File
    }
}

/// A folder whose entries are looked at.
pub(in super::super) struct OpenFolder(PathBuf);

impl OpenFolder {
    pub(in super::super) fn own_facts(&self) -> io::Result<Facts> {
        facts_of(&open_itself(&self.0)?)
    }

    pub(in super::super) fn facts(&self, name: &OsStr) -> io::Result<Facts> {
        facts_of(&open_itself(&self.0.join(name))?)
    }

    pub(in super::super) fn target(&self, name: &OsStr) -> io::Result<OsString> {
        fs::read_link(self.0.join(name)).map(PathBuf::into_os_string)
    }
}

/// Opens a file, folder or link to look at it, with no right to read it. Only a handle knows the number of a file and how many
/// names it has.
fn open_itself(path: &Path) -> io::Result<File> {
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
    OpenOptions::new()
        .access_mode(0)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

/// The facts of an open file.
pub(in super::super) fn facts_of(file: &File) -> io::Result<Facts> {
    let told = information(file)?;
    let modified = told.last_write_time().unwrap_or_default();
    // The rest is masked away.
    let attributes = u32::try_from(told.file_attributes()).unwrap_or_default() & DOS_ATTRIBUTES;
    Ok(Facts {
        what: what(file.metadata()?.file_type()),
        size: told.file_size(),
        modified: modified.min(i64::MAX as u64),
        mode: 0,
        user: 0,
        group: 0,
        dos: u16::try_from(attributes).unwrap_or_default(),
        shared: told.number_of_links() > 1,
        stamp: Stamp {
            device: u32::try_from(told.volume_serial_number()).unwrap_or_default(),
            number: told.file_index(),
            written: modified.cast_signed(),
            changed: told.creation_time().unwrap_or_default().cast_signed(),
        },
    })
}

/// All is data: who looks for holes would have to ask in another way.
pub(in super::super) fn next_data(_: &File, offset: u64) -> Option<u64> {
    Some(offset)
}

/// Whether an error says that something is no longer what it was a moment ago.
pub(in super::super) fn has_vanished(error: &io::Error) -> bool {
    const ERROR_NOT_A_REPARSE_POINT: i32 = 4390;
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(ERROR_NOT_A_REPARSE_POINT)
}

/// Appends a name as UTF-16, which it is.
#[expect(clippy::unnecessary_wraps, reason = "names of other systems may be no text")]
pub(in super::super) fn decode(name: &OsStr, out: &mut Vec<u16>) -> Result<(), usize> {
    out.extend(name.encode_wide());
    Ok(())
}

/// Appends a name as UTF-16, which it is: there is nothing to escape.
pub(in super::super) fn decode_lossily(name: &OsStr, out: &mut Vec<u16>, _: fn(u8, &mut Vec<u16>)) {
    out.extend(name.encode_wide());
}

/// Appends a name that was decoded.
pub(in super::super) fn append_name(name: &[u16], out: &mut OsString) {
    out.push(OsString::from_wide(name));
}

/// The order in which a name of the system is looked up.
pub(in super::super) fn order(upcase: &UpCase, a: &[u16], b: &[u16]) -> Ordering {
    upcase.order_ignoring_case(a, b)
}

/// The names in the target of a link.
pub(in super::super) fn parts(target: &OsStr) -> Vec<OsString> {
    let units: Vec<u16> = target.encode_wide().collect();
    let is_separator = |unit: &u16| [u16::from(b'\\'), u16::from(b'/')].contains(unit);
    units.split(is_separator).map(OsString::from_wide).collect()
}

/// Whether a target begins with a drive, a server, or the root of a drive.
pub(in super::super) fn is_absolute(target: &OsStr) -> bool {
    let first = Path::new(target).components().next();
    matches!(first, Some(Component::Prefix(_) | Component::RootDir))
}

/// The target of a link that leaves the folder.
pub(in super::super) fn kept_target(target: &OsStr) -> Target {
    let path: Vec<u16> = target.encode_wide().collect();
    if !matches!(Path::new(target).components().next(), Some(Component::Prefix(_))) {
        return Target::Windows { path: path.into(), to_folder: false };
    }
    let units = |text: &str| -> Vec<u16> { text.encode_utf16().collect() };
    let strip = |prefix: &str| path.strip_prefix(&*units(prefix));
    let behind = strip(r"\\?\").or_else(|| strip(r"\??\"));
    let absolute = match (behind, strip(r"\\")) {
        (Some(behind), _) => [&units(r"\??\"), behind].concat(),
        (None, Some(server)) => [&units(r"\??\UNC\"), server].concat(),
        (None, None) => [&units(r"\??\"), &*path].concat(),
    };
    Target::WindowsAbsolute(absolute.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_leave_keep_their_meaning() {
        let absolute = |target: &str, path: &str| {
            assert!(is_absolute(target.as_ref()), "{target}");
            let expected = Target::WindowsAbsolute(path.encode_utf16().collect());
            assert_eq!(kept_target(target.as_ref()), expected);
        };
        absolute(r"C:\dir\file", r"\??\C:\dir\file");
        absolute(r"\\?\C:\dir", r"\??\C:\dir");
        absolute(r"\\server\share\x", r"\??\UNC\server\share\x");
        absolute(r"\\?\Volume{9b2ae2cc}\", r"\??\Volume{9b2ae2cc}\");
        for (target, leaves) in [(r"\dir", true), (r"..\..\x", false), ("x", false)] {
            assert_eq!(is_absolute(target.as_ref()), leaves, "{target}");
            let path = target.encode_utf16().collect();
            assert_eq!(kept_target(target.as_ref()), Target::Windows { path, to_folder: false });
        }
    }

    #[test]
    fn both_separators_part_names() {
        assert_eq!(parts(r"..\a/b\\".as_ref()), ["..", "a", "b", "", ""]);
    }
}
