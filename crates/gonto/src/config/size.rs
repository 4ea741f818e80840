//! Sizes as people write them: `512MiB`, `8G`, `4096`.

use std::num::NonZeroU64;

/// A pattern for JSON Schema, which accepts the same texts as [`parse_size`] up to what 63 bits hold.
pub const SIZE_PATTERN: &str = "^0*[1-9][0-9]*([KMGT](iB)?)?$";

/// The largest size: file systems count in 63 bits.
pub(super) const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// Reads a number of bytes, or one of KiB, MiB, GiB or TiB, for which a letter is enough. None when it is no size, zero, or more
/// than 63 bits hold.
///
/// ```
/// use gonto::config::parse_size;
/// assert_eq!(parse_size("8G"), parse_size("8192MiB"));
/// assert_eq!(parse_size("4096").unwrap().get(), 4096);
/// assert_eq!(parse_size("8 GB"), None);
/// ```
#[must_use]
pub fn parse_size(text: &str) -> Option<NonZeroU64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.get(digits.len()..)? {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    NonZeroU64::new(size).filter(|size| size.get() <= MAX_SIZE)
}
