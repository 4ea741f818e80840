//! The class `Target`.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gonto::config::Config;
use gonto::target::{self, ImageDefinition, ScriptType, Surroundings};
use gonto::{Error, Interrupt, Visibility};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList};

use crate::errors::{exception, invalid};
use crate::slot::{Slot, Taken, Work};
use crate::values::{definition, plain};
use crate::work::{self, Pending};

/// Actions that can be run on a Gonto target.
///
/// target_name is the requested target name; config is the final Gonto
/// configuration (containing all targets and main settings), as read_config()
/// returns it. Relative paths in one that was made by hand are meant from the
/// current folder.
///
/// Threads may share a target: what mounts, unmounts and runs scripts waits
/// for its turn.
///
/// Raises TargetDoesNotExist if the requested target does not exist in the
/// given config, and ValueError if that is no configuration.
#[pyclass(frozen, subclass, weakref, module = "gonto.target")]
pub(crate) struct Target {
    config: Config,
    /// Answers what nobody has to wait for.
    description: target::Target,
    notices: Pending,
    slot: Arc<Slot>,
    shown: Mutex<Shown>,
}

/// What the last call has found out; nobody has to wait for it.
#[derive(Default)]
struct Shown {
    /// By the path of the image.
    mount_points: BTreeMap<String, OsString>,
    variables: Vec<(String, OsString)>,
}

/// The targets that may have something mounted when Python ends.
static ALIVE: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());

#[pymethods]
impl Target {
    #[new]
    fn new(py: Python<'_>, target_name: &str, config: &Bound<'_, PyDict>) -> PyResult<Self> {
        let loaded = Config::from_plain(&plain(config, "config")?).map_err(|error| invalid(&error))?;
        for warning in &loaded.warnings {
            work::log(py, &warning.render(false))?;
        }
        let (config, notices) = (loaded.config, Pending::default());
        let fresh = || fresh(target_name, &config, &notices).map_err(|error| exception(py, &error));
        let description = fresh()?.target;
        let slot = Arc::new(Slot::new(fresh()?));
        let shown = Mutex::new(Shown { variables: description.variables(), ..Shown::default() });
        let mut alive = ALIVE.lock().unwrap_or_else(PoisonError::into_inner);
        alive.retain(|slot| slot.strong_count() > 0);
        alive.push(Arc::downgrade(&slot));
        drop(alive);
        Ok(Self { config, description, notices, slot, shown })
    }

    /// The name of the target.
    #[getter]
    fn name(&self) -> &str {
        self.description.name()
    }

    /// Where the images are mounted: the path of each image, as in the image
    /// definitions, and its mount point with the separator at its end. Empty
    /// while nothing is mounted by this Target.
    #[getter]
    fn mount_points<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (path, mount_point) in &self.shown().mount_points {
            dict.set_item(path, mount_point)?;
        }
        Ok(dict)
    }

    /// The environment variables that scripts get beside those of this
    /// process: those of the target, and once images have been mounted, those
    /// of the images, with their mount points.
    #[getter]
    fn environment<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in &self.shown().variables {
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }

    /// Lists the disk images that the target requires, in the order of the
    /// configuration.
    ///
    /// Each is a dict with the keys path, name, version, platform, format,
    /// mount_point, env and reg.
    fn list_required_images<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        iterator(py, self.description.list_required_images())
    }

    /// Lists the required images that are not available in the cache, as
    /// list_required_images() does.
    fn list_missing_images<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let missing = || Ok::<_, Box<Error>>(self.description.list_missing_images()?.collect::<Vec<_>>());
        iterator(py, py.detach(missing).map_err(|error| exception(py, &error))?)
    }

    /// Downloads the missing disk images from the repository, one by one.
    ///
    /// callback(currentdl, dlcount, image_name, progress) is called from this
    /// thread about ten times a second: with the number of the download, from
    /// 1; how many there are; the name of the image; and how much of it is
    /// there, from 0.0 to 1.0. What it raises ends the download and comes out
    /// of here. The cache never holds a part of an image.
    ///
    /// Raises OSError when an image cannot be fetched.
    #[pyo3(signature = (callback=None))]
    fn download_missing_images(&self, py: Python<'_>, callback: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        // Not the one that others may be working with: a download needs nothing of it.
        let Work { target, interrupt } = self.fresh(py)?;
        let hear = |(current, count, name, progress): (usize, usize, String, f64)| match callback {
            Some(callback) => callback.call1((current, count, name, progress)).map(drop),
            None => Ok(()),
        };
        let downloaded = work::run(py, &interrupt, &self.notices, hear, |tell| {
            let downloaded = target.download(|download| match download.progress() {
                Some(progress) => tell((download.current, download.count, download.image.name, progress)),
                None => ControlFlow::Continue(()),
            });
            downloaded.map_err(Box::new)
        });
        downloaded?.map_err(|error| exception(py, &error))
    }

    /// Mounts the disk images that the target requires.
    ///
    /// permanent defines whether they stay mounted after this process has
    /// ended, until umount_images() of the target or `gonto umount`. Otherwise
    /// they are there for the scripts and for this process, until
    /// umount_images() or the end of the process, and what is written to them
    /// is thrown away.
    ///
    /// Raises MissingImage if an image is not in the cache, VolumeNotReady if
    /// it holds no volume, VolumeNotMounted if the system does not mount it.
    /// What this call has mounted before is unmounted then.
    #[pyo3(signature = (permanent=false))]
    fn mount_images(&self, py: Python<'_>, permanent: bool) -> PyResult<()> {
        let mut taken = self.slot.take(py)?;
        let mut mount_points = BTreeMap::new();
        let mounted = self.work(py, &mut taken, |target| {
            let mounted = target.mount(permanent, |mounted| {
                mount_points.insert(mounted.image.path.clone(), mounted.mount_point.clone());
            });
            mounted.map_err(Box::new)
        });
        if mounted.is_ok() {
            self.shown().mount_points.extend(mount_points);
        }
        mounted
    }

    /// Unmounts all disk images of the target.
    ///
    /// These are the ones that this Target has mounted; if it has mounted
    /// permanently, or nothing at all, also those that another one of the same
    /// name has mounted permanently in this folder.
    ///
    /// Raises OSError if some cannot be unmounted, because a file in them is
    /// open, say; the others are.
    fn umount_images(&self, py: Python<'_>) -> PyResult<()> {
        let mut taken = self.slot.take(py)?;
        self.shown().mount_points.clear();
        self.work(py, &mut taken, |target| Ok(target.umount_images().map(drop)?))
    }

    /// Checks if the target contains the given script type.
    fn has_script(&self, script_type: &str) -> PyResult<bool> {
        Ok(self.description.has_script(parsed(script_type)?))
    }

    /// Runs a target script with the proper environment.
    ///
    /// Each line is run by the system's shell, in the current folder. A target
    /// without such a script does nothing. What the script prints goes to the
    /// file descriptors of this process, past sys.stdout.
    ///
    /// Raises subprocess.CalledProcessError when a command of the script
    /// failed; its cmd is the line.
    fn run_script(&self, py: Python<'_>, script_type: &str) -> PyResult<()> {
        let script = parsed(script_type)?;
        let mut taken = self.slot.take(py)?;
        // Here, where no other thread can change them.
        taken.parts()?.0.run_in(env::current_dir()?, env::vars_os().collect());
        self.work(py, &mut taken, |target| Ok(target.run_script(script)?))
    }

    /// The images are mounted while the block of a `with` statement runs.
    ///
    /// with target.mounted():
    ///     target.run_script(SCRIPT_TYPE.SCRIPT)
    fn mounted(slf: Py<Self>) -> Mounted {
        Mounted { target: slf }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name = self.description.name().into_pyobject(py)?.repr()?.to_string();
        let images: Vec<String> = self.description.list_required_images().map(|image| image.path).collect();
        let images = PyList::new(py, images)?.repr()?.to_string();
        let mounted = if self.shown().mount_points.is_empty() { "" } else { ", mounted" };
        Ok(format!("<Target {name}: {images}{mounted}>"))
    }
}

impl Target {
    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self, py: Python<'_>) -> PyResult<Work> {
        fresh(self.description.name(), &self.config, &self.notices).map_err(|error| exception(py, &error))
    }

    /// Works with the target. When Python interrupts that, the run has ended, and the target is ready for another one.
    fn work(
        &self,
        py: Python<'_>,
        taken: &mut Taken<'_>,
        work: impl FnOnce(&mut target::Target) -> Result<(), Box<Error>> + Send,
    ) -> PyResult<()> {
        let (target, interrupt) = taken.parts()?;
        let outcome = work::run(py, interrupt, &self.notices, |()| Ok(()), |_| work(target));
        if interrupt.signal().is_some() {
            let (ended, next) = py.detach(|| {
                let next = Interrupt::new();
                let ended = next.as_ref().ok().and_then(|next| target.end_run(next.clone()).err());
                (ended, next)
            });
            if let Some(error) = ended {
                work::log(py, &exception(py, &error).value(py).to_string())?;
            }
            self.shown().mount_points.clear();
            *interrupt = next?;
        }
        self.shown().variables = target.variables();
        outcome?.map_err(|error| exception(py, &error))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Unmounting takes a while. Python may be gone already, and nobody waits then.
        let slot = &self.slot;
        if Python::try_attach(|py| py.detach(|| drop(slot.close()))).is_none() {
            drop(slot.close());
        }
    }
}

/// What `Target.mounted()` returns.
#[pyclass(frozen, name = "_Mounted", module = "gonto._gonto")]
pub(crate) struct Mounted {
    target: Py<Target>,
}

#[pymethods]
impl Mounted {
    fn __enter__(&self, py: Python<'_>) -> PyResult<Py<Target>> {
        self.target.call_method0(py, "mount_images")?;
        Ok(self.target.clone_ref(py))
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _exception_type: &Bound<'_, PyAny>,
        _exception: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.target.call_method0(py, "umount_images").map(drop)
    }
}

/// A target with everything around it: this process sees what it mounts, and notices wait for Python.
fn fresh(name: &str, config: &Config, notices: &Pending) -> Result<Work, Box<Error>> {
    let mut surroundings = Surroundings::current()?;
    surroundings.notices = notices.notices();
    surroundings.visibility = Visibility::Everybody;
    let interrupt = surroundings.interrupt.clone();
    Ok(Work { target: target::Target::with_surroundings(name, config, surroundings)?, interrupt })
}

fn parsed(script_type: &str) -> PyResult<ScriptType> {
    let found = ScriptType::ALL.into_iter().find(|script| script.as_str() == script_type);
    found.ok_or_else(|| {
        let known = ScriptType::ALL.map(ScriptType::as_str).join(", ");
        PyValueError::new_err(format!("{script_type:?} is not a script type: there are {known}"))
    })
}

fn iterator<'py>(
    py: Python<'py>,
    images: impl IntoIterator<Item = ImageDefinition>,
) -> PyResult<Bound<'py, PyIterator>> {
    let images: PyResult<Vec<_>> = images.into_iter().map(|image| definition(py, &image)).collect();
    PyList::new(py, images?)?.try_iter()
}

/// Called when Python ends: what is mounted goes, and what others are still at is stopped.
#[pyfunction]
pub(crate) fn end_runs(py: Python<'_>) {
    let alive = std::mem::take(&mut *ALIVE.lock().unwrap_or_else(PoisonError::into_inner));
    py.detach(|| {
        for slot in alive.iter().filter_map(Weak::upgrade) {
            drop(slot.close());
        }
    });
}
