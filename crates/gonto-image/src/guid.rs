//! GUIDs as Windows lays them out.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A globally unique identifier: of an image, a disk, a partition or a kind of partition.
///
/// It is shown as Windows shows it: the first three groups of its bytes are little-endian numbers. Programs of other systems
/// write the identifiers of their VHDs as RFC 9562 does, big-endian throughout, so that Windows and Gonto show those
/// with the digits of the first groups turned around.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct Guid([u8; 16]);

impl Guid {
    /// The identifier that these bytes of an image are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes in an image.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The identifier with these digits, as `0x…` of all groups without the hyphens.
    #[must_use]
    pub(crate) const fn from_digits(digits: u128) -> Self {
        let mut bytes = digits.to_be_bytes();
        let turned = [3, 2, 1, 0, 5, 4, 7, 6];
        let shown = bytes;
        let mut at = 0;
        while at < turned.len() {
            bytes[at] = shown[turned[at]];
            at += 1;
        }
        Self(bytes)
    }

    /// Reads the text form, in braces or without.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let lengths_are_right = text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        let digits: String = text.chars().filter(|digit| *digit != '-').collect();
        let only_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !lengths_are_right || !only_digits {
            return None;
        }
        u128::from_str_radix(&digits, 16).ok().map(Self::from_digits)
    }

    /// Whether it is all zeroes, which stands for none.
    #[must_use]
    pub fn is_nil(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, rest @ ..] = self.0;
        let (a, b, c) = (
            u32::from_le_bytes([a0, a1, a2, a3]),
            u16::from_le_bytes([b0, b1]),
            u16::from_le_bytes([c0, c1]),
        );
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d0:02x}{d1:02x}-")?;
        rest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_shown_as_windows_shows_it() {
        let basic_data =
            [0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7];
        let guid = Guid::from_bytes(basic_data);
        assert_eq!(guid.to_string(), "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7");
        assert_eq!(guid, Guid::from_digits(0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7));
        assert!(!guid.is_nil() && Guid::from_digits(0).is_nil());
    }

    #[test]
    fn the_text_form_has_five_groups_of_digits() {
        let guid = Guid::from_digits(0x2dc27766_f623_4200_9d64_115e9bfd4a08);
        for text in ["{2DC27766-F623-4200-9D64-115E9BFD4A08}", "2dc27766-f623-4200-9d64-115e9bfd4a08"] {
            assert_eq!(Guid::parse(text), Some(guid));
        }
        for text in
            ["", "{}", "{2dc27766-f623-4200-9d64-115e9bfd4a08", "+dc27766-f623-4200-9d64-115e9bfd4a08"]
        {
            assert_eq!(Guid::parse(text), None, "{text}");
        }
    }
}
