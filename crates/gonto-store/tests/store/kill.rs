//! A downloading process is killed: whatever it leaves, the next fetch puts right.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::tempdir;

use crate::child::Fetcher;
use crate::server::{Behaviour, Server};
use crate::{content, fetch, files, image, only_the_image, store};

#[test]
fn a_killed_download_is_put_right_by_the_next_one() {
    let content = content(2_000_003);
    for behaviour in [Behaviour::HoldAnswer, Behaviour::HoldMidBody, Behaviour::HoldLastByte] {
        let server = Server::start(behaviour, &content);
        let cache = tempdir().unwrap();
        let reports = tempdir().unwrap();
        let mut fetcher = Fetcher::new(cache.path(), &server.url(), &reports.path().join("killed"));
        let mut process = fetcher.start();
        server.wait_until_held();
        kill(&mut process);
        assert_eq!(fetcher.report(), "");
        assert_eq!(files(cache.path()).len(), 1, "one partial file is left");
        assert!(!store(cache.path(), &server.url()).contains(&image()));
        put_right(cache.path(), &content);
    }
}

#[test]
fn a_download_may_be_killed_at_any_moment() {
    let content = content(4_000_003);
    let server = Server::start(Behaviour::Good, &content);
    for delay in 0..20 {
        let cache = tempdir().unwrap();
        let reports = tempdir().unwrap();
        let mut process = Fetcher::new(cache.path(), &server.url(), &reports.path().join("killed")).start();
        // When exactly does not matter: every moment must be right.
        thread::sleep(Duration::from_millis(delay * 3));
        kill(&mut process);
        let store = store(cache.path(), &server.url());
        if store.contains(&image()) {
            assert!(
                fs::read(store.path(&image())).unwrap() == content,
                "an image under its final name is whole"
            );
        }
        put_right(cache.path(), &content);
    }
}

#[test]
fn the_one_who_waits_takes_over_from_a_killed_one() {
    let content = content(500_003);
    let server = Server::start(Behaviour::HoldMidBody, &content);
    let cache = tempdir().unwrap();
    let reports = tempdir().unwrap();
    let mut first = Fetcher::new(cache.path(), &server.url(), &reports.path().join("first")).start();
    server.wait_until_held();
    let mut second = Fetcher::new(cache.path(), &server.url(), &reports.path().join("second"));
    let mut second_process = second.start();
    while second.report() != "waiting" {
        thread::sleep(Duration::from_millis(20));
    }
    kill(&mut first);
    server.release();
    assert!(second_process.wait().unwrap().success());
    assert_eq!(second.report(), "ok");
    assert_eq!(files(cache.path()), only_the_image());
    assert!(fs::read(cache.path().join(image().to_string())).unwrap() == content);
}

/// SIGKILL, or its like on Windows.
fn kill(process: &mut std::process::Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

/// Fetches once more, without an interruption.
fn put_right(cache: &Path, content: &[u8]) {
    let server = Server::start(Behaviour::Good, content);
    let store = store(cache, &server.url());
    fetch(&store).unwrap();
    assert_eq!(files(cache), only_the_image());
    assert!(fs::read(store.path(&image())).unwrap() == content);
}
