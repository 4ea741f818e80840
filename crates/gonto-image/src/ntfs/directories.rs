//! The indexes of all directories, read in the order of the disk.

use super::index::Listing;
use super::inode::Inode;
use super::mft::Mft;
use super::scan::Inodes;
use crate::error::{Error, Mismatch};
use crate::parallel::map_in_order;

/// What each directory shows; for files there is nothing.
pub(crate) struct Listings {
    by_inode: Vec<Option<Box<Result<Listing, Error>>>>,
}

impl Listings {
    /// Reads the indexes of all directories, whether a path leads to them or not: that is known only when all are read,
    /// and going back and forth for each level of the tree would cost a cold disk more.
    pub(crate) fn read(mft: &Mft, inodes: &Inodes) -> Self {
        let order = disk_order(inodes);
        let shared = sharing(inodes, &order);
        let mut by_inode: Vec<_> = inodes.all().iter().map(|_| None).collect();
        let batches: Vec<&[usize]> = order.chunks(64).collect();
        let read = map_in_order(batches.len(), |batch| {
            batches[batch]
                .iter()
                .map(|&index| Box::new(read_one(mft, &inodes.all()[index], shared.get(&index).copied())))
                .collect::<Vec<_>>()
        });
        for (index, listing) in order.iter().zip(read.into_iter().flatten()) {
            by_inode[*index] = Some(listing);
        }
        Self { by_inode }
    }

    /// The listing of a directory, which is handed out once; `None` for a file.
    pub(crate) fn take(&mut self, inode: usize) -> Option<Result<Listing, Error>> {
        self.by_inode.get_mut(inode)?.take().map(|listing| *listing)
    }
}

/// The directories, sorted by the place of their first index block; those without blocks come first.
fn disk_order(inodes: &Inodes) -> Vec<usize> {
    let mut order: Vec<(u64, usize)> = inodes
        .all()
        .iter()
        .enumerate()
        .filter(|(_, inode)| inode.index.is_some())
        .map(|(index, inode)| (clusters(inode).next().map_or(0, |(start, _)| start), index))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, index)| index).collect()
}

/// The clusters that hold the index blocks of a directory, as first one and the one behind the last.
fn clusters(inode: &Inode) -> impl Iterator<Item = (u64, u64)> + '_ {
    let allocation = inode.index.as_ref().and_then(|index| index.allocation.as_ref());
    allocation.into_iter().flat_map(|allocation| {
        allocation.runs.extents().filter_map(|extent| extent.lcn.map(|lcn| (lcn.0, lcn.0 + extent.length)))
    })
}

/// Directories whose index lies in clusters that belong to the index of another one, with the first such cluster. They
/// are not read, so that the work is bounded by the size of the volume.
fn sharing(inodes: &Inodes, order: &[usize]) -> std::collections::HashMap<usize, u64> {
    let mut claims: Vec<(u64, u64, usize)> = order
        .iter()
        .flat_map(|&index| clusters(&inodes.all()[index]).map(move |(start, end)| (start, end, index)))
        .collect();
    claims.sort_unstable();
    let mut claimed = 0;
    let mut sharing = std::collections::HashMap::new();
    for (start, end, index) in claims {
        if start < claimed {
            sharing.entry(index).or_insert(start);
        }
        claimed = claimed.max(end);
    }
    sharing
}

fn read_one(mft: &Mft, inode: &Inode, shared: Option<u64>) -> Result<Listing, Error> {
    if let Some(cluster) = shared {
        let found = format!("cluster {cluster}, which another directory uses");
        return Err(Mismatch::new(0, "index blocks of its own", found).in_index_block(inode.record, 0));
    }
    match &inode.index {
        Some(parts) => Listing::read(mft.volume.as_ref(), &mft.geometry, inode.record, parts),
        None => Ok(Listing::default()),
    }
}
