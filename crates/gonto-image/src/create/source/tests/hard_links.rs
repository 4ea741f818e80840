//! Files with several names.

use super::*;

#[test]
fn names_of_a_file_share_the_number_of_the_first() {
    let source = Source::new();
    for path in ["b", "c/d", "e"] {
        source.file(path);
    }
    fs::hard_link(source.path("c/d"), source.path("a")).unwrap();
    fs::hard_link(source.path("c/d"), source.path("c/x")).unwrap();
    let tree = source.tree();
    let numbers: Vec<_> = tree.names.iter().map(|name| (name.folder, name.inode)).collect();
    assert_eq!(paths_on_volume(&tree), ["a", "b", "c", "e", "c/d", "c/x"]);
    assert_eq!(numbers, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (3, 1), (3, 1)]);
    assert_eq!(tree.inodes.iter().map(|inode| inode.names).collect::<Vec<_>>(), [1, 3, 1, 1, 1]);
    assert_eq!(tree.path(tree.inodes[1].name as usize), Path::new("a"));
}

#[test]
fn names_elsewhere_do_not_count() {
    let source = Source::new();
    source.file("in/a");
    fs::hard_link(source.path("in/a"), source.path("elsewhere")).unwrap();
    let tree = walk(&Folder::open(&source.path("in")).unwrap(), &ANYTHING).unwrap();
    assert_eq!(inode(&tree, "a").names, 1);
}

#[test]
fn a_file_with_too_many_names_becomes_several() {
    let source = Source::new();
    source.file("0000");
    // NTFS itself gives no file more.
    let Some(count) = (1..2500)
        .find(|number| fs::hard_link(source.path("0000"), source.path(&format!("{number:04}"))).is_err())
        .or(Some(2500))
    else {
        return;
    };
    let tree = source.tree();
    let expected: Vec<usize> = [1024, 1024, 452]
        .into_iter()
        .scan(count, |rest, most| {
            let names = most.min(*rest);
            *rest -= names;
            (names > 0).then_some(names)
        })
        .collect();
    let names: Vec<usize> = tree.inodes[1..].iter().map(|inode| inode.names.into()).collect();
    assert_eq!(names, expected);
    for (position, name) in tree.names.iter().enumerate().skip(1) {
        assert_eq!(name.inode as usize, 1 + (position - 1) / 1024);
    }
    let folder = source.open();
    let sizes = (1..tree.inodes.len()).map(|number| folder.open_file(&tree, number).unwrap().next_data(4));
    assert!(sizes.eq(expected.iter().map(|_| 4)));
}
