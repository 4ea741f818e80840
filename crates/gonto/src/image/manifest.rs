//! What is in a volume, as a table that can be compared.
//!
//! Each line is a path and what belongs to it, separated by tabs, sorted by the bytes of the paths. In a path a backslash is
//! written as `\\`, a tab as `\t` and a line feed as `\n`; everything else stands as it is, also lone surrogates (WTF-8).
//!
//! | table | line |
//! | --- | --- |
//! | [`Table::Files`] | path, size, SHA-256, time of modification in nanoseconds since 1970 |
//! | [`Table::Streams`] | path and name of the stream (`path:stream`), size, SHA-256 |
//! | [`write_links`] | path, reparse tag and target (`None` where it has none) |

use std::collections::HashMap;
use std::io::{self, Write};

use gonto_image::{FileTree, Kind};

use super::content::Content;
use super::hash::{Digest, hash};
use super::path::Place;
use super::walk::{Step, Walk};
use super::{Error, Image, Watch};

/// What a manifest is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Regular files; hard links once for each path.
    Files,
    /// Named streams of files and folders.
    Streams,
}

/// A table of the contents below one place.
pub struct Manifest<'i> {
    tree: &'i FileTree,
    start: Place,
    table: Table,
    /// None where the content could not be read. Hard links share one.
    digests: HashMap<Content, Option<Digest>>,
    problems: Vec<Error>,
}

impl<'i> Manifest<'i> {
    /// Reads and hashes everything below `start`, with all processors, in the order of the disk.
    ///
    /// # Errors
    /// [`Error::Interrupted`] only. What cannot be read is one of the [`problems`](Self::problems).
    pub fn new(image: &'i Image, start: &Place, table: Table, watch: &Watch<'_>) -> Result<Self, Error> {
        let tree = image.tree();
        let mut problems = Vec::new();
        let mut digests = HashMap::new();
        let mut total = 0u64;
        rows(tree, start, table, |row| {
            match row {
                Row::Content { content, size, .. } => {
                    if digests.insert(content, None).is_none() {
                        // Sparse files may be of any size.
                        total = total.saturating_add(size);
                    }
                }
                Row::TooDeep { path } => problems.push(Error::too_deep(path)),
            }
            Ok(())
        })
        .map_err(Error::Output)?;
        let contents = in_disk_order(tree, &digests);
        let hashed = hash(tree, &contents, total, watch);
        watch.interrupted()?;

        let mut failed = HashMap::new();
        for (content, result) in contents.into_iter().zip(hashed) {
            match result {
                Ok(digest) => drop(digests.insert(content, Some(digest))),
                Err(error) => drop(failed.insert(content, error)),
            }
        }
        if !failed.is_empty() {
            rows(tree, start, table, |row| {
                if let Row::Content { path, content, .. } = row
                    && let Some(source) = failed.remove(&content)
                {
                    problems.push(Error::content(path, source));
                }
                Ok(())
            })
            .map_err(Error::Output)?;
        }
        problems.extend(image.damage_below(start, true, &problems));
        Ok(Self { tree, start: start.clone(), table, digests, problems })
    }

    /// What is not in the table, and why.
    #[must_use]
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// Writes the lines.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = Vec::new();
        rows(self.tree, &self.start, self.table, |row| {
            let Row::Content { path, content, size } = row else { return Ok(()) };
            let Some(Some(digest)) = self.digests.get(&content) else { return Ok(()) };
            line.clear();
            push_escaped(&mut line, path);
            write!(line, "\t{size}\t")?;
            push_hex(&mut line, digest);
            if self.table == Table::Files {
                write!(line, "\t{}", self.tree.node(content.node).modified.unix_nanos())?;
            }
            line.push(b'\n');
            out.write_all(&line)
        })
    }
}

enum Row<'p> {
    Content { path: &'p [u8], content: Content, size: u64 },
    TooDeep { path: &'p [u8] },
}

/// The order in which contents are read the fastest.
fn in_disk_order(tree: &FileTree, contents: &HashMap<Content, Option<Digest>>) -> Vec<Content> {
    let files = tree.disk_order().into_iter().map(Content::of).filter(|file| contents.contains_key(file));
    let mut streams: Vec<Content> =
        contents.keys().filter(|content| content.stream.is_some()).copied().collect();
    streams.sort_unstable();
    files.chain(streams).collect()
}

/// Writes the table of links and other reparse points below a place: path, tag, and target as Windows has it.
///
/// # Errors
/// What `out` says.
pub fn write_links(image: &Image, start: &Place, out: &mut dyn Write) -> io::Result<()> {
    let tree = image.tree();
    let mut walk = image.walk(start);
    let mut line = Vec::new();
    while let Some(step) = walk.next() {
        let Step::Name(node) = step else { continue };
        let Some(tag) = tree.reparse_tag(node) else { continue };
        line.clear();
        push_escaped(&mut line, walk.path());
        write!(line, "\t{tag:#010x} ")?;
        match tree.windows_target(node) {
            Some(target) => push_escaped(&mut line, target),
            None if tree.node(node).kind == Kind::Symlink => push_escaped(&mut line, tree.link_target(node)),
            None => line.extend(b"None"),
        }
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}

/// The rows of a table, in its order.
fn rows(
    tree: &FileTree,
    start: &Place,
    table: Table,
    mut each: impl FnMut(Row<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut walk = Walk::from(tree, start.node, &start.path);
    while let Some(step) = walk.next() {
        match (table, step) {
            (Table::Files, Step::Name(node)) if tree.node(node).kind == Kind::File => {
                let size = tree.node(node).size;
                each(Row::Content { path: walk.path(), content: Content::of(node), size })?;
            }
            (Table::Streams, Step::Streams(node)) => {
                for (number, stream) in tree.streams(node).enumerate() {
                    let path = [walk.path(), b":", stream.name].concat();
                    let content = Content { node, stream: Some(number) };
                    each(Row::Content { path: &path, content, size: stream.size })?;
                }
            }
            (_, Step::TooDeep(_)) => each(Row::TooDeep { path: walk.path() })?,
            _ => {}
        }
    }
    Ok(())
}

fn push_escaped(line: &mut Vec<u8>, path: &[u8]) {
    for byte in path {
        match byte {
            b'\\' => line.extend(br"\\"),
            b'\t' => line.extend(br"\t"),
            b'\n' => line.extend(br"\n"),
            other => line.push(*other),
        }
    }
}

fn push_hex(line: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        let digit = |value: u8| char::from_digit(value.into(), 16).map_or(b'?', |digit| digit as u8);
        line.extend([digit(byte >> 4), digit(byte & 0xf)]);
    }
}
