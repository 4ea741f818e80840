//! The FUSE server of an image that stays mounted when gonto has ended: a process of its own in the background.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::fuse::ImageFs;

/// Starts a process that serves `device` until it is unmounted. `keep` are the descriptors that the server needs: the image
/// files behind the tree, and the lock that tells that it lives. Returns when the server answers the kernel.
///
/// # Errors
/// When no process can be started, or the kernel breaks the connection off.
pub(super) fn start(file_system: ImageFs, device: OwnedFd, keep: &[RawFd]) -> io::Result<()> {
    let (mut ready, tell) = io::pipe()?;
    // SAFETY: the child goes on in Rust code that allocates and starts threads. The C libraries of Linux keep their
    // allocator usable in the child; the child shares no lock with the threads that gonto may have, as it neither logs
    // nor prints nor reads the environment, and it leaves by _exit.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            let kept = [&[tell.as_raw_fd(), device.as_raw_fd()], keep].concat();
            // SAFETY: moves to a session of its own, so that no terminal and no Ctrl-C reaches the server, and forks
            // once more, so that nobody has to wait for it.
            if unsafe { libc::setsid() } < 0 || unsafe { libc::fork() } != 0 {
                exit(0);
            }
            detach(&kept);
            exit(serve(file_system, device, tell));
        }
        child => {
            drop(tell);
            // SAFETY: waits for the process in between, which ends at once.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        }
    }
    drop(device);
    let mut message = String::new();
    ready.read_to_string(&mut message)?;
    match message.as_str() {
        "ready" => Ok(()),
        "" => Err(io::Error::other("the file server ended at once")),
        message => Err(io::Error::other(message.to_owned())),
    }
}

fn serve(file_system: ImageFs, device: OwnedFd, mut tell: io::PipeWriter) -> i32 {
    let session = match file_system.connect(device) {
        Ok(session) => session,
        Err(error) => {
            let _ = tell.write_all(format!("the file server cannot start: {error}").as_bytes());
            return 1;
        }
    };
    if tell.write_all(b"ready").is_err() {
        return 1;
    }
    drop(tell);
    i32::from(session.run().is_err())
}

/// Lets go of everything that belongs to gonto or its terminal.
fn detach(keep: &[RawFd]) {
    // SAFETY: resets handlers that would run gonto's code, and leaves its folder, which somebody may want to unmount.
    unsafe {
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::chdir(c"/".as_ptr());
    }
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for standard in 0..=2 {
            // SAFETY: replaces a standard stream; the old one is not used any more.
            unsafe { libc::dup2(null.as_raw_fd(), standard) };
        }
    }
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")
        .map(|entries| {
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        })
        .unwrap_or_default();
    for fd in open {
        if fd > 2 && !keep.contains(&fd) {
            // SAFETY: the owners of these descriptors live in gonto; in this copy they are never used or dropped. The
            // one that listed the others is closed already, which is an error that changes nothing.
            unsafe { libc::close(fd) };
        }
    }
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the process without exit handlers, which belong to gonto.
    unsafe { libc::_exit(code) }
}
