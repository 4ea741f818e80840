//! Files, folders and links are written: first all content, front to back, then what lies around it.

use std::io;
use std::ops::ControlFlow;

use super::Event;
use super::error::CreateError;
use super::plan::{BIG_FILE, LONGEST_RESIDENT_BITMAP, Plan, shape};
use super::read_ahead::{self, Chunk, HOLE_SIZE, UNIT_SIZE, Unit};
use super::source::{Folder, Kind, OpenFile};
use super::system;
use super::volume::Volume;
use crate::ntfs::Lcn;
use crate::ntfs::attribute::kind;
use crate::ntfs::runs::Extent;
use crate::ntfs::write::attribute::{Attribute, Sparse, Stream, resident_size, sparse_unit};
use crate::ntfs::write::file_name;
use crate::ntfs::write::index::{Entries, Index, Order, Shape, bitmap};
use crate::ntfs::write::record::{File, ROOM};

/// Writes the content of all files and their records, and returns how many bytes are not in holes. `watch` is told of it.
pub(super) fn write_content(
    volume: &mut Volume,
    plan: &Plan<'_>,
    folder: &Folder,
    watch: &(dyn Fn(Event) -> ControlFlow<()> + Sync),
) -> Result<u64, CreateError> {
    let mut piecewise = Piecewise::default();
    let (mut done, mut small) = (0, 0);
    read_ahead::read_all(folder, plan, |unit, chunk| {
        volume.tell(&chunk.digest);
        done += match unit {
            Unit::Files(files) => {
                let written = write_small(volume, plan, &plan.order[files], chunk)?;
                small += written;
                written
            }
            Unit::Piece { inode, offset, length } => {
                piecewise.write(volume, plan, folder, Piece { inode, offset, length, chunk })?;
                length
            }
        };
        match watch(Event::Written { bytes: done, total: plan.content }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(CreateError::Interrupted),
        }
    })?;
    Ok(small + piecewise.stored)
}

/// Writes small files, all of them at once, and returns how many bytes they have.
fn write_small(volume: &mut Volume, plan: &Plan<'_>, files: &[u32], chunk: &Chunk) -> io::Result<u64> {
    let mut lcn = volume.take(chunk.bytes.len() as u64);
    volume.write(&chunk.bytes, lcn)?;
    let mut resident = chunk.resident.as_slice();
    let mut total = 0;
    for inode in files {
        let inode = *inode as usize;
        let size = plan.size(inode);
        total += size;
        let data = if plan.is_resident(inode) {
            let (value, rest) = resident.split_at(usize::try_from(size).unwrap_or(0));
            resident = rest;
            vec![Attribute::resident(kind::DATA, "", value)]
        } else {
            let clusters = size.div_ceil(volume.cluster_size);
            let runs = vec![Extent { lcn: Some(lcn), length: clusters }];
            lcn = Lcn(lcn.0 + clusters);
            let allocated = clusters * volume.cluster_size;
            let stream = Stream { runs, allocated, size, valid: size, sparse: None };
            Attribute::non_resident(kind::DATA, "", &stream)
        };
        write_inode(volume, plan, inode, data)?;
    }
    Ok(total)
}

/// A big file that is written piece by piece.
#[derive(Default)]
struct Piecewise {
    runs: Vec<Extent>,
    holes: usize,
    /// Bytes of all files that are not in holes.
    stored: u64,
    /// Open while its content can be moved.
    source: Option<OpenFile>,
}

struct Piece<'c> {
    inode: u32,
    offset: u64,
    length: u64,
    chunk: &'c Chunk,
}

/// A file that has more holes than this keeps the smaller ones of the others as content: each hole costs two runs.
const MOST_HOLES: usize = 10_000;
/// And then all of them: the list of its records could not be longer.
const MOST_BIG_HOLES: usize = 300_000;

impl Piecewise {
    fn write(
        &mut self,
        volume: &mut Volume,
        plan: &Plan<'_>,
        folder: &Folder,
        piece: Piece<'_>,
    ) -> Result<(), CreateError> {
        let Piece { inode, offset, length, chunk } = piece;
        let size = plan.size(inode as usize);
        if offset == 0 && size >= BIG_FILE {
            volume.align();
            let source = folder.open_file(plan.tree, inode as usize)?;
            self.source = volume.can_move_from(source.file()).then_some(source);
        }
        for part in parts(chunk.data, length) {
            let is_big = part.length >= UNIT_SIZE || offset + part.start + part.length == size;
            let is_kept = self.holes < MOST_HOLES || (is_big && self.holes < MOST_BIG_HOLES);
            if part.is_data || !is_kept {
                self.stored += part.length;
                let lcn = volume.take(part.length);
                let clusters = part.length.div_ceil(volume.cluster_size);
                self.push(Extent { lcn: Some(lcn), length: clusters });
                // Zeros that are kept as content are holes of the image file.
                if part.is_data {
                    let start = usize::try_from(part.start).unwrap_or(0);
                    let end = start + usize::try_from(part.length).unwrap_or(0);
                    self.put(volume, &chunk.bytes[start..end], offset + part.start, lcn)?;
                }
            } else {
                self.push(Extent { lcn: None, length: part.length.div_ceil(volume.cluster_size) });
            }
        }
        if offset + length == size {
            self.finish(volume, plan, inode)?;
        }
        Ok(())
    }

    fn put(&mut self, volume: &mut Volume, bytes: &[u8], at: u64, lcn: Lcn) -> io::Result<()> {
        if let Some(source) = &self.source
            && volume.move_from(source.file(), at, bytes.len() as u64, lcn)?
        {
            return Ok(());
        }
        volume.write(bytes, lcn)
    }

    /// Adds a run to those before it, or makes the last one longer.
    fn push(&mut self, run: Extent) {
        if let Some(last) = self.runs.last_mut() {
            let goes_on = match (last.lcn, run.lcn) {
                (Some(before), Some(now)) => before.0 + last.length == now.0,
                (None, None) => true,
                _ => false,
            };
            if goes_on {
                last.length += run.length;
                return;
            }
        }
        self.holes += usize::from(run.lcn.is_none());
        self.runs.push(run);
    }

    fn finish(&mut self, volume: &mut Volume, plan: &Plan<'_>, inode: u32) -> Result<(), CreateError> {
        let size = plan.size(inode as usize);
        let mut allocated = size.next_multiple_of(volume.cluster_size);
        let mut sparse = None;
        if self.holes > 0 {
            // Windows gives whole units to files with holes.
            let unit_in_clusters = sparse_unit(volume.cluster_size);
            let unit = volume.cluster_size << unit_in_clusters;
            let more = (size.next_multiple_of(unit) - allocated) / volume.cluster_size;
            allocated = size.next_multiple_of(unit);
            if more > 0 {
                let lcn = match self.runs.last() {
                    Some(Extent { lcn: Some(_), .. }) => Some(volume.take(more * volume.cluster_size)),
                    _ => None,
                };
                self.push(Extent { lcn, length: more });
            }
            let there = self.runs.iter().filter(|run| run.lcn.is_some()).map(|run| run.length).sum::<u64>();
            let there = there * volume.cluster_size;
            sparse = Some(Sparse { there, unit: unit_in_clusters });
            volume.remember_sparse(inode, there);
        }
        if let Some(source) = std::mem::take(&mut self.source) {
            source.still_the_same()?;
        }
        let runs = std::mem::take(&mut self.runs);
        self.holes = 0;
        let stream = Stream { runs, allocated, size, valid: size, sparse };
        write_inode(volume, plan, inode as usize, Attribute::non_resident(kind::DATA, "", &stream))?;
        Ok(())
    }
}

/// A part of a piece that is all data or all zero; in bytes, from the start of the piece.
struct Part {
    start: u64,
    length: u64,
    is_data: bool,
}

fn parts(data: u16, length: u64) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let hole = HOLE_SIZE as u64;
    for number in 0..length.div_ceil(hole) {
        let start = number * hole;
        let part_length = (length - start).min(hole);
        let is_data = data >> number & 1 == 1;
        match parts.last_mut() {
            Some(last) if last.is_data == is_data => last.length += part_length,
            _ => parts.push(Part { start, length: part_length, is_data }),
        }
    }
    parts
}

/// Writes the records of an inode that is no folder, with the attributes of its content.
fn write_inode(
    volume: &mut Volume,
    plan: &Plan<'_>,
    inode: usize,
    content: Vec<Attribute>,
) -> io::Result<()> {
    let in_clusters = volume.in_clusters(plan, inode);
    let facts = plan.facts(inode, in_clusters);
    let mut attributes = Vec::with_capacity(4 + content.len());
    attributes.push(facts.standard_information());
    attributes.extend(plan.names(inode).map(|name| file_name::attribute(&plan.key(&facts, name))));
    attributes.extend(content);
    attributes.extend(plan.linux(inode).attributes());
    let flags = if facts.is_directory { File::DIRECTORY } else { 0 };
    let links = plan.inode(inode).names;
    volume.write_file(File { reference: plan.reference(inode), flags, links, attributes })
}

/// Writes the records of everything that has no content: empty files, links, and folders with their indexes. `first_block` is
/// where the blocks of all folders go. None of it has been looked at since the walk, so it is now.
pub(super) fn write_the_rest(
    volume: &mut Volume,
    plan: &Plan<'_>,
    folder: &Folder,
    first_block: Lcn,
) -> Result<(), CreateError> {
    // The root is written with the other files of NTFS, when all of these are known. Its blocks come first.
    let mut next_block = Lcn(first_block.0 + plan.index_room(&plan.shape(0)) / plan.cluster_size);
    let mut links = Vec::new();
    folder.check(plan.tree, 0)?;
    for inode in 1..plan.tree.inodes.len() {
        match plan.inode(inode).kind {
            Kind::File { size: 0 } => {
                folder.open_file(plan.tree, inode)?.is_really_empty()?;
                write_inode(volume, plan, inode, vec![Attribute::resident(kind::DATA, "", &[])])?;
            }
            Kind::File { .. } => {}
            Kind::Link(_) => {
                let Some(link) = plan.link(inode) else { continue };
                folder.check(plan.tree, inode)?;
                links.push((link.tag(), plan.reference(inode)));
                write_link(volume, plan, inode, &link.to_bytes())?;
            }
            Kind::Folder { .. } => {
                folder.check(plan.tree, inode)?;
                write_folder(volume, plan, inode, &mut next_block)?;
            }
        }
    }
    Ok(system::write_reparse_points(volume, plan, links)?)
}

fn write_link(volume: &mut Volume, plan: &Plan<'_>, inode: usize, reparse_point: &[u8]) -> io::Result<()> {
    let empty = if plan.is_folder(inode) {
        let entries = Entries::default();
        let shape = shape(&[], ROOM);
        Index::new(&entries, &shape, Order::NAMES, plan.cluster_size).root_attribute("$I30")
    } else {
        Attribute::resident(kind::DATA, "", &[])
    };
    // Several programs look for it in the record only.
    let is_resident = resident_size(reparse_point.len()) + empty.bytes.len() <= plan.room(inode);
    let mut attributes = if is_resident {
        vec![Attribute::resident(kind::REPARSE_POINT, "", reparse_point)]
    } else {
        Attribute::non_resident(kind::REPARSE_POINT, "", &volume.store(reparse_point)?)
    };
    attributes.push(empty);
    write_inode(volume, plan, inode, attributes)
}

fn write_folder(volume: &mut Volume, plan: &Plan<'_>, folder: usize, next_block: &mut Lcn) -> io::Result<()> {
    let mut entries = Entries::default();
    for position in plan.entries(folder) {
        push_name(volume, plan, &mut entries, position);
    }
    let content = write_index(volume, &entries, &plan.shape(folder), Order::NAMES, "$I30", Some(next_block))?;
    write_inode(volume, plan, folder, content)
}

/// Adds the name at a position to the entries of its folder.
pub(super) fn push_name(volume: &Volume, plan: &Plan<'_>, entries: &mut Entries, position: usize) {
    let inode = plan.tree.names[position].inode as usize;
    let facts = plan.facts(inode, volume.in_clusters(plan, inode));
    entries.push_name(plan.reference(inode), &plan.key(&facts, position));
}

/// Makes the attributes of an index, and writes its blocks and their bitmap: to `place`, where room was kept for them, or to the next
/// clusters.
pub(super) fn write_index(
    volume: &mut Volume,
    entries: &Entries,
    shape: &Shape,
    order: Order,
    name: &str,
    mut place: Option<&mut Lcn>,
) -> io::Result<Vec<Attribute>> {
    let index = Index::new(entries, shape, order, volume.cluster_size);
    let mut attributes = vec![index.root_attribute(name)];
    if shape.is_large() {
        let mut keep = |bytes: &[u8]| match &mut place {
            Some(next) => volume.store_at(next, bytes),
            None => volume.store(bytes),
        };
        attributes.extend(Attribute::non_resident(kind::INDEX_ALLOCATION, name, &keep(&index.blocks)?));
        let bitmap = bitmap(shape);
        if bitmap.len() <= LONGEST_RESIDENT_BITMAP {
            attributes.push(Attribute::resident(kind::BITMAP, name, &bitmap));
        } else {
            attributes.extend(Attribute::non_resident(kind::BITMAP, name, &keep(&bitmap)?));
        }
    }
    Ok(attributes)
}
