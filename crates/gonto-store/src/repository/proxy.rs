//! Which proxy leads to a web server: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` of the environment, in
//! small or in capital letters.
//!
//! The HTTP client would read them, too, but it would use the first one that is set for every URL, whatever its scheme,
//! and take the host names of `no_proxy` literally where everybody else means their subdomains as well. Proxies are
//! always asked to CONNECT, for `http://` as well.

use std::env;

use ureq::{Proxy, ProxyProtocol};

use crate::Error;

/// The proxy for a URL whose scheme is `https` (if `secure`) or `http`.
pub(crate) fn from_environment(secure: bool) -> Result<Option<Proxy>, Error> {
    let specific = if secure { ["https_proxy", "HTTPS_PROXY"] } else { ["http_proxy", "HTTP_PROXY"] };
    let Some((variable, value)) =
        specific.into_iter().chain(["all_proxy", "ALL_PROXY"]).find_map(|name| Some((name, set(name)?)))
    else {
        return Ok(None);
    };
    let no_proxy = ["no_proxy", "NO_PROXY"].into_iter().find_map(set).unwrap_or_default();
    proxy(&value, &no_proxy)
        .map(Some)
        .map_err(|error| Error::InvalidProxy { variable, source: error.into_io() })
}

/// The value of an environment variable; an empty one counts as unset.
fn set(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn proxy(value: &str, no_proxy: &str) -> Result<Proxy, ureq::Error> {
    let parsed = Proxy::new(value)?;
    let mut builder = Proxy::builder(parsed.protocol())
        .host(parsed.host())
        .port(parsed.port())
        .resolve_target(parsed.protocol() == ProxyProtocol::Socks4);
    if let Some(user) = parsed.username() {
        builder = builder.username(user);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    let listed = no_proxy.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    for host in ALWAYS_DIRECT.into_iter().chain(listed) {
        builder = builder.no_proxy(host);
        if !host.starts_with(['.', '*']) {
            builder = builder.no_proxy(&format!(".{host}"));
        }
        if host.contains(':') && !host.starts_with('[') {
            builder = builder.no_proxy(&format!("[{host}]"));
        }
    }
    builder.build()
}

/// This machine; a proxy would connect to itself.
const ALWAYS_DIRECT: [&str; 3] = ["localhost", "127.*", "::1"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_means_hosts_and_their_subdomains() {
        let proxy =
            proxy("http://me:p%40ss@proxy.example:3128", "corp.example, .dot.example,10.1.2.3,fd00::1")
                .unwrap();
        let direct = |url: &str| proxy.is_no_proxy(&url.parse().unwrap());
        for url in [
            "http://corp.example/",
            "http://images.corp.example/",
            "http://x.dot.example/",
            "http://10.1.2.3:8080/",
            "http://[fd00::1]/",
            "http://localhost:1/",
            "http://127.0.0.1/",
            "http://127.1.2.3/",
            "http://[::1]:8/",
        ] {
            assert!(direct(url), "{url}");
        }
        for url in ["http://notcorp.example/", "http://example/", "http://10.1.2.4/", "http://[fd00::2]/"] {
            assert!(!direct(url), "{url}");
        }
        assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("me"), Some("p@ss")));
    }
}
