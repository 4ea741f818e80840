//! `$EA`: the extended attributes, in which WSL keeps what Linux knows of a file (\[MS-FSCC\] 2.4.16,
//! FileFullEaInformation).

use super::field;

/// NTFS keeps no more for a file.
pub(crate) const LONGEST: u64 = 64 << 10;

/// Distance to the next entry, flags, lengths of name and value.
const HEADER_SIZE: usize = 8;

/// What WSL wrote.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Wsl {
    /// `$LXMOD`, type bits and all.
    pub(crate) mode: Option<u32>,
    /// `$LXUID`.
    pub(crate) user: Option<u32>,
    /// `$LXGID`.
    pub(crate) group: Option<u32>,
}

impl Wsl {
    /// Looks for WSL's attributes in the content of `$EA`. The list ends where it leaves itself: Windows shows the file whatever
    /// its extended attributes are.
    pub(crate) fn parse(list: &[u8]) -> Self {
        let mut wsl = Self::default();
        let mut rest = list;
        while let Some((name, value, next)) = first(rest) {
            let number = field::u32(value, 0);
            if name.eq_ignore_ascii_case(b"$LXMOD") {
                wsl.mode = number;
            } else if name.eq_ignore_ascii_case(b"$LXUID") {
                wsl.user = number;
            } else if name.eq_ignore_ascii_case(b"$LXGID") {
                wsl.group = number;
            }
            rest = next;
        }
        wsl
    }
}

/// Name and value of the first entry, and those behind it.
fn first(list: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let distance = field::u32(list, 0)? as usize;
    let name_length = usize::from(*list.get(5)?);
    let value_length = usize::from(field::u16(list, 6)?);
    let (name, behind) = list.get(HEADER_SIZE..)?.split_at_checked(name_length)?;
    // The name ends with a zero byte that its length does not count.
    let value = behind.get(1..)?.get(..value_length)?;
    let own_length = HEADER_SIZE + name_length + 1 + value_length;
    let next = if distance < own_length { &[] } else { list.get(distance..).unwrap_or_default() };
    Some((name, value, next))
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
    fn what_wsl_wrote_is_found_among_others() {
        let number = |n: u32| n.to_le_bytes();
        let list = [
            entry(b"$LXUID", &number(1000), false),
            entry(b"OTHER", b"something", false),
            entry(b"$LXMOD", &number(0o100_755), false),
            entry(b"$LxGid", &number(100), true),
        ];
        let wsl = Wsl { mode: Some(0o100_755), user: Some(1000), group: Some(100) };
        assert_eq!(Wsl::parse(&list.concat()), wsl);
        assert_eq!(Wsl::parse(&list[..3].concat()), Wsl { group: None, ..wsl });
        assert_eq!(Wsl::parse(&[&list[3][..], &list[2]].concat()).mode, None, "behind the last entry");
        assert_eq!(Wsl::parse(&entry(b"$LXMOD", b"abc", true)), Wsl::default(), "too short");
        assert_eq!(Wsl::parse(&[]), Wsl::default());
    }

    #[test]
    fn a_list_ends_where_it_leaves_itself_or_stands_still() {
        let user = Wsl { user: Some(1), ..Wsl::default() };
        let mut list =
            [entry(b"$LXUID", &[1, 0, 0, 0], false), entry(b"$LXGID", &[2, 0, 0, 0], true)].concat();
        for distance in [0, 4, 18, 200, 255] {
            list[0] = distance;
            assert_eq!(Wsl::parse(&list), user, "{distance}");
        }
        list[6] = 200;
        assert_eq!(Wsl::parse(&list), Wsl::default());
        for length in 0..list.len() {
            Wsl::parse(&list[..length]);
        }
    }
}
