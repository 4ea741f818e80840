//! What a value holds: its type and its bytes, as the system keeps them.

use std::ffi::{OsStr, OsString};

use super::RegistryError;
use super::place::Place;
use crate::config::{RegistryData, RegistryType, RegistryValue};

/// The numbers of the types, from winnt.h.
const REG_SZ: u32 = 1;
const REG_EXPAND_SZ: u32 = 2;
const REG_DWORD: u32 = 4;
const REG_DWORD_BIG_ENDIAN: u32 = 5;
const REG_MULTI_SZ: u32 = 7;
const REG_QWORD: u32 = 11;

/// Type and bytes. What was in the registry before may be of any type, and its bytes need not fit that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Data {
    /// The number of the type.
    pub(super) kind: u32,
    pub(super) bytes: Vec<u8>,
}

impl Data {
    /// What a value of the configuration is in the registry. `fill_in` replaces the placeholders in its text. A mount point
    /// that is not Unicode is written as it is: to Windows, both it and a string are any units of 16 bits.
    ///
    /// # Errors
    /// [`RegistryError::Nul`], [`RegistryError::EmptyLine`], [`RegistryError::WrongData`].
    pub(super) fn of(
        value: &RegistryValue,
        place: &Place,
        fill_in: &impl Fn(&str) -> OsString,
    ) -> Result<Self, RegistryError> {
        let number = number_of(value.kind);
        let wrong = || {
            let expected = match value.kind.max_integer() {
                Some(max) => format!("an integer from 0 to {max}"),
                None => "a string".to_owned(),
            };
            RegistryError::WrongData { value: place.to_string(), kind: value.kind.as_str(), expected }
        };
        let bytes = match (&value.data, value.kind) {
            (RegistryData::String(text), RegistryType::Sz | RegistryType::ExpandSz) => {
                string(&text_of(text, place, fill_in)?)
            }
            (RegistryData::String(text), RegistryType::MultiSz) => {
                strings(&text_of(text, place, fill_in)?, place)?
            }
            (RegistryData::Integer(value), RegistryType::Qword | RegistryType::QwordLittleEndian) => {
                value.to_le_bytes().to_vec()
            }
            (RegistryData::Integer(value), RegistryType::Dword | RegistryType::DwordLittleEndian) => {
                u32::try_from(*value).map_err(|_| wrong())?.to_le_bytes().to_vec()
            }
            (RegistryData::Integer(value), RegistryType::DwordBigEndian) => {
                u32::try_from(*value).map_err(|_| wrong())?.to_be_bytes().to_vec()
            }
            _ => return Err(wrong()),
        };
        Ok(Self { kind: number, bytes })
    }
}

fn number_of(kind: RegistryType) -> u32 {
    match kind {
        RegistryType::Sz => REG_SZ,
        RegistryType::ExpandSz => REG_EXPAND_SZ,
        RegistryType::MultiSz => REG_MULTI_SZ,
        RegistryType::Dword | RegistryType::DwordLittleEndian => REG_DWORD,
        RegistryType::DwordBigEndian => REG_DWORD_BIG_ENDIAN,
        RegistryType::Qword | RegistryType::QwordLittleEndian => REG_QWORD,
    }
}

/// The units of a text whose placeholders are replaced.
fn text_of(
    text: &str,
    place: &Place,
    fill_in: &impl Fn(&str) -> OsString,
) -> Result<Vec<u16>, RegistryError> {
    let units = sys::units(&fill_in(text));
    if units.contains(&0) {
        return Err(RegistryError::Nul { value: place.to_string(), part: "data" });
    }
    Ok(units)
}

/// A string ends with a NUL.
fn string(units: &[u16]) -> Vec<u8> {
    units.iter().chain(&[0]).flat_map(|unit| unit.to_le_bytes()).collect()
}

/// Each line is a string, and an empty string ends them all. The end of the last line begins no other.
fn strings(units: &[u16], place: &Place) -> Result<Vec<u8>, RegistryError> {
    const LINE_FEED: u16 = 0x0a;
    const CARRIAGE_RETURN: u16 = 0x0d;
    let mut bytes = Vec::new();
    for (index, line) in units.split_inclusive(|unit| *unit == LINE_FEED).enumerate() {
        let line = line.strip_suffix(&[LINE_FEED]).unwrap_or(line);
        let line = line.strip_suffix(&[CARRIAGE_RETURN]).unwrap_or(line);
        if line.is_empty() {
            return Err(RegistryError::EmptyLine { value: place.to_string(), line: index.saturating_add(1) });
        }
        bytes.extend(string(line));
    }
    bytes.extend(string(&[]));
    Ok(bytes)
}

#[cfg(windows)]
mod sys {
    use super::OsStr;
    use std::os::windows::ffi::OsStrExt;

    pub(super) fn units(text: &OsStr) -> Vec<u16> {
        text.encode_wide().collect()
    }
}

/// For tests: what is not Windows writes no registry.
#[cfg(not(windows))]
mod sys {
    use super::OsStr;

    pub(super) fn units(text: &OsStr) -> Vec<u16> {
        text.to_string_lossy().encode_utf16().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RegistryRoot;

    fn of(kind: RegistryType, data: RegistryData) -> Result<Data, RegistryError> {
        let (path, name) = ("Software".to_owned(), "x".to_owned());
        let value = RegistryValue { root: RegistryRoot::CurrentUser, path, name, kind, data };
        Data::of(&value, &Place::of(&value)?, &|text| text.replace("{{mount_point}}", "U:\\").into())
    }

    fn text(kind: RegistryType, text: &str) -> Result<Data, RegistryError> {
        of(kind, RegistryData::String(text.to_owned()))
    }

    fn integer(kind: RegistryType, integer: u64) -> Result<Data, RegistryError> {
        of(kind, RegistryData::Integer(integer))
    }

    #[test]
    fn every_type_has_its_bytes() {
        let data = |kind, bytes: &[u8]| Data { kind, bytes: bytes.to_vec() };
        let sz = text(RegistryType::Sz, "{{mount_point}}é").unwrap();
        assert_eq!(sz, data(1, b"U\0:\0\\\0\xe9\0\0\0"));
        assert_eq!(text(RegistryType::ExpandSz, "%A%").unwrap(), data(2, b"%\0A\0%\0\0\0"));
        assert_eq!(text(RegistryType::Sz, "").unwrap(), data(1, b"\0\0"));
        assert_eq!(integer(RegistryType::Dword, 1).unwrap(), data(4, &[1, 0, 0, 0]));
        assert_eq!(integer(RegistryType::DwordLittleEndian, 1).unwrap(), data(4, &[1, 0, 0, 0]));
        assert_eq!(integer(RegistryType::DwordBigEndian, 1).unwrap(), data(5, &[0, 0, 0, 1]));
        for kind in [RegistryType::Qword, RegistryType::QwordLittleEndian] {
            assert_eq!(
                integer(kind, u64::MAX - 1).unwrap(),
                data(11, &[0xfe, 255, 255, 255, 255, 255, 255, 255])
            );
        }
    }

    #[test]
    fn each_line_is_a_string() {
        let strings = |lines: &str| text(RegistryType::MultiSz, lines).map(|data| (data.kind, data.bytes));
        assert_eq!(strings("a\nb").unwrap(), (7, b"a\0\0\0b\0\0\0\0\0".to_vec()));
        assert_eq!(strings("a\nb\n").unwrap(), strings("a\nb").unwrap());
        assert_eq!(strings("a\r\nb\r\n").unwrap(), strings("a\nb").unwrap());
        assert_eq!(strings("").unwrap(), (7, b"\0\0".to_vec()));
        for (lines, empty) in [("a\n\nb", 2), ("\na", 1), ("a\n\n", 2), ("\n", 1), ("a\n\r\nb", 2)] {
            let error = strings(lines).unwrap_err();
            assert!(
                matches!(error, RegistryError::EmptyLine { line, .. } if line == empty),
                "{lines:?}: {error}"
            );
        }
    }

    #[test]
    fn what_would_be_cut_short_is_refused() {
        let error = text(RegistryType::Sz, "a\0b").unwrap_err().to_string();
        assert_eq!(
            error,
            "the value \"x\" of HKEY_CURRENT_USER\\Software cannot be set: there is a NUL character in its data. Remove it"
        );
        let error = integer(RegistryType::DwordBigEndian, 1 << 32).unwrap_err().to_string();
        assert!(
            error.ends_with("the data of a REG_DWORD_BIG_ENDIAN is an integer from 0 to 4294967295"),
            "{error}"
        );
        let error = integer(RegistryType::Sz, 1).unwrap_err().to_string();
        assert!(error.ends_with("the data of a REG_SZ is a string"), "{error}");
        text(RegistryType::Qword, "1").unwrap_err();
    }
}
