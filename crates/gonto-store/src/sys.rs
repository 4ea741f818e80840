//! What differs between the systems: one interface, one file per system.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{create_new, is_device, path_of_file_url, rename, reserve, sync_folder};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::{create_new, is_device, path_of_file_url, rename, reserve, sync_folder};
