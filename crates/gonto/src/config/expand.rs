//! What the author of a configuration writes for a folder or a repository, and what it means on this machine.

use std::ffi::OsString;
use std::path::{Component, MAIN_SEPARATOR_STR, Path, PathBuf};

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

/// A URL with `/` at its end, or the absolute path of a folder with the separator of the system.
pub(super) fn repository(field: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<String> {
    let text = expanded(field, surroundings)?;
    let (repository, separator) = match scheme(&text) {
        Some(scheme) => {
            check_url(field, &text, scheme)?;
            (text, "/")
        }
        None => match absolute(field, &text)?.into_os_string().into_string() {
            // Read again, as by who gets the configuration as plain values, it stays as it is.
            Ok(path) => (path, MAIN_SEPARATOR_STR),
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
    Some(if repository.ends_with(separator) { repository } else { repository + separator })
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
    warn_of_percent_signs(field, text);
    let path = Path::new(text);
    // On Windows, each drive has a current folder of its own.
    if let Some(Component::Prefix(drive)) = path.components().next()
        && !path.has_root()
    {
        let drive = drive.as_os_str().display();
        let below = shown(text[drive.to_string().len()..].trim_start_matches(['/', '\\']));
        field.report(
            field
                .error(
                    format!("`{}` names the drive `{drive}` without a folder", field.path()),
                    "this would depend on where gonto is started",
                )
                .help(format!(r"write {drive}\{below}, with a backslash after the colon")),
        );
        return None;
    }
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

/// What cmd would replace, and gonto does not: hardly anybody means a folder of that name.
fn warn_of_percent_signs(field: &Field<'_>, text: &str) {
    let Some(name) = text.split('%').nth(1).filter(|_| text.matches('%').count() > 1) else { return };
    let is_name = name.starts_with(|c: char| c == '_' || c.is_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_alphanumeric() || "()".contains(c));
    if is_name {
        let message = format!("`%{}%` in `{}` is not expanded", shown(name), field.path());
        field.report(
            Diagnostic::warning(message)
                .at(field.place(), "taken as it is")
                .key_path(field.path())
                .help(format!("write ${{{}}} for the environment variable", shown(name))),
        );
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
                        .help(format!("set the environment variable {HOME}, or write an absolute path")),
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
    if expanded.is_empty() {
        let error = field.error(format!("`{}` must not be empty", field.path()), "found an empty text");
        fail(error.help("write a path or a URL"));
        return None;
    }
    // "D:\tools" is how they get into paths of Windows, which cannot hold any.
    if let Some(found) = expanded.chars().find(|&c| c == '\0' || cfg!(windows) && c.is_ascii_control()) {
        let message = format!("`{}` must not hold the character {found:?}", field.path());
        fail(
            field
                .error(message, "no path and no URL can hold it")
                .help("in double quotes a backslash begins an escape, such as \\t: use single quotes"),
        );
        return None;
    }
    Some(expanded)
}

/// Where the home folder stands.
const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

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

    /// The file is `\etc\gonto.yaml` on the current drive, whatever that is.
    #[cfg(windows)]
    #[test]
    fn folders_become_absolute() {
        let folder = |text| read(text, Some(r"C:\Users\me"), folder).map(|path| path.display().to_string());
        for (text, expected) in [
            (r"D:\c", r"D:\c"),
            ("D:/c/d", r"D:\c\d"),
            (r"D:\c\.\d\..", r"D:\c"),
            (r"~\c", r"C:\Users\me\c"),
            ("~/.cache/gonto", r"C:\Users\me\.cache\gonto"),
            (r"~me\c", r"Z:\etc\~me\c"),
            (r"${A}\c", r"Z:\etc\alpha\c"),
            (r"\\server\share\c", r"\\server\share\c"),
            (r"\\?\D:\c", r"\\?\D:\c"),
            (r"D:\c.", r"D:\c"),
        ] {
            let found = folder(text).unwrap();
            let drive = std::env::current_dir().unwrap().display().to_string()[..2].to_owned();
            assert_eq!(found, expected.replace("Z:", &drive), "{text}");
        }
    }

    #[cfg(windows)]
    #[test]
    fn repositories_end_with_a_separator() {
        let repository = |text| read(text, Some(r"C:\Users\me"), repository);
        for (text, expected) in [
            ("http://x", "http://x/"),
            ("file:///D:/images", "file:///D:/images/"),
            (r"D:\images", r"D:\images\"),
            (r"D:\images\", r"D:\images\"),
            (r"\\server\share", r"\\server\share\"),
            (r"\\?\D:\images", r"\\?\D:\images\"),
        ] {
            assert_eq!(repository(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[cfg(windows)]
    #[test]
    fn what_windows_would_take_otherwise_is_told() {
        for (text, message) in [
            ("D:", "`` names the drive `D:` without a folder"),
            (r"D:cache\x", "`` names the drive `D:` without a folder"),
            ("D:\tools", "`` must not hold the character '\\t'"),
            ("D:\new", "`` must not hold the character '\\n'"),
        ] {
            assert_eq!(read(text, None, folder).unwrap_err(), message, "{text:?}");
        }
    }

    #[test]
    fn percent_signs_are_not_expanded_and_that_is_told() {
        let warned = |repository: &str| {
            let text = format!("gonto: {{cache_dir: /c, repository: '{repository}'}}\ntargets: {{}}\n");
            let loaded = crate::config::Config::parse(&text, Path::new("gonto.yaml")).unwrap();
            loaded.warnings.iter().any(|warning| warning.message.contains("is not expanded"))
        };
        for text in ["%LOCALAPPDATA%/x", "a/%_A%", "%ProgramFiles(x86)%/c"] {
            assert!(warned(text), "{text}");
        }
        for text in ["100%", "a%20b%20c", "%%", "a%b", "% %", "http://x/%A%"] {
            assert!(!warned(text), "{text}");
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
