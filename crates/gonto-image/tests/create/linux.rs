//! What only Unix has: names that Windows cannot have, symbolic links, permissions, owners, times before 1970; and hard links.

use std::fs::{self, File, Permissions};
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use gonto_image::{CreateError, Kind, NewImage, Owner, Problem, create};

use crate::making::{CONTAINERS, Source, usual};
use crate::support::{attribute, content, disk, distinct, find, findings, record_of};

#[test]
fn links_lead_where_they_led() {
    let source = Source::new();
    source.write("folder/file", "content");
    source.write("other/file", "content");
    for (link, target) in [
        ("to file", "folder/file"),
        ("to folder", "folder"),
        ("to a folder with a slash", "folder/"),
        ("dangling", "nothing/here"),
        ("to itself", "to itself"),
        ("to a link", "to folder"),
        ("here", "."),
        ("folder/up", "../other/file"),
        ("folder/up and down", "../folder/up"),
        ("folder/../folder/x", "./../folder//file"),
        ("folder/root", ".."),
        ("ünï", "日本語/😀"),
    ] {
        symlink(target, source.at(link)).unwrap();
    }
    for container in CONTAINERS {
        let image = source.image(&NewImage { container, ..usual() });
        assert_eq!(findings(image.bytes()), Vec::<String>::new());
        let tree = image.tree();
        for (link, expected) in [
            ("to file", "folder/file"),
            ("dangling", "nothing/here"),
            ("to itself", "to itself"),
            ("folder/up and down", "../folder/up"),
            ("folder/root", ".."),
            ("ünï", "日本語/😀"),
        ] {
            assert_eq!(tree.link_target(find(&tree, link)), expected.as_bytes());
        }
        assert_eq!(tree.windows_target(find(&tree, "folder/up")), Some(&br"..\other\file"[..]));
    }
    for link in ["to a folder with a slash", "folder/x"] {
        fs::remove_file(source.at(link)).unwrap();
    }
    source.round_trip(&usual());
}

/// Targets around the longest that lies in a record, which some readers do not look beyond; then they go to clusters.
#[test]
fn long_targets_are_kept_and_lie_in_the_record_while_they_fit() {
    let source = Source::new();
    let target = |length: usize| "x/".repeat((length - 1) / 2) + &"y".repeat(2 - length % 2);
    for length in (1..40).chain(150..200).chain([255, 256, 1000, 4000]) {
        symlink(target(length), source.at(format!("link {length}"))).unwrap();
        symlink(target(length), source.at(format!("{}{length}", "l".repeat(251)))).unwrap();
    }
    let image = source.round_trip(&usual());
    let disk = disk(image.bytes());
    let mut bytes = vec![0; usize::try_from(disk.size()).unwrap()];
    disk.read_at(&mut bytes, 0).unwrap();
    for (length, in_record) in [(150, true), (256, false)] {
        let record = record_of(&bytes, &format!("link {length}"));
        let point = attribute(&bytes, record, 0xc0).unwrap();
        assert_eq!(bytes[point + 8] == 0, in_record, "target of {length} letters");
    }
}

#[test]
fn links_that_lead_out_are_refused_or_kept_for_linux() {
    let source = Source::new();
    for (link, target) in [("absolute", "/usr/bin"), ("folder/up", "../../etc"), ("odd", "a:b")] {
        symlink(target, source.at(link)).unwrap();
    }
    let Err(CreateError::Offenders(offenders)) = source.try_image(&usual()) else { panic!("not refused") };
    let problems: Vec<&Problem> = offenders.iter().map(|offender| &offender.problem).collect();
    let leaves = |target: &str| Problem::LinkLeaves(target.into());
    assert_eq!(problems, [&leaves("/usr/bin"), &leaves("../../etc"), &Problem::LinkTarget("a:b".into())]);
    source.round_trip(&NewImage { keep_links: true, ..usual() });
}

#[test]
fn permissions_are_kept() {
    let source = Source::new();
    for mode in [0o400, 0o444, 0o500, 0o600, 0o644, 0o664, 0o700, 0o755, 0o777] {
        source.write(format!("{mode:o}"), "content");
        fs::set_permissions(source.at(format!("{mode:o}")), Permissions::from_mode(mode)).unwrap();
        // A folder that cannot be entered could not be read either.
        let folder = format!("folder {mode:o}");
        source.folder(&folder);
        fs::set_permissions(source.path().join(folder), Permissions::from_mode(mode | 0o500)).unwrap();
    }
    for root in [0o700, 0o755, 0o750] {
        fs::set_permissions(source.path(), Permissions::from_mode(root)).unwrap();
        source.round_trip(&usual());
    }
}

#[test]
fn owners_are_written_when_wanted() {
    let source = Source::new();
    source.write("file", "content");
    source.write("folder/file", distinct(1, 700));
    if chown(source.at("file"), Some(1234), Some(70_000)).is_err() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let tree = source.image(&NewImage { owners: true, ..usual() }).tree();
    assert_eq!(tree.owner(find(&tree, "file")), Some(Owner { uid: 1234, gid: 70_000 }));
    assert_eq!(tree.owner(find(&tree, "folder/file")), Some(Owner { uid: 0, gid: 0 }));
    let tree = source.round_trip(&usual()).tree();
    assert_eq!(tree.owner(find(&tree, "file")), None);
}

#[test]
fn times_are_kept_to_100_ns_also_before_1970() {
    let source = Source::new();
    let epoch = SystemTime::UNIX_EPOCH;
    let far = Duration::from_secs(2_000_000_000);
    for (name, time) in [
        ("epoch", epoch),
        ("a little later", epoch + Duration::from_nanos(100)),
        ("less than can be kept", epoch + Duration::from_nanos(199)),
        ("a little earlier", epoch - Duration::from_nanos(1)),
        ("earlier", epoch - far - Duration::from_nanos(123_456_789)),
        ("later", epoch + far + Duration::from_nanos(999_999_999)),
        ("much later", epoch + 4 * far),
    ] {
        source.write(name, name);
        File::options().write(true).open(source.at(name)).unwrap().set_modified(time).unwrap();
    }
    // File systems of the host clamp as well; what they tell is what has to be found.
    source.round_trip(&usual());
}

/// A thousand names of one file do not fit into its record; its content may be there or in clusters.
#[test]
fn hard_links_are_one_file() {
    for content in [0, 300, 700, 200_000] {
        for count in [2, 3, 4, 5, 6, 7, 8, 30, 1000] {
            let source = Source::new();
            source.write("first", distinct(1, content));
            source.folder("folder");
            for number in 1..count {
                let name =
                    if number % 2 == 0 { format!("folder/{number}") } else { format!("name {number}") };
                fs::hard_link(source.at("first"), source.at(name)).unwrap();
            }
            fs::set_permissions(source.at("first"), Permissions::from_mode(0o640)).unwrap();
            let image = source.round_trip(&usual());
            assert_eq!((image.created.files, image.created.content), (1, content as u64));
            let tree = image.tree();
            assert_eq!(find(&tree, "first"), find(&tree, "name 1"));
        }
    }
}

/// Linux lets a link have several names; where each leads depends on where it lies.
#[test]
fn the_names_of_a_link_become_links_of_their_own() {
    let source = Source::new();
    for path in ["folder/inside", "a/folder", "a/b/file"] {
        source.write(path, path);
    }
    symlink("../folder", source.at("a/b/one")).unwrap();
    fs::hard_link(source.at("a/b/one"), source.at("a/two")).unwrap();
    let image = source.image(&usual());
    assert_eq!(findings(image.bytes()), Vec::<String>::new());
    let tree = image.tree();
    for (path, target) in [("a/b/one", "../folder"), ("a/two", "../folder")] {
        let node = find(&tree, path);
        assert_eq!((tree.node(node).kind, tree.node(node).links), (Kind::Symlink, 1));
        assert_eq!(tree.link_target(node), target.as_bytes(), "{path}");
    }
    assert_eq!(image.created.links, 2);
}

/// Windows takes `link\..` away before it looks where the link leads, and an empty name for a mistake.
#[test]
fn targets_mean_the_same_to_windows() {
    let source = Source::new();
    source.write("x/y/file", "");
    source.write("b", "of the root");
    source.write("x/b", "of x");
    symlink("x/y", source.at("l")).unwrap();
    symlink("l/../b", source.at("k")).unwrap();
    let Err(CreateError::Offenders(offenders)) = source.try_image(&usual()) else { panic!("not refused") };
    assert_eq!(offenders.len(), 1);
    assert_eq!(offenders[0].problem, Problem::LinkTarget("l/../b".into()));
    fs::remove_file(source.at("k")).unwrap();
    symlink("x//y/", source.at("slashes")).unwrap();
    let tree = source.image(&usual()).tree();
    assert_eq!(tree.link_target(find(&tree, "slashes")), b"x/y");
}

/// An image without what such files hold would be wrong in silence.
#[test]
fn files_that_only_seem_to_be_empty_are_no_files_for_an_image() {
    let image = tempfile::tempfile().unwrap();
    let wanted = NewImage { excluded: &|path, _| path != Path::new("uuid"), ..usual() };
    let made = create(Path::new("/proc/sys/kernel/random"), image, &wanted, &|_| ControlFlow::Continue(()));
    let Err(CreateError::Unreadable { path, source }) = made else { panic!("{made:?}") };
    assert_eq!(path, Path::new("/proc/sys/kernel/random/uuid"));
    assert_eq!(source.to_string(), "its file system says that it is empty, and it is not");
}

/// Every offender is told at once, and `portable` makes all of them readable.
#[test]
fn what_windows_cannot_have_is_refused_or_renamed() {
    let source = Source::new();
    for name in ["a:b", "aux.txt", "end.", "README.md", "Readme.md", "$MFT"] {
        source.write(name, name);
    }
    let Err(CreateError::Offenders(offenders)) = source.try_image(&usual()) else { panic!("not refused") };
    let told: Vec<(&str, &Problem)> =
        offenders.iter().map(|offender| (offender.path.to_str().unwrap(), &offender.problem)).collect();
    let expected = [
        ("$MFT", &Problem::NameOfNtfs),
        ("Readme.md", &Problem::SameName("README.md".into())),
        ("a:b", &Problem::Character(':')),
        ("aux.txt", &Problem::ReservedName),
        ("end.", &Problem::TrailingDotOrSpace),
    ];
    assert_eq!(told, expected);

    let image = source.image(&NewImage { portable: true, ..usual() });
    assert_eq!(findings(image.bytes()), Vec::<String>::new());
    assert_eq!(image.created.renamed.len(), 5);
    let tree = image.tree();
    for (path, name) in &image.created.renamed {
        let file = find(&tree, name);
        assert_eq!(content(&tree, file).unwrap(), path.to_str().unwrap().as_bytes());
    }
}
