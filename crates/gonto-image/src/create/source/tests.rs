//! Real folders, walked.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

mod content;
mod hard_links;

#[cfg(target_os = "linux")]
mod deep;
#[cfg(target_os = "linux")]
mod dos;
#[cfg(target_os = "linux")]
mod links;
#[cfg(target_os = "linux")]
mod names;

/// A folder to be walked.
struct Source(TempDir);

impl Source {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn folder(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    /// Makes a file whose content is its path, and the folders that it lies in.
    fn file(&self, path: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), path).unwrap();
    }

    #[cfg(target_os = "linux")]
    fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.path(path)).unwrap();
    }

    fn open(&self) -> Folder {
        Folder::open(self.0.path()).unwrap()
    }

    fn walk(&self, wanted: &Wanted<'_>) -> Result<Tree, CreateError> {
        walk(&self.open(), wanted)
    }

    fn tree(&self) -> Tree {
        self.walk(&ANYTHING).unwrap()
    }

    /// What is refused, and why.
    #[cfg(target_os = "linux")]
    fn offenders(&self, wanted: &Wanted<'_>) -> Vec<(PathBuf, Problem)> {
        match self.walk(wanted) {
            Err(CreateError::Offenders(all)) => {
                all.into_iter().map(|offender| (offender.path, offender.problem)).collect()
            }
            Err(error) => panic!("{error}"),
            Ok(_) => Vec::new(),
        }
    }
}

const ANYTHING: Wanted<'static> = Wanted {
    excluded: &|_, _| false,
    newest: None,
    portable: false,
    keep_links: false,
    owners: false,
    watch: &|_| ControlFlow::Continue(()),
};

/// The path on the volume.
fn path_on_volume(tree: &Tree, mut position: usize) -> String {
    let mut path = Vec::new();
    while position != 0 {
        path.push(String::from_utf16_lossy(tree.name(position)));
        position = tree.inodes[tree.names[position].folder as usize].name as usize;
    }
    path.reverse();
    path.join("/")
}

fn paths_on_volume(tree: &Tree) -> Vec<String> {
    (1..tree.names.len()).map(|position| path_on_volume(tree, position)).collect()
}

/// The position of a name by its path on the volume.
#[track_caller]
fn find(tree: &Tree, path: &str) -> usize {
    (0..tree.names.len()).find(|position| path_on_volume(tree, *position) == path).unwrap()
}

#[track_caller]
fn inode<'t>(tree: &'t Tree, path: &str) -> &'t Inode {
    &tree.inodes[tree.names[find(tree, path)].inode as usize]
}

#[test]
fn an_empty_folder_is_its_root() {
    let tree = Source::new().tree();
    assert_eq!((tree.names.len(), tree.inodes.len()), (1, 1));
    assert_eq!(tree.inodes[0].kind, Kind::Folder { first: 1, count: 0 });
    assert_eq!(tree.path(0), Path::new(""));
    assert!(tree.name(0).is_empty());
}

#[test]
fn entries_of_a_folder_stay_together_in_the_order_of_ntfs() {
    let source = Source::new();
    for path in ["b/z", "b/c/d/e", "b/c/a", "B2/x", "_", "a", "C", "b/d/f"] {
        source.file(path);
    }
    let tree = source.tree();
    let paths = ["a", "b", "B2", "C", "_", "b/c", "b/d", "b/z", "b/c/a", "b/c/d", "b/c/d/e", "b/d/f", "B2/x"];
    assert_eq!(paths_on_volume(&tree), paths);
    assert_eq!(inode(&tree, "b").kind, Kind::Folder { first: 6, count: 3 });
    assert_eq!(inode(&tree, "b/c/d").kind, Kind::Folder { first: 11, count: 1 });
    assert_eq!(inode(&tree, "b/c/d/e").kind, Kind::File { size: 7 });
}

#[test]
fn what_is_no_folder_is_named() {
    let source = Source::new();
    source.file("file");
    let error = |path: &str| Folder::open(&source.path(path)).err().map(|error| error.to_string());
    let text = |path: &str| source.path(path).display().to_string();
    assert_eq!(error("none"), Some(format!("there is no folder {}", text("none"))));
    assert_eq!(error("file"), Some(format!("{} is not a folder", text("file"))));
}

#[test]
fn an_excluded_folder_is_not_entered() {
    let source = Source::new();
    for path in ["keep/a.o", "keep/a.c", "drop/below/x", "drop.c"] {
        source.file(path);
    }
    let excluded = |path: &Path, is_folder: bool| {
        assert!(!path.starts_with("drop/below"), "inside of what is excluded");
        (path == Path::new("drop") && is_folder) || path.extension().is_some_and(|end| end == "o")
    };
    let tree = source.walk(&Wanted { excluded: &excluded, ..ANYTHING }).unwrap();
    assert_eq!(paths_on_volume(&tree), ["drop.c", "keep", "keep/a.c"]);
}

#[test]
fn times_are_those_of_ntfs_and_not_later_than_wanted() {
    let source = Source::new();
    for (path, seconds) in [("old", 1_000_000_000), ("new", 1_500_000_000)] {
        source.file(path);
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_700);
        File::options().write(true).open(source.path(path)).unwrap().set_modified(time).unwrap();
    }
    let tree = source.tree();
    assert_eq!(inode(&tree, "old").modified, 126_444_736_001_234_567);
    assert_eq!(inode(&tree, "new").modified, 131_444_736_001_234_567);
    let newest = Some(131_000_000_000_000_000);
    let tree = source.walk(&Wanted { newest, ..ANYTHING }).unwrap();
    assert_eq!(inode(&tree, "old").modified, 126_444_736_001_234_567);
    assert_eq!(Some(inode(&tree, "new").modified), newest);
    assert_eq!(Some(tree.inodes[0].modified), newest);
}

#[test]
fn the_watcher_hears_how_many_names_there_are_and_ends_the_walk() {
    let source = Source::new();
    for number in 0..50 {
        source.file(&format!("{}/{number}", number % 5));
    }
    let heard = AtomicU64::new(0);
    let watch = |names| {
        heard.fetch_max(names, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    source.walk(&Wanted { watch: &watch, ..ANYTHING }).unwrap();
    assert_eq!(heard.into_inner(), 56);
    for end in [0, 5, 56] {
        let watch = |names| if names >= end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let ended = source.walk(&Wanted { watch: &watch, ..ANYTHING });
        assert!(matches!(ended, Err(CreateError::Interrupted)));
    }
}

#[test]
fn an_output_inside_the_folder_is_noticed() {
    let source = Source::new();
    source.folder("in/below");
    source.folder("inside");
    let contains = |folder, output| contains(&source.path(folder), &source.path(output)).unwrap();
    assert!(contains("in", "in"));
    assert!(contains("in", "in/below"));
    assert!(contains("in", "inside/../in/below"));
    assert!(!contains("in", "inside"));
    assert!(!contains("in", ""));
    assert!(super::contains(&source.path("in"), &source.path("none")).is_err());
}

/// Folders in memory list the latest name first; other file systems hide the order in which names were made.
fn listed_as_made() -> Source {
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    Source(memory.unwrap_or_else(|| tempfile::tempdir().unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(30) })]

    #[test]
    fn the_order_in_which_names_are_made_does_not_matter(
        paths in prop::collection::btree_set("[a-c](/[a-f~ _%]{1,3}[a-z0-9]){1,3}", 1..40),
        portable: bool,
        seed: u64,
    ) {
        let mut shuffled: Vec<&String> = paths.iter().collect();
        shuffled.sort_by_key(|path| crate::crc::crc32(format!("{seed}{path}").as_bytes()));
        let walked = |paths: &mut dyn Iterator<Item = &String>| {
            let source = listed_as_made();
            for path in paths {
                // Some are files already where others want a folder, or the other way round.
                let folder = source.path(path).parent().map(PathBuf::from).unwrap();
                let _ = fs::create_dir_all(folder).and_then(|()| fs::write(source.path(path), path));
            }
            source.walk(&Wanted { portable, ..ANYTHING }).unwrap()
        };
        let mut ordered = paths.iter().filter(|path| !paths.iter().any(|other| other.starts_with(&format!("{path}/"))));
        let is_leaf = |path: &&String| !paths.iter().any(|other| other.starts_with(&format!("{path}/")));
        let (a, b) = (walked(&mut ordered), walked(&mut shuffled.into_iter().filter(is_leaf)));
        let facts = |tree: &Tree| -> Vec<_> {
            tree.names.iter().map(|name| (name.folder, name.inode, tree.inodes[name.inode as usize].kind)).collect()
        };
        prop_assert_eq!(paths_on_volume(&a), paths_on_volume(&b));
        prop_assert_eq!(facts(&a), facts(&b));
    }
}
