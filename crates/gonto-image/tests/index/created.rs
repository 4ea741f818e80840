//! Images made of folders.

use std::fs::File;
use std::time::{Duration, SystemTime};

#[cfg(unix)]
use gonto_image::{Kind, index::Index};
use gonto_image::{NewContainer, NewImage};

use crate::indexed::check;
use crate::making::{CONTAINERS, Source, usual};
use crate::support::distinct;

fn at(name: &str, source: &Source, time: SystemTime) {
    source.write(name, name);
    File::options().write(true).open(source.at(name)).unwrap().set_modified(time).unwrap();
}

/// A bit of everything.
fn source() -> Source {
    let source = Source::new();
    for size in [0, 1, 447, 448, 449, 511, 512, 513, 700, 4031, 4032, 4033, 4095, 4096, 4097, 1 << 20] {
        source.write(format!("sizes/{size}"), distinct(size, usize::try_from(size).unwrap()));
    }
    // Over the borders of blocks of a VHD.
    source.write("long", distinct(9, (9 << 20) + 77));
    let mut holes = vec![0; 12 << 20];
    holes[..100].fill(1);
    holes[5 << 20..(5 << 20) + 5000].copy_from_slice(&distinct(5, 5000));
    source.write("holes", &holes);
    holes.push(1);
    source.write("holes and an end", &holes);
    source.write("only a hole", vec![0; 3 << 20]);
    source.folder("empty");
    source.folder("a/b/c/d/e/f/g");
    for number in 0..3000 {
        source.write(format!("many/{number:x}-{}", "x".repeat(number % 40)), format!("{number}"));
    }
    // Around the dots, and as long as can be.
    for name in ["!", "-", ".-", ".a", "..a", "...a", "0", "~", "é", &"n".repeat(255), &"€".repeat(85)] {
        source.write(format!("names/{name}"), name);
        source.folder(format!("folders/{name}"));
    }
    let epoch = SystemTime::UNIX_EPOCH;
    at("times/before", &source, epoch - Duration::new(1_000_000_000, 123_456_700));
    at("times/just before", &source, epoch - Duration::from_nanos(100));
    at("times/epoch", &source, epoch);
    at("times/after", &source, epoch + Duration::new(1, 999_999_900));
    at("times/late", &source, epoch + Duration::from_secs(5_000_000_000));
    system::links_and_modes(&source);
    source
}

#[cfg(unix)]
mod system {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::Source;

    pub(super) fn links_and_modes(source: &Source) {
        for mode in [0o400, 0o444, 0o600, 0o640, 0o644, 0o700, 0o755, 0o777] {
            let name = format!("modes/{mode:o}");
            source.write(&name, &name);
            fs::set_permissions(source.path().join(name), Permissions::from_mode(mode)).unwrap();
        }
        source.folder("other");
        for number in 0..5 {
            fs::hard_link(source.path().join("long"), source.path().join(format!("other/link {number}")))
                .unwrap();
        }
        source.folder("links");
        symlink("../long", source.path().join("links/short")).unwrap();
        symlink("nowhere", source.path().join("links/dangling")).unwrap();
        // One byte more each time, so that one of them lies at every place of a block.
        for length in (1..600).step_by(7) {
            symlink("t".repeat(length % 200 + 1), source.path().join(format!("links/{length}"))).unwrap();
        }
        for parts in [4, 20, 40] {
            let target = vec!["p".repeat(90); parts].join("/");
            symlink(target, source.path().join(format!("links/long {parts}"))).unwrap();
        }
    }
}

#[cfg(not(unix))]
mod system {
    use super::Source;

    pub(super) fn links_and_modes(_source: &Source) {}
}

#[test]
fn the_index_of_an_image_says_what_its_tree_says() {
    let source = source();
    for container in CONTAINERS {
        let image = source.image(&NewImage { container, ..usual() });
        let indexed = check(image.bytes());
        assert_eq!(indexed.unreadable, []);
        assert_eq!(indexed.written.block_size, 4096);
        // A few chunks that are cut by a border, and what is small.
        assert!(indexed.written.copied < 300_000, "{:?}", indexed.written);
    }
}

#[test]
fn small_files_make_small_blocks() {
    let source = Source::new();
    for number in 0..2000 {
        source.write(format!("{}/{number}", number % 7), distinct(number as u64, number));
    }
    for container in CONTAINERS {
        let indexed = check(source.image(&NewImage { container, ..usual() }).bytes());
        assert_eq!(indexed.written.block_size, 512);
    }
}

/// Its names do not fit behind its inode, and it is no subfolder of another one.
#[test]
fn the_root_may_have_many_names() {
    let source = Source::new();
    for number in 0..1000 {
        source.write(format!("a name of some length, number {number}"), "");
    }
    check(source.image(&usual()).bytes());
}

#[cfg(unix)]
#[test]
fn a_link_lies_in_the_block_of_its_inode() {
    let source = Source::new();
    for length in 1..200 {
        std::os::unix::fs::symlink("t".repeat(length), source.path().join(format!("{length}"))).unwrap();
    }
    let indexed = check(source.image(&usual()).bytes());
    let index = Index::open(indexed.bytes).unwrap();
    let root = index.inode(index.root()).unwrap();
    for entry in index.entries(&root, 0).filter(|entry| entry.kind == Kind::Symlink) {
        let (start, size) = (entry.nid.0 * 32, index.inode(entry.nid).unwrap().size);
        let block = indexed.written.block_size;
        assert_eq!(start / block, (start + 64 + size - 1) / block, "the inode begins at {start}");
    }
}

#[test]
fn an_empty_folder_has_an_index() {
    for container in CONTAINERS {
        let indexed = check(Source::new().image(&NewImage { container, ..usual() }).bytes());
        assert!(indexed.bytes.len() <= 8192, "{}", indexed.bytes.len());
    }
}

#[test]
fn large_files_of_a_fixed_disk_make_large_blocks() {
    let source = Source::new();
    for number in 0..4 {
        source.write(format!("{number}"), distinct(number, 3 << 20));
    }
    let image = source.image(&NewImage { container: NewContainer::FixedVhd, ..usual() });
    let indexed = check(image.bytes());
    assert_eq!((indexed.written.block_size, indexed.written.copied), (4096, 0));
}
