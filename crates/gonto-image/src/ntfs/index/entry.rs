//! The entries of a node: what an index is made of, whatever it sorts.

use super::super::{Reference, field};
use crate::error::Mismatch;

const NODE_HEADER_SIZE: usize = 16;
pub(crate) const ENTRY_HEADER_SIZE: usize = 16;

const HAS_CHILD: u16 = 1;
const LAST: u16 = 2;

/// Goes through the entries of the node whose header lies at `header_at`; the last one has no key. `visit` gets the place of
/// each in `bytes` as well.
///
/// # Errors
/// [`Mismatch`] for the first entry that cannot be told from its neighbours; those before it were visited.
pub(crate) fn each_entry<'b>(
    bytes: &'b [u8],
    header_at: usize,
    mut visit: impl FnMut(usize, &Entry<'b>),
) -> Result<(), Mismatch> {
    let header = bytes.get(header_at..).unwrap_or_default();
    let start = field::u32(header, 0).unwrap_or(0) as usize;
    let end = field::u32(header, 4).unwrap_or(0) as usize;
    if start < NODE_HEADER_SIZE || start > end || end > header.len() {
        let found = format!("{start} to {end}");
        return Err(Mismatch::new(header_at, format!("entries between 16 and {}", header.len()), found));
    }
    let entries = &header[..end];
    let mut at = start;
    loop {
        let place = header_at + at;
        let entry = Entry::parse(&entries[at..]).map_err(|mismatch| mismatch.shifted(place))?;
        visit(place, &entry);
        if entry.last {
            return Ok(());
        }
        at += entry.length;
    }
}

/// An entry of a node.
pub(crate) struct Entry<'b> {
    pub(crate) reference: Reference,
    /// In bytes, with all that belongs to it.
    pub(crate) length: usize,
    /// Empty in the last entry.
    pub(crate) key: &'b [u8],
    /// The node that holds what sorts before this entry.
    pub(crate) child: Option<u64>,
    pub(crate) last: bool,
}

impl<'b> Entry<'b> {
    fn parse(bytes: &'b [u8]) -> Result<Self, Mismatch> {
        let (Some(reference), Some(length), Some(key_length), Some(flags)) =
            (field::u64(bytes, 0), field::u16(bytes, 8), field::u16(bytes, 10), field::u16(bytes, 12))
        else {
            return Err(Mismatch::new(0, "an index entry", "the end of the node"));
        };
        let length = usize::from(length);
        let child_size = if flags & HAS_CHILD != 0 { 8 } else { 0 };
        if length < ENTRY_HEADER_SIZE + child_size || !length.is_multiple_of(8) || length > bytes.len() {
            let expected = format!("an entry of {} to {} bytes", ENTRY_HEADER_SIZE + child_size, bytes.len());
            return Err(Mismatch::new(8, expected, length));
        }
        let key_end = ENTRY_HEADER_SIZE + usize::from(key_length);
        let last = flags & LAST != 0;
        if !last && key_end > length - child_size {
            let expected = format!("a key of at most {} bytes", length - child_size - ENTRY_HEADER_SIZE);
            return Err(Mismatch::new(10, expected, key_length));
        }
        Ok(Self {
            reference: Reference::from_raw(reference),
            length,
            key: if last { &[] } else { &bytes[ENTRY_HEADER_SIZE..key_end] },
            child: (child_size > 0).then(|| field::u64(bytes, length - 8)).flatten(),
            last,
        })
    }
}

/// `$FILE_NAME`: an attribute of a file, and the key of its entry in the index of its folder.
pub(crate) struct FileName<'b> {
    pub(crate) parent: Reference,
    pub(crate) namespace: u8,
    /// Little endian, never empty.
    pub(crate) utf16: &'b [u8],
}

const DOS_NAMESPACE: u8 = 2;

impl<'b> FileName<'b> {
    /// Names for MS-DOS only are such as `PROGRA~1`: the same file has another name.
    pub(crate) fn is_dos_only(&self) -> bool {
        self.namespace == DOS_NAMESPACE
    }

    pub(crate) fn parse(key: &'b [u8]) -> Result<Self, Mismatch> {
        let parsed = || {
            let length = usize::from(*key.get(64)?) * 2;
            Some(Self {
                parent: Reference::from_raw(field::u64(key, 0)?),
                namespace: *key.get(65)?,
                utf16: key.get(66..66 + length).filter(|name| !name.is_empty())?,
            })
        };
        parsed().ok_or_else(|| {
            Mismatch::new(64, format!("a name inside its key of {} bytes", key.len()), "another")
        })
    }
}
