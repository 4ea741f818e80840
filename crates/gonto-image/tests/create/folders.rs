//! Indexes around every threshold: in the record, one block, several, two levels, more blocks than a bitmap in a record tells.

use std::fs;

use gonto_image::NewImage;

use crate::making::{CONTAINERS, Source, usual};
use crate::support::distinct;

#[test]
fn folders_of_every_size_hold_what_they_should() {
    let source = Source::new();
    // Names of this length take 96 bytes, so that 7 of them fill a record and 41 a block.
    for count in (0..12).chain(38..46).chain([83, 84, 85, 300]) {
        source.folder(format!("{count}"));
        for number in 0..count {
            source.write(format!("{count}/{number:04}"), "");
        }
    }
    source.round_trip(&usual());
}

#[test]
fn an_empty_folder_makes_an_image_in_every_container() {
    for container in CONTAINERS {
        let image = Source::new().round_trip(&NewImage { container, ..usual() });
        assert_eq!((image.created.files, image.created.folders, image.created.content), (0, 0, 0));
    }
}

/// Enough names for two levels, and so many blocks that the bitmap of the index lies in clusters: in the root, which is written
/// last, and below it. Wine takes many minutes to make so many files.
#[cfg(not(windows))]
#[test]
fn a_hundred_thousand_names_in_one_folder_are_found() {
    for (folder, count) in [("", 100_000), ("folder/", 20_000)] {
        let source = Source::new();
        source.folder(folder);
        let root = source.path().join(folder);
        for number in 0..count {
            fs::File::create(root.join(format!("a name of some length, {number}"))).unwrap();
        }
        let image = source.image(&usual());
        assert_eq!(crate::support::findings(image.bytes()), Vec::<String>::new());
        let tree = image.tree();
        let dir = if folder.is_empty() { tree.root() } else { crate::support::find(&tree, "folder") };
        assert_eq!(tree.entries(dir).len(), count);
        for number in (0..count).step_by(997) {
            crate::support::find(&tree, &format!("{folder}a name of some length, {number}"));
        }
    }
}

/// Its name, its index and what Linux knows of it do not fit into one record.
#[test]
fn a_folder_may_need_several_records() {
    let source = Source::new();
    for length in [1, 100, 180, 220, 240, 255] {
        let name = "d".repeat(length);
        for count in [0, 1, 2, 50, 600] {
            source.folder(format!("{count}/{name}"));
            for number in 0..count {
                source.write(format!("{count}/{name}/{number}"), "");
            }
            restrict(&source.path().join(format!("{count}/{name}")));
        }
    }
    source.round_trip(&usual());
}

/// Gives a folder permissions that are kept in extended attributes.
#[cfg(unix)]
fn restrict(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
}

#[cfg(not(unix))]
fn restrict(_: &std::path::Path) {}

#[test]
fn folders_lie_in_folders_two_hundred_deep() {
    let source = Source::new();
    let mut path = String::new();
    for level in 0..200 {
        path += &format!("{level}/");
    }
    source.write(format!("{path}bottom"), distinct(1, 5000));
    source.round_trip(&usual());
}

#[test]
fn what_is_excluded_is_not_there() {
    let source = Source::new();
    for path in ["kept", "folder/kept", "folder/left out", "left out/anything"] {
        source.write(path, path);
    }
    let image = source.image(&NewImage {
        excluded: &|path, is_folder| {
            assert_eq!(is_folder, source.path().join(path).is_dir());
            path.ends_with("left out")
        },
        ..usual()
    });
    let paths: Vec<String> = crate::support::paths(&image.tree()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["folder", "folder/kept", "kept"]);
    fs::remove_dir_all(source.path().join("left out")).unwrap();
    fs::remove_file(source.path().join("folder/left out")).unwrap();
    assert_eq!(image.created.files, 2);
}
