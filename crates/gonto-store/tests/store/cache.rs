//! A cache folder that is not as it should be.

use std::fs::{self, File};

use gonto_store::{Error, Format, ImagePath, Platform};
use tempfile::tempdir;

use crate::server::{Behaviour, Server};
use crate::{assert_nothing_left, chain, fetch, files, image, only_the_image, store};

#[test]
fn partial_files_of_the_dead_are_removed_and_those_of_the_living_are_not() {
    let server = Server::start(Behaviour::Good, b"x");
    let cache = tempdir().unwrap();
    let partials = cache.path().join(".gonto/partial");
    let locks = cache.path().join(".gonto/locks");
    fs::create_dir_all(&partials).unwrap();
    fs::create_dir_all(&locks).unwrap();
    let own = format!("{}.4711-0.partial", image().file_name());
    let dead = "dead_v1_multi.vhd.4711-12.partial";
    let living = "living_v1_multi.vhd.4711-0.partial";
    let foreign = "somebody-elses-file";
    for name in [own.as_str(), dead, living, foreign] {
        fs::write(partials.join(name), b"half an ima").unwrap();
    }
    let lock = File::create(locks.join("living_v1_multi.vhd.lock")).unwrap();
    lock.lock().unwrap();

    fetch(&store(cache.path(), &server.url())).unwrap();
    let left = [format!(".gonto/partial/{living}"), format!(".gonto/partial/{foreign}"), image().to_string()];
    assert_eq!(files(cache.path()), left);
}

#[test]
fn a_half_file_of_the_same_name_is_never_taken_for_the_image() {
    // Not even when the kernel lets another process have the same number again.
    let server = Server::start(Behaviour::Good, b"whole");
    let cache = tempdir().unwrap();
    let partials = cache.path().join(".gonto/partial");
    fs::create_dir_all(&partials).unwrap();
    for counter in 0..200 {
        let name = format!("{}.{}-{counter}.partial", image().file_name(), std::process::id());
        fs::write(partials.join(name), b"half of something else that is longer").unwrap();
    }
    let store = store(cache.path(), &server.url());
    fetch(&store).unwrap();
    assert_eq!(fs::read(store.path(&image())).unwrap(), b"whole");
    assert_eq!(files(cache.path()), only_the_image());
}

#[test]
fn a_folder_in_the_images_place_is_an_error() {
    let server = Server::start(Behaviour::Good, b"x");
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    fs::create_dir_all(store.path(&image())).unwrap();
    assert!(!store.contains(&image()));
    let error = fetch(&store).unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }), "{error:?}");
    assert!(error.to_string().contains("remove it"), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn a_file_in_a_folders_place_is_an_error() {
    let server = Server::start(Behaviour::Good, b"x");
    for (file, cache) in [("cache", "cache"), ("cache", "cache/below"), ("tool", "."), (".gonto", ".")] {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join(file), b"").unwrap();
        let store = store(&folder.path().join(cache), &server.url());
        assert!(!store.contains(&image()));
        let error = fetch(&store).unwrap_err();
        assert!(matches!(error, Error::Cache { .. }), "{error:?}");
        assert!(chain(&error).contains("cache_dir is a folder in which you may write"), "{}", chain(&error));
        assert_eq!(files(folder.path()), [file]);
    }
}

#[test]
fn a_cache_and_a_repository_may_lie_deeper_than_windows_usually_allows() {
    let folder = tempdir().unwrap();
    let below = |name: &str| {
        let mut path = folder.path().join(name);
        while path.as_os_str().len() < 300 {
            path.push("a-name-that-is-as-long-as-people-make-them");
        }
        path
    };
    let repository = below("repository");
    fs::create_dir_all(repository.join(image().name())).unwrap();
    fs::write(repository.join(image().name()).join(image().file_name()), b"x").unwrap();
    // As configurations have it, with a slash at its end.
    let address = format!("{}/", repository.display());
    let store = store(&below("cache"), &address);
    let path = fetch(&store).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"x");
    assert!(store.contains(&image()));
}

#[test]
fn a_name_that_is_too_long_for_the_file_system_is_an_error() {
    let server = Server::start(Behaviour::Good, b"x");
    let cache = tempdir().unwrap();
    let image = ImagePath::new(&"a".repeat(300), "1", Platform::Multi, Format::Vhd).unwrap();
    let error = store(cache.path(), &server.url())
        .fetch(&image, &mut |_| std::ops::ControlFlow::Continue(()))
        .unwrap_err();
    assert!(matches!(error, Error::Cache { .. }), "{error:?}");
    assert_nothing_left(cache.path());
}
