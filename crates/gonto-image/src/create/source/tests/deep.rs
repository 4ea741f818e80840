//! Paths that are longer than the system takes.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, open, openat};

use super::*;

#[test]
fn paths_may_be_longer_than_the_system_takes() {
    let source = Source::new();
    let names: Vec<String> = (0..220).map(|number| format!("{number:03}{}", "x".repeat(247))).collect();
    let mut folder: OwnedFd = open(source.0.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for name in &names {
        mkdirat(&folder, name.as_str(), Mode::RWXU).unwrap();
        folder = openat(&folder, name.as_str(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let file = openat(&folder, "file", flags, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::io::write(&file, b"deep").unwrap();
    drop((file, folder));

    let (folder, tree) = (source.open(), source.tree());
    assert_eq!(tree.names.len(), names.len() + 2);
    let last = tree.names.len() - 1;
    let path = names.iter().map(PathBuf::from).chain([PathBuf::from("file")]).collect::<PathBuf>();
    assert_eq!(tree.path(last), path);
    let mut buf = [0; 4];
    folder.open_file(&tree, last).unwrap().read_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"deep");
}

#[test]
fn a_folder_that_may_not_be_read_is_named() {
    let source = Source::new();
    source.file("a/locked/file");
    let locked = source.path("a/locked");
    let permit =
        |mode| rustix::fs::chmodat(CWD, &locked, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty());
    permit(0).unwrap();
    let walked = source.walk(&ANYTHING).map(|_| ());
    permit(0o700).unwrap();
    match walked {
        Ok(()) => println!("skipped: this user may read everything"),
        Err(CreateError::Unreadable { path, source }) => {
            assert_eq!(path, locked);
            assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
        }
        Err(error) => panic!("{error}"),
    }
}
