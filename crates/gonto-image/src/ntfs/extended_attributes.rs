//! `$EA`: the extended attributes, in which WSL keeps Unix modes (\[MS-FSCC\] 2.4.16, FileFullEaInformation).

use super::field;
use crate::error::Mismatch;

/// NTFS keeps no more for a file.
pub(crate) const LONGEST: u64 = 64 << 10;

/// Distance to the next entry, flags, lengths of name and value.
const HEADER_SIZE: usize = 8;

/// The Unix mode that WSL gave the file (`$LXMOD`), type bits and all.
pub(crate) fn wsl_mode(list: &[u8]) -> Result<Option<u32>, Mismatch> {
    let mut at = 0;
    while at + HEADER_SIZE <= list.len() {
        let distance = field::u32(list, at).unwrap_or(0) as usize;
        let name_length = usize::from(list[at + 5]);
        let value_length = usize::from(field::u16(list, at + 6).unwrap_or(0));
        let name_end = at + HEADER_SIZE + name_length;
        // The name ends with a zero byte that its length does not count.
        let value = list.get(name_end + 1..name_end + 1 + value_length);
        let Some(value) = value else {
            return Err(Mismatch::new(at, "an extended attribute inside the list", "one that leaves it"));
        };
        if list[at + HEADER_SIZE..name_end].eq_ignore_ascii_case(b"$LXMOD") {
            return Ok(field::u32(value, 0));
        }
        if distance == 0 {
            break;
        }
        if distance < HEADER_SIZE + name_length + 1 + value_length {
            return Err(Mismatch::new(at, "a next entry behind this one", distance));
        }
        at += distance;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], value: &[u8], last: bool) -> Vec<u8> {
        let mut entry = vec![0, 0, 0, 0, 0, u8::try_from(name.len()).unwrap()];
        entry.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        entry.extend([name, &[0], value].concat());
        entry.resize(entry.len().next_multiple_of(4), 0);
        if !last {
            entry[0] = u8::try_from(entry.len()).unwrap();
        }
        entry
    }

    #[test]
    fn the_mode_is_found_among_others() {
        let mode = 0o100_755u32.to_le_bytes();
        let list = [entry(b"$LXUID", &[1, 0, 0, 0], false), entry(b"$LXMOD", &mode, true)].concat();
        assert_eq!(wsl_mode(&list), Ok(Some(0o100_755)));
        assert_eq!(wsl_mode(&entry(b"$LXUID", &mode, true)), Ok(None));
        assert_eq!(wsl_mode(&[]), Ok(None));
    }

    #[test]
    fn lists_that_leave_themselves_or_stand_still_are_refused() {
        let mut list = entry(b"$LXUID", &[1, 0, 0, 0], false);
        list[0] = 4;
        assert!(wsl_mode(&list).is_err());
        list[6] = 200;
        assert!(wsl_mode(&list).is_err());
    }
}
