//! Image files of the host, and the parents that they name.
//!
//! A differencing image tells where its parent is as Windows wrote it: a path from its own folder, a path with a drive, a
//! name. Whether such a path is followed is for the caller to say: what is in a cache looks for its parents beside itself
//! and nowhere else.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::UNIX_EPOCH;

use gonto_image::{FileTree, ImageFile, Parent, ParentHint, Parents, ReadAt, VirtualDisk, Volume};

/// Where parents are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParentSearch {
    /// In the folder of the child, by their names alone, and never outside it.
    Siblings,
    /// Where the child says, relative to its folder, and beside it.
    Locators {
        /// Also where an absolute path leads. On Windows these have drives or volumes; elsewhere they begin with a slash.
        absolute: bool,
    },
}

/// An image file that is open, and its way to its parents.
pub struct OpenImage {
    /// The bytes of the file.
    pub image: Arc<dyn ReadAt>,
    /// For [`gonto_image::Options::parents`].
    pub parents: Arc<dyn Parents>,
    files: Arc<OpenFiles>,
}

/// Opens an image file. Parents are opened when they are asked for.
///
/// # Errors
/// What the system says when the file cannot be opened.
pub fn open(path: &Path, search: ParentSearch) -> io::Result<OpenImage> {
    let files = Arc::new(OpenFiles::default());
    let image = files.open(path)?;
    let parents = Arc::new(HostParents { folder: folder_of(path), search, files: files.clone() });
    Ok(OpenImage { image, parents, files })
}

impl OpenImage {
    /// The files that are in use, with their paths: the image, its parent if that was taken, the parent of that, and so on.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Arc<ImageFile>)> {
        self.files.in_use()
    }

    /// How images are opened that are to be mounted.
    pub(crate) fn options(&self) -> gonto_image::Options {
        gonto_image::Options {
            container_only: true,
            parents: self.parents.clone(),
            ..gonto_image::Options::default()
        }
    }

    /// Its file tree; `name` is what the image is called.
    ///
    /// # Errors
    /// What is wrong with the image.
    pub(crate) fn tree(&self, name: &Path) -> Result<FileTree, gonto_image::Error> {
        let options = self.options();
        let disk = VirtualDisk::open(self.image.clone(), &options)?;
        let volume = Volume::find(&disk, &options)?;
        // They are for whoever made the image; to read it, they make no difference.
        for irregularity in disk.irregularities().chain(volume.irregularities()) {
            tracing::debug!(image = %name.display(), %irregularity);
        }
        FileTree::read(&volume, &options)
    }
}

/// How much of each end of an image file is looked at. The headers and region tables of a VHDX are in the first 320 KiB.
const ENDS: u64 = 320 << 10;

/// A digest of the first and last bytes of an image file, where containers keep their identity.
pub(crate) fn ends(image: &ImageFile) -> io::Result<String> {
    let size = image.size();
    let mut ends = blake3::Hasher::new();
    let mut buffer = vec![0; usize::try_from(ENDS.min(size)).map_err(io::Error::other)?];
    for start in [0, size - buffer.len() as u64] {
        image.read_at(&mut buffer, start)?;
        ends.update(&buffer);
    }
    Ok(ends.finalize().to_hex().to_string())
}

/// A name for what is made of an image file, which a file with other content does not have.
pub(crate) fn name_of_content(image: &Path) -> io::Result<String> {
    let metadata = fs::metadata(image)?;
    let time = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let ends = ends(&ImageFile::new(File::open(image)?)?)?;
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{name}-{:x}-{time:x}-{}", metadata.len(), &ends[..16]))
}

/// Every file that was opened for an image. Candidates that turn out to be no parents are closed again.
#[derive(Default)]
struct OpenFiles(Mutex<Vec<(PathBuf, Weak<ImageFile>)>>);

impl OpenFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<ImageFile>> {
        let file = Arc::new(ImageFile::new(File::open(path)?)?);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), Arc::downgrade(&file)));
        Ok(file)
    }

    fn in_use(&self) -> Vec<(PathBuf, Arc<ImageFile>)> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().filter_map(|(path, file)| Some((path.clone(), file.upgrade()?))).collect()
    }
}

/// Finds the parents of one image.
struct HostParents {
    /// The folder of the child.
    folder: PathBuf,
    search: ParentSearch,
    files: Arc<OpenFiles>,
}

impl Parents for HostParents {
    fn find(&self, hint: &ParentHint) -> io::Result<Option<Parent>> {
        let Some(path) = self.path(hint)? else { return Ok(None) };
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        // Opening a pipe would wait for its other end.
        if !metadata.is_file() {
            return Ok(None);
        }
        let image = self.files.open(&path)?;
        let (search, files) = (self.search, self.files.clone());
        Ok(Some(Parent {
            name: path.display().to_string(),
            image,
            modified: metadata.modified().ok(),
            parents: Arc::new(Self { folder: folder_of(&path), search, files }),
        }))
    }
}

impl HostParents {
    fn path(&self, hint: &ParentHint) -> io::Result<Option<PathBuf>> {
        let (text, alone) = match (hint, self.search) {
            (ParentHint::Relative(text), ParentSearch::Locators { .. }) => (text, false),
            (ParentHint::Absolute(text), ParentSearch::Locators { absolute: true }) => {
                return Ok(absolute(text));
            }
            (ParentHint::Name(text), _) => (text, true),
            // The name that a path ends with is a hint of its own.
            _ => return Ok(None),
        };
        let names: Vec<&str> =
            text.split(['\\', '/']).filter(|name| !name.is_empty() && *name != ".").collect();
        let harmless = |name: &&str| is_name(name) || (!alone && *name == "..");
        if names.is_empty() || (alone && names.len() > 1) || !names.iter().all(harmless) {
            return Ok(None);
        }
        let mut path = self.folder.clone();
        for name in names {
            path = match as_written_or_in_other_case(&path, name)? {
                Some(path) => path,
                None => return Ok(None),
            };
        }
        Ok(Some(path))
    }
}

/// Whether it names something in a folder and nothing else. A colon would lead to a drive or a stream on Windows.
fn is_name(name: &str) -> bool {
    name != ".." && !name.contains(['\0', ':'])
}

/// Names differ by case between what Windows wrote and what it meant.
fn as_written_or_in_other_case(folder: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    let exact = folder.join(name);
    if name == ".." || exact.symlink_metadata().is_ok() {
        return Ok(Some(exact));
    }
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        entries => entries?,
    };
    let lower_case = name.to_lowercase();
    let mut same: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|found| found.to_lowercase() == lower_case))
        .map(|entry| entry.path())
        .collect();
    // If there are several, always the same one.
    same.sort();
    Ok(same.into_iter().next())
}

/// A path that means the same here as where it was written: drives and volumes on Windows, slashes elsewhere.
fn absolute(text: &str) -> Option<PathBuf> {
    let path = match text.strip_prefix("file://") {
        Some(address) => {
            PathBuf::from(percent_decoded(address.strip_prefix("localhost").unwrap_or(address))?)
        }
        None => PathBuf::from(text),
    };
    let harmless = !path.as_os_str().as_encoded_bytes().contains(&0);
    (path.is_absolute() && harmless).then_some(path)
}

fn percent_decoded(address: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(address.len());
    let mut rest = address.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `child` in a folder beside another one, and what a hint of it leads to: the content of the file.
    fn found(search: ParentSearch, hint: &ParentHint) -> Option<String> {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        for (path, content) in
            [("in/child", "child"), ("in/Parent.vhd", "beside"), ("Base Images/parent.vhd", "elsewhere")]
        {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), content).unwrap();
        }
        fs::create_dir(root.join("in/folder.vhd")).unwrap();
        let opened = open(&root.join("in/child"), search).unwrap();
        let hint = match hint {
            ParentHint::Absolute(path) => ParentHint::Absolute(path.replace("ROOT", root.to_str().unwrap())),
            other => other.clone(),
        };
        let parent = opened.parents.find(&hint).unwrap()?;
        assert_eq!(opened.files().len(), 2);
        let mut content = vec![0; usize::try_from(parent.image.size()).unwrap()];
        parent.image.read_at(&mut content, 0).unwrap();
        drop(parent);
        assert_eq!(opened.files().len(), 1, "a candidate that is dropped is closed");
        Some(String::from_utf8(content).unwrap())
    }

    fn relative(path: &str) -> ParentHint {
        ParentHint::Relative(path.into())
    }

    fn name(name: &str) -> ParentHint {
        ParentHint::Name(name.into())
    }

    const LOCATORS: ParentSearch = ParentSearch::Locators { absolute: false };

    #[test]
    fn relative_paths_are_followed_from_the_folder_of_the_child() {
        assert_eq!(found(LOCATORS, &relative(r".\Parent.vhd")).unwrap(), "beside");
        assert_eq!(found(LOCATORS, &relative(r"..\Base Images\parent.vhd")).unwrap(), "elsewhere");
        assert_eq!(found(LOCATORS, &relative("../Base Images/parent.vhd")).unwrap(), "elsewhere");
        for nowhere in
            [r".\missing.vhd", r"..\missing\parent.vhd", "", ".", r"C:parent.vhd", "a\0", "folder.vhd"]
        {
            assert_eq!(found(LOCATORS, &relative(nowhere)), None, "{nowhere:?}");
        }
    }

    #[test]
    fn names_may_differ_by_case() {
        assert_eq!(found(LOCATORS, &relative(r".\PARENT.VHD")).unwrap(), "beside");
        assert_eq!(found(LOCATORS, &relative(r"..\base images\Parent.vhd")).unwrap(), "elsewhere");
        assert_eq!(found(ParentSearch::Siblings, &name("parent.vhd")).unwrap(), "beside");
    }

    #[test]
    fn siblings_are_found_by_name_and_nothing_else_is() {
        assert_eq!(found(ParentSearch::Siblings, &name("Parent.vhd")).unwrap(), "beside");
        for outside in ["..", ".", "../Base Images/parent.vhd", r"..\Base Images\parent.vhd"] {
            assert_eq!(found(ParentSearch::Siblings, &name(outside)), None, "{outside}");
            assert_eq!(found(LOCATORS, &name(outside)), None, "{outside}");
            assert_eq!(found(ParentSearch::Siblings, &relative(outside)), None, "{outside}");
        }
    }

    #[test]
    fn absolute_paths_are_followed_where_the_caller_wants_it() {
        let everywhere = ParentSearch::Locators { absolute: true };
        let hint = ParentHint::Absolute("ROOT/Base Images/parent.vhd".into());
        assert_eq!(found(everywhere, &hint).unwrap(), "elsewhere");
        assert_eq!(found(LOCATORS, &hint), None);
        assert_eq!(found(ParentSearch::Siblings, &hint), None);
    }

    #[cfg(unix)]
    #[test]
    fn addresses_of_files_are_paths() {
        let path = |text| absolute(text).map(|path| path.to_str().unwrap().to_owned());
        assert_eq!(path("file:///a%20b/%C3%A4.vhd").unwrap(), "/a b/ä.vhd");
        assert_eq!(path("file://localhost/a.vhd").unwrap(), "/a.vhd");
        for nowhere in ["file://./a", "file:///a%2", "file:///a%00", r"C:\a.vhd", "a.vhd"] {
            assert_eq!(path(nowhere), None, "{nowhere}");
        }
    }
}
