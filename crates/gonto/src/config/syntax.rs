//! The writing of a YAML file: what the parser says about it, and what PyYAML refuses beyond that.

use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::ScanError;

use super::diagnostic::{Diagnostic, shown};
use super::source::{Place, Source};

/// The rest of the file cannot be read.
pub(super) struct Stop(pub(super) Box<Diagnostic>);

impl From<Diagnostic> for Stop {
    fn from(diagnostic: Diagnostic) -> Stop {
        Stop(Box::new(diagnostic))
    }
}

/// Turns the parser's positions, which count characters, into bytes.
pub(super) struct Positions<'a> {
    text: &'a str,
    /// The byte at which each character starts; None when all characters are one byte long.
    starts: Option<Vec<usize>>,
}

impl<'a> Positions<'a> {
    pub(super) fn new(text: &'a str) -> Positions<'a> {
        let starts = (!text.is_ascii()).then(|| text.char_indices().map(|(start, _)| start).collect());
        Positions { text, starts }
    }

    pub(super) fn byte(&self, character: usize) -> usize {
        match &self.starts {
            Some(starts) => starts.get(character).copied().unwrap_or(self.text.len()),
            None => character.min(self.text.len()),
        }
    }
}

/// What may stand before a value: an anchor and a tag.
#[derive(Clone, Debug)]
pub(super) struct Properties<'a> {
    /// The anchor's name and where it is written, `&` included.
    pub(super) anchor: Option<(&'a str, Range<usize>)>,
    /// Where the value itself begins, in bytes.
    pub(super) end: usize,
}

impl<'a> Properties<'a> {
    pub(super) fn none(end: usize) -> Properties<'a> {
        Properties { anchor: None, end }
    }

    /// Reads them from the front of `text[start..end]`, where the parser has found some.
    pub(super) fn read(text: &'a str, start: usize, end: usize) -> Properties<'a> {
        let mut properties = Properties::none(start);
        let mut at = start;
        while at < end {
            let rest = &text[at..end];
            let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
            match rest.as_bytes().first() {
                Some(b'&') => {
                    properties.anchor = Some((&rest[1..word], at..at + word));
                    at += word;
                    properties.end = at;
                }
                Some(b'!') => {
                    at += word;
                    properties.end = at;
                }
                Some(b'#') => at += rest.find('\n').unwrap_or(rest.len()),
                Some(b' ' | b'\t' | b'\r' | b'\n') => at += 1,
                _ => {
                    properties.end = at;
                    break;
                }
            }
        }
        properties
    }
}

/// Refuses what is not a printable character of YAML 1.1.
pub(super) fn check_characters(source: &Arc<Source>) -> Result<(), Stop> {
    let printable = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    match source.text.char_indices().find(|&(_, c)| !printable(c)) {
        None => Ok(()),
        Some((start, found)) => {
            let code = u32::from(found);
            Err(Diagnostic::error("a configuration file holds printable characters only")
                .at(Place::new(source, start..start + found.len_utf8()), format!("found U+{code:04X}"))
                .help(format!("remove it, or write it as \"\\u{code:04X}\" in double quotes"))
                .into())
        }
    }
}

/// Refuses tabs between values; `gap` is text without any value. In comments they may stand.
pub(super) fn check_gap(source: &Arc<Source>, gap: Range<usize>) -> Result<(), Stop> {
    let mut in_comment = false;
    for (index, byte) in source.text.as_bytes()[gap.clone()].iter().enumerate() {
        match byte {
            b'#' => in_comment = true,
            b'\n' | b'\r' => in_comment = false,
            b'\t' if !in_comment => return Err(tab(source, gap.start + index).into()),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses tabs inside a plain scalar.
pub(super) fn check_plain(source: &Arc<Source>, scalar: Range<usize>) -> Result<(), Stop> {
    match source.text[scalar.clone()].find('\t') {
        Some(index) => Err(tab(source, scalar.start + index).into()),
        None => Ok(()),
    }
}

fn tab(source: &Arc<Source>, at: usize) -> Diagnostic {
    Diagnostic::error("YAML does not take a tab here")
        .at(Place::new(source, at..at + 1), "expected spaces, found a tab")
        .help("indent with spaces; put text that holds a tab in quotes")
}

/// Refuses names of anchors that other readers of YAML 1.1 would not understand.
pub(super) fn check_anchor_name(name: &str, place: &Place) -> Result<(), Stop> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(fits) {
        return Ok(());
    }
    Err(Diagnostic::error(format!("`{}` cannot be the name of an anchor", shown(name)))
        .at(place.clone(), "expected letters, digits, `-` and `_`")
        .help("put text that begins with `&` or `*` in quotes")
        .into())
}

/// What the parser says, with the remedies that it does not know.
pub(super) fn explain(source: &Arc<Source>, positions: &Positions<'_>, error: &ScanError) -> Diagnostic {
    let start = positions.byte(error.marker().index());
    let length = source.text[start..].chars().next().map_or(0, char::len_utf8);
    // At the end of the text there is nothing to point at but the end of the last line.
    let place = if length > 0 {
        Place::new(source, start..start + length)
    } else {
        let end = source.text.trim_end().len();
        Place::new(source, end..end)
    };
    let info = error.info();
    let line = &source.text[place.line_start()..];
    let line = line.lines().next().unwrap_or_default();
    let help = remedy(info, line);
    Diagnostic::error("the file is not valid YAML").at(place, info).help(help)
}

/// The likely remedy, by the words of the parser and the line that it stopped in.
fn remedy(info: &str, line: &str) -> &'static str {
    let quoted = info.contains("quoted scalar");
    let escape = info.contains("escape") || info.contains("hexadecimal");
    if line.trim_start_matches(' ').starts_with('\t') || info.contains("tab") {
        "indent with spaces, not with tabs"
    } else if (quoted || escape) && line.contains(r#":\"#) {
        r#"in double quotes a backslash is written twice: "U:\\"; or use single quotes: 'U:\'"#
    } else if info.contains("invalid indentation in quoted scalar") {
        "indent every line of the quoted text deeper than its key, or write it as a block after `|`"
    } else if escape {
        "in double quotes a backslash is written twice; or use single quotes, where it means itself"
    } else if quoted {
        "close the quotes"
    } else if line.contains("{{") || line.contains("${") {
        "put text with `{{...}}` or `${...}` in quotes"
    } else if is_bare_drive(line) {
        r"a drive letter is written 'U:\'"
    } else if info.contains("mapping values are not allowed") {
        "put a value that holds `: ` in quotes; check that the keys of one mapping are indented alike"
    } else if info.contains("unknown anchor") {
        "define the anchor (`&NAME`) before its alias (`*NAME`); put text that begins with `*` in quotes"
    } else if info.contains("unexpected character") || info.contains("cannot start any token") {
        "put text that begins with this character in quotes"
    } else if info.contains("may not precede") {
        "write a space after the colon"
    } else if info.contains("flow sequence") || info.contains("flow mapping") {
        "close the bracket; put text that begins with `[` or `{` in quotes"
    } else if info.contains("block sequence entries") {
        "begin a list on a line of its own; put text that begins with `-` in quotes"
    } else if info.contains("directive") {
        "put text that begins with `%` in quotes; directives stand before `---` at the top of the file"
    } else if info.contains("simple key") || info.contains("could not find expected ':'") {
        "write `KEY: VALUE`, with a space after the colon"
    } else if info.contains("block mapping") || info.contains("indent") {
        "check that the keys of one mapping, or the `-` of one list, are indented alike"
    } else {
        "check the indentation, the brackets and the quotes up to here"
    }
}

/// Whether a line ends with a drive letter and a colon, which YAML takes for a key.
fn is_bare_drive(line: &str) -> bool {
    let value = line.trim_end().rsplit(' ').next().unwrap_or_default();
    matches!(value.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic()) && line.trim_start() != value
}
