//! The layer of a mounted image: a differencing child that Windows attaches in place of the image, and what Windows may have
//! against it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::windows::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gonto_image::{ChildError, NewChild, ParentPath, ParentPaths, VirtualDisk, create_child};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_FILE_ENCRYPTED, ERROR_FILE_SYSTEM_LIMITATION, ERROR_LOCK_VIOLATION,
    ERROR_NOT_SUPPORTED, ERROR_PRIVILEGE_NOT_HELD, ERROR_SHARING_VIOLATION, ERROR_UNSUPPORTED_COMPRESSION,
    ERROR_VHD_CHILD_PARENT_ID_MISMATCH, ERROR_VHD_CHILD_PARENT_SIZE_MISMATCH,
    ERROR_VHD_CHILD_PARENT_TIMESTAMP_MISMATCH, ERROR_VHD_PARENT_VHD_ACCESS_DENIED,
    ERROR_VHD_PARENT_VHD_NOT_FOUND, ERROR_VIRTDISK_PROVIDER_NOT_FOUND, ERROR_VIRTUAL_DISK_LIMITATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_COMPRESSED, FILE_ATTRIBUTE_ENCRYPTED, FILE_ATTRIBUTE_SPARSE_FILE,
};

use super::register::{Carrier, Claim};
use super::virtdisk::Format;
use crate::image_file::{self, ParentSearch};
use crate::{Error, Options};

/// A child that is ready to be attached.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) file: PathBuf,
    pub(super) format: Format,
    /// Where the volume begins, in bytes of the disk.
    pub(super) volume_at: u64,
}

impl Child {
    /// Makes a child of the image in the cache's folder of layers, and records it.
    ///
    /// # Errors
    /// [`Error::ReadImage`] and [`Error::OpenImage`]; `failed` makes one of everything else.
    pub(super) fn make(
        image: &Path,
        options: &Options,
        claim: &mut Claim,
        failed: &dyn Fn(io::Error) -> Error,
    ) -> Result<Self, Error> {
        check(image).map_err(failed)?;
        let opened = image_file::open(image, ParentSearch::Siblings)
            .map_err(|source| Error::OpenImage { image: image.to_owned(), source })?;
        // The content decides, whatever the name says; from the name of the child it is known afterwards.
        let disk = VirtualDisk::open(opened.image.clone(), &opened.options())
            .map_err(|error| Error::ReadImage { image: image.to_owned(), source: Box::new(error) })?;
        let format = Format::of_container(disk.container());
        drop(disk);
        let layers = options.cache_dir.join(".gonto").join("layers");
        fs::create_dir_all(&layers).map_err(failed)?;
        let stem = image.file_stem().unwrap_or_default().display();
        let file = layers.join(format!("{stem}-{}.{}", claim.id(), format.ending()));
        let slots = options.cache_dir.join(".gonto").join("slots");
        fs::create_dir_all(&slots).map_err(failed)?;
        let Slot { seed, lock } = Slot::take(image, &slots, &file).map_err(failed)?;
        claim.slot = Some(lock);
        claim.record(|entry| entry.carrier = Some(Carrier::Disk { child: file.clone(), volume: None }))?;

        let parent = std::path::absolute(image).map_err(failed)?;
        // As Windows itself writes it, where the path is not too long for that.
        let parent = dunce::simplified(&parent).to_str().ok_or_else(|| failed(not_unicode(image)))?;
        let other = |error: ChildError| match error {
            ChildError::Parent(error) => {
                Error::ReadImage { image: image.to_owned(), source: Box::new(error) }
            }
            error => failed(io::Error::other(error)),
        };
        let absolute = ParentPath::absolute(parent).map_err(other)?;
        // Children lie two folders below the cache.
        let relative = image.strip_prefix(&options.cache_dir).ok().and_then(Path::to_str);
        let relative = relative.map(|path| format!(r"..\..\{path}"));
        let relative = relative.as_deref().and_then(|path| ParentPath::relative(path).ok());
        let wanted = NewChild {
            paths: ParentPaths { absolute, relative },
            // What is not there cannot be wrong: a copy of the cache may have another time.
            parent_modified: None,
            seed,
        };
        let output = File::create_new(&file).map_err(failed)?;
        let child = create_child(opened.image.clone(), &opened.options(), &wanted, &output).map_err(other)?;
        drop(output);
        check(&file).map_err(failed)?;
        Ok(Self { file, format, volume_at: child.partition.start })
    }
}

/// An identity for a child that no other disk has at this time. Windows keeps what it knows of each identity for ever, so the few that
/// are needed are used again.
struct Slot {
    seed: [u8; 32],
    /// Held as long as the process that attaches the child lives.
    lock: File,
}

/// So many children of one image are attached at a time, by all users of a cache.
const MOST_SLOTS: usize = 256;

impl Slot {
    /// The first that nobody uses, for the child `file`. It stays in use as long as that file is there.
    fn take(image: &Path, slots: &Path, file: &Path) -> io::Result<Self> {
        let name = image.file_name().unwrap_or_default().display();
        for number in 0..MOST_SLOTS {
            let path = slots.join(format!("{name}.{number}"));
            let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
            let mut lock = match open {
                // Somebody else's, in a cache that several users have.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                lock => lock?,
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let mut user = Vec::new();
            lock.read_to_end(&mut user)?;
            // A mount that is to stay outlives its process. What cannot be seen may be there.
            let user = String::from_utf8_lossy(&user).into_owned();
            if Path::new(&user).is_absolute() && Path::new(&user).try_exists().unwrap_or(true) {
                continue;
            }
            lock.set_len(0)?;
            lock.rewind()?;
            lock.write_all(file.as_os_str().as_encoded_bytes())?;
            let seed = *blake3::hash(path.as_os_str().as_encoded_bytes()).as_bytes();
            return Ok(Self { seed, lock });
        }
        Err(io::Error::other(format!("{MOST_SLOTS} runs have attached it already")))
    }
}

fn not_unicode(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidFilename, format!("{} is no Unicode", path.display()))
}

/// Windows refuses such files, and does not say which, or why.
fn check(file: &Path) -> io::Result<()> {
    let attributes = fs::metadata(file)?.file_attributes();
    let shown = file.display();
    let problem = if attributes & FILE_ATTRIBUTE_COMPRESSED != 0 {
        format!(
            "{shown} is compressed by NTFS: compact /u \"{shown}\", and the same for its folder, ends that"
        )
    } else if attributes & FILE_ATTRIBUTE_ENCRYPTED != 0 {
        format!("{shown} is encrypted by NTFS: cipher /d \"{shown}\" ends that")
    } else if attributes & FILE_ATTRIBUTE_SPARSE_FILE != 0 {
        format!("{shown} is a sparse file: fsutil sparse setflag \"{shown}\" 0 ends that; or fetch it again")
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("Windows cannot attach it, because {problem}")))
}

/// Says what to do about an error of VirtDisk.
pub(super) fn explain(error: io::Error, image: &Path) -> io::Error {
    let code = error.raw_os_error().map_or(0, i32::cast_unsigned);
    let shown = image.display();
    let remedy = match code {
        ERROR_PRIVILEGE_NOT_HELD | ERROR_ACCESS_DENIED => return explain_rights(error),
        ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION => {
            format!(
                "another program has {shown} open for writing, or attached: detach it there (Disk Management, Hyper-V)"
            )
        }
        ERROR_VIRTUAL_DISK_LIMITATION
        | ERROR_FILE_SYSTEM_LIMITATION
        | ERROR_UNSUPPORTED_COMPRESSION
        | ERROR_FILE_ENCRYPTED => format!(
            "Windows attaches files that are neither compressed, encrypted nor sparse, and lie on NTFS or ReFS: move the cache_dir \
             ({shown})"
        ),
        ERROR_NOT_SUPPORTED => {
            format!(
                "Windows attaches no images from every kind of network share or disk: set cache_dir to a folder on a local disk ({shown})"
            )
        }
        ERROR_VHD_PARENT_VHD_NOT_FOUND | ERROR_VHD_PARENT_VHD_ACCESS_DENIED => {
            format!(
                "Windows cannot open the image {shown} for the layer above it: set cache_dir to a folder on a local disk"
            )
        }
        ERROR_VHD_CHILD_PARENT_ID_MISMATCH
        | ERROR_VHD_CHILD_PARENT_TIMESTAMP_MISMATCH
        | ERROR_VHD_CHILD_PARENT_SIZE_MISMATCH => {
            format!("{shown} was replaced in this moment: try again")
        }
        ERROR_VIRTDISK_PROVIDER_NOT_FOUND => {
            "this edition of Windows lacks the driver for virtual disks (vhdmp)".to_owned()
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}: {remedy}"))
}

/// Says what to do where the right is missing to attach a disk or to detach one, and nothing about other errors.
pub(super) fn explain_rights(error: io::Error) -> io::Error {
    const REMEDY: &str = "only administrators may attach and detach disks: run gonto from an elevated prompt, or give the \
                          account the right \"Perform volume maintenance tasks\"";
    match error.raw_os_error().map(i32::cast_unsigned) {
        Some(ERROR_PRIVILEGE_NOT_HELD | ERROR_ACCESS_DENIED) => {
            io::Error::new(error.kind(), format!("{error}: {REMEDY}"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_virtdisk_come_with_a_remedy() {
        let image = Path::new(r"C:\cache\jdk.vhd");
        let explained =
            |code: u32| explain(io::Error::from_raw_os_error(code.cast_signed()), image).to_string();
        assert!(explained(ERROR_PRIVILEGE_NOT_HELD).contains("elevated prompt"));
        for code in [
            ERROR_SHARING_VIOLATION,
            ERROR_VIRTUAL_DISK_LIMITATION,
            ERROR_UNSUPPORTED_COMPRESSION,
            ERROR_FILE_ENCRYPTED,
            ERROR_NOT_SUPPORTED,
            ERROR_VHD_PARENT_VHD_NOT_FOUND,
            ERROR_VHD_CHILD_PARENT_ID_MISMATCH,
        ] {
            let text = explained(code);
            assert!(text.contains("jdk.vhd") && text.contains(": "), "{text}");
        }
        let unknown = io::Error::from_raw_os_error(1234);
        assert_eq!(explain(io::Error::from_raw_os_error(1234), image).to_string(), unknown.to_string());
    }
}
