//! What cannot become an image says why.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use gonto_image::{CreateError, Event, create};

use crate::making::{Source, usual};
use crate::support::distinct;
use crate::support::ntfs3g::run;

fn output() -> File {
    tempfile::tempfile().unwrap()
}

/// Makes an image, and does something to the folder when its content begins to be written.
fn disturbed(source: &Source, disturb: impl Fn() + Sync) -> CreateError {
    let done = AtomicBool::new(false);
    let watch = |event| {
        if matches!(event, Event::Written { .. }) && !done.swap(true, Ordering::Relaxed) {
            disturb();
        }
        ControlFlow::Continue(())
    };
    create(source.path(), output(), &usual(), &watch).unwrap_err()
}

/// So much that the last file is not read ahead when the first one was written.
fn long() -> Source {
    let source = Source::new();
    for number in 0..80 {
        source.write(format!("{number:02}"), distinct(number, 1 << 20));
    }
    source
}

#[test]
fn what_changes_or_vanishes_while_it_is_read_is_named() {
    for disturb in [
        |last: &Path| fs::write(last, distinct(1, 1 << 20)).unwrap(),
        |last: &Path| File::options().append(true).open(last).unwrap().set_len((1 << 20) + 1).unwrap(),
        |last: &Path| File::options().write(true).open(last).unwrap().set_len(5).unwrap(),
        |last: &Path| fs::remove_file(last).unwrap(),
        |last: &Path| {
            fs::remove_file(last).unwrap();
            fs::create_dir(last).unwrap();
        },
        |last: &Path| {
            fs::remove_file(last).unwrap();
            std::os::unix::fs::symlink("00", last).unwrap();
        },
    ] {
        let source = long();
        let last = source.at("79");
        let error = disturbed(&source, || disturb(&last));
        let CreateError::Changed { path } = &error else { panic!("{error:?}") };
        assert_eq!(*path, last);
    }
}

#[test]
fn an_interrupt_ends_it_at_once() {
    let source = long();
    let watch = |event| match event {
        Event::Written { .. } => ControlFlow::Break(()),
        Event::Found { .. } => ControlFlow::Continue(()),
    };
    let error = create(source.path(), output(), &usual(), &watch).unwrap_err();
    assert!(matches!(error, CreateError::Interrupted), "{error:?}");
    let error = create(source.path(), output(), &usual(), &|_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, CreateError::Interrupted), "{error:?}");
}

#[test]
fn what_is_no_folder_is_refused() {
    let source = Source::new();
    source.write("file", "");
    let refused = |path: &Path| create(path, output(), &usual(), &|_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(refused(&source.at("missing")), CreateError::Missing { .. }));
    assert!(matches!(refused(&source.at("file")), CreateError::NotAFolder { .. }));
}

/// A file system of a few megabytes, unmounted when this goes.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    fn mount() -> Option<Self> {
        let small = Self { folder: tempfile::tempdir().unwrap() };
        let at = small.folder.path().to_str().unwrap();
        if run("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs", at]) {
            return Some(small);
        }
        eprintln!("skipped: only root can mount a small file system");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run("umount", &[self.folder.path().to_str().unwrap()]);
    }
}

#[test]
fn an_output_that_is_full_is_told() {
    let Some(small) = Small::mount() else { return };
    let source = long();
    let output = small.folder.path().join("image");
    let output = File::options().read(true).write(true).create_new(true).open(output).unwrap();
    let error = create(source.path(), output, &usual(), &|_| ControlFlow::Continue(())).unwrap_err();
    let CreateError::Write(cause) = &error else { panic!("{error:?}") };
    assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull);
}
