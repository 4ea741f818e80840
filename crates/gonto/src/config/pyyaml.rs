//! Compares the trees with those of PyYAML, which `tests/config_pyyaml/generate.py` has written down.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::compose::compose;
use super::diagnostic::Report;
use super::scalar::Scalar;
use super::source::Source;
use super::tree::{Mapping, Node, Value};

/// Where the trees differ, and why that is left so. Nothing of it is found in configurations.
const DEPARTURES: [(&str, &str); 8] = [
    ("a: [??]", "the parser reads YAML 1.2, where `?` in brackets begins a text"),
    ("a: [?, b]", "the same"),
    ("a: [>a]", "the same for `>`"),
    ("a: [#c\n 1]", "the parser asks for white space before a comment"),
    ("a: \u{feff}b\n", "the parser takes byte order marks at the start only"),
    ("a: \u{85}b\n", "U+0085 ends a line in YAML 1.1 only"),
    (": a", "a key that is null is refused later, by the schema"),
    ("!!binary x: 1\n", "so is a binary one, well-formed or not"),
];

#[test]
fn trees_equal_those_of_pyyaml() {
    let entries: Vec<(String, Json)> =
        serde_json::from_str(include_str!("../../tests/config_pyyaml/trees.json")).unwrap();
    assert!(entries.len() > 800, "the fixture is not whole");
    let mut differences = Vec::new();
    for (document, expected) in &entries {
        if DEPARTURES.iter().any(|(departure, _)| departure == document) {
            continue;
        }
        let found = tree_of(document);
        if found != *expected {
            differences.push(format!("{document:?}\n  PyYAML: {expected}\n  here:   {found}"));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

fn tree_of(document: &str) -> Json {
    let report = Report::default();
    let mapping = compose(&Source::new(Path::new("gonto.yaml"), document), &report);
    match mapping {
        Some(mapping) if !report.has_errors() => tree_of_mapping(&mapping),
        _ => json!({ "refused": true }),
    }
}

fn tree_of_mapping(mapping: &Mapping) -> Json {
    let entries: Vec<Json> =
        mapping.entries.iter().map(|(name, entry)| json!([&**name, tree(&entry.value)])).collect();
    json!({ "map": entries, "other_keys": !mapping.other_keys.is_empty() })
}

fn tree(node: &Node) -> Json {
    let other = |name: &str| json!({ "type": name });
    match &node.value {
        Value::Scalar(Scalar::Null) => Json::Null,
        Value::Scalar(Scalar::Bool(value)) => json!(value),
        Value::Scalar(Scalar::Integer(Some(value))) => json!({ "int": value.to_string() }),
        Value::Scalar(Scalar::Integer(None)) => json!({ "int": "too large" }),
        Value::Scalar(Scalar::Float) => other("float"),
        Value::Scalar(Scalar::Timestamp) => other("date"),
        Value::Scalar(Scalar::Binary) => other("binary"),
        Value::Scalar(Scalar::String(text)) => json!(&**text),
        Value::Scalar(Scalar::Default | Scalar::Merge) | Value::Invalid => other("no value"),
        Value::Sequence(items) => items.iter().map(|item| tree(item)).collect(),
        Value::Mapping(mapping) => tree_of_mapping(mapping),
        Value::Set => other("set"),
        Value::Pair => other("pair"),
    }
}
