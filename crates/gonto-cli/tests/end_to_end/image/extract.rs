//! `gonto image extract`: files of an image become files of the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::everything;
use crate::support::{Output, Project, Running, is_root, skipped};

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
    assert_eq!(names(&project, "out"), ["a", "many"]);
    assert_eq!(names(&project, "out/a/b/c"), ["d", "deep.txt"]);
    assert_eq!(names(&project, "out/many"), ["Entry-007"]);
    extract(&project, &["other", "a", "a/b"]).ends_with(0);
    assert_eq!(names(&project, "other/a/b/c"), ["d", "deep.txt"]);
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
    let running = stopped(&project, &[], || (), is_writing);
    running.signal(Signal::INT);
    running.signal(Signal::CONT);
    running.end().ends_with(130).mentions("interrupted");
    assert!(!project.path("project/out").exists());
}

#[test]
fn what_a_killed_extraction_leaves_goes_with_the_next_one() {
    let project = everything();
    kill(stopped(&project, &[], || (), is_writing));
    assert_eq!(staging(&project).len(), 1);
    extract(&project, &["out", "a"]).ends_with(0);
    assert_eq!(names(&project, "out"), ["a"]);
}

/// Neither takes away what the other one is writing.
#[test]
fn two_extractions_into_one_folder_do_not_disturb_each_other() {
    let project = everything();
    let slow = stopped(&project, &["links", "many"], || (), is_writing);
    extract(&project, &["out", "a"]).ends_with(0);
    assert_eq!(staging(&project).len(), 1);
    slow.signal(Signal::CONT);
    // One of the links has no target.
    slow.end().ends_with(1);
    assert_eq!(names(&project, "out"), ["a", "links", "many"]);
    assert_eq!(names(&project, "out/many").len(), 301);
}

#[test]
fn no_file_is_lost_when_its_replacement_is_killed() {
    let project = everything();
    extract(&project, &["out", "many"]).ends_with(0);
    let all = names(&project, "out/many");
    let mine = || all.iter().for_each(|name| project.write(&format!("project/out/many/{name}"), "mine"));
    kill(stopped(&project, &["many", "--force"], mine, is_replacing));
    let [folder] = staging(&project).try_into().unwrap();

    let output = extract(&project, &["out", "a"]).ends_with(0);
    let former = folder.join("replaced");
    output.mentions(&format!(
        "warning: an extraction that was killed had replaced files: as they were before, they are in {}; remove that folder",
        former.display().to_string().replace(&*project.root.to_string_lossy(), "ROOT")
    ));
    let is_mine = |path: PathBuf| fs::read(path).is_ok_and(|content| content == b"mine");
    for name in &all {
        let (kept, place) = (former.join("many").join(name), project.path("project/out/many").join(name));
        assert!(place.exists(), "{name}");
        assert!(is_mine(kept) != is_mine(place), "{name}");
    }
    // Now they are replaced as was wanted.
    extract(&project, &["out", "many", "--force"]).ends_with(0);
    assert_eq!(names(&project, "out"), ["a", "many"]);
    assert!(all.iter().all(|name| !is_mine(project.path("project/out/many").join(name))));
}

/// Links are written at last; it listens to signals before it makes the first folder.
fn is_writing(staging: &Path) -> bool {
    staging.join("new/many").exists() && staging.join("new/links/relative").symlink_metadata().is_err()
}

fn is_replacing(staging: &Path) -> bool {
    let holds_files =
        |folder| fs::read_dir(staging.join(folder)).is_ok_and(|mut files| files.next().is_some());
    holds_files("replaced/many") && holds_files("new/many")
}

/// An extraction into `out` that is stopped at a moment, which is told by its hidden folder.
fn stopped(
    project: &Project,
    more: &[&str],
    prepare: impl Fn(),
    is_the_moment: fn(&Path) -> bool,
) -> Running {
    let is_now = || staging(project).iter().any(|staging| is_the_moment(staging));
    for _ in 0..100 {
        prepare();
        let arguments = [&["image", "extract", "everything.vhd", "out"], more].concat();
        let mut running = project.gonto(&arguments).start();
        while !is_now() && !running.has_ended() {
            std::thread::yield_now();
        }
        if running.stop() {
            if is_now() {
                return running;
            }
            running.signal(Signal::CONT);
        }
        running.end();
        fs::remove_dir_all(project.path("project/out")).unwrap();
    }
    panic!("it was always faster");
}

fn kill(running: Running) {
    running.signal(Signal::KILL);
    running.end().ends_with(137);
}

/// The hidden folders of extractions into `out`.
fn staging(project: &Project) -> Vec<PathBuf> {
    let entries = fs::read_dir(project.path("project/out")).into_iter().flatten().flatten();
    let hidden = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".gonto-"));
    hidden.map(|entry| entry.path()).collect()
}

fn names(project: &Project, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(project.path("project").join(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn json_counts() {
    let project = everything();
    let output = extract(&project, &["out", "a", "hard-1", "hard-2", "--json"]).ends_with(0).says("");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(json, serde_json::json!({"files": 3, "folders": 4, "bytes": 27}));
}
