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
//! plain      values without places, for programs          values <-> texts, tree -> values
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
mod plain;
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
pub use plain::Plain;
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
        let (found, config, warnings) = parse(text, file, config)?;
        Ok(Loaded { config, warnings, files: found.paths() })
    }

    /// Checks a configuration that a program has made, by the rules of files. `~` and `${VARIABLE}` are expanded; relative paths are
    /// meant from the current folder. What is wrong is shown as if it had been written in a file. No files were read.
    ///
    /// ```
    /// use gonto::config::{Config, Plain};
    /// let wrong = Plain::Mapping(vec![(Plain::String("targets".into()), Plain::Integer(1))]);
    /// let error = Config::from_plain(&wrong).unwrap_err().to_string();
    /// assert!(error.contains("`targets` must be a mapping") && error.contains("`gonto` is missing"));
    /// ```
    pub fn from_plain(plain: &Plain) -> Result<Loaded, ConfigError> {
        let text = plain.to_yaml().ok_or_else(|| ConfigError::new(vec![plain::too_deep()]))?;
        let (_, config, warnings) = parse(&text, Path::new("<configuration>"), config)?;
        Ok(Loaded { config, warnings, files: Vec::new() })
    }
}

impl Plain {
    /// Reads the files that `search` finds and merges them, like [`Config::load`], but does not ask whether they make a
    /// configuration: a program may want to change them first. [`Config::from_plain`] asks then.
    ///
    /// `cache_dir` and `repository` mean the same wherever they are read again: `~` and variables in them are expanded and relative
    /// paths are absolute, unless something is wrong in the section `gonto`. Where no file is found it is an empty
    /// mapping, with a warning.
    ///
    /// # Errors
    /// When a file cannot be read, is not YAML, or has a value of a type that no key takes and [`Plain`] does not know, such as a date.
    pub fn load(search: &Search) -> Result<(Plain, Vec<Diagnostic>), ConfigError> {
        let report = Report::default();
        let found = search.read(&report);
        if found.files.is_empty() && !found.unreadable {
            report.add(Diagnostic::warning(NOTHING_FOUND));
        }
        let (root, incomplete) = merge(&found, &report);
        let mut plain = Plain::of(&root, &report);
        // What is wrong is told by who checks it.
        let aside = Report::default();
        let context = Context { report: &aside, found: &found, incomplete };
        let fields = decode::root(&root, root.place.clone(), context).fields(SECTIONS);
        let settings = fields.and_then(|fields| gonto(&fields, &surroundings(search.home.clone())));
        if let (Some(settings), Some(section)) = (settings, plain.get_mut("gonto")) {
            settings.resolve(section);
        }
        if incomplete || report.has_errors() {
            return Err(ConfigError::new(report.into_diagnostics()));
        }
        Ok((plain, report.into_diagnostics()))
    }
}

impl Requirement {
    /// Reads what names the image, `name`, `version`, `platform` and `format`, and ignores all other keys.
    pub fn naming(plain: &Plain) -> Result<Requirement, ConfigError> {
        if !matches!(plain, Plain::Mapping(_)) {
            let error = Diagnostic::error("a requirement must be a mapping");
            return Err(ConfigError::new(vec![error.help("write at least `name` and `version`")]));
        }
        let named = plain.only(&["name", "version", "platform", "format"]);
        let text = named.to_yaml().ok_or_else(|| ConfigError::new(vec![plain::too_deep()]))?;
        let report = Report::default();
        let source = Source::new(Path::new("<requirement>"), &text);
        let found = Found { files: vec![source], order: vec![0], unreadable: false };
        let (root, incomplete) = merge(&found, &report);
        let context = Context { report: &report, found: &found, incomplete };
        let requirement = requirement::requirement(&decode::root(&root, root.place.clone(), context));
        let failed = report.has_errors();
        requirement.filter(|_| !failed).ok_or_else(|| ConfigError::new(report.into_diagnostics()))
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
    if found.files.is_empty() && !found.unreadable {
        report_nothing_found(search, &report);
        return Err(ConfigError::new(report.into_diagnostics()));
    }
    let (decoded, warnings) = check(&found, &surroundings(search.home.clone()), report, decode)?;
    Ok((found, decoded, warnings))
}

/// Decodes one text.
fn parse<T>(
    text: &str,
    file: &Path,
    decode: impl FnOnce(&Fields<'_>, &Surroundings<'_>) -> Option<T>,
) -> Result<(Found, T, Vec<Diagnostic>), ConfigError> {
    let found = Found { files: vec![Source::new(file, text)], order: vec![0], unreadable: false };
    let (decoded, warnings) = check(&found, &surroundings(std::env::home_dir()), Report::default(), decode)?;
    Ok((found, decoded, warnings))
}

fn surroundings(home: Option<PathBuf>) -> Surroundings<'static> {
    Surroundings { home, variable: &|name| std::env::var_os(name) }
}

/// From texts to what `decode` makes of them, and what is odd in them.
fn check<T>(
    found: &Found,
    surroundings: &Surroundings<'_>,
    report: Report,
    decode: impl FnOnce(&Fields<'_>, &Surroundings<'_>) -> Option<T>,
) -> Result<(T, Vec<Diagnostic>), ConfigError> {
    let (root, incomplete) = merge(found, &report);
    let context = Context { report: &report, found, incomplete };
    let fields = decode::root(&root, root.place.clone(), context).fields(SECTIONS);
    let decoded = fields.and_then(|fields| decode(&fields, surroundings));
    let failed = report.has_errors();
    let diagnostics = report.into_diagnostics();
    match decoded {
        Some(decoded) if !failed => Ok((decoded, diagnostics)),
        _ => Err(ConfigError::new(diagnostics)),
    }
}

/// The sections of a configuration.
const SECTIONS: &[&str] = &["gonto", "targets"];

/// What the files say together, and whether one of them is not in it.
fn merge(found: &Found, report: &Report) -> (Node, bool) {
    let mappings: Vec<Option<Mapping>> =
        found.files.iter().map(|source| compose::compose(source, report)).collect();
    let incomplete = found.unreadable || mappings.iter().any(Option::is_none);
    let mut merged = Mapping::default();
    for mapping in found.order.iter().filter_map(|&index| mappings[index].clone()) {
        merged.overlay(mapping);
    }
    let root =
        Node { value: Value::Mapping(merged), place: start_of(found), plain: false, height: 0, weight: 0 };
    (root, incomplete)
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
    report.add(Diagnostic::warning(NOTHING_FOUND));
    report.add(
        Diagnostic::error(format!(
            "`gonto` and `targets` are missing: none of {} lies in {}",
            FILE_NAMES.join(", "),
            folders.join(", ")
        ))
        .help(format!("write a file gonto.yaml, such as\n\n{MINIMAL_EXAMPLE}")),
    );
}

const NOTHING_FOUND: &str = "no configuration file was found";

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
