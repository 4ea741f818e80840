//! A folder with everything that belongs to one test.

use std::fs;
use std::path::{Path, PathBuf};
#[cfg(windows)]
use std::thread;
#[cfg(windows)]
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Gonto;
use super::program::Signals;

#[cfg(target_os = "linux")]
use super::Caller;

/// How long Windows may take to end what was killed.
#[cfg(windows)]
const END: Duration = Duration::from_secs(20);

/// ```text
/// <root>/
///   project/gonto.yaml    the current folder of the program
///   home/                 HOME, on Windows USERPROFILE
///   state/                GONTO_STATE_DIR
///   cache/                cache_dir
///   repository/           repository
/// ```
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    #[cfg(target_os = "linux")]
    pub(crate) caller: Caller,
    /// What is run.
    pub(crate) program: PathBuf,
    /// Removes the folder at last.
    _folder: TempDir,
}

impl Project {
    /// A project of the user who runs the tests, with these targets in `gonto.yaml`.
    pub(crate) fn new(targets: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("gonto-test-").tempdir().unwrap();
        let project = Self {
            root: without_links(folder.path()),
            #[cfg(target_os = "linux")]
            caller: Caller::Current,
            program: env!("CARGO_BIN_EXE_gonto").into(),
            _folder: folder,
        };
        for folder in ["project", "home", "repository"] {
            fs::create_dir(project.path(folder)).unwrap();
        }
        project.configure(targets);
        project
    }

    /// Replaces the targets in `gonto.yaml`. `ROOT` stands for the root folder of the project.
    pub(crate) fn configure(&self, targets: &str) {
        self.configure_with("../repository", targets);
    }

    /// The same, with another repository.
    pub(crate) fn configure_with(&self, repository: &str, targets: &str) {
        let targets = targets.trim_end().replace('\n', "\n  ").replace("ROOT", &self.root.to_string_lossy());
        let mut settings = format!("gonto:\n  cache_dir: ../cache\n  repository: '{repository}'\n");
        if let Some(backend) = self.backend() {
            settings += &format!("  backend: {backend}\n");
        }
        self.write("project/gonto.yaml", format!("{settings}targets:\n  {targets}\n"));
    }

    /// What the caller has chosen.
    fn backend(&self) -> Option<&'static str> {
        #[cfg(target_os = "linux")]
        return self.caller.chosen();
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// A path in the folder, written with slashes; it has the separators of the system.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.split('/').collect::<PathBuf>())
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn gonto<'a>(&'a self, arguments: &[&str]) -> Gonto<'a> {
        Gonto::new(self, Signals::Default, arguments)
    }
}

#[cfg(any(target_os = "linux", windows))]
impl Project {
    /// Puts an image into the repository.
    pub(crate) fn publish(&self, name: &str, version: &str, image: &[u8]) {
        self.write(&format!("repository/{name}/{name}_v{version}_multi.vhd"), image);
        self.give_away();
    }

    /// Where an image lies in the cache.
    pub(crate) fn cached(&self, name: &str, version: &str) -> PathBuf {
        self.path(&format!("cache/{name}/{name}_v{version}_multi.vhd"))
    }

    /// A run or `umount` gives back everything: nothing is mounted or recorded, no layer and no partial file is left.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.names("state/register"), ["lock"], "in the register");
        for folder in ["cache/.gonto/layers", "cache/.gonto/partial", "state/mnt", "state/lower"] {
            assert_eq!(self.names(folder), [""; 0], "in {folder}");
        }
        self.assert_nothing_runs();
    }

    /// What is in a folder, which may be missing.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[cfg(target_os = "linux")]
impl Project {
    /// A project of `caller`, to whom all of its files belong. The repository has the example's image as `tool` 1.0.
    pub(crate) fn of(caller: Caller, targets: &str) -> Self {
        let mut project = Self::new(targets);
        project.caller = caller;
        project.configure(targets);
        project.publish("tool", "1.0", &pebble());
        project
    }

    /// Where an image without a mount point appears, as scripts see it.
    pub(crate) fn automatic(&self, name: &str, version: &str) -> String {
        format!("{}/state/mnt/{name}_v{version}_multi/", self.root.display())
    }

    /// Makes everything in here the caller's.
    pub(crate) fn give_away(&self) {
        if let Some(user) = self.caller.other_user() {
            give(&self.root, user);
        }
    }

    /// The program as nohup and shells start it in the background.
    pub(crate) fn gonto_without_terminal<'a>(&'a self, arguments: &[&str]) -> Gonto<'a> {
        Gonto::new(self, Signals::IgnoreTerminal, arguments)
    }

    /// The processes of the project whose arguments begin with this program.
    pub(crate) fn processes(&self, program: &str) -> Vec<rustix::process::Pid> {
        let found = super::leftovers::processes(&self.root).into_iter();
        let is = |arguments: &str| {
            arguments.split(' ').next().is_some_and(|first| first.rsplit('/').next() == Some(program))
        };
        found.filter(|(_, arguments)| is(arguments)).map(|(pid, _)| pid).collect()
    }

    /// No process of the project is there any more, and no mount. It waits for the kernel to end what was killed.
    #[track_caller]
    pub(crate) fn assert_nothing_runs(&self) {
        super::leftovers::assert_none(&self.root);
    }
}

#[cfg(windows)]
impl Project {
    /// A project with these targets. The repository has the example's image as `tool` 1.0.
    pub(crate) fn with_tool(targets: &str) -> Self {
        let project = Self::new(targets);
        project.publish("tool", "1.0", &pebble());
        project
    }

    /// A program that lies somewhere else than the one that is tested, and is the same otherwise.
    pub(crate) fn gonto_at<'a>(&'a self, program: &Path, arguments: &[&str]) -> Gonto<'a> {
        Gonto::of(program, self, Signals::Default, arguments)
    }

    /// The folders into which an image was unpacked, the first one first.
    pub(crate) fn copies(&self, name: &str) -> Vec<PathBuf> {
        let trees = self.names("cache/.gonto/trees");
        let tree = trees.iter().find(|tree| tree.starts_with(&format!("{name}_v")));
        let tree = format!("cache/.gonto/trees/{}", tree.map_or("", |tree| tree));
        let copies = self.names(&tree).into_iter().filter(|copy| !copy.contains('.'));
        copies.map(|copy| self.path(&tree).join(copy)).collect()
    }

    /// Everybody's files are the caller's.
    fn give_away(&self) {}

    /// No process has its folder in the project any more, where it would be in the way of a new name. What was killed ends a
    /// moment later.
    #[track_caller]
    fn assert_nothing_runs(&self) {
        let (folder, other) = (self.path("project"), self.path("renamed"));
        let deadline = Instant::now() + END;
        while let Err(error) = fs::rename(&folder, &other) {
            assert!(Instant::now() < deadline, "a process is left in {}: {error}", folder.display());
            thread::sleep(Duration::from_millis(2));
        }
        fs::rename(&other, &folder).unwrap();
    }
}

#[cfg(target_os = "linux")]
impl Drop for Project {
    fn drop(&mut self) {
        let left = super::leftovers::take_away(&self.root);
        open_up(&self.root);
        assert!(left.is_empty() || std::thread::panicking(), "the test leaves behind:\n{}", left.join("\n"));
    }
}

#[cfg(windows)]
impl Drop for Project {
    fn drop(&mut self) {
        open_up(&self.root);
    }
}

/// Lets everybody remove files without write permission, such as unpacked images.
#[cfg(windows)]
#[expect(clippy::permissions_set_readonly_false, reason = "it gives nobody else a right here")]
fn open_up(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let mut permissions = metadata.permissions();
        if permissions.readonly() {
            permissions.set_readonly(false);
            let _ = fs::set_permissions(entry.path(), permissions);
        }
        if metadata.is_dir() {
            open_up(&entry.path());
        }
    }
}

/// Lets the owner remove what lies in folders without write permission, such as unpacked images.
#[cfg(target_os = "linux")]
fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// The folder of the example, which has a real image.
#[cfg(target_os = "linux")]
pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pebble").canonicalize().unwrap()
}

#[cfg(any(target_os = "linux", windows))]
fn pebble() -> Vec<u8> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pebble");
    fs::read(example.join("repository/pebble/pebble_v1.0_multi.vhd")).unwrap()
}

#[cfg(not(windows))]
fn without_links(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap()
}

/// As everybody writes it: cmd does not understand the other way.
#[cfg(windows)]
fn without_links(folder: &Path) -> PathBuf {
    let folder = folder.canonicalize().unwrap();
    folder.to_str().and_then(|folder| folder.strip_prefix(r"\\?\")).unwrap().into()
}

#[cfg(target_os = "linux")]
fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}
