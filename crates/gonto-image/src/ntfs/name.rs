//! Names: UTF-16 on the volume, WTF-8 here.
//!
//! WTF-8 is UTF-8 that can hold lone surrogates as well. NTFS allows these, so that nothing else would keep every name
//! apart from every other.

/// Converts UTF-16, little endian, and appends it to `out`.
pub(crate) fn append_wtf8(utf16: &[u8], out: &mut Vec<u8>) {
    if utf16.iter().skip(1).step_by(2).all(|high| *high == 0) && utf16.iter().all(u8::is_ascii) {
        out.extend(utf16.iter().step_by(2));
        return;
    }
    append_units_as_wtf8(utf16.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])), out);
}

/// Converts UTF-16 units and appends them to `out`.
pub(crate) fn append_units_as_wtf8(units: impl IntoIterator<Item = u16>, out: &mut Vec<u8>) {
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(char) => out.extend(char.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let [low, high] = lone.unpaired_surrogate().to_le_bytes();
                // The three-byte form of UTF-8, which proper UTF-8 forbids for surrogates.
                out.extend([0xe0 | high >> 4, 0x80 | (high & 0x0f) << 2 | low >> 6, 0x80 | low & 0x3f]);
            }
        }
    }
}

/// The way back: converts WTF-8 and appends the units to `out`.
///
/// # Errors
/// The position of the first byte that cannot be converted; what precedes it is in `out`. Two surrogates that would make a
/// pair are not WTF-8: the character that they stand for has a form of its own.
#[cfg_attr(windows, allow(dead_code, reason = "names of Windows are UTF-16 already"))]
pub(crate) fn append_units(wtf8: &[u8], out: &mut Vec<u16>) -> Result<(), usize> {
    if wtf8.is_ascii() {
        out.extend(wtf8.iter().copied().map(u16::from));
        return Ok(());
    }
    let start = out.len();
    let mut rest = wtf8;
    while let Some(chunk) = rest.utf8_chunks().next() {
        out.extend(chunk.valid().encode_utf16());
        rest = &rest[chunk.valid().len()..];
        if rest.is_empty() {
            break;
        }
        let behind_high = out[start..].last().is_some_and(|unit| (0xd800..0xdc00).contains(unit));
        match rest {
            [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, behind @ ..]
                if !(behind_high && *second >= 0xb0) =>
            {
                out.push(0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f));
                rest = behind;
            }
            _ => return Err(wtf8.len() - rest.len()),
        }
    }
    Ok(())
}

/// Converts UTF-16, little endian.
pub(crate) fn to_wtf8(utf16: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(utf16.len());
    append_wtf8(utf16, &mut name);
    name
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn utf16(units: &[u16]) -> Vec<u8> {
        units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    }

    #[test]
    fn every_kind_of_character_is_converted() {
        for text in ["", "plain.txt", "\u{7f}\u{80}", "Grüße €", "\u{1f600}x"] {
            assert_eq!(to_wtf8(&utf16(&text.encode_utf16().collect::<Vec<_>>())), text.as_bytes());
        }
    }

    fn units(wtf8: &[u8]) -> Result<Vec<u16>, usize> {
        let mut units = Vec::new();
        append_units(wtf8, &mut units).map(|()| units)
    }

    #[test]
    fn what_is_no_wtf8_is_told_with_its_place() {
        assert_eq!(units(b"plain"), Ok("plain".encode_utf16().collect()));
        assert_eq!(units(b"a\xff"), Err(1));
        assert_eq!(units(b"\xc3\xa4\xc3"), Err(2), "cut off");
        assert_eq!(units(b"\xed\xa0"), Err(0), "a surrogate cut off");
        assert_eq!(units(b"\xc0\x80"), Err(0), "overlong");
        assert_eq!(units(b"\xed\xa0\xbd\xed\xb8\x80"), Err(3), "a pair has a form of its own");
        assert_eq!(units(b"\xed\xb8\x80\xed\xa0\xbd"), Ok(vec![0xde00, 0xd83d]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_name_of_ntfs_comes_back(name in vec(prop_oneof![any::<u16>(), 0xd7f0_u16..0xe010], 0..20)) {
            prop_assert_eq!(units(&to_wtf8(&utf16(&name))), Ok(name));
        }

        #[test]
        fn no_two_texts_are_one_name(text in vec(prop_oneof![any::<u8>(), 0xa0_u8..0xc0, Just(0xed)], 0..12)) {
            if let Ok(units) = units(&text) {
                prop_assert_eq!(to_wtf8(&utf16(&units)), text);
            }
        }
    }

    #[test]
    fn lone_surrogates_stay_apart_from_each_other() {
        assert_eq!(to_wtf8(&utf16(&[0xd800])), [0xed, 0xa0, 0x80]);
        assert_eq!(to_wtf8(&utf16(&[0xdfff, 0x61])), [0xed, 0xbf, 0xbf, 0x61]);
        assert_ne!(to_wtf8(&utf16(&[0xd801])), to_wtf8(&utf16(&[0xd802])));
    }
}
