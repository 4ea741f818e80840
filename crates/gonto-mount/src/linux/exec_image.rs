//! A command laid out so that init can execute it without allocating memory.
//!
//! The image is what execve(2) wants to find in memory, with offsets from its start instead of addresses:
//!
//! ```text
//! argv: usize offsets, 0 | envp: usize offsets, 0 | strings, each ended by NUL
//! ```
//!
//! gonto writes it into a memory file; the child of init that becomes the command maps the file and adds the address
//! of the mapping to every offset. The first string behind the tables is the working folder.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::{fs::File, io, io::Write};

/// Lays out a command and puts it into a memory file. Returns the file and its size in bytes.
///
/// # Errors
/// InvalidInput when a string holds a NUL byte; what memfd_create(2) and write(2) say.
pub(super) fn build(
    arguments: &[OsString],
    environment: &[(OsString, OsString)],
    directory: &OsStr,
) -> io::Result<(OwnedFd, u64)> {
    let tables = (arguments.len() + 1 + environment.len() + 1) * size_of::<usize>();
    let mut offsets = Vec::with_capacity(tables);
    let mut strings = Vec::new();
    let push = |strings: &mut Vec<u8>, parts: &[&OsStr]| {
        let offset = tables + strings.len();
        for part in parts {
            strings.extend_from_slice(part.as_bytes());
        }
        if strings.get(offset - tables..).is_some_and(|string| string.contains(&0)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a NUL byte in an argument or environment variable",
            ));
        }
        strings.push(0);
        Ok(offset)
    };

    push(&mut strings, &[directory])?;
    for argument in arguments {
        offsets.extend_from_slice(&push(&mut strings, &[argument])?.to_ne_bytes());
    }
    offsets.extend_from_slice(&0usize.to_ne_bytes());
    for (name, value) in environment {
        offsets.extend_from_slice(&push(&mut strings, &[name, OsStr::new("="), value])?.to_ne_bytes());
    }
    offsets.extend_from_slice(&0usize.to_ne_bytes());

    let memory = rustix::fs::memfd_create(c"gonto-exec", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(&offsets)?;
    file.write_all(&strings)?;
    Ok((file.into(), (offsets.len() + strings.len()) as u64))
}
