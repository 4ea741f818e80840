//! The indexes of directories: their trees, their order, and the records that their entries lead to.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::finding::Findings;
use super::survey::{Base, Name, Survey, problem};
use crate::error::Mismatch;
use crate::ntfs::directories::in_disk_order;
use crate::ntfs::index::entry::{FileName, each_entry};
use crate::ntfs::index::layout::{Layout, Unread};
use crate::ntfs::index::{BLOCK_NODE_AT, ROOT_NODE_AT};
use crate::ntfs::inode::{IndexParts, Inode};
use crate::ntfs::mft::Mft;
use crate::ntfs::scan::Inodes;
use crate::ntfs::{Reference, field, name};

/// What all indexes say.
pub(super) struct Indexed {
    pub(super) names: Vec<Name>,
    /// Directories whose index could not be read as a whole: what is not in it is no news.
    pub(super) damaged: HashSet<u64>,
}

/// Walks through all indexes. Where there is no `upcase`, their order is not looked at.
pub(super) fn verify(
    mft: &Mft,
    inodes: &Inodes,
    survey: &Survey,
    upcase: Option<&[u16]>,
    findings: &mut Findings,
) -> Indexed {
    let mut indexed = Indexed { names: Vec::new(), damaged: HashSet::new() };
    let (walked, sharing) = in_disk_order(inodes, |inode| walk(mft, survey, upcase, inode));
    for (index, walk) in walked {
        indexed.names.extend(walk.names);
        if walk.damaged {
            indexed.damaged.insert(inodes.all()[index].record);
        }
        findings.append(walk.findings);
    }
    // Whose the clusters are is told where clusters are compared.
    indexed.damaged.extend(sharing.into_iter().map(|index| inodes.all()[index].record));
    indexed
}

/// The way through one index.
struct Walk<'w> {
    mft: &'w Mft,
    survey: &'w Survey,
    upcase: Option<&'w [u16]>,
    directory: Reference,
    names: Vec<Name>,
    findings: Findings,
    damaged: bool,
}

struct Walked {
    names: Vec<Name>,
    findings: Findings,
    damaged: bool,
}

fn walk(mft: &Mft, survey: &Survey, upcase: Option<&[u16]>, inode: &Inode) -> Walked {
    let directory = Reference { record: inode.record, sequence: inode.sequence };
    let (names, findings) = (Vec::new(), Findings::default());
    let mut walk = Walk { mft, survey, upcase, directory, names, findings, damaged: false };
    if let Some(parts) = &inode.index {
        walk.through(parts);
    }
    let Walk { names, findings, damaged, .. } = walk;
    Walked { names, findings, damaged }
}

/// The blocks of an index, by their numbers.
type Blocks = HashMap<u64, Result<Box<[u8]>, String>>;

/// A node that is being walked through.
struct Frame<'b> {
    items: Vec<Item<'b>>,
    next: usize,
    /// Whether the child of the next item was entered already.
    entered: bool,
}

struct Item<'b> {
    reference: Reference,
    key: &'b [u8],
    child: Option<u64>,
    last: bool,
}

impl Walk<'_> {
    fn through(&mut self, parts: &IndexParts) {
        let layout = match &parts.allocation {
            Some(allocation) => match Layout::new(&self.mft.geometry, &parts.root, allocation) {
                Ok(layout) => Some(layout),
                Err(mismatch) => {
                    self.wrong_root(mismatch);
                    None
                }
            },
            None => None,
        };
        let blocks = layout.as_ref().map(|layout| self.blocks(layout)).unwrap_or_default();
        let mut reached = HashSet::new();
        let mut previous: Option<&[u8]> = None;
        let root = self.frame(&parts.root, ROOT_NODE_AT).unwrap_or_else(|mismatch| {
            self.wrong_root(mismatch);
            Frame { items: Vec::new(), next: 0, entered: false }
        });
        // In the order of the names: first what lies below an entry, then the entry. No recursion, however deep it is.
        let mut frames = vec![root];
        while let Some(frame) = frames.last_mut() {
            let Some(item) = frame.items.get(frame.next) else {
                frames.pop();
                continue;
            };
            if let Some(vcn) = item.child.filter(|_| !frame.entered) {
                frame.entered = true;
                if let Some(block) = self.enter(vcn, layout.as_ref(), &blocks, &mut reached) {
                    match self.frame(block, BLOCK_NODE_AT) {
                        Ok(child) => frames.push(child),
                        Err(mismatch) => {
                            let offset =
                                layout.map_or(0, |layout| layout.block(vcn).map_or(0, |n| layout.offset(n)));
                            self.damaged = true;
                            let error = mismatch.in_index_block(self.directory.record, offset);
                            self.findings.error(self.directory.record, problem(&error));
                        }
                    }
                }
                continue;
            }
            let (reference, key, last) = (item.reference, item.key, item.last);
            frame.next += 1;
            frame.entered = false;
            if !last {
                self.entry(reference, key, previous);
                previous = Some(key);
            }
        }
        if let Some(layout) = layout {
            self.hold_against_bitmap(parts, &layout, &reached, &blocks);
        }
    }

    fn blocks(&mut self, layout: &Layout<'_>) -> Blocks {
        let mut blocks = Blocks::new();
        let record = self.directory.record;
        layout.each_block(self.mft.volume.as_ref(), &self.mft.geometry, |number, block| {
            let block = match block {
                Ok(block) => Ok(block.into()),
                Err(Unread::Below(error)) => Err(problem(&error)),
                Err(Unread::Lies(mismatch)) => {
                    Err(problem(&mismatch.in_index_block(record, layout.offset(number))))
                }
            };
            blocks.insert(number, block);
        });
        blocks
    }

    /// The block that a child's number means, when it is one that nothing else has led to.
    fn enter<'b>(
        &mut self,
        vcn: u64,
        layout: Option<&Layout<'_>>,
        blocks: &'b Blocks,
        reached: &mut HashSet<u64>,
    ) -> Option<&'b [u8]> {
        let number = layout.and_then(|layout| layout.block(vcn));
        let found = number.and_then(|number| blocks.get(&number));
        let (Some(number), Some(block)) = (number, found) else {
            self.wrong(format_args!("a node leads to a block at VCN {vcn}, but there is none"));
            return None;
        };
        if !reached.insert(number) {
            self.wrong(format_args!("two nodes lead to the block at VCN {vcn}"));
            return None;
        }
        match block {
            Ok(block) => Some(block),
            Err(problem) => {
                self.wrong(problem);
                None
            }
        }
    }

    fn frame<'b>(&mut self, bytes: &'b [u8], header_at: usize) -> Result<Frame<'b>, Mismatch> {
        let mut items = Vec::new();
        each_entry(bytes, header_at, |_, entry| {
            items.push(Item {
                reference: entry.reference,
                key: entry.key,
                child: entry.child,
                last: entry.last,
            });
        })?;
        // The lowest bit of the flags says whether the node has children; then each of its entries has one.
        let has_children = field::u32(bytes, header_at + 12).is_some_and(|flags| flags & 1 != 0);
        if items.iter().any(|item| item.child.is_some() != has_children) {
            let expected = if has_children { "a child for each entry" } else { "no entry with a child" };
            let found =
                format!("{} of {}", items.iter().filter(|item| item.child.is_some()).count(), items.len());
            return Err(Mismatch::new(header_at + 12, expected, found));
        }
        Ok(Frame { items, next: 0, entered: false })
    }

    fn entry(&mut self, reference: Reference, key: &[u8], previous: Option<&[u8]>) {
        let name = match FileName::parse(key) {
            Ok(name) => name,
            Err(Mismatch { expected, found, .. }) => {
                self.wrong(format_args!("expected {expected}, found {found}, in an entry of its index"));
                return;
            }
        };
        let directory = self.directory;
        // Whatever is wrong with the entry: where its name is missing elsewhere, that is no news.
        self.names.push(Name::new(reference.record, &name).in_folder(directory.record));
        let problem = match self.survey.base(reference.record) {
            _ if !name.parent.names(directory) => {
                format!("says that it lies in {}, not in {directory}", name.parent)
            }
            None => format!("leads to record {}, which is no file", reference.record),
            Some(Base { sequence, broken: false, .. }) if ![0, *sequence].contains(&reference.sequence) => {
                format!("leads to {reference}, but the record has number {sequence} by now")
            }
            Some(_) => match self.upcase.zip(previous.and_then(|key| FileName::parse(key).ok())) {
                None => return,
                Some((upcase, previous)) => match collate(previous.utf16, name.utf16, upcase) {
                    Ordering::Less => return,
                    Ordering::Equal => "is there twice".into(),
                    Ordering::Greater => "is not in its place".into(),
                },
            },
        };
        let text = name::to_wtf8(name.utf16);
        let text = String::from_utf8_lossy(&text);
        self.findings.error(directory.record, format_args!("the entry {text:?} {problem}"));
    }

    fn hold_against_bitmap(
        &mut self,
        parts: &IndexParts,
        layout: &Layout<'_>,
        reached: &HashSet<u64>,
        blocks: &Blocks,
    ) {
        let stream = match &parts.bitmap {
            Ok(Some(stream)) => stream,
            Ok(None) => return self.wrong("an index with blocks, but without $BITMAP"),
            Err(Mismatch { expected, found, .. }) => {
                let record = self.directory.record;
                // What a single attribute shows was told with its record.
                if self.survey.base(record).is_some_and(|base| !base.broken) {
                    let problem =
                        format!("the $BITMAP of its index lies: expected {expected}, found {found}");
                    self.findings.error(record, problem);
                }
                return;
            }
        };
        let size = layout.blocks().div_ceil(8).min(stream.size());
        let mut bitmap = vec![0; usize::try_from(size).unwrap_or(0)];
        if let Err(error) = stream.read_at(self.mft.volume.as_ref(), &self.mft.geometry, &mut bitmap, 0) {
            self.wrong(format_args!("its $BITMAP cannot be read: {error}"));
            return;
        }
        let marked = |block: u64| {
            let byte = usize::try_from(block / 8).ok().and_then(|byte| bitmap.get(byte));
            byte.is_some_and(|byte| byte >> (block % 8) & 1 == 1)
        };
        let mut numbers: Vec<u64> = blocks.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            match (reached.contains(&number), marked(number)) {
                (true, false) => {
                    let problem = format!("block {number} of its index is in use, but $BITMAP calls it free");
                    self.findings.error(self.directory.record, problem);
                }
                (false, true) if !self.damaged => {
                    let problem = format!(
                        "block {number} of its index is in use, as $BITMAP says, but no node leads to it"
                    );
                    self.findings.warning(self.directory.record, problem);
                }
                _ => {}
            }
        }
    }

    fn wrong(&mut self, problem: impl std::fmt::Display) {
        self.damaged = true;
        self.findings.error(self.directory.record, problem);
    }

    fn wrong_root(&mut self, mismatch: Mismatch) {
        let error = mismatch.in_index_root(self.directory.record);
        self.wrong(problem(&error));
    }
}

/// The order of names in an index: without regard to case first, then as they are.
fn collate(a: &[u8], b: &[u8], upcase: &[u16]) -> Ordering {
    fn units(name: &[u8]) -> impl Iterator<Item = u16> {
        name.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
    }
    let upper = |unit: u16| upcase.get(usize::from(unit)).copied().unwrap_or(unit);
    units(a).map(upper).cmp(units(b).map(upper)).then_with(|| units(a).cmp(units(b)))
}
