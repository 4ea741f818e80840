//! What changes between the walk and the reading.

use std::io::Write;
use std::thread::sleep;

use super::*;

/// Makes a file, walks, writes to it, and makes sure that this is noticed: when the file is opened, and when it was open.
#[track_caller]
fn is_noticed(change: impl Fn(&Path)) {
    let source = Source::new();
    source.file("folder/file");
    let (folder, tree) = (source.open(), source.tree());
    let number = tree.names[find(&tree, "folder/file")].inode as usize;
    assert!(folder.open_file(&tree, number).is_ok());
    let open_before = folder.open_file(&tree, number).unwrap();

    // File systems tell times in steps of a few milliseconds.
    sleep(Duration::from_millis(20));
    let path = source.path("folder/file");
    change(&path);
    match folder.open_file(&tree, number).map(|_| ()) {
        Err(CreateError::Changed { path: told }) => assert_eq!(told, path),
        other => panic!("{other:?}"),
    }
    assert!(matches!(open_before.still_the_same(), Err(CreateError::Changed { .. })));
}

#[test]
fn a_file_that_grows_is_noticed() {
    is_noticed(|path| File::options().append(true).open(path).unwrap().write_all(b"more").unwrap());
}

#[test]
fn other_content_of_the_same_size_is_noticed() {
    is_noticed(|path| fs::write(path, "FOLDER/FILE").unwrap());
}

#[test]
fn a_file_that_vanishes_is_noticed() {
    let source = Source::new();
    source.file("file");
    let (folder, tree) = (source.open(), source.tree());
    fs::remove_file(source.path("file")).unwrap();
    assert!(matches!(folder.open_file(&tree, 1), Err(CreateError::Changed { .. })));
}

#[test]
fn a_file_in_place_of_another_is_noticed() {
    let source = Source::new();
    source.file("file");
    let (folder, tree) = (source.open(), source.tree());
    let modified = fs::metadata(source.path("file")).unwrap().modified().unwrap();
    source.file("other");
    fs::write(source.path("other"), "file").unwrap();
    File::options().write(true).open(source.path("other")).unwrap().set_modified(modified).unwrap();
    fs::rename(source.path("other"), source.path("file")).unwrap();
    assert!(matches!(folder.open_file(&tree, 1), Err(CreateError::Changed { .. })));
}

#[cfg(target_os = "linux")]
#[test]
fn something_else_in_place_of_a_file_is_noticed_and_never_waited_for() {
    for other in ["folder", "fifo", "socket", "link"] {
        let source = Source::new();
        source.file("folder/file");
        let (folder, tree) = (source.open(), source.tree());
        let path = source.path("folder/file");
        fs::rename(&path, source.path("moved")).unwrap();
        match other {
            "folder" => fs::create_dir(&path).unwrap(),
            "fifo" => names::make_fifo(&path),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            _ => std::os::unix::fs::symlink("../moved", &path).unwrap(),
        }
        let opened = folder.open_file(&tree, 2).map(|_| ());
        assert!(matches!(opened, Err(CreateError::Changed { .. })), "{other}: {opened:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_link_in_place_of_a_folder_is_not_followed() {
    let source = Source::new();
    source.file("folder/file");
    let (folder, tree) = (source.open(), source.tree());
    fs::rename(source.path("folder"), source.path("moved")).unwrap();
    source.link("folder", "moved");
    assert!(matches!(folder.open_file(&tree, 2), Err(CreateError::Changed { .. })));
}

#[test]
fn content_is_read_at_any_place_and_a_short_read_is_a_change() {
    let source = Source::new();
    fs::write(source.path("file"), "0123456789").unwrap();
    let (folder, tree) = (source.open(), source.tree());
    let file = folder.open_file(&tree, 1).unwrap();
    let mut buf = [0; 4];
    file.read_at(&mut buf, 6).unwrap();
    assert_eq!(&buf, b"6789");
    assert!(file.still_the_same().is_ok());
    assert!(matches!(file.read_at(&mut buf, 7), Err(CreateError::Changed { .. })));
}

#[test]
fn holes_are_told_where_the_system_knows_them() {
    let source = Source::new();
    let (before, hole) = (64 * 1024, 4 << 20);
    let mut sparse = File::create(source.path("sparse")).unwrap();
    sparse.write_all(&vec![1; before]).unwrap();
    sparse.set_len(hole * 2).unwrap();
    drop(sparse);
    let (folder, tree) = (source.open(), source.tree());
    let file = folder.open_file(&tree, 1).unwrap();
    assert_eq!(file.next_data(0), 0);
    assert_eq!(file.next_data(100), 100);
    let in_hole = file.next_data(hole);
    assert!([hole, hole * 2].contains(&in_hole), "{in_hole}");
    assert_eq!(file.next_data(hole * 2), hole * 2);
}
