//! `$ATTRIBUTE_LIST`: which records hold the attributes of a file that does not fit into one.

use super::{Reference, field};
use crate::error::Mismatch;

/// Windows makes no longer list either. The limit keeps a record from asking for memory that the image does not hold.
pub(crate) const LONGEST: u64 = 256 << 10;

/// Type, length, lengths of the name, lowest VCN, reference, id.
const ENTRY_SIZE: usize = 26;

/// One attribute, or one piece of it.
pub(crate) struct Entry<'l> {
    pub(crate) kind: u32,
    /// UTF-16, little endian.
    pub(crate) name: &'l [u8],
    pub(crate) lowest: u64,
    /// The record that holds it.
    pub(crate) reference: Reference,
    pub(crate) id: u16,
}

/// Goes through a list.
pub(crate) fn each<'l>(list: &'l [u8], mut visit: impl FnMut(Entry<'l>)) -> Result<(), Mismatch> {
    let mut at = 0;
    // What is left behind the last entry is padding.
    while at + ENTRY_SIZE <= list.len() {
        let length = usize::from(field::u16(list, at + 4).unwrap_or(0));
        if length < ENTRY_SIZE || length > list.len() - at {
            let expected = format!("an entry of {ENTRY_SIZE} to {} bytes", list.len() - at);
            return Err(Mismatch::new(at + 4, expected, length));
        }
        let entry = &list[at..at + length];
        let name_at = usize::from(entry[7]);
        visit(Entry {
            kind: field::u32(entry, 0).unwrap_or(0),
            name: entry.get(name_at..name_at + usize::from(entry[6]) * 2).unwrap_or_default(),
            lowest: field::u64(entry, 8).unwrap_or(0),
            reference: Reference::from_raw(field::u64(entry, 16).unwrap_or(0)),
            id: field::u16(entry, 24).unwrap_or(0),
        });
        at += length;
    }
    Ok(())
}

/// The records that a list names beside the base record itself: each once, in the order of the list. (The order matters
/// for `$MFT`, whose later pieces lie in records that only its earlier pieces can find.)
pub(crate) fn extension_records(list: &[u8], base: u64) -> Result<Vec<Reference>, Mismatch> {
    let mut seen = std::collections::HashSet::new();
    let mut records = Vec::new();
    each(list, |entry| {
        if entry.reference.record != base && seen.insert(entry.reference.record) {
            records.push(entry.reference);
        }
    })?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(record: u64, sequence: u16, length: usize) -> Vec<u8> {
        let mut entry = vec![0; length];
        entry[4..6].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
        entry[16..24].copy_from_slice(&(record | u64::from(sequence) << 48).to_le_bytes());
        entry
    }

    #[test]
    fn each_other_record_comes_once_in_the_order_of_the_list() {
        let list = [entry(9, 1, 32), entry(40, 2, 40), entry(30, 3, 32), entry(40, 2, 32)].concat();
        let found = extension_records(&list, 9).unwrap();
        assert_eq!(found.iter().map(|r| (r.record, r.sequence)).collect::<Vec<_>>(), [(40, 2), (30, 3)]);
    }

    #[test]
    fn entries_that_leave_the_list_are_refused() {
        let mut list = [entry(9, 1, 32), entry(40, 2, 32)].concat();
        list[36] = 40;
        assert_eq!(extension_records(&list, 9).unwrap_err().at, 36);
        list[36] = 0;
        assert_eq!(extension_records(&list, 9).unwrap_err().at, 36);
        assert_eq!(extension_records(&[], 9), Ok(Vec::new()));
    }
}
