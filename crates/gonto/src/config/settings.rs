//! The section `gonto`: where images come from and where they are kept.

use std::path::PathBuf;

use super::decode::Field;
use super::expand::{self, Surroundings};

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
}

/// Reads the section.
pub(super) fn settings(field: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<Settings> {
    let fields = field.fields(&["cache_dir", "repository"])?;
    let cache_dir = fields
        .required("cache_dir", "cache_dir: ~/.cache/gonto")
        .and_then(|field| expand::folder(&field, surroundings));
    let repository = fields
        .required("repository", "repository: https://example.com/images/")
        .and_then(|field| expand::repository(&field, surroundings));
    Some(Settings { cache_dir: cache_dir?, repository: repository? })
}
