//! What goes well with a web server.

use std::net::Ipv6Addr;

use tempfile::tempdir;

use crate::server::{Behaviour, Server};
use crate::{content, fetch, fetch_with_progress, files, image, only_the_image, skipped, store};

#[test]
fn an_image_is_downloaded_once_and_then_found() {
    let content = content(3_000_001);
    let server = Server::start(Behaviour::Good, &content);
    let cache = tempdir().unwrap();
    // The cache folder need not exist.
    let cache = cache.path().join("a/b");
    let store = store(&cache, &server.url());
    assert!(!store.contains(&image()));
    let progress = fetch_with_progress(&store);
    assert_eq!(std::fs::read(store.path(&image())).unwrap(), content);
    assert_eq!(files(&cache), only_the_image());
    assert_eq!(progress.last(), Some(&(3_000_001, 3_000_001)));
    assert!(progress.is_sorted(), "{progress:?}");

    assert!(store.contains(&image()));
    assert_eq!(fetch_with_progress(&store), []);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn the_request_says_what_is_wanted_and_who_asks() {
    let server = Server::start(Behaviour::Good, b"x");
    let cache = tempdir().unwrap();
    fetch(&store(cache.path(), &format!("{}/", server.url()))).unwrap();
    let head = server.requests().remove(0).to_ascii_lowercase();
    assert!(head.starts_with("get /images/tool/tool_v1.2_multi.vhd http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: {}\r\n", server.address())), "{head}");
    assert!(head.contains(&format!("\r\nuser-agent: gonto/{}\r\n", env!("CARGO_PKG_VERSION"))), "{head}");
    assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
}

#[test]
fn other_shapes_of_a_whole_answer_are_fine() {
    let content = content(123_457);
    let absolute = Behaviour::Redirect("http://{host}/good/x.vhd".to_owned());
    let rooted = Behaviour::Redirect("/good/x.vhd".to_owned());
    let relative = Behaviour::Redirect("../../good/x.vhd".to_owned());
    for behaviour in [Behaviour::Chunked, Behaviour::SlowDrip, absolute, rooted, relative] {
        let server = Server::start(behaviour.clone(), &content);
        let cache = tempdir().unwrap();
        let store = store(cache.path(), &server.url());
        let progress = fetch_with_progress(&store);
        assert_eq!(std::fs::read(store.path(&image())).unwrap(), content, "{behaviour:?}");
        assert_eq!(progress.last(), Some(&(123_457, 123_457)), "{behaviour:?}");
        assert_eq!(files(cache.path()), only_the_image());
    }
}

#[test]
fn bytes_after_the_announced_end_are_not_the_images() {
    let content = content(100_000);
    let server = Server::start(Behaviour::LongBody, &content);
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    fetch(&store).unwrap();
    assert_eq!(std::fs::read(store.path(&image())).unwrap(), content[..99_990]);
}

#[test]
fn a_redirect_to_another_server_is_followed_without_the_password() {
    let mirror = Server::start(Behaviour::Good, b"from the mirror");
    let to = format!("http://{}/elsewhere.vhd", mirror.address());
    let server = Server::start(Behaviour::Redirect(to), b"");
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url().replace("://", "://me:secret@"));
    fetch(&store).unwrap();
    assert_eq!(std::fs::read(store.path(&image())).unwrap(), b"from the mirror");
    assert!(server.requests()[0].to_ascii_lowercase().contains("authorization:"));
    assert!(!mirror.requests()[0].to_ascii_lowercase().contains("authorization:"));
}

#[test]
fn user_and_password_of_the_url_are_sent() {
    // me:se@cret
    let server = Server::start(Behaviour::Guarded("Basic bWU6c2VAY3JldA=="), b"x");
    let cache = tempdir().unwrap();
    fetch(&store(cache.path(), &server.url().replace("://", "://me:se%40cret@"))).unwrap();

    let cache = tempdir().unwrap();
    let error = fetch(&store(cache.path(), &server.url().replace("://", "://me:wrong@"))).unwrap_err();
    let text = crate::chain(&error);
    assert!(text.contains("401") && text.contains("user and password") && !text.contains("wrong"), "{text}");
}

#[test]
fn ipv6_works() {
    let server = match Server::start_at(Ipv6Addr::LOCALHOST.into(), Behaviour::Good, b"six") {
        Ok(server) => server,
        Err(error) => {
            skipped(&format!("this machine has no IPv6 loopback: {error}"));
            return;
        }
    };
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    fetch(&store).unwrap();
    assert_eq!(std::fs::read(store.path(&image())).unwrap(), b"six");
}

#[test]
#[cfg(unix)]
fn everybody_may_read_the_image_as_far_as_the_umask_allows() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start(Behaviour::Good, b"x");
    let cache = tempdir().unwrap();
    let store = store(cache.path(), &server.url());
    fetch(&store).unwrap();
    let reference = cache.path().join("reference");
    std::fs::write(&reference, b"").unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store.path(&image())), mode(&reference) & 0o644);
}
