//! Configurations as plain values, for programs that make or change them without a file.
//!
//! What a program hands over is written down as YAML and read as a file is: so it follows the same rules, and what is wrong with it is
//! shown as in a file, with the lines around it.

use std::fmt::Write as _;
use std::rc::Rc;

use super::compose::MAX_DEPTH;
use super::diagnostic::{Diagnostic, Report};
use super::scalar::{self, Scalar};
use super::tree::{Mapping, Node, Value};

/// A value of a configuration, without a place in a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    /// Nothing. No key takes it.
    Null,
    /// A boolean. No key takes one.
    Bool(bool),
    /// An integer, for the data of registry values and for sizes.
    Integer(i128),
    /// A floating-point number. No key takes one.
    Float(f64),
    /// A text.
    String(String),
    /// A list.
    List(Vec<Plain>),
    /// A mapping in its order. Keys other than strings are errors, which name them.
    Mapping(Vec<(Plain, Plain)>),
}

impl Plain {
    /// The value of a key, if this is a mapping that has it. Of a key that is there twice, the last one counts.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Plain> {
        let Self::Mapping(entries) = self else { return None };
        entries
            .iter()
            .rev()
            .find(|(key, _)| matches!(key, Self::String(key) if key == name))
            .map(|(_, it)| it)
    }

    /// Sets a key that is there.
    pub(super) fn replace(&mut self, name: &str, value: Plain) {
        if let Some(found) = self.get_mut(name) {
            *found = value;
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Self::Mapping(entries) = self {
            entries.retain(|(key, _)| !matches!(key, Self::String(key) if key == name));
        }
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Plain> {
        let Self::Mapping(entries) = self else { return None };
        let found = entries.iter_mut().rev().find(|(key, _)| matches!(key, Self::String(key) if key == name));
        found.map(|(_, value)| value)
    }

    /// The mapping with those of its entries that are named.
    pub(super) fn only(&self, names: &[&str]) -> Plain {
        match self {
            Self::Mapping(entries) => {
                let named =
                    |(key, _): &&(Plain, Plain)| matches!(key, Self::String(key) if names.contains(&&**key));
                Self::Mapping(entries.iter().filter(named).cloned().collect())
            }
            other => other.clone(),
        }
    }

    /// What a file said. What has no plain value, and is nothing that any key takes, is reported.
    pub(super) fn of(node: &Node, report: &Report) -> Plain {
        let refuse = || {
            report.add(
                Diagnostic::error(format!("no key of the configuration takes {}", node.kind()))
                    .at(node.place.clone(), format!("found {}", node.kind()))
                    .help("put it in quotes if it is meant as a text"),
            );
            Plain::Null
        };
        match &node.value {
            Value::Scalar(Scalar::Null) => Plain::Null,
            Value::Scalar(Scalar::Bool(value)) => Plain::Bool(*value),
            Value::Scalar(Scalar::Integer(Some(value))) => Plain::Integer(*value),
            Value::Scalar(Scalar::Float) => {
                scalar::float(node.place.text()).map_or_else(refuse, Plain::Float)
            }
            Value::Scalar(Scalar::String(text)) if node.plain && scalar::is_bare_exponent(text) => {
                text.replace('_', "").parse().map_or_else(|_| refuse(), Plain::Float)
            }
            Value::Scalar(Scalar::String(text)) => Plain::String(text.to_string()),
            Value::Sequence(items) => Plain::List(items.iter().map(|item| Self::of(item, report)).collect()),
            Value::Mapping(mapping) => Self::of_mapping(mapping, report),
            // It has been reported.
            Value::Invalid => Plain::Null,
            _ => refuse(),
        }
    }

    /// Keys that are not strings have lost their values; they are wrong anyway.
    pub(super) fn of_mapping(mapping: &Mapping, report: &Report) -> Plain {
        let entry = |(name, entry): (&Rc<str>, &super::tree::Entry)| {
            (Plain::String(name.to_string()), Self::of(&entry.value, report))
        };
        let others = mapping.other_keys.iter().map(|key| (Self::of(key, report), Plain::Null));
        Plain::Mapping(mapping.entries.iter().map(entry).chain(others).collect())
    }

    /// The value as YAML; none if it is nested more deeply than anything that is read.
    pub(super) fn to_yaml(&self) -> Option<String> {
        let mut text = String::new();
        self.write(&mut text, 0, 0)?;
        text.push('\n');
        Some(text)
    }

    /// `depth` is how many values it is in, `indent` how many blanks go before a line of it. What it is in has begun the first line.
    fn write(&self, text: &mut String, depth: usize, indent: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let next_line = |text: &mut String| {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
        };
        match self {
            Self::List(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        next_line(text);
                    }
                    text.push_str("- ");
                    item.write(text, depth + 1, indent + 2)?;
                }
            }
            Self::Mapping(entries) if !entries.is_empty() => {
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        next_line(text);
                    }
                    key.write_key(text, depth + 1);
                    text.push(':');
                    let below = match value {
                        Self::List(items) => !items.is_empty(),
                        Self::Mapping(entries) => !entries.is_empty(),
                        _ => false,
                    };
                    if below {
                        next_line(text);
                        text.push_str("  ");
                    } else {
                        text.push(' ');
                    }
                    value.write(text, depth + 1, indent + 2)?;
                }
            }
            _ => self.write_scalar(text),
        }
        Some(())
    }

    fn write_key(&self, text: &mut String, depth: usize) {
        match self {
            Self::String(name) if is_simple(name) => text.push_str(name),
            // No list and no mapping is a key, and neither is what stands for it here.
            Self::List(_) | Self::Mapping(_) => text.push_str("[]"),
            other => drop(other.write(text, depth, 0)),
        }
    }

    fn write_scalar(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Integer(value) => drop(write!(text, "{value}")),
            Self::Float(value) => text.push_str(&float(*value)),
            Self::String(value) => quote(text, value),
            Self::List(_) => text.push_str("[]"),
            Self::Mapping(_) => text.push_str("{}"),
        }
    }
}

/// Whether a key needs no quotes.
fn is_simple(name: &str) -> bool {
    name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name.chars().all(|c| matches!(c, '_' | '-') || c.is_ascii_alphanumeric())
        && matches!(scalar::resolve_plain(name), Scalar::String(_))
}

/// In the way in which YAML 1.1 knows it for one: with a dot.
fn float(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let shortest = format!("{value:?}");
    if shortest.contains('e') { format!("{value:.1}") } else { shortest }
}

/// Appends `value` in double quotes, on one line.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Also what ends a line in YAML, and what it does not take.
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(text, "\\U{:08x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Reported when a value is nested too deeply to be written down.
pub(super) fn too_deep() -> Diagnostic {
    Diagnostic::error(format!("the configuration is nested more than {MAX_DEPTH} levels deep"))
        .help("check what it is made of: the configuration needs seven levels at most")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::compose;
    use super::super::source::Source;
    use super::*;

    fn text(value: &str) -> Plain {
        Plain::String(value.to_owned())
    }

    fn mapping<const N: usize>(entries: [(&str, Plain); N]) -> Plain {
        Plain::Mapping(entries.into_iter().map(|(key, value)| (text(key), value)).collect())
    }

    /// Written as YAML and read again.
    fn there_and_back(value: &Plain) -> Plain {
        let yaml = value.to_yaml().unwrap();
        let report = Report::default();
        let composed = compose::compose(&Source::new(Path::new("x"), &yaml), &report);
        let read = composed.map(|mapping| Plain::of_mapping(&mapping, &report));
        let diagnostics = report.into_diagnostics();
        assert!(diagnostics.is_empty(), "{yaml}\n{diagnostics:?}");
        read.unwrap()
    }

    #[test]
    fn every_value_is_read_as_it_was_written() {
        let strings = [
            "",
            " ",
            "a",
            "yes",
            "null",
            "~",
            "1",
            "1.5",
            "1e3",
            "2020-01-01",
            "<<",
            "=",
            "- a",
            "a: b",
            "#",
            "'",
            "\"",
            "\\",
            "\\n",
            "a\nb\n",
            "\r\n",
            "\t",
            "\0",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{2028}",
            "\u{feff}",
            "\u{ffff}",
            "ä",
            "\u{1f600}",
            "!!int 1",
            "&a",
            "*a",
            "{{mount_point}}",
            "%TAG",
            "---",
            "...",
        ];
        let value = mapping([
            ("strings", Plain::List(strings.map(text).to_vec())),
            ("keys", Plain::Mapping(strings.iter().map(|name| (text(name), text(name))).collect())),
            ("integers", Plain::List([0, -1, i128::MAX, i128::MIN + 1].map(Plain::Integer).to_vec())),
            (
                "floats",
                Plain::List(
                    [0.0, -1.5, 1.1, 1e300, f64::INFINITY, f64::NEG_INFINITY].map(Plain::Float).to_vec(),
                ),
            ),
            ("others", Plain::List(vec![Plain::Null, Plain::Bool(true), Plain::Bool(false)])),
            ("empty", Plain::List(vec![Plain::List(vec![]), Plain::Mapping(vec![])])),
            (
                "nested",
                Plain::List(vec![Plain::List(vec![mapping([
                    ("a", Plain::Null),
                    ("b", mapping([("c", text("d"))])),
                ])])]),
            ),
            ("after", text("the end")),
        ]);
        assert_eq!(there_and_back(&value), value);
    }

    #[test]
    fn it_looks_like_what_people_write() {
        let requirement = mapping([("name", text("jdk")), ("version", text("21"))]);
        let build = mapping([
            ("requires", Plain::List(vec![requirement])),
            ("env", mapping([])),
            ("script", text("make\nmake test\n")),
        ]);
        let value = mapping([("targets", mapping([("build", build)]))]);
        let expected = r#"targets:
  build:
    requires:
      - name: "jdk"
        version: "21"
    env: {}
    script: "make\nmake test\n"
"#;
        assert_eq!(value.to_yaml().unwrap(), expected);
    }

    #[test]
    fn what_is_nested_too_deeply_is_not_written() {
        let nested = |levels| (0..levels).fold(text("x"), |inner, _| Plain::List(vec![inner]));
        assert!(nested(MAX_DEPTH).to_yaml().is_some());
        assert!(nested(MAX_DEPTH + 1).to_yaml().is_none());
    }
}
