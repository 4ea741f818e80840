//! Paths of Windows by which a child leads to its parent.

use super::ChildError;

/// The longest path of Windows in UTF-16 units: 32767 with the zero that ends it.
pub const LONGEST_PARENT_PATH: usize = 32_766;

/// Where a parent is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParentPaths<'a> {
    /// From a drive, a server or a volume on.
    pub absolute: ParentPath<'a>,
    /// From the folder of the child on. Windows tries it first, so that parent and child can be moved together.
    pub relative: Option<ParentPath<'a>>,
}

/// A path as Windows writes it, which names a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParentPath<'a>(&'a str);

impl<'a> ParentPath<'a> {
    /// `C:\folder\parent.vhd`, `\\server\share\parent.vhd`, or one of these as `\\?\…`, also by the GUID of a volume. It is written as
    /// it is given: Windows writes paths without `\\?\` in front, \[MS-VHDX\] wants it, and beyond 259 characters it is needed.
    ///
    /// # Errors
    /// [`ChildError::Path`] for another kind of path; [`ChildError::LongPath`].
    pub fn absolute(path: &'a str) -> Result<Self, ChildError> {
        let has_drive = matches!(path.as_bytes(), [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic());
        let has_server = path.starts_with(r"\\");
        Self::checked(path, has_drive || has_server, "it has no drive and no server")
    }

    /// `.\parent.vhd`, `..\folder\parent.vhd` or `folder\parent.vhd`, from the folder of the child on.
    ///
    /// # Errors
    /// As [`absolute`](Self::absolute).
    pub fn relative(path: &'a str) -> Result<Self, ChildError> {
        let stays = !path.starts_with('\\') && !path.contains(':');
        Self::checked(path, stays, "it is not relative")
    }

    fn checked(path: &'a str, is_right: bool, problem: &'static str) -> Result<Self, ChildError> {
        let name = path.rsplit('\\').next().unwrap_or_default();
        let problem = match () {
            // Windows does not turn slashes around behind \\?\, and no reader has to.
            () if path.contains(|unit: char| unit.is_control() || unit == '/') => {
                "it holds a slash or a control character"
            }
            () if !is_right => problem,
            () if matches!(name, "" | "." | "..") => "it names no file",
            () => return Self::short(path),
        };
        Err(ChildError::Path { path: path.to_owned(), problem })
    }

    fn short(path: &'a str) -> Result<Self, ChildError> {
        let length = path.encode_utf16().count();
        if length <= LONGEST_PARENT_PATH {
            return Ok(Self(path));
        }
        Err(ChildError::LongPath { start: path.chars().take(60).collect(), length })
    }

    /// The path.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it names the volume by its GUID, `\\?\Volume{…}\…`.
    pub(crate) fn is_of_volume(self) -> bool {
        const START: &[u8] = br"\\?\Volume{";
        self.0.as_bytes().get(..START.len()).is_some_and(|start| start.eq_ignore_ascii_case(START))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: Result<ParentPath<'_>, ChildError>) -> Option<String> {
        path.err().map(|error| error.to_string())
    }

    #[test]
    fn absolute_paths_begin_with_a_drive_or_a_server() {
        for path in [
            r"C:\parent.vhd",
            r"\\server\share\parent.vhd",
            r"\\?\C:\Größe\親.vhdx",
            r"\\?\Volume{9cdf8dfa-0000-0000-0000-501f00000000}\a.vhd",
        ] {
            let checked = ParentPath::absolute(path).unwrap();
            assert_eq!((checked.as_str(), checked.is_of_volume()), (path, path.contains("Volume")));
        }
        for (path, expected) in [
            (r"parent.vhd", "no drive"),
            (r"\parent.vhd", "no drive"),
            (r"C:parent.vhd", "no drive"),
            ("C:/parent.vhd", "slash"),
            ("C:\\a\0.vhd", "control character"),
            (r"C:\folder\", "names no file"),
            ("", "no drive"),
        ] {
            let told = problem(ParentPath::absolute(path)).unwrap();
            assert!(told.contains(expected), "{path}: {told}");
        }
    }

    #[test]
    fn relative_paths_begin_where_the_child_is() {
        for path in [r".\parent.vhd", r"..\..\a\parent.vhd", "parent.vhd"] {
            assert_eq!(ParentPath::relative(path).unwrap().as_str(), path);
        }
        for (path, expected) in [
            (r"\parent.vhd", "not relative"),
            (r"C:\parent.vhd", "not relative"),
            (r"..\..", "names no file"),
            ("", "names no file"),
            ("../parent.vhd", "slash"),
        ] {
            let told = problem(ParentPath::relative(path)).unwrap();
            assert!(told.contains(expected), "{path}: {told}");
        }
    }

    /// Characters outside the basic plane have two units.
    #[test]
    fn a_path_is_as_long_as_its_units() {
        let path =
            |units: usize| format!(r"C:\{}", "😀".repeat((units - 3) / 2) + &"x".repeat((units - 3) % 2));
        assert!(ParentPath::absolute(&path(LONGEST_PARENT_PATH)).is_ok());
        let told = problem(ParentPath::absolute(&path(LONGEST_PARENT_PATH + 1))).unwrap();
        assert!(told.contains("has 32767 characters (UTF-16 units), more than the 32766"), "{told}");
        assert!(told.len() < 1000, "the path is not told as a whole");
    }
}
