//! Values, from Python and back.

use gonto::config::{Plain, RegistryData, RegistryValue};
use gonto::target::ImageDefinition;
use indexmap::IndexMap;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// More levels than any configuration has. A value may hold itself.
const MAX_DEPTH: usize = 100;

/// More values than any configuration has. What is there once in memory may be in many places, as YAML's aliases are.
const MAX_VALUES: usize = 1_000_000;

/// A value of a configuration. `what` is what it is called in messages.
///
/// # Errors
/// TypeError for what is nothing of the kind; ValueError for what never ends, numbers beyond 128 bits and texts that are not Unicode.
pub(crate) fn plain(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Plain> {
    Reader { values: 0 }.read(value, what, 0)
}

struct Reader {
    values: usize,
}

impl Reader {
    fn read(&mut self, value: &Bound<'_, PyAny>, what: &str, depth: usize) -> PyResult<Plain> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(PyValueError::new_err(format!(
                "{what} is too large for a configuration, or holds itself"
            )));
        }
        if value.is_none() {
            return Ok(Plain::Null);
        }
        // Before integers, of which booleans are some.
        if let Ok(value) = value.cast::<PyBool>() {
            return Ok(Plain::Bool(value.is_true()));
        }
        if let Ok(value) = value.cast::<PyString>() {
            return Ok(Plain::String(value.to_cow()?.into_owned()));
        }
        if value.is_instance_of::<PyInt>() {
            let too_large = |_| PyValueError::new_err(format!("{what} is too large a number"));
            return value.extract().map(Plain::Integer).map_err(too_large);
        }
        if value.is_instance_of::<PyFloat>() {
            return value.extract().map(Plain::Float);
        }
        if let Ok(entries) = value.cast::<PyDict>() {
            let mut mapping = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let name = format!("{what}[{}]", key.repr()?);
                mapping.push((self.read(&key, &name, depth + 1)?, self.read(&value, &name, depth + 1)?));
            }
            return Ok(Plain::Mapping(mapping));
        }
        if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            let mut list = Vec::new();
            for (index, item) in value.try_iter()?.enumerate() {
                list.push(self.read(&item?, &format!("{what}[{index}]"), depth + 1)?);
            }
            return Ok(Plain::List(list));
        }
        let kind = value.get_type().name()?;
        Err(PyTypeError::new_err(format!("{what} must be a dict, list, str or int, not {kind}")))
    }
}

/// The value that `plain` stands for.
pub(crate) fn object<'py>(py: Python<'py>, plain: &Plain) -> PyResult<Bound<'py, PyAny>> {
    Ok(match plain {
        Plain::Null => py.None().into_bound(py),
        Plain::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Plain::Integer(value) => value.into_pyobject(py)?.into_any(),
        Plain::Float(value) => value.into_pyobject(py)?.into_any(),
        Plain::String(value) => value.into_pyobject(py)?.into_any(),
        Plain::List(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(object(py, item)?)?;
            }
            list.into_any()
        }
        Plain::Mapping(entries) => {
            let dict = PyDict::new(py);
            for (key, value) in entries {
                dict.set_item(object(py, key)?, object(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// An image definition, with exactly the keys that are documented.
pub(crate) fn definition<'py>(py: Python<'py>, image: &ImageDefinition) -> PyResult<Bound<'py, PyDict>> {
    let ImageDefinition { path, name, version, platform, format, mount_point, env, reg } = image;
    let dict = PyDict::new(py);
    dict.set_item("path", path)?;
    dict.set_item("name", name)?;
    dict.set_item("version", version)?;
    dict.set_item("platform", platform.as_str())?;
    dict.set_item("format", format.as_str())?;
    dict.set_item("mount_point", mount_point)?;
    dict.set_item("env", environment(py, env)?)?;
    let values: PyResult<Vec<_>> = reg.iter().map(|value| registry_value(py, value)).collect();
    dict.set_item("reg", values?)?;
    Ok(dict)
}

fn environment<'py>(py: Python<'py>, env: &IndexMap<String, String>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in env {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

fn registry_value<'py>(py: Python<'py>, value: &RegistryValue) -> PyResult<Bound<'py, PyDict>> {
    let RegistryValue { root, path, name, kind, data } = value;
    let dict = PyDict::new(py);
    dict.set_item("root", root.as_str())?;
    dict.set_item("path", path)?;
    dict.set_item("name", name)?;
    dict.set_item("type", kind.as_str())?;
    match data {
        RegistryData::String(text) => dict.set_item("data", text)?,
        RegistryData::Integer(number) => dict.set_item("data", number)?,
    }
    Ok(dict)
}
