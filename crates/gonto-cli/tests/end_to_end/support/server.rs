//! A web server on loopback that serves a folder.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// How every request for a file is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behaviour {
    Good,
    /// Half of the file, then nothing until the client hangs up.
    StallMidBody,
    /// Half of the file, then the connection is closed.
    CloseMidBody,
}

pub(crate) struct Server {
    address: String,
    stalled: Receiver<()>,
}

impl Server {
    pub(crate) fn start(folder: &Path, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, stalled) = mpsc::channel();
        let folder = folder.to_owned();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (folder, sender) = (folder.clone(), sender.clone());
                // What fails here is the client's hanging up, which is its right.
                thread::spawn(move || answer(connection, &folder, behaviour, &sender));
            }
        });
        Self { address, stalled }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until half of a file was sent and no more will come.
    pub(crate) fn wait_until_stalled(&self) {
        self.stalled.recv_timeout(Duration::from_secs(120)).unwrap();
    }
}

fn answer(
    mut connection: TcpStream,
    folder: &Path,
    behaviour: Behaviour,
    stalled: &Sender<()>,
) -> std::io::Result<()> {
    let mut head = BufReader::new(connection.try_clone()?).lines();
    let request = head.next().transpose()?.unwrap_or_default();
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path: PathBuf = request.split(' ').nth(1).unwrap_or_default().split('/').collect();
    let Ok(content) = fs::read(folder.join(path)) else {
        return connection
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let length = content.len();
    write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    match behaviour {
        Behaviour::Good => connection.write_all(&content),
        Behaviour::CloseMidBody => connection.write_all(&content[..length / 2]),
        Behaviour::StallMidBody => {
            connection.write_all(&content[..length / 2])?;
            let _ = stalled.send(());
            // The client has nothing more to say: when reading ends, it has gone.
            connection.read(&mut [0]).map(drop)
        }
    }
}
