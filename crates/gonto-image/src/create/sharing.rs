//! Copies that the host's file system makes itself: it lets both files share extents, or moves them without this program.

#[cfg(not(target_os = "linux"))]
use elsewhere as sys;
#[cfg(target_os = "linux")]
use linux as sys;

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

pub(super) use sys::Sharing;
