//! `gonto image`: what is in an image is listed, printed and hashed without mounting it.

use std::fs;
use std::path::PathBuf;

use crate::support::{Project, example, fixture};

mod corpus;
mod extract;
mod hostile;
mod options;

const EMPTY: &str = "one: {script: x}";

/// A project whose folder holds the fixture `everything.vhd`.
fn everything() -> Project {
    let project = Project::new(EMPTY);
    fs::write(project.path("project/everything.vhd"), fixture()).unwrap();
    project
}

#[test]
fn info_tells_container_partitions_and_volume() {
    let project = everything();
    let output = project.gonto(&["image", "info", "everything.vhd"]).run().ends_with(0).says("");
    for part in [
        "image          everything.vhd\n",
        "VHD, ",
        "\nvolume         NTFS 3.1, ",
        "\n  holds        ",
        "named stream",
    ] {
        assert!(output.stdout.contains(part), "{part:?} is missing in:\n{}", output.stdout);
    }
    let output = project.gonto(&["image", "info", "--json", "everything.vhd"]).run().ends_with(0).says("");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(json["layers"][0]["file"], "everything.vhd");
    assert_eq!(json["volume"]["file_system"], "NTFS");
    // Those with three names count once.
    let files = project.gonto(&["image", "ls", "-R", "--json", "everything.vhd"]).run().ends_with(0).stdout;
    let files: serde_json::Value = serde_json::from_str(&files).unwrap();
    let names = files.as_array().unwrap().iter().filter(|entry| entry["kind"] == "file").count();
    assert_eq!(json["volume"]["files"], names - 2);
    assert_eq!(json["error"], serde_json::Value::Null);
}

#[test]
fn info_tells_what_there_is_when_there_is_no_volume() {
    let project = everything();
    let mut disk = vec![0; 1 << 20];
    // An MBR with one Linux partition of a megabyte.
    disk[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 8, 0, 0, 0, 0, 4, 0, 0]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(project.path("project/disk.raw"), disk).unwrap();
    let output = project.gonto(&["image", "info", "disk.raw"]).run().ends_with(1);
    let output = output.mentions("error: cannot read the image disk.raw\n  caused by: ");
    assert!(output.stdout.contains("raw disk"), "{}", output.stdout);
    assert!(
        output.stdout.contains("  partition 1  512.00 KiB (524288 bytes) from byte 4096: "),
        "{}",
        output.stdout
    );
    let output = project.gonto(&["image", "info", "--json", "disk.raw"]).run().ends_with(1);
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(json["partitions"][0]["start"], 4096);
    assert!(json["error"].is_string());
}

#[test]
fn a_sound_image_is_verified_and_a_damaged_one_is_told() {
    let project = everything();
    fs::copy(example().join("repository/pebble/pebble_v1.0_multi.vhd"), project.path("project/sound.vhd"))
        .unwrap();
    let sound = project.gonto(&["image", "verify", "sound.vhd"]).run().ends_with(0).says("");
    assert!(sound.stdout.starts_with("0 errors, 0 warnings in "), "{}", sound.stdout);

    let mut image = fixture();
    let record = image.windows(4).rposition(|window| window == b"FILE").unwrap();
    image[record..record + 4].copy_from_slice(b"BAAD");
    fs::write(project.path("project/damaged.vhd"), image).unwrap();
    let damaged = project.gonto(&["image", "verify", "damaged.vhd"]).run().ends_with(1).says("");
    assert!(damaged.stdout.starts_with("error: volume: "), "{}", damaged.stdout);
    assert!(!damaged.stdout.contains("\n0 errors"), "{}", damaged.stdout);
    let json = project.gonto(&["image", "verify", "--json", "damaged.vhd"]).run().ends_with(1).says("");
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["findings"][0]["is_error"], true);

    // The rest is shown, and what is damaged is named.
    let listed = project.gonto(&["image", "manifest", "damaged.vhd"]).run().ends_with(1);
    assert!(listed.stdout.contains("resident.txt\t6\t"), "{}", listed.stdout);
    listed.mentions("NTFS record ");
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
