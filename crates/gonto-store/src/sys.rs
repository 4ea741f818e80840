//! What differs between the systems: one interface, one file per system.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{create_new, path_of_file_url, reserve, sync_folder};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::{create_new, path_of_file_url, reserve, sync_folder};
