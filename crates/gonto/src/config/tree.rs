//! A YAML document as a tree in which every value remembers where it was written.

use std::rc::Rc;

use indexmap::IndexMap;

use super::scalar::Scalar;
use super::source::Place;

/// A value of the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    /// Where the value is written, without its anchor and tag. After a merge of files: in the last file that wrote it.
    pub(super) place: Place,
    /// Whether it is a plain scalar without a tag, whose type comes from the way it is written.
    pub(super) plain: bool,
    /// Levels below and including this one. Limits what aliases can build, see [`super::compose`].
    pub(super) height: usize,
    /// What this value and all below it weigh, see [`super::compose`].
    pub(super) weight: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Rc<Node>>),
    Mapping(Mapping),
    /// A `!!set`. No key of the configuration takes one.
    Set,
    /// An entry of an `!!omap` or of `!!pairs`. No key of the configuration takes one.
    Pair,
    /// A value that could not be made, which has been reported already.
    Invalid,
}

/// A mapping with its entries in the order in which their keys were first written: as in Python's dictionaries, a key that
/// is written again keeps its position.
#[derive(Clone, Debug, Default)]
pub(super) struct Mapping {
    pub(super) entries: IndexMap<Rc<str>, Entry>,
    /// Keys that are not strings. Nothing here takes them, but the messages name them.
    pub(super) other_keys: Vec<Rc<Node>>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Rc<Node>,
    pub(super) value: Rc<Node>,
}

impl Mapping {
    /// Lays `later` over this mapping: mappings merge key by key, everything else is replaced.
    pub(super) fn overlay(&mut self, later: Mapping) {
        for (name, entry) in later.entries {
            match self.entries.get_mut(&name) {
                Some(existing) => existing.overlay(entry),
                None => {
                    self.entries.insert(name, entry);
                }
            }
        }
        self.other_keys.extend(later.other_keys);
    }
}

impl Entry {
    fn overlay(&mut self, later: Entry) {
        self.key = later.key;
        let (Value::Mapping(_), Value::Mapping(mapping)) = (&self.value.value, &later.value.value) else {
            self.value = later.value;
            return;
        };
        // Values are shared between an anchor and its aliases; only the one that is written to is copied.
        let existing = Rc::make_mut(&mut self.value);
        if let Value::Mapping(existing) = &mut existing.value {
            existing.overlay(mapping.clone());
        }
        existing.place = later.value.place.clone();
    }
}

impl Node {
    /// What it is, as messages say it.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(Scalar::Null) => "nothing (null)",
            Value::Scalar(Scalar::Bool(_)) => "a boolean",
            Value::Scalar(Scalar::Integer(_)) => "an integer",
            Value::Scalar(Scalar::Float) => "a floating-point number",
            Value::Scalar(Scalar::Timestamp) => "a date",
            Value::Scalar(Scalar::Binary) => "binary data",
            Value::Scalar(Scalar::String(_)) => "a string",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Set => "a set",
            Value::Pair => "a pair",
            Value::Scalar(Scalar::Default | Scalar::Merge) | Value::Invalid => "no value",
        }
    }
}
