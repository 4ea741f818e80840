//! Reading the address of a repository: a URL or a path.

use std::path::PathBuf;

use ureq::http::Uri;

use super::Repository;
use super::folder::Folder;
use super::web::{Credentials, Web};
use crate::{Error, sys};

impl Repository {
    /// Understands `address` as a URL when it has a scheme, and as a path otherwise.
    pub(crate) fn parse(address: &str) -> Result<Repository, Error> {
        parse(address)
            .map_err(|problem| Error::InvalidRepository { repository: without_credentials(address), problem })
    }
}

fn parse(address: &str) -> Result<Repository, &'static str> {
    if address.trim().is_empty() {
        return Err("it is empty");
    }
    if address.contains('\0') {
        return Err("it contains a NUL character");
    }
    let Some((scheme, rest)) = address.split_once("://") else {
        // Without this, "http:/host" would be taken for a strange but possible folder.
        return match address.split_once(':') {
            Some((scheme, _)) if SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
                Err("after the scheme and the colon, two slashes must follow")
            }
            _ => Ok(Repository::Folder(Folder::new(PathBuf::from(address)))),
        };
    };
    if rest.contains(['?', '#']) {
        return Err(
            "a query (?) or fragment (#) makes no sense there, as the image's path is put at the end",
        );
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" => parse_web("http", rest).map(Repository::Web),
        "https" => parse_web("https", rest).map(Repository::Web),
        "file" => parse_file(rest).map(Repository::Folder),
        _ => Err("the scheme is unknown: use http://, https://, file:// or the path of a folder"),
    }
}

const SCHEMES: [&str; 3] = ["http", "https", "file"];

/// `rest` is what follows `http://`: `user:password@host:port/path`.
fn parse_web(scheme: &'static str, rest: &str) -> Result<Web, &'static str> {
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(parse_userinfo(userinfo)?), host),
        None => (None, authority),
    };
    let slash = if path.ends_with('/') { "" } else { "/" };
    let base = format!("{scheme}://{host}{path}{slash}");
    let uri: Uri = base.parse().map_err(
        |_| "it is not a valid URL (spaces and other special characters must be written as %20 and the like)",
    )?;
    if uri.host().is_none_or(|host| host.is_empty() || host == "[]") {
        return Err("it names no host");
    }
    // The parser is lenient here, and a wrong port would silently become the scheme's own.
    let after_host = host.rsplit_once(']').map_or(host, |(_, after)| after);
    if let Some((_, port)) = after_host.split_once(':')
        && !port.parse::<u16>().is_ok_and(|port| port != 0)
    {
        return Err("its port is not a number from 1 to 65535");
    }
    Ok(Web::new(base, scheme == "https", credentials))
}

fn parse_userinfo(userinfo: &str) -> Result<Credentials, &'static str> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (Some(user), Some(password)) = (percent_decode(user), percent_decode(password)) else {
        return Err("a percent sign in its user or password must be written as %25");
    };
    Credentials::basic(&user, &password).ok_or("its user and password are too long")
}

/// `rest` is what follows `file://`: an empty host or `localhost`, and an absolute path.
fn parse_file(rest: &str) -> Result<Folder, &'static str> {
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    if path.is_empty() {
        return Err("a file URL has three slashes and an absolute path, such as file:///srv/images");
    }
    let path = percent_decode(path).ok_or("a percent sign in its path must be written as %25")?;
    if path.contains(&0) {
        return Err("it contains a NUL character");
    }
    let host = if host.eq_ignore_ascii_case("localhost") { "" } else { host };
    sys::path_of_file_url(host, path).map(Folder::new)
}

/// Replaces each `%41` by its byte; `None` when a percent sign is not followed by two hexadecimal digits.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hexadecimal_digit(bytes.next()?)? << 4 | hexadecimal_digit(bytes.next()?)?,
            other => other,
        });
    }
    Some(decoded)
}

fn hexadecimal_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// `address` as messages may show it. It is cut at the last `@`, because an address that cannot be understood may have
/// its password anywhere before.
fn without_credentials(address: &str) -> String {
    match (address.split_once(':'), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://***@{rest}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, ImagePath, Platform};

    fn location(address: &str) -> String {
        let image = ImagePath::new("a", "1", Platform::Multi, Format::Vhd).unwrap();
        Repository::parse(address).unwrap().location(&image).replace('\\', "/")
    }

    fn problem(address: &str) -> String {
        Repository::parse(address).unwrap_err().to_string()
    }

    #[test]
    fn a_slash_at_the_end_may_be_left_out() {
        for base in ["http://host", "https://host:8443/x", "http://[::1]:80", "HTTP://host/x/y"] {
            let with = location(&format!("{base}/"));
            assert_eq!(location(base), with);
            assert!(with.ends_with("/a/a_v1_multi.vhd") && !with.contains("//a/"), "{with}");
        }
        assert_eq!(location("srv/images"), location("srv/images/"));
    }

    #[test]
    fn credentials_are_shown_nowhere() {
        for address in ["http://me:secret@host/x", "https://secret@host", "http://me:se%40cret@host/"] {
            let shown = location(address);
            assert!(!shown.contains("cret") && !shown.contains('@'), "{shown}");
            let debug = format!("{:?}", Repository::parse(address).unwrap());
            assert!(!debug.contains("cret") && !debug.contains("c2Vj"), "{debug}");
        }
        for address in [
            "http://me:sec/ret@host/",
            "http://me:secret@",
            "ftp://me:secret@host/",
            "http:me:secret@host",
            "http://me:secret@host/?x",
        ] {
            let shown = problem(address);
            assert!(!shown.contains("sec"), "{shown}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_the_reason() {
        for (address, reason) in [
            ("", "empty"),
            (" ", "empty"),
            ("http:/host/x", "two slashes"),
            ("file:x", "two slashes"),
            ("ftp://host/", "scheme is unknown"),
            ("s3://bucket/", "scheme is unknown"),
            ("http://", "URL"),
            ("http:///x", "URL"),
            ("http://host:99999/", "port"),
            ("http://host:0/", "port"),
            ("http://host:/", "port"),
            ("http://host:8o/", "URL"),
            ("http://[::1]:x/", "URL"),
            ("http://host/a b", "%20"),
            ("http://host/?token=1", "query"),
            ("http://host/#x", "fragment"),
            ("http://u:100%@host/", "%25"),
            ("file://", "three slashes"),
            ("file://localhost", "three slashes"),
            ("file:///a%zz", "%25"),
            ("file:///a%00", "NUL"),
            ("a\0b", "NUL"),
        ] {
            let shown = problem(address);
            assert!(shown.contains(reason), "{address:?}: {shown}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn file_urls_are_paths() {
        assert_eq!(location("file:///srv/my%20images"), "/srv/my images/a/a_v1_multi.vhd");
        assert_eq!(location("FILE://localhost/srv/"), "/srv/a/a_v1_multi.vhd");
        assert!(problem("file://server/share").contains("mount"));
    }

    #[test]
    #[cfg(windows)]
    fn file_urls_are_paths() {
        assert_eq!(location("file:///C:/my%20images"), "C:/my images/a/a_v1_multi.vhd");
        assert_eq!(location("file://server/share"), "//server/share/a/a_v1_multi.vhd");
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        assert_eq!(location("srv/my%20images"), "srv/my%20images/a/a_v1_multi.vhd");
        assert_eq!(location("backup:2024/x"), "backup:2024/x/a/a_v1_multi.vhd");
    }
}
