//! Windows: images are attached by the system, or unpacked, and get a drive letter.
//!
//! | module | holds |
//! | --- | --- |
//! | `session` | the images and processes of a run |
//! | `mounts` | images for everybody, until they are unmounted |
//! | `shown` | both roads, from an image file to a drive letter |
//! | `child` | the differencing child that is attached in place of the image |
//! | `copies` | unpacked files, which every run finds as the image has them |
//! | `register` | what was put into the system, and for whom: what a killed gonto leaves is taken down by the next |
//! | `virtdisk`, `volumes`, `letter`, `logon` | the calls of Windows, one function each |
//! | `process`, `job`, `spawn` | scripts, and all that they start |
//! | `console`, `event` | Ctrl-C and its kind, and waiting for them |
//! | `diagnose` | what works here |

mod child;
mod console;
mod copies;
mod diagnose;
mod event;
mod job;
mod letter;
mod logon;
mod mounts;
mod process;
mod register;
mod session;
mod shown;
mod spawn;
mod text;
mod virtdisk;
mod volumes;

pub(crate) use console::heed;
pub use diagnose::diagnose;
pub(crate) use event::Event;
pub use mounts::Mounts;
pub use session::Session;
