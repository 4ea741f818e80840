//! One file, directory or link.

use std::time::{Duration, SystemTime};

/// Number of a node in its tree. Hard links are several names with one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a mount says about a file without opening it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// In bytes: of the content, of the link's target, 0 for a directory.
    pub size: u64,
    /// How many names lead to it; 1 for a directory.
    pub links: u32,
    /// Permission bits, at most 0o777: those that WSL gave it, else 0o755.
    pub mode: u32,
    /// When the content was changed.
    pub modified: Timestamp,
    /// When anything about it was changed.
    pub changed: Timestamp,
    /// When it was read, as far as Windows kept track.
    pub accessed: Timestamp,
    /// When it was made.
    pub created: Timestamp,
}

/// Who owns a file in the eyes of Linux, as WSL has written it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// User, from `$LXUID`.
    pub uid: u32,
    /// Group, from `$LXGID`.
    pub gid: u32,
}

/// A reparse point, as far as it is told.
pub(super) struct Reparsed {
    pub(super) tag: u32,
    /// Of links, as Windows wrote it.
    pub(super) target: Option<Box<[u8]>>,
}

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// It holds names.
    Directory,
    /// It holds bytes.
    File,
    /// It holds the name of something else.
    Symlink,
}

/// A moment as NTFS counts: units of 100 ns since 1601-01-01 UTC (\[MS-DTYP\] 2.3.3, FILETIME).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(u64);

/// From 1601 to 1970, in units of 100 ns.
const UNIX_EPOCH: u64 = 116_444_736_000_000_000;

impl Timestamp {
    /// A moment by its FILETIME. Every value is taken, also those that Windows would not show.
    #[must_use]
    pub fn from_filetime(filetime: u64) -> Self {
        Self(filetime)
    }

    /// Units of 100 ns since 1601.
    #[must_use]
    pub fn filetime(self) -> u64 {
        self.0
    }

    /// Nanoseconds since 1970, negative before.
    #[must_use]
    pub fn unix_nanos(self) -> i128 {
        (i128::from(self.0) - i128::from(UNIX_EPOCH)) * 100
    }

    /// The moment as the system counts; 1970 where the system cannot count so far.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        let units = self.0.abs_diff(UNIX_EPOCH);
        let nanos = u32::try_from(units % 10_000_000).unwrap_or(0) * 100;
        let distance = Duration::new(units / 10_000_000, nanos);
        let moment = if self.0 >= UNIX_EPOCH {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        };
        moment.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_system_time()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_and_after_1970_are_converted() {
        let moment = Timestamp::from_filetime(UNIX_EPOCH + 12_345_678_901);
        assert_eq!(moment.unix_nanos(), 1_234_567_890_100);
        assert_eq!(moment.to_system_time(), SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_100));
        let before = Timestamp::from_filetime(UNIX_EPOCH - 1);
        assert_eq!(before.unix_nanos(), -100);
        assert_eq!(before.to_system_time(), SystemTime::UNIX_EPOCH - Duration::from_nanos(100));
    }

    #[test]
    fn no_moment_makes_a_panic() {
        for filetime in [0, 1, u64::MAX / 2, u64::MAX] {
            let _ = Timestamp::from_filetime(filetime).to_system_time();
        }
        assert_eq!(
            Timestamp::from_filetime(u64::MAX).unix_nanos(),
            (i128::from(u64::MAX) - i128::from(UNIX_EPOCH)) * 100
        );
    }
}
