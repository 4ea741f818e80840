//! Records of `$MFT`: a file's attributes, in as many records as they need.
//!
//! Nearly every file has one record. What does not fit (a thousand names, ten thousand holes) goes to extension records, and
//! `$ATTRIBUTE_LIST` in the base record tells where each attribute is.

use zerocopy::IntoBytes;

use super::attribute::{Attribute, Stream, resident_size};
use super::{ALIGNMENT, RECORD_SIZE, narrow};
use crate::ntfs::attribute::{NonResident, kind};
use crate::ntfs::record::{DIRECTORY, HEADER_SIZE, Header, IN_USE, SIGNATURE};
use crate::ntfs::{Reference, Vcn, fixup};

/// The bytes of a record as they lie in `$MFT`.
pub(crate) type Record = Box<[u8; RECORD_SIZE]>;

/// The array of fixups lies behind the header, then the attributes begin.
const FIXUP_COUNT: usize = RECORD_SIZE / 512 + 1;
const FIRST_ATTRIBUTE: usize = (HEADER_SIZE + FIXUP_COUNT * 2).next_multiple_of(ALIGNMENT);

/// The end mark takes as much as the smallest thing.
const END_SIZE: usize = ALIGNMENT;

/// What attributes may take in a record.
pub(crate) const ROOM: usize = RECORD_SIZE - FIRST_ATTRIBUTE - END_SIZE;

/// What the last bytes of each stride are replaced by; any number that is not 0.
const FIXUP: u16 = 1;

/// In the flags of the header: an index that is no directory, and a file in `$Extend`.
pub(crate) const VIEW_INDEX: u16 = 8;
pub(crate) const IN_EXTEND: u16 = 4;

/// A file whose records are to be made.
pub(crate) struct File {
    pub(crate) reference: Reference,
    /// Beside [`IN_USE`].
    pub(crate) flags: u16,
    /// How many names it has.
    pub(crate) links: u16,
    pub(crate) attributes: Vec<Attribute>,
}

impl File {
    pub(crate) const DIRECTORY: u16 = DIRECTORY;

    /// Makes its records: the base record, and extension records, each with its number, where that is not enough.
    ///
    /// `take` gives the number of a free record, `store` keeps an attribute list in clusters.
    ///
    /// # Errors
    /// Those of `store`.
    pub(crate) fn into_records<E>(
        mut self,
        mut take: impl FnMut() -> u64,
        store: impl FnOnce(&[u8]) -> Result<Stream, E>,
    ) -> Result<(Record, Vec<(u64, Record)>), E> {
        self.attributes.sort_by(Attribute::order);
        let size: usize = self.attributes.iter().map(|attribute| attribute.bytes.len()).sum();
        if size <= ROOM {
            return Ok((self.into_record(), Vec::new()));
        }
        let (base, extensions, list) = self.spread(&mut take);
        let list = if list.len() <= LONGEST_RESIDENT_LIST {
            Attribute::resident(kind::ATTRIBUTE_LIST, "", &list)
        } else {
            // A list in clusters has few runs: it is written at once.
            let mut parts = Attribute::non_resident(kind::ATTRIBUTE_LIST, "", &store(&list)?);
            parts.swap_remove(0)
        };
        let base = base.with(list).finish(self.reference.sequence);
        let finish = |draft: Draft| (draft.number, draft.finish(EXTENSION_SEQUENCE));
        Ok((base, extensions.into_iter().map(finish).collect()))
    }

    /// Makes the one record of a file that is known to need no more.
    pub(crate) fn into_record(mut self) -> Record {
        self.attributes.sort_by(Attribute::order);
        let mut base = Draft::new(self.reference.record, self.links, self.flags, 0);
        for attribute in self.attributes {
            base.add(attribute);
        }
        base.finish(self.reference.sequence)
    }

    /// Gives each attribute its record, and makes the list that tells of it.
    fn spread(&mut self, take: &mut impl FnMut() -> u64) -> (Draft, Vec<Draft>, Vec<u8>) {
        let mut base = Draft::new(self.reference.record, self.links, self.flags, 0);
        base.reserved = ROOM_FOR_LIST;
        let mut extensions: Vec<Draft> = Vec::new();
        let mut list = Vec::new();
        let base_reference = self.reference.to_raw();
        for attribute in self.attributes.drain(..) {
            let fits = |draft: &Draft| draft.room() >= attribute.bytes.len();
            let (kind, name, lowest) = (attribute.kind, attribute.name.clone(), attribute.lowest);
            // In the base record, a later part of a stream would be met before the first one by those who look there first.
            let (reference, id) = if lowest == Vcn(0) && fits(&base) {
                (self.reference, base.add(attribute))
            } else {
                if !extensions.last().is_some_and(fits) {
                    extensions.push(Draft::new(take(), 0, self.flags & !DIRECTORY, base_reference));
                }
                let Some(extension) = extensions.last_mut() else { continue };
                let reference = Reference { record: extension.number, sequence: EXTENSION_SEQUENCE };
                (reference, extension.add(attribute))
            };
            let length = (LIST_ENTRY_SIZE + name.len()).next_multiple_of(ALIGNMENT);
            let end = list.len() + length;
            list.extend(kind.to_le_bytes());
            list.extend(narrow::<u16>(length).to_le_bytes());
            list.extend([narrow::<u8>(name.len() / 2), narrow::<u8>(LIST_ENTRY_SIZE)]);
            list.extend(lowest.0.to_le_bytes());
            list.extend(reference.to_raw().to_le_bytes());
            list.extend(id.to_le_bytes());
            list.extend(name);
            list.resize(end, 0);
        }
        (base, extensions, list)
    }
}

/// Type, length, lengths and place of the name, VCN, record, id.
const LIST_ENTRY_SIZE: usize = 26;

/// A longer list goes to clusters.
const LONGEST_RESIDENT_LIST: usize = 192;
const ROOM_FOR_LIST: usize = {
    let non_resident = size_of::<NonResident>() + 24;
    let resident = resident_size(LONGEST_RESIDENT_LIST);
    if resident > non_resident { resident } else { non_resident }
};

const EXTENSION_SEQUENCE: u16 = 1;

/// A record that is not in use.
pub(crate) fn unused(number: u64) -> Record {
    let mut draft = Draft::new(number, 0, 0, 0);
    draft.in_use = 0;
    draft.finish(1)
}

/// A record that is being filled.
struct Draft {
    number: u64,
    links: u16,
    flags: u16,
    in_use: u16,
    base: u64,
    attributes: Vec<Attribute>,
    used: usize,
    reserved: usize,
}

impl Draft {
    fn new(number: u64, links: u16, flags: u16, base: u64) -> Self {
        Self { number, links, flags, in_use: IN_USE, base, attributes: Vec::new(), used: 0, reserved: 0 }
    }

    fn room(&self) -> usize {
        ROOM.saturating_sub(self.used + self.reserved)
    }

    /// Adds an attribute and returns its id.
    fn add(&mut self, mut attribute: Attribute) -> u16 {
        let id = narrow(self.attributes.len());
        attribute.set_id(id);
        self.used += attribute.bytes.len();
        self.attributes.push(attribute);
        id
    }

    fn with(mut self, list: Attribute) -> Self {
        self.add(list);
        self.attributes.sort_by_key(|attribute| attribute.kind);
        self
    }

    fn finish(self, sequence: u16) -> Record {
        let mut bytes = Box::new([0; RECORD_SIZE]);
        let header = Header {
            signature: SIGNATURE,
            fixup_offset: narrow::<u16>(HEADER_SIZE).into(),
            fixup_count: narrow::<u16>(FIXUP_COUNT).into(),
            log_sequence_number: 0.into(),
            sequence: sequence.into(),
            hard_links: self.links.into(),
            first_attribute: narrow::<u16>(FIRST_ATTRIBUTE).into(),
            flags: (self.flags | self.in_use).into(),
            used: narrow::<u32>(FIRST_ATTRIBUTE + self.used + END_SIZE).into(),
            allocated: narrow::<u32>(RECORD_SIZE).into(),
            base: self.base.into(),
            next_attribute_id: narrow::<u16>(self.attributes.len()).into(),
            padding: 0.into(),
            // NTFS keeps the lower half here.
            number: u32::try_from(self.number & u64::from(u32::MAX)).unwrap_or(0).into(),
        };
        bytes[..HEADER_SIZE].copy_from_slice(header.as_bytes());
        let mut at = FIRST_ATTRIBUTE;
        for attribute in &self.attributes {
            let end = at + attribute.bytes.len();
            bytes[at..end].copy_from_slice(&attribute.bytes);
            at = end;
        }
        bytes[at..at + 4].copy_from_slice(&kind::END.to_le_bytes());
        fixup::apply(bytes.as_mut_slice(), FIXUP);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntfs::Lcn;
    use crate::ntfs::runs::Extent;
    use crate::ntfs::write::attribute::Sparse;

    /// The types of the attributes in a record.
    fn kinds(record: &Record) -> Vec<u32> {
        let number = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
        let next = |at: &usize| Some(at + number(at + 4) as usize);
        let places = std::iter::successors(Some(FIRST_ATTRIBUTE), next);
        places.map(number).take_while(|kind| *kind != kind::END).collect()
    }

    /// The Sleuth Kit takes what it meets first for the start of the stream.
    #[test]
    fn later_parts_of_a_stream_are_not_in_the_base_record() {
        let run =
            |number: u64| Extent { lcn: number.is_multiple_of(2).then_some(Lcn(number * 1000)), length: 16 };
        for count in 1..500 {
            let size = count * 16 * 512;
            let runs = (0..count).map(run).collect();
            let stream = Stream {
                runs,
                allocated: size,
                size,
                valid: size,
                sparse: Some(Sparse { there: size / 2, unit: 4 }),
            };
            let mut attributes = Attribute::non_resident(kind::DATA, "", &stream);
            let parts = attributes.len();
            attributes.push(Attribute::resident(kind::STANDARD_INFORMATION, "", &[0; 72]));
            let reference = Reference { record: 64, sequence: 1 };
            let file = File { reference, flags: 0, links: 1, attributes };
            let (base, extensions) = file.into_records(|| 70, |_| Ok::<_, ()>(stream)).unwrap();
            if extensions.is_empty() {
                assert_eq!(kinds(&base), [kind::STANDARD_INFORMATION, kind::DATA], "{count} runs");
            } else {
                assert_eq!(kinds(&base), [kind::STANDARD_INFORMATION, kind::ATTRIBUTE_LIST], "{count} runs");
                assert!(extensions.len() <= parts, "{count} runs");
            }
        }
    }
}
