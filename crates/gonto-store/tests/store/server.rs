//! A web server on loopback, written for these tests, with named misbehaviours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How the server answers every request. `N` is the length of its content.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Content-Length and content, as it should be.
    Good,
    /// The content in chunks, with their end.
    Chunked,
    /// The content in chunks, closed before the last, empty chunk.
    ChunkedWithoutEnd,
    /// A chunk whose length is no number.
    ChunkedNonsense,
    /// Half of the content, then the connection is closed.
    CloseMidBody,
    /// Says N + 10 bytes and sends N.
    ShortBody,
    /// Says N - 10 bytes and sends N.
    LongBody,
    /// Neither Content-Length nor chunks: the end of the connection is the end of the content.
    NoLength,
    /// No content, and says so.
    Empty,
    /// No content, in chunks.
    EmptyChunked,
    /// The content, with this value of Content-Length.
    Length(&'static str),
    /// One byte at a time.
    SlowDrip,
    /// The whole answer but only its first bytes, then the connection is closed.
    CutAt(usize),
    /// Half of the content; the rest after [`Server::release`].
    HoldMidBody,
    /// No answer before [`Server::release`].
    HoldAnswer,
    /// All of the content but its last byte; that after [`Server::release`].
    HoldLastByte,
    /// Half of the content, then silence until the client hangs up.
    StallMidBody,
    /// Silence until the client hangs up.
    StallAnswer,
    /// Half of the answer's head, then silence until the client hangs up.
    StallHead,
    /// Reads the request and closes the connection.
    HangUp,
    /// These bytes, and then the connection is closed.
    Raw(&'static [u8]),
    /// Header lines without end, until the client hangs up.
    EndlessHeader,
    /// A status, with a page of its own as its body.
    Status(u16),
    /// A redirect to this address; `{host}` becomes the server's own address. Paths that begin with `/good/` are
    /// answered as by [`Good`](Behaviour::Good).
    Redirect(String),
    /// A redirect with a body that never ends.
    RedirectEndlessBody,
    /// The content, announced as gzip.
    Encoded,
    /// 401, unless the request has this Authorization.
    Guarded(&'static str),
    /// A proxy: accepts CONNECT to anywhere, and answers what comes through it itself.
    Proxy,
}

pub(crate) struct Server {
    address: String,
    scheme: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Behaviour,
    content: Vec<u8>,
    host: String,
    requests: Mutex<Vec<String>>,
    /// Opened when the server has come to the point where it holds.
    held: Gate,
    /// Opened by the test.
    released: Gate,
    /// Opened when the client has closed a connection on which the server was not ready.
    hung_up: Gate,
}

impl Server {
    pub(crate) fn start(behaviour: Behaviour, content: &[u8]) -> Server {
        Server::start_at(Ipv4Addr::LOCALHOST.into(), behaviour, content).unwrap()
    }

    /// On another address; fails where the machine has no such address.
    pub(crate) fn start_at(ip: IpAddr, behaviour: Behaviour, content: &[u8]) -> std::io::Result<Server> {
        Server::serve(ip, "http", behaviour, content, |connection| Ok(Box::new(connection)))
    }

    /// With TLS.
    pub(crate) fn start_tls(config: rustls::ServerConfig, behaviour: Behaviour, content: &[u8]) -> Server {
        let config = Arc::new(config);
        Server::serve(Ipv4Addr::LOCALHOST.into(), "https", behaviour, content, move |connection| {
            let session =
                rustls::ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
            Ok(Box::new(rustls::StreamOwned::new(session, connection)))
        })
        .unwrap()
    }

    fn serve(
        ip: IpAddr,
        scheme: &'static str,
        behaviour: Behaviour,
        content: &[u8],
        wrap: impl Fn(TcpStream) -> std::io::Result<Box<dyn Connection>> + Send + Sync + 'static,
    ) -> std::io::Result<Server> {
        let listener = TcpListener::bind((ip, 0))?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            behaviour,
            content: content.to_vec(),
            host: address.clone(),
            requests: Mutex::default(),
            held: Gate::default(),
            released: Gate::default(),
            hung_up: Gate::default(),
        });
        let for_threads = Arc::clone(&shared);
        let wrap = Arc::new(wrap);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (shared, wrap) = (Arc::clone(&for_threads), Arc::clone(&wrap));
                thread::spawn(move || {
                    // What fails here is the client's hanging up, and that is the client's business.
                    if let Ok(mut connection) = connection.and_then(|connection| wrap(connection)) {
                        let _ = shared.answer(&mut *connection);
                    }
                });
            }
        });
        Ok(Server { address, scheme, shared })
    }

    /// The address of the repository.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}/images", self.scheme, self.address)
    }

    /// `127.0.0.1:12345`
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The head of every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits until a `Hold…` behaviour has come to its point.
    pub(crate) fn wait_until_held(&self) {
        self.shared.held.pass();
    }

    /// Lets a `Hold…` behaviour go on, for this and all later requests.
    pub(crate) fn release(&self) {
        self.shared.released.open();
    }

    /// Waits until a client has closed its connection before it had everything.
    pub(crate) fn wait_until_hung_up(&self) {
        self.shared.hung_up.pass();
    }
}

pub(crate) trait Connection: Read + Write + Send {}

impl<T: Read + Write + Send> Connection for T {}

impl Shared {
    fn answer(&self, connection: &mut dyn Connection) -> std::io::Result<()> {
        let mut head = read_head(connection)?;
        self.requests.lock().unwrap().push(head.clone());
        if matches!(self.behaviour, Behaviour::Proxy) {
            connection.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
            head = read_head(connection)?;
            self.requests.lock().unwrap().push(head.clone());
        }
        let content = &self.content;
        let length = content.len();
        let half = length / 2;
        match &self.behaviour {
            Behaviour::Good | Behaviour::Proxy => self.good(connection)?,
            Behaviour::Chunked => chunks(connection, content, b"0\r\n\r\n")?,
            Behaviour::ChunkedWithoutEnd => chunks(connection, content, b"")?,
            Behaviour::ChunkedNonsense => chunks(connection, content, b"what?\r\n")?,
            Behaviour::CloseMidBody => {
                ok(connection, length)?;
                connection.write_all(&content[..half])?;
            }
            Behaviour::ShortBody => {
                ok(connection, length + 10)?;
                connection.write_all(content)?;
            }
            Behaviour::LongBody => {
                ok(connection, length - 10)?;
                connection.write_all(content)?;
            }
            Behaviour::NoLength => {
                connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                connection.write_all(content)?;
            }
            Behaviour::Empty => ok(connection, 0)?,
            Behaviour::EmptyChunked => chunks(connection, b"", b"0\r\n\r\n")?,
            Behaviour::Length(value) => {
                write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n")?;
                connection.write_all(content)?;
            }
            Behaviour::SlowDrip => {
                ok(connection, length)?;
                for byte in content {
                    connection.write_all(&[*byte])?;
                    connection.flush()?;
                }
            }
            Behaviour::CutAt(count) => {
                let mut answer = Vec::new();
                ok(&mut answer, length)?;
                answer.extend_from_slice(content);
                connection.write_all(&answer[..*count])?;
            }
            Behaviour::HoldMidBody => {
                ok(connection, length)?;
                connection.write_all(&content[..half])?;
                self.hold(connection)?;
                connection.write_all(&content[half..])?;
            }
            Behaviour::HoldAnswer => {
                self.hold(connection)?;
                self.good(connection)?;
            }
            Behaviour::HoldLastByte => {
                ok(connection, length)?;
                connection.write_all(&content[..length - 1])?;
                self.hold(connection)?;
                connection.write_all(&content[length - 1..])?;
            }
            Behaviour::StallMidBody => {
                ok(connection, length)?;
                connection.write_all(&content[..half])?;
                self.stall(connection)?;
            }
            Behaviour::StallAnswer => self.stall(connection)?,
            Behaviour::StallHead => {
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Le")?;
                self.stall(connection)?;
            }
            Behaviour::HangUp => {}
            Behaviour::Raw(bytes) => connection.write_all(bytes)?,
            Behaviour::EndlessHeader => {
                connection.write_all(b"HTTP/1.1 200 OK\r\n")?;
                loop {
                    if let Err(error) = connection.write_all(b"X-More: and more\r\n") {
                        self.hung_up.open();
                        return Err(error);
                    }
                }
            }
            Behaviour::Status(status) => status_page(connection, *status, "")?,
            Behaviour::Redirect(_) if head.contains(" /good/") => self.good(connection)?,
            Behaviour::Redirect(to) => {
                let to = to.replace("{host}", &self.host);
                status_page(connection, 302, &format!("Location: {to}\r\n"))?;
            }
            Behaviour::RedirectEndlessBody => {
                connection.write_all(
                    b"HTTP/1.1 302 Found\r\nLocation: /good/\r\nTransfer-Encoding: chunked\r\n\r\n",
                )?;
                loop {
                    if let Err(error) = connection.write_all(b"5\r\nhello\r\n") {
                        self.hung_up.open();
                        return Err(error);
                    }
                }
            }
            Behaviour::Encoded => {
                write!(
                    connection,
                    "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
                )?;
                connection.write_all(content)?;
            }
            Behaviour::Guarded(authorization) => {
                let wanted = format!("authorization: {authorization}\r\n").to_ascii_lowercase();
                if head.to_ascii_lowercase().contains(&wanted) {
                    self.good(connection)?;
                } else {
                    status_page(connection, 401, "WWW-Authenticate: Basic realm=\"images\"\r\n")?;
                }
            }
        }
        connection.flush()
    }

    /// Sends nothing more, until the client hangs up.
    fn stall(&self, connection: &mut dyn Connection) -> std::io::Result<()> {
        connection.flush()?;
        self.held.open();
        // The client has sent all that it had to send: when reading ends, it is gone.
        let _ = connection.read(&mut [0]);
        self.hung_up.open();
        Ok(())
    }

    fn good(&self, connection: &mut dyn Connection) -> std::io::Result<()> {
        ok(connection, self.content.len())?;
        connection.write_all(&self.content)
    }

    /// Waits until the test releases the server.
    fn hold(&self, connection: &mut dyn Connection) -> std::io::Result<()> {
        connection.flush()?;
        self.held.open();
        if self.released.is_open() {
            return Ok(());
        }
        self.released.pass();
        Ok(())
    }
}

fn read_head(connection: &mut dyn Connection) -> std::io::Result<String> {
    let mut reader = BufReader::with_capacity(1, connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn ok<W: Write + ?Sized>(connection: &mut W, length: usize) -> std::io::Result<()> {
    write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
}

fn chunks(connection: &mut dyn Connection, content: &[u8], end: &[u8]) -> std::io::Result<()> {
    connection.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for chunk in content.chunks(10_007) {
        write!(connection, "{:x}\r\n", chunk.len())?;
        connection.write_all(chunk)?;
        connection.write_all(b"\r\n")?;
    }
    connection.write_all(end)
}

fn status_page(connection: &mut dyn Connection, status: u16, header: &str) -> std::io::Result<()> {
    let page = if matches!(status, 204 | 304) { "" } else { "<html>a page for people</html>" };
    let length = page.len();
    write!(
        connection,
        "HTTP/1.1 {status} Whatever\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n{page}"
    )
}

/// A door that is opened once.
#[derive(Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn is_open(&self) -> bool {
        *self.open.lock().unwrap()
    }

    /// Waits until the door is open. Ten minutes are for a machine that is very slow, not for luck.
    pub(crate) fn pass(&self) {
        let guard = self.open.lock().unwrap();
        let (guard, timeout) =
            self.opened.wait_timeout_while(guard, Duration::from_secs(600), |open| !*open).unwrap();
        drop(guard);
        assert!(!timeout.timed_out(), "nobody has opened the gate");
    }
}
