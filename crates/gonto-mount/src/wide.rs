//! Command lines and environments as CreateProcessW takes them: UTF-16 text with rules of its own.
//!
//! Everything here is a count of UTF-16 units, which Windows calls characters.

use std::cmp::Ordering;
use std::io;

/// The longest command line that cmd takes. It is meant for what is behind `/c`; where exactly cmd begins to count is written
/// nowhere, so the whole line is held to it.
const MAX_LINE: usize = 8191;

/// The longest `NAME=VALUE` that Windows keeps, without its NUL.
const MAX_VARIABLE: usize = 32766;

const NUL: u16 = 0;
const EQUALS: u16 = b'=' as u16;

/// What Windows or its shell would misread.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WideError {
    #[error("a NUL character in the command")]
    NulInLine,
    #[error("a line break in the command, of which cmd runs the first line only: run its lines one by one")]
    BreakInLine,
    #[error(
        "the line is {excess} characters too long for cmd, which takes {MAX_LINE} with its own name and options: put it into \
         a .bat file, and call that"
    )]
    LineTooLong { excess: usize },
    #[error("a NUL character in the environment variable {name:?}")]
    NulInVariable { name: String },
    #[error("{name:?} cannot be the name of an environment variable: use letters, digits and underscores")]
    VariableName { name: String },
    #[error(
        "the environment variable {name:?} is {excess} characters too long for Windows, which takes {MAX_VARIABLE} with the \
         name: shorten it, or put its content into a file"
    )]
    VariableTooLong { name: String, excess: usize },
}

impl From<WideError> for io::Error {
    fn from(error: WideError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// The parts of a command line with spaces between them, ended by a NUL.
///
/// # Errors
/// When cmd would run something else than the line, or nothing.
pub(crate) fn command_line(parts: impl IntoIterator<Item = Vec<u16>>) -> Result<Vec<u16>, WideError> {
    let parts: Vec<Vec<u16>> = parts.into_iter().collect();
    let mut line = parts.join(&u16::from(b' '));
    if line.contains(&NUL) {
        return Err(WideError::NulInLine);
    }
    if line.contains(&u16::from(b'\n')) || line.contains(&u16::from(b'\r')) {
        return Err(WideError::BreakInLine);
    }
    match line.len().saturating_sub(MAX_LINE) {
        0 => {}
        excess => return Err(WideError::LineTooLong { excess }),
    }
    line.push(NUL);
    Ok(line)
}

/// The environment block of names and values: `NAME=VALUE`, each ended by a NUL, sorted by name, with another NUL at the end.
/// Of names that are the same for `compare`, the last counts. Names such as `=C:`, which hold the current folder of each drive,
/// are names like others.
///
/// # Errors
/// When a program would find other variables in the block than those.
pub(crate) fn environment_block(
    variables: impl IntoIterator<Item = (Vec<u16>, Vec<u16>)>,
    compare: impl Fn(&[u16], &[u16]) -> Ordering,
) -> Result<Vec<u16>, WideError> {
    let mut variables: Vec<(Vec<u16>, Vec<u16>)> = variables.into_iter().collect();
    for (name, value) in &variables {
        check(name, value)?;
    }
    // The last one comes first, where it stays when equals are sorted.
    variables.reverse();
    variables.sort_by(|(one, _), (other, _)| compare(one, other));
    variables.dedup_by(|(later, _), (first, _)| compare(later, first).is_eq());
    let mut block = Vec::new();
    for (name, value) in variables {
        block.extend(name);
        block.push(EQUALS);
        block.extend(value);
        block.push(NUL);
    }
    if block.is_empty() {
        block.push(NUL);
    }
    block.push(NUL);
    Ok(block)
}

fn check(name: &[u16], value: &[u16]) -> Result<(), WideError> {
    let told = || String::from_utf16_lossy(name);
    if name.contains(&NUL) || value.contains(&NUL) {
        return Err(WideError::NulInVariable { name: told() });
    }
    // An equals sign ends the name, unless it is its first character.
    let [_, rest @ ..] = name else { return Err(WideError::VariableName { name: told() }) };
    if rest.contains(&EQUALS) {
        return Err(WideError::VariableName { name: told() });
    }
    let length = name.len().saturating_add(1).saturating_add(value.len());
    match length.saturating_sub(MAX_VARIABLE) {
        0 => Ok(()),
        excess => Err(WideError::VariableTooLong { name: told(), excess }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    /// Near enough to what Windows does.
    fn compare(one: &[u16], other: &[u16]) -> Ordering {
        let upper = |name: &[u16]| wide(&String::from_utf16_lossy(name).to_uppercase());
        upper(one).cmp(&upper(other))
    }

    fn line(parts: &[&str]) -> Result<String, String> {
        let line = command_line(parts.iter().map(|part| wide(part))).map_err(|error| error.to_string())?;
        Ok(String::from_utf16(&line).unwrap())
    }

    fn block(variables: &[(&str, &str)]) -> Result<String, String> {
        let variables = variables.iter().map(|(name, value)| (wide(name), wide(value)));
        let block = environment_block(variables, compare).map_err(|error| error.to_string())?;
        Ok(String::from_utf16(&block).unwrap())
    }

    #[test]
    fn a_command_line_is_its_parts_as_they_are() {
        let parts = ["cmd.exe", "/c", r#""echo "a b" ^& \" & 漢 %X% 😀""#];
        assert_eq!(line(&parts).unwrap(), format!("{}\0", parts.join(" ")));
    }

    #[test]
    fn what_cmd_would_cut_is_refused() {
        let longest = "x".repeat(8191 - 2);
        assert_eq!(line(&["a", &longest]).unwrap().len(), 8192);
        let error = line(&["a", &longest, "bc"]).unwrap_err();
        assert_eq!(
            error,
            "the line is 3 characters too long for cmd, which takes 8191 with its own name and options: put it into a .bat \
             file, and call that"
        );
        // A character outside of the first plane is two of those that Windows counts.
        assert!(line(&["a", &"😀".repeat(4095)]).unwrap_err().contains("1 characters too long"));
        for (text, why) in [("a\0b", "NUL"), ("a\nb", "line break"), ("a\rb", "line break")] {
            assert!(line(&["cmd", text]).unwrap_err().contains(why), "{text:?}");
        }
    }

    #[test]
    fn variables_are_sorted_by_name_and_the_last_one_counts() {
        let variables = [
            ("Path", "old"),
            ("b", "2"),
            ("=C:", r"C:\here"),
            ("ä", "small"),
            ("A", "="),
            ("_", ""),
            ("PATH", "new"),
            ("Ä", "large"),
        ];
        assert_eq!(block(&variables).unwrap(), "=C:=C:\\here\0A==\0b=2\0PATH=new\0_=\0Ä=large\0\0");
        assert_eq!(block(&[]).unwrap(), "\0\0");
    }

    #[test]
    fn what_a_program_would_read_differently_is_refused() {
        for (name, value, why) in [
            ("A", "x\0B=y", "a NUL character in the environment variable \"A\""),
            ("A\0B", "x", "a NUL character in the environment variable \"A\\0B\""),
            ("A=B", "x", "\"A=B\" cannot be the name"),
            ("==", "x", "\"==\" cannot be the name"),
            ("", "x", "\"\" cannot be the name"),
        ] {
            let error = block(&[("FIRST", "1"), (name, value)]).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
        assert_eq!(block(&[("A", &"x".repeat(32764))]).unwrap().len(), 32768);
        let error = block(&[("A", &"x".repeat(32765))]).unwrap_err();
        assert!(
            error.starts_with("the environment variable \"A\" is 1 characters too long for Windows"),
            "{error}"
        );
    }
}
