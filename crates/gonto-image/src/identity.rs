//! Identifiers of a new image.

use crate::guid::Guid;

/// The digest of all that an image contains. Whatever has to be unique in an image derives from it, so that the same content
/// always makes the same image.
pub(crate) struct Identity([u8; 32]);

impl Identity {
    pub(crate) fn new(digest: [u8; 32]) -> Self {
        Self(digest)
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
