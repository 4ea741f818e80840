//! The section `gonto`: where images come from, where they are kept, and how they are mounted.

use std::cmp::Ordering;
use std::num::NonZeroU64;
use std::path::PathBuf;

use gonto_mount::{Backend, Layer};

use super::decode::{Field, Fields};
use super::diagnostic::shown;
use super::expand::{self, Surroundings};
use super::plain::Plain;
use super::requirement::one_of;
use super::size::{MAX_SIZE, parse_size};

/// The section `gonto` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[cfg_attr(test, schemars(transform = super::schema::layer))]
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
    /// Where what is written to images lies, if anything may be: the keys `layer` and `layer_limit` together.
    #[cfg_attr(test, schemars(skip))]
    pub layer: Layer,
}

impl Settings {
    /// Makes `section`, which these settings were read from, mean the same without its files. Of a `layer` and a `layer_limit` that
    /// contradict each other, the one of the later file stays.
    pub(super) fn resolve(&self, section: &mut Plain) {
        // A folder whose name is not Unicode stays as it is written.
        if let Some(folder) = self.cache_dir.to_str() {
            section.replace("cache_dir", Plain::String(folder.to_owned()));
        }
        section.replace("repository", Plain::String(self.repository.clone()));
        match self.layer {
            Layer::Cache | Layer::None => section.remove("layer_limit"),
            Layer::Memory { .. } => section.replace("layer", Plain::String(MEMORY.to_owned())),
        }
    }
}

/// The places of [`Layer`], as `layer` names them.
const CACHE: &str = "cache";
const MEMORY: &str = "memory";
const NONE: &str = "none";

/// Reads the section.
pub(super) fn settings(field: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<Settings> {
    let fields = field.fields(&["cache_dir", "repository", "backend", "layer", "layer_limit"])?;
    let cache_dir = fields
        .required("cache_dir", "cache_dir: ~/.cache/gonto")
        .and_then(|field| expand::folder(&field, surroundings));
    let repository = fields
        .required("repository", "repository: https://example.com/images/")
        .and_then(|field| expand::repository(&field, surroundings));
    let backend = fields.optional("backend").map_or(Some(Backend::default()), |field| {
        one_of(&field, "backend", &Backend::ALL.map(|it| (it.as_str(), it)))
    });
    let layer = layer(&fields);
    Some(Settings { cache_dir: cache_dir?, repository: repository?, backend: backend?, layer: layer? })
}

/// A limit means memory, because only a tmpfs can keep one. Where two files contradict each other, the later one is meant.
fn layer(fields: &Fields<'_>) -> Option<Layer> {
    let (place, limit) = (fields.optional("layer"), fields.optional("layer_limit"));
    let chosen = place.as_ref().map_or(Some(None), |field| {
        let places = [(CACHE, Layer::Cache), (MEMORY, Layer::Memory { limit: None }), (NONE, Layer::None)];
        one_of(field, "place for a layer", &places).map(Some)
    });
    let size = limit.as_ref().map_or(Some(None), |field| size(field).map(Some));
    if let (Some(place), Some(limit), Some(Some(layer))) = (&place, &limit, chosen)
        && !layer.is_in_memory()
    {
        match limit.rank().cmp(&place.rank()) {
            Ordering::Less => return size.map(|_| layer),
            Ordering::Greater => {}
            Ordering::Equal => {
                report_contradiction(place, limit, layer);
                return None;
            }
        }
    }
    Some(match (chosen?, size?) {
        (_, limit @ Some(_)) => Layer::Memory { limit },
        (chosen, None) => chosen.unwrap_or_default(),
    })
}

fn report_contradiction(place: &Field<'_>, limit: &Field<'_>, layer: Layer) {
    let (why, chosen) = if layer == Layer::None {
        ("nothing is written that could be limited", "there is no layer")
    } else {
        ("the file system of the cache keeps no limit", "the layer is on the file system of the cache")
    };
    let error = limit.error(format!("`{}` needs a layer in memory", limit.path()), why);
    limit
        .report(error.related(place.place(), chosen).help("write `layer: memory`, or remove one of the two"));
}

fn size(field: &Field<'_>) -> Option<NonZeroU64> {
    let (size, found) = if field.is_integer() {
        let size = field.integer()?.and_then(|size| u64::try_from(size).ok());
        (
            size.and_then(NonZeroU64::new).filter(|size| size.get() <= MAX_SIZE),
            field.place().text().to_owned(),
        )
    } else {
        let text = field.string()?;
        (parse_size(text), text.to_owned())
    };
    if size.is_none() {
        let error = field.error(
            format!("`{}` is not a size", shown(&found)),
            "expected a number of bytes, or one with KiB, MiB, GiB or TiB",
        );
        field.report(error.help("write a size such as 512MiB or 8G"));
    }
    size
}
