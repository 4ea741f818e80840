//! What is wrong with a configuration, or odd in it: the place, what was expected and the remedy.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use thiserror::Error;

use super::source::Place;

/// The configuration cannot be used. Holds everything that is wrong with it, not the first thing only, and the
/// warnings that were found on the way.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", self.render(false))]
pub struct ConfigError {
    diagnostics: Vec<Diagnostic>,
}

impl ConfigError {
    pub(super) fn new(diagnostics: Vec<Diagnostic>) -> ConfigError {
        ConfigError { diagnostics }
    }

    /// Every error and warning, file by file and from top to bottom.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// All of them as text for people, an empty line between two, without a newline at the end. `color` adds terminal
    /// escapes.
    pub fn render(&self, color: bool) -> String {
        let rendered: Vec<String> = self.diagnostics.iter().map(|it| it.render(color)).collect();
        rendered.join("\n\n")
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but perhaps does not mean what its author thinks.
    Warning,
}

/// One thing that is wrong or odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it keeps the configuration from being used.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// The path of keys to the value, such as `targets.build.requires[0].version`; empty for the whole configuration
    /// and for errors in the writing of a file.
    pub key_path: String,
    /// The offending text. None when no text is to blame, as for a file that cannot be read.
    pub place: Option<Place>,
    /// What was expected and what was found, in a few words beside the offending text; may be empty.
    pub label: String,
    /// Another place that belongs to it, and what it is.
    pub related: Option<(Place, String)>,
    /// The likely remedy.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(super) fn error(message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, message.into())
    }

    pub(super) fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, message.into())
    }

    fn new(severity: Severity, message: String) -> Diagnostic {
        Diagnostic {
            severity,
            message,
            key_path: String::new(),
            place: None,
            label: String::new(),
            related: None,
            help: None,
        }
    }

    pub(super) fn at(mut self, place: Place, label: impl Into<String>) -> Diagnostic {
        self.place = Some(place.first_line());
        self.label = label.into();
        self
    }

    pub(super) fn key_path(mut self, key_path: impl fmt::Display) -> Diagnostic {
        self.key_path = key_path.to_string();
        self
    }

    pub(super) fn related(mut self, place: Place, label: impl Into<String>) -> Diagnostic {
        self.related = Some((place.first_line(), label.into()));
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The diagnostic as text for people, without a newline at the end. `color` adds terminal escapes.
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        if let Some(place) = &self.place {
            group = with_snippet(group, place, &self.label, AnnotationKind::Primary);
        }
        if let Some((place, label)) = &self.related {
            group = with_snippet(group, place, label, AnnotationKind::Context);
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

/// Longest line, in bytes, that is handed to the renderer whole. It measures every character of it, for each message.
const MAX_LINE: usize = 64 << 10;

/// How many bytes are shown of a longer line.
const CUT: usize = 1 << 10;

/// Shows the line of `place`. Only this line is handed to the renderer: it would split the whole file for each message.
fn with_snippet<'a>(group: Group<'a>, place: &'a Place, label: &'a str, kind: AnnotationKind) -> Group<'a> {
    let path = place.file().to_string_lossy();
    let text = &place.source().text;
    if text.is_empty() {
        return group.element(Origin::path(path));
    }
    let within = place.range();
    let line_start = place.line_start();
    let line_end = line_start + text[line_start..].find(['\r', '\n']).unwrap_or(text.len() - line_start);
    let annotation = |start: usize, end: usize| {
        let annotation = kind.span(within.start - start..within.end.min(end) - start);
        if label.is_empty() { annotation } else { annotation.label(label) }
    };
    if line_end - line_start <= MAX_LINE {
        let line = Snippet::source(&text[line_start..line_end]).line_start(place.line()).path(path);
        return group.element(line.annotation(annotation(line_start, line_end)));
    }
    // The renderer counts columns from the start of what it is given, so that the place of a cut line is told apart.
    let start = text.floor_char_boundary(within.start.saturating_sub(CUT / 2).max(line_start));
    let end = text.floor_char_boundary((within.start + CUT).min(line_end));
    let origin = Origin::path(path).line(place.line()).char_column(place.column());
    let cut = Snippet::source(&text[start..end]).line_start(place.line());
    group.element(origin).element(cut.annotation(annotation(start, end)))
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Collects diagnostics while files are read and values are checked.
#[derive(Debug, Default)]
pub(super) struct Report {
    collected: RefCell<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

/// How many errors, and how many warnings, are kept. A configuration with more has one cause for many of them, nobody
/// reads on, and a hostile file must not fill the memory with messages.
const MAX_KEPT: usize = 100;

impl Report {
    pub(super) fn add(&self, diagnostic: Diagnostic) {
        let mut collected = self.collected.borrow_mut();
        let count = match diagnostic.severity {
            Severity::Error => &mut collected.errors,
            Severity::Warning => &mut collected.warnings,
        };
        *count += 1;
        if *count <= MAX_KEPT {
            collected.diagnostics.push(diagnostic);
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.collected.borrow().errors > 0
    }

    /// What was collected, file by file and from top to bottom. What was too much to keep is told as a count.
    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let Collected { mut diagnostics, errors, warnings } = self.collected.into_inner();
        let mut files: Vec<PathBuf> = Vec::new();
        for place in diagnostics.iter().filter_map(|it| it.place.as_ref()) {
            if !files.iter().any(|file| file == place.file()) {
                files.push(place.file().to_owned());
            }
        }
        diagnostics.sort_by_cached_key(|it| {
            let place = it.place.as_ref();
            place.map(|place| (files.iter().position(|file| file == place.file()), place.range().start))
        });
        if errors > MAX_KEPT {
            diagnostics.push(Diagnostic::error(format!("{} more errors are not shown", errors - MAX_KEPT)));
        }
        if warnings > MAX_KEPT {
            let more = warnings - MAX_KEPT;
            diagnostics.push(Diagnostic::warning(format!("{more} more warnings are not shown")));
        }
        diagnostics
    }
}

/// A key or value as messages quote it: on one line, and cut where it gets long.
pub(super) fn shown(text: &str) -> String {
    /// Enough to recognise the value by; the snippet beside the message shows the whole line.
    const MAX_CHARS: usize = 60;
    let mut shown: String =
        text.chars().take(MAX_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
