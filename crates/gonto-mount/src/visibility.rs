//! Who sees what a run has mounted.

/// Who sees the images of a [`Session`](crate::Session), besides the commands that it runs. Whoever that is: the images go with the session,
/// and what is left of one that was killed goes with the next gonto.
///
/// | | commands | everybody else |
/// | --- | --- | --- |
/// | [`Scripts`](Self::Scripts), Linux | see mounts of their own | sees nothing |
/// | [`Everybody`](Self::Everybody), Linux, root | see the same mount as everybody | sees a mount, and writes to its layer |
/// | [`Everybody`](Self::Everybody), Linux, an ordinary user | see mounts of their own | sees the image as it is, read-only |
/// | both, Windows | see the drive | sees the drive |
///
/// Everybody's mount of an image is one mount: runs that show the same image at the same place share it, and so do those that
/// [`Mounts`](crate::Mounts) has. Another image at that place is an error as long as one of them lives. Only root can mount with a layer
/// for everybody (an ordinary user needs fuse-overlayfs for that, which few have), and commands shall be able to write whoever runs
/// them; so an ordinary user gets both, mounts for the commands as ever and the bare image for everybody. The latter takes fusermount3.
/// Where it does not work, everybody and the commands see the same unpacked files, which can be written where the file system shares blocks.
/// Where the system forbids namespaces there are only mounts for everybody, as with `Scripts`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Visibility {
    /// The commands of the run, where the system can hide them from others.
    #[default]
    Scripts,
    /// All processes that can see anything of this user: as root all, else those of the user.
    Everybody,
}

#[cfg(windows)]
impl crate::Session {
    /// Like [`new`](Self::new): Windows hides no drive from the processes of a user.
    ///
    /// # Errors
    /// As there.
    pub fn with_visibility(options: crate::Options, _: Visibility) -> Result<Self, crate::Error> {
        Self::new(options)
    }
}
