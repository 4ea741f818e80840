//! The thin layer between the tree and the structs: it asks for a type, and reports what is there instead.
//!
//! Every function that asks returns an `Option`. None means that the reason has been reported; the caller goes on with its
//! other fields, so that one look finds all errors.

use std::fmt;
use std::rc::Rc;

use super::diagnostic::{Diagnostic, Report, shown};
use super::scalar::{self, Scalar};
use super::search::Found;
use super::source::Place;
use super::tree::{Entry, Mapping, Node, Value};

/// A value on its way into a struct: the node, the keys that lead to it, and where errors go.
#[derive(Clone)]
pub(super) struct Field<'a> {
    node: &'a Node,
    path: Rc<KeyPath>,
    /// Where the value is announced: its key, or the item itself in a list. Missing keys are reported there.
    owner: Place,
    context: Context<'a>,
}

#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) report: &'a Report,
    /// The files that the tree was merged from.
    pub(super) found: &'a Found,
    /// Whether a file could not be read, so that a missing key may well be in there.
    pub(super) incomplete: bool,
}

impl<'a> Field<'a> {
    /// The value itself, wherever it lies.
    pub(super) fn place(&self) -> Place {
        self.node.place.clone()
    }

    /// Which of the files the value is from; a later one has a higher rank.
    pub(super) fn rank(&self) -> Option<usize> {
        self.context.found.rank(&self.node.place)
    }

    /// The keys that lead to the value, as messages name it.
    pub(super) fn path(&self) -> String {
        self.path.to_string()
    }

    /// An error about the value.
    pub(super) fn error(&self, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        Diagnostic::error(message).at(self.place(), label).key_path(self.path())
    }

    pub(super) fn report(&self, diagnostic: Diagnostic) {
        self.context.report.add(diagnostic);
    }

    /// A string. Numbers, dates, booleans and null are not strings in YAML: `1.10` would lose its zero.
    pub(super) fn string(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar(Scalar::String(text)) if self.node.plain && scalar::is_bare_exponent(text) => {
                self.not_a_string("a number with an exponent");
                None
            }
            Value::Scalar(Scalar::String(text)) => Some(text),
            _ => {
                self.not_a_string(self.node.kind());
                None
            }
        }
    }

    fn not_a_string(&self, found: &str) {
        let help = match &self.node.value {
            Value::Invalid => return,
            Value::Scalar(Scalar::Null) => {
                "give it a value (\"\" for an empty text), or remove the key".to_owned()
            }
            Value::Scalar(_) => format!("write \"{}\" in quotes", shown(self.node.place.text())),
            Value::Sequence(_) if self.path.ends_with_script() => {
                "write one text with a command on each line, after `|`".to_owned()
            }
            _ => "write one text; put it in quotes if it begins with `[` or `{`".to_owned(),
        };
        self.report(
            self.error(format!("`{}` must be a string", self.path()), format!("found {found}")).help(help),
        );
    }

    /// Whether an integer was written, for what may be written with or without a unit.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.node.value, Value::Scalar(Scalar::Integer(_)))
    }

    /// An integer; the inner None is one beyond `i128`.
    pub(super) fn integer(&self) -> Option<Option<i128>> {
        match &self.node.value {
            Value::Scalar(Scalar::Integer(value)) => Some(*value),
            Value::Invalid => None,
            value => {
                let error = self.error(
                    format!("`{}` must be an integer", self.path()),
                    format!("found {}", self.node.kind()),
                );
                self.report(match value {
                    Value::Scalar(Scalar::String(text)) if scalar::integer(text).is_some() => {
                        error.help(format!("write {} without quotes", shown(text)))
                    }
                    _ => error.help("write a whole number such as 42 or 0x2A, without quotes"),
                });
                None
            }
        }
    }

    /// The items of a list.
    pub(super) fn list(&self) -> Option<Vec<Field<'a>>> {
        let items = match &self.node.value {
            Value::Sequence(items) => items,
            value => {
                self.wrong_type(value, "a list", "begin each item with `- `; write `[]` for none");
                return None;
            }
        };
        let field = |(index, node): (usize, &'a Rc<Node>)| Field {
            node,
            path: self.path.with(Step::Item(index)),
            owner: node.place.clone(),
            context: self.context,
        };
        Some(items.iter().enumerate().map(field).collect())
    }

    /// The entries of a mapping whose keys the author chooses. Keys that are not strings are reported.
    pub(super) fn entries(&self) -> Option<Vec<(Key<'a>, Field<'a>)>> {
        let mapping = self.mapping()?;
        let entry = |(name, entry): (&'a Rc<str>, &'a Entry)| {
            let path = self.path.with(Step::Key(Rc::clone(name)));
            let owner = entry.key.place.clone();
            (
                Key { name, place: owner.clone() },
                Field { node: &entry.value, path, owner, context: self.context },
            )
        };
        Some(mapping.entries.iter().map(entry).collect())
    }

    /// The fields of a mapping whose keys are given. Unknown keys are reported, with the key that was meant if there is
    /// one.
    pub(super) fn fields(&self, known: &'static [&'static str]) -> Option<Fields<'a>> {
        let mapping = self.mapping()?;
        let unknown = mapping.entries.iter().filter(|(name, _)| !known.contains(&&***name));
        let meant = unknown.filter_map(|(name, entry)| self.unknown_key(name, entry, known)).collect();
        Some(Fields { owner: self.clone(), mapping, meant })
    }

    fn mapping(&self) -> Option<&'a Mapping> {
        let mapping = match &self.node.value {
            Value::Mapping(mapping) => mapping,
            value => {
                self.wrong_type(value, "a mapping", "write `KEY: VALUE` lines below it; write `{}` for none");
                return None;
            }
        };
        for key in &mapping.other_keys {
            let text = shown(key.place.text());
            self.report(
                Diagnostic::error(format!("the key `{text}`{} must be a string", self.path.within()))
                    .at(key.place.clone(), format!("found {}", key.kind()))
                    .key_path(self.path())
                    .help(format!("write \"{text}\" in quotes")),
            );
        }
        Some(mapping)
    }

    fn wrong_type(&self, value: &Value, expected: &str, help: &str) {
        if matches!(value, Value::Invalid) {
            return;
        }
        let found = self.node.kind();
        // What has no text of its own is shown by its key.
        let place = if self.node.place.text().is_empty() { self.owner.clone() } else { self.place() };
        self.report(
            Diagnostic::error(format!("`{}` must be {expected}", self.path()))
                .at(place, format!("found {found}"))
                .key_path(self.path())
                .help(help),
        );
    }

    /// Reports a key, and tells which one was meant if that is likely.
    fn unknown_key(&self, name: &str, entry: &Entry, known: &[&'static str]) -> Option<&'static str> {
        let error = Diagnostic::error(format!("unknown key `{}`{}", shown(name), self.path.within()))
            .at(entry.key.place.clone(), format!("expected one of {}", known.join(", ")))
            .key_path(self.path());
        let meant = closest(name, known);
        let is_target = self.path.is_root()
            && matches!(&entry.value.value, Value::Mapping(mapping) if mapping.entries.contains_key("script"));
        let elsewhere = KEYS.iter().find(|(key, _)| *key == name);
        self.report(match (elsewhere, meant) {
            (Some((key, level)), _) => error.help(format!("`{key}` belongs in {level}")),
            (None, Some(meant)) => error.help(format!("did you mean `{meant}`?")),
            _ if is_target => error.help("targets stand below `targets:`, indented"),
            _ => error.help("remove it, or check the indentation: it may belong to another level"),
        });
        meant
    }
}

/// A key that the author of the configuration chose.
pub(super) struct Key<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
}

/// The mapping of a struct, whose keys are known.
pub(super) struct Fields<'a> {
    owner: Field<'a>,
    mapping: &'a Mapping,
    /// Keys that are there under a misspelt name: that they are missing goes without saying.
    meant: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn optional(&self, name: &str) -> Option<Field<'a>> {
        let (name, entry) = self.mapping.entries.get_key_value(name)?;
        Some(Field {
            node: &entry.value,
            path: self.owner.path.with(Step::Key(Rc::clone(name))),
            owner: entry.key.place.clone(),
            context: self.owner.context,
        })
    }

    /// Like [`Fields::optional`], but reports a missing key. `example` is how to write it.
    pub(super) fn required(&self, name: &str, example: &str) -> Option<Field<'a>> {
        let found = self.optional(name);
        if found.is_none() && !self.owner.context.incomplete && !self.meant.contains(&name) {
            let within = self.owner.path.within();
            self.owner.report(
                Diagnostic::error(format!("`{name}` is missing{within}"))
                    .at(self.owner.owner.clone(), format!("expected a key `{name}` in here"))
                    .key_path(self.owner.path())
                    .help(format!("add `{example}`")),
            );
        }
        found
    }
}

/// The root of the merged configuration. `owner` is where a missing key is reported.
pub(super) fn root<'a>(node: &'a Node, owner: Place, context: Context<'a>) -> Field<'a> {
    Field { node, path: Rc::new(KeyPath { parent: None, step: Step::Root }), owner, context }
}

/// Where each key belongs, to help those who wrote it elsewhere.
const KEYS: [(&str, &str); 22] = [
    ("gonto", "the top level"),
    ("targets", "the top level"),
    ("cache_dir", "`gonto`"),
    ("repository", "`gonto`"),
    ("backend", "`gonto`"),
    ("layer", "`gonto`"),
    ("layer_limit", "`gonto`"),
    ("requires", "`targets.NAME`"),
    ("before_script", "`targets.NAME`"),
    ("script", "`targets.NAME`"),
    ("after_script", "`targets.NAME`"),
    ("version", "`targets.NAME.requires[]`"),
    ("platform", "`targets.NAME.requires[]`"),
    ("format", "`targets.NAME.requires[]`"),
    ("mount_point", "`targets.NAME.requires[]`"),
    ("reg", "`targets.NAME.requires[]`"),
    ("env", "`targets.NAME` or `targets.NAME.requires[]`"),
    ("name", "`targets.NAME.requires[]` or `targets.NAME.requires[].reg[]`"),
    ("root", "`targets.NAME.requires[].reg[]`"),
    ("path", "`targets.NAME.requires[].reg[]`"),
    ("type", "`targets.NAME.requires[].reg[]`"),
    ("data", "`targets.NAME.requires[].reg[]`"),
];

/// The one of `choices` that `found` is most likely meant to be, if any is near enough.
pub(super) fn closest<'c>(found: &str, choices: &[&'c str]) -> Option<&'c str> {
    /// Longer than any choice and its misspellings; the comparison costs the product of the lengths.
    const MAX_LENGTH: usize = 64;
    if found.len() > MAX_LENGTH {
        return None;
    }
    let found = found.to_lowercase().replace('-', "_");
    let distance = |choice: &str| strsim::damerau_levenshtein(&found, &choice.to_lowercase());
    let near = |choice: &&&str| distance(choice) <= (choice.len() / 3).max(1);
    choices.iter().filter(near).min_by_key(|choice| distance(choice)).copied()
}

/// The keys from the root to a value; shared by the values below it, and written out only for messages.
struct KeyPath {
    parent: Option<Rc<KeyPath>>,
    step: Step,
}

enum Step {
    Root,
    Key(Rc<str>),
    Item(usize),
}

impl KeyPath {
    fn with(self: &Rc<KeyPath>, step: Step) -> Rc<KeyPath> {
        Rc::new(KeyPath { parent: Some(Rc::clone(self)), step })
    }

    fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }

    fn ends_with_script(&self) -> bool {
        matches!(&self.step, Step::Key(key) if key.ends_with("script"))
    }

    /// " in `targets.build`", or nothing at the root.
    fn within(&self) -> String {
        if self.is_root() { String::new() } else { format!(" in `{self}`") }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = &self.parent else { return Ok(()) };
        parent.fmt(f)?;
        match &self.step {
            Step::Root => Ok(()),
            Step::Key(key) if parent.is_root() => f.write_str(&shown(key)),
            Step::Key(key) => write!(f, ".{}", shown(key)),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}
