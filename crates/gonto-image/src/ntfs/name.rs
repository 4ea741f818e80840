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
    let units = utf16.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
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

/// Converts UTF-16, little endian.
pub(crate) fn to_wtf8(utf16: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(utf16.len());
    append_wtf8(utf16, &mut name);
    name
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn lone_surrogates_stay_apart_from_each_other() {
        assert_eq!(to_wtf8(&utf16(&[0xd800])), [0xed, 0xa0, 0x80]);
        assert_eq!(to_wtf8(&utf16(&[0xdfff, 0x61])), [0xed, 0xbf, 0xbf, 0x61]);
        assert_ne!(to_wtf8(&utf16(&[0xd801])), to_wtf8(&utf16(&[0xd802])));
    }
}
