//! What is left out of an image.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::Error;

/// Compiled patterns.
pub(super) struct Excluded {
    anything: GlobSet,
    folders: GlobSet,
}

impl Excluded {
    pub(super) fn new(patterns: &[String]) -> Result<Self, Error> {
        let (mut anything, mut folders) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            // It would match everything.
            if pattern.trim_start_matches("./").trim_matches('/').is_empty() {
                return Err(Error::EmptyPattern { pattern: pattern.clone() });
            }
            let failed = |source| Error::Pattern { pattern: pattern.clone(), source };
            let (set, path) = match pattern.strip_suffix('/') {
                Some(path) => (&mut folders, path),
                None => (&mut anything, pattern.as_str()),
            };
            set.add(glob(path).map_err(failed)?);
        }
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|source| Error::Pattern { pattern: patterns.join(" "), source })
        };
        Ok(Self { anything: build(anything)?, folders: build(folders)? })
    }

    /// Whether a path in the folder is left out.
    pub(super) fn matches(&self, path: &Path, is_folder: bool) -> bool {
        self.anything.is_match(path) || (is_folder && self.folders.is_match(path))
    }
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    let pattern = match pattern.strip_prefix("./").unwrap_or(pattern) {
        path if path.contains('/') => path.trim_start_matches('/').to_owned(),
        name => format!("**/{name}"),
    };
    GlobBuilder::new(&pattern).literal_separator(true).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(pattern: &str, path: &str, is_folder: bool) -> bool {
        Excluded::new(&[pattern.to_owned()]).unwrap().matches(Path::new(path), is_folder)
    }

    #[test]
    fn names_are_meant_everywhere_and_paths_from_the_folder_on() {
        for (pattern, path, expected) in [
            ("*.o", "main.o", true),
            ("*.o", "src/deep/main.o", true),
            ("*.o", "main.o/x", false),
            ("src/*.o", "src/main.o", true),
            ("src/*.o", "src/deep/main.o", false),
            ("src/*.o", "x/src/main.o", false),
            ("src/**/*.o", "src/deep/er/main.o", true),
            ("/doc", "doc", true),
            ("/doc", "share/doc", false),
            ("./doc/x", "doc/x", true),
            ("doc", "share/doc", true),
            ("[ab].txt", "b.txt", true),
            ("{one,two}", "x/two", true),
        ] {
            assert_eq!(excluded(pattern, path, false), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_slash_at_the_end_means_folders() {
        assert!(excluded("doc/", "share/doc", true));
        assert!(!excluded("doc/", "share/doc", false));
        assert!(excluded("share/doc/", "share/doc", true));
    }

    #[test]
    fn patterns_that_mean_nothing_are_told() {
        let error = Excluded::new(&["[".to_owned()]).err().unwrap();
        assert!(error.to_string().contains("\"[\""), "{error}");
        for empty in ["", "/", "./", "//"] {
            assert!(
                matches!(Excluded::new(&[empty.to_owned()]), Err(Error::EmptyPattern { .. })),
                "{empty:?}"
            );
        }
    }
}
