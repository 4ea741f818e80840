//! `$EA` and `$EA_INFORMATION`: what Linux knows of a file, as WSL writes it (\[MS-FSCC\] 2.4.16, FileFullEaInformation).

use super::attribute::{Attribute, resident_size};
use super::narrow;
use crate::ntfs::attribute::kind;

/// What Linux knows of a file. Each is only written where it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Linux {
    /// Type and permissions, as st_mode has them.
    pub(crate) mode: Option<u32>,
    /// User and group.
    pub(crate) owner: Option<(u32, u32)>,
}

/// All names that are written have this length, and all values are 32-bit numbers.
const NAME_LENGTH: usize = 6;
const VALUE_LENGTH: usize = 4;
/// Distance to the next one, flags and lengths; name, zero byte, value.
const ENTRY_SIZE: usize = (8 + NAME_LENGTH + 1 + VALUE_LENGTH).next_multiple_of(4);
/// The same as OS/2 had it, without the distance and without padding.
const PACKED_SIZE: usize = 4 + NAME_LENGTH + 1 + VALUE_LENGTH;
/// Packed size, how many are needed to understand the file, size.
const INFORMATION_SIZE: usize = 8;

impl Linux {
    fn all(self) -> impl Iterator<Item = (&'static [u8; NAME_LENGTH], u32)> {
        let (user, group) = self.owner.unzip();
        [(b"$LXUID", user), (b"$LXGID", group), (b"$LXMOD", self.mode)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }

    /// What `$FILE_NAME` says of it: the packed size, 0 where there is nothing.
    pub(crate) fn packed_size(self) -> u32 {
        narrow(self.all().count() * PACKED_SIZE)
    }

    /// How much of a record the attributes take.
    pub(crate) fn size(self) -> usize {
        match self.all().count() {
            0 => 0,
            count => resident_size(INFORMATION_SIZE) + resident_size(count * ENTRY_SIZE),
        }
    }

    /// The attributes, none where there is nothing to tell.
    pub(crate) fn attributes(self) -> impl Iterator<Item = Attribute> {
        let mut list = Vec::new();
        for (name, value) in self.all() {
            let end = list.len() + ENTRY_SIZE;
            list.extend(narrow::<u32>(ENTRY_SIZE).to_le_bytes());
            list.extend([0, narrow(NAME_LENGTH)]);
            list.extend(narrow::<u16>(VALUE_LENGTH).to_le_bytes());
            list.extend(name);
            list.push(0);
            list.extend(value.to_le_bytes());
            list.resize(end, 0);
        }
        let mut information = Vec::with_capacity(INFORMATION_SIZE);
        information.extend(self.packed_size().to_le_bytes());
        information.extend(narrow::<u32>(list.len()).to_le_bytes());
        let both = [(kind::EXTENDED_ATTRIBUTE_INFORMATION, information), (kind::EXTENDED_ATTRIBUTES, list)];
        let count = if self == Self::default() { 0 } else { both.len() };
        both.into_iter().take(count).map(|(kind, value)| Attribute::resident(kind, "", &value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntfs::extended_attributes::Wsl;

    #[test]
    fn what_is_written_is_read() {
        for (mode, owner) in
            [(Some(0o100_644), None), (None, Some((1000, 100))), (Some(0o040_700), Some((0, 7)))]
        {
            let linux = Linux { mode, owner };
            let attributes: Vec<_> = linux.attributes().collect();
            assert_eq!(attributes.iter().map(|attribute| attribute.bytes.len()).sum::<usize>(), linux.size());
            let (user, group) = owner.unzip();
            assert_eq!(Wsl::parse(&attributes[1].bytes[24..]), Wsl { mode, user, group });
        }
        assert_eq!(Linux::default().attributes().count(), 0);
        assert_eq!((Linux::default().size(), Linux::default().packed_size()), (0, 0));
    }
}
