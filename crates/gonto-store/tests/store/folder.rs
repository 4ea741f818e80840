//! Repositories on a path.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use gonto_store::{Error, Store};
use tempfile::{TempDir, tempdir};

use crate::{assert_nothing_left, chain, content, fetch, fetch_with_progress, files, image, only_the_image};

/// A repository folder that holds the image.
fn repository(content: &[u8]) -> TempDir {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("tool")).unwrap();
    fs::write(folder.path().join("tool/tool_v1.2_multi.vhd"), content).unwrap();
    folder
}

fn store(cache: &Path, repository: &Path) -> Store {
    Store::new(cache.to_owned(), repository.to_str().unwrap()).unwrap()
}

#[test]
fn an_image_is_copied_and_the_repository_left_alone() {
    // More than two pieces, and not a whole number of them.
    let content = content(20_000_003);
    let repository = repository(&content);
    let before = files(repository.path());
    let cache = tempdir().unwrap();
    let store = store(cache.path(), repository.path());
    let progress = fetch_with_progress(&store);
    assert!(fs::read(store.path(&image())).unwrap() == content);
    assert_eq!(files(cache.path()), only_the_image());
    assert_eq!(files(repository.path()), before);
    assert_eq!(progress.last(), Some(&(20_000_003, 20_000_003)));

    // The cached image is a file of its own, whatever happens to the repository.
    fs::write(repository.path().join("tool/tool_v1.2_multi.vhd"), b"changed").unwrap();
    fetch(&store).unwrap();
    assert!(fs::read(store.path(&image())).unwrap() == content);
}

#[test]
fn file_urls_name_folders() {
    let folder = tempdir().unwrap();
    let repository_folder = folder.path().join("my images");
    fs::create_dir_all(repository_folder.join("tool")).unwrap();
    fs::write(repository_folder.join("tool/tool_v1.2_multi.vhd"), b"x").unwrap();
    let path = repository_folder.to_str().unwrap().replace('\\', "/").replace(' ', "%20");
    let slash = if path.starts_with('/') { "" } else { "/" };
    for url in [format!("file://{slash}{path}"), format!("file://localhost{slash}{path}/")] {
        let cache = tempdir().unwrap();
        let store = Store::new(cache.path().to_owned(), &url).unwrap();
        fetch(&store).unwrap();
        assert_eq!(fs::read(store.path(&image())).unwrap(), b"x", "{url}");
    }
}

#[test]
fn a_missing_repository_and_a_missing_image_are_told_apart() {
    let repository = tempdir().unwrap();
    let cache = tempdir().unwrap();
    let error = fetch(&store(cache.path(), repository.path())).unwrap_err();
    assert!(matches!(error, Error::ImageMissing { .. }), "{error:?}");
    assert!(error.to_string().contains("tool_v1.2_multi.vhd"), "{error}");
    assert_nothing_left(cache.path());

    let missing = repository.path().join("missing");
    let error = fetch(&store(cache.path(), &missing)).unwrap_err();
    assert!(matches!(error, Error::RepositoryMissing { .. }), "{error:?}");
    assert!(chain(&error).contains("check the repository's path"), "{}", chain(&error));

    fs::write(&missing, b"a file").unwrap();
    let error = fetch(&store(cache.path(), &missing)).unwrap_err();
    assert!(
        matches!(error, Error::RepositoryMissing { .. } | Error::RepositoryUnreadable { .. }),
        "{error:?}"
    );
    assert_nothing_left(cache.path());
}

#[test]
fn what_is_not_a_whole_file_is_refused() {
    let repository = repository(b"");
    let cache = tempdir().unwrap();
    let error = fetch(&store(cache.path(), repository.path())).unwrap_err();
    assert!(matches!(error, Error::Empty { .. }), "{error:?}");

    let path = repository.path().join("tool/tool_v1.2_multi.vhd");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = fetch(&store(cache.path(), repository.path())).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error:?}");
    assert_nothing_left(cache.path());
}

#[test]
#[cfg(unix)]
fn a_pipe_or_an_endless_device_is_not_waited_for() {
    let repository = repository(b"x");
    let path = repository.path().join("tool/tool_v1.2_multi.vhd");
    for special in ["/dev/zero", "/dev/stdin"] {
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(special, &path).unwrap();
        let cache = tempdir().unwrap();
        let error = fetch(&store(cache.path(), repository.path())).unwrap_err();
        assert!(
            matches!(
                error,
                Error::NotAFile { .. } | Error::Empty { .. } | Error::RepositoryUnreadable { .. }
            ),
            "{special}: {error:?}"
        );
        assert_nothing_left(cache.path());
    }
}

#[test]
fn a_copy_can_be_cancelled() {
    let repository = repository(&content(5_000_000));
    let cache = tempdir().unwrap();
    let error =
        store(cache.path(), repository.path()).fetch(&image(), &mut |_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    assert_nothing_left(cache.path());
}
