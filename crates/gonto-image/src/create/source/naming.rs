//! Which names Windows can have, and what becomes of those that it cannot.
//!
//! A changed name can be read as what it was: `%` and two hexadecimal digits stand for a byte, as in addresses of the web.
//! `a:b` becomes `a%3Ab`, `aux.txt` becomes `au%78.txt`, and `end.` becomes `end%2E`. Names that are one to Windows are numbered:
//! `Readme.md` beside `README.md` becomes `Readme~2.md`. Of a name that is too long the end is cut off, and a checksum of all of it
//! keeps it apart from others.

use std::ffi::OsStr;

use super::offender::Problem;
use super::sys;
use crate::crc::crc32;

/// In UTF-16 units.
pub(super) const LONGEST: usize = 255;

/// What is wrong with a name, in a few words for each thing.
pub(super) fn problems(name: &[u16], in_root: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(unit) = name.iter().find(|unit| is_forbidden(**unit)) {
        problems.push(Problem::Character(char::from_u32(u32::from(*unit)).unwrap_or_default()));
    }
    if ends_badly(name) {
        problems.push(Problem::TrailingDotOrSpace);
    }
    if reserved_letter(name).is_some() {
        problems.push(Problem::ReservedName);
    }
    if in_root && is_of_ntfs(name) {
        problems.push(Problem::NameOfNtfs);
    }
    if name.len() > LONGEST {
        problems.push(Problem::TooLong);
    }
    problems
}

/// Characters that no name on Windows has.
pub(super) fn is_forbidden(unit: u16) -> bool {
    unit < 0x20 || u8::try_from(unit).is_ok_and(|byte| b"<>:\"/\\|?*".contains(&byte))
}

/// A name without problems that can be read as this one.
pub(super) fn safe(name: &OsStr, in_root: bool) -> Vec<u16> {
    let mut units = Vec::new();
    sys::decode_lossily(name, &mut units, escape_byte);
    let mut safe = Vec::with_capacity(units.len());
    for unit in units {
        if is_forbidden(unit) {
            escape(unit, &mut safe);
        } else {
            safe.push(unit);
        }
    }
    if ends_badly(&safe) {
        escape_at(safe.len() - 1, &mut safe);
    }
    if let Some(at) = reserved_letter(&safe) {
        escape_at(at, &mut safe);
    }
    if in_root && is_of_ntfs(&safe) {
        escape_at(0, &mut safe);
    }
    if safe.len() > LONGEST {
        let checksum = crc32(name.as_encoded_bytes());
        safe = with_suffix(&safe, &format!("~{checksum:08x}"));
    }
    safe
}

/// The name with something before its extension, shortened where it would be too long.
pub(super) fn with_suffix(name: &[u16], suffix: &str) -> Vec<u16> {
    /// A longer one is no extension.
    const LONGEST_EXTENSION: usize = 16;
    let dot = name.iter().rposition(|unit| *unit == u16::from(b'.'));
    let dot = dot.filter(|dot| *dot > 0 && name.len() - dot <= LONGEST_EXTENSION);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let mut length = stem.len().min(LONGEST - suffix.len() - extension.len());
    // The two halves of a character stay together.
    if length < stem.len() && (0xd800..0xdc00).contains(&stem[length - 1]) {
        length -= 1;
    }
    stem[..length].iter().copied().chain(suffix.encode_utf16()).chain(extension.iter().copied()).collect()
}

fn ends_badly(name: &[u16]) -> bool {
    name.last().is_some_and(|unit| [u16::from(b'.'), u16::from(b' ')].contains(unit))
}

/// Where the last letter of the name of a device lies. Windows ignores case, what comes behind the first dot, and spaces
/// before it.
fn reserved_letter(name: &[u16]) -> Option<usize> {
    let stem = name.split(|unit| *unit == u16::from(b'.')).next()?;
    let length = stem.iter().rposition(|unit| *unit != u16::from(b' '))? + 1;
    let is = |device: &str| eq_ignoring_case(&stem[..length], device);
    let is_numbered = |device: &str| {
        eq_ignoring_case(&stem[..length - 1], device)
            && char::from_u32(u32::from(stem[length - 1]))
                .is_some_and(|last| last.is_ascii_digit() || "¹²³".contains(last))
    };
    let reserved = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].into_iter().any(is)
        || ["COM", "LPT"].into_iter().any(is_numbered);
    reserved.then_some(length - 1)
}

fn is_of_ntfs(name: &[u16]) -> bool {
    [
        "$MFT", "$MFTMirr", "$LogFile", "$Volume", "$AttrDef", "$Bitmap", "$Boot", "$BadClus", "$Secure",
        "$UpCase", "$Extend",
    ]
    .into_iter()
    .any(|file| eq_ignoring_case(name, file))
}

fn eq_ignoring_case(name: &[u16], ascii: &str) -> bool {
    name.len() == ascii.len()
        && name
            .iter()
            .zip(ascii.bytes())
            .all(|(unit, byte)| u8::try_from(*unit).is_ok_and(|unit| unit.eq_ignore_ascii_case(&byte)))
}

fn escape_at(at: usize, name: &mut Vec<u16>) {
    let mut escaped = Vec::new();
    escape(name[at], &mut escaped);
    name.splice(at..=at, escaped);
}

/// The bytes of UTF-8, so that a decoder of addresses gives the character back. None of those that are escaped is a surrogate.
fn escape(unit: u16, out: &mut Vec<u16>) {
    let char = char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER);
    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
        escape_byte(byte, out);
    }
}

fn escape_byte(byte: u8, out: &mut Vec<u16>) {
    out.extend(format!("%{byte:02X}").encode_utf16());
}
