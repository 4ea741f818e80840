//! A mount and PID namespace for one run, seen from gonto.
//!
//! ```text
//! gonto ──── socket ──── init (pid 1 of the namespace) ──── sh -c "line of the script" ──── …
//!   └ serves FUSE in the host's namespaces
//! ```
//!
//! Mounts exist in the namespace only, so the kernel removes them with its last process, and it kills all processes of
//! the namespace when init ends. init ends when the socket closes. So whatever way gonto dies, nothing is left.

use std::ffi::{CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, WaitOptions};

use super::exec_image;
use super::init::{self, Kind, Plan, UserMap};
use super::wire::{self, Op, Reply, Step};
use crate::command::NoFolder;
use crate::{Command, Interrupt};

/// How long a script may take to end after the first interrupt. Build tools remove half-written files then.
const GRACE: Duration = Duration::from_secs(10);

/// How long those may take that an interrupted command has left behind: a shell dies at once, and the build tool that it
/// started is still removing half-written files.
const LINGER: Duration = Duration::from_secs(2);

/// How long a killed command may take to be gone. One that runs as another user cannot be killed.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// The processes of one run and, where the system allows it, their view of the file system.
#[derive(Debug)]
pub(super) struct Namespace {
    socket: OwnedFd,
    init: Pid,
    kind: NamespaceKind,
}

/// What a [`Namespace`] can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NamespaceKind {
    /// Mounts of its own, made by the system's root.
    Root,
    /// Mounts of its own inside a user namespace.
    User,
    /// No mounts; only the end of all processes is certain.
    ProcessesOnly,
}

/// Why there is no namespace.
#[derive(Debug, thiserror::Error)]
#[error("{what}{hint}")]
pub(super) struct NamespaceError {
    what: &'static str,
    /// What may forbid it, as a clause in parentheses; empty when unknown.
    hint: &'static str,
    #[source]
    source: io::Error,
}

impl NamespaceError {
    fn new(kind: NamespaceKind, what: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let hint = match (kind, source.raw_os_error()) {
            (NamespaceKind::User, Some(libc::ENOSPC)) => " (the sysctl user.max_user_namespaces is too low)",
            (NamespaceKind::User, Some(libc::EPERM | libc::EACCES)) => {
                " (the sysctl kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns may \
                 forbid them)"
            }
            _ => "",
        };
        Self { what, hint, source }
    }
}

impl Namespace {
    /// Enters new namespaces, with an empty tmpfs at `scratch` inside. Root needs no user namespace, but takes one where
    /// its rights do not reach (a container).
    pub(super) fn new(scratch: &Path) -> Result<Self, NamespaceError> {
        let mut first = None;
        if rustix::process::geteuid().is_root() {
            match Self::start(NamespaceKind::Root, scratch) {
                Ok(namespace) => return Ok(namespace),
                Err(error) => first = Some(error),
            }
        }
        Self::start(NamespaceKind::User, scratch).map_err(|second| first.unwrap_or(second))
    }

    /// Only binds the life of commands to gonto's.
    pub(super) fn processes_only() -> Result<Self, NamespaceError> {
        Self::start(NamespaceKind::ProcessesOnly, Path::new(""))
    }

    fn start(kind: NamespaceKind, scratch: &Path) -> Result<Self, NamespaceError> {
        let failed = |what| move |source: io::Error| NamespaceError::new(kind, what, source);
        let (socket, init_socket) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|errno| NamespaceError::new(kind, "cannot make a socket pair", errno))?;
        let scratch = c_string(scratch.as_os_str()).map_err(failed("cannot use the state folder"))?;
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let uid_map = format!("{uid} {uid} 1\n");
        let gid_map = format!("{gid} {gid} 1\n");
        let user = UserMap { uid_map: uid_map.as_bytes(), gid_map: gid_map.as_bytes() };
        let (flags, plan_kind) = match kind {
            NamespaceKind::Root => {
                (libc::CLONE_NEWNS | libc::CLONE_NEWPID, Kind::Namespace { scratch: &scratch, user: None })
            }
            NamespaceKind::User => (
                libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID,
                Kind::Namespace { scratch: &scratch, user: Some(user) },
            ),
            NamespaceKind::ProcessesOnly => (0, Kind::Subreaper),
        };
        let pid = with_signals_blocked(|command_mask| {
            let plan = Plan { socket: init_socket.as_raw_fd(), command_mask, kind: plan_kind };
            // SAFETY: without CLONE_VM this is fork(2) into new namespaces; the child runs on a copy of this stack
            // and calls only `init::run`, which neither returns nor needs any lock that another thread may hold.
            match unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) } {
                0 => init::run(&plan),
                pid if pid > 0 => Ok(pid),
                _ => Err(io::Error::last_os_error()),
            }
        })
        .map_err(failed(match kind {
            NamespaceKind::User => "user namespaces are not allowed here",
            NamespaceKind::Root => "cannot make a mount namespace",
            NamespaceKind::ProcessesOnly => "cannot start a process",
        }))?;
        drop(init_socket);
        let init = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| NamespaceError::new(kind, "cannot start a process", io::ErrorKind::InvalidData))?;
        let namespace = Self { socket, init, kind };
        match namespace.receive() {
            Ok((Reply { kind: Reply::DONE, .. }, _)) => Ok(namespace),
            Ok((reply, _)) => Err(NamespaceError::new(
                kind,
                Step::describe(reply.kind & !Reply::SETUP_FAILED),
                io::Error::from_raw_os_error(reply.value),
            )),
            Err(source) => Err(NamespaceError::new(kind, "the namespace's first process ended", source)),
        }
    }

    pub(super) fn kind(&self) -> NamespaceKind {
        self.kind
    }

    /// mount(2) inside.
    pub(super) fn mount(
        &self,
        source: &OsStr,
        target: &Path,
        fs_type: &str,
        flags: MountFlags,
        data: &OsStr,
    ) -> io::Result<()> {
        let strings = [source.as_bytes(), target.as_os_str().as_bytes(), fs_type.as_bytes(), data.as_bytes()];
        self.request(Op::Mount, flags.bits().into(), &strings, None).map(drop)
    }

    /// Puts a mount that is nowhere yet to a place inside.
    pub(super) fn attach(&self, mount: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
        self.request(Op::Attach, 0, &[target.as_os_str().as_bytes()], Some(mount)).map(drop)
    }

    /// Mounts FUSE inside and returns the descriptor over which it is served.
    pub(super) fn mount_fuse(&self, target: &Path, flags: MountFlags, data: &str) -> io::Result<OwnedFd> {
        let strings = [b"gonto".as_slice(), target.as_os_str().as_bytes(), b"fuse.gonto", data.as_bytes()];
        self.request(Op::MountFuse, flags.bits().into(), &strings, None)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "no descriptor came with the FUSE mount")
        })
    }

    pub(super) fn unmount(&self, target: &Path, flags: UnmountFlags) -> io::Result<()> {
        self.request(Op::Unmount, flags.bits().into(), &[target.as_os_str().as_bytes()], None).map(drop)
    }

    pub(super) fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.request(Op::MakeFolder, 0, &[path.as_os_str().as_bytes()], None).map(drop)
    }

    /// Opens a folder that only the processes inside see. Its descriptor leads there from outside, too.
    pub(super) fn open_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        self.request(Op::OpenFolder, 0, &[path.as_os_str().as_bytes()], None)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no descriptor came with the folder"))
    }

    /// Runs a command inside and waits for its end; what it leaves running goes on. An interrupt ends it: politely first,
    /// then not; what it has left behind is then waited for as well, for a while.
    pub(super) fn run(&self, command: &Command, interrupt: &Interrupt) -> io::Result<ExitStatus> {
        let (image, size) =
            exec_image::build(command.arguments(), command.environment(), command.directory().as_os_str())?;
        self.send(&wire::request(Op::Spawn, size, &[]), Some(image.as_fd()))?;
        drop(image);
        let mut progress = Progress::default();
        while !progress.started {
            match self.receive()?.0 {
                Reply { kind: Reply::DONE, value: 0 } => progress.started = true,
                Reply { kind: Reply::DONE, value } => return Err(io::Error::from_raw_os_error(value)),
                reply => progress.heed(reply, command),
            }
        }
        let mut stopping = Stopping::new(interrupt);
        loop {
            if let Some(signal) = stopping.due() {
                tracing::debug!(signal, "stopping the script");
                self.signal(signal)?;
                progress.unanswered += 1;
            }
            let now = Instant::now();
            let over = match progress.ended {
                Some((status, _)) if progress.empty || !stopping.is_cause_of(status) => Some(now),
                Some((_, since)) => Some(since + LINGER),
                None => stopping.killed.map(|since| since + LAST_BREATH),
            };
            // Every answer is taken, so that the next request gets its own.
            if progress.unanswered == 0 && over.is_some_and(|over| over <= now) {
                return progress.outcome();
            }
            let until = [over, stopping.deadline].into_iter().flatten().filter(|until| *until > now).min();
            if self.wait(stopping.news(), until)? {
                progress.heed(self.receive()?.0, command);
            }
        }
    }

    /// Waits until init has said something (true), or `news` can be read, or the time has come.
    fn wait(&self, news: Option<BorrowedFd<'_>>, until: Option<Instant>) -> io::Result<bool> {
        let mut watched = vec![PollFd::new(&self.socket, PollFlags::IN)];
        watched.extend(news.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let timeout = until
            .map(|until| until.saturating_duration_since(Instant::now()))
            .and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut watched, timeout.as_ref()) {
            Ok(_) => Ok(watched.first().is_some_and(|socket| !socket.revents().is_empty())),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Ends every process inside but init.
    pub(super) fn kill_all(&self) -> io::Result<()> {
        let number = u64::try_from(libc::SIGKILL).map_err(io::Error::other)?;
        self.request(Op::Signal, number, &[], None).map(drop)
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        let number = u64::try_from(signal).map_err(io::Error::other)?;
        // The answer is left to the loop that waits for the command's end, which may come first.
        self.send(&wire::request(Op::Signal, number, &[]), None)
    }

    fn request(
        &self,
        op: Op,
        number: u64,
        strings: &[&[u8]],
        fd: Option<BorrowedFd<'_>>,
    ) -> io::Result<Option<OwnedFd>> {
        if strings.iter().any(|string| string.contains(&0)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in a path"));
        }
        let packet = wire::request(op, number, strings);
        if packet.len() > wire::MAX_PACKET {
            return Err(Errno::NAMETOOLONG.into());
        }
        self.send(&packet, fd)?;
        loop {
            // What a command has left running may end at any time, and then init says so.
            match self.receive()? {
                (Reply { kind: Reply::DONE, value: 0 }, fd) => return Ok(fd),
                (Reply { kind: Reply::DONE, value }, _) => return Err(io::Error::from_raw_os_error(value)),
                _ => {}
            }
        }
    }

    fn send(&self, packet: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd]);
        if let Some(fds) = &fds {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(packet)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn receive(&self) -> io::Result<(Reply, Option<OwnedFd>)> {
        let mut packet = [0u8; Reply::SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let length = loop {
            let slices = &mut [IoSliceMut::new(&mut packet)];
            match rustix::net::recvmsg(&self.socket, slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) => break message.bytes,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        let mut attached = None;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                attached = fds.next();
            }
        }
        let reply = packet.get(..length).and_then(Reply::parse).ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the process that holds the run together has ended")
        })?;
        Ok((reply, attached))
    }
}

impl Drop for Namespace {
    /// Ends every process of the run and waits until the last one is gone.
    fn drop(&mut self) {
        if let Err(errno) = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both) {
            tracing::debug!(%errno, "cannot close the socket to init");
        }
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(self.init), WaitOptions::empty()) {}
    }
}

/// What init has told of a command.
#[derive(Default)]
struct Progress {
    /// The spawn was answered. What init says of a command before that is about an earlier one, except for its failure:
    /// the command tells that itself.
    started: bool,
    /// Signals that init has not confirmed yet.
    unanswered: u32,
    failure: Option<io::Error>,
    /// How and when the command ended.
    ended: Option<(ExitStatus, Instant)>,
    /// Nothing was left running once the command had ended.
    empty: bool,
}

impl Progress {
    fn heed(&mut self, reply: Reply, command: &Command) {
        let error = io::Error::from_raw_os_error(reply.value);
        match reply.kind {
            Reply::DONE => self.unanswered = self.unanswered.saturating_sub(1),
            Reply::EXEC_FAILED => self.failure = Some(error),
            Reply::CHDIR_FAILED => {
                let folder = command.directory().to_owned();
                self.failure = Some(io::Error::new(error.kind(), NoFolder { folder, source: error }));
            }
            Reply::EXITED if self.started => {
                self.ended = Some((ExitStatus::from_raw(reply.value), Instant::now()));
            }
            Reply::EMPTY => self.empty = self.ended.is_some(),
            _ => {}
        }
    }

    fn outcome(self) -> io::Result<ExitStatus> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.ended.map(|(status, _)| status).ok_or_else(|| {
            let what = "it was killed and has not ended; it may run as another user";
            io::Error::new(io::ErrorKind::TimedOut, what)
        })
    }
}

/// How a command that should end is made to: by the signal that gonto got, unless it has that from the terminal; when it
/// takes too long or somebody insists, by SIGKILL.
struct Stopping<'a> {
    interrupt: &'a Interrupt,
    /// The interrupt was raised when the command had just been started, which has missed what was typed before.
    early: bool,
    /// Raises that were acted upon. Those from before this command count as well.
    seen: u32,
    deadline: Option<Instant>,
    killed: Option<Instant>,
}

impl<'a> Stopping<'a> {
    fn new(interrupt: &'a Interrupt) -> Self {
        Self { interrupt, early: interrupt.times() > 0, seen: 0, deadline: None, killed: None }
    }

    /// The signal that has to be sent now, if any.
    fn due(&mut self) -> Option<i32> {
        let raised = self.interrupt.times();
        let insists = raised > self.seen && raised > 1;
        if insists || self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.seen = raised;
            self.deadline = None;
            self.killed.get_or_insert_with(Instant::now);
            return Some(libc::SIGKILL);
        }
        if raised == self.seen {
            return None;
        }
        self.seen = raised;
        self.deadline = Some(Instant::now() + GRACE);
        self.interrupt.signal().filter(|_| self.early || !self.interrupt.was_typed())
    }

    /// What can be read once there is a raise that matters and was not acted upon.
    fn news(&self) -> Option<BorrowedFd<'a>> {
        self.interrupt.waker().after(self.seen)
    }

    /// Whether the command has ended because it should. What was typed may end it before it raises the interrupt.
    fn is_cause_of(&self, status: ExitStatus) -> bool {
        let asked = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
        self.interrupt.times() > 0 || status.signal().is_some_and(|signal| asked.contains(&signal))
    }
}

/// Calls `f` with all signals blocked and tells it the mask that was there before. The clone inherits the block, so
/// no handler of gonto's can run in it.
fn with_signals_blocked<T>(f: impl FnOnce(&libc::sigset_t) -> T) -> T {
    let mut before = MaybeUninit::uninit();
    // SAFETY: fills two sets on this stack and swaps this thread's mask.
    let before = unsafe {
        let mut all = MaybeUninit::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    };
    let result = f(&before);
    // SAFETY: restores the mask that was read above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    result
}

fn c_string(string: &OsStr) -> io::Result<CString> {
    CString::new(string.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in a path"))
}

#[cfg(test)]
mod tests;
