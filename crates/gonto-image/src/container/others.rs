//! Files that hold a disk in a way that is not read here, told by their signatures, so that they are not taken for the bytes of a
//! disk without partitions.

use crate::error::Error;
use crate::source::ReadAt;

/// What gives a kind of file away.
struct Signature {
    place: Place,
    bytes: &'static [u8],
    what: &'static str,
    remedy: &'static str,
}

#[derive(Clone, Copy)]
enum Place {
    /// Bytes from the start of the file.
    Start(usize),
    /// In the last 512 bytes of the file, at their start.
    LastSector,
}

use Place::{LastSector, Start};

const CONVERT: &str = "convert the image to VHD";
const UNPACK: &str = "unpack it";

#[rustfmt::skip]
const SIGNATURES: [Signature; 20] = [
    Signature { place: Start(0), bytes: b"QFI\xfb", what: "QCOW2", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"QED\0", what: "QED", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"KDMV", what: "VMDK", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"COWD", what: "VMDK", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"# Disk DescriptorFile", what: "the descriptor of a VMDK", remedy: CONVERT },
    Signature { place: Start(0x40), bytes: b"\x7f\x10\xda\xbe", what: "VDI", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"WithoutFreeSpace", what: "a Parallels disk", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"WithouFreSpacExt", what: "a Parallels disk", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"Bochs Virtual HD Image", what: "a Bochs disk", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"EVF\x09\x0d\x0a\xff\x00", what: "EWF (Expert Witness, .E01)", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"EVF2\x0d\x0a\x81\x00", what: "EWF (Expert Witness, .Ex01)", remedy: CONVERT },
    Signature { place: LastSector, bytes: b"koly\0\0\0\x04", what: "DMG", remedy: CONVERT },
    Signature { place: Start(0), bytes: b"MSWIM\0\0\0", what: "WIM", remedy: "apply it to a VHD with DISM" },
    Signature { place: Start(0), bytes: b"\x1f\x8b\x08", what: "a file compressed with gzip", remedy: UNPACK },
    Signature { place: Start(0), bytes: b"\xfd7zXZ\0", what: "a file compressed with xz", remedy: UNPACK },
    Signature { place: Start(0), bytes: b"\x28\xb5\x2f\xfd", what: "a file compressed with Zstandard", remedy: UNPACK },
    Signature { place: Start(0), bytes: b"BZh", what: "a file compressed with bzip2", remedy: UNPACK },
    Signature { place: Start(0), bytes: b"7z\xbc\xaf\x27\x1c", what: "a 7-Zip archive", remedy: UNPACK },
    Signature { place: Start(0), bytes: b"PK\x03\x04", what: "a ZIP archive", remedy: UNPACK },
    Signature { place: Start(0), bytes: b"Rar!\x1a\x07", what: "a RAR archive", remedy: UNPACK },
];

/// The place of the signature that lies farthest behind the start, and its bytes.
const LOOKED_AT: usize = 0x44;

/// Refuses what has a name, but is none of our containers.
///
/// # Errors
/// [`Error::Unsupported`] with its name and what to do, [`Error::Read`] from below.
pub(super) fn refuse(image: &dyn ReadAt) -> Result<(), Error> {
    let read = |buf: &mut [u8], offset| {
        let length = buf.len();
        image.read_at(buf, offset).map_err(|source| Error::Read {
            what: "the image file",
            offset,
            length,
            source,
        })
    };
    let mut start = [0; LOOKED_AT];
    let there = usize::try_from(image.size()).unwrap_or(usize::MAX).min(LOOKED_AT);
    read(&mut start[..there], 0)?;
    let mut last = [0; 8];
    if let Some(at) = image.size().checked_sub(512) {
        read(&mut last, at)?;
    }
    let shows = |signature: &&Signature| match signature.place {
        Start(at) => start[at..].starts_with(signature.bytes),
        LastSector => last.starts_with(signature.bytes),
    };
    match SIGNATURES.iter().find(shows) {
        Some(found) => Err(Error::Unsupported { what: found.what.into(), yet: false, remedy: found.remedy }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at: usize, bytes: &[u8], size: usize) -> Option<String> {
        let mut image = vec![0; size];
        image[at..][..bytes.len()].copy_from_slice(bytes);
        refuse(&image).err().map(|error| error.to_string())
    }

    #[test]
    fn each_signature_is_told_by_its_name() {
        for Signature { place, bytes, what, remedy } in SIGNATURES {
            let at = match place {
                Start(at) => at,
                LastSector => 2048 - 512,
            };
            assert_eq!(refusal(at, bytes, 2048), Some(format!("{what} is not read: {remedy}")));
            assert_eq!(refusal(at + 1, bytes, 2048), None, "{what} elsewhere");
        }
    }

    #[test]
    fn files_of_any_size_are_looked_at() {
        assert_eq!(refusal(0, b"", 0), None);
        assert_eq!(refusal(0, b"PK\x03", 3), None);
        assert!(refusal(0, b"PK\x03\x04", 4).is_some());
        assert_eq!(refusal(0, b"", 511), None);
    }
}
