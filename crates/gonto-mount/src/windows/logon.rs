//! Logon sessions: letters that stand for folders belong to one. The same user has several, as administrator and not.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null_mut, without_provenance_mut};

use serde::{Deserialize, Serialize};
use windows_sys::Win32::Foundation::{HANDLE, LUID, NTSTATUS};
use windows_sys::Win32::Security::Authentication::Identity::{LsaFreeReturnBuffer, LsaGetLogonSessionData};
use windows_sys::Win32::Security::{GetTokenInformation, TOKEN_QUERY, TOKEN_STATISTICS, TokenStatistics};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// Of ntstatus.h.
const STATUS_NO_SUCH_LOGON_SESSION: NTSTATUS = 0xC000_005F_u32.cast_signed();

/// What Windows calls a logon session by, until it is restarted.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Logon {
    low: u32,
    high: i32,
}

impl Logon {
    /// The session of this process.
    pub(super) fn current() -> io::Result<Self> {
        let mut token: HANDLE = null_mut();
        // SAFETY: the handle of the process needs no closing, and the token is written to a variable of ours.
        done(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) })?;
        // SAFETY: a new handle, which nobody else has.
        let token = unsafe { OwnedHandle::from_raw_handle(token) };
        let mut statistics = TOKEN_STATISTICS::default();
        let room = u32::try_from(size_of::<TOKEN_STATISTICS>()).map_err(io::Error::other)?;
        let mut given = 0;
        // SAFETY: the token is open, and the structure of numbers has as many bytes as `room` says.
        done(unsafe {
            GetTokenInformation(
                token.as_raw_handle(),
                TokenStatistics,
                (&raw mut statistics).cast(),
                room,
                &raw mut given,
            )
        })?;
        let LUID { LowPart: low, HighPart: high } = statistics.AuthenticationId;
        Ok(Self { low, high })
    }

    /// Whether it goes on. Where that cannot be told (only administrators are told of the sessions of others), it may.
    pub(super) fn goes_on(self) -> bool {
        let id = LUID { LowPart: self.low, HighPart: self.high };
        let mut data = without_provenance_mut(0);
        // SAFETY: the identifier lives until the call returns, and the pointer is written to a variable of ours.
        let outcome = unsafe { LsaGetLogonSessionData(&id, &raw mut data) };
        if !data.is_null() {
            // SAFETY: the call has allocated it, and nobody uses it.
            unsafe { LsaFreeReturnBuffer(data.cast()) };
        }
        outcome != STATUS_NO_SUCH_LOGON_SESSION
    }
}

fn done(outcome: i32) -> io::Result<()> {
    if outcome == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_session_goes_on() {
        let logon = Logon::current().unwrap();
        assert_eq!(logon, Logon::current().unwrap());
        assert!(logon.goes_on());
    }
}
