//! Sessions with real processes and real mounts. The image is the one of the example.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here is a failing test")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gonto_mount::{
    Backend, Command, Error, Image, Interrupt, Layer, MountPoint, Mounts, Notice, Notices, Options, Reach,
    Session, Visibility,
};

/// The image of the example: a dynamic VHD with a compiler of a few files.
fn image() -> PathBuf {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pebble");
    example.join("repository/pebble/pebble_v1.0_multi.vhd").canonicalize().unwrap()
}

/// State and cache in a folder that goes with it.
struct Place {
    folder: tempfile::TempDir,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), notices: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self) -> Options {
        self.options_with(Interrupt::new().unwrap())
    }

    fn options_with(&self, interrupt: Interrupt) -> Options {
        let notices = self.notices.clone();
        Options {
            state_dir: self.path("state"),
            cache_dir: self.path("cache"),
            backend: Backend::Auto,
            layer: Layer::Cache,
            notices: Notices::new(move |notice| notices.lock().unwrap().push(notice)),
            interrupt,
        }
    }

    fn session(&self) -> Session {
        Session::new(self.options()).unwrap()
    }

    /// Nothing is left in the register and of layers. Processes that other tests are just cloning have copies of our locks
    /// for a moment; what looks used then, the next one removes.
    fn assert_tidy(&self) {
        wait_until("tidying up", || {
            Mounts::open(self.options()).unwrap();
            self.left("cache/.gonto/layers").is_empty() && self.left("state/register").is_empty()
        });
    }

    /// What is left in a folder, without the locks and the folders that always stay.
    fn left(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return vec![] };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "lock").collect()
    }
}

fn shell(line: &str, folder: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Command::shell(line, vec![(OsString::from("PATH"), path)], folder)
}

fn run(session: &Session, line: &str, folder: &Path) -> i32 {
    let status = session.run(&shell(line, folder)).unwrap();
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Waits for something that another process does; a test that waits for long has failed.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The process number that this process sees, of one that wrote its own `/proc/self/stat` inside the namespace, found by
/// an argument that no other process has.
fn pids_with(argument: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let with = processes.filter(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    });
    with.map(|process| process.file_name().into_string().unwrap()).filter(|pid| is_alive(pid)).collect()
}

#[test]
fn a_command_ends_with_its_own_status() {
    let place = Place::new();
    let session = place.session();
    assert_eq!(run(&session, "exit 0", place.folder.path()), 0);
    assert_eq!(run(&session, "exit 7", place.folder.path()), 7);
    assert_eq!(run(&session, "kill -9 $$", place.folder.path()), 137);
    assert_eq!(run(&session, "no-such-program-anywhere 2>/dev/null", place.folder.path()), 127);
}

#[test]
fn a_command_gets_exactly_its_environment_folder_and_user() {
    let place = Place::new();
    let session = place.session();
    let folder = place.path("a folder");
    fs::create_dir(&folder).unwrap();
    assert_eq!(run(&session, "env > env; pwd > pwd; id -u > uid; id -g > gid", &folder), 0);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let names: Vec<_> = read("env").lines().map(|line| line.split('=').next().unwrap().to_owned()).collect();
    assert!(
        names.iter().all(|name| ["PATH", "PWD", "_", "OLDPWD", "SHLVL"].contains(&name.as_str())),
        "{names:?}"
    );
    assert_eq!(read("pwd").trim(), folder.canonicalize().unwrap().to_str().unwrap());
    let made = fs::metadata(folder.join("uid")).unwrap();
    assert_eq!(
        (read("uid").trim(), read("gid").trim()),
        (&*made.uid().to_string(), &*made.gid().to_string())
    );
}

#[test]
fn what_cannot_be_executed_is_an_error() {
    let place = Place::new();
    let session = place.session();
    // One string of execve(2) has at most 128 KiB.
    let huge = vec![(OsString::from("HUGE"), OsString::from("x".repeat(200_000)))];
    let command = Command::shell("true", huge, place.folder.path());
    let error = session.run(&command).unwrap_err();
    assert!(matches!(&error, Error::Execute { source, .. } if source.raw_os_error() == Some(7)), "{error:?}");
    let gone = shell("true", &place.path("not there"));
    assert!(matches!(session.run(&gone), Err(Error::Execute { .. })));
    // The session goes on.
    assert_eq!(run(&session, "exit 3", place.folder.path()), 3);
}

#[test]
fn what_a_command_leaves_running_ends_with_the_session() {
    let place = Place::new();
    let session = place.session();
    let mark = format!("987654.{}", std::process::id());
    let line = format!("sleep {mark} & setsid sleep {mark} & (setsid sleep {mark} &) ; true");
    assert_eq!(run(&session, &line, place.folder.path()), 0);
    wait_until("the start of three sleeps", || pids_with(&mark).len() == 3);
    // A second session's first process must not keep the first session alive.
    let other = place.session();
    drop(session);
    assert_eq!(pids_with(&mark), Vec::<String>::new());
    assert_eq!(run(&other, "exit 4", place.folder.path()), 4);
}

#[test]
fn an_interrupt_stops_the_command() {
    let place = Place::new();
    let started = place.path("started");
    let stop = |line: &str, raise: &dyn Fn(&Interrupt)| {
        let _ = fs::remove_file(&started);
        let interrupt = Interrupt::new().unwrap();
        let session = Session::new(place.options_with(interrupt.clone())).unwrap();
        let command = shell(line, place.folder.path());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| session.run(&command).unwrap());
            wait_until("the start of the command", || started.exists());
            raise(&interrupt);
            waiting.join().unwrap()
        })
    };
    // SIGTERM reaches the shell and what it waits for.
    let status = stop("touch started; sleep 1000", &|interrupt| interrupt.raise(15, Reach::Gonto));
    assert_eq!(status.signal(), Some(15));
    // A command may clean up.
    let line = "trap 'exit 9' TERM; touch started; while :; do sleep 0.01; done";
    assert_eq!(stop(line, &|interrupt| interrupt.raise(15, Reach::Gonto)).code(), Some(9));
    // Who does not listen is ended by the second signal.
    let line = "trap '' TERM; touch started; while :; do sleep 0.01; done";
    let twice = |interrupt: &Interrupt| {
        interrupt.raise(15, Reach::Gonto);
        interrupt.raise(15, Reach::Gonto);
    };
    assert_eq!(stop(line, &twice).signal(), Some(9));
    // A shell cannot trap what was ignored when it started, as by a shell that started this test in the background.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    if u64::from_str_radix(ignored, 16).unwrap() & 1 << (2 - 1) != 0 {
        eprintln!("skipped: SIGINT is ignored here");
        return;
    }
    // What the terminal has told the command is not told twice.
    let line = "trap 'exit 9' INT; touch started; until [ -e raised ]; do sleep 0.01; done; kill -INT $$; sleep 1000";
    let typed = |interrupt: &Interrupt| {
        interrupt.raise(2, Reach::Terminal);
        fs::write(place.path("raised"), "").unwrap();
    };
    assert_eq!(stop(line, &typed).code(), Some(9));
}

#[test]
fn an_image_appears_takes_writes_and_vanishes() {
    let place = Place::new();
    let before = fs::read(image()).unwrap();
    let mut session = place.session();
    let folder = session.mount(&Image { file: image(), mount_point: MountPoint::Automatic }).unwrap();
    assert_eq!(folder, place.path("state/mnt/pebble_v1.0_multi"));
    let line = "set -e; test -x bin/pebble;
                echo new > bin/new; echo more >> bin/pebble; rm -r library; mv compiler/elf.awk compiler/moved
                test \"$(cat bin/new)\" = new; test ! -e library; test -e compiler/moved; rm -r bin; mkdir bin";
    assert_eq!(run(&session, &format!("cd {} && {{ {line}; }}", folder.display()), place.folder.path()), 0);
    // Nothing of that is visible here.
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    let errors = session.unmount_all();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(run(&session, &format!("ls -A {} | wc -l > count", folder.display()), place.folder.path()), 0);
    assert_eq!(fs::read_to_string(place.path("count")).unwrap().trim(), "0");
    drop(session);
    assert!(fs::read(image()).unwrap() == before, "the image has changed");
    place.assert_tidy();
    assert!(!folder.exists());
}

#[test]
fn everybody_sees_the_images_of_a_session_when_that_is_wanted() {
    let place = Place::new();
    let mut session = Session::with_visibility(place.options(), Visibility::Everybody).unwrap();
    let image = Image { file: image(), mount_point: MountPoint::Automatic };
    let folder = session.mount(&image).unwrap();
    let compiler = fs::read(folder.join("bin/pebble")).unwrap();
    assert!(!compiler.is_empty());
    if folder.is_symlink() {
        println!("skipped: an ordinary user needs fusermount3 to mount for everybody");
        return;
    }

    assert_eq!(run(&session, "test -x bin/pebble && echo new > new && echo x >> bin/pebble", &folder), 0);
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    assert_eq!(folder.join("new").exists(), root, "root has one mount for all, others have a bare one");
    let now = fs::read(folder.join("bin/pebble")).unwrap();
    assert_eq!(now.len(), compiler.len() + if root { 2 } else { 0 });
    if !root {
        fs::write(folder.join("written"), "").unwrap_err();
    }

    // Another run shares what everybody sees, and goes first.
    let mut second = Session::with_visibility(place.options(), Visibility::Everybody).unwrap();
    assert_eq!(second.mount(&image).unwrap(), folder);
    drop(second);
    assert!(folder.join("bin/pebble").exists());

    // What is left running works in the image, and keeps nothing from going.
    assert_eq!(run(&session, "sleep 1000 & cat < bin/pebble > /dev/null", &folder), 0);
    assert!(session.unmount_all().is_empty());
    assert!(!folder.join("bin").exists());
    drop(session);
    place.assert_tidy();
}

/// An ordinary user cannot have a link where a mount of the commands is.
#[test]
fn everybody_sees_unpacked_files_where_nothing_else_works() {
    let place = Place::new();
    let options = Options { backend: Backend::Extract, ..place.options() };
    let mut session = Session::with_visibility(options, Visibility::Everybody).unwrap();
    let folder = session.mount(&Image { file: image(), mount_point: MountPoint::Automatic }).unwrap();
    assert!(folder.join("bin/pebble").exists());
    assert_eq!(run(&session, "test -x bin/pebble", &folder), 0);
    assert!(session.unmount_all().is_empty());
    assert!(!folder.join("bin").exists());
    drop(session);
    place.assert_tidy();
}

#[test]
fn a_session_hides_its_images_from_everybody_by_default() {
    let place = Place::new();
    let mut session = place.session();
    let folder = session.mount(&Image { file: image(), mount_point: MountPoint::Automatic }).unwrap();
    let shared = place.notices.lock().unwrap().iter().any(|notice| matches!(notice, Notice::Shared { .. }));
    assert_eq!(folder.join("bin").exists(), shared, "seen only where there are no namespaces");
}

#[test]
fn two_images_cannot_lie_at_one_mount_point() {
    let place = Place::new();
    let mut session = place.session();
    let drive = Image { file: image(), mount_point: MountPoint::Drive('U') };
    assert_eq!(session.mount(&drive).unwrap(), place.path("state/mnt/U"));
    assert!(matches!(session.mount(&drive), Err(Error::MountPointTwice { .. })));
}

#[test]
fn a_mount_point_is_made_and_stays_while_anybody_uses_it() {
    let place = Place::new();
    let point = place.path("made/for/this");
    let at = Image { file: image(), mount_point: MountPoint::Path(point.clone()) };
    let (mut first, mut second) = (place.session(), place.session());
    first.mount(&at).unwrap();
    second.mount(&at).unwrap();
    drop(first);
    assert!(point.is_dir());
    let test = format!("test -x {}/bin/pebble", point.display());
    assert_eq!(run(&second, &test, place.folder.path()), 0);
    drop(second);
    place.assert_tidy();
    assert!(!place.path("made").exists());
}

#[test]
fn a_mount_point_that_cannot_be_used_is_told() {
    let place = Place::new();
    let mut session = place.session();
    let file = place.path("file");
    fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink("/nowhere", place.path("link")).unwrap();
    for bad in [file.clone(), file.join("below"), place.path("link")] {
        let image = Image { file: image(), mount_point: MountPoint::Path(bad.clone()) };
        let error = session.mount(&image).unwrap_err();
        assert!(matches!(error, Error::MountPointNotAFolder { .. }), "{}: {error:?}", bad.display());
    }
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        eprintln!("skipped: root may write into every folder");
        return;
    }
    let closed = place.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let image = Image { file: image(), mount_point: MountPoint::Path(closed.join("x")) };
    assert!(matches!(session.mount(&image), Err(Error::MountPointMissing { .. })));
}

#[test]
fn a_damaged_image_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let mut session = place.session();
    let damaged = place.path("damaged.vhd");
    let bytes = fs::read(image()).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    for file in [damaged, place.path("not there")] {
        let error = session.mount(&Image { file, mount_point: MountPoint::Automatic }).unwrap_err();
        assert!(error.is_about_the_image(), "{error:?}");
    }
    drop(session);
    place.assert_tidy();
    assert_eq!(place.left("state/mnt"), Vec::<String>::new());
}

#[test]
fn a_mount_for_everybody_is_shared_until_the_last_target_lets_go() {
    let place = Place::new();
    let mounts = Mounts::open(place.options()).unwrap();
    let image = Image { file: image(), mount_point: MountPoint::Automatic };
    let (one, two) = (Path::new("/project/one"), Path::new("/project/two"));
    let shown = match mounts.mount(&image, "build", one) {
        Ok(shown) => shown,
        Err(error) => panic!("{error:?}"),
    };
    assert!(!shown.already);
    assert!(mounts.mount(&image, "build", one).unwrap().already);
    assert!(!mounts.mount(&image, "build", two).unwrap().already);
    assert!(shown.folder.join("bin/pebble").is_file());

    let (folders, errors) = mounts.unmount("build", one).unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(folders, std::slice::from_ref(&shown.folder));
    assert!(shown.folder.join("bin/pebble").is_file());

    let (folders, errors) = mounts.unmount("build", two).unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(folders, std::slice::from_ref(&shown.folder));
    place.assert_tidy();
    assert!(!shown.folder.exists());
    assert_eq!(mounts.unmount("build", two).unwrap().0, Vec::<PathBuf>::new());
}

/// Mounting by hand, as root; None where that is not possible.
fn by_hand(arguments: &[&str]) -> Option<()> {
    let done = std::process::Command::new(arguments[0]).args(&arguments[1..]).output().ok()?;
    done.status.success().then_some(())
}

#[test]
fn what_others_have_mounted_at_the_same_place_stays() {
    let place = Place::new();
    let point = place.path("point");
    fs::create_dir(&point).unwrap();
    let path = point.to_str().unwrap();
    if by_hand(&["mount", "-t", "tmpfs", "somebody-elses", path]).is_none() {
        eprintln!("skipped: only root can mount something to be disturbed");
        return;
    }
    fs::write(point.join("theirs"), "").unwrap();
    let mounts = Mounts::open(place.options()).unwrap();
    let image = Image { file: image(), mount_point: MountPoint::Path(point.clone()) };
    let mounted = mounts.mount(&image, "build", &point);
    let unmounted = mounts.unmount("build", &point);
    let stays = point.join("theirs").exists();
    by_hand(&["umount", path]).unwrap();
    assert!(mounted.is_ok() && unmounted.unwrap().1.is_empty());
    assert!(stays, "what somebody else had mounted has gone");
}

#[test]
fn a_mount_that_was_taken_away_by_other_means_is_made_again() {
    let place = Place::new();
    let mounts = Mounts::open(place.options()).unwrap();
    let image = Image { file: image(), mount_point: MountPoint::Automatic };
    let shown = mounts.mount(&image, "build", place.folder.path()).unwrap();
    let folder = shown.folder.to_str().unwrap();
    if by_hand(&["umount", folder]).or_else(|| by_hand(&["fusermount3", "-u", folder])).is_none() {
        eprintln!("skipped: the image is not mounted but unpacked here");
    } else {
        let again = mounts.mount(&image, "build", place.folder.path()).unwrap();
        assert!(!again.already);
    }
    assert!(shown.folder.join("bin/pebble").is_file());
    assert!(mounts.unmount("build", place.folder.path()).unwrap().1.is_empty());
    place.assert_tidy();
}

#[test]
fn a_folder_that_a_run_still_uses_does_not_keep_a_mount_alive() {
    let place = Place::new();
    let mounts = Mounts::open(place.options()).unwrap();
    let image = Image { file: image(), mount_point: MountPoint::Automatic };
    mounts.mount(&image, "build", place.folder.path()).unwrap();
    let mut session = place.session();
    session.mount(&image).unwrap();
    let (_, errors) = mounts.unmount("build", place.folder.path()).unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    let shown = mounts.mount(&image, "build", place.folder.path()).unwrap();
    assert!(!shown.already);
    assert!(shown.folder.join("bin/pebble").is_file());
    mounts.unmount("build", place.folder.path()).unwrap();
    drop(session);
    place.assert_tidy();
    assert!(!shown.folder.exists());
}

#[test]
fn two_names_of_a_folder_are_one_mount_point() {
    let place = Place::new();
    fs::create_dir(place.path("real")).unwrap();
    std::os::unix::fs::symlink("real", place.path("link")).unwrap();
    let at = |path: &str| Image { file: image(), mount_point: MountPoint::Path(place.path(path)) };
    let (mut first, mut second) = (place.session(), place.session());
    let folder = first.mount(&at("link/point")).unwrap();
    assert_eq!(second.mount(&at("real/point")).unwrap(), folder);
    drop(first);
    assert_eq!(run(&second, &format!("test -x {}/bin/pebble", folder.display()), place.folder.path()), 0);
    drop(second);
    place.assert_tidy();
    assert!(!folder.exists());
}

#[test]
fn mount_points_inside_each_other_come_outer_first() {
    let place = Place::new();
    let at = |path: &str| Image { file: image(), mount_point: MountPoint::Path(place.path(path)) };
    let mut session = place.session();
    session.mount(&at("outer")).unwrap();
    let inner = session.mount(&at("outer/new/inner")).unwrap();
    let both = format!("test -x {}/bin/pebble && test -x outer/bin/pebble", inner.display());
    assert_eq!(run(&session, &both, place.folder.path()), 0);
    drop(session);
    place.assert_tidy();
    assert!(!place.path("outer").exists());
    let mut session = place.session();
    session.mount(&at("outer/inner")).unwrap();
    assert!(matches!(session.mount(&at("outer")), Err(Error::MountPointHides { .. })));
}

#[test]
fn paths_need_not_be_unicode() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let folder = place.folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9, a:b\\c"));
    fs::create_dir(&folder).unwrap();
    let options =
        Options { state_dir: folder.join("state"), cache_dir: folder.join("cache"), ..place.options() };
    let mut session = Session::new(options).unwrap();
    let shown = session.mount(&Image { file: image(), mount_point: MountPoint::Automatic }).unwrap();
    let status = session.run(&shell("test -x bin/pebble && echo x > new && test -e new", &shown));
    // The command's folder is looked up inside, where the image is.
    assert_eq!(status.unwrap().code(), Some(0));
    assert!(place.notices.lock().unwrap().is_empty());
}
