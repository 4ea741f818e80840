//! Errors of the library become exceptions. Their text is the whole chain of causes, on one line.

use std::error::Error as StdError;
use std::io;

use gonto::Error;
use gonto::config::ConfigError;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt, PyOSError, PyValueError};
use pyo3::prelude::*;

create_exception!(
    gonto.target,
    TargetDoesNotExist,
    PyValueError,
    "The configuration has no target of this name.\n\nThe message tells which one was probably meant."
);
create_exception!(
    gonto.target,
    MissingImage,
    PyException,
    "An image is not in the cache.\n\ndownload_missing_images() fetches what is missing."
);
create_exception!(
    gonto.target,
    VolumeNotMounted,
    PyException,
    "The system does not mount the volume of an image.\n\nIts mount point is taken, or no way of mounting works here."
);
create_exception!(
    gonto.target,
    VolumeNotReady,
    PyException,
    "The file of an image holds no volume that can be read.\n\nIt is damaged, or something else than an image."
);

/// The exception that tells `error`.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let text = chain(error);
    match error {
        Error::TargetDoesNotExist { .. } => TargetDoesNotExist::new_err(text),
        Error::MissingImage { .. } => MissingImage::new_err(text),
        Error::VolumeNotMounted { .. } => VolumeNotMounted::new_err(text),
        Error::VolumeNotReady { .. } => VolumeNotReady::new_err(text),
        Error::ScriptFailed { line, status, .. } => called_process_error(py, line, sys::return_code(*status)),
        Error::Interrupted { .. } => PyKeyboardInterrupt::new_err(()),
        Error::Requirement(_) => PyValueError::new_err(text),
        Error::Unmount { errors } => {
            let causes: Vec<String> = errors.iter().map(|error| chain(error)).collect();
            let code = errors.iter().find_map(|error| code(error));
            os_error(code, format!("{text}: {}", causes.join("; ")))
        }
        _ => os_error(code(error), text),
    }
}

/// What is wrong with a configuration, all of it, with the lines.
pub(crate) fn invalid(error: &ConfigError) -> PyErr {
    PyValueError::new_err(error.render(false))
}

fn called_process_error(py: Python<'_>, line: &str, return_code: i64) -> PyErr {
    let error = || py.import("subprocess")?.getattr("CalledProcessError")?.call1((return_code, line));
    error().map_or_else(|failure| failure, PyErr::from_value)
}

/// Python makes FileNotFoundError, PermissionError and so on of it, if there is a code.
fn os_error(code: Option<i32>, text: String) -> PyErr {
    match code {
        Some(code) => sys::os_error(code, text),
        None => PyOSError::new_err(text),
    }
}

/// An error and its causes, in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The system's own number of the innermost cause that has one.
fn code(error: &(dyn StdError + 'static)) -> Option<i32> {
    let deeper = match error.downcast_ref::<io::Error>() {
        // What an io::Error holds is not its source, but a part of it.
        Some(error) => match error.get_ref() {
            Some(inner) => code(inner).or_else(|| sys::code_of(error.kind())),
            None => error.raw_os_error().or_else(|| sys::code_of(error.kind())),
        },
        None => None,
    };
    deeper.or_else(|| error.source().and_then(code))
}

#[cfg(unix)]
mod sys {
    use std::io::ErrorKind;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use pyo3::PyErr;
    use pyo3::exceptions::PyOSError;

    /// As the module subprocess has it: the negative number of the signal that ended the command.
    pub(super) fn return_code(status: ExitStatus) -> i64 {
        let signal = || status.signal().map_or(-1, |signal| -i64::from(signal));
        status.code().map_or_else(signal, i64::from)
    }

    pub(super) fn os_error(code: i32, text: String) -> PyErr {
        PyOSError::new_err((code, text))
    }

    /// The usual number of an error that did not come from the system.
    pub(super) fn code_of(kind: ErrorKind) -> Option<i32> {
        match kind {
            ErrorKind::NotFound => Some(2),
            ErrorKind::PermissionDenied => Some(13),
            ErrorKind::AlreadyExists => Some(17),
            _ => None,
        }
    }
}

#[cfg(windows)]
mod sys {
    use std::io::ErrorKind;
    use std::process::ExitStatus;

    use pyo3::PyErr;
    use pyo3::exceptions::PyOSError;

    /// As the module subprocess has it: without a sign.
    pub(super) fn return_code(status: ExitStatus) -> i64 {
        status.code().map_or(-1, |code| code.cast_unsigned().into())
    }

    /// `winerror` is the fourth argument; Python derives `errno` from it.
    pub(super) fn os_error(code: i32, text: String) -> PyErr {
        PyOSError::new_err((0, text, None::<i32>, code))
    }

    /// The usual number of an error that did not come from the system.
    pub(super) fn code_of(kind: ErrorKind) -> Option<i32> {
        match kind {
            ErrorKind::NotFound => Some(2),
            ErrorKind::PermissionDenied => Some(5),
            ErrorKind::AlreadyExists => Some(183),
            _ => None,
        }
    }
}
