//! `$Secure`: the security descriptors of all files, each kept once (\[MS-DTYP\] 2.4.6).

use super::index::Entries;

/// Which descriptor a file has.
pub(crate) mod id {
    /// What NTFS itself keeps, and nobody may change.
    pub(crate) const SYSTEM: u32 = 0x100;
    /// The same, for what programs may change by way of NTFS.
    pub(crate) const SYSTEM_WRITABLE: u32 = 0x101;
    /// Folders: everybody may do everything in them, and what is made there inherits it.
    pub(crate) const FOLDER: u32 = 0x102;
    /// Files: everybody may do everything.
    pub(crate) const FILE: u32 = 0x103;
}

/// Security identifiers (\[MS-DTYP\] 2.4.2.4).
const EVERYONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
const LOCAL_SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
pub(crate) const ADMINISTRATORS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];

/// Rights to a file (\[MS-DTYP\] 2.4.3).
const READ: u32 = 0x0012_0089;
const READ_AND_WRITE: u32 = 0x0012_019f;
const EVERYTHING: u32 = 0x001f_01ff;

/// Flags of an entry of an access list (\[MS-DTYP\] 2.4.4.1).
const INHERITED_BY_FILES: u8 = 1;
const INHERITED_BY_FOLDERS: u8 = 2;
const INHERITED: u8 = 0x10;

/// `$SDS`, and the entries of its indexes `$SDH` and `$SII`.
pub(crate) struct Descriptors {
    pub(crate) stream: Vec<u8>,
    pub(crate) by_hash: Entries,
    pub(crate) by_id: Entries,
}

/// Every other block of this size repeats the one before it.
const BLOCK: usize = 256 << 10;

impl Descriptors {
    /// Those that images have.
    pub(crate) fn new() -> Self {
        let system =
            |rights| descriptor(&[(0, rights, LOCAL_SYSTEM), (0, rights, ADMINISTRATORS)], LOCAL_SYSTEM);
        let below = INHERITED_BY_FILES | INHERITED_BY_FOLDERS;
        let mut all = vec![
            (id::SYSTEM, system(READ)),
            (id::SYSTEM_WRITABLE, system(READ_AND_WRITE)),
            (id::FOLDER, descriptor(&[(below, EVERYTHING, EVERYONE)], ADMINISTRATORS)),
            (id::FILE, descriptor(&[(INHERITED, EVERYTHING, EVERYONE)], ADMINISTRATORS)),
        ];
        let mut stream = Vec::new();
        let mut headers = Vec::new();
        for (id, descriptor) in all.drain(..) {
            stream.resize(stream.len().next_multiple_of(16), 0);
            let mut header = Vec::new();
            header.extend(hash(&descriptor).to_le_bytes());
            header.extend(id.to_le_bytes());
            header.extend((stream.len() as u64).to_le_bytes());
            header.extend(super::narrow::<u32>(HEADER_SIZE + descriptor.len()).to_le_bytes());
            stream.extend(&header);
            stream.extend(descriptor);
            headers.push((hash_of(&header), id, header));
        }
        let original = stream.clone();
        stream.resize(BLOCK, 0);
        stream.extend(original);

        let (mut by_hash, mut by_id) = (Entries::default(), Entries::default());
        for (_, _, header) in &headers {
            by_id.push_value(&header[4..8], header);
        }
        headers.sort_by_key(|(hash, id, _)| (*hash, *id));
        for (_, _, header) in &headers {
            // Windows fills up what is left with two letters.
            by_hash.push_value_and_padding(&header[..8], header, b"I\0I\0");
        }
        Self { stream, by_hash, by_id }
    }
}

/// Hash, id, place in `$SDS`, length.
const HEADER_SIZE: usize = 20;

fn hash_of(header: &[u8]) -> u32 {
    crate::ntfs::field::u32(header, 0).unwrap_or(0)
}

/// The hash by which NTFS looks descriptors up.
fn hash(descriptor: &[u8]) -> u32 {
    descriptor.chunks_exact(4).fold(0u32, |hash, word| {
        hash.rotate_left(3).wrapping_add(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
    })
}

/// A self-relative descriptor: header, access list, owner, group.
fn descriptor(entries: &[(u8, u32, &[u8])], owner: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for (flags, rights, who) in entries {
        // ACCESS_ALLOWED_ACE, \[MS-DTYP\] 2.4.4.2
        list.extend([0, *flags]);
        list.extend(super::narrow::<u16>(8 + who.len()).to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(*who);
    }
    let owner_at = DESCRIPTOR_HEADER_SIZE + LIST_HEADER_SIZE + list.len();
    let mut bytes = vec![1, 0];
    bytes.extend((SELF_RELATIVE | LIST_PRESENT).to_le_bytes());
    for offset in [owner_at, owner_at + owner.len(), 0, DESCRIPTOR_HEADER_SIZE] {
        bytes.extend(super::narrow::<u32>(offset).to_le_bytes());
    }
    bytes.extend([2, 0]);
    bytes.extend(super::narrow::<u16>(LIST_HEADER_SIZE + list.len()).to_le_bytes());
    bytes.extend(super::narrow::<u16>(entries.len()).to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend(list);
    bytes.extend(owner);
    bytes.extend(ADMINISTRATORS);
    bytes
}

const DESCRIPTOR_HEADER_SIZE: usize = 20;
const LIST_HEADER_SIZE: usize = 8;
const SELF_RELATIVE: u16 = 0x8000;
const LIST_PRESENT: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// What Windows 10 has written for the same descriptors.
    #[test]
    fn hashes_are_those_of_windows() {
        let hashes: Vec<u32> = {
            let stream = Descriptors::new().stream;
            [0, 0x80].map(|at| crate::ntfs::field::u32(&stream, at).unwrap()).to_vec()
        };
        assert_eq!(hashes, [0x32fe_c6cb, 0x3414_c8f7]);
    }

    /// The entry of the same descriptor in a volume of Windows 10.
    #[test]
    fn an_entry_of_sdh_is_that_of_windows() {
        let entry: String =
            Descriptors::new().by_hash.get(0).iter().map(|byte| format!("{byte:02x}")).collect();
        let header = "18001400000000003000080000000000";
        let key = "cbc6fe3200010000";
        let value = "cbc6fe3200010000000000000000000078000000";
        assert_eq!(entry, [header, key, value, "49004900"].concat());
    }
}
