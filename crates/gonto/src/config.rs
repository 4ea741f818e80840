//! The configuration: found, read as YAML 1.1, merged and checked.
//!
//! ```text
//! search     which files there are                        folders -> texts
//! syntax     what may stand in a file      \
//! compose    anchors, tags, merge keys      > YAML         text -> tree
//! scalar     the types of plain scalars    /
//! tree       values with their places, merged over each other
//! decode     asks the tree for types, reports what is there instead
//! settings, target, requirement, registry  one struct each: tree -> struct
//! expand     ~, ${VARIABLE}, relative paths
//! size       8GiB
//! diagnostic what is wrong: file, line, column, lines, remedy
//! ```
//!
//! Nothing stops at the first error: each step reports what it finds and goes on with what is left. Nothing here prints.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

mod search;

mod compose;
mod scalar;
mod source;
mod syntax;
mod tree;

mod decode;
mod expand;
mod registry;
mod requirement;
mod settings;
mod size;
mod target;

mod diagnostic;

#[cfg(test)]
mod pyyaml;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod table;

pub use diagnostic::{ConfigError, Diagnostic, Severity};
pub use registry::{RegistryData, RegistryRoot, RegistryType, RegistryValue};
pub use requirement::{MOUNT_POINT_PATTERN, Requirement};
pub use search::{FILE_NAMES, Search};
pub use settings::Settings;
pub use size::{SIZE_PATTERN, parse_size};
pub use source::Place;
pub use target::{TARGET_NAME_PATTERN, TargetConfig, VARIABLE_NAME_PATTERN};

use decode::{Context, Fields};
use diagnostic::Report;
use expand::Surroundings;
use search::Found;
use source::Source;
use tree::{Mapping, Node, Value};

/// The JSON Schema of a configuration file, for editors.
pub const JSON_SCHEMA: &str = include_str!("../schema/gonto.schema.json");

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Config {
    /// Where images come from and where they are kept.
    pub gonto: Settings,
    /// The targets, in the order in which they are first written.
    #[cfg_attr(test, schemars(schema_with = "schema::targets"))]
    pub targets: IndexMap<String, TargetConfig>,
}

/// A configuration and what came up on the way to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is odd in it.
    pub warnings: Vec<Diagnostic>,
    /// The files that were read, in the order in which they were found.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Reads the files that `search` finds and merges them: mappings key by key, everything else is replaced by the later
    /// file.
    pub fn load(search: &Search) -> Result<Loaded, ConfigError> {
        let (found, config, warnings) = load(search, config)?;
        Ok(Loaded { config, warnings, files: found.paths() })
    }

    /// Reads `text`, the content of `file`. Relative paths are meant from the folder of `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Loaded, ConfigError> {
        let found = Found { files: vec![Source::new(file, text)], order: vec![0], unreadable: false };
        let surroundings =
            Surroundings { home: std::env::home_dir(), variable: &|name| std::env::var_os(name) };
        let (config, warnings) = check(&found, &surroundings, Report::default(), config)?;
        Ok(Loaded { config, warnings, files: found.paths() })
    }
}

impl Settings {
    /// Reads the section `gonto` of the files that [`Config::load`] reads, for what needs no target: there may be none. Returns what is
    /// odd in the files as well.
    pub fn load(search: &Search) -> Result<(Settings, Vec<Diagnostic>), ConfigError> {
        let (_, settings, warnings) = load(search, |fields, surroundings| {
            let settings = gonto(fields, surroundings);
            // If there are any, they are checked as ever.
            fields.optional("targets").and_then(|field| target::targets(&field));
            settings
        })?;
        Ok((settings, warnings))
    }
}

/// Looks for the files, and decodes what they say together.
fn load<T>(
    search: &Search,
    decode: impl FnOnce(&Fields<'_>, &Surroundings<'_>) -> Option<T>,
) -> Result<(Found, T, Vec<Diagnostic>), ConfigError> {
    let report = Report::default();
    let found = search.read(&report);
    let surroundings = Surroundings { home: search.home.clone(), variable: &|name| std::env::var_os(name) };
    if found.files.is_empty() && !found.unreadable {
        report_nothing_found(search, &report);
        return Err(ConfigError::new(report.into_diagnostics()));
    }
    let (decoded, warnings) = check(&found, &surroundings, report, decode)?;
    Ok((found, decoded, warnings))
}

/// From texts to what `decode` makes of them, and what is odd in them.
fn check<T>(
    found: &Found,
    surroundings: &Surroundings<'_>,
    report: Report,
    decode: impl FnOnce(&Fields<'_>, &Surroundings<'_>) -> Option<T>,
) -> Result<(T, Vec<Diagnostic>), ConfigError> {
    let mappings: Vec<Option<Mapping>> =
        found.files.iter().map(|source| compose::compose(source, &report)).collect();
    let incomplete = found.unreadable || mappings.iter().any(Option::is_none);
    let mut merged = Mapping::default();
    for mapping in found.order.iter().filter_map(|&index| mappings[index].clone()) {
        merged.overlay(mapping);
    }
    let start = start_of(found);
    let root =
        Node { value: Value::Mapping(merged), place: start.clone(), plain: false, height: 0, weight: 0 };
    let context = Context { report: &report, found, incomplete };
    let fields = decode::root(&root, start, context).fields(&["gonto", "targets"]);
    let decoded = fields.and_then(|fields| decode(&fields, surroundings));
    let failed = report.has_errors();
    let diagnostics = report.into_diagnostics();
    match decoded {
        Some(decoded) if !failed => Ok((decoded, diagnostics)),
        _ => Err(ConfigError::new(diagnostics)),
    }
}

fn gonto(fields: &Fields<'_>, surroundings: &Surroundings<'_>) -> Option<Settings> {
    fields
        .required("gonto", "gonto: { cache_dir: FOLDER, repository: URL }")
        .and_then(|field| settings::settings(&field, surroundings))
}

fn config(fields: &Fields<'_>, surroundings: &Surroundings<'_>) -> Option<Config> {
    let gonto = gonto(fields, surroundings);
    let targets = fields
        .required("targets", "targets: { build: { script: COMMAND } }")
        .and_then(|field| target::targets(&field));
    Some(Config { gonto: gonto?, targets: targets? })
}

/// Where it is said that the configuration as a whole lacks something: at the start of the last file, which is the one
/// nearest to the user.
fn start_of(found: &Found) -> Place {
    let last = found.order.last().and_then(|&index| found.files.get(index)).cloned();
    Place::new(&last.unwrap_or_else(|| Arc::new(Source { path: PathBuf::new(), text: String::new() })), 0..0)
}

fn report_nothing_found(search: &Search, report: &Report) {
    let mut folders: Vec<String> = search.folders().iter().map(|it| it.display().to_string()).collect();
    folders.dedup();
    report.add(Diagnostic::warning("no configuration file was found"));
    report.add(
        Diagnostic::error(format!(
            "`gonto` and `targets` are missing: none of {} lies in {}",
            FILE_NAMES.join(", "),
            folders.join(", ")
        ))
        .help(format!("write a file gonto.yaml, such as\n\n{MINIMAL_EXAMPLE}")),
    );
}

const MINIMAL_EXAMPLE: &str = "\
gonto:
  cache_dir: ~/.cache/gonto
  repository: https://example.com/images/
targets:
  build:
    requires:
      - name: toolchain
        version: \"1.2.3\"
        env:
          TOOLCHAIN: \"{{mount_point}}\"
    script: make";
