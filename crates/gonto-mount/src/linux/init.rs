//! The init process of a namespace: mounts, starts commands, and takes everything with it when it ends.
//!
//! It is a child of gonto that never executes another program: gonto may have several threads, and in the child of such
//! a process only that is sure which needs no lock. **So nothing here allocates memory, panics or logs**; what needs
//! memory is laid out beforehand by gonto ([`wire`](super::wire), [`exec_image`](super::exec_image)).
//!
//! In a PID namespace this process is number 1, and its end makes the kernel kill all others in there. Without one it is
//! a subreaper: whatever loses its parent becomes its child, so that killing all children until none is left reaches
//! every descendant. Out of reach is only one that has become another user's (by sudo, say); it is given up after
//! [`END`]. This process ends when gonto closes the socket or dies, which closes the socket too.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use super::wire::{MAX_PACKET, Op, Reply, Request, Step};
use super::written::FOLDER;

/// How long the killed may take to be gone, where the kernel does not see to it. gonto waits for that.
const END: Duration = Duration::from_secs(5);

/// How often the killed are looked at during [`END`].
const TICK: Duration = Duration::from_millis(10);

/// Everything that init has to know, made by gonto before the clone.
pub(super) struct Plan<'a> {
    pub(super) socket: RawFd,
    /// The signal mask that commands start with; init itself has all signals blocked.
    pub(super) command_mask: &'a libc::sigset_t,
    pub(super) kind: Kind<'a>,
}

/// What surrounds init.
pub(super) enum Kind<'a> {
    /// Mount and PID namespaces of its own, with a tmpfs at `scratch`.
    Namespace { scratch: &'a CStr, user: Option<UserMap<'a>> },
    /// No namespace; only the life of the commands is bound to gonto's.
    Subreaper,
}

/// The lines for `/proc/self/uid_map` and `gid_map`.
pub(super) struct UserMap<'a> {
    pub(super) uid_map: &'a [u8],
    pub(super) gid_map: &'a [u8],
}

/// Runs init; never returns. `extern "C"`, because unwinding out of here would go on as a second gonto.
pub(super) extern "C" fn run(plan: &Plan<'_>) -> ! {
    // SAFETY: gonto opened this descriptor for us and keeps it open until this process exists.
    let socket = unsafe { BorrowedFd::borrow_raw(plan.socket) };
    forget_handlers();
    let closed = close_private_descriptors(socket).map_err(|errno| (Step::Descriptors, errno));
    if let Err((step, errno)) = closed.and_then(|()| set_up(&plan.kind)) {
        send(socket, Reply { kind: Reply::SETUP_FAILED | step as u8, value: errno.raw_os_error() }, None);
        exit(1);
    }
    let Some(children) = watch_children() else { exit(1) };
    send(socket, Reply { kind: Reply::DONE, value: 0 }, None);

    let mut init = Init { socket, plan, command: None, stopping: None };
    loop {
        let mut watched = [
            PollFd::from_borrowed_fd(socket, PollFlags::IN),
            PollFd::from_borrowed_fd(children.as_fd(), PollFlags::IN),
        ];
        if rustix::event::poll(&mut watched, None).is_err() {
            continue;
        }
        let [requests, exits] = watched.map(|fd| !fd.revents().is_empty());
        if exits {
            drain(&children);
            init.reap();
        }
        if requests && !init.answer() {
            init.end();
        }
    }
}

/// Takes gonto's signal handlers away. A command that is signalled between unblocking its signals and its execve(2)
/// would run them instead of ending.
fn forget_handlers() {
    // The C libraries lock the action of SIGABRT, and gonto does not handle it.
    for signal in (1..=libc::SIGRTMAX()).filter(|signal| *signal != libc::SIGABRT) {
        // SAFETY: reads and sets the action of one signal; what is ignored stays so, as execve(2) would have it. The
        // numbers that have no action to set give an error.
        unsafe {
            let mut action = MaybeUninit::<libc::sigaction>::uninit();
            if libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
                && action.assume_init().sa_sigaction != libc::SIG_IGN
            {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

/// Closes what belongs to gonto alone, above all the other ends of the sockets of other namespaces: while a copy of
/// one is open, its init does not notice that gonto has died. Descriptors that are not close-on-exec are meant for the
/// commands (a jobserver of make, say) and stay.
fn close_private_descriptors(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(c"/proc/self/fd", flags, Mode::empty())?;
    let kept = [socket.as_raw_fd(), folder.as_raw_fd()];
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&folder, &mut buffer);
    // The kernel goes on by number, so closing what was listed makes it miss nothing.
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Some(fd @ 3..) = number(entry.file_name()) else { continue };
        // SAFETY: F_GETFD only reads a flag; a number that is no open descriptor gives an error.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC != 0 && !kept.contains(&fd) {
            // SAFETY: this process is a copy that uses none of gonto's descriptors except the socket.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

/// The number that a name spells; none for "." and "..".
fn number(name: &CStr) -> Option<RawFd> {
    name.to_bytes().iter().try_fold(0i32, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

fn set_up(kind: &Kind<'_>) -> Result<(), (Step, Errno)> {
    let (scratch, user) = match kind {
        Kind::Namespace { scratch, user } => (scratch, user),
        Kind::Subreaper => {
            let me = Some(rustix::process::getpid());
            return rustix::process::set_child_subreaper(me).map_err(|errno| (Step::Propagation, errno));
        }
    };
    if let Some(user) = user {
        // The kernel wants setgroups(2) denied before an ordinary user may map a group.
        write(c"/proc/self/setgroups", b"deny")
            .and_then(|()| write(c"/proc/self/uid_map", user.uid_map))
            .and_then(|()| write(c"/proc/self/gid_map", user.gid_map))
            .map_err(|errno| (Step::UserMap, errno))?;
    }
    // Slave, not private: what the system unmounts outside is unmounted here too, but nothing goes the other way.
    rustix::mount::mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(|errno| (Step::Propagation, errno))?;
    rustix::mount::mount(
        c"gonto",
        *scratch,
        c"tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(c"mode=0755"),
    )
    .map_err(|errno| (Step::Tmpfs, errno))?;
    // Process numbers are those of the PID namespace from here on. Where the system hides parts of /proc, the kernel
    // refuses a fresh one; /proc/self is right in the old one as well.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let _ = rustix::mount::mount(c"proc", c"/proc", c"proc", flags, None);
    Ok(())
}

fn write(path: &CStr, content: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, content).map(drop)
}

/// A descriptor that is readable when a child has ended.
fn watch_children() -> Option<OwnedFd> {
    // SAFETY: both calls fill or read a set on this stack. An ignored SIGCHLD, inherited from gonto's parent, would
    // make the kernel throw away the status of our children.
    let set = unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut set = MaybeUninit::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        set.assume_init()
    };
    // SAFETY: `set` is a valid set; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    // SAFETY: the descriptor is new and ours alone.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn drain(children: &OwnedFd) {
    let mut news = [0u8; size_of::<libc::signalfd_siginfo>() * 4];
    while rustix::io::read(children, &mut news).is_ok_and(|read| read > 0) {}
}

struct Init<'a> {
    socket: BorrowedFd<'a>,
    plan: &'a Plan<'a>,
    /// The command that gonto waits for.
    command: Option<Pid>,
    /// The signal that all descendants get, also those that become our children later.
    stopping: Option<Signal>,
}

impl Init<'_> {
    /// Takes one request and answers it; false when gonto has gone.
    fn answer(&mut self) -> bool {
        let mut packet = [0u8; MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            self.socket,
            &mut [IoSliceMut::new(&mut packet)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        let length = match received {
            Ok(message) if message.bytes > 0 && !message.flags.contains(ReturnFlags::TRUNC) => message.bytes,
            Err(Errno::INTR | Errno::AGAIN) => return true,
            Ok(_) | Err(_) => return false,
        };
        let mut attached = None;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                attached = fds.next();
            }
        }
        let Some(request) = packet.get(..length).and_then(Request::parse) else { return false };
        let mut result_fd = None;
        let value = match self.carry_out(request, attached, &mut result_fd) {
            Ok(()) => 0,
            Err(errno) => errno.raw_os_error(),
        };
        send(self.socket, Reply { kind: Reply::DONE, value }, result_fd.as_ref().map(AsFd::as_fd));
        true
    }

    fn carry_out(
        &mut self,
        mut request: Request<'_>,
        attached: Option<OwnedFd>,
        result_fd: &mut Option<OwnedFd>,
    ) -> Result<(), Errno> {
        match request.op {
            Op::Mount | Op::MountFuse => {
                let flags =
                    MountFlags::from_bits_retain(u32::try_from(request.number).map_err(|_| Errno::INVAL)?);
                let source = request.string().ok_or(Errno::INVAL)?;
                let target = request.string().ok_or(Errno::INVAL)?;
                let kind = request.string().ok_or(Errno::INVAL)?;
                let data = request.string().ok_or(Errno::INVAL)?;
                if request.op == Op::Mount {
                    return rustix::mount::mount(source, target, kind, flags, Some(data));
                }
                // The device belongs to the user namespace that opens it, so it must be opened here.
                let device = rustix::fs::open(c"/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
                let mut buffer = [0u8; 512];
                let data = fuse_data(&mut buffer, device.as_raw_fd(), data).ok_or(Errno::NAMETOOLONG)?;
                rustix::mount::mount(source, target, kind, flags, Some(data))?;
                *result_fd = Some(device);
                Ok(())
            }
            Op::Attach => {
                let mount = attached.ok_or(Errno::BADF)?;
                let target = request.string().ok_or(Errno::INVAL)?;
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                rustix::mount::move_mount(&mount, c"", rustix::fs::CWD, target, flags)
            }
            Op::Unmount => {
                let flags =
                    UnmountFlags::from_bits_retain(u32::try_from(request.number).map_err(|_| Errno::INVAL)?);
                rustix::mount::unmount(request.string().ok_or(Errno::INVAL)?, flags)
            }
            Op::MakeFolder => {
                match rustix::fs::mkdir(request.string().ok_or(Errno::INVAL)?, Mode::from_raw_mode(0o755)) {
                    Err(Errno::EXIST) => Ok(()),
                    other => other,
                }
            }
            Op::OpenFolder => {
                let path = request.string().ok_or(Errno::INVAL)?;
                *result_fd = Some(rustix::fs::open(path, FOLDER, Mode::empty())?);
                Ok(())
            }
            Op::Spawn => {
                let image = attached.ok_or(Errno::BADF)?;
                let size = usize::try_from(request.number).map_err(|_| Errno::INVAL)?;
                self.spawn(&image, size)
            }
            Op::Signal => {
                let number = i32::try_from(request.number).map_err(|_| Errno::INVAL)?;
                let signal = Signal::from_named_raw(number).ok_or(Errno::INVAL)?;
                self.stopping = Some(signal);
                self.signal_all(signal);
                Ok(())
            }
        }
    }

    fn spawn(&mut self, image: &OwnedFd, size: usize) -> Result<(), Errno> {
        // SAFETY: a clone without CLONE_VM is fork(2) without the library's bookkeeping; the child goes on on a copy
        // of this stack and uses only what this module uses.
        let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        match pid {
            0 => {
                let (kind, errno) = execute(image, size, self.plan.command_mask);
                send(self.socket, Reply { kind, value: errno.raw_os_error() }, None);
                exit(127);
            }
            pid if pid > 0 => {
                self.command = i32::try_from(pid).ok().and_then(Pid::from_raw);
                self.stopping = None;
                Ok(())
            }
            _ => Err(last_error()),
        }
    }

    /// Buries the dead, and tells gonto when the command is among them and when nobody is left.
    fn reap(&mut self) {
        if self.bury() {
            send(self.socket, Reply { kind: Reply::EMPTY, value: 0 }, None);
        } else if let (Kind::Subreaper, Some(signal)) = (&self.plan.kind, self.stopping) {
            // Who lost its parent just now has become our child and has not heard of the signal.
            self.signal_all(signal);
        }
    }

    /// Collects every child that has ended; true when there is no child any more.
    fn bury(&mut self) -> bool {
        loop {
            // Any child, also one that has left our process group (as setsid and timeout do).
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if self.command == Some(pid) => {
                    self.command = None;
                    send(self.socket, Reply { kind: Reply::EXITED, value: status.as_raw() }, None);
                }
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(errno) => return errno == Errno::CHILD,
            }
        }
    }

    fn signal_all(&self, signal: Signal) {
        match self.plan.kind {
            Kind::Namespace { .. } => {
                // SAFETY: -1 means every process of this PID namespace except its init.
                unsafe { libc::kill(-1, signal.as_raw()) };
            }
            Kind::Subreaper => {
                let send = |child| {
                    let _ = rustix::process::kill_process(child, signal);
                };
                // A kernel built without that list leaves us the one child that we know.
                if let (Err(_), Some(command)) = (for_each_child(send), self.command) {
                    send(command);
                }
            }
        }
    }

    /// Takes all processes along and ends.
    fn end(&mut self) -> ! {
        if let Kind::Subreaper = self.plan.kind {
            for _ in 0..END.as_millis() / TICK.as_millis() {
                self.signal_all(Signal::KILL);
                if self.bury() {
                    break;
                }
                let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
                let _ = rustix::event::poll(&mut [], Some(&tick));
            }
        }
        exit(0)
    }
}

/// "fd=N," before the other options of a FUSE mount.
fn fuse_data<'b>(buffer: &'b mut [u8; 512], fd: RawFd, options: &CStr) -> Option<&'b CStr> {
    let mut digits = [0u8; 10];
    let mut rest = fd;
    let mut start = digits.len();
    loop {
        start -= 1;
        *digits.get_mut(start)? = b'0' + u8::try_from(rest % 10).ok()?;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let mut length = 0;
    for part in [b"fd=", digits.get(start..)?, b",", options.to_bytes_with_nul()] {
        buffer.get_mut(length..length + part.len())?.copy_from_slice(part);
        length += part.len();
    }
    CStr::from_bytes_with_nul(buffer.get(..length)?).ok()
}

/// Calls `f` with each direct child of this (single-threaded) process.
fn for_each_child(f: impl Fn(Pid)) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/thread-self/children", flags, Mode::empty())?;
    let mut buffer = [0u8; 512];
    let mut pid = 0i32;
    while let Ok(read @ 1..) = rustix::io::read(&file, &mut buffer) {
        for &byte in buffer.get(..read).unwrap_or_default() {
            if byte.is_ascii_digit() {
                pid = pid.wrapping_mul(10).wrapping_add(i32::from(byte - b'0'));
            } else {
                if let Some(child) = Pid::from_raw(pid) {
                    f(child);
                }
                pid = 0;
            }
        }
    }
    Ok(())
}

/// Becomes the command that is laid out in `image`; returns only if that fails, with the kind of the reply about it.
fn execute(image: &OwnedFd, size: usize, mask: &libc::sigset_t) -> (u8, Errno) {
    // SAFETY: a private mapping of the whole memory file, which nobody else writes to or truncates any more.
    let base = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE,
            image.as_raw_fd(),
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return (Reply::EXEC_FAILED, last_error());
    }
    // SAFETY: the image holds two tables of offsets, each ended by 0 (see exec_image), behind them its strings. Each
    // offset is replaced by the address of its string in the mapping, which makes the tables argv and envp.
    unsafe {
        let argv = base.cast::<usize>();
        let mut entry = argv;
        let mut envp = argv;
        for table in 0..2 {
            while *entry != 0 {
                *entry += base as usize;
                entry = entry.add(1);
            }
            entry = entry.add(1);
            if table == 0 {
                envp = entry;
            }
        }
        let directory = entry.cast::<libc::c_char>();
        if libc::chdir(directory) != 0 {
            return (Reply::CHDIR_FAILED, last_error());
        }
        // Rust programs ignore SIGPIPE, and an ignored signal stays so in the executed program.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_SETMASK, mask, ptr::null_mut());
        libc::execve(
            (*argv) as *const libc::c_char,
            argv.cast::<*const libc::c_char>(),
            envp.cast::<*const libc::c_char>(),
        );
    }
    (Reply::EXEC_FAILED, last_error())
}

fn send(socket: BorrowedFd<'_>, reply: Reply, fd: Option<BorrowedFd<'_>>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let bytes = reply.to_bytes();
    // When gonto has gone, the next read of the socket says so.
    let _ = rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL);
}

fn last_error() -> Errno {
    // SAFETY: errno is a variable of this thread.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the process without running exit handlers, which belong to gonto.
    unsafe { libc::_exit(code) }
}
