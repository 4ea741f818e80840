//! What can go wrong between an image file and a folder.

use std::io;
use std::path::PathBuf;

use crate::Backend;

/// An image could not be shown, or a command not be run. Each variant names the thing, and the source tells why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image file cannot be opened.
    #[error("cannot open the image {}", image.display())]
    OpenImage {
        /// The file.
        image: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The image holds no volume that can be read.
    #[error("cannot read the image {} (remove it to have it fetched again)", image.display())]
    ReadImage {
        /// The file.
        image: PathBuf,
        /// What is wrong with it, and where.
        source: Box<gonto_image::Error>,
    },
    /// The image has no index, so that it can only be served from its file tree.
    #[error("cannot index the image {}", image.display())]
    Index {
        /// The file.
        image: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The mount point is neither empty, nor a drive letter, nor an absolute path.
    #[error(
        "{text:?} is no mount point: write a drive letter from D to Z as in \"U:\\\\\", an absolute path (Linux only), or \
         leave it out"
    )]
    MountPointSyntax {
        /// What was given.
        text: String,
    },
    /// Something that is not a folder lies at the mount point.
    #[error("the mount point {} is not a folder: move it away or choose another mount_point", path.display())]
    MountPointNotAFolder {
        /// The mount point.
        path: PathBuf,
    },
    /// The folder of the mount point is missing and cannot be made.
    #[error("the mount point {} cannot be made: create the folder, or choose a mount_point that you may write", path.display())]
    MountPointMissing {
        /// The mount point.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another image is mounted there.
    #[error(
        "the mount point {} holds {} already, mounted for {holder}: unmount that first, or choose another mount_point",
        path.display(),
        image.display()
    )]
    MountPointTaken {
        /// The mount point.
        path: PathBuf,
        /// The image that is mounted there.
        image: PathBuf,
        /// Who mounted it: a target and its folder, or a process.
        holder: String,
    },
    /// Something else than gonto uses the drive letter.
    #[error(
        "the drive {drive} is in use by {by}: free it (subst {drive} /d, net use {drive} /delete, mountvol {drive}\\ /d), or \
         choose another mount_point"
    )]
    DriveTaken {
        /// The drive, such as `U:`.
        drive: String,
        /// What has it: a disk, a folder, a share.
        by: String,
    },
    /// All drive letters are taken.
    #[error("no drive letter is free for {}: unmount something", image.display())]
    NoDrive {
        /// The image file.
        image: PathBuf,
    },
    /// The system does not let a letter stand for a folder.
    #[error(
        "the drive {drive} does not lead to {}, where the image is unpacked: leave mount_point out, and the folder itself is used",
        folder.display()
    )]
    NoLetters {
        /// The drive, such as `U:`.
        drive: String,
        /// Where it should lead.
        folder: PathBuf,
    },
    /// Windows has attached the image as a disk, and no volume appears on it.
    #[error("no volume of {} has appeared: {remedy}", image.display())]
    NoVolume {
        /// The image file.
        image: PathBuf,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Two images of one run want the same place.
    #[error(
        "{} and {} have the same mount point {}: choose another mount_point for one of them",
        first.display(),
        second.display(),
        path.display()
    )]
    MountPointTwice {
        /// The mount point.
        path: PathBuf,
        /// The image that is mounted there.
        first: PathBuf,
        /// The image that should be.
        second: PathBuf,
    },
    /// An image would hide one that was mounted before.
    #[error("the mount point {} would hide {}: name the outer one first", outer.display(), inner.display())]
    MountPointHides {
        /// The mount point of the later image.
        outer: PathBuf,
        /// That of the earlier one, inside it.
        inner: PathBuf,
    },
    /// The system refused a mount.
    #[error("cannot mount {} at {}", image.display(), path.display())]
    Mount {
        /// The image file.
        image: PathBuf,
        /// The mount point.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A limit was asked for what is written to an image, and nothing here can keep one.
    #[error(
        "what is written to {} cannot be limited, because {reason}: leave layer_limit (--layer-limit) out",
        path.display()
    )]
    NoLimit {
        /// The mount point.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The files of an image could not be unpacked.
    #[error("cannot unpack {} into {}", image.display(), folder.display())]
    Unpack {
        /// The image file.
        image: PathBuf,
        /// Where to.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The road that was asked for does not work.
    #[error(
        "the backend {backend} does not work here: gonto doctor tells which ones do, and what the others need; or choose \
         the backend auto"
    )]
    Backend {
        /// The road.
        backend: Backend,
        /// Why it is closed.
        source: Box<Error>,
    },
    /// No backend has this name.
    #[error("{text:?} is not a known backend: use auto, erofs, fuse, virtdisk or extract")]
    UnknownBackend {
        /// What was given.
        text: String,
    },
    /// A mount could not be taken away.
    #[error("cannot unmount {}{users}", path.display())]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// Empty, or the processes that use it, as a clause that starts with a comma.
        users: String,
        /// What the system says.
        source: io::Error,
    },
    /// The image was mounted in another mount namespace.
    #[error(
        "what is mounted at {} was mounted in another mount namespace, outside or inside a run: unmount it there",
        path.display()
    )]
    MountedElsewhere {
        /// The mount point.
        path: PathBuf,
    },
    /// The state folder, where mounts are recorded, does not work.
    #[error("cannot use the state folder {}: make it writable, or set GONTO_STATE_DIR to a folder that is", path.display())]
    State {
        /// The folder or a file in it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The processes of a run cannot be started or watched.
    #[error("cannot set up the processes of the run")]
    Processes {
        /// What failed.
        source: io::Error,
    },
    /// A command could not be executed at all.
    #[error("cannot run {program}")]
    Execute {
        /// The program, usually the shell.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// The backend is one of another system.
    #[error(
        "the backend {backend} does not exist on {}: use auto, {}",
        std::env::consts::OS,
        backends_here()
    )]
    NotOnThisSystem {
        /// What was asked for.
        backend: Backend,
    },
}

impl Error {
    /// Whether the cause lies in the image (and not in the system that should mount it).
    #[must_use]
    pub fn is_about_the_image(&self) -> bool {
        match self {
            Self::OpenImage { .. } | Self::ReadImage { .. } | Self::NoVolume { .. } => true,
            Self::Backend { source, .. } => source.is_about_the_image(),
            _ => false,
        }
    }

    /// Why a road is closed, if that is what the error tells: another road may work then.
    pub(crate) fn closes_a_road(&self) -> Option<String> {
        match self {
            // Nobody wants another road then.
            Self::Mount { source, .. } | Self::Unpack { source, .. } | Self::Index { source, .. }
                if source.kind() == io::ErrorKind::Interrupted =>
            {
                None
            }
            Self::Mount { source, .. } | Self::Unpack { source, .. } | Self::Index { source, .. } => {
                Some(chain(source))
            }
            // A folder can be shown without one, and read without Windows.
            Self::NoDrive { .. } | Self::NoVolume { .. } => Some(chain(self)),
            _ => None,
        }
    }
}

fn backends_here() -> String {
    let names: Vec<&str> = Backend::here().map(Backend::as_str).collect();
    match &*names {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        names => names.concat(),
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
