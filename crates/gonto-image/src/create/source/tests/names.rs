//! Names that Windows cannot have.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;

use proptest::collection::{btree_set, vec};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::super::naming;
use super::*;

const PORTABLE: Wanted<'static> = Wanted { portable: true, ..ANYTHING };

pub(super) fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
}

/// The name on the volume of each name in the source.
fn renamed(names: &[&str]) -> Vec<String> {
    let source = Source::new();
    for name in names {
        source.file(name);
    }
    let tree = source.walk(&PORTABLE).unwrap();
    let of = |name: &&str| {
        let position =
            (1..tree.names.len()).find(|position| tree.path(*position) == Path::new(name)).unwrap();
        String::from_utf16(tree.name(position)).unwrap()
    };
    names.iter().map(of).collect()
}

#[test]
fn every_offender_is_named_with_what_is_wrong() {
    let source = Source::new();
    for path in [
        "a:b",
        "aux.txt",
        "dir/end.",
        "dir/end ",
        "dir/x*",
        "dir/Readme",
        "dir/README",
        "$mft",
        "dir/$MFT",
        "fine",
    ] {
        source.file(path);
    }
    fs::write(source.0.path().join(OsStr::from_bytes(b"latin\xe4")), "").unwrap();
    make_fifo(&source.path("fifo"));
    drop(UnixListener::bind(source.path("socket")).unwrap());
    let expected = [
        (PathBuf::from("$mft"), Problem::NameOfNtfs),
        ("a:b".into(), Problem::Character(':')),
        ("aux.txt".into(), Problem::ReservedName),
        ("dir/Readme".into(), Problem::SameName("dir/README".into())),
        ("dir/end ".into(), Problem::TrailingDotOrSpace),
        ("dir/end.".into(), Problem::TrailingDotOrSpace),
        ("dir/x*".into(), Problem::Character('*')),
        ("fifo".into(), Problem::Fifo),
        (OsStr::from_bytes(b"latin\xe4").into(), Problem::NotUnicode),
        ("socket".into(), Problem::Socket),
    ];
    assert_eq!(source.offenders(&ANYTHING), expected);

    // What is no file cannot be renamed away.
    let expected = [("fifo".into(), Problem::Fifo), ("socket".into(), Problem::Socket)];
    assert_eq!(source.offenders(&PORTABLE), expected);
    let no_odd = |path: &Path, _: bool| path.starts_with("fifo") || path.starts_with("socket");
    let tree = source.walk(&Wanted { excluded: &no_odd, ..PORTABLE }).unwrap();
    let renamed = [
        ("$mft", "%24mft"),
        ("a:b", "a%3Ab"),
        ("aux.txt", "au%78.txt"),
        ("latin\u{fffd}", "latin%E4"),
        ("dir/end ", "end%20"),
        ("dir/end.", "end%2E"),
        ("dir/Readme", "Readme~2"),
        ("dir/x*", "x%2A"),
    ];
    let told = tree.renamed.iter().map(|(path, name)| (path.to_string_lossy().into_owned(), name.clone()));
    assert!(told.eq(renamed.map(|(path, name)| (path.to_owned(), name.to_owned()))));
}

#[test]
fn files_with_changed_names_are_read_as_others() {
    let source = Source::new();
    for path in ["con/a:b", "CON/a:b", "con/A:B"] {
        source.file(path);
    }
    let (folder, tree) = (source.open(), source.walk(&PORTABLE).unwrap());
    assert_eq!(paths_on_volume(&tree), ["CO%4E", "co%6E", "CO%4E/a%3Ab", "co%6E/A%3AB", "co%6E/a%3Ab~2"]);
    for (position, path) in [(3, "CON/a:b"), (4, "con/A:B"), (5, "con/a:b")] {
        let mut content = vec![0; path.len()];
        folder.open_file(&tree, position).unwrap().read_at(&mut content, 0).unwrap();
        assert_eq!(content, path.as_bytes());
        assert_eq!(tree.path(position), Path::new(path));
    }
}

#[test]
fn devices_are_reserved_in_every_form() {
    let is_reserved = |name: &str| {
        let units: Vec<u16> = name.encode_utf16().collect();
        naming::problems(&units, false).contains(&Problem::ReservedName)
    };
    for name in [
        "CON",
        "prn",
        "Aux",
        "nul",
        "com0",
        "COM9",
        "lpt1",
        "LPT²",
        "com¹.txt",
        "aux.tar.gz",
        "aux .txt",
        "conin$",
        "CONOUT$.x",
    ] {
        assert!(is_reserved(name), "{name}");
    }
    for name in
        ["CONS", "co", "com", "com10", "comx", "lpt⁴", "x.aux", ".aux", " aux", "conin", "$", "", "   "]
    {
        assert!(!is_reserved(name), "{name}");
    }
}

#[test]
fn no_changed_name_takes_that_of_another() {
    assert_eq!(renamed(&["a:b", "a%3Ab"]), ["a%3Ab~2", "a%3Ab"]);
    assert_eq!(renamed(&["x.c", "X.c", "X.C", "x~2.c"]), ["x~4.c", "X~3.c", "X.C", "x~2.c"]);
    assert_eq!(renamed(&["a?", "A?", "a%3f"]), ["a%3F~3", "A%3F~2", "a%3f"]);
    assert_eq!(renamed(&[".Dot", ".dot", "no/x"])[..2], [".Dot", ".dot~2"]);
}

#[test]
fn a_name_that_becomes_too_long_is_cut_and_kept_apart() {
    let (a, b) = (format!("{}a.tar.gz", ":".repeat(200)), format!("{}b.tar.gz", ":".repeat(200)));
    let names = renamed(&[&a, &b]);
    assert_ne!(names[0], names[1]);
    for name in names {
        assert_eq!(name.len(), 255);
        assert!(name.starts_with("%3A%3A") && name.ends_with(".gz"), "{name}");
    }
    let long: Vec<u16> = "x".encode_utf16().chain("\u{1f600}".repeat(126).encode_utf16()).collect();
    let cut = naming::with_suffix(&long, "~22");
    assert!(String::from_utf16(&cut).is_ok(), "a character is cut in two");
}

#[test]
fn lone_surrogates_are_names() {
    let source = Source::new();
    let name = OsStr::from_bytes(b"\xed\xa0\x80x");
    fs::write(source.0.path().join(name), "content").unwrap();
    let tree = source.tree();
    assert_eq!(tree.name(1), [0xd800, u16::from(b'x')]);
    assert_eq!(tree.path(1), Path::new(name));
    assert!(source.open().open_file(&tree, 1).is_ok());
}

#[test]
fn modes_have_their_type_and_owners_come_when_wanted() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let source = Source::new();
    source.file("run");
    source.link("link", "run");
    fs::set_permissions(source.path("run"), fs::Permissions::from_mode(0o4751)).unwrap();
    let tree = source.walk(&Wanted { owners: true, ..ANYTHING }).unwrap();
    let metadata = fs::metadata(source.path("run")).unwrap();
    let run = inode(&tree, "run");
    assert_eq!((run.mode, run.user, run.group), (0o10_4751, metadata.uid(), metadata.gid()));
    assert_eq!(inode(&tree, "link").mode, 0o12_0777);
    assert_eq!(tree.inodes[0].mode & 0o17_0000, 0o4_0000);
    assert_eq!((inode(&source.tree(), "run").user, inode(&source.tree(), "run").group), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_changed_name_is_one_that_windows_can_have(
        name in vec(prop_oneof![Just(b':'), Just(b'.'), Just(b' '), b'a'..=b'z', 1_u8..=255], 1..120),
        device in prop_oneof![Just(""), Just("aux"), Just("com\u{b9}"), Just("$Mft"), Just("lpt1 ."), Just("CONIN$")],
    ) {
        let name: Vec<u8> = device.bytes().chain(name).filter(|byte| *byte != b'/').collect();
        let safe = naming::safe(OsStr::from_bytes(&name), true);
        prop_assert_eq!(naming::problems(&safe, true), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn any_folder_is_made_portable(names in btree_set(vec(prop_oneof![
        4 => prop::sample::select(b"aAbB:?~2%3.F ".to_vec()), 1 => 1_u8..=255,
    ], 1..6), 1..30)) {
        let source = listed_as_made();
        let names: Vec<_> = names.iter().filter(|name| !name.contains(&b'/') && !name.iter().all(|byte| *byte == b'.')).collect();
        for name in &names {
            fs::write(source.0.path().join(OsStr::from_bytes(name)), name).unwrap();
        }
        let tree = source.walk(&PORTABLE).unwrap();
        prop_assert_eq!(tree.names.len(), names.len() + 1);
        let order = |a: &usize, b: &usize| {
            crate::ntfs::upcase::UPCASE.order_ignoring_case(tree.name(*a), tree.name(*b)).is_lt()
        };
        prop_assert!((1..tree.names.len()).is_sorted_by(order), "{:?}", paths_on_volume(&tree));
        let folder = source.open();
        for position in 1..tree.names.len() {
            prop_assert_eq!(naming::problems(tree.name(position), true), []);
            let path = tree.path(position);
            let mut content = vec![0; path.as_os_str().len()];
            folder.open_file(&tree, position).unwrap().read_at(&mut content, 0).unwrap();
            prop_assert_eq!(content.as_slice(), path.as_os_str().as_bytes());
        }
    }
}
