//! A cache folder whose disk is full, or in which one may not write. Made with the means of Linux.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use gonto_store::{Error, Store};
use tempfile::tempdir;

use crate::child::Fetcher;
use crate::server::{Behaviour, Server};
use crate::{assert_nothing_left, chain, content, fetch, files, image, skipped, store};

#[test]
fn a_cache_that_may_not_be_written_still_gives_what_it_has() {
    let server = Server::start(Behaviour::Good, b"x");
    let folder = tempdir().unwrap();
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    allow(folder.path(), 0o777);
    let cache = folder.path().join("cache");
    // As root, permissions mean nothing: then the processes below run as nobody.
    let as_root = is_root(folder.path());
    let outcome = |name: &str| {
        let report = folder.path().join(name);
        let mut fetcher = Fetcher::new(&cache, &server.url(), &report);
        if as_root {
            fetcher.command().uid(NOBODY).gid(NOBODY);
        }
        match fetcher.command().status() {
            Ok(_) if !fetcher.report().is_empty() => Some(fetcher.report()),
            other => {
                skipped(&format!("another user cannot run this test's program: {other:?}"));
                None
            }
        }
    };

    fs::create_dir(&cache).unwrap();
    allow(&cache, 0o555);
    let Some(missing) = outcome("missing") else { return };
    assert!(missing.contains("cannot create") && missing.contains("Permission denied"), "{missing}");
    assert!(files(&cache).is_empty());

    allow(&cache, 0o755);
    fetch(&store(&cache, &server.url())).unwrap();
    allow(&cache, 0o555);
    assert_eq!(outcome("present").unwrap(), "ok");
    assert_eq!(server.requests().len(), 1);

    allow(&cache, 0o000);
    let unreadable = outcome("unreadable").unwrap();
    assert!(unreadable.contains("cannot read") && unreadable.contains("cache_dir"), "{unreadable}");
    allow(&cache, 0o755);
}

const NOBODY: u32 = 65534;

/// Whether the files that this process creates belong to root.
fn is_root(folder: &Path) -> bool {
    let file = folder.join("whose");
    fs::write(&file, b"").unwrap();
    fs::metadata(&file).unwrap().uid() == 0
}

#[test]
fn a_full_disk_is_an_error_and_stays_as_full_as_it_was() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    let content = content(3_000_003);
    let cache = disk.path().join("cache");

    // With a length, before the first byte; without one, when it happens.
    for (behaviour, known) in [(Behaviour::Good, true), (Behaviour::Chunked, false)] {
        let server = Server::start(behaviour, &content);
        match fetch(&store(&cache, &server.url())).unwrap_err() {
            Error::NoSpace { cache_dir, needed, .. } => {
                assert_eq!(cache_dir, cache);
                assert_eq!(needed, known.then_some(3_000_003));
            }
            other => panic!("{other:?}"),
        }
        assert_nothing_left(&cache);
    }

    let repository = tempdir().unwrap();
    let file = repository.path().join(image().to_string());
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(file, &content).unwrap();
    let store = Store::new(cache.clone(), repository.path().to_str().unwrap()).unwrap();
    let error = fetch(&store).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error:?}");
    assert!(chain(&error).contains("set cache_dir to a folder on a larger disk"), "{}", chain(&error));
    assert_nothing_left(&cache);

    // All of the space is there again.
    fs::write(disk.path().join("filler"), &content[..900_000]).unwrap();
}

#[test]
fn a_limit_for_file_sizes_is_an_error() {
    let server = Server::start(Behaviour::Good, &content(3_000_003));
    let cache = tempdir().unwrap();
    let reports = tempdir().unwrap();
    // A process that exceeds the limit is killed, unless it ignores the signal; then it gets an error.
    let limit = "trap '' XFSZ; ulimit -f 1000";
    let outcome =
        Fetcher::in_shell(limit, cache.path(), &server.url(), &reports.path().join("report")).outcome();
    assert!(outcome.contains("larger than a file in"), "{outcome}");
    assert_nothing_left(cache.path());
}

/// A file system of its own, unmounted on drop.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Option<SmallDisk> {
        let folder = tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "gonto-test"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk { folder }),
            other => {
                skipped(&format!("a small disk cannot be mounted here (are you root?): {other:?}"));
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}
