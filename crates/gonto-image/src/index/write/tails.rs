//! What lies behind the ends of files.
//!
//! A file that is mapped into memory is seen in whole pages, and between its end and the end of its last block it shows what the
//! disk has there. NTFS does not say that this is zero.

use std::io;
use std::sync::Arc;

use super::IndexError;
use crate::parallel::map_waiting;
use crate::source::{Place, ReadAt};
use crate::tree::{FileTree, Kind, NodeId};

/// A set of nodes.
#[derive(Default)]
pub(super) struct Spoiled(Vec<NodeId>);

impl Spoiled {
    pub(super) fn contains(&self, file: NodeId) -> bool {
        self.0.binary_search(&file).is_ok()
    }
}

/// The part of a block behind the end of a file.
struct Tail {
    layer: u32,
    offset: u64,
    length: usize,
    file: NodeId,
}

/// So many tails are one piece of work: they are close to each other on the disk.
const AT_ONCE: usize = 64;

/// The files whose last block is not zero behind their end. Reads a sector of nearly every file, in the order of the disk.
pub(super) fn spoiled(
    tree: &FileTree,
    layers: &[Arc<dyn ReadAt>],
    block_size: u64,
    go_on: &(dyn Fn() -> io::Result<()> + Sync),
) -> Result<Spoiled, IndexError> {
    let mut tails = tails(tree, block_size);
    tails.sort_unstable_by_key(|tail| (tail.layer, tail.offset));
    let batches: Vec<&[Tail]> = tails.chunks(AT_ONCE).collect();
    let found = map_waiting(
        batches.len(),
        || vec![0; usize::try_from(block_size).unwrap_or(0)],
        |buffer, number| {
            go_on().map_err(IndexError::Interrupted)?;
            let mut spoiled = Vec::new();
            for Tail { layer, offset, length, file } in batches[number] {
                let Some(layer) = layers.get(*layer as usize) else { continue };
                // What reaches over the end of the image is copied anyway.
                if offset.checked_add(*length as u64).is_none_or(|end| end > layer.size()) {
                    continue;
                }
                let tail = &mut buffer[..*length];
                layer
                    .read_at(tail, *offset)
                    .map_err(|source| IndexError::Read { path: tree.path(*file), source })?;
                if tail.iter().any(|byte| *byte != 0) {
                    spoiled.push(*file);
                }
            }
            Ok(spoiled)
        },
    );
    let mut spoiled = Vec::new();
    for batch in found {
        spoiled.extend(batch?);
    }
    spoiled.sort_unstable();
    Ok(Spoiled(spoiled))
}

fn tails(tree: &FileTree, block_size: u64) -> Vec<Tail> {
    let ids = (0..).map(NodeId).take(tree.len());
    let tail = |file: NodeId| {
        let node = tree.node(file);
        let rest = node.size % block_size;
        if node.kind != Kind::File || rest == 0 {
            return None;
        }
        match tree.extent(file, node.size - 1).place {
            Place::Image { layer, offset } => {
                let length = usize::try_from(block_size - rest).ok()?;
                Some(Tail { layer, offset: offset.checked_add(1)?, length, file })
            }
            Place::Zero | Place::Derived => None,
        }
    };
    ids.filter_map(tail).collect()
}
