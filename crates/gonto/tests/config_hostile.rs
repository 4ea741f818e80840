//! Configurations that mean harm: errors are fine; panics, hangs and big allocations are bugs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

use std::fmt::Write;
use std::path::Path;

use gonto::config::{Config, ConfigError, Search};
use proptest::prelude::*;

fn refused(text: &str) -> ConfigError {
    let error = Config::parse(text, Path::new("gonto.yaml")).unwrap_err();
    // Every error can be shown, and shown briefly: nobody reads megabytes.
    assert!(error.render(false).len() < 200_000, "{} bytes", error.render(false).len());
    error
}

#[test]
fn aliases_cannot_make_a_small_file_enormous() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..40 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{below}]").unwrap();
    }
    assert!(refused(&text).to_string().contains("too large once its aliases are written out"));

    let mut text = format!("a: &a {}\nb: [", "x".repeat(1 << 20));
    text.push_str(&"*a, ".repeat(100_000));
    text.push_str("]\n");
    assert!(refused(&text).to_string().contains("too large once its aliases are written out"));
}

#[test]
fn merge_keys_cannot_either() {
    let mut text = "a0: &a0 {k0: x}\n".to_owned();
    for level in 1..20_000 {
        writeln!(text, "a{level}: &a{level} {{<<: *a{}, k{level}: x}}", level - 1).unwrap();
    }
    refused(&text);
}

#[test]
fn nesting_is_bounded() {
    for depth in [100, 10_000, 1_000_000] {
        refused(&"[".repeat(depth));
        refused(&"{a: ".repeat(depth));
        refused(&"- ".repeat(depth));
        refused(&"? ".repeat(depth));
    }
    let mut text = "a0: &a0 x\n".to_owned();
    for level in 1..10_000 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(refused(&text).to_string().contains("nested too deeply"));
}

#[test]
fn many_errors_are_counted_not_listed() {
    let key = "k".repeat(1_000);
    let mut text = format!(
        "gonto: {{cache_dir: /c, repository: http://x}}\ntargets:\n  {key}:\n    script: x\n    env:\n"
    );
    for variable in 0..100_000 {
        writeln!(text, "      A{variable}: 1").unwrap();
    }
    let error = refused(&text);
    let last = error.diagnostics().last().unwrap();
    assert_eq!(last.message, "99900 more errors are not shown");
}

#[test]
fn values_that_hold_themselves_are_refused() {
    for text in [
        "a: &a [*a]\n",
        "&a a: *a\n",
        "&a {b: *a}\n",
        "a: &a {<<: *a}\n",
        "a: &a {b: {c: [*a]}}\n",
        "? &a [*a]\n",
    ] {
        refused(text);
    }
}

#[test]
fn long_lines_and_many_keys_are_read_in_time() {
    refused(&format!("a: {}\n", "x ".repeat(1 << 20)));
    refused(&format!("a: '{}\n", "x\n".repeat(1 << 19)));
    refused(&format!("a: {{{}}}\n", "b: c, ".repeat(10_000)));
    refused(&"a: b\n".repeat(200_000));
    refused(&"#\n".repeat(1 << 20));
    refused(&":".repeat(1 << 20));
    refused(&"!".repeat(1 << 20));
    refused(&"&a ".repeat(1 << 19));
    refused(&"\"\\".repeat(1 << 19));
    refused(&"%".repeat(1 << 20));
    refused(&format!("a: {}\n", "1".repeat(1 << 20)));
    refused(&format!("a: {}\n", "1:".repeat(1 << 19)));
}

/// Texts made of what means something in YAML and in a configuration.
fn yaml() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "gonto",
        "targets",
        "cache_dir",
        "repository",
        "script",
        "requires",
        "name",
        "version",
        "env",
        "mount_point",
        "reg",
        "build",
        "x",
        "36",
        "1e3",
        "yes",
        "~",
        "'",
        "\"",
        ": ",
        ":",
        "- ",
        "-",
        "? ",
        ", ",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        "\n        ",
        " ",
        "\t",
        "\r\n",
        "# ",
        "|",
        ">",
        "|2\n",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "! ",
        "!!omap ",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "\\",
        "é",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\0",
        "{{mount_point}}",
        "${HOME}",
        "U:\\",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

/// A good configuration in which a stretch is replaced.
fn damaged() -> impl Strategy<Value = String> {
    const GOOD: &str = "gonto: &g\n  cache_dir: \"~/c\"\n  repository: http://x\ntargets:\n  build:\n    requires:\n      - name: foo\n        \
                        version: '1.2'\n        mount_point: U:\\\n        env: {A: \"{{mount_point}}b\"}\n        reg:\n          - {root: \
                        HKEY_USERS, name: n, data: é}\n    before_script: |\n      a\n      b\n    script: >-\n      make\n  test: {script: 'x'}\n";
    (0..GOOD.len(), 0..20usize, yaml()).prop_map(|(start, length, text)| {
        let start = GOOD.floor_char_boundary(start);
        let end = GOOD.floor_char_boundary((start + length).min(GOOD.len()));
        format!("{}{text}{}", &GOOD[..start], &GOOD[end..])
    })
}

/// Whatever comes of it: it can be shown, and the places are in the text.
fn check(text: &str) {
    let shown = match Config::parse(text, Path::new("gonto.yaml")) {
        Ok(loaded) => loaded.warnings,
        Err(error) => error.diagnostics().to_vec(),
    };
    for diagnostic in shown {
        let rendered = diagnostic.render(false);
        assert!(rendered.contains(&diagnostic.message), "{rendered}");
        diagnostic.render(true);
        if let Some(place) = diagnostic.place {
            assert!(place.line() <= text.matches('\n').count() + 1);
            assert!(place.column() >= 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn no_yaml_makes_it_panic(text in yaml()) {
        check(&text);
    }

    #[test]
    fn no_damage_makes_it_panic(text in damaged()) {
        check(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gonto.yaml");
        std::fs::write(&file, bytes).unwrap();
        let search = Search { directory: folder.path().to_owned(), ..Search::default() };
        prop_assert!(Config::load(&search).is_err());
    }
}
