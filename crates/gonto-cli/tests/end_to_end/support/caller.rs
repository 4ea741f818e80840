//! Who runs the program, and what the system allows them.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{example, skipped};

/// The number of `nobody`, who exists everywhere and owns nothing.
const NOBODY: u32 = 65534;

/// Every one of them must be able to do the main job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Caller {
    /// Whoever runs the tests. The kernel reads the images for root.
    Current,
    /// Root, who has chosen FUSE.
    RootByFuse,
    /// Root, who has chosen to unpack.
    RootUnpacking,
    /// An ordinary user; only root can run the program as somebody else.
    Ordinary,
    /// Root, where /dev/fuse does not work.
    RootWithoutFuse,
    /// An ordinary user who may not open /dev/fuse.
    OrdinaryWithoutFuse,
    /// An ordinary user in a change of root, where the kernel gives no user namespaces; fusermount3 works.
    OrdinaryInChroot,
    /// A user whose system allows no user namespaces and no set-user-ID programs either.
    WithoutNamespaces,
}

/// Root (or who runs the tests) and, if that is root, an ordinary user.
pub(crate) fn callers() -> Vec<Caller> {
    possible([Caller::Current, Caller::Ordinary])
}

/// The same, and root by the road that an ordinary user takes: for what depends on who reads the images.
pub(crate) fn callers_by_roads() -> Vec<Caller> {
    possible([Caller::Current, Caller::RootByFuse, Caller::Ordinary])
}

impl Caller {
    /// All who are possible here, by every road.
    pub(crate) fn all() -> Vec<Caller> {
        possible([
            Caller::Current,
            Caller::RootByFuse,
            Caller::RootUnpacking,
            Caller::Ordinary,
            Caller::OrdinaryWithoutFuse,
            Caller::OrdinaryInChroot,
            Caller::WithoutNamespaces,
        ])
    }

    /// Says why, if not.
    pub(crate) fn is_possible(self) -> bool {
        !possible([self]).is_empty()
    }

    /// The road that this caller has chosen by a configuration.
    pub(super) fn chosen(self) -> Option<&'static str> {
        match self {
            Self::RootByFuse => Some("fuse"),
            Self::RootUnpacking => Some("extract"),
            _ => None,
        }
    }

    /// The user to whom the files must be given.
    pub(super) fn other_user(self) -> Option<u32> {
        let other = match self {
            Self::Current | Self::RootByFuse | Self::RootUnpacking | Self::RootWithoutFuse => false,
            Self::Ordinary | Self::OrdinaryWithoutFuse | Self::OrdinaryInChroot => true,
            Self::WithoutNamespaces => is_root(),
        };
        other.then_some(NOBODY)
    }

    /// The user and group numbers under which scripts run.
    pub(crate) fn ids(self) -> (u32, u32) {
        let mine = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        self.other_user().map_or(mine, |user| (user, user))
    }

    pub(crate) fn is_root(self) -> bool {
        self.ids().0 == 0
    }

    /// Can be seen by the kernel only, so that nobody else's files are changed: each is undone with the process.
    pub(super) fn command(self, program: &Path) -> Command {
        let shell = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-ec", script, "sh"]).arg(program);
            command
        };
        // A file that is no device stands in for /dev/fuse; nobody but root may open it.
        let close_fuse = "closed=$(mktemp); chmod 0 $closed; mount --bind $closed /dev/fuse; rm $closed";
        let as_nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all";
        match self {
            Self::Current | Self::RootByFuse | Self::RootUnpacking => Command::new(program),
            Self::Ordinary => as_user(Command::new(program)),
            Self::RootWithoutFuse => shell(&format!("{close_fuse}; exec \"$@\"")),
            Self::OrdinaryWithoutFuse => shell(&format!("{close_fuse}; exec {as_nobody} \"$@\"")),
            Self::OrdinaryInChroot => shell(&format!(
                "here=$PWD; mount --rbind / /mnt; cd /; exec chroot /mnt {as_nobody} sh -c 'cd \"$1\"; shift; exec \"$@\"' sh \"$here\" \"$@\""
            )),
            Self::WithoutNamespaces => {
                let mut command = Command::new("unshare");
                let script = "echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --ambient-caps=-all --inh-caps=-all \"$@\"";
                command
                    .args(["--user", "--map-current-user", "--keep-caps", "sh", "-ec", script, "sh"])
                    .arg(program);
                if is_root() { as_user(command) } else { command }
            }
        }
    }

    /// Why this caller cannot be had here, if so.
    fn obstacle(self) -> Option<String> {
        match self {
            Self::Current => return None,
            Self::WithoutNamespaces => {}
            _ if !is_root() => return Some("only root can run the program as somebody else".into()),
            Self::Ordinary | Self::OrdinaryInChroot if fuse_is_closed() => {
                return Some("/dev/fuse is closed to users here, unlike on ordinary distributions".into());
            }
            _ => {}
        }
        // The program itself is the test: its folder may be closed to others.
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_gonto")));
        let output = command.arg("--version").current_dir("/").stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Whether users may not open /dev/fuse. What they get then is tested as [`Caller::OrdinaryWithoutFuse`].
fn fuse_is_closed() -> bool {
    std::fs::metadata("/dev/fuse").map_or(true, |fuse| fuse.permissions().mode() & 0o006 != 0o006)
}

fn possible<const N: usize>(callers: [Caller; N]) -> Vec<Caller> {
    assert!(example().is_dir());
    let mut possible = callers.to_vec();
    possible.retain(|caller| match caller.obstacle() {
        None => true,
        Some(why) => {
            skipped(&format!("{caller:?}: {why}"));
            false
        }
    });
    possible
}

fn as_user(mut command: Command) -> Command {
    command.uid(NOBODY).gid(NOBODY);
    command
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
