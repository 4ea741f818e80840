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
//! | `virtdisk`, `volumes`, `letter` | the calls of Windows, one function each |
//! | `process` | scripts, and all that they start |
//! | `diagnose` | what works here |

mod child;
mod copies;
mod diagnose;
mod letter;
mod lock;
mod mounts;
mod process;
mod register;
mod session;
mod shown;
mod virtdisk;
mod volumes;
mod wide;

pub use diagnose::diagnose;
pub use mounts::Mounts;
pub use session::Session;
