//! What the author of a configuration writes for a folder or a repository, and what it means on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::decode::Field;
use super::diagnostic::{Diagnostic, shown};

/// What a repository may be, as a regular expression: a URL of a supported scheme, or anything that is no URL.
#[cfg(test)]
pub(super) const REPOSITORY_PATTERN: &str =
    "^([hH][tT][tT][pP][sS]?://|[fF][iI][lL][eE]://|(?![a-zA-Z][a-zA-Z0-9+.-]*://)(.|\\n))";

/// What `~` and `${VARIABLE}` stand for.
pub(super) struct Surroundings<'a> {
    pub(super) home: Option<PathBuf>,
    pub(super) variable: &'a dyn Fn(&str) -> Option<OsString>,
}

/// The absolute path of a folder.
pub(super) fn folder(field: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    let text = expanded(field, surroundings)?;
    absolute(field, &text)
}

/// A URL, or the absolute path of a folder, with `/` at its end.
pub(super) fn repository(field: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<String> {
    let text = expanded(field, surroundings)?;
    let repository = match scheme(&text) {
        Some(scheme) => {
            check_url(field, &text, scheme)?;
            text
        }
        None => match absolute(field, &text)?.into_os_string().into_string() {
            Ok(path) => path,
            Err(_) => {
                field.report(
                    field
                        .error(
                            format!("`{}` leads through a folder whose name is not Unicode", field.path()),
                            "",
                        )
                        .help("write an absolute path or a URL"),
                );
                return None;
            }
        },
    };
    let closed = repository.ends_with('/') || cfg!(windows) && repository.ends_with('\\');
    Some(if closed { repository } else { repository + "/" })
}

/// The text before `://`, if it is written as a scheme.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(fits)).then_some(scheme)
}

fn check_url(field: &Field<'_>, url: &str, scheme: &str) -> Option<()> {
    let known = ["http", "https", "file"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !known {
        field.report(
            field
                .error(
                    format!("`{}` has the scheme `{}`, which is not supported", field.path(), shown(scheme)),
                    "expected a URL of a supported scheme, or the path of a folder",
                )
                .help("use http://, https://, file:// or a path"),
        );
        return None;
    }
    let host = url[scheme.len() + "://".len()..].split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() && !scheme.eq_ignore_ascii_case("file") {
        field.report(
            field
                .error(
                    format!("`{}` names no host", field.path()),
                    format!("expected a host after `{scheme}://`"),
                )
                .help(format!("write {scheme}://HOST/PATH/")),
        );
        return None;
    }
    Some(())
}

/// A relative path is meant from the folder of the file that sets it, not from wherever gonto was started.
fn absolute(field: &Field<'_>, text: &str) -> Option<PathBuf> {
    let place = field.place();
    let base = place.file().parent().unwrap_or(Path::new(""));
    match std::path::absolute(base.join(text)) {
        Ok(path) => Some(path),
        Err(error) => {
            field.report(
                field
                    .error(format!("`{}` cannot be made an absolute path", field.path()), error.to_string())
                    .help("write an absolute path"),
            );
            None
        }
    }
}

/// The string with `~` and `${VARIABLE}` replaced. What they stand for is not expanded again.
fn expanded(field: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<String> {
    let text = field.string()?;
    let fail = |diagnostic: Diagnostic| field.report(diagnostic);
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    if let Some(below) = below_home(text) {
        match surroundings.home.as_deref().map(Path::to_str) {
            Some(Some(home)) => expanded.push_str(home),
            _ => {
                fail(
                    field
                        .error(
                            format!("`{}` begins with `~`, but the home folder is not known", field.path()),
                            "",
                        )
                        .help("set the environment variable HOME, or write an absolute path"),
                );
                return None;
            }
        }
        rest = below;
    } else if text.starts_with('~') {
        let message = format!("the `~` in `{}` is not expanded", field.path());
        field.report(
            Diagnostic::warning(message)
                .at(field.place(), "taken as it is: `~` alone, or `~/`, stands for the home folder")
                .key_path(field.path())
                .help("write the whole path, or `./~...` if the folder is called so"),
        );
    }
    while let Some(start) = rest.find("${") {
        expanded.push_str(&rest[..start]);
        let Some(length) = rest[start..].find('}') else {
            fail(
                field
                    .error(
                        format!("`{}` has `${{` without `}}`", field.path()),
                        "the name of a variable is not closed",
                    )
                    .help("write ${VARIABLE}"),
            );
            return None;
        };
        let name = &rest[start + "${".len()..start + length];
        expanded.push_str(&variable(field, name, surroundings)?);
        rest = &rest[start + length + 1..];
    }
    expanded.push_str(rest);
    if expanded.is_empty() || expanded.contains('\0') {
        let (what, label) = if expanded.is_empty() {
            ("must not be empty", "found an empty text")
        } else {
            ("must not hold a NUL character", "no path and no URL can hold one")
        };
        fail(field.error(format!("`{}` {what}", field.path()), label).help("write a path or a URL"));
        return None;
    }
    Some(expanded)
}

/// What follows a leading `~`, when it means the home folder of the caller: `~` alone or before a separator.
fn below_home(text: &str) -> Option<&str> {
    let below = text.strip_prefix('~')?;
    let separated = below.is_empty() || below.starts_with('/') || cfg!(windows) && below.starts_with('\\');
    separated.then_some(below)
}

fn variable(field: &Field<'_>, name: &str, surroundings: &Surroundings<'_>) -> Option<String> {
    // A name with `=` or NUL makes the system's own look-up misbehave, and an empty one is a slip of the pen.
    let is_name =
        !name.is_empty() && name.chars().all(|c| c == '_' || c.is_alphanumeric() || "()-.".contains(c));
    if !is_name {
        let message =
            format!("`${{{}}}` in `{}` does not name an environment variable", shown(name), field.path());
        field.report(
            field
                .error(message, "expected ${VARIABLE}")
                .help("write ${VARIABLE}, with letters, digits and `_`"),
        );
        return None;
    }
    match (surroundings.variable)(name).map(OsString::into_string) {
        Some(Ok(value)) => Some(value),
        Some(Err(_)) => {
            let message = format!("the environment variable `{}` is not Unicode", shown(name));
            field.report(field.error(message, "used here").help("write the path itself"));
            None
        }
        None => {
            let message = format!("the environment variable `{}` is not set", shown(name));
            field.report(
                field
                    .error(message, "used here")
                    .help(format!("set {}, or write the value itself", shown(name))),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::decode::{self, Context};
    use super::super::diagnostic::Report;
    use super::super::scalar::Scalar;
    use super::super::search::Found;
    use super::super::source::{Place, Source};
    use super::super::tree::{Node, Value};
    use super::*;

    /// Hands `text`, written in the file `/etc/gonto.yaml`, to `read`; what it gives, or the messages.
    fn read<T>(
        text: &str,
        home: Option<&str>,
        read: impl Fn(&Field<'_>, &Surroundings<'_>) -> Option<T>,
    ) -> Result<T, String> {
        let source: Arc<Source> = Source::new(Path::new("/etc/gonto.yaml"), text);
        let place = Place::new(&source, 0..text.len());
        let value = Value::Scalar(Scalar::String(text.into()));
        let node = Node { value, place: place.clone(), plain: false, height: 1, weight: 1 };
        let report = Report::default();
        let (found, incomplete) = (Found::default(), false);
        let field = decode::root(&node, place, Context { report: &report, found: &found, incomplete });
        let variable = |name: &str| match name {
            "A" => Some("alpha".into()),
            "NESTED" => Some("${A}~".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        };
        let surroundings = Surroundings { home: home.map(PathBuf::from), variable: &variable };
        let value = read(&field, &surroundings);
        value.ok_or_else(|| {
            let messages: Vec<String> = report.into_diagnostics().into_iter().map(|it| it.message).collect();
            messages.join("; ")
        })
    }

    #[cfg(unix)]
    #[test]
    fn folders_become_absolute() {
        let folder = |text| read(text, Some("/home/me"), folder).map(|path| path.display().to_string());
        for (text, expected) in [
            ("/c", "/c"),
            ("~", "/home/me"),
            ("~/c", "/home/me/c"),
            ("~me/c", "/etc/~me/c"),
            ("a~", "/etc/a~"),
            ("c/./d", "/etc/c/d"),
            ("../c", "/etc/../c"),
            ("${A}", "/etc/alpha"),
            ("/x/${A}/${A}y", "/x/alpha/alphay"),
            ("~/${A}", "/home/me/alpha"),
            ("$A", "/etc/$A"),
            ("$", "/etc/$"),
            ("a}b", "/etc/a}b"),
            ("${EMPTY}x", "/etc/x"),
            ("${NESTED}", "/etc/${A}~"),
        ] {
            assert_eq!(folder(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn repositories_end_with_a_slash() {
        let repository = |text| read(text, Some("/home/me"), repository);
        for (text, expected) in [
            ("http://x", "http://x/"),
            ("http://x/", "http://x/"),
            ("https://x/${A}", "https://x/alpha/"),
            ("file:///srv", "file:///srv/"),
            ("/srv", "/srv/"),
            ("/srv/", "/srv/"),
            ("/", "/"),
            ("images", "/etc/images/"),
            ("~/images", "/home/me/images/"),
            ("1http://x", "/etc/1http:/x/"),
        ] {
            assert_eq!(repository(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_is_named() {
        for (text, message) in [
            ("${MISSING}/x", "the environment variable `MISSING` is not set"),
            ("${EMPTY}", "`` must not be empty"),
            ("${A", "`` has `${` without `}`"),
            ("${A B}", "`${A B}` in `` does not name an environment variable"),
            ("~/x", "`` begins with `~`, but the home folder is not known"),
        ] {
            assert_eq!(read(text, None, folder).unwrap_err(), message);
        }
        assert!(read("gopher://x", None, repository).unwrap_err().contains("scheme `gopher`"));
    }
}
