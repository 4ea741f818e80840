//! Tries everything: each road with an image of its own, in folders of its own, and what the roads are made of.
//!
//! ```text
//! <cache_dir>/.gonto/doctor-XXXXXX/    locked while its diagnosis goes on; the next one removes those that are not
//!   content/                           what is in the image
//!   trial.vhd                          the image
//!   state/, cache/                     as every gonto has them
//!   lower/, layer/                     for a trial of overlayfs
//! ```

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::mount::MountFlags;

use super::fuse::ImageFs;
use super::namespace::{Namespace, NamespaceKind};
use super::opened::OpenImage;
use super::overlay::{self, Upper};
use super::{HARMLESS, erofs, folders, fusermount, unpacked};
use crate::diagnosis::{
    Diagnosis, Ingredient, Outcome, PROOF, RoadCheck, read_proof, trial_image, unreadable,
};
use crate::error::chain;
use crate::{Backend, Command, Error, Image, Interrupt, Layer, Mounts, Notice, Notices, Options, Session};

/// All but the one that chooses.
const ROADS: [Backend; 3] = [Backend::Erofs, Backend::Fuse, Backend::Extract];

/// Since when the kernel mounts EROFS from a file, without a loop device.
const FILE_BACKED_EROFS: (u32, u32) = (6, 12);

const CACHE: &str = "cache folder";
const STATE: &str = "state folder";
const NAMESPACES: &str = "namespaces";
const DEV_FUSE: &str = "/dev/fuse";
const FUSE: &str = "FUSE in a namespace";
const OVERLAY: &str = "overlayfs on the cache";
const EROFS: &str = "EROFS in the kernel";
const EROFS_FILES: &str = "EROFS from files";
const LOOP: &str = "loop devices";
const FUSERMOUNT: &str = "fusermount3";
const FUSE_OVERLAYFS: &str = "fuse-overlayfs";
const REFLINKS: &str = "reflinks in the cache";

/// Tries which roads work for this user. The backend of the options does not matter, and nothing is sent to their notices:
/// what would be is in the diagnosis. What is made for the trials is removed again.
#[must_use]
pub fn diagnose(options: &Options) -> Diagnosis {
    let Options { state_dir, cache_dir, interrupt, .. } = options;
    let state = Bench::new(state_dir, interrupt).map(drop);
    let bench = Bench::new(&cache_dir.join(".gonto"), interrupt);
    let folder_remedy = |what: &str| format!("make it writable, or choose another folder: {what}");
    let mut ingredients = vec![
        Ingredient::tried(CACHE, bench.as_ref().map(drop), || {
            folder_remedy("cache_dir in the configuration")
        }),
        Ingredient::tried(STATE, state.as_ref().map(drop), || folder_remedy("the variable GONTO_STATE_DIR")),
    ];
    if let Ok(bench) = &bench {
        ingredients.extend(bench.ingredients());
    }
    let roads = |what: What| {
        ROADS
            .map(|backend| {
                let tried = match &bench {
                    Ok(bench) => bench.road(what, backend),
                    Err(error) => Err(format!("the cache folder cannot be used: {error}")),
                };
                let outcome = match tried {
                    Ok(but) => Outcome::Works { but },
                    Err(why) => Outcome::Fails { why, remedy: remedy(what, backend, &ingredients) },
                };
                RoadCheck { backend, outcome }
            })
            .to_vec()
    };
    Diagnosis { run: roads(What::Run), mount: roads(What::Mount), ingredients }
}

/// For whom an image is mounted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Run,
    Mount,
}

/// What to do about a closed road: about the first thing it needs that does not work.
fn remedy(what: What, backend: Backend, ingredients: &[Ingredient]) -> String {
    let needs: &[&str] = match (backend, what) {
        (Backend::Erofs, _) => &[CACHE, EROFS, EROFS_FILES, LOOP],
        (Backend::Fuse, What::Run) => &[CACHE, NAMESPACES, DEV_FUSE, FUSERMOUNT],
        (Backend::Fuse, What::Mount) if is_root() => &[CACHE, DEV_FUSE],
        (Backend::Fuse, What::Mount) => &[CACHE, DEV_FUSE, FUSERMOUNT],
        _ => &[CACHE],
    };
    let of = |name: &&str| {
        ingredients.iter().find(|ingredient| ingredient.name == *name).and_then(|it| match &it.outcome {
            Outcome::Fails { remedy, .. } => Some(remedy.clone()),
            Outcome::Works { .. } => None,
        })
    };
    needs.iter().find_map(of).unwrap_or_else(|| match backend {
        Backend::Erofs => "the other roads do the same, slower".to_owned(),
        _ => "GONTO_DEBUG=1 gonto doctor shows what happens".to_owned(),
    })
}

/// Folders in which to try things. They go with it.
struct Bench {
    folder: PathBuf,
    /// Folders around it that were missing before, the outermost first.
    made: Vec<PathBuf>,
    interrupt: Interrupt,
    /// Tells others that it is in use.
    _held: Option<File>,
}

impl Bench {
    const PREFIX: &str = "doctor-";

    /// A new folder in `place`, which may be missing.
    fn new(place: &Path, interrupt: &Interrupt) -> Result<Self, Error> {
        let failed = |source| Error::State { path: place.to_owned(), source };
        let made = folders::missing_folders(place)?;
        let interrupt = interrupt.clone();
        fs::create_dir_all(place).map_err(failed)?;
        let place = place.canonicalize().map_err(failed)?;
        remove_dead(&place, &interrupt);
        let mut bench = Self { folder: PathBuf::new(), made, interrupt, _held: None };
        loop {
            let folder = tempfile::Builder::new().prefix(Self::PREFIX).tempdir_in(&place);
            bench.folder = folder.map_err(failed)?.keep();
            match folders::hold(&bench.folder) {
                // Before it was held, another doctor has taken it for a dead one's.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                held => {
                    bench._held = held.map_err(failed)?;
                    return Ok(bench);
                }
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn options(&self, backend: Backend, notices: Notices) -> Options {
        options_in(&self.folder, backend, notices, &self.interrupt)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            folders::remove_tree(&self.folder);
        }
        // What holds something by now belongs to somebody else.
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn options_in(folder: &Path, backend: Backend, notices: Notices, interrupt: &Interrupt) -> Options {
    let (state_dir, cache_dir) = (folder.join("state"), folder.join("cache"));
    Options { state_dir, cache_dir, backend, layer: Layer::Cache, notices, interrupt: interrupt.clone() }
}

/// Takes away what a killed diagnosis has left in `place`. Only what was mounted for everybody outlives it.
fn remove_dead(place: &Path, interrupt: &Interrupt) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let folder = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(Bench::PREFIX);
        if !is_ours || !File::open(&folder).is_ok_and(|folder| folder.try_lock().is_ok()) {
            continue;
        }
        let options = options_in(&folder, Backend::Auto, Notices::new(drop), interrupt);
        let unmounted = Mounts::open(options).and_then(|mounts| mounts.unmount(TARGET, &folder));
        if !matches!(&unmounted, Ok((_, errors)) if errors.is_empty()) {
            tracing::debug!(folder = %folder.display(), ?unmounted, "left in place");
            continue;
        }
        folders::remove_tree(&folder);
    }
}

/// What stands for a target in the register.
const TARGET: &str = "doctor";

impl Bench {
    /// Sends an image down a road. Ok with what is not as one may expect, or why it does not arrive.
    fn road(&self, what: What, backend: Backend) -> Result<Vec<String>, String> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let receiver = told.clone();
        let notices = Notices::new(move |notice| {
            receiver.lock().unwrap_or_else(PoisonError::into_inner).extend(remark(&notice));
        });
        let options = self.options(backend, notices);
        let arrived = trial_image(&self.folder).and_then(|image| match what {
            What::Run => run(options, &image),
            What::Mount => mount(options, &image, &self.folder),
        });
        arrived.map_err(|error| {
            let error = match error {
                Error::Backend { source, .. } => *source,
                error => error,
            };
            error.closes_a_road().unwrap_or_else(|| chain(&error))
        })?;
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(told.clone())
    }
}

fn run(options: Options, image: &Image) -> Result<(), Error> {
    let mut session = Session::new(options)?;
    let folder = session.mount(image)?;
    let path = env::var_os("PATH").unwrap_or_default();
    let line = format!("read -r line <proof && test \"$line\" = {}", PROOF.trim_end());
    let command = Command::shell(&line, vec![(OsString::from("PATH"), path)], &folder);
    let status = session.run(&command)?;
    if !status.success() {
        return Err(unreadable(image, &folder, io::ErrorKind::InvalidData.into()));
    }
    session.unmount_all().into_iter().next().map_or(Ok(()), Err)
}

fn mount(options: Options, image: &Image, bench: &Path) -> Result<(), Error> {
    let mounts = Mounts::open(options)?;
    let folder = mounts.mount(image, TARGET, bench)?.folder;
    let read = read_proof(image, &folder);
    let (_, errors) = mounts.unmount(TARGET, bench)?;
    read.and_then(|()| errors.into_iter().next().map_or(Ok(()), Err))
}

/// What a notice says, without the names of things that exist for the trial only.
fn remark(notice: &Notice) -> Option<String> {
    match notice {
        Notice::ReadOnly { reason, .. } => Some(format!("the image is read-only, because {reason}")),
        Notice::Shared { reason, .. } => Some(format!("all processes see it, because {reason}")),
        Notice::WritesInMemory { reason, .. } => {
            Some(format!("what is written is kept in memory, because {reason}"))
        }
        _ => None,
    }
}

impl Bench {
    fn ingredients(&self) -> Vec<Ingredient> {
        let scratch = self.path("scratch");
        let namespace = fs::create_dir_all(&scratch)
            .map_err(|error| error.to_string())
            .and_then(|()| Namespace::new(&scratch).map_err(|error| chain(&error)));
        let inside = |trial: fn(&Self, &Namespace, &Path) -> io::Result<()>| match &namespace {
            Ok(namespace) => trial(self, namespace, &scratch).map_err(|error| error.to_string()),
            Err(_) => Err("there are no namespaces".to_owned()),
        };
        let installed = |there: bool| if there { Ok(()) } else { Err("it is not installed") };
        vec![
            Ingredient::tried(NAMESPACES, namespace.as_ref().map(drop), || NAMESPACES_REMEDY.to_owned()),
            Ingredient::tried(DEV_FUSE, open_device(DEV_FUSE), || device_remedy(DEV_FUSE, "fuse")),
            Ingredient::tried(FUSE, inside(Self::try_fuse), || {
                format!(
                    "it needs {NAMESPACES} and {DEV_FUSE}; in a container, both have to be allowed from outside"
                )
            }),
            Ingredient::tried(OVERLAY, inside(Self::try_overlay), || {
                "set cache_dir to a folder on a local disk with ext4, XFS or btrfs; without it, what a run writes is kept in \
                 memory"
                    .to_owned()
            }),
            self.erofs(),
            Ingredient::tried(EROFS_FILES, is_recent(), || {
                format!("update the kernel; until then, {LOOP} do the same")
            }),
            Ingredient::tried(LOOP, open_device("/dev/loop-control"), || {
                device_remedy("/dev/loop-control", "loop")
            }),
            Ingredient::tried(FUSERMOUNT, installed(fusermount::is_installed()), || {
                "install the package fuse3".to_owned()
            }),
            Ingredient::tried(FUSE_OVERLAYFS, installed(fusermount::can_overlay()), || {
                "install the package fuse-overlayfs; only gonto mount of ordinary users needs it, to be writable"
                    .to_owned()
            }),
            Ingredient::tried(REFLINKS, self.try_reflinks(), || {
                "set cache_dir to a folder on btrfs or XFS; only unpacked files for all processes need it, to be writable"
                    .to_owned()
            }),
        ]
    }

    fn try_fuse(&self, namespace: &Namespace, scratch: &Path) -> io::Result<()> {
        let at = scratch.join("fuse");
        namespace.make_folder(&at)?;
        namespace.mount_fuse(&at, HARMLESS | MountFlags::RDONLY, &ImageFs::mount_options()).map(drop)
    }

    fn try_overlay(&self, namespace: &Namespace, scratch: &Path) -> io::Result<()> {
        let (lower, upper, at) = (self.path("lower"), Upper::at(self.path("layer")), scratch.join("overlay"));
        fs::create_dir_all(&lower)?;
        upper.create()?;
        namespace.make_folder(&at)?;
        overlay::mount(&lower, &upper, namespace.kind() == NamespaceKind::User, |data| {
            namespace.mount(OsStr::new("gonto"), &at, "overlay", HARMLESS, &data)
        })
    }

    /// Whether the kernel can mount EROFS for this user: what can be known first, then a real mount.
    fn erofs(&self) -> Ingredient {
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !known.lines().any(|line| line.split_whitespace().next_back() == Some("erofs")) {
            let remedy = || "as root: modprobe erofs; it needs a kernel with CONFIG_EROFS_FS".to_owned();
            return Ingredient::tried(
                EROFS,
                Err("the kernel does not know it, or has not loaded it yet"),
                remedy,
            );
        }
        if !is_root() {
            let remedy = || "run gonto as root; for other users FUSE is the fastest".to_owned();
            return Ingredient::tried(EROFS, Err(erofs::ONLY_ROOT), remedy);
        }
        let remedy = || "in a container, it has to be allowed from outside".to_owned();
        Ingredient::tried(EROFS, self.try_erofs().map_err(|error| chain(&error)), remedy)
    }

    fn try_erofs(&self) -> Result<(), Error> {
        let options = self.options(Backend::Erofs, Notices::new(drop));
        let image = trial_image(&self.folder)?;
        let open = OpenImage::new(&image.file, &options)?;
        erofs::mount(open.index()?).map(drop).map_err(|source| {
            let path = self.folder.clone();
            Error::Mount { image: image.file.clone(), path, source }
        })
    }

    fn try_reflinks(&self) -> io::Result<()> {
        if unpacked::can_share_blocks(&self.folder)? {
            Ok(())
        } else {
            Err(io::Error::other("the file system cannot share blocks between files"))
        }
    }
}

const NAMESPACES_REMEDY: &str = "as root, where they are there: sysctl kernel.unprivileged_userns_clone=1, sysctl \
     kernel.apparmor_restrict_unprivileged_userns=0, and user.max_user_namespaces above 0; in a container they have to be \
     allowed from outside";

fn open_device(path: &str) -> io::Result<()> {
    // In a container, anything may lie at its place.
    if !fs::metadata(path)?.file_type().is_char_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a device"));
    }
    File::options().read(true).write(true).open(path).map(drop)
}

fn device_remedy(path: &str, module: &str) -> String {
    match open_device(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && module == "fuse" => {
            format!("as root: chmod 666 {path}")
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "only root may use them; run gonto as root".to_owned()
        }
        _ => format!("as root: modprobe {module}; in a container, give it the device {path}"),
    }
}

fn is_recent() -> Result<(), String> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let (major, minor) = FILE_BACKED_EROFS;
    match version(&release) {
        Some(version) if version >= FILE_BACKED_EROFS => Ok(()),
        _ => Err(format!("Linux {release} is older than {major}.{minor}")),
    }
}

/// The first two numbers of a release such as `6.12.1-arch1`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(version("6.12.1-arch1"), Some((6, 12)));
        assert_eq!(version("5.15-rc3"), Some((5, 15)));
        assert!(version("6.9.0-generic").unwrap() < FILE_BACKED_EROFS);
        assert!(version("10.0").unwrap() > FILE_BACKED_EROFS);
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn a_remedy_is_that_of_the_first_thing_that_is_missing() {
        let fails = |name, remedy: &str| Ingredient {
            name,
            outcome: Outcome::Fails { why: String::new(), remedy: remedy.to_owned() },
        };
        let works = |name| Ingredient { name, outcome: Outcome::Works { but: vec![] } };
        let ingredients =
            [works(CACHE), works(NAMESPACES), fails(DEV_FUSE, "chmod"), fails(FUSERMOUNT, "install")];
        assert_eq!(remedy(What::Run, Backend::Fuse, &ingredients), "chmod");
        assert!(remedy(What::Run, Backend::Extract, &ingredients).contains("GONTO_DEBUG"));
    }

    #[test]
    fn nothing_is_left_of_the_folders_that_were_missing() {
        let folder = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::new().unwrap();
        let place = folder.path().join("cache/.gonto");
        let bench = Bench::new(&place, &interrupt).unwrap();
        assert!(bench.folder.starts_with(place.canonicalize().unwrap()));
        drop(bench);
        assert!(!folder.path().join("cache").exists());
    }

    #[test]
    fn what_a_killed_diagnosis_has_left_is_removed_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::new().unwrap();
        let place = folder.path().canonicalize().unwrap();
        let (dead, foreign) = (place.join("doctor-dead"), place.join("elsewhere"));
        for path in [&dead, &foreign] {
            fs::create_dir_all(path.join("content")).unwrap();
        }
        let living = Bench::new(&place, &interrupt).unwrap();
        let other = Bench::new(&place, &interrupt).unwrap();
        assert!(!dead.exists() && foreign.exists());
        assert!(living.folder.exists() && other.folder.exists());
    }
}
