//! Configurations.

use std::env;
use std::path::{Path, PathBuf};

use gonto::config::{Config, Plain, Requirement, Search};
use gonto::target;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::invalid;
use crate::values::{object, plain};
use crate::work;

/// The merged configuration of this project, as plain values.
///
/// The files gonto.yaml, gonto.yml, .gonto.yaml and .gonto.yml are read from
/// the folder of the Python program, the home folder and the current folder,
/// and merged in this order: mappings key by key, everything else is replaced.
/// Paths in the section `gonto` become absolute, since they are meant from the
/// files that set them. Nothing is checked otherwise; see validate_config().
/// Without any file it is an empty dict, and a warning is logged.
///
/// Raises ValueError when a file cannot be read or is not YAML.
#[pyfunction]
#[pyo3(signature = ())]
pub(crate) fn read_config(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let mut search = Search::new(env::current_dir()?);
    search.program_dir = program_folder(py)?;
    let (config, warnings) = py.detach(|| Plain::load(&search)).map_err(|error| invalid(&error))?;
    for warning in warnings {
        work::log(py, &warning.render(false))?;
    }
    Ok(object(py, &config)?.cast_into()?)
}

/// The folder in which the programs of this Python lie: in a virtual environment, that of the environment.
fn program_folder(py: Python<'_>) -> PyResult<Option<PathBuf>> {
    let executable: Option<PathBuf> = py.import("sys")?.getattr("executable")?.extract()?;
    Ok(executable.and_then(|path| path.parent().map(Path::to_owned)).filter(|path| path.is_absolute()))
}

/// Whether a configuration can be used for targets, and if not, why.
///
/// The message tells everything that is wrong, with the lines; it is empty
/// when nothing is.
#[pyfunction]
pub(crate) fn validate_config(config: &Bound<'_, PyAny>) -> PyResult<(bool, String)> {
    let py = config.py();
    let config = match plain(config, "config") {
        Ok(config) => config,
        // Not a configuration at all.
        Err(error) if error.is_instance_of::<PyValueError>(py) || error.is_instance_of::<PyTypeError>(py) => {
            return Ok((false, error.value(py).to_string()));
        }
        Err(error) => return Err(error),
    };
    Ok(match Config::from_plain(&config) {
        Ok(_) => (true, String::new()),
        Err(error) => (false, error.render(false)),
    })
}

/// Returns the image path from a Gonto requirement definition.
///
/// >>> requirement_to_image_path({"name": "foobar", "version": "1.2.3"})
/// 'foobar/foobar_v1.2.3_win64.vhd'
/// >>> requirement_to_image_path(
/// ...     {"name": "foobar", "version": "42", "platform": "multi", "format": "vhdx"}
/// ... )
/// 'foobar/foobar_v42_multi.vhdx'
///
/// Keys other than these four are not looked at. Raises ValueError when they
/// do not name an image.
#[pyfunction]
pub(crate) fn requirement_to_image_path(requirement: &Bound<'_, PyDict>) -> PyResult<String> {
    let requirement = plain(requirement, "requirement")?;
    let requirement = Requirement::naming(&requirement).map_err(|error| invalid(&error))?;
    let path = target::requirement_to_image_path(&requirement);
    path.map(|path| path.to_string()).map_err(|error| PyValueError::new_err(error.to_string()))
}
