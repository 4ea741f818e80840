//! One target of the configuration, and what can be done with it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use gonto_mount::{
    Command, Image, Interrupt, MountPoint, Mounts, Notice, Notices, Options, Session, Visibility, Written,
    with_separator,
};
use gonto_store::{Format, ImagePath, InvalidImagePath, Platform, Store};
use indexmap::IndexMap;

use crate::config::{Config, RegistryValue, Requirement, Settings, TargetConfig};
use crate::registry::{self, Registry};
use crate::{Error, state};

pub use gonto_store::Event as DownloadEvent;

/// What stands for the mount point in the values of a requirement's `env`.
pub const MOUNT_POINT_PLACEHOLDER: &str = "{{mount_point}}";

/// The scripts that a target may have, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScriptType {
    /// Runs before the images are there.
    BeforeScript,
    /// The work.
    Script,
    /// Runs after a successful `script`, when the images have gone.
    AfterScript,
}

impl ScriptType {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::BeforeScript, Self::Script, Self::AfterScript];

    /// The key in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeScript => "before_script",
            Self::Script => "script",
            Self::AfterScript => "after_script",
        }
    }
}

impl fmt::Display for ScriptType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An image that a target requires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageDefinition {
    /// The path in the repository and in the cache, such as `foobar/foobar_v1.2.3_win64.vhd`.
    pub path: String,
    /// The name, such as `foobar`.
    pub name: String,
    /// The version, such as `1.2.3`.
    pub version: String,
    /// The platform; [`Platform::Win64`] unless said otherwise.
    pub platform: Platform,
    /// The format; [`Format::Vhd`] unless said otherwise.
    pub format: Format,
    /// Where it is to be mounted; empty unless said otherwise: the system chooses.
    pub mount_point: String,
    /// Environment variables that it sets, with placeholders; empty unless said otherwise.
    pub env: IndexMap<String, String>,
    /// Registry values that it sets on Windows, with placeholders; empty unless said otherwise.
    pub reg: Vec<RegistryValue>,
}

/// Returns the image path of a requirement.
///
/// ```
/// # use gonto::config::Requirement;
/// # use gonto::target::requirement_to_image_path;
/// # use gonto::{Format, Platform};
/// let requirement = Requirement { name: "foobar".into(), version: "1.2.3".into(), ..Default::default() };
/// assert_eq!(requirement_to_image_path(&requirement)?.to_string(), "foobar/foobar_v1.2.3_win64.vhd");
///
/// let requirement = Requirement {
///     name: "foobar".into(),
///     version: "42".into(),
///     platform: Platform::Multi,
///     format: Format::Vhdx,
///     ..Default::default()
/// };
/// assert_eq!(requirement_to_image_path(&requirement)?.to_string(), "foobar/foobar_v42_multi.vhdx");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the name or the version breaks the rules of repositories, so that the path might leave the cache. Requirements of
/// a checked [`Config`] never do.
pub fn requirement_to_image_path(requirement: &Requirement) -> Result<ImagePath, InvalidImagePath> {
    ImagePath::new(&requirement.name, &requirement.version, requirement.platform, requirement.format)
}

/// How far a download has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Download {
    /// Which of the downloads it is, from 1.
    pub current: usize,
    /// How many downloads there are.
    pub count: usize,
    /// The image.
    pub image: ImageDefinition,
    /// What is going on.
    pub event: DownloadEvent,
}

impl Download {
    /// How much of the image is there, from 0.0 to 1.0, as far as the repository tells. None while somebody else is downloading it.
    #[must_use]
    pub fn progress(&self) -> Option<f64> {
        match self.event {
            DownloadEvent::Progress { received, total } => {
                Some(if total == 0 { 0.0 } else { ratio(received, total) })
            }
            DownloadEvent::Waiting => None,
        }
    }
}

/// Actions that can be run on a target.
#[derive(Debug)]
pub struct Target {
    name: String,
    settings: Settings,
    config: TargetConfig,
    surroundings: Surroundings,
    /// What the mounted images have set in the registry. It is put back before they go.
    values: Option<registry::Values>,
    /// The processes and mounts of this run; made when first needed.
    session: Option<Session>,
    /// What scripts start from instead of this process's environment.
    base: Option<Vec<(OsString, OsString)>>,
    /// What the mounted images have set, in order; it stays for `after_script`.
    image_env: Vec<(String, OsString)>,
    /// The images that are mounted for the scripts.
    mounted: Vec<Mounted>,
    /// Images were to be mounted for the scripts, so permanent mounts are somebody else's.
    mounts_for_scripts: bool,
    /// Images were to be mounted permanently.
    mounts_permanently: bool,
}

/// Where a target is run, and who is told. The default is the current folder, and nobody.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The folder in which scripts run.
    pub directory: PathBuf,
    /// The folder of the configuration. With the target's name it tells who has mounted an image permanently, so that
    /// targets of the same name in two projects do not unmount each other's.
    pub project: PathBuf,
    /// Receives what the user should know.
    pub notices: Notices,
    /// Stops downloads and scripts when raised.
    pub interrupt: Interrupt,
    /// Who sees the images that are not mounted permanently.
    pub visibility: Visibility,
}

impl Surroundings {
    /// The current folder; notices are dropped, nothing interrupts, and only scripts see images.
    ///
    /// # Errors
    /// When the current folder does not exist any more, or no file can be opened.
    pub fn current() -> Result<Self, Error> {
        let directory = env::current_dir().map_err(Error::NoCurrentFolder)?;
        let interrupt =
            Interrupt::new().map_err(|source| Error::Session(gonto_mount::Error::Processes { source }))?;
        Ok(Self {
            project: directory.clone(),
            directory,
            notices: Notices::new(drop),
            interrupt,
            visibility: Visibility::default(),
        })
    }
}

impl Target {
    /// The target `target_name` of the configuration.
    ///
    /// # Errors
    /// [`Error::TargetDoesNotExist`].
    pub fn new(target_name: &str, config: &Config) -> Result<Self, Error> {
        Self::with_surroundings(target_name, config, Surroundings::current()?)
    }

    /// Like [`new`](Self::new), with everything around it given.
    ///
    /// # Errors
    /// [`Error::TargetDoesNotExist`].
    pub fn with_surroundings(
        target_name: &str,
        config: &Config,
        surroundings: Surroundings,
    ) -> Result<Self, Error> {
        let Some(target) = config.targets.get(target_name) else {
            let known: Vec<String> = config.targets.keys().cloned().collect();
            let suggestion = known
                .iter()
                .map(|name| (strsim::damerau_levenshtein(name, target_name), name))
                .min()
                .filter(|(distance, _)| *distance <= 2.min(target_name.chars().count() / 2))
                .map(|(_, name)| name.clone());
            return Err(Error::TargetDoesNotExist { name: target_name.to_owned(), known, suggestion });
        };
        Ok(Self {
            name: target_name.to_owned(),
            settings: config.gonto.clone(),
            config: target.clone(),
            surroundings,
            values: None,
            session: None,
            base: None,
            image_env: Vec::new(),
            mounted: Vec::new(),
            mounts_for_scripts: false,
            mounts_permanently: false,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lists the target's required disk images, in the order of the configuration.
    pub fn list_required_images(&self) -> impl Iterator<Item = ImageDefinition> + '_ {
        self.config.requires.iter().filter_map(|requirement| definition(requirement).ok())
    }

    /// Lists the required images that are not in the cache.
    ///
    /// # Errors
    /// When the repository's address cannot be used.
    pub fn list_missing_images(&self) -> Result<impl Iterator<Item = ImageDefinition> + '_, Error> {
        let store = self.store()?;
        let missing = self.paths()?.filter(move |(_, path)| !store.contains(path));
        Ok(missing.filter_map(|(requirement, _)| definition(requirement).ok()))
    }

    /// Downloads the missing images from the repository, one after another. `callback` is told the number of the current
    /// download (from 1), the number of downloads, the name of the image and how much of it is there, from 0.0 to 1.0.
    ///
    /// # Errors
    /// [`Error::Download`] for the first image that cannot be fetched; [`Error::Interrupted`].
    pub fn download_missing_images(
        &self,
        mut callback: impl FnMut(usize, usize, &str, f64),
    ) -> Result<(), Error> {
        self.download(|download| {
            if let Some(progress) = download.progress() {
                callback(download.current, download.count, &download.image.name, progress);
            }
            ControlFlow::Continue(())
        })
    }

    /// Like [`download_missing_images`](Self::download_missing_images), told in bytes. The callback may end it.
    ///
    /// # Errors
    /// As there.
    pub fn download(&self, mut callback: impl FnMut(Download) -> ControlFlow<()>) -> Result<(), Error> {
        let store = self.store()?;
        let missing: Vec<_> = self.paths()?.filter(|(_, path)| !store.contains(path)).collect();
        let count = missing.len();
        for (index, (requirement, path)) in missing.into_iter().enumerate() {
            let image = definition(requirement)?;
            let mut told = |event| {
                if self.surroundings.interrupt.signal().is_some() {
                    return ControlFlow::Break(());
                }
                callback(Download { current: index + 1, count, image: image.clone(), event })
            };
            let fetched = store.fetch(&path, &mut told);
            self.check_interrupt()?;
            fetched
                .map_err(|source| Error::Download { image: path.to_string(), source: Box::new(source) })?;
        }
        Ok(())
    }

    /// Mounts the required images, in order, and sets what they set. Not permanent: for the scripts of this `Target` and whom its
    /// [`Visibility`] names, until [`umount_images`](Self::umount_images) or its drop, with writes that are thrown away. Permanent: for every
    /// process of the user, until `umount_images` of a target of the same name and project.
    ///
    /// # Errors
    /// [`Error::MissingImage`] when an image is not in the cache, [`Error::VolumeNotReady`] when it holds no volume that can
    /// be read, [`Error::VolumeNotMounted`] when the system does not mount it, [`Error::RegistryNotWritten`] on Windows,
    /// [`Error::Interrupted`]. What this call has mounted and set before that is unmounted and put back; what was there
    /// before stays.
    pub fn mount_images(&mut self, permanent: bool) -> Result<(), Error> {
        self.mount(permanent, |_| ())
    }

    /// Like [`mount_images`](Self::mount_images); `mounted` is told each image as it appears.
    ///
    /// # Errors
    /// As there.
    pub fn mount(&mut self, permanent: bool, mut mounted: impl FnMut(&Mounted)) -> Result<(), Error> {
        if permanent {
            self.mounts_permanently = true;
        } else {
            self.mounts_for_scripts = true;
        }
        let result = self.try_mount(permanent, &mut mounted);
        if result.is_err() {
            self.image_env.clear();
            self.mounted.clear();
            self.values = None;
            if let Some(session) = &mut self.session {
                for error in session.unmount_all() {
                    tracing::debug!(%error, "unmounting after a failure");
                }
            }
        }
        self.or_interrupted(result)
    }

    fn try_mount(&mut self, permanent: bool, mounted: &mut impl FnMut(&Mounted)) -> Result<(), Error> {
        let images: Vec<(Requirement, ImagePath)> =
            self.paths()?.map(|(requirement, path)| (requirement.clone(), path)).collect();
        let store = self.store()?;
        if let Some((_, path)) = images.iter().find(|(_, path)| !store.contains(path)) {
            return Err(Error::MissingImage { path: store.path(path) });
        }
        let registry = self.registry()?;
        if permanent {
            // For a run, its session does that.
            registry.tidy_up();
        }
        let mounts = permanent.then(|| Mounts::open(self.options()?).map_err(Error::Session)).transpose()?;
        let mut fresh = Undo {
            mounts: mounts.as_ref(),
            target: &self.name.clone(),
            project: &self.surroundings.project.clone(),
            folders: Vec::new(),
        };
        // Dropped before that, so values go before the images that they are about.
        let mut values = registry.values(permanent.then_some((&*self.name, &*self.surroundings.project)));
        for (requirement, path) in &images {
            self.check_interrupt()?;
            let file = in_real_folder(store.path(path));
            let failed = |source: gonto_mount::Error| {
                let image = path.to_string();
                if source.is_about_the_image() {
                    Error::VolumeNotReady { image, source }
                } else {
                    Error::VolumeNotMounted { image, source }
                }
            };
            let image = Image {
                mount_point: requirement.mount_point.parse::<MountPoint>().map_err(failed)?,
                file: file.clone(),
            };
            let (folder, already) = match &mounts {
                Some(mounts) => {
                    let shown =
                        mounts.mount(&image, &self.name, &self.surroundings.project).map_err(failed)?;
                    if !shown.already {
                        fresh.folders.push(shown.folder.clone());
                    }
                    (shown.folder, shown.already)
                }
                None => (self.session()?.mount(&image).map_err(failed)?, false),
            };
            tracing::debug!(image = %file.display(), folder = %folder.display(), already, "mounted");
            let mount_point = with_separator(&folder);
            for (name, value) in &requirement.env {
                self.image_env.push((name.clone(), fill_in(value, &mount_point)));
            }
            values.write(&requirement.reg, |text| fill_in(text, &mount_point))?;
            let appeared = Mounted { image: definition(requirement)?, mount_point, already };
            mounted(&appeared);
            if !permanent {
                self.mounted.push(appeared);
            }
        }
        if permanent {
            values.keep()?;
        } else {
            self.values = Some(values);
        }
        fresh.folders.clear();
        Ok(())
    }

    /// What the scripts have written to the images that are mounted for them, until now. Images to which nothing can be written
    /// and those that are shared with others are not in it.
    #[must_use]
    pub fn written(&self) -> Vec<(&Mounted, Written)> {
        let written = self.session.as_ref().map(Session::written).unwrap_or_default();
        let image = |written: Written| {
            let mount_point = with_separator(&written.folder);
            Some((self.mounted.iter().find(|mounted| mounted.mount_point == mount_point)?, written))
        };
        written.into_iter().filter_map(image).collect()
    }

    /// Unmounts the images that this `Target` has mounted for its scripts; if it has mounted permanently, or never mounted
    /// anything, also those that a target of the same name and project has mounted permanently. Returns the folders of
    /// the latter.
    ///
    /// # Errors
    /// [`Error::Unmount`]: some could not be unmounted; the others were. [`Error::RegistryNotRestored`] on Windows.
    /// [`Error::Session`] when the state folder cannot be used. [`Error::Interrupted`] when an interrupt ended the wait for another gonto.
    pub fn umount_images(&mut self) -> Result<Vec<PathBuf>, Error> {
        self.mounted.clear();
        let mut restored = self.values.take().map_or(Ok(()), registry::Values::restore);
        let permanent = self.mounts_permanently || !self.mounts_for_scripts;
        if permanent {
            let released = |registry: Registry| registry.release(&self.name, &self.surroundings.project);
            restored = restored.and(self.registry().and_then(released));
        }
        let mut errors = self.session.as_mut().map(Session::unmount_all).unwrap_or_default();
        let mut folders = Vec::new();
        if permanent {
            // The session has a copy of what is mounted for all, and what its scripts have left running may use that.
            self.session = None;
            let unmounted = Mounts::open(self.options()?)
                .and_then(|mounts| mounts.unmount(&self.name, &self.surroundings.project));
            match unmounted {
                Ok((freed, failed)) => {
                    folders = freed;
                    errors.extend(failed);
                }
                Err(error) if errors.is_empty() => return self.or_interrupted(Err(Error::Session(error))),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            return restored.map(|()| folders);
        }
        if let Err(error) = restored {
            self.surroundings.notices.send(Notice::Registry { message: registry::chain(&error) });
        }
        Err(Error::Unmount { errors })
    }

    /// Ends the run, and makes the target ready for another one, which `interrupt` interrupts: an interrupt that was raised stays so, and
    /// nothing goes on with it. What scripts have left running ends, registry values are put back, images that were not mounted
    /// permanently are unmounted.
    ///
    /// # Errors
    /// [`Error::Unmount`], [`Error::RegistryNotRestored`]; the run has ended all the same.
    pub fn end_run(&mut self, interrupt: Interrupt) -> Result<(), Error> {
        self.mounted.clear();
        self.image_env.clear();
        let restored = self.values.take().map_or(Ok(()), registry::Values::restore);
        let errors = self.session.take().map(|mut session| session.unmount_all()).unwrap_or_default();
        self.surroundings.interrupt = interrupt;
        if errors.is_empty() { restored } else { Err(Error::Unmount { errors }) }
    }

    /// Lets scripts run in `directory` from now on, in `environment` overlaid by the variables of target and images: for programs in which
    /// another thread may change those of the process while a script begins.
    pub fn run_in(&mut self, directory: PathBuf, environment: Vec<(OsString, OsString)>) {
        self.surroundings.directory = directory;
        self.base = Some(environment);
    }

    /// The variables that the target and its images set, in no special order. Those of images are there once they have been mounted,
    /// with their mount points, and stay for `after_script`.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, OsString)> {
        let target = self.config.env.iter().map(|(name, value)| (name, OsString::from(value)));
        let images = self.image_env.iter().map(|(name, value)| (name, value.clone()));
        let all: IndexMap<&String, OsString> = target.chain(images).collect();
        all.into_iter().map(|(name, value)| (name.clone(), value)).collect()
    }

    /// Whether the target has a script of this type.
    #[must_use]
    pub fn has_script(&self, script_type: ScriptType) -> bool {
        self.script(script_type).is_some()
    }

    /// Runs a script of the target: each line that is not blank by the system's shell, in the environment of this process,
    /// overlaid by the target's variables, overlaid by those of the mounted images. The first line that fails ends it. A
    /// target that has no such script does nothing.
    ///
    /// # Errors
    /// [`Error::ScriptFailed`] when a command fails, [`Error::Interrupted`] when an interrupt was raised before the end of
    /// the last one, however it ended.
    pub fn run_script(&mut self, script_type: ScriptType) -> Result<(), Error> {
        self.run_script_lines(script_type, |_| ())
    }

    /// Like [`run_script`](Self::run_script); `started` is told each line before it runs.
    ///
    /// # Errors
    /// As there.
    pub fn run_script_lines(
        &mut self,
        script_type: ScriptType,
        mut started: impl FnMut(&str),
    ) -> Result<(), Error> {
        let result = self.try_script(script_type, &mut started);
        self.or_interrupted(result)
    }

    fn try_script(&mut self, script_type: ScriptType, started: &mut impl FnMut(&str)) -> Result<(), Error> {
        let Some(script) = self.script(script_type).map(str::to_owned) else { return Ok(()) };
        let environment = self.environment();
        let directory = self.surroundings.directory.clone();
        for line in lines(&script) {
            // Starting the session may take long: the interrupt is looked at after that.
            self.session()?;
            self.check_interrupt()?;
            started(line);
            let command = Command::shell(line, environment.clone(), &directory);
            let status = self.session()?.run(&command);
            self.check_interrupt()?;
            let script = script_type;
            let status =
                status.map_err(|source| Error::ScriptNotStarted { script, line: line.to_owned(), source })?;
            if !status.success() {
                return Err(Error::ScriptFailed { script, line: line.to_owned(), status });
            }
        }
        Ok(())
    }

    /// Every variable that a script gets: this process's or those that stand for them, overlaid by the target's, overlaid by those of the images.
    fn environment(&self) -> Vec<(OsString, OsString)> {
        let base = self.base.clone().unwrap_or_else(|| env::vars_os().collect());
        let mut environment: IndexMap<OsString, OsString> = base.into_iter().collect();
        let target = self.config.env.iter().map(|(name, value)| (name, OsString::from(value)));
        for (name, value) in target.chain(self.image_env.iter().map(|(name, value)| (name, value.clone()))) {
            // To the end: where the system does not tell Path from PATH, the last one counts.
            environment.shift_remove(OsStr::new(name));
            environment.insert(name.into(), value);
        }
        environment.into_iter().collect()
    }

    fn script(&self, script_type: ScriptType) -> Option<&str> {
        match script_type {
            ScriptType::BeforeScript => self.config.before_script.as_deref(),
            ScriptType::Script => Some(&self.config.script),
            ScriptType::AfterScript => self.config.after_script.as_deref(),
        }
    }

    fn paths(&self) -> Result<impl Iterator<Item = (&Requirement, ImagePath)>, Error> {
        let paths: Result<Vec<_>, InvalidImagePath> = self
            .config
            .requires
            .iter()
            .map(|requirement| Ok((requirement, requirement_to_image_path(requirement)?)))
            .collect();
        Ok(paths?.into_iter())
    }

    fn store(&self) -> Result<Store, Error> {
        Store::new(self.settings.cache_dir.clone(), &self.settings.repository)
            .map_err(|error| Error::Repository(Box::new(error)))
    }

    fn options(&self) -> Result<Options, Error> {
        Ok(Options {
            state_dir: state::folder()?,
            cache_dir: self.settings.cache_dir.clone(),
            backend: self.settings.backend,
            layer: self.settings.layer,
            notices: self.surroundings.notices.clone(),
            interrupt: self.surroundings.interrupt.clone(),
        })
    }

    fn registry(&self) -> Result<Registry, Error> {
        Ok(Registry::new(&self.options()?))
    }

    fn session(&mut self) -> Result<&mut Session, Error> {
        let options = self.options()?;
        match &mut self.session {
            Some(session) => Ok(session),
            none => {
                Registry::new(&options).tidy_up();
                let session = Session::with_visibility(options, self.surroundings.visibility);
                Ok(none.insert(session.map_err(Error::Session)?))
            }
        }
    }

    pub(crate) fn check_interrupt(&self) -> Result<(), Error> {
        match self.surroundings.interrupt.signal() {
            Some(signal) => Err(Error::Interrupted { signal }),
            None => Ok(()),
        }
    }

    /// Whatever fails after an interrupt: that is why.
    fn or_interrupted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.or_else(|error| self.check_interrupt().and(Err(error)))
    }
}

/// An image that has just appeared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mounted {
    /// The image.
    pub image: ImageDefinition,
    /// The folder, with the separator at its end: what `{{mount_point}}` stands for.
    pub mount_point: OsString,
    /// It was there before, permanently mounted for a target of the same name and project.
    pub already: bool,
}

/// Unmounts what a failing permanent mount has mounted. What was mounted before stays.
struct Undo<'a> {
    mounts: Option<&'a Mounts>,
    target: &'a str,
    project: &'a Path,
    folders: Vec<PathBuf>,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let Some(mounts) = self.mounts.filter(|_| !self.folders.is_empty()) else { return };
        match mounts.unmount_folders(self.target, self.project, &self.folders) {
            Ok((_, errors)) => {
                for error in errors {
                    tracing::debug!(%error, "unmounting after a failure");
                }
            }
            Err(error) => tracing::debug!(%error, "unmounting after a failure"),
        }
    }
}

fn definition(requirement: &Requirement) -> Result<ImageDefinition, InvalidImagePath> {
    Ok(ImageDefinition {
        path: requirement_to_image_path(requirement)?.to_string(),
        name: requirement.name.clone(),
        version: requirement.version.clone(),
        platform: requirement.platform,
        format: requirement.format,
        mount_point: requirement.mount_point.clone(),
        env: requirement.env.clone(),
        reg: requirement.reg.clone(),
    })
}

/// The path without `..` and links, so that two projects that share a cache name an image alike. The last part stays: an
/// image keeps its name where its file is a link.
fn in_real_folder(file: PathBuf) -> PathBuf {
    let folder = file.parent().and_then(|folder| dunce::canonicalize(folder).ok());
    folder.zip(file.file_name()).map_or_else(|| file.clone(), |(folder, name)| folder.join(name))
}

/// The commands of a script: its lines, stripped, without the blank ones.
fn lines(script: &str) -> impl Iterator<Item = &str> {
    script.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty())
}

/// Replaces the placeholder; a mount point need not be Unicode.
fn fill_in(value: &str, mount_point: &OsStr) -> OsString {
    let mut parts = value.split(MOUNT_POINT_PLACEHOLDER);
    let mut filled = OsString::from(parts.next().unwrap_or_default());
    for part in parts {
        filled.push(mount_point);
        filled.push(part);
    }
    filled
}

#[expect(clippy::cast_precision_loss, reason = "a fraction for people and progress bars")]
fn ratio(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_is_not_blank_is_a_command() {
        let script = "\n  echo one  \n\n\t\necho two \\\r\n cd x\n";
        assert_eq!(lines(script).collect::<Vec<_>>(), ["echo one", "echo two \\", "cd x"]);
    }

    #[test]
    fn an_image_has_one_path_and_every_program_knows_it() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("tool")).unwrap();
        let direct = in_real_folder(root.path().join("tool").join("tool_v1_multi.vhd"));
        let detour = root.path().join("tool").join("..").join("tool").join("tool_v1_multi.vhd");
        assert_eq!(in_real_folder(detour), direct);
        assert!(!direct.to_str().unwrap().starts_with(r"\\?\"), "{direct:?}");
        // A folder that cannot be looked at stays as it is.
        let missing = root.path().join("missing").join("x.vhd");
        assert_eq!(in_real_folder(missing.clone()), missing);
    }

    #[test]
    fn placeholders_are_replaced_wherever_they_stand() {
        let filled = fill_in("{{mount_point}}bin:{{mount_point}}lib;{{ mount_point }}", OsStr::new("/m/"));
        assert_eq!(filled, "/m/bin:/m/lib;{{ mount_point }}");
        assert_eq!(fill_in("", OsStr::new("/m/")), "");
    }
}
