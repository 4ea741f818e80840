//! Content, read by several threads before it is written by one.
//!
//! What is read is cut into units: as many small files as a buffer holds, or a piece of a big one. Unit `n` is read by thread
//! `n` modulo their number, and each thread has a queue of its own: so units are taken in their order without any bookkeeping,
//! and what waits in the queues is bounded.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use super::error::CreateError;
use super::plan::Plan;
use super::source::{Folder, OpenFile};

/// Content of one unit in memory.
pub(super) const UNIT_SIZE: u64 = 1 << 20;

/// Holes are made of whole sixteenths of a unit, counted from the start of the file. It is also what Windows makes holes of.
pub(super) const HOLE_SIZE: usize = 64 << 10;

/// Files from this size on may have holes.
pub(super) const PIECES_FROM: u64 = HOLE_SIZE as u64;

/// Not more files in a unit than this, so that many tiny ones are read by several threads.
const MOST_FILES: usize = 256;

/// A cold disk is faster when it is asked for several files at once.
const THREADS: usize = 8;

/// Units that are ready in one queue.
const QUEUE: usize = 2;

/// What is read at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// Small files, by their positions in the order of content.
    Files(std::ops::Range<usize>),
    /// A part of a big one.
    Piece { inode: u32, offset: u64, length: u64 },
}

/// What was read.
#[derive(Default)]
pub(super) struct Chunk {
    /// What goes to clusters. Each small file begins with a cluster of its own; of a piece that is all zero there is nothing.
    pub(super) bytes: Vec<u8>,
    /// What goes to records, one file behind the other.
    pub(super) resident: Vec<u8>,
    /// Of a piece: which sixteenths hold anything but zeros.
    pub(super) data: u16,
    pub(super) digest: [u8; 32],
}

/// All units, in their order. Readers and the writer go through them on their own.
#[derive(Clone)]
pub(super) struct Units<'p> {
    plan: &'p Plan<'p>,
    /// The next file in the order of content.
    next: usize,
    /// How much of it was told already.
    offset: u64,
}

impl<'p> Units<'p> {
    pub(super) fn new(plan: &'p Plan<'p>) -> Self {
        Self { plan, next: 0, offset: 0 }
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let order = &self.plan.order;
        let inode = *order.get(self.next)?;
        let size = self.plan.size(inode as usize);
        if size >= PIECES_FROM {
            let offset = self.offset;
            let length = (size - offset).min(UNIT_SIZE);
            self.offset += length;
            if self.offset == size {
                self.next += 1;
                self.offset = 0;
            }
            return Some(Unit::Piece { inode, offset, length });
        }
        let start = self.next;
        let mut total = 0;
        for inode in &order[start..] {
            let size = self.plan.size(*inode as usize);
            total += size.next_multiple_of(self.plan.cluster_size);
            if size >= PIECES_FROM || total > UNIT_SIZE || self.next - start == MOST_FILES {
                break;
            }
            self.next += 1;
        }
        Some(Unit::Files(start..self.next))
    }
}

/// Reads all units, and gives them to `write` in their order. What `write` leaves of a chunk is used again.
pub(super) fn read_all(
    folder: &Folder,
    plan: &Plan<'_>,
    mut write: impl FnMut(Unit, &mut Chunk) -> Result<(), CreateError>,
) -> Result<(), CreateError> {
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for number in 0..THREADS {
            let (ready, chunks) = mpsc::sync_channel(QUEUE);
            let (give_back, used) = mpsc::channel();
            let units = Units::new(plan).skip(number).step_by(THREADS);
            let reader = move || Reader { folder, plan, open: None }.run(units, &ready, &used);
            match thread::Builder::new().spawn_scoped(scope, reader) {
                Ok(_) => readers.push((chunks, give_back)),
                Err(source) => return Err(CreateError::NoThreads(source)),
            }
        }
        // In here, so that an error ends them: readers end when nobody listens to them any more.
        let readers = readers;
        for (unit, (chunks, give_back)) in Units::new(plan).zip(readers.iter().cycle()) {
            let mut chunk = match chunks.recv() {
                Ok(read) => read?,
                // Only a panic ends a reader before its last unit; leaving the scope passes it on.
                Err(mpsc::RecvError) => return Ok(()),
            };
            write(unit, &mut chunk)?;
            // A reader that has read its last unit needs no buffer.
            let _ = give_back.send(chunk);
        }
        Ok(())
    })
}

struct Reader<'r> {
    folder: &'r Folder,
    plan: &'r Plan<'r>,
    /// The big file that was read last: more of it may follow.
    open: Option<(u32, OpenFile)>,
}

impl Reader<'_> {
    fn run(
        mut self,
        units: impl Iterator<Item = Unit>,
        ready: &SyncSender<Result<Chunk, CreateError>>,
        used: &Receiver<Chunk>,
    ) {
        for unit in units {
            let mut chunk = used.try_recv().unwrap_or_default();
            chunk.bytes.clear();
            chunk.resident.clear();
            let read = match unit {
                Unit::Files(files) => self.read_files(files, &mut chunk),
                Unit::Piece { inode, offset, length } => self.read_piece(inode, offset, length, &mut chunk),
            };
            let failed = read.is_err();
            if ready.send(read.map(|()| chunk)).is_err() || failed {
                return;
            }
        }
    }

    fn read_files(&mut self, files: std::ops::Range<usize>, chunk: &mut Chunk) -> Result<(), CreateError> {
        let Self { folder, plan, .. } = *self;
        for inode in &plan.order[files] {
            let inode = *inode as usize;
            let size = usize::try_from(plan.size(inode)).unwrap_or(0);
            let is_resident = plan.is_resident(inode);
            let bytes = if is_resident { &mut chunk.resident } else { &mut chunk.bytes };
            let start = bytes.len();
            bytes.resize(start + size, 0);
            let file = folder.open_file(plan.tree, inode)?;
            file.read_at(&mut bytes[start..], 0)?;
            file.still_the_same()?;
            if !is_resident {
                let cluster = usize::try_from(plan.cluster_size).unwrap_or(1);
                bytes.resize(bytes.len().next_multiple_of(cluster), 0);
            }
        }
        let mut digest = blake3::Hasher::new();
        digest.update(&chunk.bytes).update(&chunk.resident);
        chunk.digest = digest.finalize().into();
        Ok(())
    }

    /// What is zero is found by its content, so that it does not matter whether the folder has holes there.
    fn read_piece(
        &mut self,
        inode: u32,
        offset: u64,
        length: u64,
        chunk: &mut Chunk,
    ) -> Result<(), CreateError> {
        let file = match self.open.take() {
            Some((open, file)) if open == inode => file,
            _ => self.folder.open_file(self.plan.tree, inode as usize)?,
        };
        chunk.data = 0;
        chunk.digest = [0; 32];
        if file.next_data(offset) < offset + length {
            chunk.bytes.resize(usize::try_from(length).unwrap_or(0), 0);
            file.read_at(&mut chunk.bytes, offset)?;
            let mut digest = blake3::Hasher::new();
            for (number, part) in chunk.bytes.chunks(HOLE_SIZE).enumerate() {
                if !is_zero(part) {
                    chunk.data |= 1 << number;
                    digest.update(part);
                }
            }
            digest.update(&chunk.data.to_le_bytes());
            chunk.digest = digest.finalize().into();
        }
        if chunk.data == 0 {
            chunk.bytes.clear();
            chunk.digest = [0; 32];
        }
        file.still_the_same()?;
        self.open = Some((inode, file));
        Ok(())
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; HOLE_SIZE] = [0; HOLE_SIZE];
    bytes == &ZEROS[..bytes.len()]
}
