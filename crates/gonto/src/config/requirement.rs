//! A requirement: one disk image that a target needs, and where it is to be mounted.

use gonto_store::{Format, Platform};
use indexmap::IndexMap;

use super::decode::{Field, closest};
use super::diagnostic::shown;
use super::registry::{self, RegistryValue};
use super::target::environment;

/// Where an image may be mounted, as a regular expression: empty, a drive letter from `D:\` to `Z:\`, or an absolute
/// path that is not the root and has no component `..`.
pub const MOUNT_POINT_PATTERN: &str =
    r"^(|[D-Z]:\\|/(?!([^\u0000]*/)?\.\.(/|$))[^\u0000]*([^./\u0000]|\.\.\.)[^\u0000]*)$";

/// One disk image that a target needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Requirement {
    /// The name of the image: lower-case letters, digits and hyphens.
    #[cfg_attr(test, schemars(regex(pattern = gonto_store::NAME_PATTERN)))]
    pub name: String,
    /// The version of the image, in quotes, such as `"1.2.3"` or `"5.4.1-custom1"`.
    #[cfg_attr(test, schemars(regex(pattern = gonto_store::VERSION_PATTERN)))]
    pub version: String,
    /// The platform that the content of the image is for.
    #[cfg_attr(test, schemars(default, schema_with = "super::schema::platform"))]
    pub platform: Platform,
    /// The format of the disk image.
    #[cfg_attr(test, schemars(default, schema_with = "super::schema::format"))]
    pub format: Format,
    /// Where the image is mounted: a drive letter such as `U:\`, an absolute path (on Linux), or empty when the system is
    /// to choose.
    #[cfg_attr(test, schemars(default, regex(pattern = MOUNT_POINT_PATTERN)))]
    pub mount_point: String,
    /// Environment variables that are set once the image is mounted. `{{mount_point}}` in a value is replaced by the mount
    /// point, which ends with the separator.
    #[cfg_attr(test, schemars(default, schema_with = "super::schema::environment"))]
    pub env: IndexMap<String, String>,
    /// Registry values that are written once the image is mounted, on Windows.
    #[cfg_attr(test, schemars(default))]
    pub reg: Vec<RegistryValue>,
}

/// Reads a list of requirements.
pub(super) fn requirements(field: &Field<'_>) -> Option<Vec<Requirement>> {
    // Each is read, whether or not one before it is wrong.
    let requirements: Vec<_> = field.list()?.iter().map(requirement).collect();
    requirements.into_iter().collect()
}

/// Reads one of them.
pub(super) fn requirement(field: &Field<'_>) -> Option<Requirement> {
    let fields = field.fields(&["name", "version", "platform", "format", "mount_point", "env", "reg"])?;
    let name = fields.required("name", "name: IMAGE").and_then(|field| name(&field));
    let version = fields.required("version", "version: \"1.2.3\"").and_then(|field| version(&field));
    let platform = fields.optional("platform").map_or(Some(Platform::default()), |field| {
        one_of(&field, "platform", &Platform::ALL.map(|it| (it.as_str(), it)))
    });
    let format = fields.optional("format").map_or(Some(Format::default()), |field| {
        one_of(&field, "format", &Format::ALL.map(|it| (it.as_str(), it)))
    });
    let mount_point = fields.optional("mount_point").map_or(Some(String::new()), |field| mount_point(&field));
    let env = fields.optional("env").map_or(Some(IndexMap::new()), |field| environment(&field));
    let reg = fields.optional("reg").map_or(Some(Vec::new()), |field| registry::registry_values(&field));
    Some(Requirement {
        name: name?,
        version: version?,
        platform: platform?,
        format: format?,
        mount_point: mount_point?,
        env: env?,
        reg: reg?,
    })
}

fn name(field: &Field<'_>) -> Option<String> {
    let name = field.string()?;
    if gonto_store::check_name(name).is_ok() {
        return Some(name.to_owned());
    }
    let suggestion: String =
        name.to_lowercase().chars().map(|c| if matches!(c, ' ' | '_' | '.') { '-' } else { c }).collect();
    let error = field.error(
        format!("`{}` is not the name of an image", shown(name)),
        "expected lower-case letters (a-z), digits and hyphens",
    );
    field.report(if gonto_store::check_name(&suggestion).is_ok() {
        error.help(format!("write `{}`, if the image is called so", shown(&suggestion)))
    } else {
        error.help("write the name that the image has in the repository")
    });
    None
}

fn version(field: &Field<'_>) -> Option<String> {
    let version = field.string()?;
    if gonto_store::check_version(version).is_ok() {
        return Some(version.to_owned());
    }
    let error = field.error(
        format!("`{}` is not the version of an image", shown(version)),
        "expected numbers with dots between them, then perhaps a hyphen and lower-case letters or digits",
    );
    let without_v = version.trim().trim_start_matches(['v', 'V']);
    field.report(if gonto_store::check_version(without_v).is_ok() {
        error.help(format!("write \"{}\"", shown(without_v)))
    } else {
        error.help("write a version such as \"1.2.3\" or \"5.4.1-custom1\"")
    });
    None
}

/// One of a few words. `what` is what they are.
pub(super) fn one_of<T: Copy>(field: &Field<'_>, what: &str, choices: &[(&'static str, T)]) -> Option<T> {
    let found = field.string()?;
    if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == found) {
        return Some(*choice);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let all = words.join(", ");
    let error =
        field.error(format!("`{}` is not a known {what}", shown(found)), format!("expected one of {all}"));
    field.report(match closest(found, &words) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error.help(format!("use one of {all}")),
    });
    None
}

/// Holds a mount point to [`MOUNT_POINT_PATTERN`], and to what this system can do.
fn mount_point(field: &Field<'_>) -> Option<String> {
    let text = field.string()?;
    if text.is_empty() || is_drive(text) {
        return Some(text.to_owned());
    }
    let (label, help) = if text.starts_with('/') {
        match refusal_of_path(text) {
            None => return Some(text.to_owned()),
            Some(refusal) => refusal,
        }
    } else {
        ("expected a drive letter or an absolute path", remedy(text))
    };
    field.report(field.error(format!("`{}` is not a mount point", shown(text)), label).help(help));
    None
}

/// `D:\` to `Z:\`. A to C are taken on every Windows machine.
fn is_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [b'D'..=b'Z', b':', b'\\'])
}

/// Why an absolute path cannot be a mount point, with the remedy.
fn refusal_of_path(text: &str) -> Option<(&'static str, String)> {
    let mut components = text.split('/').filter(|component| !matches!(*component, "" | "."));
    if cfg!(windows) {
        Some((
            "an absolute path is a mount point on Linux only",
            r"write a drive letter, such as 'U:\'".to_owned(),
        ))
    } else if text.contains('\0') {
        Some(("no path can hold a NUL character", "remove it".to_owned()))
    } else if text.split('/').any(|component| component == "..") {
        Some(("the path must not hold `..`", "write the path without it".to_owned()))
    } else if components.next().is_none() {
        Some((
            "this would hide the whole system",
            "write the path of a folder, such as /opt/toolchain".to_owned(),
        ))
    } else {
        None
    }
}

fn remedy(text: &str) -> String {
    let letter = text.chars().next().map(|c| c.to_ascii_uppercase());
    let only_a_drive = text.get(1..).is_some_and(|rest| {
        matches!(rest.trim_end(), "" | ":" | "\\" | "/" | ":\\" | ":/" | ":\\\\" | ":\\/")
    });
    match letter {
        Some(letter @ 'D'..='Z') if only_a_drive => format!(r"write '{letter}:\'"),
        Some('A'..='C') if only_a_drive => r"use a letter from D to Z, such as 'U:\'".to_owned(),
        _ if text.get(1..2) == Some(":") => r"write a drive letter alone, such as 'U:\'".to_owned(),
        _ => r"write a drive letter such as 'U:\', an absolute path such as /opt/toolchain, or '' for any"
            .to_owned(),
    }
}
