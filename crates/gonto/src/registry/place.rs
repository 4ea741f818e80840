//! Where a value is: a root, the names of keys below it, and the value's own name.
//!
//! Windows does not tell upper from lower case in any of these, so neither does the comparison of places.

use std::fmt;

use super::RegistryError;
use crate::config::{RegistryRoot, RegistryValue};

/// A key: a root, or one below it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    root: RegistryRoot,
    /// From the root on. None is empty, and none holds a backslash.
    names: Vec<String>,
}

/// A value of a key.
#[derive(Clone, Debug)]
pub(super) struct Place {
    key: Key,
    /// Empty for the default value.
    name: String,
}

impl Key {
    /// The key with this path below a root. A backslash at an end of the path, or a second one, means nothing.
    pub(super) fn new(root: RegistryRoot, path: &str) -> Self {
        let names = path.split('\\').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { root, names }
    }

    pub(super) fn root(&self) -> RegistryRoot {
        self.root
    }

    /// The names with backslashes between them; empty for a root.
    pub(super) fn path(&self) -> String {
        self.names.join("\\")
    }

    pub(super) fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// How many keys lie between a root and this one, itself included.
    pub(super) fn depth(&self) -> usize {
        self.names.len()
    }

    /// This key, the one above it, and so on; without the root.
    pub(super) fn upwards(&self) -> impl Iterator<Item = Self> + '_ {
        (1..=self.names.len())
            .rev()
            .map(|depth| Self { root: self.root, names: self.names.iter().take(depth).cloned().collect() })
    }

    /// Whether the other one is this key, or lies below it.
    pub(super) fn holds(&self, other: &Self) -> bool {
        self.root == other.root
            && self.names.len() <= other.names.len()
            && self.names.iter().zip(&other.names).all(|(ours, theirs)| is_same(ours, theirs))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.names.len() == other.names.len() && self.holds(other)
    }
}

impl Eq for Key {}

impl Place {
    /// The place with this name in a key.
    ///
    /// # Errors
    /// [`RegistryError::RootIsReadOnly`], [`RegistryError::Nul`].
    pub(super) fn new(key: Key, name: &str) -> Result<Self, RegistryError> {
        let place = Self { key, name: name.to_owned() };
        let part =
            [("path", place.key.names.iter().any(|name| name.contains('\0'))), ("name", name.contains('\0'))]
                .into_iter()
                .find_map(|(part, nul)| nul.then_some(part));
        if let Some(part) = part {
            return Err(RegistryError::Nul { value: place.to_string(), part });
        }
        match place.key.root {
            // The first is of Windows 95, the other one shows counters of the running system.
            root @ (RegistryRoot::DynData | RegistryRoot::PerformanceData) => {
                Err(RegistryError::RootIsReadOnly { value: place.to_string(), root: root.as_str() })
            }
            _ => Ok(place),
        }
    }

    /// The place of a value of the configuration.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub(super) fn of(value: &RegistryValue) -> Result<Self, RegistryError> {
        Self::new(Key::new(value.root, &value.path), &value.name)
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && is_same(&self.name, &other.name)
    }
}

impl Eq for Place {}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root.as_str())?;
        self.names.iter().try_for_each(|name| write!(f, "\\{name}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.name {
            "" => write!(f, "the default value of {}", self.key),
            name => write!(f, "the value {name:?} of {}", self.key),
        }
    }
}

fn is_same(a: &str, b: &str) -> bool {
    a.chars().map(upper).eq(b.chars().map(upper))
}

/// The upper case of a character as Windows has it: one unit for one unit, and only where the way back leads to the same
/// character. `ß` stays, and `ı` is no `I`.
fn upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) if upper.len_utf16() == 1 && upper.to_lowercase().eq([character]) => upper,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Key {
        Key::new(RegistryRoot::CurrentUser, path)
    }

    #[test]
    fn a_place_has_many_spellings() {
        let place = |path, name| Place::new(key(path), name).unwrap();
        assert_eq!(place(r"Software\Gonto", "Path"), place(r"\SOFTWARE\\gonto\", "PATH"));
        assert_eq!(place("straße\u{e4}", "ÿ"), place("STRAßE\u{c4}", "Ÿ"));
        assert_ne!(place("a", "ß"), place("a", "SS"));
        assert_ne!(place("a", "\u{131}"), place("a", "I"), "the dotless i is a letter of its own");
        assert_ne!(place("a", "\u{10428}"), place("a", "\u{10400}"), "surrogates have no case");
        assert_ne!(place("a", "b"), place("a/b", ""), "a slash is part of a name");
        assert_ne!(place("a", "b"), place(r"a\b", ""));
        assert_ne!(key("a"), Key::new(RegistryRoot::LocalMachine, "a"));
    }

    #[test]
    fn a_key_holds_itself_and_what_is_below_it() {
        assert!(key("a").holds(&key("A")));
        assert!(key("a").holds(&key(r"a\b")));
        assert!(key("").holds(&key("a")));
        assert!(!key("a").holds(&key("ab")));
        assert!(!key(r"a\b").holds(&key("a")));
        let upwards: Vec<_> = key(r"a\b\c").upwards().map(|key| key.path()).collect();
        assert_eq!(upwards, [r"a\b\c", r"a\b", "a"]);
    }

    #[test]
    fn what_cannot_be_written_is_told_by_name() {
        let failed = |root, path, name| Place::new(Key::new(root, path), name).unwrap_err().to_string();
        assert_eq!(
            failed(RegistryRoot::DynData, "a", "b"),
            "the value \"b\" of HKEY_DYN_DATA\\a cannot be set: Windows lets nobody write to HKEY_DYN_DATA. Take it out of \
             `reg`, or use another root, such as HKEY_CURRENT_USER"
        );
        assert!(failed(RegistryRoot::PerformanceData, "", "").starts_with("the default value of HKEY_PERF"));
        let text = failed(RegistryRoot::CurrentUser, "a", "b\0c");
        assert_eq!(
            text,
            "the value \"b\\0c\" of HKEY_CURRENT_USER\\a cannot be set: there is a NUL character in its name. Remove it"
        );
        assert!(failed(RegistryRoot::CurrentUser, "a\0b", "").contains("in its path"));
    }
}
