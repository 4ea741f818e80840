//! What goes wrong with a web server: the right error, with its remedy, and a cache as it was.

use std::net::TcpListener;
use std::ops::ControlFlow;
use std::time::Duration;

use gonto_store::{Error, Event, Store, Timeouts};
use tempfile::tempdir;

use crate::server::{Behaviour, Server};
use crate::{assert_nothing_left, chain, content, fetch, files, image, only_the_image, skipped, store};

const LENGTH: usize = 700_001;

/// Fetches from a server that behaves like this, asserts that it leaves nothing, and that the next try against a
/// good server puts all right. Returns the error.
fn error_of(behaviour: Behaviour) -> Error {
    error_with(behaviour, Timeouts { connect: Duration::from_secs(600), stall: Duration::from_secs(600) })
}

fn error_with(behaviour: Behaviour, timeouts: Timeouts) -> Error {
    let content = content(LENGTH);
    let server = Server::start(behaviour.clone(), &content);
    let cache = tempdir().unwrap();
    let bad = Store::new(cache.path().to_owned(), &server.url()).unwrap().with_timeouts(timeouts);
    let error = match fetch(&bad) {
        Ok(path) => panic!("{behaviour:?} gave {}", path.display()),
        Err(error) => error,
    };
    assert_nothing_left(cache.path());
    assert!(!bad.contains(&image()));
    let text = chain(&error);
    let place = format!("{}/tool/tool_v1.2_multi.vhd", server.url());
    assert!(
        text.contains(&place) || matches!(error, Error::NoSpace { .. } | Error::TooLarge { .. }),
        "{text}"
    );

    let good = Server::start(Behaviour::Good, &content);
    let store = store(cache.path(), &good.url());
    fetch(&store).unwrap();
    assert_eq!(files(cache.path()), only_the_image());
    assert_eq!(std::fs::read(store.path(&image())).unwrap(), content);
    error
}

#[test]
fn a_body_that_is_cut_off_is_noticed() {
    let half = LENGTH as u64 / 2;
    let full = LENGTH as u64;
    for (behaviour, came, announced) in [
        (Behaviour::CloseMidBody, half, Some(full)),
        (Behaviour::ShortBody, full, Some(full + 10)),
        (Behaviour::ChunkedWithoutEnd, full, None),
        (Behaviour::Length("700002"), full, Some(full + 1)),
    ] {
        match error_of(behaviour.clone()) {
            Error::Truncated { received, expected, .. } => {
                assert_eq!((received, expected), (came, announced), "{behaviour:?}");
            }
            other => panic!("{behaviour:?}: {other:?}"),
        }
    }
}

#[test]
fn a_chunk_without_a_length_is_noticed() {
    let error = error_of(Behaviour::ChunkedNonsense);
    assert!(matches!(error, Error::Truncated { expected: None, source: Some(_), .. }), "{error:?}");
}

#[test]
fn an_answer_that_is_cut_off_anywhere_is_noticed() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 700001\r\nConnection: close\r\n\r\n".len();
    for count in (0..=head).chain([head + 1, head + LENGTH - 1]) {
        let error = error_of(Behaviour::CutAt(count));
        assert!(
            matches!(error, Error::NoAnswer { .. } | Error::Truncated { .. } | Error::Protocol { .. }),
            "{count}: {error:?}"
        );
    }
}

#[test]
fn an_empty_image_is_an_error() {
    for behaviour in [Behaviour::Empty, Behaviour::EmptyChunked] {
        let error = error_of(behaviour);
        assert!(matches!(error, Error::Empty { .. }), "{error:?}");
    }
}

#[test]
fn a_body_that_does_not_tell_its_end_is_refused() {
    let error = error_of(Behaviour::NoLength);
    assert!(matches!(error, Error::UnknownLength { .. }), "{error:?}");
    assert!(error.to_string().contains("Content-Length"), "{error}");
}

#[test]
fn an_encoded_body_is_refused() {
    match error_of(Behaviour::Encoded) {
        Error::Encoded { encoding, .. } => assert_eq!(encoding, "gzip"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_length_that_is_none_is_an_error() {
    for length in ["99999999999999999999999", "-1", "x", "5, 6"] {
        let error = error_of(Behaviour::Length(length));
        assert!(matches!(error, Error::Protocol { .. }), "{length}: {error:?}");
    }
}

#[test]
fn a_length_that_no_disk_holds_is_an_error_before_the_download() {
    if cfg!(windows) {
        skipped("whether disk space can be set aside depends on the file system there");
        return;
    }
    for length in ["9223372036854775807", "18446744073709551615", "1000000000000000000"] {
        let error = error_of(Behaviour::Length(length));
        assert!(
            matches!(error, Error::NoSpace { .. } | Error::TooLarge { .. } | Error::Truncated { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_missing_image_says_what_to_check() {
    for status in [404, 410] {
        let error = error_of(Behaviour::Status(status));
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert!(error.to_string().contains("check the name, version, platform and format"), "{error}");
    }
}

#[test]
fn no_other_status_is_taken_for_the_image() {
    for status in [204, 206, 203, 304, 400, 401, 403, 407, 418, 500, 502, 503, 599] {
        match error_of(Behaviour::Status(status)) {
            Error::Status { status: told, .. } => assert_eq!(told, status),
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[test]
fn redirects_end() {
    let error = error_of(Behaviour::Redirect("http://{host}/images/again.vhd".to_owned()));
    assert!(matches!(error, Error::TooManyRedirects { limit: 10, .. }), "{error:?}");
    // Short limits end this one: its server is never silent.
    let short = Timeouts { connect: Duration::from_secs(1), stall: Duration::from_millis(300) };
    let error = error_with(Behaviour::RedirectEndlessBody, short);
    assert!(matches!(error, Error::Stalled { received: 0, .. }), "{error:?}");
}

#[test]
fn redirects_to_nowhere_are_errors() {
    for to in ["", "ftp://{host}/x", "file:///etc/passwd", "http://", "http://[", "://", "http://{host}:x/"] {
        let error = error_of(Behaviour::Redirect(to.to_owned()));
        assert!(
            matches!(
                error,
                Error::Protocol { .. } | Error::Unreachable { .. } | Error::TooManyRedirects { .. }
            ),
            "{to:?}: {error:?}"
        );
    }
}

#[test]
fn what_is_not_http_is_an_error() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"HTTP/9.9 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc",
    ] {
        let error = error_of(Behaviour::Raw(bytes));
        assert!(
            matches!(error, Error::Protocol { .. } | Error::NoAnswer { .. } | Error::Truncated { .. }),
            "{}: {error:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn a_header_without_end_is_an_error() {
    let error = error_of(Behaviour::EndlessHeader);
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[test]
fn a_server_that_hangs_up_is_an_error() {
    let error = error_of(Behaviour::HangUp);
    assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
}

#[test]
fn a_refused_connection_is_an_error() {
    // The port was free a moment ago, and ports are not given out again at once.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cache = tempdir().unwrap();
    let error = fetch(&store(cache.path(), &format!("http://{address}/images"))).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let text = chain(&error);
    assert!(text.contains(&address.to_string()) && text.contains("proxy settings"), "{text}");
    assert_nothing_left(cache.path());
}

#[test]
fn a_silent_server_is_given_up() {
    let timeouts = Timeouts { connect: Duration::from_secs(600), stall: Duration::from_millis(400) };
    for behaviour in [Behaviour::StallAnswer, Behaviour::StallHead] {
        match error_with(behaviour, timeouts) {
            Error::Stalled { received: 0, limit, .. } => assert_eq!(limit, timeouts.stall),
            other => panic!("{other:?}"),
        }
    }
    let error = error_with(Behaviour::StallMidBody, timeouts);
    match &error {
        // Fewer on a machine so slow that our own server was given up in the middle.
        Error::Stalled { received, .. } => assert!(*received <= LENGTH as u64 / 2, "{received}"),
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains("sent nothing for 0.4 s, after "), "{error}");
}

#[test]
fn a_download_can_be_cancelled_while_the_server_is_silent() {
    // The limits of `store` are hours: only the cancelling can end these.
    for behaviour in [
        Behaviour::StallAnswer,
        Behaviour::StallHead,
        Behaviour::StallMidBody,
        Behaviour::RedirectEndlessBody,
    ] {
        let content = content(LENGTH);
        let server = Server::start(behaviour.clone(), &content);
        let cache = tempdir().unwrap();
        let mut calls = 0;
        let error = store(cache.path(), &server.url())
            .fetch(&image(), &mut |_| {
                calls += 1;
                if calls == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{behaviour:?}: {error:?}");
        assert_nothing_left(cache.path());
        // The worker does not wait for the server any longer.
        server.wait_until_hung_up();
    }
}

#[test]
fn a_download_can_be_cancelled_at_its_first_and_at_any_later_byte() {
    let content = content(LENGTH);
    for wanted in [0, 1, LENGTH as u64 / 2] {
        let server = Server::start(Behaviour::StallMidBody, &content);
        let cache = tempdir().unwrap();
        let error = store(cache.path(), &server.url())
            .fetch(&image(), &mut |event| match event {
                Event::Progress { received, .. } if received >= wanted => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
            .unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
        assert!(error.to_string().contains("tool/tool_v1.2_multi.vhd"), "{error}");
        assert_nothing_left(cache.path());
    }
}

#[test]
fn a_callback_that_panics_leaves_nothing() {
    let server = Server::start(Behaviour::StallMidBody, &content(LENGTH));
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    let outcome = std::panic::catch_unwind(|| {
        store.fetch(&image(), &mut |event| match event {
            Event::Progress { received: 1.., .. } => panic!("on purpose"),
            _ => ControlFlow::Continue(()),
        })
    });
    assert!(outcome.is_err());
    assert_nothing_left(cache.path());
    server.wait_until_hung_up();
}
