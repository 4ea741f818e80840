//! Where a differencing VHD says that its parent is ("Dynamic Disk Header Format", parent locators).

use super::format::{DynamicHeader, ParentLocator};
use super::read;
use crate::error::Error;
use crate::guid::Guid;
use crate::options::ParentHint;
use crate::parent::Link;
use crate::source::ReadAt;

/// The longest path of Windows in UTF-16, 32767 units and a zero. A locator that claims more holds no path.
const LONGEST_PATH: u32 = 64 << 10;

/// Collects the ways to the parent: relative paths, absolute ones, then its name.
pub(super) fn link(image: &dyn ReadAt, header: &DynamicHeader) -> Result<Link, Error> {
    let (mut paths, mut absolute) = (Vec::new(), Vec::new());
    for locator in &header.parent_locators {
        match read_path(image, locator)? {
            Some(ParentHint::Relative(path)) => paths.push(ParentHint::Relative(path)),
            Some(hint) => absolute.push(hint),
            None => {}
        }
    }
    paths.append(&mut absolute);
    let units: Vec<u16> = header.parent_unicode_name.iter().map(|unit| unit.get()).collect();
    // Windows writes the whole path here, others the name of the file.
    match text(&units) {
        name if name.is_empty() => {}
        name if name.contains(['\\', '/']) => paths.push(ParentHint::Absolute(name)),
        name => paths.push(ParentHint::Name(name)),
    }
    Ok(Link::new(paths, vec![Guid::from_bytes(header.parent_unique_id)]))
}

fn read_path(image: &dyn ReadAt, locator: &ParentLocator) -> Result<Option<ParentHint>, Error> {
    let (offset, length) = (locator.data_offset.get(), locator.data_length.get());
    let code = locator.platform_code;
    let inside = offset.checked_add(u64::from(length)).is_some_and(|end| end <= image.size());
    // What is out of bounds leads nowhere; another locator may.
    if !inside || length == 0 || length > LONGEST_PATH {
        return Ok(None);
    }
    let mut bytes = vec![0; length as usize];
    read(image, "the VHD's parent locator", &mut bytes, offset)?;
    let path = match &code {
        b"W2ru" | b"W2ku" => utf16(&bytes),
        // Deprecated, in the code page of whoever wrote it; ASCII is the same in all.
        b"Wi2r" | b"Wi2k" | b"MacX" => {
            String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
        }
        // `Mac ` is an alias record, which no other system can follow.
        _ => return Ok(None),
    };
    let hint = match &code {
        _ if path.is_empty() => return Ok(None),
        b"W2ru" | b"Wi2r" => ParentHint::Relative(path),
        // XenServer writes its relative paths so.
        b"MacX" => match path.strip_prefix("file://").filter(|rest| rest.starts_with('.')) {
            Some(rest) => ParentHint::Relative(rest.to_owned()),
            None => ParentHint::Absolute(path),
        },
        _ => ParentHint::Absolute(path),
    };
    Ok(Some(hint))
}

/// Windows writes little-endian. Some others write big-endian: a path that begins with two characters whose low bytes are
/// zero is theirs.
fn utf16(bytes: &[u8]) -> String {
    let big = bytes.len() >= 4 && bytes[0] == 0 && bytes[2] == 0 && bytes[1] != 0 && bytes[3] != 0;
    let unit = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    };
    text(&bytes.chunks_exact(2).map(unit).collect::<Vec<_>>())
}

/// Up to the first zero, without a byte order mark.
fn text(units: &[u16]) -> String {
    let text = units.split(|unit| *unit == 0).next().unwrap_or_default();
    String::from_utf16_lossy(text).trim_start_matches('\u{feff}').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    /// A header with these locators, and the file that holds their paths.
    fn hints(locators: &[(&[u8; 4], Vec<u8>)], name: &str) -> Vec<ParentHint> {
        let mut header = DynamicHeader::new_zeroed();
        let mut image = Vec::new();
        for ((code, path), locator) in locators.iter().zip(&mut header.parent_locators) {
            locator.platform_code = **code;
            locator.data_length = u32::try_from(path.len()).unwrap().into();
            locator.data_offset = (image.len() as u64).into();
            image.extend(path);
        }
        for (unit, slot) in name.encode_utf16().zip(&mut header.parent_unicode_name) {
            *slot = unit.into();
        }
        link(&image, &header).unwrap().hints
    }

    fn le(path: &str) -> Vec<u8> {
        path.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn relative_paths_come_first_and_names_last() {
        let absolute = || ParentHint::Absolute(r"C:\images\base.vhd".into());
        let expected = [
            ParentHint::Relative(r".\base.vhd".into()),
            absolute(),
            ParentHint::Name("old.vhd".into()),
            ParentHint::Name("base.vhd".into()),
        ];
        let found =
            hints(&[(b"W2ku", le(r"C:\images\base.vhd")), (b"W2ru", le(".\\base.vhd\0\0"))], "old.vhd");
        assert_eq!(found, expected);
        let found = hints(&[], r"C:\images\base.vhd");
        assert_eq!(found, [absolute(), ParentHint::Name("base.vhd".into())]);
    }

    #[test]
    fn every_writer_is_understood() {
        let big: Vec<u8> = r".\ä.vhd".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let found = hints(&[(b"W2ru", big)], "");
        assert_eq!(found, [ParentHint::Relative(r".\ä.vhd".into()), ParentHint::Name("ä.vhd".into())]);
        let found = hints(&[(b"Wi2r", b"..\\a.vhd\0rest".to_vec())], "");
        assert_eq!(found[0], ParentHint::Relative(r"..\a.vhd".into()));
        let found = hints(&[(b"MacX", b"file://./a.vhd".to_vec())], "");
        assert_eq!(found[0], ParentHint::Relative("./a.vhd".into()));
        let found = hints(&[(b"MacX", b"file:///images/a.vhd".to_vec())], "");
        assert_eq!(found[0], ParentHint::Absolute("file:///images/a.vhd".into()));
        assert_eq!(hints(&[(b"Mac ", vec![1; 100]), (b"W2ru", vec![])], ""), []);
    }

    #[test]
    fn a_locator_out_of_bounds_leads_nowhere() {
        let mut header = DynamicHeader::new_zeroed();
        for (locator, (offset, length)) in
            header.parent_locators.iter_mut().zip([(u64::MAX, 10), (90, 11), (0, u32::MAX)])
        {
            *locator = ParentLocator {
                platform_code: *b"W2ru",
                data_length: length.into(),
                data_offset: offset.into(),
                ..ParentLocator::new_zeroed()
            };
        }
        assert_eq!(link(&vec![b'x'; 100], &header).unwrap().hints, []);
    }
}
