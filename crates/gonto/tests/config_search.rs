//! Which configuration files are read, in which order, and how they are merged.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use gonto::Layer;
use gonto::config::{Config, ConfigError, Loaded, Search};
use tempfile::TempDir;

/// Three folders: of the program, of the user, and the current one.
struct Folders {
    root: TempDir,
    search: Search,
}

impl Folders {
    fn new(files: &[(&str, &str)]) -> Folders {
        let root = tempfile::tempdir().unwrap();
        for folder in ["program", "home", "current"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        for (path, text) in files {
            fs::write(root.path().join(path), text).unwrap();
        }
        let search = Search {
            program_dir: Some(root.path().join("program")),
            home: Some(root.path().join("home")),
            directory: root.path().join("current"),
            file: None,
        };
        Folders { root, search }
    }

    fn path(&self, path: &str) -> PathBuf {
        // Component by component: messages show paths with the separator of the system.
        self.root.path().join(path.split('/').collect::<PathBuf>())
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        Config::load(&self.search)
    }
}

const GONTO: &str = "gonto: {cache_dir: /c, repository: http://x}\n";

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.config.targets.keys().map(String::as_str).collect()
}

#[test]
fn all_names_in_all_folders_are_read_and_later_ones_win() {
    let files = ["gonto.yaml", "gonto.yml", ".gonto.yaml", ".gonto.yml"];
    let folders = ["program", "home", "current"];
    let all: Vec<String> =
        folders.iter().flat_map(|folder| files.map(|file| format!("{folder}/{file}"))).collect();
    let mut present: Vec<(String, String)> = Vec::new();
    for path in &all {
        // Each file adds a target of its own, and overrides one that all of them set.
        let own = path.replace('/', "_").replace('.', "x");
        present.push((
            path.clone(),
            format!("{GONTO}targets: {{all: {{script: '{path}'}}, {own}: {{script: x}}}}"),
        ));
        let files: Vec<(&str, &str)> =
            present.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let folders = Folders::new(&files);
        let loaded = folders.load().unwrap();
        assert_eq!(loaded.config.targets["all"].script, *path);
        assert_eq!(loaded.files, present.iter().map(|(path, _)| folders.path(path)).collect::<Vec<_>>());
        let own: Vec<String> =
            present.iter().map(|(path, _)| path.replace('/', "_").replace('.', "x")).collect();
        assert_eq!(names(&loaded)[1..], own);
    }
}

#[test]
fn mappings_merge_key_by_key_and_everything_else_is_replaced() {
    let folders = Folders::new(&[
        (
            "home/gonto.yaml",
            "gonto: {cache_dir: /home, repository: http://home}\n\
             targets:\n  a:\n    script: old\n    before_script: kept\n    env: {A: '1', B: '1'}\n    \
             requires: [{name: x, version: '1'}, {name: y, version: '1'}]\n  b: {script: b}\n",
        ),
        (
            "current/.gonto.yml",
            "targets:\n  c: {script: c}\n  a:\n    env: {B: '2', C: '2'}\n    script: new\n    \
             requires: [{name: z, version: '2'}]\ngonto: {repository: http://current}\n",
        ),
    ]);
    let loaded = folders.load().unwrap();
    assert_eq!(names(&loaded), ["a", "b", "c"], "the order of first appearance");
    let target = &loaded.config.targets["a"];
    assert_eq!(target.script, "new");
    assert_eq!(target.before_script.as_deref(), Some("kept"));
    assert_eq!(
        target.env.iter().map(|(name, value)| format!("{name}{value}")).collect::<Vec<_>>(),
        ["A1", "B2", "C2"]
    );
    assert_eq!(target.requires.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["z"]);
    assert_eq!(loaded.config.gonto.repository, "http://current/");
    assert!(loaded.config.gonto.cache_dir.ends_with("home"));
}

#[test]
fn a_value_that_a_later_file_replaces_is_not_checked() {
    let wrong = "targets: {a: {script: 1, requires: [{nonsense: 1}]}}\n";
    let right = format!("{GONTO}targets: {{a: {{script: x, requires: []}}}}\n");
    let folders = Folders::new(&[("home/gonto.yaml", wrong), ("current/gonto.yaml", &right)]);
    assert_eq!(names(&folders.load().unwrap()), ["a"]);
    let folders = Folders::new(&[("home/gonto.yaml", &right), ("current/gonto.yaml", wrong)]);
    let error = folders.load().unwrap_err().to_string();
    assert!(error.contains("current"), "the error names the file that wrote the value: {error}");
}

#[test]
fn empty_files_count_as_empty_mappings() {
    let text = format!("{GONTO}targets: {{}}\n");
    for empty in ["", "\n\n", "# nothing\n", "---\n", "---\n...\n", "~\n", "{}\n", "\u{feff}"] {
        let folders = Folders::new(&[("home/gonto.yaml", &text), ("current/gonto.yaml", empty)]);
        assert!(folders.load().is_ok(), "{empty:?}");
    }
}

#[test]
fn a_folder_that_is_searched_twice_is_read_once_and_still_wins() {
    let text = |name: &str| {
        format!("{GONTO}targets: {{{name}: {{script: x}}, both: {{script: {name}, script: {name}}}}}\n")
    };
    let (here, home) = (text("here"), text("home"));
    let mut folders = Folders::new(&[("current/gonto.yaml", &here), ("home/gonto.yaml", &home)]);
    // The program lies in the current folder: it is searched first and last.
    folders.search.program_dir = Some(folders.path("home/../current/"));
    let loaded = folders.load().unwrap();
    assert_eq!(loaded.config.targets["both"].script, "here");
    assert_eq!(names(&loaded), ["here", "both", "home"]);
    assert_eq!(loaded.files.len(), 2);
    assert_eq!(loaded.warnings.len(), 2, "each file is told about once: {:?}", loaded.warnings);
}

#[test]
fn relative_paths_are_meant_from_the_file_that_sets_them() {
    let folders = Folders::new(&[
        ("home/gonto.yaml", "gonto: {cache_dir: cache/./x, repository: repo}\ntargets: {}\n"),
        ("current/gonto.yaml", "gonto: {repository: ../images}\n"),
    ]);
    let gonto = folders.load().unwrap().config.gonto;
    assert_eq!(gonto.cache_dir, folders.path("home/cache/x"));
    assert!(Path::new(&gonto.repository).is_absolute());
    fs::create_dir(folders.path("images")).unwrap();
    let same = |path: PathBuf| path.canonicalize().unwrap();
    assert_eq!(same(gonto.repository.clone().into()), same(folders.path("images")));
    assert!(gonto.repository.ends_with(std::path::is_separator));
}

/// Two keys that are one setting: a limit for all projects does not forbid a project another layer.
#[test]
fn what_a_later_file_says_of_the_layer_goes_before_an_earlier_limit() {
    let limited = |bytes| Layer::Memory { limit: NonZeroU64::new(bytes) };
    let cases = [
        ("layer_limit: 8", "layer: cache", limited(8), Layer::Cache),
        ("layer_limit: 8", "layer: none", limited(8), Layer::None),
        ("layer: memory, layer_limit: 8", "layer: none", limited(8), Layer::None),
        ("layer_limit: 8", "layer: memory", limited(8), limited(8)),
        ("layer: cache", "layer_limit: 8", Layer::Cache, limited(8)),
        ("layer: none", "layer_limit: 8", Layer::None, limited(8)),
        ("layer: none", "layer: memory, layer_limit: 8", Layer::None, limited(8)),
    ];
    for (earlier, later, alone, merged) in cases {
        let first = format!("gonto: {{cache_dir: /c, repository: http://x, {earlier}}}\ntargets: {{}}\n");
        let second = format!("gonto: {{{later}}}\n");
        let mut folders = Folders::new(&[("home/gonto.yaml", &first), ("current/gonto.yaml", &second)]);
        assert_eq!(folders.load().unwrap().config.gonto.layer, merged, "{earlier}, then {later}");
        // The current folder is the home folder: one file, which is searched twice.
        folders.search.directory = folders.path("home");
        assert_eq!(folders.load().unwrap().config.gonto.layer, alone, "{earlier}");
    }
    // One file that says both contradicts itself, whatever another one says.
    let first = format!("{GONTO}targets: {{}}\n").replace("http://x", "http://x, layer: memory");
    for layer in ["cache", "none"] {
        let second = format!("gonto: {{layer: {layer}, layer_limit: 8}}\n");
        let folders = Folders::new(&[("home/gonto.yaml", &first), ("current/gonto.yaml", &second)]);
        let error = folders.load().unwrap_err().to_string();
        assert!(error.contains("`gonto.layer_limit` needs a layer in memory"), "{error}");
        // A limit that is given up is looked at all the same.
        let folders = Folders::new(&[
            ("home/gonto.yaml", &first.replace("memory", "memory, layer_limit: 8Q")),
            ("current/gonto.yaml", &format!("gonto: {{layer: {layer}}}\n")),
        ]);
        let error = folders.load().unwrap_err().to_string();
        assert!(error.contains("`8Q` is not a size"), "{error}");
    }
}

#[test]
fn the_home_folder_is_that_of_the_search() {
    let folders = Folders::new(&[(
        "current/gonto.yaml",
        "gonto: {cache_dir: ~/cache, repository: '~'}\ntargets: {}\n",
    )]);
    let gonto = folders.load().unwrap().config.gonto;
    assert_eq!(gonto.cache_dir, folders.path("home/cache"));
    assert_eq!(Path::new(&gonto.repository), folders.path("home"));
}

#[test]
fn a_named_file_is_the_only_one() {
    let one = format!("{GONTO}targets: {{one: {{script: x}}}}\n");
    let two = format!("{GONTO}targets: {{two: {{script: x}}}}\n");
    let folders =
        Folders::new(&[("home/gonto.yaml", &one), ("current/gonto.yaml", &one), ("current/other", &two)]);
    let loaded = Config::load(&folders.search.clone().only("other")).unwrap();
    assert_eq!(names(&loaded), ["two"]);
    assert_eq!(loaded.files, [folders.path("current/other")]);
    let loaded = Config::load(&folders.search.clone().only(folders.path("home/gonto.yaml"))).unwrap();
    assert_eq!(names(&loaded), ["one"]);
    let missing = folders.path("current/missing.yaml");
    let error = Config::load(&folders.search.clone().only(&missing)).unwrap_err().to_string();
    assert!(error.contains(&missing.display().to_string()), "{error}");
    assert!(error.contains("help: check the path"), "{error}");
}

#[test]
fn without_a_file_the_searched_folders_and_an_example_are_shown() {
    let folders = Folders::new(&[]);
    let error = folders.load().unwrap_err();
    let [warning, missing] = error.diagnostics() else { panic!("{error}") };
    assert_eq!(warning.message, "no configuration file was found");
    for folder in ["program", "home", "current"] {
        let folder = folders.path(folder).display().to_string();
        assert!(missing.message.contains(&folder), "{folder} is missing in: {error}");
    }
    let example = missing.help.as_ref().unwrap().split_once("\n\n").unwrap().1;
    let loaded = Config::parse(example, Path::new("gonto.yaml")).unwrap();
    assert_eq!(names(&loaded), ["build"], "the example can be used as it is");
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_reason() {
    let text = format!("{GONTO}targets: {{t: {{script: 1}}}}\n");
    let folders = Folders::new(&[("current/gonto.yaml", &text)]);
    fs::create_dir(folders.path("home/gonto.yml")).unwrap();
    fs::write(folders.path("home/.gonto.yaml"), b"targets:\n  \xff: x\n").unwrap();
    fs::write(folders.path("program/gonto.yaml"), vec![b'#'; (4 << 20) + 1]).unwrap();
    fs::write(folders.path("program/gonto.yml"), b"\xff\xfeg\0o\0n\0t\0o\0").unwrap();
    let error = folders.load().unwrap_err().to_string();
    for (file, reason) in [
        ("program/gonto.yaml", "larger than 4 MiB"),
        ("program/gonto.yml", "not UTF-8"),
        ("home/gonto.yml", "a folder"),
        ("home/.gonto.yaml", "not UTF-8 (byte 11, line 2)"),
    ] {
        let file = folders.path(file).display().to_string();
        let line =
            error.lines().find(|line| line.contains(&file)).unwrap_or_else(|| panic!("{file}: {error}"));
        assert!(line.contains(reason), "{line}");
    }
    assert!(
        error.contains("`targets.t.script` must be a string"),
        "the other files are checked as well: {error}"
    );
    // What the unreadable files may hold is not reported as missing.
    assert!(!error.contains("is missing"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_does_not_keep_the_search_waiting() {
    let folders = Folders::new(&[]);
    let pipe = folders.path("current/gonto.yaml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no mkfifo here");
        return;
    }
    let error = folders.load().unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_is_an_error() {
    use std::os::unix::fs::PermissionsExt;

    let folders = Folders::new(&[("current/gonto.yaml", GONTO)]);
    let file = folders.path("current/gonto.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&file).is_ok() {
        eprintln!("skipped: this user may read every file");
        return;
    }
    let error = folders.load().unwrap_err().to_string();
    assert!(error.contains("make the file readable"), "{error}");
}

#[test]
fn a_syntax_error_in_one_file_does_not_hide_the_errors_of_another() {
    let folders = Folders::new(&[
        ("home/gonto.yaml", "gonto: [\n"),
        ("current/gonto.yaml", "targets: {t: {script: 1}, u.v: {script: x}}\n"),
    ]);
    let error = folders.load().unwrap_err();
    let messages: Vec<&str> = error.diagnostics().iter().map(|it| it.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the file is not valid YAML",
            "`targets.t.script` must be a string",
            "`u.v` cannot be the name of a target",
        ]
    );
}
