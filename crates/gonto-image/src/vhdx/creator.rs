//! Who made a VHDX.

use super::format::FileTypeIdentifier;
use crate::layer::Creator;

/// What Windows writes before its version.
const WINDOWS: &str = "Microsoft Windows ";

/// What this crate writes before its version.
pub(super) const GONTO: &str = "Gonto ";

/// The creator that the identifier names ([MS-VHDX] 2.2.1); `None` where it names none.
pub(super) fn creator(identifier: &FileTypeIdentifier) -> Option<Creator> {
    let units: Vec<u16> =
        identifier.creator.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0).collect();
    let mark = String::from_utf16_lossy(&units).trim().escape_debug().to_string();
    if mark.is_empty() {
        return None;
    }
    if let Some((major, minor)) = mark.strip_prefix(GONTO).and_then(|version| version.split_once('.')) {
        let version = major.parse().ok().zip(minor.parse().ok());
        return Some(Creator { program: GONTO.trim().to_owned(), mark, version, host: None });
    }
    let version = mark.strip_prefix(WINDOWS).and_then(version);
    let program = version.map_or(mark.clone(), windows);
    let host = version.map(|_| "Windows");
    Some(Creator { program, mark, version: version.map(|(major, minor, _)| (major, minor)), host })
}

/// Major, minor and build of `10.0.19041.0`.
fn version(text: &str) -> Option<(u16, u16, u32)> {
    let mut parts = text.split('.');
    let (major, minor, build) = (parts.next()?, parts.next()?, parts.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?, build.parse().ok()?))
}

/// Windows by its version number. Servers are builds of their own, or the same as those of a Windows 10 or 11.
fn windows((major, minor, build): (u16, u16, u32)) -> String {
    let name = match (major, minor, build) {
        (6, 2, _) => "8 or Server 2012",
        (6, 3, _) => "8.1 or Server 2012 R2",
        (10, 0, 14393) => "10 or Server 2016",
        (10, 0, 17763) => "10 or Server 2019",
        (10, 0, 20348) => "Server 2022",
        (10, 0, 26100) => "11 or Server 2025",
        (10, 0, ..22000) => "10",
        (10, 0, _) => "11",
        _ => return format!("Windows {major}.{minor}.{build}"),
    };
    format!("Windows {name}, build {build}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn told(mark: &str) -> Option<String> {
        let mut identifier = FileTypeIdentifier::new_zeroed();
        for (unit, slot) in mark.encode_utf16().zip(&mut identifier.creator) {
            *slot = unit.into();
        }
        creator(&identifier).map(|creator| creator.to_string())
    }

    #[test]
    fn creators_are_told_in_words_that_users_know() {
        assert_eq!(told("Microsoft Windows 10.0.19041.0").as_deref(), Some("Windows 10, build 19041"));
        assert_eq!(
            told("Microsoft Windows 10.0.20348.0").as_deref(),
            Some("Windows Server 2022, build 20348")
        );
        assert_eq!(told("Microsoft Windows 10.0.22631.0").as_deref(), Some("Windows 11, build 22631"));
        assert_eq!(
            told("Microsoft Windows 6.2.9200.16384").as_deref(),
            Some("Windows 8 or Server 2012, build 9200")
        );
        assert_eq!(told("Microsoft Windows NT").as_deref(), Some("Microsoft Windows NT"));
        assert_eq!(told("QEMU v10.0.2").as_deref(), Some("QEMU v10.0.2"));
        assert_eq!(told("Gonto 0.4").as_deref(), Some("Gonto"));
        assert_eq!(told("a\x1bb").as_deref(), Some("a\\u{1b}b"));
        assert_eq!(told(" "), None);
    }
}
