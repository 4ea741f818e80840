//! `gonto image` needs nothing that only one system has: this works on all of them, or is told by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::{Project, fixture, fixture_with};

/// A project whose folder holds an image.
fn project(image: &[u8]) -> Project {
    let project = Project::new("one: {script: x}");
    project.write("project/image.vhd", image);
    project
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_image_is_looked_into() {
    let project = project(&fixture());
    let gonto = |arguments: &[&str]| project.gonto(&[&["image"], arguments].concat()).run();

    let info = gonto(&["info", "image.vhd"]).ends_with(0).says("").stdout;
    assert!(info.starts_with("image          image.vhd\n"), "{info}");
    let info = json(&gonto(&["info", "--json", "image.vhd"]).ends_with(0).says("").stdout);
    assert_eq!(info["volume"]["file_system"], "NTFS");

    gonto(&["ls", "-R", "image.vhd", r"A\b"])
        .ends_with(0)
        .prints("a/b/c/\na/b/c/d/\na/b/c/deep.txt\n")
        .says("");
    let listed = json(&gonto(&["ls", "--json", "image.vhd", "links/relative"]).ends_with(0).says("").stdout);
    assert_eq!(listed[0]["target"], "../resident.txt");

    gonto(&["cat", "image.vhd", "links/junction/c/deep.txt"]).ends_with(0).prints("deep\n").says("");
    gonto(&["cat", "image.vhd", "GRÜßE € 😀.TXT"]).ends_with(0).prints("names\n").says("");

    let manifest = gonto(&["manifest", "image.vhd", "a"]).ends_with(0).says("");
    manifest.prints(
        "a/b/c/deep.txt\t5\t64896f89fd11190013b70103e603a1c5826e56b7fb7d2197ab279b0690043599\t1600000000987654300\n",
    );

    let verified = gonto(&["verify", "image.vhd"]);
    assert!(verified.stdout.contains(" errors, "), "{}", verified.stdout);
    let verified = json(&gonto(&["verify", "--json", "image.vhd"]).stdout);
    assert!(verified["findings"].is_array(), "{verified}");

    let missing = gonto(&["ls", "missing.vhd"]).ends_with(1).prints("");
    missing.mentions("error: cannot open the image missing.vhd\n  caused by: ");
}

#[test]
fn an_image_is_extracted() {
    let project = project(&fixture());
    let extract =
        |more: &[&str]| project.gonto(&[&["image", "extract", "image.vhd", "out"], more].concat()).run();
    let counted = extract(&["--json", "a", "hard-1", "many", "sparse.bin"]).ends_with(0).says("").stdout;
    assert_eq!(json(&counted), serde_json::json!({"files": 304, "folders": 5, "bytes": 300_817}));
    let out = project.path("project/out");
    assert_eq!(project.read("project/out/a/b/c/deep.txt"), "deep\n");
    let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_600_000_000_987_654_300);
    for path in ["a/b/c/deep.txt", "a", "many", "sparse.bin"] {
        assert_eq!(out.join(path).metadata().unwrap().modified().unwrap(), modified, "{path}");
    }
    let sparse = fs::read(out.join("sparse.bin")).unwrap();
    assert_eq!((sparse.len(), &sparse[200_000..200_015]), (300_000, &b"behind the hole"[..]));
    // Two names of one file.
    fs::write(out.join("hard-1"), "changed").unwrap();
    assert_eq!(project.read("project/out/many/hard-3"), "changed");

    let again = extract(&["a"]).ends_with(1).prints("");
    again.mentions(" is there already: nothing was written");
    project.write("project/out/a/b/c/deep.txt", "mine");
    extract(&["a", "--force"]).ends_with(0);
    assert_eq!(project.read("project/out/a/b/c/deep.txt"), "deep\n");
    assert_eq!(names(&out), ["a", "hard-1", "many", "sparse.bin"]);
}

/// Names that other systems can have, and what Windows says of them.
const NAMES: [(&str, &str, &str); 11] = [
    ("Entry-010", "CON", "Windows keeps the name for a device"),
    ("Entry-011", "aux.h", "Windows keeps the name for a device"),
    ("Entry-012", "com1.t.gz", "Windows keeps the name for a device"),
    ("Entry-013", "ConOut$", "Windows keeps the name for a device"),
    ("Entry-014", "nul .txt", "Windows keeps the name for a device"),
    ("Entry-015", "dot.", "the name ends with a dot or space, which Windows does not allow"),
    ("Entry-016", "blank ", "the name ends with a dot or space, which Windows does not allow"),
    ("Entry-017", "a:b", "the name has a character that Windows does not allow"),
    ("Entry-018", "what?", "the name has a character that Windows does not allow"),
    ("Entry-021", "line\n", "the name has a character that Windows does not allow"),
    ("Entry-022", "\"<|>*", "the name has a character that Windows does not allow"),
];

/// Names that look like those.
const HARMLESS: [(&str, &str); 4] =
    [("Entry-030", "console"), ("Entry-031", "com10"), ("Entry-032", ".aux"), ("Entry-033", "x.nul")];

#[test]
fn names_that_windows_cannot_have_are_left_out_there_and_told() {
    let changes: Vec<_> = NAMES.iter().map(|(old, new, _)| (*old, *new)).chain(HARMLESS).collect();
    let project = project(&fixture_with(&changes));
    let output = project.gonto(&["image", "extract", "image.vhd", "out", "many"]).run();
    let found = names(&project.path("project/out/many"));
    for (_, name) in HARMLESS {
        assert!(found.iter().any(|found| found == name), "{name}");
    }
    if cfg!(windows) {
        let output = output.ends_with(1);
        NAMES.iter().fold(output, |output, (_, name, why)| {
            let path = format!("many\\{name}").replace('\n', "\u{fffd}");
            output.mentions(&format!("error: {path} is left out\n  caused by: {why}\n"))
        });
        assert_eq!(found.len(), 301 - NAMES.len());
    } else {
        output.ends_with(0);
        assert_eq!(found.len(), 301);
    }
}

#[test]
fn of_names_that_differ_by_case_only_windows_gets_one_and_tells_of_the_other() {
    let twins = [("Entry-010", "ENTRY-011"), ("Entry-021", "HARD-3")];
    let project = project(&fixture_with(&twins));
    let output = project.gonto(&["image", "extract", "image.vhd", "out", "many", "hard-1"]).run();
    let found = names(&project.path("project/out/many"));
    if cfg!(windows) {
        assert_eq!(output.stderr.matches(" is left out\n  caused by: ").count(), 2, "{}", output.stderr);
        output.ends_with(1).mentions(
            "takes its name for that of another file, which differs by upper and lower case only\n",
        );
        assert_eq!(found.len(), 299);
    } else {
        output.ends_with(0);
        assert_eq!(found.len(), 301);
    }
}

/// Windows lets only some make links, and Wine nobody: they are there, or told.
#[test]
fn links_are_made_or_told() {
    let project = project(&fixture());
    let output =
        project.gonto(&["image", "extract", "image.vhd", "out", "links", "resident.txt"]).run().ends_with(1);
    for name in ["relative", "junction", "linux"] {
        let link = project.path("project/out/links").join(name);
        let left_out = format!("error: {} is left out\n", Path::new("links").join(name).display());
        assert_eq!(link.symlink_metadata().is_err(), output.stderr.contains(&left_out), "{}", output.stderr);
    }
    assert_eq!(project.read("project/out/resident.txt"), "hello\n");
}

#[test]
fn paths_may_be_longer_than_260() {
    let project = project(&fixture());
    let deep: PathBuf = ["a folder whose name has forty characters"; 8].iter().collect();
    let arguments = ["image", "extract", "image.vhd", deep.to_str().unwrap(), "a", "many"];
    for more in [&[][..], &["--force"]] {
        project.gonto(&[&arguments, more].concat()).run().ends_with(0);
        let out = project.path("project").join(&deep);
        assert_eq!(fs::read(out.join("a/b/c/deep.txt")).unwrap(), b"deep\n");
        assert_eq!(names(&out), ["a", "many"]);
    }
}

/// What could not be written anywhere does not end the work.
#[test]
fn a_whole_volume_is_extracted_but_for_what_is_told() {
    let project = project(&fixture());
    let output = project.gonto(&["image", "extract", "image.vhd", "out"]).run().ends_with(1);
    let output = output.mentions("error: unknown-tag.bin is left out\n  caused by: ");
    assert!(
        output.stderr.lines().all(|line| {
            line.trim_start().starts_with("extracted")
                || line.ends_with(" is left out")
                || line.starts_with("  caused by: ")
        }),
        "{}",
        output.stderr
    );
    assert_eq!(project.read("project/out/Grüße € 😀.txt"), "names\n");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
