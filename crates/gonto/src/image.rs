//! Looking into disk images without mounting them: what is in one, as lists, bytes, tables and folders.
//!
//! ```no_run
//! use gonto::image::{Image, Options};
//!
//! let image = Image::open("foobar_v1.2.3_win64.vhd".as_ref(), &Options::default())?;
//! let place = image.find(b"bin/readme.txt", true)?;
//! image.cat(&place, &mut std::io::stdout())?;
//! # Ok::<(), gonto::image::Error>(())
//! ```
//!
//! A volume is shown as far as it can be read. What is damaged is told by name, never left out in silence.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`info`] | what an image is: container, partitions, volume |
//! | `path` | what a path means inside a volume |
//! | `walk` | every name below a folder, in the order of the paths |
//! | `list` | what can be said of a name without reading its content |
//! | `content`, `hash`, [`manifest`] | what is in files and streams |
//! | [`extract`] | files written to a folder |
//! | [`verify`] | whether the structure holds together |

mod content;
mod error;
pub mod extract;
mod hash;
pub mod info;
pub mod list;
pub mod manifest;
mod path;
pub mod verify;
mod walk;

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use gonto_image::{Damage, FileTree, ReadAt, Reason, VirtualDisk, Volume};
use gonto_mount::Interrupt;
use gonto_mount::image_file::{self, ParentSearch};

pub use content::Stream;
pub use error::Error;
pub use path::Place;
pub use walk::{Step, Walk};

use path::text;

/// How an image is opened.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// The number of the partition that holds the volume; the first one with NTFS when not given.
    pub partition: Option<u32>,
    /// Takes structures of containers and partition tables whose checksum is wrong.
    pub ignore_checksums: bool,
    /// Looks for the parents of differencing disks at the absolute paths too that the image names.
    pub absolute_parents: bool,
}

/// An image whose volume can be read.
pub struct Image {
    tree: FileTree,
    cut: Option<String>,
}

/// Who is told how far something is, and who can stop it.
#[derive(Clone, Copy)]
pub struct Watch<'w> {
    /// Stops it.
    pub interrupt: &'w Interrupt,
    /// Is told of progress, often and from any thread.
    pub progress: &'w (dyn Fn(Progress) + Sync),
}

/// How far something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes that are done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

impl Image {
    /// Opens an image file: a VHD, a VHDX or the bytes of a disk, told by its content. All of the volume's metadata is
    /// read now.
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::Read`].
    pub fn open(file: &Path, options: &Options) -> Result<Self, Error> {
        let Opened { disk, options } = open(file, options)?;
        let read = |source| Error::Read { image: file.to_owned(), source: Box::new(source) };
        let volume = Volume::find(&disk, &options).map_err(read)?;
        let tree = FileTree::read(&volume, &options).map_err(read)?;
        Ok(Self { tree, cut: cut(&volume) })
    }

    /// That the end of the image is missing, if it is, in a sentence: the reason for whatever cannot be read then, and to be told
    /// before that.
    #[must_use]
    pub fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }

    /// The files of the volume.
    #[must_use]
    pub fn tree(&self) -> &FileTree {
        &self.tree
    }

    /// Finds what a path leads to, as Windows would: slashes and backslashes separate names, and upper and lower case are the
    /// same where only one name is meant. A name that is spelled exactly always wins. `name:stream` is a stream where
    /// there is no file of that name. Links inside the path are followed as long as they stay in the volume, one at its
    /// end only when `follow` is set.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAFolder`], [`Error::LinkOutside`], [`Error::TooManyLinks`].
    pub fn find(&self, path: &[u8], follow: bool) -> Result<Place, Error> {
        path::find(&self.tree, path, follow)
    }

    /// All that lies in a place, and the place itself.
    #[must_use]
    pub fn walk(&self, start: &Place) -> Walk<'_> {
        Walk::from(&self.tree, start.node, &start.path)
    }

    /// Writes the content of a file or stream. A reader that has seen enough and closed its pipe is no failure.
    ///
    /// # Errors
    /// [`Error::IsAFolder`], [`Error::Content`] when it cannot be read, [`Error::Output`] when it cannot be written.
    pub fn cat(&self, place: &Place, out: &mut dyn Write) -> Result<(), Error> {
        /// Larger pieces are not read faster.
        const PIECE: usize = 1 << 20;

        let mut failed = None;
        let copied = place.content().read_all(&self.tree, &mut vec![0; PIECE], |piece| {
            out.write_all(piece).map_err(|error| {
                failed = Some(error);
                io::ErrorKind::Other.into()
            })
        });
        match (copied, failed.map_or_else(|| out.flush(), Err)) {
            (_, Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            (_, Err(error)) => Err(Error::Output(error)),
            (Ok(_), Ok(())) => Ok(()),
            (Err(error), Ok(())) if error.kind() == io::ErrorKind::IsADirectory => {
                Err(Error::IsAFolder { path: text(&place.path) })
            }
            (Err(error), Ok(())) => Err(Error::content(&place.path, error)),
        }
    }

    /// What is damaged or left out at a place and in it, everywhere below if it is `recursive`; except what is among `known`
    /// already.
    fn damage_below(&self, start: &Place, recursive: bool, known: &[Error]) -> Vec<Error> {
        let path = |error: &Error| match error {
            Error::Content { path, .. } => Some(path.clone()),
            Error::LeftOut { path, .. } => {
                Some(path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/"))
            }
            _ => None,
        };
        let known: HashSet<String> = known.iter().filter_map(path).collect();
        let (damaged, impossible) = (self.tree.damage().iter(), self.tree.notes().iter());
        let impossible = impossible.filter(|note| note.reason == Reason::ImpossibleName);
        let all = damaged.cloned().map(|damaged| (damaged.path.clone(), Error::Damaged(damaged)));
        let all = all.chain(impossible.map(|note| (note.path.clone(), Error::impossible_name(&note.path))));
        let start = text(&start.path);
        let is_below = |path: &str| {
            let rest = match start.as_str() {
                "" => Some(path),
                start => path.strip_prefix(start).and_then(|rest| match rest {
                    "" => Some(""),
                    rest => rest.strip_prefix('/'),
                }),
            };
            rest.is_some_and(|rest| recursive || !rest.contains('/'))
        };
        all.filter(|(path, _)| is_below(path) && !known.contains(path)).map(|(_, error)| error).collect()
    }
}

/// An image whose container can be read.
struct Opened {
    disk: VirtualDisk,
    /// How the rest is opened.
    options: gonto_image::Options,
}

fn open(file: &Path, options: &Options) -> Result<Opened, Error> {
    let (image, options) = open_file(file, options)?;
    let disk = VirtualDisk::open(image, &options)
        .map_err(|source| Error::Read { image: file.to_owned(), source: Box::new(source) })?;
    Ok(Opened { disk, options })
}

/// See [`Image::cut`].
fn cut(volume: &Volume) -> Option<String> {
    let missing = volume.missing();
    (missing > 0).then(|| {
        format!("the image is cut short: the last {missing} bytes of its volume are missing; fetch it again")
    })
}

/// The bytes of an image file, and how the rest is opened.
fn open_file(file: &Path, options: &Options) -> Result<(Arc<dyn ReadAt>, gonto_image::Options), Error> {
    let search = ParentSearch::Locators { absolute: options.absolute_parents };
    let opened =
        image_file::open(file, search).map_err(|source| Error::Open { image: file.to_owned(), source })?;
    let options = gonto_image::Options {
        parents: opened.parents,
        partition: options.partition,
        ignore_checksums: options.ignore_checksums,
        damage: Damage::Show,
        ..gonto_image::Options::default()
    };
    Ok((opened.image, options))
}

impl Watch<'_> {
    /// For work inside which only I/O errors are known.
    fn check(&self) -> io::Result<()> {
        self.interrupt.signal().map_or(Ok(()), |_| Err(io::ErrorKind::Interrupted.into()))
    }

    fn interrupted(&self) -> Result<(), Error> {
        self.interrupt.signal().map_or(Ok(()), |signal| Err(Error::Interrupted { signal }))
    }
}
