//! Several who want the same image at the same time.

use std::fs;
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use gonto_store::{Error, Event, Format, ImagePath, Platform};
use tempfile::tempdir;

use crate::child::Fetcher;
use crate::server::{Behaviour, Gate, Server};
use crate::{content, files, image, only_the_image, store};

#[test]
fn threads_download_an_image_once() {
    let content = content(1_000_003);
    let server = Server::start(Behaviour::HoldMidBody, &content);
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    let waiting: [Gate; 3] = Default::default();
    thread::scope(|scope| {
        scope.spawn(|| store.fetch(&image(), &mut |_| ControlFlow::Continue(())).unwrap());
        server.wait_until_held();
        for gate in &waiting {
            let store = &store;
            scope.spawn(move || {
                let path = store
                    .fetch(&image(), &mut |event| {
                        assert_eq!(event, Event::Waiting);
                        gate.open();
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                assert!(path.is_file());
            });
        }
        for gate in &waiting {
            gate.pass();
        }
        // Half an image is no image.
        assert!(!store.contains(&image()));
        server.release();
    });
    assert_eq!(server.requests().len(), 1);
    assert!(fs::read(store.path(&image())).unwrap() == content);
    assert_eq!(files(cache.path()), only_the_image());
}

#[test]
fn processes_download_an_image_once() {
    let content = content(1_000_003);
    let server = Server::start(Behaviour::HoldMidBody, &content);
    let cache = tempdir().unwrap();
    let reports = tempdir().unwrap();
    let report = |number: u32| reports.path().join(number.to_string());
    let mut first = Fetcher::new(cache.path(), &server.url(), &report(0));
    let mut processes = vec![first.start()];
    server.wait_until_held();
    let mut others: Vec<Fetcher> =
        (1..4).map(|number| Fetcher::new(cache.path(), &server.url(), &report(number))).collect();
    for other in &mut others {
        processes.push(other.start());
    }
    while !others.iter().all(|other| other.report() == "waiting") {
        thread::sleep(Duration::from_millis(20));
    }
    server.release();
    for process in &mut processes {
        assert!(process.wait().unwrap().success());
    }
    for fetcher in others.iter().chain([&first]) {
        assert_eq!(fetcher.report(), "ok");
    }
    assert_eq!(server.requests().len(), 1);
    assert!(fs::read(cache.path().join(image().to_string())).unwrap() == content);
    assert_eq!(files(cache.path()), only_the_image());
}

#[test]
fn the_next_one_takes_over_when_a_download_fails_or_is_cancelled() {
    let content = content(100_003);
    let server = Server::start(Behaviour::HoldMidBody, &content);
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    let waiting = Gate::default();
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let mut second_waits = false;
            store.fetch(&image(), &mut |_| {
                if !second_waits && server.requests().len() == 1 {
                    // Only once: the second's waiting is what this download ends for.
                    waiting.pass();
                    second_waits = true;
                }
                if second_waits { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        server.wait_until_held();
        let second = scope.spawn(|| {
            store.fetch(&image(), &mut |event| {
                match event {
                    Event::Waiting => waiting.open(),
                    Event::Progress { .. } => server.release(),
                }
                ControlFlow::Continue(())
            })
        });
        assert!(matches!(first.join().unwrap(), Err(Error::Cancelled { .. })));
        second.join().unwrap().unwrap();
    });
    assert_eq!(server.requests().len(), 2);
    assert!(fs::read(store.path(&image())).unwrap() == content);
    assert_eq!(files(cache.path()), only_the_image());
}

#[test]
fn waiting_can_be_cancelled() {
    let server = Server::start(Behaviour::HoldMidBody, &content(100_003));
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    thread::scope(|scope| {
        let first = scope.spawn(|| store.fetch(&image(), &mut |_| ControlFlow::Continue(())));
        server.wait_until_held();
        let mut waited = 0;
        let error = store
            .fetch(&image(), &mut |event| {
                assert_eq!(event, Event::Waiting);
                waited += 1;
                if waited == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
        server.release();
        first.join().unwrap().unwrap();
    });
    assert_eq!(files(cache.path()), only_the_image());
}

#[test]
fn different_images_do_not_wait_for_each_other() {
    let held = Server::start(Behaviour::HoldMidBody, &content(100_003));
    let free = Server::start(Behaviour::Good, b"x");
    let cache = tempdir().unwrap();
    let other = ImagePath::new("tool", "1.3", Platform::Multi, Format::Vhd).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            store(cache.path(), &held.url()).fetch(&image(), &mut |_| ControlFlow::Continue(())).unwrap()
        });
        held.wait_until_held();
        store(cache.path(), &free.url())
            .fetch(&other, &mut |event| {
                assert_ne!(event, Event::Waiting);
                ControlFlow::Continue(())
            })
            .unwrap();
        // Its clean-up has not taken the other's partial file away.
        held.release();
        first.join().unwrap();
    });
    assert_eq!(files(cache.path()), [image().to_string(), other.to_string()]);
}
