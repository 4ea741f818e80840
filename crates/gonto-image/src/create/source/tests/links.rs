//! Symbolic links.

use super::*;

const KEPT: Wanted<'static> = Wanted { keep_links: true, ..ANYTHING };
const PORTABLE: Wanted<'static> = Wanted { portable: true, ..ANYTHING };

fn windows(path: &str, to_folder: bool) -> Target {
    Target::Windows { path: path.encode_utf16().collect(), to_folder }
}

fn linux(target: &str) -> Target {
    Target::Linux(target.as_bytes().into())
}

#[track_caller]
fn target<'t>(tree: &'t Tree, path: &str) -> &'t Target {
    match inode(tree, path).kind {
        Kind::Link(link) => tree.target(link),
        other => panic!("{other:?}"),
    }
}

/// A folder with something to link to.
fn source() -> Source {
    let source = Source::new();
    source.file("file");
    source.file("dir/file");
    source.folder("dir/sub");
    source
}

#[test]
fn links_inside_are_those_of_windows_and_know_folders() {
    let source = source();
    for (path, link, expected) in [
        ("to_file", "file", windows("file", false)),
        ("to_dir", "dir", windows("dir", true)),
        ("down", "dir/file", windows(r"dir\file", false)),
        ("dir/up", "../file", windows(r"..\file", false)),
        ("dir/root", "..", windows("..", true)),
        ("dir/sub/here", ".", windows(".", true)),
        ("slashes", "./dir//sub/", windows(r".\dir\sub", true)),
        ("dangling", "none/at/all", windows(r"none\at\all", false)),
        ("through_file", "file/x", windows(r"file\x", false)),
        ("through_link", "to_dir/sub", windows(r"to_dir\sub", true)),
        ("dir/sub/to_link", "../../to_dir", windows(r"..\..\to_dir", true)),
        ("behind_link", "dir/sub/to_link/file", windows(r"dir\sub\to_link\file", false)),
        ("itself", "itself", windows("itself", false)),
        ("ping", "pong", windows("pong", false)),
        ("pong", "ping/x", windows(r"ping\x", false)),
        ("other_case", "DIR", windows("DIR", false)),
    ] {
        source.link(path, link);
        let tree = source.tree();
        assert_eq!(*target(&tree, path), expected, "{path} -> {link}");
    }
}

#[test]
fn links_that_leave_are_refused_or_kept_as_they_are() {
    let source = source();
    // The first is a way up that only the text knows, the second one that only the links know.
    source.folder("deep/deeper");
    source.link("dir/elsewhere", "../deep/deeper");
    source.link("flat", "dir");
    let leaving = [
        ("absolute", "/usr/bin"),
        ("dir/out", "../../x"),
        ("dir/sub/out", "../../.."),
        ("dir/by_text", "elsewhere/../../../file"),
        ("dir/sub/by_link", "../../flat/../../x"),
        ("up", "dir/../.."),
    ];
    for (path, target) in leaving {
        source.link(path, target);
    }
    let mut expected =
        leaving.map(|(path, target)| (PathBuf::from(path), Problem::LinkLeaves(target.into()))).to_vec();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(source.offenders(&ANYTHING), expected);
    assert_eq!(source.offenders(&PORTABLE), expected, "no other name would help");
    let tree = source.walk(&KEPT).unwrap();
    for (path, text) in leaving {
        assert_eq!(*target(&tree, path), linux(text));
    }
    assert_eq!(*target(&tree, "flat"), windows("dir", true), "others are not concerned");
}

#[test]
fn a_link_to_one_that_leaves_stays_one_of_windows() {
    let source = source();
    source.link("out", "/etc");
    source.link("dir/to_out", "../out/passwd");
    assert_eq!(source.offenders(&ANYTHING).len(), 1);
    assert_eq!(*target(&source.walk(&KEPT).unwrap(), "dir/to_out"), windows(r"..\out\passwd", false));
}

#[test]
fn a_long_chain_of_links_is_followed_as_far_as_linux_does() {
    let source = source();
    source.link("00", "dir");
    for number in 1..60 {
        source.link(&format!("{number:02}"), &format!("{:02}", number - 1));
    }
    let tree = source.tree();
    assert_eq!(*target(&tree, "40"), windows("39", true));
    assert_eq!(*target(&tree, "41"), windows("40", false));
}

#[test]
fn links_that_windows_cannot_write_are_refused_or_kept() {
    let source = source();
    for (path, text) in [("colon", "a:b"), ("backslash", r"dir\file"), ("star", "dir/*")] {
        source.link(path, text);
        let offender = (PathBuf::from(path), Problem::LinkTarget(text.into()));
        for wanted in [&ANYTHING, &PORTABLE] {
            assert_eq!(source.offenders(wanted), std::slice::from_ref(&offender));
        }
        assert_eq!(*target(&source.walk(&KEPT).unwrap(), path), linux(text));
        fs::remove_file(source.path(path)).unwrap();
    }
    source.link("long", &vec!["x"; 2040].join("/"));
    source.link("longest", &"x/".repeat(2047));
    assert_eq!(source.offenders(&ANYTHING).len(), 1, "what does not fit into a reparse point");
}

#[test]
fn links_follow_what_was_renamed() {
    let source = Source::new();
    for path in ["aux/a:b", "aux/A:B", "aux/plain", "dir/Twin", "dir/twin", "x%3Ay", "x:y/z"] {
        source.file(path);
    }
    for (path, link, expected) in [
        ("to_device", "aux/plain", windows(r"au%78\plain", false)),
        ("to_colon", "./aux/a:b", windows(r".\au%78\a%3Ab~2", false)),
        ("dir/to_other", "../aux/A:B", windows(r"..\au%78\A%3AB", false)),
        ("dir/to_twin", "twin", windows("twin~2", false)),
        ("dir/to_first", "Twin", windows("Twin", false)),
        ("to_taken", "x:y", windows("x%3Ay~2", true)),
        ("to_taker", "x%3Ay", windows("x%3Ay", false)),
        ("through", "to_taken/z", windows(r"to_taken\z", false)),
        ("com1", "nothing", windows("nothing", false)),
        ("to_link", "com1", windows("com%31", false)),
    ] {
        source.link(path, link);
        let tree = source.walk(&PORTABLE).unwrap();
        let position = (0..tree.names.len()).find(|at| tree.path(*at) == Path::new(path)).unwrap();
        assert_eq!(*target(&tree, &path_on_volume(&tree, position)), expected, "{path} -> {link}");
    }
}

/// Each leads where it leads from its own folder.
#[test]
fn a_link_with_several_names_becomes_several_links() {
    let source = source();
    source.link("b", "sub");
    source.link("c", "file");
    fs::hard_link(source.path("b"), source.path("dir/a")).unwrap();
    let tree = source.tree();
    assert_eq!((inode(&tree, "b").names, inode(&tree, "dir/a").names), (1, 1));
    assert_eq!(*target(&tree, "b"), windows("sub", false));
    assert_eq!(*target(&tree, "dir/a"), windows("sub", true));
    assert_eq!(*target(&tree, "c"), windows("file", false));
}

#[test]
fn links_on_which_windows_would_go_elsewhere_are_refused() {
    let source = source();
    source.link("to_sub", "dir/sub");
    source.link("sound", "to_sub/./x");
    source.link("other", "to_sub/./../file");
    let problem = Problem::LinkTarget("to_sub/./../file".into());
    assert_eq!(source.offenders(&ANYTHING), [("other".into(), problem)]);
}
