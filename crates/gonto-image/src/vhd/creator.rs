//! Who made a VHD.

use super::format::Footer;
use crate::layer::Creator;

/// The mark of what this crate makes.
pub(super) const GONTO: [u8; 4] = *b"gnto";

/// The creator that a footer names; `None` where the mark is left empty.
pub(super) fn creator(footer: &Footer) -> Option<Creator> {
    let mark = footer.creator_application;
    if mark == [0; 4] {
        return None;
    }
    let text = String::from_utf8_lossy(&mark).trim_end_matches(['\0', ' ']).to_owned();
    let text = text.escape_debug().to_string();
    let version = footer.creator_version.get();
    let version = ((version >> 16) as u16, (version & 0xffff) as u16);
    let (program, version) = match &mark {
        b"win " => (windows(version), Some(version)),
        b"vpc " => ("Virtual PC".to_owned(), Some(version)),
        b"vs  " => ("Virtual Server".to_owned(), Some(version)),
        b"d2v " => ("Disk2vhd".to_owned(), Some(version)),
        b"vbox" => ("VirtualBox".to_owned(), Some(version)),
        // What follows is the version of Virtual PC that they imitate.
        b"qemu" | b"qem2" => ("QEMU".to_owned(), None),
        b"tap\0" => ("XenServer".to_owned(), None),
        b"CTXS" => ("XenConvert".to_owned(), None),
        b"wa\0\0" | b"wa  " => ("Azure".to_owned(), None),
        &GONTO => ("Gonto".to_owned(), Some(version)),
        _ => (text.clone(), Some(version)),
    };
    let host = match &footer.creator_host_os {
        // It writes the same bytes wherever it runs.
        _ if mark == GONTO => None,
        b"Wi2k" => Some("Windows"),
        b"Mac " => Some("Macintosh"),
        _ => None,
    };
    Some(Creator { program, mark: text, version, host })
}

/// Windows by its version number, as Hyper-V, Disk Management and diskpart write it.
fn windows((major, minor): (u16, u16)) -> String {
    let name = match (major, minor) {
        (5, 1) => "XP",
        (5, 2) => "Server 2003",
        (6, 0) => "Vista or Server 2008",
        (6, 1) => "7 or Server 2008 R2",
        (6, 2) => "8 or Server 2012",
        (6, 3) => "8.1 or Server 2012 R2",
        (10, 0) => "10, 11, or Server 2016 or later",
        _ => return format!("Windows {major}.{minor}"),
    };
    format!("Windows {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn told(mark: [u8; 4], version: u32) -> Option<String> {
        let mut footer = Footer::new_zeroed();
        footer.creator_application = mark;
        footer.creator_version = version.into();
        creator(&footer).map(|creator| creator.to_string())
    }

    #[test]
    fn creators_are_told_in_words_that_users_know() {
        assert_eq!(told(*b"win ", 0x000a_0000).as_deref(), Some("Windows 10, 11, or Server 2016 or later"));
        assert_eq!(told(*b"win ", 0x0006_0001).as_deref(), Some("Windows 7 or Server 2008 R2"));
        assert_eq!(told(*b"win ", 0x000b_0000).as_deref(), Some("Windows 11.0"));
        assert_eq!(told(*b"gnto", 4).as_deref(), Some("Gonto"));
        assert_eq!(told(*b"tap\0", 0).as_deref(), Some("XenServer"));
        assert_eq!(told(*b"new\x1b", 1).as_deref(), Some("new\\u{1b}"));
        assert_eq!(told([0; 4], 1), None);
    }
}
