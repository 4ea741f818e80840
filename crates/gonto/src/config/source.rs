//! The text of one configuration file, and places in it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration file as it was read: its path and its text, without a byte order mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(path: &Path, text: &str) -> Arc<Source> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Arc::new(Source { path: path.to_owned(), text: text.to_owned() })
    }
}

/// A stretch of a configuration file.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    /// In bytes from the start of [`Source::text`], on character boundaries.
    range: Range<usize>,
}

impl Place {
    /// `range` counts bytes. It is narrowed to what the text has, so that no marker can make a message panic.
    pub(super) fn new(source: &Arc<Source>, range: Range<usize>) -> Place {
        let start = source.text.floor_char_boundary(range.start);
        let end = source.text.floor_char_boundary(range.end).max(start);
        Place { source: Arc::clone(source), range: start..end }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.source.path
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        1 + self.source.text[..self.range.start].matches('\n').count()
    }

    /// The column, counted in characters from 1.
    pub fn column(&self) -> usize {
        1 + self.source.text[self.line_start()..self.range.start].chars().count()
    }

    /// What is written there.
    pub fn text(&self) -> &str {
        &self.source.text[self.range.clone()]
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The same place without the lines after its first one: a message about a long block shows where it starts.
    pub(super) fn first_line(&self) -> Place {
        let length = self.text().find(['\r', '\n']).unwrap_or(self.range.len());
        Place::new(&self.source, self.range.start..self.range.start + length)
    }

    /// Where the line that the place starts in begins, in bytes.
    pub(super) fn line_start(&self) -> usize {
        self.source.text[..self.range.start].rfind('\n').map_or(0, |newline| newline + 1)
    }
}

impl fmt::Debug for Place {
    /// Leaves the text of the file out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file().display(), self.line(), self.column())
    }
}
