//! `gonto image extract`: files of an image become files of the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use rustix::process::Signal;

use super::everything;
use crate::support::{Output, Project, is_root, skipped};

/// Extracts the whole fixture, of which some things cannot be.
fn extract(project: &Project, more: &[&str]) -> Output {
    project.gonto(&[&["image", "extract", "everything.vhd"], more].concat()).run()
}

#[test]
fn files_keep_content_times_modes_links_and_holes() {
    let project = everything();
    let output = extract(&project, &["out"]).ends_with(1).prints("");
    output
        .mentions("extracted ")
        .mentions("error: unknown-tag.bin is left out\n  caused by: a file with the reparse point 0x8000001b")
        .mentions("is left out\n  caused by: the name is longer than 255 bytes\n");
    let out = project.path("project/out");
    assert_eq!(fs::read(out.join("resident.txt")).unwrap(), b"hello\n");
    assert_eq!(fs::read(out.join("a/b/c/deep.txt")).unwrap(), b"deep\n");
    assert_eq!(fs::read_link(out.join("links/relative")).unwrap().to_str().unwrap(), "../resident.txt");
    assert_eq!(fs::read(out.join("links/absolute")).unwrap(), b"deep\n");
    assert!(!out.join("unknown-tag.bin").exists());

    let metadata = |path: &str| out.join(path).symlink_metadata().unwrap();
    for path in ["resident.txt", "wsl-mode.sh", "links/relative", "a/b", "many"] {
        let found = metadata(path);
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_600_000_000, 987_654_300), "{path}");
    }
    assert_eq!(
        (metadata("clusters.bin").atime(), metadata("clusters.bin").atime_nsec()),
        (1_700_000_000, 123_456_700)
    );
    assert_eq!(metadata("wsl-mode.sh").permissions().mode() & 0o7777, 0o640);
    assert_eq!(metadata("resident.txt").permissions().mode() & 0o7777, 0o755);
    assert_eq!(metadata("hard-1").ino(), metadata("many/hard-3").ino());
    let sparse = metadata("sparse.bin");
    assert_eq!(sparse.len(), 300_000);
    assert!(sparse.blocks() * 512 < 100_000, "{} bytes are allocated", sparse.blocks() * 512);

    // Nothing but the files.
    let hidden =
        fs::read_dir(&out).unwrap().flatten().filter(|entry| entry.file_name().as_encoded_bytes()[0] == b'.');
    assert_eq!(hidden.count(), 0);
}

/// What is written has the content that the manifest tells.
#[test]
fn what_is_extracted_has_the_hashes_of_the_manifest() {
    let project = everything();
    extract(&project, &["out"]).ends_with(1);
    let manifest = project.gonto(&["image", "manifest", "everything.vhd"]).run().stdout;
    let mut checked = 0;
    for line in manifest.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let path = project.path("project/out").join(fields[0]);
        if fields[0].starts_with('€') {
            continue;
        }
        let output = Command::new("sha256sum").arg(path).output().unwrap();
        let hash = String::from_utf8_lossy(&output.stdout).trim_start_matches('\\')[..64].to_owned();
        assert_eq!(hash, fields[2], "{}", fields[0]);
        checked += 1;
    }
    assert!(checked > 300, "{checked}");
}

#[test]
fn chosen_places_have_their_whole_paths() {
    let project = everything();
    extract(&project, &["out", "a/b/c/deep.txt", r"MANY\Entry-007", "a/b/c/d", "many/entry-007"])
        .ends_with(0);
    let names = |path: &str| {
        let mut names: Vec<_> = fs::read_dir(project.path("project/out").join(path))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["a", "many"]);
    assert_eq!(names("a/b/c"), ["d", "deep.txt"]);
    assert_eq!(names("many"), ["Entry-007"]);
    extract(&project, &["other", "a", "a/b"]).ends_with(0);
    assert_eq!(names("../other/a/b/c"), ["d", "deep.txt"]);
    let missing = extract(&project, &["third", "nothing"]).ends_with(1);
    missing.mentions("error: there is no \"nothing\" in the root folder of the volume\n");
    assert!(!project.path("project/third").exists());
}

#[test]
fn files_that_are_there_are_kept_unless_force_is_given() {
    let project = everything();
    project.write("project/out/a/b/c/deep.txt", "mine");
    project.write("project/out/a/own.txt", "mine too");
    let output = extract(&project, &["out", "a", "resident.txt"]).ends_with(1).prints("");
    output.says(
        "error: ROOT/project/out/a/b/c/deep.txt is there already: nothing was written; choose another folder, or replace \
         files with --force\n",
    );
    assert_eq!(project.read("project/out/a/b/c/deep.txt"), "mine");
    assert!(!project.path("project/out/resident.txt").exists());

    extract(&project, &["out", "a", "resident.txt", "--force"]).ends_with(0);
    assert_eq!(project.read("project/out/a/b/c/deep.txt"), "deep\n");
    assert_eq!(project.read("project/out/a/own.txt"), "mine too");

    // Folders are never replaced, and never by files.
    fs::create_dir(project.path("project/out/hard-1")).unwrap();
    project.write("project/out/many", "a file");
    let output = extract(&project, &["out", "hard-1", "many", "--force"]).ends_with(1);
    output.mentions("/out/hard-1 is there already, and another one: nothing was written");
}

/// Links in the destination lead nowhere: neither through folders nor through files.
#[test]
fn nothing_is_written_through_links_of_the_destination() {
    let project = everything();
    project.write("project/victim/b/c/deep.txt", "mine");
    project.write("project/victim/resident.txt", "mine");
    fs::create_dir(project.path("project/out")).unwrap();
    symlink("../victim", project.path("project/out/a")).unwrap();
    symlink("../victim/resident.txt", project.path("project/out/resident.txt")).unwrap();
    symlink("../victim/new.txt", project.path("project/out/hard-1")).unwrap();
    let output = extract(&project, &["out", "a", "resident.txt", "hard-1"]).ends_with(1);
    output.mentions("/out/a is there already, and 2 others");
    let output = extract(&project, &["out", "a", "--force"]).ends_with(1);
    output.mentions("/out/a is there already: nothing was written");
    extract(&project, &["out", "resident.txt", "hard-1", "--force"]).ends_with(0);
    assert_eq!(project.read("project/victim/b/c/deep.txt"), "mine");
    assert_eq!(project.read("project/victim/resident.txt"), "mine");
    assert!(!project.path("project/victim/new.txt").exists());
    assert_eq!(project.read("project/out/resident.txt"), "hello\n");
    assert!(project.path("project/out/hard-1").symlink_metadata().unwrap().is_file());
}

#[test]
fn a_full_disk_is_an_error_that_leaves_nothing() {
    if !is_root() {
        skipped("only root can mount a small file system");
        return;
    }
    let project = everything();
    fs::create_dir(project.path("project/out")).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(project.path("project/out"))
        .status();
    assert!(mount.unwrap().success());
    let output = extract(&project, &["out"]);
    let left = fs::read_dir(project.path("project/out")).unwrap().count();
    rustix::mount::unmount(project.path("project/out"), rustix::mount::UnmountFlags::DETACH).unwrap();
    let output = output.ends_with(1).prints("");
    output.mentions("error: cannot extract into out: there is not enough space; nothing was left behind");
    assert_eq!(left, 0);
}

/// Whenever the signal comes, before gonto listens to it or at any time of its work: nothing half stays.
#[test]
fn an_interrupt_leaves_all_or_nothing() {
    let project = everything();
    for _ in 0..5 {
        let running = project.gonto(&["image", "extract", "everything.vhd", "out"]).start();
        running.signal(Signal::INT);
        let output = running.end();
        match output.status {
            130 => assert!(!project.path("project/out").exists(), "{}", output.stderr),
            // It was faster.
            1 => fs::remove_dir_all(project.path("project/out")).unwrap(),
            other => panic!("{other}: {}", output.stderr),
        }
    }
}

/// It is stopped while it writes, so that the signal surely comes then.
#[test]
fn an_interrupt_in_the_middle_leaves_nothing() {
    let project = everything();
    let out = project.path("project/out");
    // Links are written at last; it listens to signals before it makes the first folder.
    let (first, last) = ("new/many", "new/links/relative");
    let written = |path: &str| {
        let staging = fs::read_dir(&out).into_iter().flatten().flatten().next();
        staging.is_some_and(|staging| staging.path().join(path).symlink_metadata().is_ok())
    };
    for attempt in 0.. {
        let mut running = project.gonto(&["image", "extract", "everything.vhd", "out"]).start();
        while !written(first) && !running.has_ended() {
            std::thread::yield_now();
        }
        running.signal(Signal::STOP);
        let stopped = running.stop();
        let in_the_middle = stopped && written(first) && !written(last);
        if stopped {
            running.signal(Signal::INT);
            running.signal(Signal::CONT);
        }
        let output = running.end();
        if in_the_middle {
            output.ends_with(130).mentions("interrupted");
            assert!(!out.exists());
            return;
        }
        assert!(attempt < 100, "it was always faster");
        let _ = fs::remove_dir_all(&out);
    }
}

#[test]
fn json_counts() {
    let project = everything();
    let output = extract(&project, &["out", "a", "hard-1", "hard-2", "--json"]).ends_with(0).says("");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(json, serde_json::json!({"files": 3, "folders": 4, "bytes": 27}));
}
