//! How a differencing VHDX names its parent ([MS-VHDX] 2.6.2.6).

use zerocopy::FromBytes;

use super::format::{ParentLocatorEntry, ParentLocatorHeader, VHDX_PARENT};
use crate::error::Mismatch;
use crate::guid::Guid;
use crate::options::ParentHint;
use crate::parent::Link;

/// The specification knows five keys, and Windows writes these. The limit keeps a locator from being all keys.
const MOST_ENTRIES: u16 = 64;

/// Reads the parent locator. The parent's data write GUID is one of the identities; there are two only while a parent is
/// being changed.
pub(super) fn link(item: &[u8]) -> Result<Link, Mismatch> {
    let pairs = pairs(item)?;
    let value = |key: &str| pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str());
    let guid = |key| value(key).and_then(Guid::parse).filter(|guid| !guid.is_nil());
    let ids: Vec<Guid> = ["parent_linkage", "parent_linkage2"].into_iter().filter_map(guid).collect();
    if ids.is_empty() {
        let found = value("parent_linkage").map_or("none".into(), |text| format!("{text:?}"));
        return Err(Mismatch::new(0, "a GUID as parent_linkage", found));
    }
    // 2.6.2.6.3 wants them tried in this order.
    let relative = value("relative_path").map(|path| ParentHint::Relative(path.into()));
    let absolute = ["volume_path", "absolute_win32_path"].into_iter().filter_map(value);
    let absolute = absolute.map(|path| ParentHint::Absolute(path.into()));
    Ok(Link::new(relative.into_iter().chain(absolute).collect(), ids))
}

/// All keys with their values.
fn pairs(item: &[u8]) -> Result<Vec<(String, String)>, Mismatch> {
    let Ok((header, rest)) = ParentLocatorHeader::read_from_prefix(item) else {
        return Err(Mismatch::new(0, "a header of 20 bytes", format!("{} bytes", item.len())));
    };
    if header.locator_type != VHDX_PARENT {
        let expected = format!("the type {VHDX_PARENT}, which is VHDX");
        return Err(Mismatch::new(0, expected, header.locator_type));
    }
    let count = header.key_value_count.get();
    if count > MOST_ENTRIES {
        let at = std::mem::offset_of!(ParentLocatorHeader, key_value_count);
        return Err(Mismatch::new(at, format!("at most {MOST_ENTRIES} keys"), count));
    }
    let pair = |number: usize| {
        let at = number * size_of::<ParentLocatorEntry>();
        let at_in_item = at + size_of::<ParentLocatorHeader>();
        match rest.get(at..).map(ParentLocatorEntry::read_from_prefix) {
            Some(Ok((entry, _))) => pair(item, &entry).map_err(|mismatch| mismatch.shifted(at_in_item)),
            _ => Err(Mismatch::new(at_in_item, "a key and a value", "the end of the item")),
        }
    };
    (0..usize::from(count)).map(pair).collect()
}

fn pair(item: &[u8], entry: &ParentLocatorEntry) -> Result<(String, String), Mismatch> {
    let key_at = std::mem::offset_of!(ParentLocatorEntry, key_offset);
    let value_at = std::mem::offset_of!(ParentLocatorEntry, value_offset);
    let key = text(item, entry.key_offset.get(), entry.key_length.get());
    let value = text(item, entry.value_offset.get(), entry.value_length.get());
    Ok((
        key.map_err(|mismatch| mismatch.shifted(key_at))?,
        value.map_err(|mismatch| mismatch.shifted(value_at))?,
    ))
}

fn text(item: &[u8], offset: u32, length: u16) -> Result<String, Mismatch> {
    let bytes = item.get(offset as usize..).and_then(|rest| rest.get(..usize::from(length)));
    let Some(bytes) = bytes.filter(|bytes| bytes.len().is_multiple_of(2)) else {
        let expected = format!("UTF-16 text inside the item of {} bytes", item.len());
        return Err(Mismatch::new(0, expected, format!("{length} bytes from byte {offset} on")));
    };
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Ok(String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned())
}
