//! Text as Windows takes and gives it: UTF-16 with a zero at its end.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};

/// The text with its terminator.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] when the text would end early.
pub(super) fn wide(text: impl AsRef<OsStr>) -> io::Result<Vec<u16>> {
    let text = text.as_ref();
    let mut units: Vec<u16> = text.encode_wide().collect();
    if units.contains(&0) {
        let what = format!("{} holds a zero character", text.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    units.push(0);
    Ok(units)
}

/// What stands before the terminator.
pub(super) fn text(units: &[u16]) -> OsString {
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    OsString::from_wide(&units[..end])
}

/// Several texts, each with a terminator, behind the last one another.
pub(super) fn texts(units: &[u16]) -> Vec<OsString> {
    units.split(|unit| *unit == 0).take_while(|text| !text.is_empty()).map(OsString::from_wide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_with_a_zero_and_holds_none() {
        assert_eq!(wide("ä:\\").unwrap(), [0xe4, 0x3a, 0x5c, 0]);
        assert_eq!(wide("a\0b").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(text(&[0x55, 0x3a, 0, 0x78]), "U:");
        assert_eq!(text(&[0x55]), "U");
        assert_eq!(texts(&[0x55, 0, 0x56, 0, 0, 0x57]), ["U", "V"]);
        assert!(texts(&[0, 0]).is_empty());
    }
}
