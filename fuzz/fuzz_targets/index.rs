//! The bytes of an index. Invariants: whatever they are, it is refused or answers; every answer lies inside the bytes, all names of
//! a directory come to an end, and so does the search for a path; within 64 MiB.
#![no_main]

use gonto_fuzz::memory;
use gonto_image::index::{At, Index, Nid};
use libfuzzer_sys::fuzz_target;

/// A sound index needs no more; a directory may be in itself.
const MOST_INODES: usize = 300;

fuzz_target!(|input: &[u8]| memory::at_most(64 << 20, || ask(input)));

fn ask(input: &[u8]) {
    let Ok(index) = Index::open(input) else { return };
    assert!(index.stamp().len() <= input.len());
    let (mut waiting, mut may_follow) = (vec![index.root(), Nid(u64::MAX)], MOST_INODES);
    while let Some(nid) = waiting.pop() {
        let Some(inode) = index.inode(nid) else { continue };
        assert!(inode.mode <= 0o777);
        assert!(index.target(&inode).is_none_or(|target| target.len() as u64 == inode.size));
        for position in [0, 1, 4095, inode.size, u64::MAX] {
            let mut at = position;
            for entry in index.entries(&inode, position) {
                assert!(entry.next > at, "the entry behind {at} is at {}", entry.next);
                at = entry.next;
                let _ = index.lookup(&inode, entry.name);
                if may_follow > 0 {
                    may_follow -= 1;
                    waiting.push(entry.nid);
                }
            }
        }
        for offset in [0, 1, 511, inode.size / 2, inode.size.saturating_sub(1), inode.size, u64::MAX] {
            for wanted in [1, 1 << 20, u64::MAX] {
                let (length, at) = index.content_at(&inode, offset, wanted);
                assert!(length <= inode.size.saturating_sub(offset), "more than there is at {offset}");
                if let At::Here(bytes) = at {
                    assert_eq!(bytes.len() as u64, length);
                }
            }
        }
    }
    let _ = index.path(Nid(u64::MAX));
}
