//! What only Windows does to files.

use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::os::windows::fs::OpenOptionsExt;
use std::thread;
use std::time::Duration;

use gonto_store::{Error, Format, ImagePath, Platform};
use tempfile::tempdir;

use crate::server::{Behaviour, Gate, Server};
use crate::{assert_nothing_left, fetch, files, image, only_the_image, store};

/// `FILE_SHARE_READ | FILE_SHARE_WRITE`: the file can neither be renamed nor removed meanwhile.
const WITHOUT_DELETION: u32 = 1 | 2;

#[test]
fn a_scanner_that_looks_at_the_new_file_is_waited_for() {
    let server = Server::start(Behaviour::HoldLastByte, b"whole");
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    thread::scope(|scope| {
        let fetching = scope.spawn(|| fetch(&store));
        server.wait_until_held();
        let partial = cache.path().join(&files(cache.path())[0]);
        let scanner = OpenOptions::new().read(true).share_mode(WITHOUT_DELETION).open(&partial).unwrap();
        assert!(fs::rename(&partial, cache.path().join("renamed")).is_err());
        server.release();
        // The image's folder is made right before the image gets its name.
        while !cache.path().join(image().name()).exists() {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!fetching.is_finished());
        assert!(!store.contains(&image()));
        drop(scanner);
        fetching.join().unwrap().unwrap();
    });
    assert_eq!(fs::read(store.path(&image())).unwrap(), b"whole");
    assert_eq!(files(cache.path()), only_the_image());
}

#[test]
fn names_of_devices_are_told() {
    let server = Server::start(Behaviour::Good, b"x");
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    let fetch = |name: &str| {
        let image = ImagePath::new(name, "1", Platform::Multi, Format::Vhd).unwrap();
        store.fetch(&image, &mut |_| ControlFlow::Continue(()))
    };
    for name in ["con", "nul", "aux", "prn", "com1", "lpt9"] {
        let error = fetch(name).unwrap_err();
        assert!(matches!(error, Error::ReservedName { .. }), "{error:?}");
        assert!(error.to_string().contains("under another name"), "{error}");
    }
    assert_nothing_left(cache.path());
    assert!(server.requests().is_empty());
    for name in ["con1", "com", "com10", "null", "a-con"] {
        fetch(name).unwrap();
    }
}

#[test]
fn upper_and_lower_case_of_the_cache_folder_are_one_cache() {
    let server = Server::start(Behaviour::HoldMidBody, b"whole image");
    let cache = tempdir().unwrap();
    let folder = cache.path().join("cache");
    let other = cache.path().join("CACHE");
    let waiting = Gate::default();
    thread::scope(|scope| {
        scope.spawn(|| fetch(&store(&folder, &server.url())).unwrap());
        server.wait_until_held();
        scope.spawn(|| {
            let other = store(&other, &server.url());
            let events = &mut |_| {
                waiting.open();
                ControlFlow::Continue(())
            };
            other.fetch(&image(), events).unwrap()
        });
        waiting.pass();
        server.release();
    });
    assert_eq!(server.requests().len(), 1);
}
