//! fusermount3: the set-user-ID helper of libfuse, by which an ordinary user mounts for all of their processes.

use std::env;
use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};

use super::overlay::Upper;

/// Mounts FUSE read-only at `target` and returns the descriptor over which it is served.
pub(super) fn mount(target: &Path, source: &str) -> io::Result<OwnedFd> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let inherited = theirs.as_raw_fd();
    let mut command = Command::new("fusermount3");
    command
        .arg("-o")
        .arg(format!("ro,nosuid,nodev,default_permissions,fsname={source},subtype=gonto"))
        .arg("--")
        .arg(target)
        .env("_FUSE_COMMFD", inherited.to_string());
    // SAFETY: between fork and exec only fcntl(2) is called, on a descriptor that stays open until then.
    unsafe {
        command.pre_exec(move || match libc::fcntl(inherited, libc::F_SETFD, 0) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    run(&mut command)?;
    drop(theirs);
    receive(&ours)
}

pub(super) fn unmount(target: &Path, lazily: bool) -> io::Result<()> {
    run(Command::new("fusermount3").arg(if lazily { "-uz" } else { "-u" }).arg("--").arg(target))
}

/// Whether it is installed. (Whether it may be used is only known when it is.)
pub(super) fn is_installed() -> bool {
    program("fusermount3").is_some()
}

/// What mountinfo shows as the source of whatever fuse-overlayfs has mounted.
pub(super) const OVERLAY_SOURCE: &str = "fuse-overlayfs";

/// Whether fuse-overlayfs is installed.
pub(super) fn can_overlay() -> bool {
    program("fuse-overlayfs").is_some()
}

/// Puts a writable layer above `lower` by fuse-overlayfs.
pub(super) fn overlay(lower: &Path, upper: &Upper, target: &Path) -> io::Result<()> {
    let mut options = OsString::new();
    for (name, path) in [("lowerdir=", lower), (",upperdir=", &upper.upper()), (",workdir=", &upper.work())] {
        if path.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b':' | b',' | b'\\')) {
            let message = format!("it takes no colon, comma or backslash in a path: {}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        options.push(name);
        options.push(path);
    }
    options.push(",nosuid,nodev");
    let mut command = Command::new("fuse-overlayfs");
    command.arg("-o").arg(options).arg(target);
    let gonto = rustix::process::getpid();
    // SAFETY: between fork and exec only prctl(2) and getppid(2) are called.
    unsafe {
        command.pre_exec(move || {
            // Killed with gonto, it cannot mount when the next gonto has cleared up already. Once it has mounted, it
            // goes on in a child that nobody's end concerns.
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            match rustix::process::getppid() {
                Some(parent) if parent == gonto => Ok(()),
                _ => Err(io::ErrorKind::Interrupted.into()),
            }
        });
    }
    run(&mut command)
}

fn program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Runs a helper; what it complains about becomes the error.
fn run(command: &mut Command) -> io::Result<()> {
    // In a process group of its own: Ctrl-C is for the scripts, and not for what unmounts after them.
    let output = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(if said.is_empty() {
        format!("{:?} failed: {}", command.get_program(), output.status)
    } else {
        said
    }))
}

fn receive(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "fusermount3 sent no descriptor"))
}
