//! Indexes that lie: wrong answers or none, but no panic, no endless loop and no memory without a bound.

use std::time::{Duration, Instant};

use gonto_image::index::{At, Index, Nid};
use gonto_image::{Kind, NewContainer, NewImage};

use crate::indexed::check;
use crate::making::{Source, usual};
use crate::support::{Numbers, distinct};

/// A small index with everything in it: names in blocks and behind inodes, content in one chunk, in many and in the index.
fn small() -> Vec<u8> {
    let source = Source::new();
    source.write("tiny", "tiny");
    source.write("long", distinct(1, (2 << 20) + 3000));
    source.write("hole", [vec![1; 70_000], vec![0; 300_000], vec![2; 100]].concat());
    for number in 0..60 {
        source.write(format!("folder/many/a longer name, so that blocks get full {number}"), "x");
    }
    source.folder("folder/empty");
    #[cfg(unix)]
    for length in [5, 600] {
        let path = source.path().join(format!("link {length}"));
        std::os::unix::fs::symlink("t/".repeat(length / 2), path).unwrap();
    }
    let image = source.image(&NewImage { container: NewContainer::DynamicVhd, ..usual() });
    check(image.bytes()).bytes
}

/// Asks everything that can be asked, and follows what is answered.
fn use_all(bytes: &[u8], more: &[Nid]) -> bool {
    let Ok(index) = Index::open(bytes) else { return false };
    let _ = (index.len(), index.is_empty(), index.content(), index.stamp(), index.devices().count());
    let mut may_follow = 1000;
    let mut waiting = more.to_vec();
    waiting.extend([index.root(), Nid(0), Nid(1), Nid(u64::MAX), Nid(u64::MAX / 32)]);
    while let Some(nid) = waiting.pop() {
        let Some(inode) = index.inode(nid) else { continue };
        assert!(inode.mode <= 0o777 && inode.nid == nid);
        let _ = (index.target(&inode), index.lookup(&inode, b"many"), index.lookup(&inode, b""));
        for position in [0, 1, 511, 512, inode.size, u64::MAX] {
            for entry in index.entries(&inode, position) {
                assert!(entry.next > position);
                let _ = index.lookup(&inode, entry.name);
                if may_follow > 0 && position == 0 {
                    may_follow -= 1;
                    waiting.push(entry.nid);
                }
            }
        }
        for offset in [0, 1, 4096, inode.size / 2, inode.size.saturating_sub(1), inode.size, u64::MAX] {
            for wanted in [1, 70_000, u64::MAX] {
                let (length, at) = index.content_at(&inode, offset, wanted);
                assert!(length <= inode.size.saturating_sub(offset));
                assert_eq!(length == 0, offset >= inode.size || inode.kind != Kind::File);
                match at {
                    At::Here(bytes) => assert_eq!(bytes.len() as u64, length),
                    At::Device { device, .. } => assert!(u64::from(device) < u64::from(u16::MAX)),
                    At::Zero | At::Unreadable => {}
                }
            }
        }
    }
    let _ = (index.path(Nid(u64::MAX)), index.path(index.root()));
    true
}

#[test]
fn no_edit_makes_a_panic_or_a_hang() {
    let base = small();
    let index = Index::open(base.as_slice()).unwrap();
    let nids: Vec<Nid> =
        (0..base.len() as u64 / 32).map(Nid).filter(|nid| index.inode(*nid).is_some()).collect();
    assert!(use_all(&base, &nids));
    let mut numbers = Numbers(0x696e_6465_7821);
    let places: Vec<usize> = (0..base.len()).filter(|at| base[*at] != 0).collect();
    let extreme = [0u64, 1, u64::MAX, i64::MAX as u64, 1 << 31, 0xffff_ffff, 0xfff, 512];
    let (start, mut opened, mut rounds) = (Instant::now(), 0, 0);
    while rounds < 2000 && start.elapsed() < Duration::from_secs(20) {
        let mut bytes = base.clone();
        for _ in 0..=numbers.below(4) {
            let at = places[numbers.below(places.len())];
            let edit = match numbers.below(4) {
                0 => vec![u8::try_from(numbers.below(256)).unwrap()],
                1 => extreme[numbers.below(extreme.len())].to_le_bytes()[..1 << numbers.below(4)].to_vec(),
                2 => nids[numbers.below(nids.len())].0.to_le_bytes().to_vec(),
                _ => numbers.next().to_le_bytes()[..1 + numbers.below(8)].to_vec(),
            };
            let end = bytes.len().min(at + edit.len());
            bytes[at..end].copy_from_slice(&edit[..end - at]);
        }
        opened += usize::from(use_all(&bytes, &nids));
        rounds += 1;
    }
    assert!(rounds > 100 && opened > rounds / 2, "{opened} of {rounds} were opened");
}

#[test]
fn what_is_cut_short_or_no_index_is_refused() {
    let base = small();
    for length in (0..base.len()).step_by(97).chain([base.len() - 1]) {
        assert!(Index::open(&base[..length]).is_err(), "{length} bytes");
    }
    assert!(Index::open([base.clone(), vec![0]].concat()).is_err());
    assert!(Index::open(distinct(1, base.len())).is_err());
    // The first kilobyte says what it is, and the rest is anything.
    let mixed = [&base[..1024 + 128], &distinct(2, base.len() - 1024 - 128)].concat();
    use_all(&mixed, &[]);
}

#[test]
fn directories_that_hold_each_other_are_no_endless_path() {
    let mut bytes = small();
    // There are as many inodes as can be said.
    bytes[1024 + 16..1024 + 24].fill(0xff);
    let index = Index::open(bytes.as_slice()).unwrap();
    let root = index.inode(index.root()).unwrap();
    let (nid, folder) = (index.root().0, index.lookup(&root, b"folder").unwrap().0);
    // The names of the folder lead to the root; each dirent begins with its number.
    let places: Vec<usize> = (0..bytes.len() - 12)
        .filter(|at| bytes[*at..*at + 8] == folder.to_le_bytes() && bytes[*at + 10] == 2)
        .collect();
    assert!(places.len() >= 2, "{places:?}");
    for at in places {
        bytes[at..at + 8].copy_from_slice(&nid.to_le_bytes());
    }
    let index = Index::open(bytes.as_slice()).unwrap();
    assert_eq!(index.path(Nid(folder)), None);
    assert_eq!(index.path(Nid(nid)).as_deref(), Some(""));
}
