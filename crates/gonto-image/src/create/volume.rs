//! The volume that is being written: clusters are taken one behind the other, and nothing is written twice.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;

use super::disk::DiskWriter;
use super::plan::{ALIGNMENT, InClusters, Plan};
use crate::ntfs::Lcn;
use crate::ntfs::runs::Extent;
use crate::ntfs::write::RECORD_SIZE;
use crate::ntfs::write::attribute::Stream;
use crate::ntfs::write::boot::BOOT_SIZE;
use crate::ntfs::write::record::Record;
use crate::partition::gpt::PARTITION_START;

/// A volume, from its first cluster on.
pub(super) struct Volume {
    disk: DiskWriter,
    pub(super) cluster_size: u64,
    /// The first cluster that nothing has taken.
    next: u64,
    /// Clusters before it that nothing has taken either.
    pub(super) gaps: Vec<Range<u64>>,
    /// Of everything that was written, in the order in which it was.
    digest: blake3::Hasher,
    mft: Mft,
    /// Files whose content lies in clusters otherwise than its size tells: those with holes.
    sparse: HashMap<u32, u64>,
}

/// Where records go: first those that were planned, then extension records.
struct Mft {
    start: Lcn,
    planned: u64,
    extensions: Vec<Record>,
    /// Records that follow each other and were not written yet.
    waiting: Vec<u8>,
    first_waiting: u64,
}

/// So many bytes of records are written at once.
const RECORDS_AT_ONCE: usize = 1 << 20;

impl Volume {
    pub(super) fn new(disk: DiskWriter, plan: &Plan<'_>) -> Self {
        let mft = Mft {
            start: Lcn(0),
            planned: plan.records,
            extensions: Vec::new(),
            waiting: Vec::new(),
            first_waiting: 0,
        };
        let cluster_size = plan.cluster_size;
        let (digest, sparse) = (blake3::Hasher::new(), HashMap::new());
        Self { disk, cluster_size, next: 0, gaps: Vec::new(), digest, mft, sparse }
    }

    /// Takes the next clusters for so many bytes.
    pub(super) fn take(&mut self, bytes: u64) -> Lcn {
        let lcn = self.next;
        self.next += bytes.div_ceil(self.cluster_size);
        Lcn(lcn)
    }

    /// Takes them where something big begins.
    pub(super) fn align(&mut self) {
        let aligned = self.next.next_multiple_of((ALIGNMENT / self.cluster_size).max(1));
        if aligned > self.next {
            self.gaps.push(self.next..aligned);
        }
        self.next = aligned;
    }

    /// How many clusters were taken, or lie between those that were.
    pub(super) fn clusters(&self) -> u64 {
        self.next
    }

    /// A place in the disk.
    pub(super) fn offset(&self, lcn: Lcn) -> u64 {
        PARTITION_START + lcn.0 * self.cluster_size
    }

    /// Writes content at the start of clusters. Whoever calls this has told its digest.
    pub(super) fn write(&mut self, bytes: &[u8], lcn: Lcn) -> io::Result<()> {
        self.disk.write_at(bytes, self.offset(lcn))
    }

    /// Lets the system move content of a file, if it can do that without reading it.
    pub(super) fn move_from(&mut self, file: &File, at: u64, length: u64, lcn: Lcn) -> io::Result<bool> {
        self.disk.copy_from(file, at, length, self.offset(lcn))
    }

    pub(super) fn can_move_from(&mut self, file: &File) -> bool {
        self.disk.can_copy_from(file)
    }

    /// Takes something into the digest of everything.
    pub(super) fn tell(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// Keeps bytes in the next clusters.
    pub(super) fn store(&mut self, bytes: &[u8]) -> io::Result<Stream> {
        let stream = self.room_for(bytes.len() as u64);
        self.fill(&stream, bytes)?;
        Ok(stream)
    }

    /// Keeps bytes in clusters that were taken before, from `place` on, which is moved behind them.
    pub(super) fn store_at(&mut self, place: &mut Lcn, bytes: &[u8]) -> io::Result<Stream> {
        let stream = self.stream(*place, bytes.len() as u64);
        place.0 += stream.allocated / self.cluster_size;
        self.fill(&stream, bytes)?;
        Ok(stream)
    }

    /// Takes the next clusters for a stream that is filled later.
    pub(super) fn room_for(&mut self, size: u64) -> Stream {
        let lcn = self.take(size);
        self.stream(lcn, size)
    }

    /// A stream in one run.
    fn stream(&self, lcn: Lcn, size: u64) -> Stream {
        let clusters = size.div_ceil(self.cluster_size);
        let runs = if clusters == 0 { Vec::new() } else { vec![Extent { lcn: Some(lcn), length: clusters }] };
        Stream { runs, allocated: clusters * self.cluster_size, size, valid: size, sparse: None }
    }

    /// Fills a stream that lies in one run.
    pub(super) fn fill(&mut self, stream: &Stream, bytes: &[u8]) -> io::Result<()> {
        self.fill_at(stream, 0, bytes)
    }

    /// Fills a part of a stream that lies in one run.
    pub(super) fn fill_at(&mut self, stream: &Stream, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.tell(bytes);
        match stream.runs.first().and_then(|run| run.lcn) {
            Some(lcn) => self.disk.write_at(bytes, self.offset(lcn) + at),
            None => Ok(()),
        }
    }

    /// Takes the first clusters, which hold the boot sector. It is written last.
    pub(super) fn take_boot(&mut self) {
        self.take(BOOT_SIZE);
    }

    /// Takes the clusters of the planned records.
    pub(super) fn place_mft(&mut self) {
        self.mft.start = self.take(self.mft.planned * RECORD_SIZE as u64);
    }

    /// Writes a planned record. Those that follow each other are written together.
    pub(super) fn write_record(&mut self, number: u64, record: &Record) -> io::Result<()> {
        let mft = &mut self.mft;
        let expected = mft.first_waiting + (mft.waiting.len() / RECORD_SIZE) as u64;
        if number != expected || mft.waiting.len() >= RECORDS_AT_ONCE {
            self.flush_records()?;
            self.mft.first_waiting = number;
        }
        self.mft.waiting.extend(record.as_slice());
        Ok(())
    }

    /// Writes records that wait for others.
    pub(super) fn flush_records(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.mft.waiting);
        self.tell(&waiting);
        let offset = self.offset(self.mft.start) + self.mft.first_waiting * RECORD_SIZE as u64;
        self.disk.write_at(&waiting, offset)?;
        self.mft.waiting = waiting;
        self.mft.waiting.clear();
        Ok(())
    }

    /// Writes all records of a file.
    pub(super) fn write_file(&mut self, file: crate::ntfs::write::record::File) -> io::Result<()> {
        let number = file.reference.record;
        let mut next = self.mft.planned + self.mft.extensions.len() as u64;
        let take = || {
            next += 1;
            next - 1
        };
        let (base, extensions) = file.into_records(take, |list| self.store(list))?;
        self.mft.extensions.extend(extensions.into_iter().map(|(_, record)| record));
        self.write_record(number, &base)
    }

    /// Where `$MFT` begins, and how many extension records it has.
    pub(super) fn mft(&self) -> (Lcn, u64) {
        (self.mft.start, self.mft.extensions.len() as u64)
    }

    /// The extension records of all files, which come behind the planned records.
    pub(super) fn take_extensions(&mut self) -> Vec<u8> {
        let records = std::mem::take(&mut self.mft.extensions);
        records.iter().flat_map(|record| record.iter().copied()).collect()
    }

    /// Remembers what a file takes whose content has holes.
    pub(super) fn remember_sparse(&mut self, inode: u32, allocated: u64) {
        self.sparse.insert(inode, allocated);
    }

    /// What the content of an inode takes in clusters; `None` where it takes none.
    pub(super) fn in_clusters(&self, plan: &Plan<'_>, inode: usize) -> Option<InClusters> {
        let sparse = u32::try_from(inode).ok().and_then(|inode| self.sparse.get(&inode));
        match sparse {
            Some(allocated) => Some(InClusters { allocated: *allocated, has_holes: true }),
            None if plan.is_resident(inode) => None,
            None => {
                let allocated = plan.size(inode).next_multiple_of(self.cluster_size);
                Some(InClusters { allocated, has_holes: false })
            }
        }
    }

    /// The disk, when the volume is all there, and the digest of all of it.
    pub(super) fn finish(self) -> (DiskWriter, [u8; 32]) {
        (self.disk, self.digest.finalize().into())
    }
}
