//! The content that the index holds itself.

use std::fs::File;
use std::io;

use super::IndexError;
use super::layout::{Content, Plan};
use super::pieces::{Blocks, Chunks, Origin};
use crate::parallel::map_in_order_with;
use crate::source::write_all_at;
use crate::tree::{FileTree, Kind, NodeId};

/// So much is decoded and written at once: many units of every compression.
const AT_ONCE: u64 = 4 << 20;

/// A part of a file, and its place in the index.
struct Job {
    file: NodeId,
    start: u64,
    length: usize,
    place: u64,
}

/// Writes all that is copied, and returns the files that cannot be read.
pub(super) fn write(
    tree: &FileTree,
    blocks: &Blocks<'_>,
    plan: &Plan,
    output: &File,
    go_on: &(dyn Fn() -> io::Result<()> + Sync),
) -> Result<Vec<(NodeId, io::Error)>, IndexError> {
    let mut unreadable = Vec::new();
    let mut jobs = Vec::new();
    for id in &plan.files {
        match plan.content[id.0 as usize] {
            Content::Chunks { bits, own } => add_jobs(tree, blocks, plan, *id, (bits, own), &mut jobs),
            Content::Blocks { first } if tree.node(*id).kind == Kind::Symlink => {
                write_all_at(output, tree.link_target(*id), u64::from(first) * blocks.size)
                    .map_err(IndexError::Write)?;
            }
            _ => {}
        }
    }
    let results = map_in_order_with(jobs.len(), Vec::new, |buffer: &mut Vec<u8>, number| {
        let job = &jobs[number];
        go_on().map_err(IndexError::Interrupted)?;
        buffer.resize(job.length, 0);
        let read = tree.read_at(job.file, buffer, job.start);
        match read {
            Ok(_) => write_all_at(output, buffer, job.place).map(|()| None).map_err(IndexError::Write),
            Err(why) if is_about_the_file(&why) => Ok(Some(why)),
            Err(source) => Err(IndexError::Read { path: tree.path(job.file), source }),
        }
    });
    for (job, result) in jobs.iter().zip(results) {
        let is_new = |file| unreadable.last().is_none_or(|(last, _)| *last != file);
        if let Some(why) = result?
            && is_new(job.file)
        {
            unreadable.push((job.file, why));
        }
    }
    for id in &plan.files {
        if plan.content[id.0 as usize] == Content::Unreadable
            && let Err(why) = tree.read_at(*id, &mut [0], 0)
        {
            unreadable.push((*id, why));
        }
    }
    Ok(unreadable)
}

/// Whether the file is encrypted, damaged or of a kind that is not read; else it is the disk that fails.
pub(super) fn is_about_the_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidData)
}

fn add_jobs(
    tree: &FileTree,
    blocks: &Blocks<'_>,
    plan: &Plan,
    file: NodeId,
    (bits, own): (u8, u32),
    jobs: &mut Vec<Job>,
) {
    let pieces = blocks.pieces(tree, file, plan.spoiled.contains(file));
    let chunks = Chunks::of(&pieces, bits);
    if chunks.copied() == 0 {
        return;
    }
    let mut place = u64::from(own) * blocks.size;
    for chunk in chunks.iter().filter(|chunk| chunk.origin == Origin::Copied) {
        let mut start = chunk.start;
        while start < chunk.end {
            let length = (chunk.end - start).min(AT_ONCE);
            let job = Job {
                file,
                start,
                length: usize::try_from(length).unwrap_or(0),
                place: place + (start - chunk.start),
            };
            jobs.push(job);
            start += length;
        }
        place += (chunk.end - chunk.start).next_multiple_of(blocks.size);
    }
}
