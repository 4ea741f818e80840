//! Which roads images can take here, and what would make the others work.

use gonto_mount::{Backend, Layer, Notices, Options};

use crate::config::Settings;
use crate::{Error, Interrupt, state};

pub use gonto_mount::{Diagnosis, Ingredient, Outcome, RoadCheck};

/// Tries all of it, for the cache of the settings. Without them, the state folder stands for the cache. Nothing of the
/// trials stays.
///
/// # Errors
/// [`Error::NoStateFolder`].
pub fn diagnose(settings: Option<&Settings>, interrupt: &Interrupt) -> Result<Diagnosis, Error> {
    let state_dir = state::folder()?;
    let cache_dir = settings.map_or_else(|| state_dir.clone(), |settings| settings.cache_dir.clone());
    Ok(gonto_mount::diagnose(&Options {
        state_dir,
        cache_dir,
        backend: Backend::Auto,
        layer: Layer::Cache,
        notices: Notices::new(drop),
        interrupt: interrupt.clone(),
    }))
}
