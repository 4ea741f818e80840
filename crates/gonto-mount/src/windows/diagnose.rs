//! Tries the roads, each with an image of its own, in a folder of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::letter::Letter;
use crate::diagnosis::{Diagnosis, Ingredient, Outcome, RoadCheck, read_proof, trial_image};
use crate::error::chain;
use crate::lock;
use crate::{Backend, Error, Interrupt, Layer, Mounts, Notices, Options, Session};

/// What stands for a target in the register.
const TARGET: &str = "doctor";

const LOCK: &str = "lock";

/// Tries which roads work for this user. The backend of the options does not matter, and nothing is sent to their notices.
/// What is made for the trials is removed again.
#[must_use]
pub fn diagnose(options: &Options) -> Diagnosis {
    let folder_remedy = |what: &str| format!("make it writable, or choose another folder: {what}");
    let state = Bench::new(&options.state_dir, &options.interrupt).map(drop);
    let bench = Bench::new(&options.cache_dir.join(".gonto"), &options.interrupt);
    let free = Letter::all().filter(|letter| letter.user().is_none()).count();
    let letters = if free == 0 { Err("all of them are in use") } else { Ok(()) };
    let ingredients = vec![
        Ingredient::tried("cache folder", bench.as_ref().map(drop), || {
            folder_remedy("cache_dir in the configuration")
        }),
        Ingredient::tried("state folder", state.as_ref().map(drop), || {
            folder_remedy("the variable GONTO_STATE_DIR")
        }),
        Ingredient::tried("drive letters", letters, || {
            "free one: subst, net use and mountvol list them".to_owned()
        }),
        Ingredient::tried("symbolic links", try_link(bench.as_ref()), || {
            "turn on the Developer Mode of Windows, or run as administrator; only unpacked images with links need it"
                .to_owned()
        }),
    ];
    let roads = |trial: &dyn Fn(&Bench, Backend) -> Result<(), Error>| {
        let check = |backend| {
            let tried = match &bench {
                Ok(bench) => trial(bench, backend).map_err(|error| match error {
                    Error::Backend { source, .. } => source.closes_a_road().unwrap_or_else(|| chain(&source)),
                    error => chain(&error),
                }),
                Err(error) => Err(format!("the cache folder cannot be used: {error}")),
            };
            let outcome = match tried {
                Ok(()) => Outcome::Works { but: Vec::new() },
                Err(why) => Outcome::Fails { why, remedy: remedy(backend).to_owned() },
            };
            RoadCheck { backend, outcome }
        };
        Backend::here().map(check).collect()
    };
    Diagnosis { run: roads(&Bench::run), mount: roads(&Bench::mount), ingredients }
}

fn remedy(backend: Backend) -> &'static str {
    match backend {
        Backend::Virtdisk => "run as administrator; without that, extract does the same after unpacking once",
        _ => "GONTO_DEBUG=1 gonto doctor shows what happens",
    }
}

fn try_link(bench: Result<&Bench, &io::Error>) -> Result<(), String> {
    let bench = bench.map_err(|_| "there is no folder to try it in".to_owned())?;
    let link = bench.folder.join("link");
    std::os::windows::fs::symlink_file("target", &link).map_err(|error| error.to_string())?;
    // Wine says that it has made links, and makes none.
    fs::symlink_metadata(&link).map(drop).map_err(|_| "the system makes no links".to_owned())
}

/// ```text
/// <cache_dir>/.gonto/doctor-XXXXXX/    a folder in which to try things; it goes with it
///   lock                               held while its diagnosis goes on; the next one removes folders in which it is not
///   content/                           what is in the image
///   trial.vhd                          the image
///   state/, cache/                     as every gonto has them
/// ```
struct Bench {
    folder: PathBuf,
    interrupt: Interrupt,
    /// The folder around it, if it was missing before.
    made: Option<PathBuf>,
    /// Taken before the folder is removed.
    lock: Option<File>,
}

const PREFIX: &str = "doctor-";

impl Bench {
    fn new(place: &Path, interrupt: &Interrupt) -> io::Result<Self> {
        let made = (!place.exists()).then(|| place.to_owned());
        fs::create_dir_all(place)?;
        remove_dead(place, interrupt);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place)?.keep();
        let lock = lock::try_exclusive(&folder.join(LOCK))?;
        Ok(Self { folder, interrupt: interrupt.clone(), made, lock })
    }

    fn options(&self, backend: Backend) -> Options {
        options_in(&self.folder, backend, &self.interrupt)
    }

    fn run(&self, backend: Backend) -> Result<(), Error> {
        let image = trial_image(&self.folder)?;
        let mut session = Session::new(self.options(backend))?;
        let folder = session.mount(&image)?;
        let read = read_proof(&image, &folder);
        session.unmount_all().into_iter().next().map_or(read, Err)
    }

    fn mount(&self, backend: Backend) -> Result<(), Error> {
        let image = trial_image(&self.folder)?;
        let mounts = Mounts::open(self.options(backend))?;
        let folder = mounts.mount(&image, TARGET, &self.folder)?.folder;
        let read = read_proof(&image, &folder);
        let (_, errors) = mounts.unmount(TARGET, &self.folder)?;
        errors.into_iter().next().map_or(read, Err)
    }
}

fn options_in(folder: &Path, backend: Backend, interrupt: &Interrupt) -> Options {
    Options {
        state_dir: folder.join("state"),
        cache_dir: folder.join("cache"),
        backend,
        layer: Layer::Cache,
        notices: Notices::new(drop),
        interrupt: interrupt.clone(),
    }
}

/// Takes away what a killed diagnosis has left in `place`.
fn remove_dead(place: &Path, interrupt: &Interrupt) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let folder = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Some(Ok(Some(lock))) = is_ours.then(|| lock::try_exclusive(&folder.join(LOCK))) else { continue };
        let options = options_in(&folder, Backend::Auto, interrupt);
        let unmounted = Mounts::open(options).and_then(|mounts| mounts.unmount(TARGET, &folder));
        drop(lock);
        if matches!(&unmounted, Ok((_, errors)) if errors.is_empty())
            && let Err(error) = fs::remove_dir_all(&folder)
        {
            tracing::debug!(folder = %folder.display(), %error, "left in place");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.lock = None;
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::debug!(folder = %self.folder.display(), %error, "stays");
        }
        // What holds something by now belongs to somebody else.
        if let Some(made) = &self.made {
            let _ = fs::remove_dir(made);
        }
    }
}
