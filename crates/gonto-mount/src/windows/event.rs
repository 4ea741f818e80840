//! Waiting for several things at a time.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::time::Instant;

use windows_sys::Win32::Foundation::{WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects};

/// MAXIMUM_WAIT_OBJECTS of WaitForMultipleObjects.
const MOST: u32 = 64;

/// Something that has not happened yet, until it is set; then it stays so.
#[derive(Debug)]
pub(crate) struct Event(OwnedHandle);

impl Event {
    /// One that is not set. No other process can open it.
    ///
    /// # Errors
    /// When the process has no handles left.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: neither security attributes nor a name are passed, so there is no memory to be wrong about.
        let handle = unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new handle, which nobody else has.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    /// Wakes those that wait for it.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn set(&self) -> io::Result<()> {
        // SAFETY: the handle is open as long as this lives.
        match unsafe { SetEvent(self.0.as_raw_handle()) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// What [`wait`] takes.
    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// Waits until one of the handles is signalled, and returns the place of the first that is; none when `until` has come. At most
/// 64 handles, at least one.
///
/// # Errors
/// InvalidInput for another number of handles; what the system says.
pub(super) fn wait(handles: &[BorrowedHandle<'_>], until: Option<Instant>) -> io::Result<Option<usize>> {
    let count = u32::try_from(handles.len())
        .ok()
        .filter(|count| (1..=MOST).contains(count))
        .ok_or(io::ErrorKind::InvalidInput)?;
    let timeout = until.map_or(INFINITE, |until| {
        let left = until.saturating_duration_since(Instant::now());
        // One more than the whole milliseconds, so that the time has come when the wait is over.
        u32::try_from(left.as_millis()).unwrap_or(INFINITE).saturating_add(1).min(INFINITE - 1)
    });
    // SAFETY: BorrowedHandle has the layout of HANDLE; there are `count` of them, and they stay open meanwhile.
    match unsafe { WaitForMultipleObjects(count, handles.as_ptr().cast(), 0, timeout) } {
        WAIT_TIMEOUT => Ok(None),
        WAIT_FAILED => Err(io::Error::last_os_error()),
        signalled => Ok(usize::try_from(signalled.wrapping_sub(WAIT_OBJECT_0)).ok()),
    }
}
