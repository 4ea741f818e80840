//! A folder becomes again what the image says: what is missing or different is written, what is not of the image is removed.
//!
//! Whoever was there before may have been killed in the middle of unpacking, or have built something in it. A file that has the
//! size and the time of modification of the image's is taken for it, as build tools do.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use gonto_image::{FileTree, Kind, NodeId};

use super::{Plan, Planned, Unpacking, about, mode};

/// How exactly file systems keep times, in nanoseconds: NTFS, exFAT, FAT.
const PRECISIONS: [u128; 3] = [100, 10_000_000, 2_000_000_000];

/// Makes the folder `into` the content of `tree`, and makes it when it is missing.
///
/// # Errors
/// What the file system says, with the path; [`io::ErrorKind::Interrupted`].
pub(crate) fn restore(tree: &FileTree, into: &Path, how: &Unpacking<'_>) -> io::Result<()> {
    fs::create_dir_all(into).map_err(|error| about(into, error))?;
    let mut plan = Plan::new(tree);
    plan.add_inside(Path::new(""), tree.root());
    let right = Comparing { tree, plan: &plan, into, how }.what_is_right()?;
    let folders = plan.folders.clone();
    plan.retain(|planned| !right.contains(&planned.path));
    plan.write(into, how)?;
    let root = Planned { path: PathBuf::new(), node: tree.root() };
    for Planned { path, node } in folders.iter().rev().chain([&root]) {
        let path = into.join(path);
        // A folder that could not be made was told.
        if fs::symlink_metadata(&path).is_ok_and(|found| !has_time_of(tree, *node, &found)) {
            plan.finish_folder(&path, *node, how.read_only)?;
        }
    }
    Ok(())
}

/// What lies in a folder, beside what should.
struct Comparing<'a> {
    tree: &'a FileTree,
    plan: &'a Plan<'a>,
    into: &'a Path,
    how: &'a Unpacking<'a>,
}

impl Comparing<'_> {
    /// The paths that are as they should be. Whatever else was in the folder has been removed.
    fn what_is_right(&self) -> io::Result<HashSet<PathBuf>> {
        let wanted: HashMap<&Path, NodeId> = (self.plan.folders.iter())
            .chain(self.plan.others())
            .map(|planned| (&*planned.path, planned.node))
            .collect();
        let mut right = HashSet::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            self.how.interrupt.check()?;
            let whole = self.into.join(&folder);
            for entry in fs::read_dir(&whole).map_err(|error| about(&whole, error))? {
                let entry = entry.map_err(|error| about(&whole, error))?;
                let found = entry.metadata().map_err(|error| about(&entry.path(), error))?;
                let path = folder.join(entry.file_name());
                match wanted.get(&*path) {
                    Some(node) if self.is_right(*node, &found) => {
                        if found.is_dir() {
                            folders.push(path.clone());
                        }
                        right.insert(path);
                    }
                    _ => remove(&entry, &found)?,
                }
            }
        }
        self.drop_half_links(&mut right)?;
        Ok(right)
    }

    fn is_right(&self, id: NodeId, found: &Metadata) -> bool {
        let node = self.tree.node(id);
        match node.kind {
            Kind::Directory => found.is_dir(),
            Kind::File => {
                found.is_file()
                    && found.len() == node.size
                    && found.permissions().readonly() == (mode(node, self.how.read_only) & 0o222 == 0)
                    && has_time_of(self.tree, id, found)
            }
            // There are few, and where they lead says more than their time.
            Kind::Symlink => false,
        }
    }

    /// A file with several names is written under all of them, or under none: they are to stay one file.
    fn drop_half_links(&self, right: &mut HashSet<PathBuf>) -> io::Result<()> {
        let names = || self.plan.others().filter(|planned| self.plan.first_names.contains_key(&planned.node));
        let broken: HashSet<NodeId> =
            names().filter(|planned| !right.contains(&planned.path)).map(|planned| planned.node).collect();
        for Planned { path, .. } in names().filter(|planned| broken.contains(&planned.node)) {
            if right.remove(path) {
                remove_file(&self.into.join(path))?;
            }
        }
        Ok(())
    }
}

fn has_time_of(tree: &FileTree, id: NodeId, found: &Metadata) -> bool {
    let wanted = tree.node(id).modified.to_system_time();
    found.modified().is_ok_and(|found| is_kept_as(wanted, found))
}

/// Whether some file system keeps the time `wanted` as `found`: as a multiple of its precision, which is not far.
fn is_kept_as(wanted: SystemTime, found: SystemTime) -> bool {
    let apart = found.duration_since(wanted).unwrap_or_else(|earlier| earlier.duration()).as_nanos();
    let since = found.duration_since(UNIX_EPOCH).unwrap_or_else(|earlier| earlier.duration()).as_nanos();
    PRECISIONS.iter().any(|precision| apart < *precision && since.is_multiple_of(*precision))
}

/// Links are removed, and not what they lead to.
fn remove(entry: &DirEntry, found: &Metadata) -> io::Result<()> {
    let path = entry.path();
    if !found.is_dir() || found.is_symlink() {
        return remove_file(&path);
    }
    for inner in fs::read_dir(&path).map_err(|error| about(&path, error))? {
        let inner = inner.map_err(|error| about(&path, error))?;
        let found = inner.metadata().map_err(|error| about(&inner.path(), error))?;
        remove(&inner, &found)?;
    }
    fs::remove_dir(&path).map_err(|error| about(&path, error))
}

fn remove_file(path: &Path) -> io::Result<()> {
    let removed = fs::remove_file(path).or_else(|error| {
        // On Windows, a link to a folder is removed as one, and nothing is removed that is write-protected.
        if fs::remove_dir(path).is_ok() {
            return Ok(());
        }
        let mut permissions = fs::symlink_metadata(path)?.permissions();
        if !permissions.readonly() {
            return Err(error);
        }
        #[expect(clippy::permissions_set_readonly_false, reason = "it is about to go")]
        permissions.set_readonly(false);
        fs::set_permissions(path, permissions)?;
        fs::remove_file(path)
    });
    removed.map_err(|error| about(path, error))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use gonto_image::{ImageFile, NewContainer, NewImage};

    use super::*;
    use crate::Interrupt;

    /// An image of a folder with files in it, and a folder to which it is restored.
    struct Bench {
        scratch: tempfile::TempDir,
        tree: FileTree,
    }

    impl Bench {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let content = scratch.path().join("content");
            for (path, text) in [
                ("a.txt", "first"),
                ("bin/tool.exe", "MZ tool"),
                ("bin/deep/er/b.txt", "b"),
                ("empty/.keep", ""),
            ] {
                let path = content.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            for path in ["a.txt", "bin/tool.exe", "bin/deep/er/b.txt", "empty/.keep"] {
                fs::File::options().write(true).open(content.join(path)).unwrap().set_modified(old).unwrap();
            }
            let output = tempfile::tempfile_in(scratch.path()).unwrap();
            let wanted = NewImage::new(NewContainer::DynamicVhd, "restore");
            gonto_image::create(&content, output.try_clone().unwrap(), &wanted, &|_| {
                ControlFlow::Continue(())
            })
            .unwrap();
            let tree = FileTree::open(Arc::new(ImageFile::new(output).unwrap())).unwrap();
            Self { scratch, tree }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.scratch.path().join("copy").join(path)
        }

        fn restore(&self) -> Vec<String> {
            self.restore_as(false)
        }

        /// Returns what was left out.
        fn restore_as(&self, read_only: bool) -> Vec<String> {
            let told = Mutex::new(Vec::new());
            let interrupt = Interrupt::new().unwrap();
            let how = Unpacking {
                read_only,
                despite_damage: false,
                interrupt: &interrupt,
                left_out: &|left_out| told.lock().unwrap().push(left_out.path.display().to_string()),
                written: &|_| (),
                durable: true,
            };
            restore(&self.tree, &self.path(""), &how).unwrap();
            told.into_inner().unwrap()
        }

        /// Every path with its text.
        fn content(&self) -> Vec<(String, String)> {
            let mut found = Vec::new();
            let mut folders = vec![self.path("")];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(&folder).unwrap() {
                    let path = entry.unwrap().path();
                    let name = path.strip_prefix(self.path("")).unwrap().to_str().unwrap().replace('\\', "/");
                    if path.is_dir() {
                        found.push((name, String::new()));
                        folders.push(path);
                    } else {
                        found.push((name, fs::read_to_string(path).unwrap()));
                    }
                }
            }
            found.sort();
            found
        }
    }

    fn whole() -> Vec<(String, String)> {
        let whole = [
            ("a.txt", "first"),
            ("bin", ""),
            ("bin/deep", ""),
            ("bin/deep/er", ""),
            ("bin/deep/er/b.txt", "b"),
            ("bin/tool.exe", "MZ tool"),
            ("empty", ""),
            ("empty/.keep", ""),
        ];
        whole.map(|(path, text)| (path.to_owned(), text.to_owned())).to_vec()
    }

    #[test]
    fn whatever_was_done_to_it_a_folder_becomes_the_image_again() {
        let bench = Bench::new();
        assert!(bench.restore().is_empty());
        assert_eq!(bench.content(), whole());
        // Changed with and without another size, removed, renamed, new; a folder in the place of a file and the other way round.
        fs::write(bench.path("a.txt"), "FIRST").unwrap();
        fs::write(bench.path("bin/tool.exe"), "a longer text").unwrap();
        fs::remove_dir_all(bench.path("bin/deep/er")).unwrap();
        fs::rename(bench.path("empty/.keep"), bench.path("empty/kept")).unwrap();
        fs::create_dir_all(bench.path("new/folder")).unwrap();
        fs::write(bench.path("new/folder/file"), "new").unwrap();
        assert!(bench.restore().is_empty());
        assert_eq!(bench.content(), whole());
        fs::remove_file(bench.path("a.txt")).unwrap();
        fs::create_dir(bench.path("a.txt")).unwrap();
        fs::write(bench.path("a.txt/inside"), "x").unwrap();
        fs::remove_dir_all(bench.path("bin")).unwrap();
        fs::write(bench.path("bin"), "a file").unwrap();
        assert!(bench.restore().is_empty());
        assert_eq!(bench.content(), whole());
    }

    #[test]
    fn what_is_right_is_not_written_again() {
        let bench = Bench::new();
        bench.restore();
        // Same size, same time: this is what tells one that was left alone.
        let path = bench.path("a.txt");
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "FIRST").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        bench.restore();
        assert_eq!(fs::read_to_string(&path).unwrap(), "FIRST");
    }

    #[test]
    fn times_are_compared_as_exactly_as_the_file_system_keeps_them() {
        let at = |nanos| UNIX_EPOCH + Duration::from_nanos(nanos);
        let wanted = at(1_000_000_001_234_567_800);
        for kept in [1_000_000_001_234_567_800, 1_000_000_001_230_000_000, 1_000_000_002_000_000_000] {
            assert!(is_kept_as(wanted, at(kept)), "{kept}");
        }
        // Later by 100 ns; a whole second that FAT does not have; the next time that FAT has.
        for other in [1_000_000_001_234_567_900, 1_000_000_003_000_000_000, 1_000_000_004_000_000_000] {
            assert!(!is_kept_as(wanted, at(other)), "{other}");
        }
    }

    #[test]
    fn half_an_unpacking_is_completed() {
        let bench = Bench::new();
        bench.restore();
        // A file that was being written has its size, and not yet its time and content.
        fs::write(bench.path("bin/tool.exe"), [0; 7]).unwrap();
        fs::remove_dir_all(bench.path("empty")).unwrap();
        bench.restore();
        assert_eq!(bench.content(), whole());
    }

    #[test]
    fn a_copy_to_read_becomes_one_to_write_and_back() {
        let bench = Bench::new();
        for read_only in [true, false, true] {
            bench.restore_as(read_only);
            assert_eq!(bench.content(), whole());
            let is_read_only = fs::metadata(bench.path("bin/tool.exe")).unwrap().permissions().readonly();
            assert_eq!(is_read_only, read_only);
            open_up(&bench.path(""));
        }
    }

    /// Lets the next one, and the end of the test, remove what is in folders without write permission.
    fn open_up(folder: &Path) {
        let mut permissions = fs::metadata(folder).unwrap().permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "a folder of the test")]
        permissions.set_readonly(false);
        fs::set_permissions(folder, permissions).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open_up(&path);
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_removed_and_not_followed() {
        let bench = Bench::new();
        bench.restore();
        let outside = bench.scratch.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "precious").unwrap();
        std::os::unix::fs::symlink(&outside, bench.path("new")).unwrap();
        fs::remove_dir_all(bench.path("empty")).unwrap();
        std::os::unix::fs::symlink(&outside, bench.path("empty")).unwrap();
        bench.restore();
        assert_eq!(bench.content(), whole());
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "precious");
    }

    #[test]
    fn the_names_of_a_file_stay_one_file() {
        let scratch = tempfile::tempdir().unwrap();
        let content = scratch.path().join("content");
        fs::create_dir(&content).unwrap();
        fs::write(content.join("one"), "same").unwrap();
        if fs::hard_link(content.join("one"), content.join("two")).is_err() {
            println!("skipped: no hard links here");
            return;
        }
        let output = tempfile::tempfile_in(scratch.path()).unwrap();
        let wanted = NewImage::new(NewContainer::DynamicVhd, "links");
        gonto_image::create(&content, output.try_clone().unwrap(), &wanted, &|_| ControlFlow::Continue(()))
            .unwrap();
        let tree = FileTree::open(Arc::new(ImageFile::new(output).unwrap())).unwrap();
        let bench = Bench { scratch, tree };
        bench.restore();
        fs::remove_file(bench.path("two")).unwrap();
        bench.restore();
        fs::write(bench.path("one"), "both").unwrap();
        assert_eq!(fs::read_to_string(bench.path("two")).unwrap(), "both");
        bench.restore();
        let same = |text: &str| (text.to_owned(), "same".to_owned());
        assert_eq!(bench.content(), [same("one"), same("two")]);
    }
}
