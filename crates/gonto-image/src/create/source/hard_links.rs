//! Names that have the same file.

use std::collections::HashMap;

use super::facts::Stamp;
use super::tree::{Kind, Tree};

/// NTFS gives no file more names. A file that has more becomes several with the same content.
pub(super) const MOST_NAMES: u16 = 1024;

/// Gives the names of a file the same inode, that of the first of them.
pub(super) fn merge_hard_links(tree: &mut Tree) {
    let Tree { names, inodes, .. } = tree;
    let mut shared = HashMap::new();
    let mut kept = 0;
    for position in 0..names.len() {
        let mut inode = inodes[position];
        // A folder has one name; what the system counts are the dots in its subfolders. A link has one too: where it leads, and
        // whether to a folder, depends on where it lies.
        let size = if let Kind::File { size } = inode.kind { Some(size) } else { None };
        let is_shared = inode.names > 1 && size.is_some();
        // On some file systems different files have the same number for a while.
        let Stamp { device, number, written, changed } = inode.stamp;
        let file = (device, number, written, changed, size);
        let known = if is_shared { shared.get(&file).copied() } else { None };
        let number = match known.filter(|number: &u32| inodes[*number as usize].names < MOST_NAMES) {
            Some(number) => {
                inodes[number as usize].names += 1;
                number
            }
            None => {
                inode.names = 1;
                inodes[kept as usize] = inode;
                if is_shared {
                    shared.insert(file, kept);
                }
                kept += 1;
                kept - 1
            }
        };
        names[position].inode = number;
        // A folder's own name comes before those in it, so it has its number already.
        names[position].folder = names[names[position].folder as usize].inode;
    }
    inodes.truncate(kept as usize);
}
