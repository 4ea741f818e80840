//! Identifiers of a new image.

use crate::guid::Guid;

/// What everything derives from that has to be unique in a new image, so that the same makes the same image: the digest of all
/// that an image contains, or chance and the parent for a differencing child, which contains nothing.
pub(crate) struct Identity([u8; 32]);

impl Identity {
    pub(crate) fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// That of a child. The children of several parents may be given the same seed, and are others all the same.
    pub(crate) fn of_child(seed: &[u8; 32], parent: Guid) -> Self {
        Self(blake3::keyed_hash(seed, &parent.to_bytes()).into())
    }

    /// An identifier of version 8 (RFC 9562, 5.8), whose other bits are free.
    pub(crate) fn guid(&self, purpose: &str) -> Guid {
        const VERSION: u128 = 0xf << 76;
        const VARIANT: u128 = 0b11 << 62;
        let digits = u128::from_be_bytes(self.derived(purpose));
        Guid::from_digits(digits & !(VERSION | VARIANT) | 8 << 76 | 0b10 << 62)
    }

    /// A number that is never 0, which stands for none.
    pub(crate) fn number(&self, purpose: &str) -> u64 {
        u64::from_be_bytes(self.derived(purpose)).max(1)
    }

    /// A signature for a disk that had the signature `old`: another one, and not 0, which stands for none.
    pub(crate) fn signature(&self, purpose: &str, old: u32) -> u32 {
        match u32::from_be_bytes(self.derived(purpose)) {
            new if new != 0 && new != old => new,
            _ => old.wrapping_add(1).max(1),
        }
    }

    /// Bytes that are others for each purpose.
    fn derived<const SIZE: usize>(&self, purpose: &str) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut hasher = blake3::Hasher::new_derive_key(&format!("Gonto, identity of an image: {purpose}"));
        hasher.update(&self.0).finalize_xof().fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_and_each_content_has_an_identifier_of_its_own() {
        let (one, other) = (Identity::new([1; 32]), Identity::new([2; 32]));
        assert_eq!(one.guid("disk"), Identity::new([1; 32]).guid("disk"));
        assert_ne!(one.guid("disk"), one.guid("partition"));
        assert_ne!(one.guid("disk"), other.guid("disk"));
        assert_eq!(one.number("serial"), Identity::new([1; 32]).number("serial"));
        assert_ne!(one.number("serial"), other.number("serial"));
    }

    #[test]
    fn children_differ_by_their_seed_and_by_their_parent() {
        let (one, other) = (Guid::from_digits(1), Guid::from_digits(2));
        let disk = |seed, parent| Identity::of_child(&[seed; 32], parent).guid("disk");
        assert_eq!(disk(1, one), disk(1, one));
        assert_ne!(disk(1, one), disk(2, one));
        assert_ne!(disk(1, one), disk(1, other));
    }

    #[test]
    fn a_signature_is_never_the_old_one() {
        let identity = Identity::new([3; 32]);
        let usual = identity.signature("disk", 0);
        assert_eq!(identity.signature("disk", 77), usual);
        assert_eq!(identity.signature("disk", usual), usual.wrapping_add(1));
    }

    /// The digits of version and variant, as RFC 9562 writes them.
    #[test]
    fn identifiers_are_of_version_8() {
        for content in 0..100 {
            let guid = Identity::new([content; 32]).guid("disk").to_string();
            assert_eq!(&guid[14..15], "8", "{guid}");
            assert!("89ab".contains(&guid[19..20]), "{guid}");
        }
    }

    /// Images that were made before must be made again with the same bytes.
    #[test]
    fn identifiers_stay_as_they_are() {
        let identity = Identity::new([7; 32]);
        assert_eq!(identity.guid("disk").to_string(), "728ab34f-9804-86b0-8901-0937dbdf126b");
        assert_eq!(identity.number("serial"), 15019131222681527407);
    }
}
