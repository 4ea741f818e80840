//! The section `targets`: named units of work.

use indexmap::IndexMap;

use super::decode::{Field, Key};
use super::diagnostic::{Diagnostic, shown};
use super::requirement::{self, Requirement};

/// How a target may be called, as a regular expression: letters, digits, `-` and `_`, with a letter first and a letter or
/// digit last.
pub const TARGET_NAME_PATTERN: &str = "^[a-zA-Z]+([a-zA-Z0-9_-]*[a-zA-Z0-9]+)?$";

/// How an environment variable may be called, as a regular expression.
pub const VARIABLE_NAME_PATTERN: &str = "^[a-zA-Z_]+[a-zA-Z0-9_]*$";

/// A target: what it requires, and what is run once that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct TargetConfig {
    /// The disk images that the target needs, in the order in which they are mounted.
    #[cfg_attr(test, schemars(default))]
    pub requires: Vec<Requirement>,
    /// Environment variables for the scripts.
    #[cfg_attr(test, schemars(default, schema_with = "super::schema::environment"))]
    pub env: IndexMap<String, String>,
    /// Commands that run before the images are mounted, one a line.
    #[cfg_attr(test, schemars(extend("type" = "string")))]
    pub before_script: Option<String>,
    /// Commands that run while the images are mounted, one a line.
    pub script: String,
    /// Commands that run after the images are unmounted, one a line, if the script succeeded.
    #[cfg_attr(test, schemars(extend("type" = "string")))]
    pub after_script: Option<String>,
}

/// Reads the section.
pub(super) fn targets(field: &Field<'_>) -> Option<IndexMap<String, TargetConfig>> {
    let mut targets = IndexMap::new();
    let mut all_valid = true;
    for (key, field) in field.entries()? {
        let name_valid = check_target_name(&key, &field);
        match target(&field) {
            Some(target) if name_valid => {
                targets.insert(key.name.to_owned(), target);
            }
            _ => all_valid = false,
        }
    }
    all_valid.then_some(targets)
}

fn target(field: &Field<'_>) -> Option<TargetConfig> {
    let fields = field.fields(&["requires", "env", "before_script", "script", "after_script"])?;
    let script_of = |name| match fields.optional(name) {
        Some(field) => field.string().map(|script| Some(script.to_owned())),
        None => Some(None),
    };
    let requires =
        fields.optional("requires").map_or(Some(Vec::new()), |field| requirement::requirements(&field));
    let env = fields.optional("env").map_or(Some(IndexMap::new()), |field| target_environment(&field));
    let before_script = script_of("before_script");
    let script =
        fields.required("script", "script: COMMAND").and_then(|field| field.string().map(str::to_owned));
    let after_script = script_of("after_script");
    Some(TargetConfig {
        requires: requires?,
        env: env?,
        before_script: before_script?,
        script: script?,
        after_script: after_script?,
    })
}

/// Environment variables of a target. No image is mounted when they are set, so the placeholder means nothing in them.
fn target_environment(field: &Field<'_>) -> Option<IndexMap<String, String>> {
    checked_environment(field, |field, value| {
        if value.contains(MOUNT_POINT_PLACEHOLDER) {
            field.report(
                Diagnostic::warning(format!(
                    "`{MOUNT_POINT_PLACEHOLDER}` is not replaced in `{}`",
                    field.path()
                ))
                .at(field.place(), "stays as it is: a target may have many mount points")
                .key_path(field.path())
                .help("move the variable to the `env` of the requirement whose mount point is meant"),
            );
        }
    })
}

/// What is replaced by the mount point in a requirement's environment and registry values.
const MOUNT_POINT_PLACEHOLDER: &str = "{{mount_point}}";

/// Environment variables, in file order.
pub(super) fn environment(field: &Field<'_>) -> Option<IndexMap<String, String>> {
    checked_environment(field, |_, _| {})
}

/// Environment variables, each shown to `check`.
fn checked_environment(
    field: &Field<'_>,
    check: impl Fn(&Field<'_>, &str),
) -> Option<IndexMap<String, String>> {
    let mut environment = IndexMap::new();
    let mut all_valid = true;
    for (key, field) in field.entries()? {
        let name_valid = check_variable_name(&key, &field);
        match field.string() {
            Some(value) if name_valid => {
                check(&field, value);
                environment.insert(key.name.to_owned(), value.to_owned());
            }
            _ => all_valid = false,
        }
    }
    all_valid.then_some(environment)
}

/// Holds the name of a target to [`TARGET_NAME_PATTERN`].
fn check_target_name(key: &Key<'_>, field: &Field<'_>) -> bool {
    let name = key.name;
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if !valid {
        field.report(
            Diagnostic::error(format!("`{}` cannot be the name of a target", shown(name)))
                .at(key.place.clone(), "expected letters, digits, `-` and `_`")
                .key_path(field.path())
                .help("begin the name with a letter (a-z, A-Z), end it with a letter or digit"),
        );
    }
    valid
}

/// Holds the name of an environment variable to [`VARIABLE_NAME_PATTERN`].
fn check_variable_name(key: &Key<'_>, field: &Field<'_>) -> bool {
    let name = key.name;
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        field.report(
            Diagnostic::error(format!("`{}` cannot be the name of an environment variable", shown(name)))
                .at(key.place.clone(), "expected letters (a-z, A-Z), digits and `_`")
                .key_path(field.path())
                .help("do not begin the name with a digit"),
        );
    }
    valid
}
