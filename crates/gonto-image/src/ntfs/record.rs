//! The header of a file record.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Reference, fixup};
use crate::error::Mismatch;

pub(crate) const SIGNATURE: [u8; 4] = *b"FILE";

pub(super) const IN_USE: u16 = 1;
pub(super) const DIRECTORY: u16 = 2;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) signature: [u8; 4],
    pub(super) fixup_offset: U16,
    pub(super) fixup_count: U16,
    pub(super) log_sequence_number: U64,
    pub(super) sequence: U16,
    pub(super) hard_links: U16,
    pub(super) first_attribute: U16,
    pub(super) flags: U16,
    /// Bytes that are in use, up to and with the end mark.
    pub(super) used: U32,
    pub(super) allocated: U32,
    /// Zero in a base record; an extension record names its base here.
    pub(super) base: U64,
    pub(super) next_attribute_id: U16,
    /// From here on since NTFS 3.1.
    pub(super) padding: U16,
    pub(super) number: U32,
}
pub(super) const HEADER_SIZE: usize = size_of::<Header>();
const _: () = assert!(HEADER_SIZE == 48);

/// A record whose fixups are undone and whose header holds together.
pub(crate) struct Record<'r> {
    pub(crate) sequence: u16,
    /// How many names the header says that the file has.
    pub(crate) hard_links: u16,
    pub(crate) in_use: bool,
    pub(crate) directory: bool,
    /// The base record of an extension record.
    pub(crate) base: Option<Reference>,
    /// From here to the end of `bytes` lie the attributes.
    pub(crate) first_attribute: usize,
    pub(crate) bytes: &'r [u8],
}

/// Whether raw bytes of `$MFT` hold a base record that is in use. Most others are told by this before anything else is
/// looked at; the flags lie before the first fixup.
pub(crate) fn is_live_base(raw: &[u8]) -> bool {
    is_live(raw) && Header::ref_from_prefix(raw).is_ok_and(|(header, _)| header.base.get() == 0)
}

/// Whether raw bytes of `$MFT` hold a record that is in use.
pub(crate) fn is_live(raw: &[u8]) -> bool {
    Header::ref_from_prefix(raw)
        .is_ok_and(|(header, _)| header.signature == SIGNATURE && header.flags.get() & IN_USE != 0)
}

impl<'r> Record<'r> {
    /// Undoes the fixups of the raw record `number` and reads its header.
    pub(crate) fn open(raw: &'r mut [u8], number: u64) -> Result<Self, Mismatch> {
        fixup::undo(raw, SIGNATURE)?;
        let size = raw.len();
        let Ok((header, _)) = Header::ref_from_prefix(raw) else {
            return Err(Mismatch::new(0, "a record of 512 bytes or more", size));
        };
        let stored = u64::from(header.number.get());
        let has_number = usize::from(header.fixup_offset.get()) >= HEADER_SIZE;
        // Zero is what programs write that do not know the field, or have upgraded a volume of Windows 2000.
        if has_number && stored != 0 && stored != number & 0xffff_ffff {
            let at = std::mem::offset_of!(Header, number);
            return Err(Mismatch::new(at, format!("its own number {number}"), stored));
        }
        let used = header.used.get() as usize;
        let first_attribute = usize::from(header.first_attribute.get());
        if used > size {
            let at = std::mem::offset_of!(Header, used);
            return Err(Mismatch::new(at, format!("at most {size} bytes in use"), used));
        }
        if first_attribute < HEADER_SIZE - 8 || first_attribute > used || !first_attribute.is_multiple_of(8) {
            let at = std::mem::offset_of!(Header, first_attribute);
            return Err(Mismatch::new(at, format!("attributes before byte {used}"), first_attribute));
        }
        let base = header.base.get();
        let flags = header.flags.get();
        Ok(Self {
            sequence: header.sequence.get(),
            hard_links: header.hard_links.get(),
            in_use: flags & IN_USE != 0,
            directory: flags & DIRECTORY != 0,
            base: (base != 0).then(|| Reference::from_raw(base)),
            first_attribute,
            bytes: &raw[..used],
        })
    }
}
