//! Which configurations are accepted and which are refused, case by case; and that the JSON Schema says the same.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::compose::compose;
use super::diagnostic::Report;
use super::scalar::{Scalar, is_bare_exponent};
use super::source::Source;
use super::tree::{Mapping, Node, Value};
use super::{Config, JSON_SCHEMA};

/// A place in a configuration where a case puts its text, marked `@`.
type Slot = &'static str;

const DOCUMENT: Slot = "@";
const CACHE_DIR: Slot = "targets: {}\ngonto:\n  repository: http://x\n  cache_dir: @\n";
const REPOSITORY: Slot = "targets: {}\ngonto:\n  cache_dir: /c\n  repository: @\n";
const BACKEND: Slot = "targets: {}\ngonto:\n  cache_dir: /c\n  repository: http://x\n  backend: @\n";
const GONTO: Slot = "targets: {}\ngonto:\n  cache_dir: /c\n  repository: http://x\n  @\n";
const LAYER: Slot = "targets: {}\ngonto:\n  cache_dir: /c\n  repository: http://x\n  layer: @\n";
const LIMIT: Slot = "targets: {}\ngonto:\n  cache_dir: /c\n  repository: http://x\n  layer_limit: @\n";
const TARGETS: Slot = "gonto: {cache_dir: /c, repository: http://x}\ntargets: @\n";
const TARGET_NAME: Slot = "gonto: {cache_dir: /c, repository: http://x}\ntargets:\n  @:\n    script: make\n";
const SCRIPT: Slot = "gonto: {cache_dir: /c, repository: http://x}\ntargets:\n  t:\n    script: @\n";

/// Lines of a target that has its script.
macro_rules! in_target {
    ($lines:literal) => {
        concat!("gonto: {cache_dir: /c, repository: http://x}\ntargets:\n  t:\n    script: make\n", $lines)
    };
}
const TARGET: Slot = in_target!("    @\n");
const BEFORE_SCRIPT: Slot = in_target!("    before_script: @\n");
const ENV_NAME: Slot = in_target!("    env:\n      @: x\n");
const ENV_VALUE: Slot = in_target!("    env:\n      A: @\n");
const REQUIRES: Slot = in_target!("    requires: @\n");
const NAME: Slot = in_target!("    requires:\n      - version: '1'\n        name: @\n");
const VERSION: Slot = in_target!("    requires:\n      - name: foo\n        version: @\n");
const REQUIREMENT: Slot = in_target!("    requires:\n      - name: foo\n        version: '1'\n        @\n");
const PLATFORM: Slot = in_target!("    requires:\n      - {name: foo, version: '1', platform: @}\n");
const FORMAT: Slot = in_target!("    requires:\n      - {name: foo, version: '1', format: @}\n");
const MOUNT_POINT: Slot =
    in_target!("    requires:\n      - name: foo\n        version: '1'\n        mount_point: @\n");
const REG: Slot = in_target!("    requires:\n      - name: foo\n        version: '1'\n        reg: @\n");
const DWORD: Slot = in_target!(
    "    requires: [{name: foo, version: '1', reg: [{root: HKEY_USERS, name: n, type: REG_DWORD, data: @}]}]\n"
);
const QWORD: Slot = in_target!(
    "    requires: [{name: foo, version: '1', reg: [{root: HKEY_USERS, name: n, type: REG_QWORD, data: @}]}]\n"
);

/// What is not a string for PyYAML, or must not be taken for one. The slots that ask for a string refuse all of them.
const NOT_STRINGS: &[&str] = &[
    "36",
    "1.10",
    "010",
    "1:30",
    "190:20:30",
    "1e3",
    "1E-3",
    "2.5e7",
    "0x1F",
    "0b11",
    "1_000",
    "-1",
    "+1",
    "0",
    ".5",
    "1.",
    ".inf",
    "-.INF",
    ".nan",
    "2020-01-01",
    "2020-01-01T01:02:03Z",
    "2020-1-1 1:02:03",
    "yes",
    "No",
    "ON",
    "off",
    "true",
    "FALSE",
    "~",
    "null",
    "Null",
    "",
    "# comment",
    "[]",
    "[a]",
    "{}",
    "{a: b}",
    "{{mount_point}}",
    "!!int '36'",
    "!!float '1'",
    "!!bool 'yes'",
    "!!null x",
    "!!binary eA==",
    "!!timestamp 2020-01-01",
    "!!set {a}",
    "!!omap [a: b]",
    "! 36",
    "! '36'",
    "!unknown x",
    "=",
    "<<",
    "*nowhere",
];

/// Strings, however they look. Slots that ask for a string and nothing more accept all of them.
const STRINGS: &[&str] = &[
    "x",
    "'x'",
    "\"x\"",
    "''",
    "\"\"",
    "'36'",
    "\"1.10\"",
    "'yes'",
    "'~'",
    "'1e3'",
    "y",
    "n",
    "Y",
    "N",
    "08",
    "0o17",
    "1.2.3",
    "-.5",
    "1e",
    "e3",
    "0x",
    "nUll",
    "yEs",
    "2020-1-1",
    "12:60",
    "a b",
    "a#b",
    "a:b",
    "!!str 36",
    "!!str",
    "&anchor x",
    "!!str yes",
    "'{{mount_point}}'",
    "'[a]'",
    "é",
    "|\n          36",
    ">-\n          a\n          b",
    "\"\\u00e9\\n\"",
];

const ACCEPTED: &[(Slot, &str)] = &[
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\ntargets: {}\n"),
    (DOCUMENT, "? gonto\n: {cache_dir: /c, repository: http://x}\n? targets\n: ? build\n  : script: x\n"),
    (DOCUMENT, "---\ngonto: {cache_dir: /c, repository: http://x}\ntargets: {}\n...\n"),
    (DOCUMENT, "\u{feff}gonto: {cache_dir: /c, repository: http://x}\r\ntargets: {}\r\n"),
    (DOCUMENT, "{gonto: {cache_dir: /c, repository: http://x}, targets: {}}"),
    (DOCUMENT, "%YAML 1.1\n---\ntargets: {}\ngonto: {cache_dir: /c, repository: http://x}\n"),
    (DOCUMENT, "gonto: 1\ngonto: {cache_dir: /c, repository: http://x}\ntargets: {}\n"),
    (DOCUMENT, "<<: {gonto: {cache_dir: /c, repository: http://x}}\ntargets: {}\n"),
    (DOCUMENT, "targets: &t {}\ngonto: &g {cache_dir: &c /c, repository: *c}\n"),
    (CACHE_DIR, "/c"),
    (CACHE_DIR, "relative/folder"),
    (CACHE_DIR, "."),
    (CACHE_DIR, "~user"),
    (CACHE_DIR, "C:\\cache"),
    (CACHE_DIR, "'a $b c'"),
    (CACHE_DIR, "${PATH}/c"),
    (REPOSITORY, "http://x"),
    (REPOSITORY, "https://user:pass@host:1234/path/"),
    (REPOSITORY, "HTTPS://X"),
    (REPOSITORY, "file:///srv/images"),
    (REPOSITORY, "/srv/images"),
    (REPOSITORY, "../images"),
    (REPOSITORY, "host:80/images"),
    (REPOSITORY, "'a b'"),
    (REPOSITORY, "http://[::1]:80"),
    (BACKEND, "auto"),
    (BACKEND, "erofs"),
    (BACKEND, "'fuse'"),
    (BACKEND, "extract"),
    (LAYER, "cache"),
    (LAYER, "'memory'"),
    (LAYER, "none"),
    (LAYER, "memory\n  layer_limit: 8G"),
    (LIMIT, "8G"),
    (LIMIT, "512MiB"),
    (LIMIT, "64K"),
    (LIMIT, "1TiB"),
    (LIMIT, "'4096'"),
    (LIMIT, "4096"),
    (LIMIT, "0x1000"),
    (LIMIT, "'0008M'"),
    (LIMIT, "9223372036854775807"),
    (TARGETS, "{}"),
    (TARGETS, "{t: {script: ''}}"),
    (TARGETS, "{t: {script: x, requires: [], env: {}}}"),
    (TARGETS, "{a: &a {script: x}, b: *a, c: {<<: *a}}"),
    (TARGETS, "{a: &a {script: x, env: {A: b}}, b: {<<: *a, env: {}}}"),
    (TARGETS, "{a: &a {script: x}, b: &b {script: y}, c: {<<: [*a, *b]}}"),
    (TARGET_NAME, "t"),
    (TARGET_NAME, "T"),
    (TARGET_NAME, "y"),
    (TARGET_NAME, "build-all_2"),
    (TARGET_NAME, "a--__b"),
    (TARGET_NAME, "'on'"),
    (TARGET_NAME, "nullable"),
    (TARGET, ""),
    (TARGET, "after_script: x"),
    (TARGET, "script: again"),
    (TARGET, "requires: []"),
    (REQUIRES, "[]"),
    (REQUIRES, "[{name: foo, version: '1'}]"),
    (
        REQUIRES,
        "[{name: foo, version: '1', mount_point: 'U:\\'}, {name: foo, version: '2', mount_point: 'U:\\'}]",
    ),
    (REQUIRES, "!!seq []"),
    (REQUIREMENT, "env: {}"),
    (REQUIREMENT, "env: {A: '{{mount_point}}bin', b_1: ''}"),
    (REQUIREMENT, "reg: []"),
    (REQUIREMENT, "platform: win32"),
    (NAME, "foo"),
    (NAME, "foo-1"),
    (NAME, "'42'"),
    (NAME, "-a"),
    (NAME, "08"),
    (VERSION, "'36'"),
    (VERSION, "1.2.3"),
    (VERSION, "5.4.1-custom1"),
    (VERSION, "'1.10'"),
    (VERSION, "08"),
    (VERSION, "1-0"),
    (VERSION, "!!str 36"),
    (PLATFORM, "win32"),
    (PLATFORM, "win64"),
    (PLATFORM, "multi"),
    (PLATFORM, "linux64"),
    (FORMAT, "vhd"),
    (FORMAT, "'vhdx'"),
    (MOUNT_POINT, "''"),
    (MOUNT_POINT, "D:\\"),
    (MOUNT_POINT, "'U:\\'"),
    (MOUNT_POINT, "\"Z:\\\\\""),
    (REG, "[]"),
    (REG, "[{root: HKEY_USERS, name: '', data: ''}]"),
    (REG, "[{root: HKEY_CURRENT_USER, path: a\\b, name: n, data: 'x{{mount_point}}', type: REG_SZ}]"),
    (REG, "[{root: HKEY_CLASSES_ROOT, name: n, data: x, type: REG_EXPAND_SZ}]"),
    (REG, "[{root: HKEY_CURRENT_CONFIG, name: n, data: x, type: REG_MULTI_SZ}]"),
    (REG, "[{root: HKEY_DYN_DATA, name: n, data: 1, type: REG_DWORD_LITTLE_ENDIAN}]"),
    (REG, "[{root: HKEY_LOCAL_MACHINE, name: n, data: 1, type: REG_DWORD_BIG_ENDIAN}]"),
    (REG, "[{root: HKEY_PERFORMANCE_DATA, name: n, data: 1, type: REG_QWORD_LITTLE_ENDIAN}]"),
    (DWORD, "0"),
    (DWORD, "4294967295"),
    (DWORD, "0xFFFFFFFF"),
    (DWORD, "010"),
    (DWORD, "0b1"),
    (DWORD, "1:30"),
    (DWORD, "1_0"),
    (DWORD, "-0"),
    (DWORD, "!!int '1'"),
    (QWORD, "18446744073709551615"),
];

/// Accepted where a path can be a mount point.
#[cfg(unix)]
const ACCEPTED_HERE: &[(Slot, &str)] = &[
    (MOUNT_POINT, "/opt/x"),
    (MOUNT_POINT, "/opt/x/"),
    (MOUNT_POINT, "/a"),
    (MOUNT_POINT, "//a/./b"),
    (MOUNT_POINT, "/..a"),
    (MOUNT_POINT, "/..."),
    (MOUNT_POINT, "/a..b/c.."),
    (MOUNT_POINT, "/.hidden"),
    (MOUNT_POINT, "'/with space/é'"),
];
#[cfg(windows)]
const ACCEPTED_HERE: &[(Slot, &str)] = &[];

const REFUSED: &[(Slot, &str)] = &[
    (DOCUMENT, ""),
    (DOCUMENT, "# nothing\n"),
    (DOCUMENT, "{}"),
    (DOCUMENT, "[]"),
    (DOCUMENT, "gonto"),
    (DOCUMENT, "36"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\n"),
    (DOCUMENT, "targets: {}\n"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\ntargets: {}\nextra: 1\n"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\ntargets: {}\n1: 1\n"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\ntargets: {}\n~: 1\n"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\ntargets: {}\n---\n{}\n"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\ntargets: {}\n---\n"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\ntargets: {}\n}"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\ntargets: {}\n\tx: 1"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\t\ntargets: {}\n"),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\ntargets: {} # \u{7}\n"),
    (DOCUMENT, "gonto: {cache_dir: &a /c, repository: &a http://x}\ntargets: {}\n"),
    (
        DOCUMENT,
        "gonto: {cache_dir: /c, repository: http://x}\ntargets: {a: {script: x}, ? [b] : {script: x}}\n",
    ),
    (DOCUMENT, "gonto: {cache_dir: /c, repository: http://x}\nTargets: {}\n"),
    (DOCUMENT, "gonto:\ntargets: {}\n"),
    (DOCUMENT, "gonto: []\ntargets: {}\n"),
    (DOCUMENT, "gonto: {}\ntargets: {}\n"),
    (DOCUMENT, "gonto: {cache_dir: /c}\ntargets: {}\n"),
    (DOCUMENT, "gonto: {repository: http://x}\ntargets: {}\n"),
    (GONTO, "cache: x"),
    (GONTO, "script: x"),
    (GONTO, "1: x"),
    (GONTO, "limit: 8G"),
    (LAYER, "disk"),
    (LAYER, "Memory"),
    (LAYER, "None"),
    (LAYER, "''"),
    (LAYER, "~"),
    (LAYER, "[cache]"),
    (LAYER, "cache\n  layer_limit: 8G"),
    (LAYER, "none\n  layer_limit: 8G"),
    (LAYER, "disk\n  layer_limit: 8G"),
    (LIMIT, "8GB"),
    (LIMIT, "8g"),
    (LIMIT, "8 GiB"),
    (LIMIT, "8iB"),
    (LIMIT, "'+8'"),
    (LIMIT, "'-8'"),
    (LIMIT, "-8"),
    (LIMIT, "0"),
    (LIMIT, "'0'"),
    (LIMIT, "00M"),
    (LIMIT, "1.5G"),
    (LIMIT, "0.5"),
    (LIMIT, "G"),
    (LIMIT, "''"),
    (LIMIT, "é8é"),
    (LIMIT, "8é"),
    (LIMIT, "\"8G\\n\""),
    (LIMIT, "1e3"),
    (LIMIT, "~"),
    (LIMIT, "yes"),
    (LIMIT, "[8G]"),
    (LIMIT, "9223372036854775808"),
    (CACHE_DIR, "''"),
    (REPOSITORY, "\"\""),
    (REPOSITORY, "ftp://x"),
    (REPOSITORY, "s3://bucket"),
    (REPOSITORY, "httpx://x"),
    (REPOSITORY, "a+b-c.d://x"),
    (BACKEND, ""),
    (BACKEND, "''"),
    (BACKEND, "Auto"),
    (BACKEND, "unpack"),
    (BACKEND, "[fuse]"),
    (TARGETS, ""),
    (TARGETS, "[]"),
    (TARGETS, "x"),
    (TARGETS, "{t: }"),
    (TARGETS, "{t: x}"),
    (TARGETS, "{t: []}"),
    (TARGETS, "{t: {}}"),
    (TARGETS, "{t: {requires: []}}"),
    (TARGETS, "!!set {t}"),
    (TARGETS, "!!omap [t: {script: x}]"),
    (TARGETS, "{a: &a {script: x, b: *a}}"),
    (TARGETS, "{a: {script: x, <<: x}}"),
    (TARGETS, "{a: {script: x, <<: [[]]}}"),
    (TARGET_NAME, "1t"),
    (TARGET_NAME, "_t"),
    (TARGET_NAME, "-t"),
    (TARGET_NAME, "t-"),
    (TARGET_NAME, "t_"),
    (TARGET_NAME, "t.x"),
    (TARGET_NAME, "a b"),
    (TARGET_NAME, "é"),
    (TARGET_NAME, "''"),
    (TARGET_NAME, "on"),
    (TARGET_NAME, "No"),
    (TARGET_NAME, "~"),
    (TARGET_NAME, "null"),
    (TARGET_NAME, "36"),
    (TARGET_NAME, "\"t\\n\""),
    (TARGET, "requires:"),
    (TARGET, "requires: {}"),
    (TARGET, "requires: x"),
    (TARGET, "env:"),
    (TARGET, "env: []"),
    (TARGET, "env: x"),
    (TARGET, "env: {1: a}"),
    (TARGET, "require: []"),
    (TARGET, "Script: x"),
    (TARGET, "before-script: x"),
    (TARGET, "name: x"),
    (TARGET, "platform: win64"),
    (TARGET, "after_script:"),
    (TARGET, "after_script: [x]"),
    (ENV_NAME, "1A"),
    (ENV_NAME, "A-B"),
    (ENV_NAME, "A.B"),
    (ENV_NAME, "A B"),
    (ENV_NAME, "''"),
    (ENV_NAME, "É"),
    (ENV_NAME, "NO"),
    (ENV_NAME, "on"),
    (ENV_NAME, "~"),
    (ENV_NAME, "="),
    (ENV_NAME, "\"A\\n\""),
    (REQUIRES, "[x]"),
    (REQUIRES, "[[]]"),
    (REQUIRES, "[~]"),
    (REQUIRES, "[{}]"),
    (REQUIRES, "[{name: foo}]"),
    (REQUIRES, "[{version: '1'}]"),
    (REQUIRES, "{name: foo, version: '1'}"),
    (REQUIRES, "[{name: foo, version: '1'}, {name: foo, version: 1}]"),
    (REQUIRES, "!!omap [name: foo]"),
    (REQUIREMENT, "extra: 1"),
    (REQUIREMENT, "mountpoint: ''"),
    (REQUIREMENT, "env: {A: 1}"),
    (REQUIREMENT, "env: {1: a}"),
    (REQUIREMENT, "env: {A-B: a}"),
    (REQUIREMENT, "env: []"),
    (REQUIREMENT, "reg: {}"),
    (REQUIREMENT, "reg:"),
    (NAME, "Foo"),
    (NAME, "foo_bar"),
    (NAME, "foo.bar"),
    (NAME, "''"),
    (NAME, "../foo"),
    (NAME, "a/b"),
    (NAME, "a\\b"),
    (NAME, "é"),
    (NAME, "'a '"),
    (NAME, "|\n          foo"),
    (VERSION, "''"),
    (VERSION, "v1"),
    (VERSION, "1."),
    (VERSION, "'1..2'"),
    (VERSION, "1-"),
    (VERSION, "1-a-b"),
    (VERSION, "1-A"),
    (VERSION, "1_a"),
    (VERSION, "../1"),
    (VERSION, "latest"),
    (VERSION, "'1 '"),
    (PLATFORM, "win"),
    (PLATFORM, "Win64"),
    (PLATFORM, "linux"),
    (PLATFORM, "''"),
    (PLATFORM, "64"),
    (PLATFORM, "[win64]"),
    (PLATFORM, "~"),
    (FORMAT, "VHD"),
    (FORMAT, "vmdk"),
    (FORMAT, "''"),
    (FORMAT, "~"),
    (MOUNT_POINT, "U:"),
    (MOUNT_POINT, "U"),
    (MOUNT_POINT, "u:\\"),
    (MOUNT_POINT, "U:/"),
    (MOUNT_POINT, "A:\\"),
    (MOUNT_POINT, "C:\\"),
    (MOUNT_POINT, "U:\\\\"),
    (MOUNT_POINT, "U:\\x"),
    (MOUNT_POINT, "UU:\\"),
    (MOUNT_POINT, "relative"),
    (MOUNT_POINT, "./x"),
    (MOUNT_POINT, "~/x"),
    (MOUNT_POINT, "' '"),
    (MOUNT_POINT, "\"U:\\\\\\n\""),
    (MOUNT_POINT, "/"),
    (MOUNT_POINT, "//"),
    (MOUNT_POINT, "/."),
    (MOUNT_POINT, "/././"),
    (MOUNT_POINT, "/.."),
    (MOUNT_POINT, "/a/../b"),
    (MOUNT_POINT, "/a/.."),
    (MOUNT_POINT, "\"/a\\0\""),
    (MOUNT_POINT, "\"/..\\n/../x\""),
    (REG, "[x]"),
    (REG, "[{}]"),
    (REG, "[{name: n, data: x}]"),
    (REG, "[{root: HKEY_USERS, data: x}]"),
    (REG, "[{root: HKEY_USERS, name: n}]"),
    (REG, "[{root: HKLM, name: n, data: x}]"),
    (REG, "[{root: hkey_users, name: n, data: x}]"),
    (REG, "[{root: HKEY_USERS, name: n, data: x, extra: 1}]"),
    (REG, "[{root: HKEY_USERS, name: 1, data: x}]"),
    (REG, "[{root: HKEY_USERS, name: n, data: 1}]"),
    (REG, "[{root: HKEY_USERS, name: n, data: x, path: 1}]"),
    (REG, "[{root: HKEY_USERS, name: n, data: x, type: REG_BINARY}]"),
    (REG, "[{root: HKEY_USERS, name: n, data: x, type: REG_DWORD}]"),
    (REG, "[{root: HKEY_USERS, name: n, data: 1, type: REG_MULTI_SZ}]"),
    (REG, "[{root: HKEY_USERS, name: n, data: [x], type: REG_MULTI_SZ}]"),
    (REG, "[{root: HKEY_USERS, name: n, data: x, type: ~}]"),
    (DWORD, "-1"),
    (DWORD, "4294967296"),
    (DWORD, "'1'"),
    (DWORD, "0.5"),
    (DWORD, "yes"),
    (DWORD, "~"),
    (DWORD, "2020-01-01"),
    (DWORD, "08"),
    (DWORD, "1e3"),
    (DWORD, "[]"),
    (QWORD, "-1"),
    (QWORD, "18446744073709551616"),
    (QWORD, "99999999999999999999999999999999999999999999999999"),
];

/// Refused for what a schema cannot know, or could say only at the price of being read by nobody.
const REFUSED_BEYOND_THE_SCHEMA: &[(Slot, &str)] = &[
    (CACHE_DIR, "'${NOT_SET_IN_ANY_ENVIRONMENT}'"),
    (CACHE_DIR, "'x${'"),
    (CACHE_DIR, "'${}'"),
    (CACHE_DIR, "'${A=B}'"),
    (CACHE_DIR, "\"x\\0\""),
    (REPOSITORY, "http://"),
    (REPOSITORY, "https:///path"),
    (REPOSITORY, "\"http://x\\0\""),
    (LIMIT, "9223372036854775808K"),
    (LIMIT, "'9223372036854775808'"),
    (LIMIT, "8388608T"),
    // JSON knows one kind of number.
    (LIMIT, "1.0"),
    (DWORD, "1.0"),
];

fn cases() -> Vec<(bool, String)> {
    let one = |accepted: bool| move |(slot, text): &(Slot, &str)| (accepted, slot.replace('@', text));
    let everywhere = |accepted: bool, slots: &'static [Slot], texts: &'static [&'static str]| {
        slots.iter().flat_map(move |slot| texts.iter().map(move |text| one(accepted)(&(slot, text))))
    };
    let all_strings: &[Slot] =
        &[CACHE_DIR, REPOSITORY, SCRIPT, BEFORE_SCRIPT, ENV_VALUE, NAME, VERSION, MOUNT_POINT];
    let free_strings: &[Slot] = &[SCRIPT, BEFORE_SCRIPT, ENV_VALUE];
    let accepted = ACCEPTED.iter().chain(ACCEPTED_HERE).map(one(true));
    let refused = REFUSED.iter().map(one(false));
    accepted
        .chain(refused)
        .chain(everywhere(false, all_strings, NOT_STRINGS))
        .chain(everywhere(true, free_strings, STRINGS))
        .collect()
}

#[test]
fn configurations_are_accepted_or_refused_as_the_table_says() {
    let beyond = REFUSED_BEYOND_THE_SCHEMA.iter().map(|(slot, text)| (false, slot.replace('@', text)));
    let mut wrong = Vec::new();
    for (accepted, document) in cases().into_iter().chain(beyond) {
        match Config::parse(&document, Path::new("gonto.yaml")) {
            Ok(_) if !accepted => wrong.push(format!("should be refused:\n{document}")),
            Err(error) if accepted => wrong.push(format!("should be accepted:\n{document}{error}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_schema_agrees_with_the_validation() {
    let schema: Json = serde_json::from_str(JSON_SCHEMA).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (accepted, document) in cases() {
        // A schema sees values; where there are none, YAML itself has refused the file.
        let Some(value) = json_of(&document) else {
            assert!(!accepted, "{document}");
            continue;
        };
        seen += 1;
        if schema.is_valid(&value) != accepted {
            wrong.push(format!(
                "the schema should {} it:\n{document}",
                if accepted { "accept" } else { "refuse" }
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(seen > 400, "only {seen} cases were compared");
}

/// What an editor hands to the schema. What has no type in JSON becomes null, which the schema takes nowhere.
fn json_of(document: &str) -> Option<Json> {
    let report = Report::default();
    let mapping = compose(&Source::new(Path::new("gonto.yaml"), document), &report)?;
    (!report.has_errors()).then(|| json_of_mapping(&mapping))
}

fn json_of_mapping(mapping: &Mapping) -> Json {
    let mut object: Map<String, Json> =
        mapping.entries.iter().map(|(name, entry)| (name.to_string(), json_of_node(&entry.value))).collect();
    if !mapping.other_keys.is_empty() {
        object.insert("(a key that is not a string)".to_owned(), Json::Null);
    }
    Json::Object(object)
}

fn json_of_node(node: &Node) -> Json {
    match &node.value {
        Value::Scalar(Scalar::String(text)) if node.plain && is_bare_exponent(text) => json!(0.5),
        Value::Scalar(Scalar::String(text)) => json!(&**text),
        Value::Scalar(Scalar::Bool(value)) => json!(value),
        Value::Scalar(Scalar::Integer(Some(value))) => {
            u64::try_from(*value).map_or(json!(*value as f64), |value| json!(value))
        }
        Value::Scalar(Scalar::Integer(None)) => json!(1e300),
        Value::Scalar(Scalar::Float) => json!(0.5),
        Value::Sequence(items) => items.iter().map(|item| json_of_node(item)).collect(),
        Value::Mapping(mapping) => json_of_mapping(mapping),
        _ => Json::Null,
    }
}
