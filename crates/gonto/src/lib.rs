//! Gonto: the dependency manager for toolchains too big to install.
//!
//! A toolchain is one disk image. A [`Target`](target::Target) of the configuration names the images that it needs; they
//! are downloaded once, mounted, used by the target's scripts, and unmounted.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`config`] | finds, reads, merges and checks `gonto.yaml` |
//! | [`target`] | what can be done with one target: list, download, mount, run, unmount |
//! | [`run`] | the whole way from a target to its exit status, as the program `gonto` goes it |
//! | [`image`] | looks into an image without mounting it |
//! | [`create`] | makes an image of a folder |
//! | [`doctor`] | tells which roads images can take here |
//! | [`error`] | what can go wrong |
//!
//! The library takes plain structs and returns plain structs and events. It never prints, and never ends the process.
//!
//! ```no_run
//! use gonto::config::{Config, Search};
//! use gonto::target::{ScriptType, Target};
//!
//! let config = Config::load(&Search::new(".")).map_err(|error| error.to_string())?.config;
//! let mut target = Target::new("build", &config)?;
//! target.download_missing_images(|current, count, image, progress| {
//!     eprintln!("{current}/{count} {image} {:.0} %", progress * 100.0);
//! })?;
//! target.mount_images(false)?;
//! target.run_script(ScriptType::Script)?;
//! target.umount_images()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod config;
pub mod create;
pub mod doctor;
pub mod error;
pub mod image;
pub mod run;
pub mod target;

mod registry;
mod state;

pub use error::Error;
pub use gonto_mount::{Backend, Interrupt, Layer, Notice, Notices, Reach, Visibility, Written};
pub use gonto_store::{Format, ImagePath, Platform};
pub use registry::RegistryError;
