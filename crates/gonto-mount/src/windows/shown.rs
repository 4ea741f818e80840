//! An image gets its drive letter, by the first road that works.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use gonto_image::FileTree;
use windows_sys::Win32::Foundation::{
    ERROR_DEV_NOT_EXIST, ERROR_DIR_NOT_EMPTY, ERROR_FILE_NOT_FOUND, ERROR_NO_SUCH_DEVICE, ERROR_NOT_READY,
    ERROR_PATH_NOT_FOUND,
};

use super::child::{Child, explain};
use super::copies::{self, Copy};
use super::letter::Letter;
use super::register::{Carrier, Claim, Entry, Found, Holder, Locked, Register};
use super::virtdisk::{Attachment, Disk};
use super::volumes::{self, VolumeName};
use crate::backend::Road;
use crate::error::chain;
use crate::image_file::{self, ParentSearch};
use crate::told::Told;
use crate::{Error, Image, Interrupt, Layer, MountPoint, Notice, Options};

/// How long Windows may take to find the volume on a disk, and to give it its letter. On a busy machine it takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a letter for a folder may take to appear. It is there at once; where letters do not work, nothing ever comes.
const LETTER_PATIENCE: Duration = Duration::from_secs(2);

/// Copies that cannot be put right cost their place on the disk each time.
const MOST_PASSED_OVER: usize = 3;

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(20);

/// An image that is shown by this gonto.
#[derive(Debug)]
pub(super) struct Shown {
    claim: Claim,
    /// Nobody else may use the copy by which it is shown, if that is how.
    _copy: Option<Copy>,
}

impl Shown {
    pub(super) fn entry(&self) -> &Entry {
        &self.claim.entry
    }

    /// Takes it away.
    pub(super) fn take_down(self) -> Result<(), Error> {
        self.claim.end()
    }

    /// It stays when this gonto ends.
    pub(super) fn leave(mut self) -> Result<PathBuf, Error> {
        self.claim.record(|entry| entry.complete = true)?;
        Ok(self.claim.entry.folder())
    }
}

/// Shows an image: for this run, or, with a holder, until nobody needs it any more.
///
/// # Errors
/// What closes the last road, or all of them. What was made until then is taken away.
pub(super) fn show(
    image: &Image,
    register: &Register,
    options: &Options,
    holder: Option<Holder>,
) -> Result<Shown, Error> {
    let locked = register.lock()?;
    let alive = locked.sweep()?;
    show_beside(image, locked, &alive, options, holder)
}

/// The same, when the register has been locked and swept.
pub(super) fn show_beside(
    image: &Image,
    register: Locked<'_>,
    alive: &[Found],
    options: &Options,
    holder: Option<Holder>,
) -> Result<Shown, Error> {
    File::open(&image.file).map_err(|source| Error::OpenImage { image: image.file.clone(), source })?;
    let letter = register.choose_letter(alive, &image.mount_point)?;
    if let (MountPoint::Drive(_), Some(letter)) = (&image.mount_point, letter) {
        require(letter, image, options)?;
    }
    let read_only = options.layer == Layer::None;
    if options.layer.limit().is_some() {
        let reason = "Windows keeps it in a file on the disk".to_owned();
        return Err(Error::NoLimit { path: shown_path(letter, image), reason });
    }
    let wanted = Wanted { image, options, read_only, permanent: holder.is_some() };
    let mut claim = register.claim(Entry::new(&image.file, letter, read_only, holder))?;
    // Others may go on: whatever takes long comes now.
    drop(register);
    let copy = options.backend.first_that_works(|road, reason| match road {
        Road::Virtdisk => wanted.attach(&mut claim).map(|()| None),
        Road::Extract => wanted.unpack(&mut claim, reason).map(Some),
    });
    match copy {
        Ok(copy) => {
            if options.layer.is_in_memory() {
                let (mount_point, reason) =
                    (claim.entry.folder(), "Windows has no layers in memory".to_owned());
                options.notices.send(Notice::WritesOnDisk { mount_point, reason });
            }
            Ok(Shown { claim, _copy: copy })
        }
        Err(error) => {
            if let Err(error) = claim.end() {
                tracing::debug!(%error, "left for the next time");
            }
            Err(error)
        }
    }
}

/// Makes sure that nobody else has the letter. What leads to a copy of this image that nobody uses was left by a gonto whose state
/// folder is gone.
fn require(letter: Letter, image: &Image, options: &Options) -> Result<(), Error> {
    let copies = copies::unused(&image.file, options).unwrap_or_default();
    for Copy { folder, .. } in &copies {
        if let Err(error) = letter.undefine(folder) {
            tracing::debug!(copy = %folder.display(), %error, "the letter stays");
        }
    }
    match letter.user() {
        Some(by) if !copies.iter().any(|copy| letter.leads_to(&copy.folder).unwrap_or(false)) => {
            Err(Error::DriveTaken { drive: letter.device(), by })
        }
        _ => Ok(()),
    }
}

/// For messages.
fn shown_path(letter: Option<Letter>, image: &Image) -> PathBuf {
    letter.map_or_else(|| image.file.clone(), |letter| letter.root().into())
}

/// An image on its way.
struct Wanted<'a> {
    image: &'a Image,
    options: &'a Options,
    read_only: bool,
    /// It is to outlive this process.
    permanent: bool,
}

/// The road `virtdisk`.
impl Wanted<'_> {
    fn attach(&self, claim: &mut Claim) -> Result<(), Error> {
        let image = &self.image.file;
        let Some(letter) = claim.entry.letter else { return Err(Error::NoDrive { image: image.clone() }) };
        let failed = |source| Error::Mount {
            image: image.clone(),
            path: letter.root().into(),
            source: explain(source, image),
        };
        let attached = Child::make(image, self.options, claim, &failed)
            .and_then(|child| self.attach_child(&child, claim, &failed));
        attached.map_err(|error| match claim.take_down() {
            Ok(()) => error,
            // What is left stays recorded, so no other road is taken.
            Err(Error::Unmount { path, users, source }) => {
                let what = format!("{source}; it was to go because of this: {}", chain(&error));
                Error::Unmount { path, users, source: io::Error::new(source.kind(), what) }
            }
            Err(other) => other,
        })
    }

    fn attach_child(
        &self,
        child: &Child,
        claim: &mut Claim,
        failed: &dyn Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        let attachment = Attachment { read_only: self.read_only, permanent: self.permanent };
        let disk = Disk::open(&child.file, child.format, self.read_only).map_err(failed)?;
        let disk = claim.disk.insert(disk);
        disk.attach(attachment).map_err(failed)?;
        let volume = self.wait_for_volume(disk, child.volume_at, failed)?;
        claim.record(|entry| {
            let child = child.file.clone();
            entry.carrier = Some(Carrier::Disk { child, volume: Some(volume.clone()) });
        })?;
        self.with_letter(claim, &|letter| self.show_volume(&volume, letter, failed))
    }

    fn show_volume(
        &self,
        volume: &VolumeName,
        letter: Letter,
        failed: &dyn Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        volume.show_at(letter).or_else(|error| match volume.is_at(letter) {
            // Windows remembers letters, and may have given it by itself.
            Ok(true) => Ok(()),
            _ if error.raw_os_error() == Some(ERROR_DIR_NOT_EMPTY.cast_signed()) => Err(taken(letter)),
            _ => Err(failed(error)),
        })?;
        let is_there = || Ok(volume.is_at(letter)?.then_some(()));
        let there = until(PATIENCE, &self.options.interrupt, is_there).map_err(failed)?;
        there.ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::TimedOut, "Windows does not show the letter"))
        })
    }

    /// Shows the image at its letter; where any will do, at another one if somebody has taken that since it was chosen.
    fn with_letter(
        &self,
        claim: &mut Claim,
        show: &dyn Fn(Letter) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for _ in Letter::all() {
            let Some(letter) = claim.entry.letter else { break };
            match show(letter) {
                Err(Error::DriveTaken { drive, by }) if self.image.mount_point == MountPoint::Automatic => {
                    tracing::debug!(drive, by, "taken since it was chosen");
                    claim.change_letter()?;
                }
                outcome => return outcome,
            }
        }
        Err(Error::NoDrive { image: self.image.file.clone() })
    }

    /// The volume that begins at byte `offset` of the attached disk. Disk and volume appear a moment later.
    fn wait_for_volume(
        &self,
        disk: &Disk,
        offset: u64,
        failed: &dyn Fn(io::Error) -> Error,
    ) -> Result<VolumeName, Error> {
        let mut path = None;
        let found = until(PATIENCE, &self.options.interrupt, || {
            if path.is_none() {
                path = disk.physical_path()?;
            }
            let Some(path) = &path else { return Ok(None) };
            volumes::find(volumes::disk_number(path)?, offset)
        });
        found.map_err(failed)?.ok_or_else(|| {
            let is_offline = path.as_deref().map(volumes::is_offline);
            let remedy = match is_offline {
                Some(Ok(true)) => {
                    "Windows keeps new disks offline here; allow them, as administrator: diskpart, then san policy=OnlineAll"
                }
                _ => "gonto image verify tells whether it holds one",
            };
            Error::NoVolume { image: self.image.file.clone(), remedy }
        })
    }
}

/// The road `extract`.
impl Wanted<'_> {
    fn unpack(&self, claim: &mut Claim, reason: &str) -> Result<Copy, Error> {
        let Options { notices, .. } = self.options;
        let image = &self.image.file;
        let failed = |source| {
            let folder = self.options.cache_dir.join(".gonto").join("trees");
            Error::Unpack { image: image.clone(), folder, source }
        };
        let opened = image_file::open(image, ParentSearch::Siblings)
            .map_err(|source| Error::OpenImage { image: image.clone(), source })?;
        let tree = opened
            .tree(image)
            .map_err(|error| Error::ReadImage { image: image.clone(), source: Box::new(error) })?;
        for note in tree.notes() {
            match Told::of(&note.reason) {
                Told::AtOnce => {
                    notices.send(Notice::Unreadable { image: image.clone(), reason: note.to_string() });
                }
                _ => tracing::debug!(image = %image.display(), %note),
            }
        }
        let copy = self.copy(claim, &tree, reason, &failed)?;
        if self.permanent {
            copy.keep_for(&claim.file()).map_err(failed)?;
        }
        match self.with_letter(claim, &|letter| self.define(letter, &copy)) {
            Ok(()) => {}
            // Its folder can be shown as it is.
            Err(error @ (Error::NoDrive { .. } | Error::NoLetters { .. }))
                if self.image.mount_point == MountPoint::Automatic =>
            {
                tracing::debug!(%error, folder = %copy.folder.display(), "shown without a letter");
                claim.record(|entry| entry.letter = None)?;
            }
            Err(error) => return Err(error),
        }
        Ok(copy)
    }

    /// A copy that is as the image has it.
    fn copy(
        &self,
        claim: &mut Claim,
        tree: &FileTree,
        reason: &str,
        failed: &dyn Fn(io::Error) -> Error,
    ) -> Result<Copy, Error> {
        let image = &self.image.file;
        let mut first = 0;
        loop {
            let copy = Copy::acquire(image, self.options, self.read_only, first).map_err(failed)?;
            let (number, is_new) = (copy.number, !copy.folder.exists());
            if is_new {
                let (image, reason) = (image.clone(), reason.to_owned());
                self.options.notices.send(Notice::Unpacking { image, reason });
            }
            let kept = self.permanent.then(|| copy.kept_for(&claim.file()));
            claim
                .record(|entry| entry.carrier = Some(Carrier::Copy { folder: copy.folder.clone(), kept }))?;
            match (copy.put_right(image, tree, self.options, self.read_only), number) {
                (Ok(copy), _) => return Ok(copy),
                // Somebody may have a file of it open.
                (Err(error), Some(number))
                    if !is_new && number < MOST_PASSED_OVER && may_be_in_use(&error) =>
                {
                    tracing::debug!(number, %error, "another copy is taken");
                    first = number + 1;
                }
                (Err(error), _) => return Err(failed(error)),
            }
        }
    }

    /// Makes the letter stand for the copy.
    fn define(&self, letter: Letter, copy: &Copy) -> Result<(), Error> {
        // Unpacking takes long, and others take letters meanwhile.
        if letter.user().is_some() && !letter.leads_to(&copy.folder).unwrap_or(false) {
            return Err(taken(letter));
        }
        let is_there = || match letter.leads_to(&copy.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            there => Ok(there?.then_some(())),
        };
        let defined = letter.define(&copy.folder);
        let there = defined.and_then(|()| until(LETTER_PATIENCE, &self.options.interrupt, is_there));
        if let Ok(Some(())) = there {
            return Ok(());
        }
        if let Err(error) = letter.undefine(&copy.folder) {
            tracing::debug!(%error, "the letter stays");
        }
        match there {
            Err(source) => {
                Err(Error::Mount { image: self.image.file.clone(), path: letter.root().into(), source })
            }
            Ok(_) => Err(Error::NoLetters { drive: letter.device(), folder: copy.folder.clone() }),
        }
    }
}

/// Somebody else has the letter.
fn taken(letter: Letter) -> Error {
    let by = letter.user().unwrap_or_else(|| "another program, since this moment".to_owned());
    Error::DriveTaken { drive: letter.device(), by }
}

/// Whether another copy may do better. The standard library has no kind for a sharing violation.
fn may_be_in_use(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, InvalidData, QuotaExceeded, StorageFull, UnexpectedEof};
    !matches!(error.kind(), Interrupted | InvalidData | QuotaExceeded | StorageFull | UnexpectedEof)
}

/// What devices and volumes say that Windows has not set up yet.
fn is_too_early(error: &io::Error) -> bool {
    const EARLY: [u32; 5] = [
        ERROR_FILE_NOT_FOUND,
        ERROR_PATH_NOT_FOUND,
        ERROR_NOT_READY,
        ERROR_DEV_NOT_EXIST,
        ERROR_NO_SUCH_DEVICE,
    ];
    EARLY.iter().any(|code| error.raw_os_error() == Some(code.cast_signed()))
}

/// Tries until there is something, or it has taken too long.
fn until<T>(
    patience: Duration,
    interrupt: &Interrupt,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    let deadline = Instant::now() + patience;
    loop {
        let is_over = Instant::now() >= deadline;
        match attempt() {
            // What is just appearing, or going.
            Err(error) if !is_over && is_too_early(&error) => tracing::debug!(%error, "not yet"),
            Ok(None) if !is_over => {}
            found => return found,
        }
        interrupt.check()?;
        thread::sleep(TICK);
    }
}
