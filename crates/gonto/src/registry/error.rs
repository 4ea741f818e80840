//! What can go wrong with registry values.

use std::error::Error;
use std::io;
use std::path::PathBuf;

#[cfg(any(windows, test))]
use super::place::Place;
#[cfg(any(windows, test))]
use crate::config::RegistryRoot;

/// A registry value could not be set or put back. A value is named with its key, such as `the value "Path" of
/// HKEY_CURRENT_USER\Environment`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Nothing can be written below this root.
    #[error(
        "{value} cannot be set: Windows lets nobody write to {root}. Take it out of `reg`, or use another root, such as \
         HKEY_CURRENT_USER"
    )]
    RootIsReadOnly {
        /// The value.
        value: String,
        /// The root, as it is spelled in configurations.
        root: &'static str,
    },
    /// A NUL character ends a string, and what follows would be lost.
    #[error("{value} cannot be set: there is a NUL character in its {part}. Remove it")]
    Nul {
        /// The value.
        value: String,
        /// `path`, `name` or `data`.
        part: &'static str,
    },
    /// An empty string ends a `REG_MULTI_SZ`, and what follows would be lost.
    #[error(
        "{value} cannot be set: line {line} of its data is empty, which REG_MULTI_SZ cannot hold. Remove it"
    )]
    EmptyLine {
        /// The value.
        value: String,
        /// The number of the line, from 1.
        line: usize,
    },
    /// The data is not of the type (only when it does not come from a checked configuration).
    #[error("{value} cannot be set: the data of a {kind} is {expected}")]
    WrongData {
        /// The value.
        value: String,
        /// The type, as it is spelled in configurations.
        kind: &'static str,
        /// What it should be.
        expected: String,
    },
    /// The rights do not suffice.
    #[error("{value} may not be {activity}: {remedy}")]
    Denied {
        /// The value.
        value: String,
        /// `read` or `set`.
        activity: &'static str,
        /// What to do.
        remedy: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The system does not do it.
    #[error("{value} cannot be {activity}")]
    System {
        /// The value.
        value: String,
        /// `read` or `set`.
        activity: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Values could not be put back; the reasons were told as notices. The journal still has them.
    #[error("{} {} still what gonto has made of it: the next gonto tries again", values.join(", "), are(values.len()))]
    Left {
        /// The values.
        values: Vec<String>,
    },
    /// The journal of registry values, or a lock beside it, cannot be used.
    #[error("cannot use {}, by which registry values are put back: make it a file that you may write", path.display())]
    Journal {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The journal of registry values cannot be understood, so it is left as it is.
    #[error(
        "{} tells what was in the registry before gonto changed it, and is damaged: {reason}. Nothing is changed until \
         you have moved that file away; what it names, such as values with `before`, is yours to put back",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(any(windows, test))]
impl RegistryError {
    /// What the system says about a value that was to be `read` or `set`.
    pub(super) fn of(place: &Place, activity: &'static str, source: io::Error) -> Self {
        let value = place.to_string();
        if source.kind() != io::ErrorKind::PermissionDenied {
            return Self::System { value, activity, source };
        }
        let remedy = match place.key().root() {
            // What is under it for one user is shown there too.
            RegistryRoot::ClassesRoot => {
                "start gonto as administrator, or let the image use HKEY_CURRENT_USER and put Software\\Classes before \
                 the path"
            }
            RegistryRoot::CurrentUser => "start gonto as administrator, or let the image use another key",
            _ => "start gonto as administrator, or let the image use HKEY_CURRENT_USER",
        };
        Self::Denied { value, activity, remedy, source }
    }
}

/// An error with its causes, where there is room for one sentence only.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::place::Key;

    #[test]
    fn missing_rights_are_told_with_the_value_and_the_remedy() {
        let told = |root, name, kind: io::ErrorKind| {
            let place = Place::new(Key::new(root, r"SOFTWARE\Example"), name).unwrap();
            RegistryError::of(&place, "set", kind.into()).to_string()
        };
        let denied = io::ErrorKind::PermissionDenied;
        assert_eq!(
            told(RegistryRoot::LocalMachine, "Path", denied),
            "the value \"Path\" of HKEY_LOCAL_MACHINE\\SOFTWARE\\Example may not be set: start gonto as administrator, or let \
             the image use HKEY_CURRENT_USER"
        );
        let classes = told(RegistryRoot::ClassesRoot, "", denied);
        assert!(
            classes.ends_with(
                "or let the image use HKEY_CURRENT_USER and put Software\\Classes before the path"
            ),
            "{classes}"
        );
        assert_eq!(
            told(RegistryRoot::CurrentUser, "", io::ErrorKind::InvalidInput),
            "the default value of HKEY_CURRENT_USER\\SOFTWARE\\Example cannot be set"
        );
    }

    #[test]
    fn an_error_in_one_sentence_has_all_its_causes() {
        let journal = RegistryError::Journal { path: "lock".into(), source: io::Error::other("no") };
        let error = crate::Error::RegistryNotRestored(journal);
        assert_eq!(
            chain(&error),
            "the registry is not what it was before: cannot use lock, by which registry values are put back: make it a file that \
             you may write: no"
        );
    }
}
