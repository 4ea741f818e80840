//! The section `gonto`: where images come from, where they are kept, and how they are mounted.

use std::path::PathBuf;

use gonto_mount::Backend;

use super::decode::Field;
use super::expand::{self, Surroundings};
use super::requirement::one_of;

/// The section `gonto` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Settings {
    /// The folder that keeps downloaded images. A leading `~` and `${VARIABLE}` are expanded; a relative path is meant
    /// from the folder of the configuration file.
    // Absolute once it is in here.
    #[cfg_attr(test, schemars(with = "String", length(min = 1)))]
    pub cache_dir: PathBuf,
    /// Where images are downloaded from: a URL (`http://`, `https://`, `file://`) or the path of a folder. A leading `~`
    /// and `${VARIABLE}` are expanded; a relative path is meant from the folder of the configuration file.
    // A URL or an absolute path once it is in here, always with `/` at the end.
    #[cfg_attr(test, schemars(regex(pattern = expand::REPOSITORY_PATTERN)))]
    pub repository: String,
    /// How images are mounted: `auto` takes the fastest way that works here, `erofs`, `fuse` and `extract` are that way or
    /// an error.
    #[cfg_attr(test, schemars(default, schema_with = "super::schema::backend"))]
    pub backend: Backend,
}

/// Reads the section.
pub(super) fn settings(field: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<Settings> {
    let fields = field.fields(&["cache_dir", "repository", "backend"])?;
    let cache_dir = fields
        .required("cache_dir", "cache_dir: ~/.cache/gonto")
        .and_then(|field| expand::folder(&field, surroundings));
    let repository = fields
        .required("repository", "repository: https://example.com/images/")
        .and_then(|field| expand::repository(&field, surroundings));
    let backend = fields.optional("backend").map_or(Some(Backend::default()), |field| {
        one_of(&field, "backend", &Backend::ALL.map(|it| (it.as_str(), it)))
    });
    Some(Settings { cache_dir: cache_dir?, repository: repository?, backend: backend? })
}
