//! Names, files and links of Windows.

use std::ffi::OsString;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::fs::{FileExt, FileTimesExt, OpenOptionsExt, symlink_dir, symlink_file};
use std::path::{Component, Path};

use gonto_image::Node;

/// In bytes of the names; a path of the system has at most 32,767 units.
pub(super) const LONGEST_PATH: usize = 32_767;

/// Devices, with any extension or none.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// The name as the system has it.
pub(super) fn name(name: &[u8]) -> Result<OsString, &'static str> {
    if name.iter().any(|byte| *byte < b' ' || br#"<>:"/\|?*"#.contains(byte)) {
        return Err("the name has a character that Windows does not allow");
    }
    if name.ends_with(b".") || name.ends_with(b" ") {
        return Err("the name ends with a dot or space, which Windows does not allow");
    }
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let stem = String::from_utf8_lossy(stem).trim_end().to_uppercase();
    let is_port = |prefix| {
        let number = stem.strip_prefix(prefix);
        number.is_some_and(|number| {
            matches!(number, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
        })
    };
    if DEVICES.contains(&&*stem) || is_port("COM") || is_port("LPT") {
        return Err("Windows keeps the name for a device");
    }
    Ok(OsString::from_wide(&units(name)))
}

/// UTF-16 of WTF-8, in which lone surrogates stand as three bytes.
fn units(name: &[u8]) -> Vec<u16> {
    let mut units = Vec::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        let valid = match str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
        };
        units.extend(valid.encode_utf16());
        rest = &rest[valid.len()..];
        match rest {
            [0xed, second, third, tail @ ..] => {
                units.push(0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f));
                rest = tail;
            }
            [_, tail @ ..] => {
                units.push(0xfffd);
                rest = tail;
            }
            [] => {}
        }
    }
    units
}

pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// `seek_write` moves the file's cursor as well; that is harmless, because nobody here uses it.
pub(super) fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = file.seek_write(bytes, offset)?;
        bytes = &bytes[count..];
        offset += count as u64;
    }
    Ok(())
}

/// For its times.
pub(super) fn open_folder(path: &Path) -> io::Result<File> {
    const FILE_WRITE_ATTRIBUTES: u32 = 0x0100;
    /// Without it no folder can be opened.
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    OpenOptions::new().access_mode(FILE_WRITE_ATTRIBUTES).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

/// Windows has access control lists in their place; of the modes, it knows files that cannot be written.
pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    let found = file.metadata()?;
    // On folders, that attribute means something else.
    if mode & 0o222 != 0 || found.is_dir() {
        return Ok(());
    }
    let mut permissions = found.permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions)
}

pub(super) fn with_creation(times: FileTimes, node: &Node) -> FileTimes {
    times.set_created(node.created.to_system_time())
}

/// Windows wants to know whether a link leads to a folder. Links are made last, so that most targets are there.
pub(super) fn link(target: &[u8], path: &Path, _node: &Node) -> io::Result<()> {
    let target: Vec<u8> = target.iter().map(|byte| if *byte == b'/' { b'\\' } else { *byte }).collect();
    let target = OsString::from_wide(&units(&target));
    // A target on a server is not looked at: Windows would log on there.
    let mut parts = Path::new(&target).components();
    let is_relative = !matches!(parts.next(), Some(Component::Prefix(_) | Component::RootDir));
    let to_folder = is_relative
        && path
            .parent()
            .is_some_and(|folder| fs::metadata(folder.join(&target)).is_ok_and(|target| target.is_dir()));
    if to_folder { symlink_dir(target, path) } else { symlink_file(target, path) }?;
    // Wine says that it has made links, and makes none.
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "the system makes no links"))
        }
        _ => Ok(()),
    }
}

/// Whether the next name may have no such error.
pub(super) fn concerns_one_name(error: &io::Error) -> bool {
    /// Only administrators and developers may make links.
    const ERROR_PRIVILEGE_NOT_HELD: i32 = 1314;
    /// What FAT says of links.
    const ERROR_INVALID_FUNCTION: i32 = 1;
    const ERROR_INVALID_NAME: i32 = 123;
    matches!(
        error.raw_os_error(),
        Some(ERROR_PRIVILEGE_NOT_HELD | ERROR_INVALID_FUNCTION | ERROR_INVALID_NAME)
    )
}
