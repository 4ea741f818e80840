//! What `gonto image ls` prints.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use gonto::image::list::{ListOptions, Listed, ListedKind};
use gonto::image::{Error, Image, Place};

use super::time::utc;

/// How names are listed.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) long: bool,
    pub(super) recursive: bool,
    pub(super) streams: bool,
    pub(super) json: bool,
}

/// Prints a folder or file, and returns what is missing.
pub(super) fn print(
    image: &Image,
    place: &Place,
    style: Style,
    out: &mut dyn Write,
) -> Result<Vec<Error>, Error> {
    let options = ListOptions { recursive: style.recursive, streams: style.streams };
    let escape = io::stdout().is_terminal();
    let mut first = true;
    let problems = image.list(place, options, |listed| {
        let written = if style.json {
            let start = if first { "[\n" } else { ",\n" };
            write!(out, "{start}").and_then(|()| serde_json::to_writer(&mut *out, listed).map_err(Into::into))
        } else {
            lines(listed, style.long, escape, out)
        };
        first = false;
        written.map_err(Error::Output)
    })?;
    if style.json {
        writeln!(out, "{}", if first { "[]" } else { "\n]" }).map_err(Error::Output)?;
    }
    Ok(problems)
}

/// The line of a name, and one for each of its streams.
fn lines(listed: &Listed, long: bool, escape: bool, out: &mut dyn Write) -> io::Result<()> {
    let shown = |name| if escape { escaped(name) } else { Cow::Borrowed(name) };
    let name = shown(&listed.path);
    if long {
        let (mode, time) = (mode(listed.kind, listed.mode), utc(listed.modified));
        write!(out, "{mode} {:>3} {:>12} {time} ", listed.links, listed.size)?;
    }
    out.write_all(&name)?;
    if listed.kind == ListedKind::Folder {
        out.write_all(b"/")?;
    }
    if let Some(target) = listed.target.as_deref().filter(|_| long) {
        out.write_all(b" -> ")?;
        out.write_all(&shown(target))?;
    }
    writeln!(out)?;
    for stream in &listed.streams {
        if long {
            write!(out, "{:>14} {:>12} {:20} ", "stream", stream.size, "")?;
        }
        out.write_all(&name)?;
        out.write_all(b":")?;
        out.write_all(&shown(&stream.name))?;
        writeln!(out)?;
    }
    Ok(())
}

/// As ls(1) writes it.
fn mode(kind: ListedKind, mode: u32) -> String {
    let kind = match kind {
        ListedKind::Folder => 'd',
        ListedKind::File => '-',
        ListedKind::Link => 'l',
    };
    let bits = (0..9).map(|bit| match mode >> (8 - bit) & 1 {
        1 => ['r', 'w', 'x'][bit % 3],
        _ => '-',
    });
    std::iter::once(kind).chain(bits).collect()
}

/// A name that does nothing to a terminal.
fn escaped(name: &[u8]) -> Cow<'_, [u8]> {
    let is_harmless = |text: &str| !text.chars().any(char::is_control);
    if str::from_utf8(name).is_ok_and(is_harmless) {
        return Cow::Borrowed(name);
    }
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.push_str(&format!("\\x{:02x}", u32::from(character)));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    Cow::Owned(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_escaped() {
        assert_eq!(escaped("Grüße \\x".as_bytes()), "Grüße \\x".as_bytes());
        assert_eq!(escaped(b"a\x1b[31m\n"), &b"a\\x1b[31m\\x0a"[..]);
        assert_eq!(escaped("\u{9b}1m".as_bytes()), &b"\\x9b1m"[..]);
        assert_eq!(escaped(b"\xed\xa0\x80x"), &b"\\xed\\xa0\\x80x"[..]);
    }

    #[test]
    fn modes_look_as_everywhere() {
        assert_eq!(mode(ListedKind::Folder, 0o755), "drwxr-xr-x");
        assert_eq!(mode(ListedKind::File, 0o640), "-rw-r-----");
        assert_eq!(mode(ListedKind::Link, 0o777), "lrwxrwxrwx");
    }
}
