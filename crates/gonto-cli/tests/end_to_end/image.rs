//! `gonto image`: what is in an image is listed, printed and hashed without mounting it.

use std::fs;
use std::path::PathBuf;

use crate::support::{Project, fixture};

mod corpus;

const EMPTY: &str = "one: {script: x}";

/// A project whose folder holds the fixture `everything.vhd`.
fn everything() -> Project {
    let project = Project::new(EMPTY);
    fs::write(project.path("project/everything.vhd"), fixture()).unwrap();
    project
}

#[test]
fn names_are_listed_sorted_with_folders_told() {
    let project = everything();
    let euros = "€".repeat(100);
    let names = format!(
        "Grüße € 😀.txt\na/\nclusters.bin\ncompressed/\nempty.txt\nfragmented.bin\nhard-1\nhard-2\nlinks/\nmany/\n\
         overlay-filter.bin\nresident.txt\nsparse.bin\nunknown-tag.bin\nwsl-mode.sh\n{euros}\n"
    );
    for root in [&["image", "ls", "everything.vhd"][..], &["image", "ls", "everything.vhd", "/"]] {
        project.gonto(root).run().ends_with(0).prints(&names).says("");
    }
    let deep = ["image", "ls", "-R", "everything.vhd", "a"];
    project.gonto(&deep).run().ends_with(0).prints("a/b/\na/b/c/\na/b/c/d/\na/b/c/deep.txt\n").says("");
    let file = ["image", "ls", "everything.vhd", r"A\B\c\DEEP.txt"];
    project.gonto(&file).run().ends_with(0).prints("a/b/c/deep.txt\n").says("");
}

#[test]
fn a_long_list_tells_modes_links_sizes_times_and_targets() {
    let project = everything();
    let line = |path: &str| {
        project.gonto(&["image", "ls", "-l", "everything.vhd", path]).run().ends_with(0).says("").stdout
    };
    assert_eq!(line("wsl-mode.sh"), "-rw-r-----   1           10 2020-09-13T12:26:40Z wsl-mode.sh\n");
    assert_eq!(line("many/hard-3"), "-rwxr-xr-x   3           22 2020-09-13T12:26:40Z many/hard-3\n");
    let link = "lrwxr-xr-x   1           15 2020-09-13T12:26:40Z links/relative -> ../resident.txt\n";
    assert_eq!(line("links/relative"), link);
    assert!(line("").contains("drwxr-xr-x   1            0 2020-09-13T12:26:40Z a/\n"));
}

#[test]
fn json_tells_all_of_a_name() {
    let project = everything();
    let output =
        project.gonto(&["image", "ls", "--json", "everything.vhd", "links"]).run().ends_with(0).says("");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let relative = json.as_array().unwrap().iter().find(|entry| entry["path"] == "relative").unwrap();
    assert_eq!(relative["kind"], "link");
    assert_eq!(relative["target"], "../resident.txt");
    assert_eq!(relative["modified"], 1_600_000_000_987_654_300_u64);
    let none = project.gonto(&["image", "ls", "--json", "everything.vhd", "a/b/c/d"]).run().ends_with(0);
    none.prints("[]\n");
}

#[test]
fn files_are_printed_by_any_spelling_of_their_path() {
    let project = everything();
    let cat = |path: &str| project.gonto(&["image", "cat", "everything.vhd", path]).run();
    for path in [
        "a/b/c/deep.txt",
        r"\A\B\c\Deep.TXT",
        "/a//b/./c/../c/deep.txt",
        "links/absolute",
        "links/junction/c/deep.txt",
        "../a/b/c/deep.txt",
    ] {
        cat(path).ends_with(0).prints("deep\n").says("");
    }
    cat("empty.txt").ends_with(0).prints("").says("");
    cat("GRÜSSE € 😀.TXT").ends_with(1);
    cat("GRÜßE € 😀.TXT").ends_with(0).prints("names\n");
}

#[test]
fn what_is_no_file_is_an_error_that_says_what_it_is() {
    let project = everything();
    let cat = |path: &str, says: &str| {
        project.gonto(&["image", "cat", "everything.vhd", path]).run().ends_with(1).prints("").mentions(says);
    };
    cat("nothing", "error: there is no \"nothing\" in the root folder of the volume\n");
    cat("a/b/x/y", "error: there is no \"x\" in \"a/b\"\n");
    cat("resident.txt/x", "error: \"resident.txt\" is no folder, so that there is no \"x\" in it\n");
    cat("a/b", "error: \"a/b\" is a folder: name a file in it, or one of its streams as in folder:stream\n");
    cat(
        "links/outside",
        "error: \"links/outside\" is a link to \"D:/elsewhere\", which does not lie in this volume\n",
    );
    cat("unknown-tag.bin", "error: cannot read \"unknown-tag.bin\"\n  caused by: ");
}

#[test]
fn a_file_that_is_no_image_is_an_error() {
    let project = everything();
    fs::write(project.path("project/text"), vec![b'x'; 4096]).unwrap();
    let cases = [
        ("missing.vhd", "error: cannot open the image missing.vhd\n"),
        ("text", "error: cannot read the image text\n"),
    ];
    for (file, error) in cases {
        for arguments in
            [&["image", "ls", file][..], &["image", "cat", file, "x"], &["image", "manifest", file]]
        {
            project
                .gonto(arguments)
                .run()
                .ends_with(1)
                .prints("")
                .mentions(error)
                .mentions("\n  caused by: ");
        }
    }
}

#[test]
fn no_configuration_is_read_for_images() {
    let project = everything();
    fs::write(project.path("project/gonto.yaml"), "{ this is broken").unwrap();
    let file = ["image", "cat", "everything.vhd", "resident.txt"];
    project.gonto(&file).run().ends_with(0).prints("hello\n").says("");
}

#[test]
fn a_manifest_tells_every_file_that_can_be_read_and_names_the_others() {
    let project = everything();
    let output = project.gonto(&["image", "manifest", "everything.vhd"]).run().ends_with(1);
    let output = output.mentions("error: cannot read \"unknown-tag.bin\"\n  caused by: ");
    let lines: Vec<&str> = output.stdout.lines().collect();
    // 300 in `many`, the hard link there, and those of the root and of `a`.
    let line = "resident.txt\t6\t5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\t1600000000987654300";
    assert!(lines.contains(&line), "{}", output.stdout);
    assert_eq!(lines.iter().filter(|line| line.starts_with("many/")).count(), 301);
    assert!(lines.is_sorted_by_key(|line| line.split('\t').next()));
    assert!(!output.stdout.contains("unknown-tag.bin"));

    let part = project.gonto(&["image", "manifest", "everything.vhd", "A/b"]).run().ends_with(0).says("");
    assert!(part.stdout.starts_with("a/b/c/deep.txt\t5\t"), "{}", part.stdout);
    assert_eq!(part.stdout.lines().count(), 1);
}

/// The folder of the corpus, or the reason for doing without.
fn corpus() -> Option<PathBuf> {
    let corpus = std::env::var_os("GONTO_CORPUS").map(PathBuf::from);
    if corpus.is_none() {
        crate::support::skipped("no corpus (GONTO_CORPUS is not set)");
    }
    corpus
}
