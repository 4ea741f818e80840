//! The processes of a run.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::os::windows::process::ExitStatusExt;
use std::path::{Component, Path, PathBuf, Prefix};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use windows_sys::Win32::Globalization::{
    COMPARESTRING_RESULT, CSTR_EQUAL, CSTR_GREATER_THAN, CSTR_LESS_THAN, CompareStringOrdinal,
};
use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;
use windows_sys::Win32::System::Threading::GetExitCodeProcess;

use super::console::CodePages;
use super::event::wait;
use super::job::Job;
use super::spawn::Start;
use crate::command::NoFolder;
use crate::wide::{command_line, environment_block};
use crate::{Command, Interrupt};

/// How long a script may take to end after the first interrupt. Build tools remove half-written files then.
const GRACE: Duration = Duration::from_secs(10);

/// How long those may take that an interrupted command has left behind.
const LINGER: Duration = Duration::from_secs(2);

/// How long ended processes may take to be gone. The system waits for their input and output.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// How long the end of the last process may go unnoticed: a job tells of it to those that ask.
const TICK: Duration = Duration::from_millis(20);

/// STATUS_CONTROL_C_EXIT: how Windows itself ends a program for Ctrl-C.
const CONTROL_C_EXIT: u32 = 0xC000_013A;

/// Every process that a run starts, with all that those start. They end with this, or with gonto, however that ends.
#[derive(Debug)]
pub(super) struct Processes {
    job: Job,
    interrupt: Interrupt,
    /// Restored when the processes have ended.
    _code_pages: CodePages,
}

impl Processes {
    /// None yet.
    ///
    /// # Errors
    /// When the job cannot be made.
    pub(super) fn new(interrupt: Interrupt) -> io::Result<Self> {
        Ok(Self { job: Job::new()?, interrupt, _code_pages: CodePages::save() })
    }

    /// Executes a command and waits for its end; what it leaves running goes on. An interrupt ends it: what was typed is known to
    /// it, and gives it time; what it has left behind is then waited for as well, for a while.
    ///
    /// # Errors
    /// When it cannot be executed at all.
    pub(super) fn run(&self, command: &Command) -> io::Result<ExitStatus> {
        let wide = |text: &OsString| text.encode_wide().collect::<Vec<u16>>();
        let program = command.arguments().first().ok_or(io::ErrorKind::InvalidInput)?;
        // Only there: a cmd.exe in the current folder is not the shell.
        let program = system_folder()?.join(program);
        let line = command_line(command.arguments().iter().map(wide))?;
        let variables = command.environment().iter().map(|(name, value)| (wide(name), wide(value)));
        let environment = environment_block(variables, compare_names)?;
        let directory = current_folder(command.directory())?;
        let process = Start {
            program: &program,
            line,
            environment: &environment,
            directory: &directory,
            job: self.job.as_handle(),
        }
        .spawn()?;
        self.wait(&process)
    }

    /// Ends every process, and waits until the last one is gone.
    ///
    /// # Errors
    /// What the system says; TimedOut when one does not go.
    pub(super) fn end_all(&self) -> io::Result<()> {
        self.job.end_all(CONTROL_C_EXIT)?;
        let deadline = Instant::now() + LAST_BREATH;
        while !self.job.is_empty()? {
            // Again: one that was just being started may have been missed.
            self.job.end_all(CONTROL_C_EXIT)?;
            if Instant::now() >= deadline {
                let what = "a process was ended and is not gone; it may wait for a device";
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn wait(&self, process: &OwnedHandle) -> io::Result<ExitStatus> {
        let mut stopping = Stopping::new(&self.interrupt);
        loop {
            if stopping.is_due() {
                self.end_all()?;
            }
            let mut watched = vec![process.as_handle()];
            watched.extend(stopping.news());
            if wait(&watched, stopping.deadline)? == Some(0) {
                break;
            }
        }
        let status = exit_status(process)?;
        if stopping.is_cause_of(status) {
            self.linger(&mut stopping)?;
        }
        Ok(status)
    }

    /// Waits for what an interrupted command has left behind.
    fn linger(&self, stopping: &mut Stopping<'_>) -> io::Result<()> {
        let deadline = Instant::now() + LINGER;
        while !self.job.is_empty()? && Instant::now() < deadline {
            if stopping.is_due() {
                return self.end_all();
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if let Err(error) = self.end_all() {
            tracing::debug!(%error, "ending the processes of the run");
        }
    }
}

/// When a command that should end is ended. Windows has nothing to ask it with: either it knows because Ctrl-C was typed at
/// the console that it shares, or it is ended at once.
struct Stopping<'a> {
    interrupt: &'a Interrupt,
    /// The interrupt was raised when the command had just been started, which has missed what was typed before.
    early: bool,
    /// Raises that were acted upon.
    seen: u32,
    deadline: Option<Instant>,
}

impl<'a> Stopping<'a> {
    fn new(interrupt: &'a Interrupt) -> Self {
        Self { interrupt, early: interrupt.times() > 0, seen: 0, deadline: None }
    }

    /// Whether the command has to be ended now.
    fn is_due(&mut self) -> bool {
        let raised = self.interrupt.times();
        let new = raised > self.seen;
        self.seen = raised;
        if new && raised == 1 && self.interrupt.was_typed() && !self.early {
            self.deadline = Some(Instant::now() + GRACE);
            return false;
        }
        let over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if new || over {
            self.deadline = None;
        }
        new || over
    }

    /// What is signalled once there is a raise that matters and was not acted upon.
    fn news(&self) -> Option<BorrowedHandle<'a>> {
        self.interrupt.waker().after(self.seen)
    }

    /// Whether the command has ended because it should. What was typed may end it before it raises the interrupt.
    fn is_cause_of(&self, status: ExitStatus) -> bool {
        self.interrupt.times() > 0 || status.code() == Some(CONTROL_C_EXIT.cast_signed())
    }
}

/// How a process that is over has ended.
fn exit_status(process: &OwnedHandle) -> io::Result<ExitStatus> {
    let mut code = 0;
    // SAFETY: the handle is open, and the number is written to a variable of ours.
    match unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(ExitStatus::from_raw(code)),
    }
}

/// The folder of cmd.exe, as the system knows it: `SystemRoot` may say anything.
fn system_folder() -> io::Result<PathBuf> {
    // Longer than any path of Windows itself.
    let mut path = [0u16; 1024];
    let size = u32::try_from(path.len()).map_err(io::Error::other)?;
    // SAFETY: at most `size` characters are written, to a variable of ours that has as many.
    let length = unsafe { GetSystemDirectoryW(path.as_mut_ptr(), size) };
    match usize::try_from(length).ok().filter(|length| *length > 0).and_then(|length| path.get(..length)) {
        Some(path) => Ok(OsString::from_wide(path).into()),
        None => Err(io::Error::last_os_error()),
    }
}

/// Names of variables as Windows compares and sorts them: by its own table of upper-case letters, whatever the language.
fn compare_names(one: &[u16], other: &[u16]) -> Ordering {
    let length = |name: &[u16]| i32::try_from(name.len()).unwrap_or(i32::MAX);
    // SAFETY: reads as many characters as there are (a name is shorter than i32::MAX).
    let result: COMPARESTRING_RESULT =
        unsafe { CompareStringOrdinal(one.as_ptr(), length(one), other.as_ptr(), length(other), 1) };
    match result {
        CSTR_LESS_THAN => Ordering::Less,
        CSTR_EQUAL => Ordering::Equal,
        CSTR_GREATER_THAN => Ordering::Greater,
        // It cannot fail for memory that can be read.
        _ => one.cmp(other),
    }
}

/// cmd cannot be in this folder.
#[derive(Debug, thiserror::Error)]
#[error(
    "cmd cannot run in the folder {}, which has no drive letter, and would run in Windows' own folder instead: give it a \
     letter (net use, subst), and start gonto there",
    folder.display()
)]
struct NoDriveLetter {
    folder: PathBuf,
}

/// A folder in the form that cmd can run in.
fn current_folder(folder: &Path) -> io::Result<PathBuf> {
    let failed =
        |source: io::Error| io::Error::new(source.kind(), NoFolder { folder: folder.to_owned(), source });
    let path = std::path::absolute(dunce::simplified(folder)).map_err(failed)?;
    let Some(Component::Prefix(prefix)) = path.components().next() else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    if !matches!(prefix.kind(), Prefix::Disk(_)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, NoDriveLetter { folder: folder.to_owned() }));
    }
    // CreateProcessW says the same of a folder that is missing as of a file, or a program.
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Ok(path),
        Ok(_) => Err(failed(io::ErrorKind::NotADirectory.into())),
        Err(source) => Err(failed(source)),
    }
}
