//! An image file becomes a folder, and a script runs with it.
//!
//! # The life of a run
//! 1. [`Session::new`] starts a small process that holds everything together: in mount and PID namespaces of its own where
//!    the system allows it. It ends with gonto, however gonto ends, and takes the mounts and all processes along.
//! 2. [`Session::mount`] shows an image at its [`MountPoint`], by the first road that works here.
//! 3. [`Session::run`] executes commands that see the images.
//! 4. [`Session::unmount_all`] or the drop takes everything away.
//!
//! [`Mounts`] is the other way: images that every process of the user sees, until they are unmounted. [`diagnose`] tells what
//! works here. [`Visibility`] is between the two: what a run mounts for its commands may be seen by others as long as the run lives.
//!
//! # Roads (Linux)
//! A [`Backend`] names a road; [`Backend::Auto`] takes the first that works, in this order:
//!
//! | road | needs | writes go to |
//! | --- | --- | --- |
//! | EROFS, the kernel's own | root | overlayfs above it, thrown away |
//! | FUSE in a namespace | user namespaces (or root) and `/dev/fuse` | overlayfs above it, thrown away |
//! | unpacked files in a namespace | user namespaces (or root) | overlayfs above them, thrown away |
//! | FUSE by fusermount3 | fusermount3 | nowhere, or fuse-overlayfs |
//! | unpacked files | nothing | a clone where the file system shares blocks, else nowhere |
//!
//! # Roads (Windows)
//! | road | needs | writes go to |
//! | --- | --- | --- |
//! | VirtDisk, Windows' own | administrator rights | a differencing child, thrown away |
//! | unpacked files | nothing | the copy, which is put right before its next use |
//!
//! Windows has no mounts of a process's own: an image gets a drive letter, which all processes see.
//!
//! # Layers
//! [`Layer`] tells where overlayfs keeps what is written. Only the kernel's overlayfs can be told to keep it in memory. With
//! [`Layer::None`] writes go nowhere, whatever the road.
//!
//! # Errors
//! [`Error`] says what cannot be done and why. What works, but not as one may expect, is a [`Notice`].
//!
//! # Unsafe code
//! This is the only crate that starts processes by clone(2), enters namespaces, maps files into memory and asks for loop devices,
//! and the only one that calls Windows directly. Each unsafe block says why it is sound; the rules for the process between clone
//! and exec are in `linux/init.rs`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;
#[cfg(target_os = "linux")]
use linux as sys;
#[cfg(windows)]
use windows as sys;

mod backend;
mod command;
mod diagnosis;
mod error;
pub mod image_file;
mod interrupt;
mod layer;
mod lock;
mod mount_point;
mod notice;
mod told;
pub mod unpack;
mod visibility;
#[cfg(any(windows, test))]
mod wide;

use std::path::PathBuf;

pub use backend::Backend;
pub use command::Command;
pub use diagnosis::{Diagnosis, Ingredient, Outcome, RoadCheck};
pub use error::Error;
pub use interrupt::{Interrupt, Reach};
pub use layer::{Layer, Written};
pub use mount_point::{MountPoint, with_separator};
pub use notice::{Notice, Notices};
pub use sys::{Mounts, Session, diagnose};
pub use visibility::Visibility;

/// Where gonto-mount keeps things, and whom it tells.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state folder: mount points that the system chooses, and the register of mounts. Made when missing.
    pub state_dir: PathBuf,
    /// The cache: indexes, what is written to images and what is unpacked lie in its `.gonto` folder.
    pub cache_dir: PathBuf,
    /// The road that images take.
    pub backend: Backend,
    /// Where what is written to images lies, if anything may be.
    pub layer: Layer,
    /// Receives what the user should know.
    pub notices: Notices,
    /// Ends what takes long: commands, and the indexing or unpacking of an image.
    pub interrupt: Interrupt,
}

/// An image to mount.
#[derive(Clone, Debug)]
pub struct Image {
    /// The image file. It is only ever read.
    pub file: PathBuf,
    /// Where it shall appear.
    pub mount_point: MountPoint,
}

/// What [`Mounts::mount`] has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The folder in which the image appears.
    pub folder: PathBuf,
    /// The image was there before.
    pub already: bool,
}
