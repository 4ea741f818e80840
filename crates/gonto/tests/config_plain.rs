//! Configurations that programs hand over, and what programs get of files.
#![allow(clippy::unwrap_used, reason = "what fails here is a failing test")]

use std::fs;
use std::path::Path;

use gonto::config::{Config, Plain, Requirement, Search};

fn text(value: &str) -> Plain {
    Plain::String(value.to_owned())
}

fn mapping<const N: usize>(entries: [(&str, Plain); N]) -> Plain {
    Plain::Mapping(entries.into_iter().map(|(key, value)| (text(key), value)).collect())
}

fn settings() -> (&'static str, Plain) {
    ("gonto", mapping([("cache_dir", text("cache")), ("repository", text("http://localhost/"))]))
}

fn build(entries: Plain) -> Plain {
    mapping([settings(), ("targets", mapping([("build", entries)]))])
}

/// Files in a project's folder and at home.
fn load(home: &str, project: &str) -> (Result<Plain, String>, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    for (folder, content) in [("home", home), ("project", project)] {
        fs::create_dir(root.path().join(folder)).unwrap();
        if !content.is_empty() {
            fs::write(root.path().join(folder).join("gonto.yaml"), content).unwrap();
        }
    }
    let loaded = Plain::load(&search(root.path()));
    (loaded.map(|(plain, _)| plain).map_err(|error| error.to_string()), root)
}

fn search(root: &Path) -> Search {
    Search { program_dir: None, home: Some(root.join("home")), directory: root.join("project"), file: None }
}

#[test]
fn the_rules_are_those_of_files() {
    let requirement = mapping([("name", text("jdk")), ("version", text("21"))]);
    let loaded = Config::from_plain(&build(mapping([
        ("requires", Plain::List(vec![requirement])),
        ("script", text("make\nmake test")),
    ])))
    .unwrap();
    let target = &loaded.config.targets["build"];
    assert_eq!((&*target.script, &*target.requires[0].version), ("make\nmake test", "21"));
    assert_eq!(loaded.config.gonto.cache_dir, std::env::current_dir().unwrap().join("cache"));
    assert!(loaded.files.is_empty());
}

#[test]
fn everything_wrong_is_shown_with_its_line() {
    let wrong = build(mapping([
        ("requires", Plain::List(vec![mapping([("name", text("jdk")), ("version", Plain::Float(1.1))])])),
        ("env", Plain::Mapping(vec![(Plain::Integer(1), text("x"))])),
        ("skript", text("make")),
    ]));
    let error = Config::from_plain(&wrong).unwrap_err().to_string();
    for part in [
        "`targets.build.requires[0].version` must be a string",
        "version: 1.1",
        "found a floating-point number",
        "the key `1` in `targets.build.env` must be a string",
        "did you mean `script`?",
        "<configuration>:8:18",
    ] {
        assert!(error.contains(part), "{part:?} is not in\n{error}");
    }
}

#[test]
fn what_is_no_mapping_is_told() {
    for (value, found) in [(text("x"), "a string"), (Plain::List(vec![Plain::Null]), "a list")] {
        let error = Config::from_plain(&value).unwrap_err().to_string();
        assert!(error.contains(found), "{error}");
    }
    let empty = Config::from_plain(&Plain::Null).unwrap_err().to_string();
    assert!(empty.contains("`gonto` is missing") && empty.contains("`targets` is missing"), "{empty}");
    let deep = (0..100_000).fold(Plain::Null, |inner, _| Plain::List(vec![inner]));
    let error = Config::from_plain(&deep).unwrap_err().to_string();
    assert!(error.contains("nested more than 64 levels deep"), "{error}");
    // The drop of a value is recursive; a program that makes such a value has to live with that.
    std::mem::forget(deep);
}

#[test]
fn files_are_merged_and_their_paths_are_resolved() {
    let home =
        "gonto: {cache_dir: ../cache, repository: images, layer_limit: 8GiB}\ntargets: {a: {script: x}}\n";
    let project = "gonto: {layer: none}\ntargets: {a: {env: {X: \"1\"}}, b: {script: y}}\n";
    let (loaded, root) = load(home, project);
    let plain = loaded.unwrap();
    let config = Config::load(&search(root.path())).unwrap().config;
    assert_eq!(Config::from_plain(&plain).unwrap().config, config, "{plain:?}");
    let section = plain.get("gonto").unwrap();
    let cache_dir = std::path::absolute(root.path().join("home/../cache")).unwrap();
    assert_eq!(section.get("cache_dir"), Some(&text(cache_dir.to_str().unwrap())));
    assert_eq!(section.get("layer_limit"), None, "the later file wants no layer");
    let target = plain.get("targets").unwrap().get("a").unwrap();
    assert_eq!(target, &mapping([("script", text("x")), ("env", mapping([("X", text("1"))]))]));
}

#[test]
fn what_is_no_configuration_is_handed_over_as_it_is() {
    let (loaded, _root) =
        load("", "gonto: {cache_dir: ~/c}\ntargets: {a: {script: 1.10, env: [yes, 1e3, null]}}\n");
    let plain = loaded.unwrap();
    assert_eq!(plain.get("gonto").unwrap().get("cache_dir"), Some(&text("~/c")), "there is no repository");
    let target = plain.get("targets").unwrap().get("a").unwrap();
    assert_eq!(target.get("script"), Some(&Plain::Float(1.1)));
    let list = vec![Plain::Bool(true), Plain::Float(1000.0), Plain::Null];
    assert_eq!(target.get("env"), Some(&Plain::List(list)));
    let error = Config::from_plain(&plain).unwrap_err().to_string();
    assert!(error.contains("`targets.a.script` must be a string"), "{error}");
}

#[test]
fn what_has_no_plain_value_is_an_error_with_its_place() {
    for (value, kind) in [("2020-01-31", "a date"), ("!!binary eA==", "binary data"), ("!!set {a}", "a set")]
    {
        let (loaded, _root) = load("", &format!("targets: {{a: {{script: {value}}}}}\n"));
        let error = loaded.unwrap_err();
        assert!(error.contains(&format!("takes {kind}")) && error.contains("gonto.yaml:1:"), "{error}");
    }
    let (loaded, _root) = load("", "targets: [\n");
    assert!(loaded.unwrap_err().contains("gonto.yaml"));
}

#[test]
fn no_file_is_an_empty_mapping_and_a_warning() {
    let root = tempfile::tempdir().unwrap();
    let (plain, warnings) = Plain::load(&search(root.path())).unwrap();
    assert_eq!(plain, Plain::Mapping(vec![]));
    assert_eq!(warnings[0].message, "no configuration file was found");
}

#[test]
fn an_image_is_named_by_four_keys_of_a_requirement() {
    let path = |plain: &Plain| {
        let requirement = Requirement::naming(plain).map_err(|error| error.to_string())?;
        let path =
            gonto::target::requirement_to_image_path(&requirement).map_err(|error| error.to_string())?;
        Ok::<_, String>(path.to_string())
    };
    let jdk = mapping([("name", text("jdk")), ("version", text("21")), ("reg", text("whatever"))]);
    assert_eq!(path(&jdk).as_deref(), Ok("jdk/jdk_v21_win64.vhd"));
    let escape = mapping([("name", text("../../x")), ("version", Plain::Integer(21))]);
    let error = path(&escape).unwrap_err();
    assert!(error.contains("../../x") && error.contains("`version` must be a string"), "{error}");
    assert!(path(&text("jdk")).unwrap_err().contains("a requirement must be a mapping"));
}
