//! Repositories on a web server: HTTP/1.1, with or without TLS.
//!
//! Certificates are judged by the operating system's verifier on Windows, and on Linux against the system's store of
//! root certificates; `SSL_CERT_FILE` and `SSL_CERT_DIR` name another store there.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, BodyReader, Timeout};

use super::proxy;
use crate::partial::PartialFile;
use crate::store::Timeouts;
use crate::{Error, ImagePath};

/// A web server, and the folder below which it has the repository's layout.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    /// Ends with a slash, and holds no credentials.
    base: String,
    secure: bool,
    credentials: Option<Credentials>,
}

impl Web {
    pub(crate) fn new(base: String, secure: bool, credentials: Option<Credentials>) -> Web {
        Web { base, secure, credentials }
    }

    /// The URL of `image`. The repository rules leave nothing in it that would have to be escaped.
    pub(crate) fn location(&self, image: &ImagePath) -> String {
        format!("{}{image}", self.base)
    }

    pub(crate) fn request(&self, image: &ImagePath, timeouts: Timeouts) -> Result<WebRequest, Error> {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy::from_environment(self.secure)?)
            .user_agent(concat!("gonto/", env!("CARGO_PKG_VERSION")))
            // Anything but the image's own bytes would be useless.
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            // The client's other choice would send the password to any port of the same host.
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            // Who asks for https must not be led to http, where anybody could put another image in the way.
            .https_only(self.secure)
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_send_request(Some(timeouts.stall))
            .timeout_recv_response(Some(timeouts.stall))
            .timeout_per_read(Some(timeouts.stall))
            .input_buffer_size(PIECE)
            .build()
            .new_agent();
        let url = self.location(image);
        Ok(WebRequest { agent, url, credentials: self.credentials.clone(), timeouts })
    }
}

/// A redirect or two are usual (to https, to a mirror); more than a handful are a loop.
const MAX_REDIRECTS: u32 = 10;

/// User and password for HTTP basic authentication. Neither is ever shown.
#[derive(Clone)]
pub(crate) struct Credentials {
    authorization: HeaderValue,
}

impl Credentials {
    pub(crate) fn basic(user: &[u8], password: &[u8]) -> Option<Credentials> {
        let pair = BASE64_STANDARD.encode([user, b":", password].concat());
        let mut authorization = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
        // Keeps the value out of debug logs.
        authorization.set_sensitive(true);
        Some(Credentials { authorization })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A GET that is ready to be sent.
pub(crate) struct WebRequest {
    agent: Agent,
    url: String,
    credentials: Option<Credentials>,
    timeouts: Timeouts,
}

impl WebRequest {
    pub(crate) fn location(&self) -> &str {
        &self.url
    }

    /// The client's own time limits are for one exchange each. Redirects that lead from one slow server to the next,
    /// or whose body never ends, are bounded by this one.
    pub(crate) fn answer_limit(&self) -> Duration {
        (self.timeouts.connect.saturating_mul(2).saturating_add(self.timeouts.stall)).saturating_mul(2)
    }

    pub(crate) fn interrupter(&self) -> WebInterrupter {
        WebInterrupter { agent: self.agent.clone() }
    }

    pub(crate) fn open(self) -> Result<WebContent, Error> {
        let mut request = self.agent.get(&self.url);
        if let Some(credentials) = &self.credentials {
            request = request.header(header::AUTHORIZATION, credentials.authorization.clone());
        }
        match request.call() {
            Ok(response) => self.accept(response),
            Err(error) => Err(self.no_answer(error)),
        }
    }

    /// Checks that the server has sent the image, the whole image and nothing but the image.
    fn accept(self, response: Response<Body>) -> Result<WebContent, Error> {
        let url = self.url;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Error::NotFound { url }),
            status => return Err(Error::Status { url, status: status.as_u16() }),
        }
        if let Some(encoding) = foreign_encoding(response.headers()) {
            return Err(Error::Encoded { url, encoding });
        }
        // Only a body that tells its own end can be told from one that was cut off.
        let length = response.body().content_length();
        if length.is_none() && !is_chunked(response.headers()) {
            // The client has no body for a Content-Length of 0, and thus no length either.
            return Err(if response.headers().contains_key(header::CONTENT_LENGTH) {
                Error::Empty { location: url }
            } else {
                Error::UnknownLength { url }
            });
        }
        Ok(WebContent {
            url,
            length,
            stall: self.timeouts.stall,
            body: response.into_body().into_reader(),
            piece: vec![0; PIECE].into_boxed_slice(),
        })
    }

    /// What it means that the client has no answer for us.
    fn no_answer(self, error: ureq::Error) -> Error {
        let url = self.url;
        match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                Error::ConnectTimeout { url, limit: self.timeouts.connect }
            }
            ureq::Error::Timeout(_) => {
                Error::Stalled { location: url, received: 0, limit: self.timeouts.stall }
            }
            ureq::Error::TooManyRedirects => Error::TooManyRedirects { url, limit: MAX_REDIRECTS },
            ureq::Error::RequireHttpsOnly(_) => Error::InsecureRedirect { url },
            error if is_about_tls(&error) => Error::Tls { url, source: error.into_io() },
            ureq::Error::Io(source) if is_hang_up(&source) => Error::NoAnswer { url, source },
            error @ (ureq::Error::Io(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)) => Error::Unreachable { url, source: error.into_io() },
            other => Error::Protocol { url, source: other.into_io() },
        }
    }
}

/// The encoding of a body that is not the image as it is.
fn foreign_encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = String::from_utf8_lossy(headers.get(header::CONTENT_ENCODING)?.as_bytes()).into_owned();
    (!encoding.trim().is_empty() && !encoding.trim().eq_ignore_ascii_case("identity")).then_some(encoding)
}

fn is_chunked(headers: &HeaderMap) -> bool {
    headers.get_all(header::TRANSFER_ENCODING).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("chunked")))
    })
}

/// Whether an error is rustls's, directly or inside an I/O error.
fn is_about_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => match error.get_ref() {
            Some(inner) => inner.is::<rustls::Error>(),
            None => false,
        },
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) | ureq::Error::TlsRequired => true,
        _ => false,
    }
}

/// Whether an error says that there was a connection, and that the other side has ended it.
fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Closes the connections of a request, whatever it is waiting for.
pub(crate) struct WebInterrupter {
    agent: Agent,
}

impl WebInterrupter {
    pub(crate) fn interrupt(self) {
        self.agent.shutdown();
    }
}

/// The body of an answer.
pub(crate) struct WebContent {
    url: String,
    length: Option<u64>,
    stall: Duration,
    body: BodyReader<'static>,
    piece: Box<[u8]>,
}

/// Bytes read and written at a time. More of them make no difference to the speed.
const PIECE: usize = 256 * 1024;

impl WebContent {
    /// The Content-Length; `None` for a chunked body.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    pub(crate) fn append_to(&mut self, file: &mut PartialFile, received: u64) -> Result<u64, Error> {
        let count = self.body.read(&mut self.piece).map_err(|error| self.broken_off(error, received))?;
        // A reader never returns more than it was asked for; an empty slice would end the loop with a wrong length.
        let bytes = self.piece.get(..count).unwrap_or_default();
        file.write_all(bytes)?;
        Ok(bytes.len() as u64)
    }

    /// What an error in the middle of the body means.
    fn broken_off(&self, error: io::Error, received: u64) -> Error {
        let location = self.url.clone();
        match ureq::Error::from(error) {
            ureq::Error::Timeout(_) => Error::Stalled { location, received, limit: self.stall },
            error => {
                Error::Truncated { location, received, expected: self.length, source: Some(error.into_io()) }
            }
        }
    }
}
