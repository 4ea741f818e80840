//! `$STANDARD_INFORMATION` and `$FILE_NAME`: what a file is, and what it is called. A directory's index repeats the latter.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes};

use super::attribute::{Attribute, resident_size};
use super::narrow;
use crate::ntfs::Reference;
use crate::ntfs::attribute::kind;

/// File attributes as Windows numbers them (\[MS-FSCC\] 2.6), and two that only NTFS has.
pub(crate) mod dos {
    pub(crate) const HIDDEN: u32 = 0x2;
    pub(crate) const SYSTEM: u32 = 0x4;
    pub(crate) const ARCHIVE: u32 = 0x20;
    pub(crate) const SPARSE: u32 = 0x200;
    pub(crate) const REPARSE_POINT: u32 = 0x400;
    /// In `$FILE_NAME` only: a directory.
    pub(crate) const DIRECTORY: u32 = 0x1000_0000;
    /// An index that is no directory.
    pub(crate) const VIEW_INDEX: u32 = 0x2000_0000;
}

/// What is written in both attributes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// Units of 100 ns since 1601 (\[MS-DTYP\] 2.3.3). All four times of a file are this one.
    pub(crate) time: u64,
    /// File attributes, without [`dos::DIRECTORY`].
    pub(crate) attributes: u32,
    pub(crate) is_directory: bool,
    /// In bytes; of the unnamed `$DATA`.
    pub(crate) allocated: u64,
    pub(crate) size: u64,
    /// The tag of a reparse point, or the packed size of extended attributes.
    pub(crate) tag: u32,
    /// Which descriptor of `$Secure`.
    pub(crate) security: u32,
}

/// Since NTFS 3.0.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct StandardInformation {
    created: U64,
    modified: U64,
    record_changed: U64,
    accessed: U64,
    attributes: U32,
    /// How many versions, which, and of which class: not used by Windows.
    versions: [U32; 3],
    owner_id: U32,
    security_id: U32,
    quota_charged: U64,
    update_sequence_number: U64,
}

/// The size of a `$STANDARD_INFORMATION`.
pub(crate) const STANDARD_INFORMATION_SIZE: usize = resident_size(size_of::<StandardInformation>());

impl Facts {
    /// The `$STANDARD_INFORMATION`.
    pub(crate) fn standard_information(&self) -> Attribute {
        let time = U64::from(self.time);
        let information = StandardInformation {
            created: time,
            modified: time,
            record_changed: time,
            accessed: time,
            attributes: self.attributes.into(),
            versions: [0.into(); 3],
            owner_id: 0.into(),
            security_id: self.security.into(),
            quota_charged: 0.into(),
            update_sequence_number: 0.into(),
        };
        Attribute::resident(kind::STANDARD_INFORMATION, "", information.as_bytes())
    }
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct FileName {
    parent: U64,
    created: U64,
    modified: U64,
    record_changed: U64,
    accessed: U64,
    allocated: U64,
    size: U64,
    attributes: U32,
    tag: U32,
    name_length: u8,
    namespace: u8,
}
pub(crate) const FILE_NAME_SIZE: usize = size_of::<FileName>();
const _: () = assert!(FILE_NAME_SIZE == 66);

/// Names without a short one beside them. Windows writes these where short names are switched off, as they are on all but the
/// system's volume.
const POSIX: u8 = 0;
/// The long and the short name are the same.
const WIN32_AND_DOS: u8 = 3;

/// A name of a file in a folder: the value of `$FILE_NAME`, and the key of the folder's index.
pub(crate) fn key(facts: &Facts, folder: Reference, name: &[u16]) -> Vec<u8> {
    with_namespace(facts, folder, name, POSIX)
}

/// The same for the files of NTFS itself, which have been called so since there was MS-DOS.
pub(crate) fn system_key(facts: &Facts, folder: Reference, name: &[u16]) -> Vec<u8> {
    with_namespace(facts, folder, name, WIN32_AND_DOS)
}

fn with_namespace(facts: &Facts, folder: Reference, name: &[u16], namespace: u8) -> Vec<u8> {
    let time = U64::from(facts.time);
    let directory = if facts.is_directory { dos::DIRECTORY } else { 0 };
    let fixed = FileName {
        parent: folder.to_raw().into(),
        created: time,
        modified: time,
        record_changed: time,
        accessed: time,
        allocated: facts.allocated.into(),
        size: facts.size.into(),
        attributes: (facts.attributes | directory).into(),
        tag: facts.tag.into(),
        name_length: narrow(name.len()),
        namespace,
    };
    let mut key = Vec::with_capacity(FILE_NAME_SIZE + name.len() * 2);
    key.extend(fixed.as_bytes());
    key.extend(name.iter().flat_map(|unit| U16::from(*unit).to_bytes()));
    key
}

/// The attribute of a name.
pub(crate) fn attribute(key: &[u8]) -> Attribute {
    Attribute::resident(kind::FILE_NAME, "", key)
}
