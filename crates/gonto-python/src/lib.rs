//! The Python module `gonto._gonto`, which the package `gonto` shows as `gonto.target` and `gonto.config`.
//!
//! | module | what it does |
//! | --- | --- |
//! | `target` | the class `Target` |
//! | `config` | `read_config`, `validate_config`, `requirement_to_image_path` |
//! | `work` | work without the GIL that Python can interrupt |
//! | `slot` | who works with a target, when several threads have it |
//! | `values` | values, both ways |
//! | `errors` | errors become exceptions |
//!
//! Conversions only: whatever has to be decided is decided in the crate `gonto`.
#![deny(unsafe_code)]

mod config;
mod errors;
mod slot;
mod target;
mod values;
mod work;

use pyo3::prelude::*;

/// What the package `gonto` is made of. Import `gonto.target` and `gonto.config` instead.
#[pymodule]
mod _gonto {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::config::{read_config, requirement_to_image_path, validate_config};
    #[pymodule_export]
    use crate::errors::{MissingImage, TargetDoesNotExist, VolumeNotMounted, VolumeNotReady};
    #[pymodule_export]
    use crate::target::{Mounted, Target};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::at_exit(module)
    }
}

/// Python may end without dropping what it holds. No image of ours shall stay mounted for that.
fn at_exit(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let end = wrap_pyfunction!(target::end_runs, module)?;
    module.py().import("atexit")?.call_method1("register", (end,))?;
    Ok(())
}
