//! The attributes of a record.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Vcn;
use super::record::Record;
use crate::error::Mismatch;

/// Attribute types that this crate looks at.
pub(crate) mod kind {
    pub(crate) const STANDARD_INFORMATION: u32 = 0x10;
    pub(crate) const ATTRIBUTE_LIST: u32 = 0x20;
    pub(crate) const FILE_NAME: u32 = 0x30;
    pub(crate) const VOLUME_NAME: u32 = 0x60;
    pub(crate) const VOLUME_INFORMATION: u32 = 0x70;
    pub(crate) const DATA: u32 = 0x80;
    pub(crate) const INDEX_ROOT: u32 = 0x90;
    pub(crate) const INDEX_ALLOCATION: u32 = 0xa0;
    pub(crate) const BITMAP: u32 = 0xb0;
    pub(crate) const REPARSE_POINT: u32 = 0xc0;
    pub(crate) const EXTENDED_ATTRIBUTE_INFORMATION: u32 = 0xd0;
    pub(crate) const EXTENDED_ATTRIBUTES: u32 = 0xe0;
    pub(in crate::ntfs) const END: u32 = 0xffff_ffff;

    /// All that NTFS has, in steps of 0x10; `$AttrDef` leaves room for others, which no system has ever made. A type that was
    /// damaged must not make a file look as if it had no such attribute, and so be empty.
    pub(super) fn is_known(kind: u32) -> bool {
        (STANDARD_INFORMATION..=0x100).contains(&kind) && kind.is_multiple_of(0x10)
    }
}

/// Bits of the flags that say how content is encoded.
pub(crate) mod flag {
    /// Any compression; LZNT1 is the only one that exists here.
    pub(crate) const COMPRESSED: u16 = 0x00ff;
    pub(crate) const ENCRYPTED: u16 = 0x4000;
    pub(crate) const SPARSE: u16 = 0x8000;
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) kind: U32,
    /// Of the whole attribute, in bytes.
    pub(super) length: U32,
    pub(super) non_resident: u8,
    /// In UTF-16 units.
    pub(super) name_length: u8,
    pub(super) name_offset: U16,
    pub(super) flags: U16,
    pub(super) id: U16,
}
pub(super) const HEADER_SIZE: usize = size_of::<Header>();
const _: () = assert!(HEADER_SIZE == 16);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Resident {
    pub(super) header: [u8; HEADER_SIZE],
    pub(super) value_length: U32,
    pub(super) value_offset: U16,
    pub(super) indexed: u8,
    pub(super) padding: u8,
}
const _: () = assert!(size_of::<Resident>() == 24);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct NonResident {
    pub(super) header: [u8; HEADER_SIZE],
    pub(super) lowest_vcn: U64,
    /// The last cluster of this piece; -1 where there is none.
    pub(super) highest_vcn: U64,
    pub(super) mapping_pairs_offset: U16,
    /// Binary logarithm of clusters; 0 for what is not compressed.
    pub(super) compression_unit: u8,
    pub(super) padding: [u8; 5],
    /// These three are right only in the piece that begins at VCN 0. In bytes.
    pub(super) allocated_size: U64,
    pub(super) data_size: U64,
    pub(super) valid_size: U64,
}
const _: () = assert!(size_of::<NonResident>() == 64);

/// One attribute, or one piece of it.
pub(crate) struct Attribute<'r> {
    pub(crate) kind: u32,
    /// UTF-16, little endian; empty for most.
    pub(crate) name: &'r [u8],
    pub(crate) flags: u16,
    /// Tells the attributes of a record apart.
    pub(crate) id: u16,
    /// Byte offset in the record.
    pub(crate) at: usize,
    pub(crate) content: Content<'r>,
}

/// Where the content of an attribute lies.
pub(crate) enum Content<'r> {
    /// In the record.
    Resident(&'r [u8]),
    /// In clusters.
    NonResident(Piece<'r>),
}

/// A piece of a non-resident attribute: all of it, or what fits into one record.
pub(crate) struct Piece<'r> {
    pub(crate) lowest: Vcn,
    /// The cluster behind the last one, as the header says it; `None` where it leaves that to the runs.
    pub(crate) end: Option<Vcn>,
    /// In bytes; right only where `lowest` is zero.
    pub(crate) sizes: Sizes,
    /// Binary logarithm of the clusters in a unit of compressed content; right only where `lowest` is zero.
    pub(crate) compression_unit: u8,
    /// In bytes, holes included; right only where `lowest` is zero.
    pub(crate) allocated: u64,
    /// The runs as they are encoded.
    pub(crate) mapping_pairs: &'r [u8],
    /// Where these begin in the record.
    pub(crate) mapping_pairs_at: usize,
}

/// How long a stream is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sizes {
    pub(crate) data: u64,
    /// What was ever written; behind it the stream is zero, whatever the clusters hold.
    pub(crate) valid: u64,
}

/// Goes through the attributes of a record.
pub(crate) fn each<'r>(
    record: &Record<'r>,
    mut visit: impl FnMut(Attribute<'r>) -> Result<(), Mismatch>,
) -> Result<(), Mismatch> {
    let bytes = record.bytes;
    let mut at = record.first_attribute;
    loop {
        // The end mark may be cut to its first four bytes.
        match super::field::u32(bytes, at) {
            Some(kind::END) => return Ok(()),
            Some(_) => {}
            None => return Err(Mismatch::new(at, "an attribute or the end mark", "the end of the record")),
        }
        let (attribute, length) = parse(&bytes[at..]).map_err(|mismatch| mismatch.shifted(at))?;
        visit(Attribute { at, ..attribute })?;
        at += length;
    }
}

fn parse(bytes: &[u8]) -> Result<(Attribute<'_>, usize), Mismatch> {
    let Ok((header, _)) = Header::ref_from_prefix(bytes) else {
        return Err(Mismatch::new(0, "an attribute header", "the end of the record"));
    };
    let kind = header.kind.get();
    if !kind::is_known(kind) {
        return Err(Mismatch::new(0, "a type of attribute that NTFS has, up to 0x100", format!("{kind:#x}")));
    }
    let length = header.length.get() as usize;
    if length < size_of::<Resident>() || !length.is_multiple_of(8) || length > bytes.len() {
        let expected = format!("an attribute of 24 to {} bytes, a multiple of 8", bytes.len());
        return Err(Mismatch::new(std::mem::offset_of!(Header, length), expected, length));
    }
    let bytes = &bytes[..length];
    let name_at = usize::from(header.name_offset.get());
    let name_length = usize::from(header.name_length) * 2;
    let Some(name) =
        (if name_length == 0 { Some(&bytes[..0]) } else { bytes.get(name_at..name_at + name_length) })
    else {
        let found = format!("{name_length} bytes at {name_at}");
        return Err(Mismatch::new(
            std::mem::offset_of!(Header, name_offset),
            "a name inside the attribute",
            found,
        ));
    };
    let content = match header.non_resident {
        0 => Content::Resident(resident(bytes)?),
        1 => Content::NonResident(non_resident(bytes)?),
        other => {
            let at = std::mem::offset_of!(Header, non_resident);
            return Err(Mismatch::new(at, "0 (resident) or 1 (not)", other));
        }
    };
    let (flags, id) = (header.flags.get(), header.id.get());
    let attribute = Attribute { kind, name, flags, id, at: 0, content };
    Ok((attribute, length))
}

fn resident(bytes: &[u8]) -> Result<&[u8], Mismatch> {
    let value = Resident::ref_from_prefix(bytes).ok().and_then(|(resident, _)| {
        let start = usize::from(resident.value_offset.get());
        bytes.get(start..start.checked_add(resident.value_length.get() as usize)?)
    });
    value.ok_or_else(|| {
        let at = std::mem::offset_of!(Resident, value_length);
        Mismatch::new(
            at,
            format!("a value inside the attribute of {} bytes", bytes.len()),
            "one that leaves it",
        )
    })
}

fn non_resident(bytes: &[u8]) -> Result<Piece<'_>, Mismatch> {
    let Ok((piece, _)) = NonResident::ref_from_prefix(bytes) else {
        return Err(Mismatch::new(0, "a non-resident attribute of 64 bytes or more", bytes.len()));
    };
    let (lowest, highest) = (piece.lowest_vcn.get(), piece.highest_vcn.get());
    let end = highest.wrapping_add(1);
    if lowest > end {
        let found = format!("{lowest} to {highest}");
        return Err(Mismatch::new(
            std::mem::offset_of!(NonResident, lowest_vcn),
            "a range of clusters",
            found,
        ));
    }
    let (data, valid) = (piece.data_size.get(), piece.valid_size.get());
    if lowest == 0 && (valid > data || i64::try_from(data).is_err()) {
        let at = std::mem::offset_of!(NonResident, data_size);
        let found = format!("{data} bytes, {valid} of them valid");
        return Err(Mismatch::new(at, "a size that is not below its valid part", found));
    }
    let mapping_pairs_at = usize::from(piece.mapping_pairs_offset.get());
    match bytes.get(mapping_pairs_at..) {
        Some(mapping_pairs) if mapping_pairs_at >= size_of::<NonResident>() => Ok(Piece {
            lowest: Vcn(lowest),
            // Zero means the first cluster, but also that nobody has filled the field in.
            end: (highest != 0).then_some(Vcn(end)),
            sizes: Sizes { data, valid },
            compression_unit: piece.compression_unit,
            allocated: piece.allocated_size.get(),
            mapping_pairs,
            mapping_pairs_at,
        }),
        _ => {
            let at = std::mem::offset_of!(NonResident, mapping_pairs_offset);
            Err(Mismatch::new(at, "runs inside the attribute", mapping_pairs_at))
        }
    }
}
