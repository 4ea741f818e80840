//! What people read when a configuration is wrong: the place, the lines, what was expected, what was found, the remedy.

use std::path::Path;

use gonto::config::{Config, Severity};

/// The errors and warnings of a configuration, as they are shown.
fn shown(text: &str) -> String {
    match Config::parse(text, Path::new("gonto.yaml")) {
        Ok(loaded) => loaded.warnings.iter().map(|it| it.render(false)).collect::<Vec<_>>().join("\n\n"),
        Err(error) => error.render(false),
    }
}

/// A target `t` with these lines, which are indented as they are written.
fn in_target(lines: &str) -> String {
    shown(&format!(
        "gonto: {{cache_dir: /c, repository: http://x}}\ntargets:\n  t:\n    script: make\n{lines}"
    ))
}

#[test]
fn a_numeric_version_must_be_quoted() {
    assert_eq!(
        in_target("    requires:\n      - name: foo\n        version: 36\n"),
        r#"error: `targets.t.requires[0].version` must be a string
 --> gonto.yaml:7:18
  |
7 |         version: 36
  |                  ^^ found an integer
  |
  = help: write "36" in quotes"#
    );
}

#[test]
fn a_remedy_quotes_the_text_as_it_was_written() {
    for (value, found) in [
        ("1.10", "a floating-point number"),
        ("010", "an integer"),
        ("1:30", "an integer"),
        ("1e3", "a number with an exponent"),
        ("2020-01-01", "a date"),
        ("off", "a boolean"),
        ("0x_FF", "an integer"),
    ] {
        let shown = in_target(&format!("    env:\n      A: &x {value} # comment\n"));
        assert!(shown.contains(&format!("found {found}\n")), "{shown}");
        assert!(shown.ends_with(&format!("= help: write \"{value}\" in quotes")), "{shown}");
        assert!(shown.contains("--> gonto.yaml:6:13\n"), "{shown}");
    }
}

#[test]
fn a_misspelt_key_suggests_the_right_one() {
    assert_eq!(
        in_target("    requires:\n      - nmae: foo\n        version: '1'\n"),
        r"error: unknown key `nmae` in `targets.t.requires[0]`
 --> gonto.yaml:6:9
  |
6 |       - nmae: foo
  |         ^^^^ expected one of name, version, platform, format, mount_point, env, reg
  |
  = help: did you mean `name`?"
    );
    for (lines, help) in [
        ("    requries: []\n", "did you mean `requires`?"),
        ("    before-script: x\n", "did you mean `before_script`?"),
        ("    Env: {}\n", "did you mean `env`?"),
        ("    version: '1'\n", "`version` belongs in `targets.NAME.requires[]`"),
        ("    cache_dir: x\n", "`cache_dir` belongs in `gonto`"),
        ("    backend: fuse\n", "`backend` belongs in `gonto`"),
        ("    data: x\n", "`data` belongs in `targets.NAME.requires[].reg[]`"),
        ("    whatever: x\n", "remove it, or check the indentation: it may belong to another level"),
    ] {
        let shown = in_target(lines);
        assert!(shown.ends_with(&format!("= help: {help}")), "{shown}");
    }
    let at_the_top =
        shown("gonto: {cache_dir: /c, repository: /r}\ntargets: {}\nscript: x\nbuild: {script: x}\n");
    assert!(at_the_top.contains("= help: `script` belongs in `targets.NAME`\n"), "{at_the_top}");
    assert!(at_the_top.ends_with("= help: targets stand below `targets:`, indented"), "{at_the_top}");
}

#[test]
fn a_missing_key_is_shown_where_it_belongs() {
    assert_eq!(
        in_target("    requires:\n      - version: '1'\n"),
        r"error: `name` is missing in `targets.t.requires[0]`
 --> gonto.yaml:6:9
  |
6 |       - version: '1'
  |         ^ expected a key `name` in here
  |
  = help: add `name: IMAGE`"
    );
}

#[test]
fn a_misspelt_backend_suggests_the_right_one() {
    let backend = |value: &str| {
        shown(&format!(
            "gonto:\n  cache_dir: /c\n  repository: http://x\n  backend: {value}\ntargets: {{}}\n"
        ))
    };
    assert_eq!(
        backend("fues"),
        r"error: `fues` is not a known backend
 --> gonto.yaml:4:12
  |
4 |   backend: fues
  |            ^^^^ expected one of auto, erofs, fuse, virtdisk, extract
  |
  = help: did you mean `fuse`?"
    );
    for (value, help) in [
        ("EROFS", "did you mean `erofs`?"),
        ("unpack", "use one of auto, erofs, fuse, virtdisk, extract"),
        ("true", "write \"true\" in quotes"),
    ] {
        let shown = backend(value);
        assert!(shown.ends_with(&format!("= help: {help}")), "{shown}");
    }
    assert_eq!(backend("extract"), "");
}

#[test]
fn mount_points_come_with_what_to_write() {
    let mount_point = |value: &str| {
        in_target(&format!(
            "    requires:\n      - name: foo\n        version: '1'\n        mount_point: {value}\n"
        ))
    };
    assert_eq!(
        mount_point("u:/"),
        r"error: `u:/` is not a mount point
 --> gonto.yaml:8:22
  |
8 |         mount_point: u:/
  |                      ^^^ expected a drive letter or an absolute path
  |
  = help: write 'U:\'"
    );
    for (value, help) in [
        ("U:/", r"write 'U:\'"),
        ("U", r"write 'U:\'"),
        ("'U:'", r"write 'U:\'"),
        ("U:", r"a drive letter is written 'U:\'"),
        ("u:\\", r"write 'U:\'"),
        ("C:\\", r"use a letter from D to Z, such as 'U:\'"),
        ("U:\\tools", r"write a drive letter alone, such as 'U:\'"),
        (
            "opt",
            r"write a drive letter such as 'U:\', an absolute path such as /opt/toolchain, or '' for any",
        ),
    ] {
        let shown = mount_point(value);
        assert!(shown.ends_with(&format!("= help: {help}")), "{shown}");
    }
    if cfg!(windows) {
        assert!(mount_point("/opt/x").ends_with(r"= help: write a drive letter, such as 'U:\'"));
    } else {
        assert!(mount_point("/a/../b").contains("the path must not hold `..`"));
        assert!(mount_point("/").contains("this would hide the whole system"));
    }
}

#[test]
fn all_errors_are_shown_at_once() {
    let error = Config::parse(
        "gonto:\n  cache_dir: 1\n  repository: ftp://x\ntargets:\n  a.b: {}\n  t:\n    script: [make]\n    env: {1: x}\n    \
         requires:\n      - {name: Foo, version: 1, platform: amiga, format: vhdxx, mount_point: C, env: [], reg: {}}\n",
        Path::new("gonto.yaml"),
    )
    .unwrap_err();
    let paths: Vec<(&str, usize)> = error
        .diagnostics()
        .iter()
        .map(|it| (it.key_path.as_str(), it.place.as_ref().unwrap().line()))
        .collect();
    assert_eq!(
        paths,
        [
            ("gonto.cache_dir", 2),
            ("gonto.repository", 3),
            ("targets.a.b", 5),
            ("targets.a.b", 5),
            ("targets.t.script", 7),
            ("targets.t.env", 8),
            ("targets.t.requires[0].name", 10),
            ("targets.t.requires[0].version", 10),
            ("targets.t.requires[0].platform", 10),
            ("targets.t.requires[0].format", 10),
            ("targets.t.requires[0].mount_point", 10),
            ("targets.t.requires[0].env", 10),
            ("targets.t.requires[0].reg", 10),
        ]
    );
    assert!(
        error.diagnostics().iter().all(|it| it.severity == Severity::Error && it.help.is_some()),
        "{error}"
    );
}

#[test]
fn errors_in_the_writing_come_with_a_remedy() {
    for (text, place, help) in [
        ("a: [x\n", "1:6", "close the bracket; put text that begins with `[` or `{` in quotes"),
        ("a: \"x\n", "1:4", "close the quotes"),
        (
            "m: \"U:\\\"\n",
            "1:4",
            r#"in double quotes a backslash is written twice: "U:\\"; or use single quotes: 'U:\'"#,
        ),
        (
            "a: \"\\d\"\n",
            "1:4",
            "in double quotes a backslash is written twice; or use single quotes, where it means itself",
        ),
        (
            "a: x: y\n",
            "1:5",
            "put a value that holds `: ` in quotes; check that the keys of one mapping are indented alike",
        ),
        (
            "a: *x\n",
            "1:4",
            "define the anchor (`&NAME`) before its alias (`*NAME`); put text that begins with `*` in quotes",
        ),
        ("a: @x\n", "1:4", "put text that begins with this character in quotes"),
        ("a:\n\tb: x\n", "2:2", "indent with spaces, not with tabs"),
        ("a: x\t\n", "1:5", "indent with spaces; put text that holds a tab in quotes"),
        ("a: {{mount_point}}/bin\n", "1:19", "put text with `{{...}}` or `${...}` in quotes"),
        (
            "a:\n  b: x\n c: y\n",
            "3:2",
            "check that the keys of one mapping, or the `-` of one list, are indented alike",
        ),
        ("é: 'é' # é\nb: !x y\n", "2:7", "remove the tag; put text that begins with `!` in quotes"),
        ("a: \u{1b}\n", "1:4", "remove it, or write it as \"\\u001B\" in double quotes"),
    ] {
        let shown = shown(text);
        assert!(shown.contains(&format!("--> gonto.yaml:{place}\n")), "{shown}");
        assert!(shown.contains(&format!("= help: {help}")), "{shown}");
    }
}

#[test]
fn a_key_that_is_set_twice_is_a_warning() {
    assert_eq!(
        in_target("    script: test\n"),
        r"warning: `script` is set twice; the last value is used
 --> gonto.yaml:5:5
  |
5 |     script: test
  |     ^^^^^^ this value is used
  |
 ::: gonto.yaml:4:5
  |
4 |     script: make
  |     ------ this one is ignored"
    );
    // What a merge key brings in is meant to be overridden.
    assert_eq!(in_target("    env: {<<: {A: x}, A: y}\n"), "");
}

#[test]
fn a_placeholder_in_a_targets_environment_is_a_warning() {
    assert_eq!(
        in_target("    env:\n      A: '{{mount_point}}'\n"),
        r"warning: `{{mount_point}}` is not replaced in `targets.t.env.A`
 --> gonto.yaml:6:10
  |
6 |       A: '{{mount_point}}'
  |          ^^^^^^^^^^^^^^^^^ stays as it is: a target may have many mount points
  |
  = help: move the variable to the `env` of the requirement whose mount point is meant"
    );
    assert_eq!(in_target("    requires: [{name: a, version: '1', env: {A: '{{mount_point}}'}}]\n"), "");
}

#[test]
fn long_values_are_cut() {
    let shown = in_target(&format!("    env:\n      {}: x\n", "é".repeat(500)));
    assert!(shown.starts_with(&format!("error: `{}…` cannot be the name", "é".repeat(60))), "{shown}");
}

#[test]
fn colour_is_added_only_when_asked_for() {
    let error = Config::parse("", Path::new("gonto.yaml")).unwrap_err();
    assert!(error.render(true).contains('\x1b'));
    assert!(!error.to_string().contains('\x1b'));
}

#[test]
fn the_column_of_a_very_long_line_is_right() {
    let targets: Vec<String> = (0..10_000).map(|target| format!("t{target}: {{script: x}}")).collect();
    let line = format!("targets: {{{}, é: {{script: x}}}}", targets.join(", "));
    let shown = shown(&format!("gonto: {{cache_dir: /c, repository: http://x}}\n{line}\n"));
    let column = 1 + line.chars().position(|c| c == 'é').unwrap();
    assert!(shown.contains(&format!("--> gonto.yaml:2:{column}\n")), "{shown}");
    assert!(shown.contains("t9999: {script: x}, é: {script: x}}"), "{shown}");
    assert!(shown.len() < 1000, "{shown}");
}

#[test]
fn another_users_home_folder_is_not_known() {
    let shown = shown("gonto: {cache_dir: ~other/c, repository: http://x}\ntargets: {}\n");
    assert!(shown.starts_with("warning: the `~` in `gonto.cache_dir` is not expanded\n"), "{shown}");
    assert!(shown.contains("--> gonto.yaml:1:20\n"), "{shown}");
}
