//! The indexes of all directories, read in the order of the disk.

use std::collections::HashSet;

use super::index::Listing;
use super::inode::Inode;
use super::mft::Mft;
use super::scan::Inodes;
use crate::error::Mismatch;
use crate::parallel::map_in_order;

/// What each directory shows; for files there is nothing.
pub(crate) struct Listings {
    by_inode: Vec<Option<Box<Listing>>>,
    /// Directories that were not read, because their index lies in clusters that another one was read from.
    sharing: HashSet<usize>,
    /// How many clusters may still be read for these.
    budget: u64,
}

impl Listings {
    /// Reads the indexes of all directories, whether a path leads to them or not: that is known only when all are read,
    /// and going back and forth for each level of the tree would cost a cold disk more.
    pub(crate) fn read(mft: &Mft, inodes: &Inodes) -> Self {
        let (read, sharing) = in_disk_order(inodes, |inode| Box::new(read_one(mft, inode)));
        let mut by_inode: Vec<_> = inodes.all().iter().map(|_| None).collect();
        for (index, listing) in read {
            by_inode[index] = Some(listing);
        }
        Self { by_inode, sharing, budget: mft.volume.size() / mft.geometry.cluster_size }
    }

    /// The listing of a directory that a path leads to; it is handed out once.
    pub(crate) fn take(&mut self, mft: &Mft, inodes: &Inodes, index: usize) -> Listing {
        if let Some(listing) = self.by_inode[index].take() {
            return *listing;
        }
        let inode = &inodes.all()[index];
        if self.sharing.remove(&index) {
            // The other one may be a leftover that no path leads to. The budget keeps a volume whose directories all
            // lie on each other from being read for ever.
            let claim: u64 = clusters(inode).map(|(start, end)| end - start).sum();
            let Some(rest) = self.budget.checked_sub(claim) else {
                let found = "clusters that many directories use";
                let mismatch = Mismatch::new(0, "an index of its own", found);
                return Listing::unread(mismatch.in_index_block(inode.record, 0));
            };
            self.budget = rest;
        }
        read_one(mft, inode)
    }
}

/// Reads something of all directories, in parallel and in the order of the disk. What comes back are places in
/// [`Inodes::all`], and the places of those that were left out, because their index lies in clusters that another one was
/// read from.
pub(crate) fn in_disk_order<T: Send>(
    inodes: &Inodes,
    read: impl Fn(&Inode) -> T + Sync,
) -> (impl Iterator<Item = (usize, T)>, HashSet<usize>) {
    let order = disk_order(inodes);
    let sharing = sharing(inodes, &order);
    let batches: Vec<&[usize]> = order.chunks(64).collect();
    let done = map_in_order(batches.len(), |batch| {
        let alone = batches[batch].iter().filter(|index| !sharing.contains(index));
        alone.map(|index| (*index, read(&inodes.all()[*index]))).collect::<Vec<_>>()
    });
    (done.into_iter().flatten(), sharing)
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

/// Directories whose index lies in clusters that the index of another one claims as well, but for the first of them. To
/// read them with the others would make the work unbounded.
fn sharing(inodes: &Inodes, order: &[usize]) -> HashSet<usize> {
    let mut claims: Vec<(u64, u64, usize)> = order
        .iter()
        .flat_map(|&index| clusters(&inodes.all()[index]).map(move |(start, end)| (start, end, index)))
        .collect();
    claims.sort_unstable();
    let mut claimed = 0;
    let mut sharing = HashSet::new();
    for (start, end, index) in claims {
        if start < claimed {
            sharing.insert(index);
        }
        claimed = claimed.max(end);
    }
    sharing
}

fn read_one(mft: &Mft, inode: &Inode) -> Listing {
    match &inode.index {
        Some(parts) => Listing::read(mft.volume.as_ref(), &mft.geometry, inode.record, parts),
        None => Listing::default(),
    }
}
