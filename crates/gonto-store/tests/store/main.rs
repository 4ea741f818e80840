//! The store against a web server on loopback that misbehaves on command, against folders, and against itself in
//! other threads and processes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, their helpers included")]

mod child;
mod server;

mod cache;
mod concurrency;
#[cfg(target_os = "linux")]
mod disk;
mod folder;
mod kill;
mod misbehaviour;
mod proxy;
mod tls;
mod web;
#[cfg(windows)]
mod windows;

use std::error::Error as _;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gonto_store::{Error, Event, Format, ImagePath, Platform, Store, Timeouts};

/// The image that most tests fetch.
fn image() -> ImagePath {
    ImagePath::new("tool", "1.2", Platform::Multi, Format::Vhd).unwrap()
}

/// Content that is no multiple of any buffer's size and has no period that a mistake could hide in.
fn content(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .collect()
}

/// A store whose time limits no test reaches, however slow the machine is.
fn store(cache: &Path, repository: &str) -> Store {
    let hour = Duration::from_secs(3600);
    Store::new(cache.to_owned(), repository).unwrap().with_timeouts(Timeouts { connect: hour, stall: hour })
}

fn fetch(store: &Store) -> Result<PathBuf, Error> {
    store.fetch(&image(), &mut |_| ControlFlow::Continue(()))
}

/// Says that a test cannot run here. Written past the capturing of output, so that it is seen although the test passes.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// An error with everything that caused it, as the program prints it.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        assert!(!text.contains(&error.to_string()), "{error:?} is repeated in {text:?}");
        text = format!("{text}\ncaused by: {error}");
        cause = error.source();
    }
    text
}

/// Asserts that a failed download has left the cache as it was: no image, no partial file.
fn assert_nothing_left(cache: &Path) {
    assert_eq!(files(cache), Vec::<String>::new());
}

/// All files below `cache` but the lock files, which stay for ever.
fn files(cache: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![cache.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|extension| extension != "lock") {
                found.push(path.strip_prefix(cache).unwrap().display().to_string().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// What `files` shows when the image, and nothing else, is cached.
fn only_the_image() -> Vec<String> {
    vec![image().to_string()]
}

/// The progress events of a fetch that goes well.
fn fetch_with_progress(store: &Store) -> Vec<(u64, u64)> {
    let mut progress = Vec::new();
    let path = store
        .fetch(&image(), &mut |event| {
            if let Event::Progress { received, total } = event {
                progress.push((received, total));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(path, store.path(&image()));
    progress
}
