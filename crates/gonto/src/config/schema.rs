//! The JSON Schema of the configuration: made from the same types, compared with the file in the repository.

use gonto_mount::Backend;
use gonto_store::{Format, Platform};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::Config;
use super::registry::{RegistryRoot, RegistryType};
use super::size::{MAX_SIZE, SIZE_PATTERN};
use super::target::{TARGET_NAME_PATTERN, TargetConfig, VARIABLE_NAME_PATTERN};

pub(super) fn targets(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "patternProperties": { TARGET_NAME_PATTERN: generator.subschema_for::<TargetConfig>() },
        "additionalProperties": false,
    })
}

/// Two keys of the file make one field of the settings.
pub(super) fn layer(settings: &mut Schema) {
    let properties = settings.ensure_object().get_mut("properties").unwrap().as_object_mut().unwrap();
    let mut insert = |key: &str, schema| properties.insert(key.to_owned(), schema);
    insert(
        "layer",
        json!({
            "description": "Where what is written to images lies until it is thrown away: on the file system of the cache, or \
                            in memory. With `none`, nothing can be written to images, and reading them is faster.",
            "enum": ["cache", "memory", "none"],
        }),
    );
    insert(
        "layer_limit",
        json!({
            "description": "The most that may be written to an image, in bytes or with KiB, MiB, GiB or TiB (a letter is \
                            enough). It keeps what is written in memory.",
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": MAX_SIZE,
            "pattern": SIZE_PATTERN,
        }),
    );
    settings.insert(
        "not".to_owned(),
        json!({ "properties": { "layer": { "enum": ["cache", "none"] } }, "required": ["layer", "layer_limit"] }),
    );
}

pub(super) fn environment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "patternProperties": { VARIABLE_NAME_PATTERN: { "type": "string" } },
        "additionalProperties": false,
    })
}

pub(super) fn platform(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Platform::ALL.map(Platform::as_str), "default": Platform::default().as_str() })
}

pub(super) fn format(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Format::ALL.map(Format::as_str), "default": Format::default().as_str() })
}

pub(super) fn backend(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Backend::ALL.map(Backend::as_str), "default": Backend::default().as_str() })
}

impl schemars::JsonSchema for super::registry::RegistryValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RegistryValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let roots: Vec<&str> = RegistryRoot::ALL.iter().map(|it| it.as_str()).collect();
        let types: Vec<&str> = RegistryType::ALL.iter().map(|it| it.as_str()).collect();
        json_schema!({
            "description": "A value of the Windows registry, written while the image is mounted.",
            "type": "object",
            "properties": {
                "root": { "description": "The key that everything begins at.", "enum": roots },
                "path": {
                    "description": "The path of the key below the root; may be empty.",
                    "type": "string",
                    "default": "",
                },
                "name": { "description": "The name of the value.", "type": "string" },
                "type": {
                    "description": "The type of the value.",
                    "enum": types,
                    "default": RegistryType::Sz.as_str(),
                },
                "data": {
                    "description": "The value: a string for the string types, in which `{{mount_point}}` is replaced \
                                    by the mount point; an integer for the others.",
                },
            },
            "required": ["root", "name", "data"],
            "additionalProperties": false,
            "allOf": data_rules(),
        })
    }
}

/// What `data` must be, by type: types with the same range share a rule.
fn data_rules() -> Vec<Value> {
    let ranges = [None, Some(u64::from(u32::MAX)), Some(u64::MAX)];
    let rules = ranges.iter().map(|&range| {
        let types: Vec<&str> =
            RegistryType::ALL.iter().filter(|it| it.max_integer() == range).map(|it| it.as_str()).collect();
        let data = match range {
            Some(max) => json!({ "type": "integer", "minimum": 0, "maximum": max }),
            None => json!({ "type": "string" }),
        };
        let mut condition = json!({ "properties": { "type": { "enum": types } } });
        // A value without a type has the default one.
        if !types.contains(&RegistryType::Sz.as_str()) {
            condition["required"] = json!(["type"]);
        }
        json!({ "if": condition, "then": { "properties": { "data": data } } })
    });
    rules.collect()
}

fn generated() -> String {
    let mut schema = schemars::schema_for!(Config);
    schema.insert("title".to_owned(), "gonto.yaml".into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap();
    text.push('\n');
    text
}

#[test]
fn the_schema_in_the_repository_is_current() {
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/gonto.schema.json");
        std::fs::write(path, generated()).unwrap();
        return;
    }
    assert!(
        generated() == super::JSON_SCHEMA.replace('\r', ""),
        "crates/gonto/schema/gonto.schema.json is not current; run UPDATE_SCHEMA=1 cargo test -p gonto schema"
    );
}
