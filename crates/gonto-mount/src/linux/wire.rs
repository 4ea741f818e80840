//! What gonto and the init process of a [namespace](super::namespace) say to each other.
//!
//! Both ends are the same program, so the layout is native and private. A packet is at most [`MAX_PACKET`] bytes. Every
//! request is answered by one [`Reply::DONE`]; a spawned command adds one [`Reply::EXITED`] when it has ended, and
//! [`Reply::EMPTY`] follows when nothing is left of it. These may come at any time after the answer to the spawn.

use std::ffi::CStr;

/// Room for three paths of PATH_MAX (4096 bytes) and a page of mount data, which is all that mount(2) takes.
pub(super) const MAX_PACKET: usize = 4 * 4096 + HEADER;

/// Operation (1 byte) and number (8 bytes), before the strings.
pub(super) const HEADER: usize = 9;

/// The operations that init carries out. `number` and the strings mean:
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Op {
    /// mount(2). number: flags; strings: source, target, type, data.
    Mount = 1,
    /// Opens /dev/fuse and mounts it; the reply carries the descriptor. Like `Mount`, "fd=N," is put before the data.
    MountFuse,
    /// move_mount(2) of a mount that is nowhere yet, and comes along. strings: target.
    Attach,
    /// umount2(2). number: flags; strings: target.
    Unmount,
    /// mkdir(2) with mode 0755; an existing folder is fine. strings: path.
    MakeFolder,
    /// Opens a folder for reading; the reply carries the descriptor. strings: path.
    OpenFolder,
    /// Starts a command laid out in the memory file that comes along (see [`super::exec_image`]). number: its size.
    Spawn,
    /// Sends a signal to every process but init. Without a namespace only init's children get it at once, the others
    /// when the death of their parents makes them init's children. number: the signal.
    Signal,
}

impl Op {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Mount,
            Self::MountFuse,
            Self::Attach,
            Self::Unmount,
            Self::MakeFolder,
            Self::OpenFolder,
            Self::Spawn,
            Self::Signal,
        ];
        all.into_iter().find(|op| *op as u8 == byte)
    }
}

/// A request as init sees it.
pub(super) struct Request<'a> {
    pub(super) op: Op,
    pub(super) number: u64,
    strings: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn parse(packet: &'a [u8]) -> Option<Self> {
        let (&op, rest) = packet.split_first()?;
        let (number, strings) = rest.split_first_chunk::<8>()?;
        Some(Self { op: Op::from_byte(op)?, number: u64::from_ne_bytes(*number), strings })
    }

    /// The next of the strings.
    pub(super) fn string(&mut self) -> Option<&'a CStr> {
        let string = CStr::from_bytes_until_nul(self.strings).ok()?;
        self.strings = self.strings.get(string.to_bytes_with_nul().len()..)?;
        Some(string)
    }
}

/// Lays out a request; the strings must not hold NUL bytes.
pub(super) fn request(op: Op, number: u64, strings: &[&[u8]]) -> Vec<u8> {
    let mut packet = vec![op as u8];
    packet.extend_from_slice(&number.to_ne_bytes());
    for string in strings {
        packet.extend_from_slice(string);
        packet.push(0);
    }
    packet
}

/// What init answers: a kind and a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reply {
    pub(super) kind: u8,
    pub(super) value: i32,
}

impl Reply {
    /// A request was carried out (value 0) or failed (value: errno).
    pub(super) const DONE: u8 = 1;
    /// The spawned command has ended; value: its wait status, as wait(2) tells it.
    pub(super) const EXITED: u8 = 2;
    /// The spawned command could not be executed; value: errno. `EXITED` follows.
    pub(super) const EXEC_FAILED: u8 = 3;
    /// The spawned command could not enter its working folder; value: errno. `EXITED` follows.
    pub(super) const CHDIR_FAILED: u8 = 4;
    /// No process is left inside but init.
    pub(super) const EMPTY: u8 = 5;
    /// The namespace could not be set up; value: errno, kind + the failing [`Step`].
    pub(super) const SETUP_FAILED: u8 = 0x80;

    pub(super) const SIZE: usize = 5;

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let [a, b, c, d] = self.value.to_ne_bytes();
        [self.kind, a, b, c, d]
    }

    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let &[kind, a, b, c, d] = packet else { return None };
        Some(Self { kind, value: i32::from_ne_bytes([a, b, c, d]) })
    }
}

/// The steps of setting up a namespace, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Step {
    Descriptors,
    UserMap,
    Propagation,
    Tmpfs,
}

impl Step {
    pub(super) fn describe(byte: u8) -> &'static str {
        match byte {
            0 => "cannot list the open files in /proc/self/fd",
            1 => "cannot map the user into a user namespace",
            2 => "cannot make the mounts of the namespace its own",
            3 => "cannot mount a tmpfs in the namespace",
            _ => "cannot set up the namespace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back_as_it_was_sent() {
        let packet = request(Op::Mount, 0x1_0000_0007, &[b"source", b"", b"type"]);
        let mut parsed = Request::parse(&packet).unwrap();
        assert_eq!((parsed.op, parsed.number), (Op::Mount, 0x1_0000_0007));
        assert_eq!(parsed.string().unwrap(), c"source");
        assert_eq!(parsed.string().unwrap(), c"");
        assert_eq!(parsed.string().unwrap(), c"type");
        assert!(parsed.string().is_none());
    }

    #[test]
    fn short_and_unknown_packets_are_refused() {
        assert!(Request::parse(&[]).is_none());
        assert!(Request::parse(&[Op::Mount as u8, 0, 0]).is_none());
        assert!(Request::parse(&[99, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(Reply::parse(&[1, 2, 3]).is_none());
    }

    #[test]
    fn replies_keep_their_sign() {
        let reply = Reply { kind: Reply::EXITED, value: -7 };
        assert_eq!(Reply::parse(&reply.to_bytes()), Some(reply));
    }
}
