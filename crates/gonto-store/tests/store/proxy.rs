//! Proxies, which are named by the environment: each of these runs in a process with an environment of its own.

use tempfile::tempdir;

use crate::child::Fetcher;
use crate::server::{Behaviour, Server};
use crate::{files, only_the_image};

const VARIABLES: [&str; 8] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// Fetches in a process with just this variable; returns the outcome and the files of the cache.
fn outcome(repository: &str, variable: &str, value: &str) -> (String, Vec<String>) {
    let cache = tempdir().unwrap();
    let reports = tempdir().unwrap();
    let mut fetcher = Fetcher::new(cache.path(), repository, &reports.path().join("report"));
    for other in VARIABLES {
        fetcher.command().env_remove(other);
    }
    let outcome = fetcher.env(variable, value).outcome();
    (outcome, files(cache.path()))
}

#[test]
fn a_proxy_is_used() {
    let proxy = Server::start(Behaviour::Proxy, b"through the proxy");
    let address = format!("http://me:secret@{}", proxy.address());
    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy"] {
        let (outcome, files) = outcome("http://images.invalid/x", variable, &address);
        assert_eq!(outcome, "ok");
        assert_eq!(files, only_the_image());
    }
    let requests = proxy.requests();
    assert!(requests[0].starts_with("CONNECT images.invalid:80 "), "{}", requests[0]);
    assert!(requests[0].contains("Proxy-Authorization: Basic bWU6c2VjcmV0"), "{}", requests[0]);
    assert!(requests[1].starts_with("GET /x/tool/tool_v1.2_multi.vhd "), "{}", requests[1]);
}

#[test]
fn this_machine_needs_no_proxy_and_http_not_the_one_for_https() {
    let server = Server::start(Behaviour::Good, b"x");
    let proxy = Server::start(Behaviour::Status(500), b"");
    for variable in ["http_proxy", "HTTPS_PROXY"] {
        let (outcome, files) = outcome(&server.url(), variable, &format!("http://{}", proxy.address()));
        assert_eq!(outcome, "ok");
        assert_eq!(files, only_the_image());
    }
    assert!(proxy.requests().is_empty());
}

#[test]
fn a_proxy_that_refuses_or_is_none_is_an_error() {
    let proxy = Server::start(Behaviour::Status(407), b"");
    let address = format!("http://me:secret@{}", proxy.address());
    let (refused, files) = outcome("http://images.invalid/", "http_proxy", &address);
    assert!(refused.contains("cannot connect") && refused.contains("407"), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
    assert!(files.is_empty());

    let (invalid, files) = outcome("http://images.invalid/", "http_proxy", "gopher://me:secret@x");
    assert!(invalid.contains("environment variable http_proxy"), "{invalid}");
    assert!(!invalid.contains("secret"), "{invalid}");
    assert!(files.is_empty());
}
