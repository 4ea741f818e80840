//! Everything that can go wrong, each with the place and the remedy.
//!
//! A message never repeats its source: print the chain. It never holds a password, because URLs lose theirs when they
//! are read.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::ImagePath;

/// Why an image is not in the cache.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The repository's address cannot be understood.
    #[error(
        "the repository {repository:?} cannot be used: {problem}. Write a URL or the path of a folder, such as \
         https://example.com/images/ or /srv/images"
    )]
    InvalidRepository {
        /// The address as it was given, without user and password.
        repository: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An environment variable does not hold the address of a proxy.
    #[error(
        "the environment variable {variable} does not hold the address of a proxy: write it as \
         http://host:port, or unset the variable"
    )]
    InvalidProxy {
        /// The variable's name. Its value may hold a password.
        variable: &'static str,
        /// What is wrong with it.
        source: io::Error,
    },

    /// The web server does not have the image.
    #[error(
        "the repository has no {url}: check the name, version, platform and format of the image, and the \
         repository's address"
    )]
    NotFound {
        /// Where the image should be.
        url: String,
    },
    /// The web server refuses to send the image, or fails to.
    #[error("the server answered {url} with the status {status}: {}", status_remedy(*.status))]
    Status {
        /// Where the image should be.
        url: String,
        /// The HTTP status code (RFC 9110, section 15).
        status: u16,
    },
    /// There is no connection to the web server.
    #[error(
        "cannot connect to the server of {url}: check the repository's address, the network, and the proxy \
         settings (http_proxy, https_proxy, no_proxy)"
    )]
    Unreachable {
        /// Where the image should be.
        url: String,
        /// Why there is no connection.
        source: io::Error,
    },
    /// The web server's address was not found, or it did not accept a connection, in time.
    #[error(
        "no connection to the server of {url} within {} s: check the repository's address, the network, and the \
         proxy settings (http_proxy, https_proxy, no_proxy)",
        .limit.as_secs_f32()
    )]
    ConnectTimeout {
        /// Where the image should be.
        url: String,
        /// The limit that was exceeded.
        limit: Duration,
    },
    /// The connection to the web server cannot be trusted.
    #[error(
        "no secure connection to the server of {url}: if it uses a certificate authority of your own, add that to \
         the system's certificates (or name its file in SSL_CERT_FILE, on Linux); if there are no certificates at \
         all, install the package ca-certificates"
    )]
    Tls {
        /// Where the image should be.
        url: String,
        /// Why it cannot be trusted.
        source: io::Error,
    },
    /// The web server ended the connection instead of answering.
    #[error("the server of {url} hung up without an answer: try again, and if it stays so, check the server")]
    NoAnswer {
        /// Where the image should be.
        url: String,
        /// How it ended.
        source: io::Error,
    },
    /// What the web server says is not HTTP.
    #[error(
        "the answer to {url} makes no sense: check that a web server listens at the repository's address"
    )]
    Protocol {
        /// Where the image should be.
        url: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The web server redirects in a circle.
    #[error("{url} leads through more than {limit} redirects: check the server's configuration")]
    TooManyRedirects {
        /// Where the image should be.
        url: String,
        /// How many redirects are followed.
        limit: u32,
    },
    /// The web server redirects from `https://` to a URL that is not.
    #[error(
        "{url} leads to an address without https, which is not followed, as anybody on the way could then replace \
         the image: have the server redirect to an https:// address"
    )]
    InsecureRedirect {
        /// Where the image should be.
        url: String,
    },
    /// The web server sends the image in an encoding that was not asked for.
    #[error("the server sends {url} encoded as {encoding:?}: switch content encoding off for images there")]
    Encoded {
        /// Where the image should be.
        url: String,
        /// The value of Content-Encoding.
        encoding: String,
    },
    /// The web server does not tell the image's length, so that a broken download would look like a whole one.
    #[error(
        "the server does not say how long {url} is: have it send a Content-Length (or Transfer-Encoding: chunked)"
    )]
    UnknownLength {
        /// Where the image is.
        url: String,
    },
    /// The repository was silent for too long.
    #[error(
        "{location}: the server sent nothing for {} s, after {received} bytes: try again, and if it stays so, \
         check the server and the network",
        .limit.as_secs_f32()
    )]
    Stalled {
        /// Where the image is.
        location: String,
        /// Bytes that had arrived.
        received: u64,
        /// The limit that was exceeded.
        limit: Duration,
    },
    /// Fewer (or more) bytes came than the repository had announced.
    #[error(
        "{location}: {received} bytes came{}: try again, and if it stays so, check the repository's file",
        of_expected(*.expected)
    )]
    Truncated {
        /// Where the image is.
        location: String,
        /// Bytes that came.
        received: u64,
        /// Bytes that were announced, if a number was.
        expected: Option<u64>,
        /// How the transfer ended, if not as if nothing were wrong.
        source: Option<io::Error>,
    },
    /// The image has no content.
    #[error("{location} is empty: publish the image there again")]
    Empty {
        /// Where the image is.
        location: String,
    },

    /// The folder that is the repository does not exist or cannot be looked at.
    #[error(
        "the repository folder {} cannot be used: check the repository's path, and that its disk or share is mounted",
        .folder.display()
    )]
    RepositoryMissing {
        /// The folder.
        folder: PathBuf,
        /// What is the matter with it.
        source: io::Error,
    },
    /// The repository folder does not have the image.
    #[error(
        "the repository has no {}: check the name, version, platform and format of the image, and the \
         repository's path",
        .path.display()
    )]
    ImageMissing {
        /// Where the image should be.
        path: PathBuf,
    },
    /// What has the image's name in the repository folder is not a file.
    #[error("{} is not a file: put the image there", .path.display())]
    NotAFile {
        /// Where the image should be.
        path: PathBuf,
    },
    /// The image in the repository folder cannot be read.
    #[error("cannot read {}: check that you may read it", .path.display())]
    RepositoryUnreadable {
        /// The image.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// Copying from a repository folder failed on one of its two sides.
    #[error("cannot copy {} to {}: check both disks", .from.display(), .to.display())]
    Copy {
        /// The image in the repository.
        from: PathBuf,
        /// The partial file in the cache.
        to: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// The cache's disk (or the user's share of it) is full.
    #[error(
        "no space left in {}{}: free some there, or set cache_dir to a folder on a larger disk",
        .cache_dir.display(),
        needed_bytes(*.needed)
    )]
    NoSpace {
        /// The cache folder.
        cache_dir: PathBuf,
        /// The image's length in bytes, when it is known.
        needed: Option<u64>,
        /// The system's own words.
        source: io::Error,
    },
    /// The cache's file system (or a limit of the user's) does not allow a file of that size.
    #[error(
        "the image is larger than a file in {} can be: set cache_dir to a folder on another file system (not FAT), \
         or raise the limit for file sizes",
        .cache_dir.display()
    )]
    TooLarge {
        /// The cache folder.
        cache_dir: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// The cache folder cannot be used.
    #[error("cannot {action} {}: check that cache_dir is a folder in which you may write", .path.display())]
    Cache {
        /// What was tried: "create", "read" or "write to".
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The cache's file system cannot lock files.
    #[error("cannot lock {}: set cache_dir to a folder on a file system that has locks", .path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Windows has a device of the image's name, so no folder can be called so.
    #[error(
        "no folder can be called {name:?} on Windows, as a device is: publish the image under another name"
    )]
    ReservedName {
        /// The image's name.
        name: String,
    },
    /// Something that is not a file has the image's name in the cache.
    #[error("{} is in the way, as it is not a file: remove it", .path.display())]
    Occupied {
        /// The image's final name.
        path: PathBuf,
    },

    /// No thread could be started for the download.
    #[error("cannot start a thread for the download: raise the limit for processes, or free memory")]
    Thread {
        /// Why it failed.
        source: io::Error,
    },
    /// The caller has cancelled the download. The cache is as it was before.
    #[error("the download of {image} was cancelled")]
    Cancelled {
        /// The image.
        image: ImagePath,
    },
}

fn status_remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => "check that you may read it, and the user and password in the repository's address",
        407 => "check the user and password in the proxy's address",
        300..=399 => "check the repository's address",
        400..=499 => "check the repository's address and the server's configuration",
        _ => "try again later, and if it stays so, ask who runs the server",
    }
}

fn of_expected(expected: Option<u64>) -> String {
    match expected {
        Some(expected) => format!(" where {expected} were expected"),
        None => ", but not the end".to_owned(),
    }
}

fn needed_bytes(needed: Option<u64>) -> String {
    match needed {
        Some(needed) => format!(" for an image of {needed} bytes"),
        None => String::new(),
    }
}
