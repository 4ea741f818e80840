//! Images from folders: what `gonto create` does.
//!
//! [`gonto_image::create`] makes the image; this decides where it goes, what is left out and in which order, and sees to it that
//! there is a whole image under its name or none. It reads no configuration.
//!
//! ```no_run
//! use gonto::create::{Options, create};
//! use gonto::{Interrupt, create::Watch};
//!
//! let options = Options { label: "JDK 21".into(), ..Options::default() };
//! let interrupt = Interrupt::new()?;
//! let made = create(
//!     "/usr/lib/jvm/jdk-21".as_ref(),
//!     "jdk_v21.0.4_multi.vhd".as_ref(),
//!     &options,
//!     &Watch { interrupt: &interrupt, progress: &|_| {} },
//! )?;
//! println!("{} files", made.created.files);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what it does |
//! | --- | --- |
//! | `exclude` | what `--exclude` means |
//! | `output` | the image file, which appears when it is whole |
//! | `error` | what can go wrong |

mod error;
mod exclude;
mod output;

use std::fs;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Once;

use gonto_image::{NewContainer, NewImage};
use gonto_mount::Interrupt;
use sha2::{Digest, Sha256};

pub use error::Error;
pub use gonto_image::{Created, LONGEST_LABEL, Offender, Problem, Timestamp};

use exclude::Excluded;
use output::Output;

/// The label of an image that is given no other.
pub const DEFAULT_LABEL: &str = "Gonto image";

/// What an image is to be like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The name of the volume, of at most [`LONGEST_LABEL`] characters (UTF-16 units).
    pub label: String,
    /// Free space beside the usual one, in bytes.
    pub overprovisioning: u64,
    /// Makes a dynamic VHD: what is zero takes no room in the file. A VHDX is always dynamic.
    pub dynamic: bool,
    /// Patterns of what is left out. One without a slash means names in all folders, one with a slash paths from the folder on;
    /// `*` and `?` do not cross a slash, `**` does; a slash at the end means folders only.
    pub exclude: Vec<String>,
    /// A file with paths in the folder, one a line: their content comes first, in this order. Paths that are not there are
    /// passed over.
    pub order: Option<PathBuf>,
    /// Changes names that Windows cannot have, in place of refusing them.
    pub portable: bool,
    /// Keeps links that lead out of the folder, in place of refusing them.
    pub keep_links: bool,
    /// Writes who owns what, for WSL.
    pub owners: bool,
    /// No time in the image is later than this one.
    pub newest: Option<Timestamp>,
    /// Writes the SHA-256 of the image beside it, into a file with `.sha256` behind its name that `sha256sum --check` reads.
    pub sha256: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            label: DEFAULT_LABEL.to_owned(),
            overprovisioning: 0,
            dynamic: false,
            exclude: Vec::new(),
            order: None,
            portable: false,
            keep_links: false,
            owners: false,
            newest: None,
            sha256: false,
        }
    }
}

/// Who is told how far it is, and who can stop it.
#[derive(Clone, Copy)]
pub struct Watch<'w> {
    /// Stops it.
    pub interrupt: &'w Interrupt,
    /// Is told of progress, often and from any thread.
    pub progress: &'w (dyn Fn(Progress) + Sync),
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The folder is being walked through: names so far.
    Looking(u64),
    /// Content is being written.
    Writing {
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The image is there; the disk is told to keep it.
    Syncing,
    /// Its SHA-256 is being computed.
    Hashing {
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
}

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Made {
    /// What is in it.
    pub created: Created,
    /// The size of the image file in bytes, its holes included.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits, where it was asked for.
    pub sha256: Option<String>,
}

/// Makes an image of a folder: a fixed VHD, a dynamic VHD or a VHDX, by the ending of `output`.
///
/// The image appears under its name when it is whole and on the disk. Whatever happens before, nothing is left behind.
///
/// # Errors
/// [`Error`].
pub fn create(folder: &Path, output: &Path, options: &Options, watch: &Watch<'_>) -> Result<Made, Error> {
    let container = container(output, options.dynamic)?;
    let excluded = Excluded::new(&options.exclude)?;
    let first = options.order.as_deref().map(read_order).transpose()?.unwrap_or_default();
    let digest_file = options.sha256.then(|| with_ending(output, ".sha256"));
    for file in [Some(output), digest_file.as_deref()].into_iter().flatten() {
        output::refuse_existing(file)?;
    }
    let output_folder = output::folder(output);
    if !output_folder.is_dir() {
        return Err(Error::NoFolder { path: output_folder.to_owned() });
    }
    // Where there is no folder to read, that is told below.
    if gonto_image::contains(folder, output_folder).unwrap_or(false) {
        return Err(Error::Inside { output: output.to_owned(), folder: folder.to_owned() });
    }

    let image = Output::new(output)?;
    let is_known = Once::new();
    let wanted = NewImage {
        container,
        label: &options.label,
        more_free: options.overprovisioning,
        excluded: &|path, is_folder| excluded.matches(path, is_folder),
        first: &first,
        newest: options.newest,
        portable: options.portable,
        keep_links: options.keep_links,
        owners: options.owners,
    };
    let file = image.file().map_err(|source| Error::write(output, source))?;
    let created = gonto_image::create(folder, file, &wanted, &|event| {
        (watch.progress)(match event {
            gonto_image::Event::Found { names } => Progress::Looking(names),
            gonto_image::Event::Written { bytes, total } => {
                is_known.call_once(|| tracing::debug!(total, "the folder is known, content is written"));
                Progress::Writing { done: bytes, total }
            }
        });
        match watch.interrupt.signal() {
            None => ControlFlow::Continue(()),
            Some(_) => ControlFlow::Break(()),
        }
    });
    let created =
        created.map_err(|error| Error::from_image(error, output, folder, watch.interrupt.signal()))?;
    (watch.progress)(Progress::Syncing);
    let size = image.sync().map_err(|source| Error::write(output, source))?;
    let sha256 = digest_file.map(|path| {
        let digest = digest(&image, size, output, watch)?;
        let file = digest_output(&digest, &path, output)?;
        Ok::<_, Error>((digest, file))
    });
    let sha256 = sha256.transpose()?;
    image.publish()?;
    let sha256 = sha256.map(|(digest, file)| file.publish().map(|()| digest)).transpose()?;
    Ok(Made { created, size, sha256 })
}

/// The moment that `SOURCE_DATE_EPOCH` names (<https://reproducible-builds.org/specs/source-date-epoch/>): whole seconds since
/// 1970.
///
/// # Errors
/// [`Error::SourceDateEpoch`] when it names none that an image can hold.
pub fn source_date_epoch() -> Result<Option<Timestamp>, Error> {
    /// From 1601 to 1970, in seconds.
    const UNIX_EPOCH: u64 = 11_644_473_600;
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let seconds = value.to_str().and_then(|value| value.parse::<u64>().ok());
    let filetime = seconds.and_then(|seconds| seconds.checked_add(UNIX_EPOCH)?.checked_mul(10_000_000));
    match filetime.filter(|filetime| i64::try_from(*filetime).is_ok()) {
        Some(filetime) => Ok(Some(Timestamp::from_filetime(filetime))),
        None => Err(Error::SourceDateEpoch { value: value.to_string_lossy().into_owned() }),
    }
}

fn container(output: &Path, dynamic: bool) -> Result<NewContainer, Error> {
    let ending = output.extension().unwrap_or_default().to_ascii_lowercase();
    match (ending.to_str(), dynamic) {
        (Some("vhd"), false) => Ok(NewContainer::FixedVhd),
        (Some("vhd"), true) => Ok(NewContainer::DynamicVhd),
        (Some("vhdx"), _) => Ok(NewContainer::Vhdx),
        _ => Err(Error::Format { output: output.to_owned() }),
    }
}

fn read_order(file: &Path) -> Result<Vec<PathBuf>, Error> {
    let text = fs::read_to_string(file).map_err(|source| Error::Order { file: file.to_owned(), source })?;
    let lines = text.lines().map(|line| line.trim_start_matches("./")).filter(|line| !line.is_empty());
    // One path is one path, whichever slashes it has and however many.
    Ok(lines.map(|line| Path::new(line).components().collect()).collect())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn digest(image: &Output, size: u64, output: &Path, watch: &Watch<'_>) -> Result<String, Error> {
    let mut file = image.file().map_err(|source| Error::write(output, source))?;
    let mut digest = Sha256::new();
    let mut buf = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        if let Some(signal) = watch.interrupt.signal() {
            return Err(Error::Interrupted { signal });
        }
        let length = match file.read(&mut buf) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::write(output, source)),
        };
        digest.update(&buf[..length]);
        done += length as u64;
        (watch.progress)(Progress::Hashing { done, total: size });
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A file in the format of sha256sum: the digest, two spaces, the name. A backslash before the digest says that some are in the name.
fn digest_output(digest: &str, path: &Path, output: &Path) -> Result<Output, Error> {
    let name = output.file_name().unwrap_or_default().as_encoded_bytes();
    let mut line = Vec::new();
    if name.iter().any(|byte| b"\\\n\r".contains(byte)) {
        line.push(b'\\');
    }
    line.extend(digest.as_bytes());
    line.extend(b"  ");
    for byte in name {
        match byte {
            b'\\' => line.extend(br"\\"),
            b'\n' => line.extend(br"\n"),
            b'\r' => line.extend(br"\r"),
            other => line.push(*other),
        }
    }
    line.push(b'\n');
    let file = Output::new(path)?;
    let written = file.file().and_then(|mut out| out.write_all(&line)).and_then(|()| file.sync());
    written.map_err(|source| Error::write(path, source))?;
    Ok(file)
}
