//! Processes and mounts that a test has left behind. They are known by the path of its folder, which is in their
//! environment, arguments or working folder.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal};

/// How long the kernel may take to end what was killed.
const END: Duration = Duration::from_secs(20);

/// Waits until nothing is left. After `kill -9` of the program that takes the kernel a moment.
#[track_caller]
pub(super) fn assert_none(root: &Path) {
    let deadline = Instant::now() + END;
    loop {
        let left = all(root);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind:\n{}", left.join("\n"));
        thread::sleep(Duration::from_millis(2));
    }
}

/// Ends and unmounts what is left, and tells what it was.
pub(super) fn take_away(root: &Path) -> Vec<String> {
    let left = all(root);
    let deadline = Instant::now() + END;
    while !all(root).is_empty() && Instant::now() < deadline {
        for (pid, _) in processes(root) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        for mount_point in mounts(root).iter().rev() {
            let _ = rustix::mount::unmount(mount_point.as_str(), UnmountFlags::DETACH);
        }
        thread::sleep(Duration::from_millis(2));
    }
    left
}

fn all(root: &Path) -> Vec<String> {
    let processes = processes(root).into_iter().map(|(pid, name)| format!("process {pid:?} {name}"));
    let mounts = mounts(root).into_iter().map(|mount_point| format!("mount {mount_point}"));
    processes.chain(mounts).collect()
}

/// What is mounted below, in the order in which it was.
fn mounts(root: &Path) -> Vec<String> {
    let root = root.to_string_lossy();
    // Another test may have mounted something whose name is no Unicode.
    let table = String::from_utf8_lossy(&fs::read("/proc/self/mountinfo").unwrap()).into_owned();
    let mount_points = table.lines().filter_map(|line| line.split(' ').nth(4));
    mount_points.filter(|mount_point| mount_point.starts_with(&*root)).map(str::to_owned).collect()
}

pub(super) fn processes(root: &Path) -> Vec<(Pid, String)> {
    let needle = root.as_os_str().as_bytes();
    let belongs = |process: &Path| {
        let read = |name| fs::read(process.join(name)).unwrap_or_default();
        let holds = |text: &[u8]| text.windows(needle.len()).any(|window| window == needle);
        holds(&read("environ"))
            || holds(&read("cmdline"))
            || fs::read_link(process.join("cwd")).is_ok_and(|folder| folder.starts_with(root))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = number.filter(|pid| *pid != rustix::process::getpid())
            && belongs(&entry.path())
        {
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&arguments).replace('\0', " ")));
        }
    }
    found
}
