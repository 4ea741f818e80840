//! Reads a whole mount in every way that programs read files, and writes down what is there. Scripts call it as [`LINE`]: it is
//! part of this program, as only the processes of a run see the mount.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;

use memmap2::MmapOptions;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::Project;

/// What files are as big as these in memory.
const PAGE: usize = 4096;

/// Readers of all files at once.
const READERS: usize = 16;

/// What stands for the hash of a file that cannot be read.
pub(crate) const UNREADABLE: &str = "unreadable";

/// A line of a script that reads the folder that a variable names, and writes what it finds to a file of the project's folder.
pub(crate) fn line(variable: &str, output: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let program = program.display();
    format!(
        "READ=\"${variable}\" WRITE={output} '{program}' --exact support::reader::reads_a_mount --ignored --quiet >&2"
    )
}

/// What was found, by path. Each is one line: kind, mode, time of modification, number of links, first path with the same content,
/// size and SHA-256 of files; target of links.
pub(crate) fn found(project: &Project, output: &str) -> BTreeMap<String, String> {
    let text = project.read(&format!("project/{output}"));
    let entries = text.lines().map(|line| line.split_once('\t').unwrap());
    entries.map(|(path, what)| (path.to_owned(), what.to_owned())).collect()
}

/// The hash in what was found.
pub(crate) fn hash(found: &str) -> Option<&str> {
    found.strip_prefix("file ")?.rsplit(' ').next()
}

#[test]
#[ignore = "scripts of other tests call it"]
fn reads_a_mount() {
    let (Some(folder), Some(output)) = (std::env::var_os("READ"), std::env::var_os("WRITE")) else { return };
    let mut all = Vec::new();
    walk(folder.as_ref(), Path::new(""), &mut all);
    all.sort();
    let mut first = BTreeMap::new();
    let mut text = String::new();
    let mut readable = Vec::new();
    let copy = PathBuf::from(&output).with_extension("copy");
    for (number, path) in all.iter().enumerate() {
        let full = Path::new(&folder).join(path);
        let metadata = fs::symlink_metadata(&full).unwrap();
        let (mode, seconds, nanos) = (metadata.mode() & 0o7777, metadata.mtime(), metadata.mtime_nsec());
        let kind = metadata.file_type();
        write!(text, "{}\t", path.as_os_str().as_bytes().escape_ascii()).unwrap();
        if kind.is_symlink() {
            // What changes the mode of a link is no matter of an image.
            let target = fs::read_link(&full).unwrap();
            writeln!(text, "link {seconds}.{nanos:09} {}", target.as_os_str().as_bytes().escape_ascii())
                .unwrap();
        } else if kind.is_dir() {
            writeln!(text, "folder {mode:o} {seconds}.{nanos:09}").unwrap();
        } else {
            let first = first.entry(metadata.ino()).or_insert(path);
            let content = content(&full, metadata.size(), number, &copy);
            let hash = content.as_deref().map_or(UNREADABLE.to_owned(), hash_of);
            let (links, size, first) =
                (metadata.nlink(), metadata.size(), first.as_os_str().as_bytes().escape_ascii());
            writeln!(text, "file {mode:o} {seconds}.{nanos:09} {links} {first} {size} {hash}").unwrap();
            readable.extend(content.map(|content| (full, content)));
        }
    }
    fs::write(&output, text).unwrap();
    all_at_once(&readable);
}

fn walk(root: &Path, folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        // What the folder says of its entries is what they are.
        let kind = entry.file_type().unwrap();
        assert_eq!(kind, fs::symlink_metadata(root.join(&path)).unwrap().file_type(), "{}", path.display());
        all.push(path.clone());
        if kind.is_dir() {
            walk(root, &path, all);
        }
    }
}

/// The content, the same in whatever way it is read; in which way it is read first, and not yet in memory, depends on the
/// number. `None` when it cannot be read, which is an error in every way.
fn content(path: &Path, size: u64, number: usize, copy: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).unwrap();
    let size = usize::try_from(size).unwrap();
    let mut order = [by_memory, by_places, by_reading, by_copying];
    order.rotate_left(number % 4);
    let mut content: Option<io::Result<Vec<u8>>> = None;
    for read in order {
        let seen = read(path, &file, size, copy);
        match (&content, seen) {
            (_, Err(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            (None, seen) => content = Some(seen),
            (Some(Ok(content)), Ok(seen)) => assert!(*content == seen, "{} differs", path.display()),
            (Some(Err(_)), Err(_)) => {}
            (Some(before), now) => {
                panic!("{}: first {:?}, then {:?}", path.display(), before.as_ref().err(), now.err())
            }
        }
    }
    content.unwrap().ok()
}

fn by_reading(_: &Path, mut file: &File, size: usize, _: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    assert_eq!(content.len(), size);
    assert_eq!(file.read_at(&mut [0; 10], size as u64 + 1)?, 0);
    Ok(content)
}

/// Pieces of odd sizes at odd places, from behind, and over the end.
fn by_places(path: &Path, file: &File, size: usize, _: &Path) -> io::Result<Vec<u8>> {
    let mut content = vec![0; size];
    let (mut end, mut piece) = (size, 1);
    while end > 0 {
        let start = end.saturating_sub(piece);
        file.read_exact_at(&mut content[start..end], start as u64)?;
        end = start;
        piece = (piece * 7 + 13) % 70_001;
    }
    let (mut state, mut buffer) = (size as u64 | 1, vec![0; 9001]);
    for _ in 0..20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let start = usize::try_from((state >> 20) % (size as u64 + 1)).unwrap();
        let length = 1 + usize::try_from((state >> 40) % 9000).unwrap();
        let read = file.read_at(&mut buffer[..length], start as u64)?;
        assert!(read == length.min(size - start), "{}: {read} of {length} at {start}", path.display());
        assert!(buffer[..read] == content[start..start + read], "{} at {start}", path.display());
    }
    Ok(content)
}

/// Mapped: to the end of the last page, behind the end of the file.
fn by_memory(path: &Path, file: &File, size: usize, _: &Path) -> io::Result<Vec<u8>> {
    if size == 0 {
        return Ok(Vec::new());
    }
    // One that cannot be read would end this process by a signal.
    file.read_exact_at(&mut [0], 0)?;
    // SAFETY: nobody changes the file of an image, and a page that begins in the file can be read to its end.
    let map = unsafe { MmapOptions::new().len(size.next_multiple_of(PAGE)).map(file) }?;
    assert!(map[size..].iter().all(|byte| *byte == 0), "{}: not zero behind its end", path.display());
    Ok(map[..size].to_vec())
}

/// copy_file_range(2) and sendfile(2), into files beside the project.
fn by_copying(_: &Path, file: &File, size: usize, copy: &Path) -> io::Result<Vec<u8>> {
    let by_range =
        copy_by(copy, |to, from| rustix::fs::copy_file_range(file, Some(from), to, None, size.max(1)))?;
    let by_sending = copy_by(copy, |to, from| rustix::fs::sendfile(to, file, Some(from), size.max(1)))?;
    if let (Some(by_range), Some(by_sending)) = (&by_range, &by_sending) {
        assert!(by_range == by_sending, "the copies differ");
    }
    by_range.or(by_sending).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Copies by the way that is given; `None` where the kernel does not do it between file systems.
fn copy_by(
    copy: &Path,
    way: impl Fn(&File, &mut u64) -> Result<usize, Errno>,
) -> io::Result<Option<Vec<u8>>> {
    let to = File::create(copy)?;
    let mut from = 0;
    loop {
        match way(&to, &mut from) {
            Ok(0) => return fs::read(copy).map(Some),
            Ok(_) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn all_at_once(files: &[(PathBuf, Vec<u8>)]) {
    thread::scope(|scope| {
        for reader in 0..READERS {
            scope.spawn(move || {
                for number in 0..files.len() {
                    let (path, content) = &files[(number + reader * files.len() / READERS) % files.len()];
                    assert!(fs::read(path).unwrap() == *content, "{} differs", path.display());
                }
            });
        }
    });
}

pub(crate) fn hash_of(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
