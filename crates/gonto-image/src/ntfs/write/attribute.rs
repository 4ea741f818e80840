//! Attributes, whole as they stand in a record.

use std::cmp::Ordering;

use zerocopy::IntoBytes;

use super::{ALIGNMENT, narrow, runs};
use crate::ntfs::Vcn;
use crate::ntfs::attribute::{Header, NonResident, Resident, flag, kind};
use crate::ntfs::runs::Extent;

/// An attribute, or one part of it, that has no place yet.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) kind: u32,
    /// UTF-16, little endian.
    pub(crate) name: Vec<u8>,
    pub(crate) lowest: Vcn,
    /// All of it; the id is filled in when it gets its place.
    pub(crate) bytes: Vec<u8>,
}

/// Content that lies in clusters.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) runs: Vec<Extent>,
    /// In bytes, a multiple of the cluster size, holes included.
    pub(crate) allocated: u64,
    /// In bytes. All of it is valid, but for what lies in `$BadClus`.
    pub(crate) size: u64,
    pub(crate) valid: u64,
    /// Of one with holes.
    pub(crate) sparse: Option<Sparse>,
}

/// What a stream with holes tells of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sparse {
    /// How many bytes lie in clusters.
    pub(crate) there: u64,
    /// Binary logarithm of the clusters that are in a hole together or not at all.
    pub(crate) unit: u8,
}

/// The unit in which Windows makes holes: 16 clusters, or one where clusters are bigger than 4 KiB. Binary logarithm.
pub(crate) fn sparse_unit(cluster_size: u64) -> u8 {
    if cluster_size <= 4096 { 4 } else { 0 }
}

/// The size of a resident attribute without a name.
pub(crate) const fn resident_size(value: usize) -> usize {
    (size_of::<Resident>() + value).next_multiple_of(ALIGNMENT)
}

/// Mapping pairs of one part: with them it fits into an extension record of its own.
const MOST_PAIRS: usize = 800;

impl Attribute {
    /// An attribute whose content lies in the record.
    pub(crate) fn resident(kind: u32, name: &str, value: &[u8]) -> Self {
        let name = utf16(name);
        let name_offset = size_of::<Resident>();
        let value_offset = (name_offset + name.len()).next_multiple_of(ALIGNMENT);
        let length = (value_offset + value.len()).next_multiple_of(ALIGNMENT);
        let header = header(kind, length, false, &name, name_offset, 0);
        let resident = Resident {
            header: zerocopy::transmute!(header),
            value_length: narrow::<u32>(value.len()).into(),
            value_offset: narrow::<u16>(value_offset).into(),
            // NTFS marks what is the key of an index.
            indexed: u8::from(kind == kind::FILE_NAME),
            padding: 0,
        };
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(resident.as_bytes());
        bytes.extend(&name);
        bytes.resize(value_offset, 0);
        bytes.extend(value);
        bytes.resize(length, 0);
        Self { kind, name, lowest: Vcn(0), bytes }
    }

    /// An attribute whose content lies in clusters: as many parts as its runs need, nearly always one.
    pub(crate) fn non_resident(kind: u32, name: &str, stream: &Stream) -> Vec<Self> {
        let name = utf16(name);
        let flags = if stream.sparse.is_some() { flag::SPARSE } else { 0 };
        runs::encode(&stream.runs, MOST_PAIRS)
            .into_iter()
            .map(|part| Self::part(kind, &name, flags, stream, &part))
            .collect()
    }

    fn part(kind: u32, name: &[u8], flags: u16, stream: &Stream, part: &runs::Part) -> Self {
        let first = part.lowest == Vcn(0);
        // Only the first part tells sizes, and only that of a sparse stream tells its unit and how much of it is there.
        let sparse = stream.sparse.filter(|_| first);
        let name_offset = size_of::<NonResident>() + sparse.map_or(0, |_| size_of::<u64>());
        let pairs_offset = (name_offset + name.len()).next_multiple_of(ALIGNMENT);
        let length = (pairs_offset + part.pairs.len()).next_multiple_of(ALIGNMENT);
        let header = header(kind, length, true, name, name_offset, flags);
        let size = |size: u64| if first { size.into() } else { 0.into() };
        let non_resident = NonResident {
            header: zerocopy::transmute!(header),
            lowest_vcn: part.lowest.0.into(),
            highest_vcn: part.end.0.wrapping_sub(1).into(),
            mapping_pairs_offset: narrow::<u16>(pairs_offset).into(),
            compression_unit: sparse.map_or(0, |sparse| sparse.unit),
            padding: [0; 5],
            allocated_size: size(stream.allocated),
            data_size: size(stream.size),
            valid_size: size(stream.valid),
        };
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(non_resident.as_bytes());
        bytes.extend(sparse.iter().flat_map(|sparse| sparse.there.to_le_bytes()));
        bytes.extend(name);
        bytes.resize(pairs_offset, 0);
        bytes.extend(&part.pairs);
        bytes.resize(length, 0);
        Self { kind, name: name.to_vec(), lowest: part.lowest, bytes }
    }

    /// The order in a record: by type, by name, by place in the stream, and what is the key of an index by its value.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let place = (self.kind, &self.name, self.lowest).cmp(&(other.kind, &other.name, other.lowest));
        place.then_with(|| self.value().cmp(other.value()))
    }

    /// The value of a resident attribute without a name, such as `$FILE_NAME`.
    fn value(&self) -> &[u8] {
        self.bytes.get(size_of::<Resident>()..).unwrap_or_default()
    }

    /// Gives it the number by which the attributes of a record are told apart.
    pub(super) fn set_id(&mut self, id: u16) {
        let at = std::mem::offset_of!(Header, id);
        self.bytes[at..at + 2].copy_from_slice(&id.to_le_bytes());
    }
}

fn header(
    kind: u32,
    length: usize,
    non_resident: bool,
    name: &[u8],
    name_offset: usize,
    flags: u16,
) -> Header {
    Header {
        kind: kind.into(),
        length: narrow::<u32>(length).into(),
        non_resident: u8::from(non_resident),
        name_length: narrow(name.len() / 2),
        name_offset: narrow::<u16>(name_offset).into(),
        flags: flags.into(),
        id: 0.into(),
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntfs::Lcn;

    /// Linux' ntfs3 refuses a file whose later parts tell of a unit.
    #[test]
    fn only_the_first_part_of_a_sparse_stream_tells_of_its_unit() {
        let run =
            |number: u64| Extent { lcn: number.is_multiple_of(2).then_some(Lcn(number * 1000)), length: 16 };
        let runs: Vec<Extent> = (0..500).map(run).collect();
        let size = 500 * 16 * 512;
        let stream = Stream {
            runs,
            allocated: size,
            size,
            valid: size,
            sparse: Some(Sparse { there: size / 2, unit: 4 }),
        };
        let parts = Attribute::non_resident(kind::DATA, "", &stream);
        let at = std::mem::offset_of!(NonResident, compression_unit);
        let units: Vec<u8> = parts.iter().map(|part| part.bytes[at]).collect();
        assert!(parts.len() > 1);
        assert!(units[0] == 4 && units[1..].iter().all(|unit| *unit == 0), "{units:?}");
    }
}
