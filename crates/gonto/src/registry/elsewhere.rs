//! Systems without a registry: nothing is ever written, so nothing has to be put back.

use std::ffi::OsString;
use std::path::Path;

use gonto_mount::Options;

use crate::Error;
use crate::config::RegistryValue;

/// The registry, as far as gonto has changed it.
#[derive(Debug)]
pub(crate) struct Registry;

impl Registry {
    pub(crate) fn new(_options: &Options) -> Self {
        Self
    }

    pub(crate) fn tidy_up(&self) {}

    pub(crate) fn values(&self, _keeper: Option<(&str, &Path)>) -> Values {
        Values
    }

    #[expect(clippy::unnecessary_wraps, reason = "on Windows it can fail")]
    pub(crate) fn release(&self, _target: &str, _project: &Path) -> Result<(), Error> {
        Ok(())
    }
}

/// Values that are written together.
#[derive(Debug)]
pub(crate) struct Values;

#[expect(clippy::unnecessary_wraps, reason = "on Windows they can fail")]
impl Values {
    pub(crate) fn write(
        &mut self,
        _values: &[RegistryValue],
        _fill_in: impl Fn(&str) -> OsString,
    ) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn keep(self) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn restore(self) -> Result<(), Error> {
        Ok(())
    }
}
