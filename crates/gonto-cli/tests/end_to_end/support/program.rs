//! The program, started and watched.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::Project;

/// Much longer than anything takes on a slow machine: only a test that hangs gets here.
const PATIENCE: Duration = Duration::from_secs(120);

/// A call of the program, in the folder of the project and with an environment that is known.
pub(crate) struct Gonto<'a> {
    project: &'a Project,
    command: Command,
    stdin: Option<&'a str>,
}

/// What signals of the terminal and of a shutdown do to the program when it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signals {
    /// They end it, even if whoever runs the tests ignores them (nohup, the background of a script).
    Default,
    /// Ctrl-C and the loss of the terminal are ignored.
    #[cfg(target_os = "linux")]
    IgnoreTerminal,
}

/// How a call ended. The project's folder is called ROOT in its output, and lines end as on Linux.
pub(crate) struct Output {
    /// The exit status; 128 + N after signal N, as shells say it.
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program while it runs.
pub(crate) struct Running {
    root: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Line>,
    stdout: String,
    stderr: String,
}

/// A line of output, with its newline if it has one.
enum Line {
    Out(String),
    Err(String),
}

impl<'a> Gonto<'a> {
    /// The program begins with these signals; other systems know none.
    pub(super) fn new(project: &'a Project, signals: Signals, arguments: &[&str]) -> Self {
        Self::of(&project.program, project, signals, arguments)
    }

    /// The same with a program that lies elsewhere.
    pub(super) fn of(program: &Path, project: &'a Project, signals: Signals, arguments: &[&str]) -> Self {
        let mut command = start_of_command(program, project, signals);
        command.args(arguments).current_dir(project.path("project"));
        clean(&mut command);
        let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        command.env(home, project.path("home")).env("GONTO_STATE_DIR", project.path("state"));
        Self { project, command, stdin: None }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Without this, there is nothing to be read from stdin.
    #[cfg(any(target_os = "linux", windows))]
    pub(crate) fn stdin(mut self, text: &'a str) -> Self {
        self.stdin = Some(text);
        self
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Has it run at a terminal: what is written to its stdin is typed, and all that it prints comes on stdout.
    #[cfg(target_os = "linux")]
    pub(crate) fn at_a_terminal(mut self) -> Self {
        let mut line = vec![self.command.get_program().to_string_lossy().into_owned()];
        line.extend(self.command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"])
            .stdout(Stdio::piped());
        command.current_dir(self.project.path("project")).env_clear();
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.command = command;
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Output {
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let text = self.stdin.unwrap_or_default();
        let mut running = self.spawn();
        if let Some(mut stdin) = running.stdin.take() {
            stdin.write_all(text.as_bytes()).unwrap();
        }
        running.end()
    }

    /// Starts it; its stdin is a pipe.
    #[cfg(any(target_os = "linux", windows))]
    pub(crate) fn start(mut self) -> Running {
        self.command.stdin(Stdio::piped());
        self.spawn()
    }

    /// Starts it in a process group of its own, as a shell does for a terminal.
    #[cfg(target_os = "linux")]
    pub(crate) fn start_in_group(mut self) -> Running {
        std::os::unix::process::CommandExt::process_group(&mut self.command, 0);
        self.start()
    }

    fn spawn(mut self) -> Running {
        self.command.stderr(Stdio::piped());
        // Given to `stdout`, it is not ours to read.
        let mut child = self.command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            let sender = sender.clone();
            thread::spawn(move || forward(stdout, |line| sender.send(Line::Out(line)).is_ok()));
        }
        let stderr = child.stderr.take().unwrap();
        thread::spawn(move || forward(stderr, |line| sender.send(Line::Err(line)).is_ok()));
        Running {
            root: self.project.root.clone(),
            stdin: child.stdin.take(),
            child,
            lines,
            stdout: String::new(),
            stderr: String::new(),
        }
    }
}

impl Output {
    /// Asserts the exit status, and shows all that was said if it is another one.
    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts all of stdout.
    #[track_caller]
    pub(crate) fn prints(self, stdout: &str) -> Self {
        assert_eq!(self.stdout, stdout, "stderr:\n{}", self.stderr);
        self
    }

    /// Asserts all of stderr.
    #[track_caller]
    pub(crate) fn says(self, stderr: &str) -> Self {
        assert_eq!(self.stderr, stderr);
        self
    }

    /// Asserts a part of stderr.
    #[track_caller]
    pub(crate) fn mentions(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "{part:?} is missing in:\n{}", self.stderr);
        self
    }
}

impl Running {
    /// Waits for the end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Output {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.take(line);
        }
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.give_up("its end");
            }
            thread::sleep(Duration::from_millis(1));
        };
        let root = self.root.to_string_lossy().into_owned();
        let told = |text: &str| text.replace("\r\n", "\n").replace(&root, "ROOT");
        Output { status: code(status), stdout: told(&self.stdout), stderr: told(&self.stderr) }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Out(line) => self.stdout.push_str(&line),
            Line::Err(line) => self.stderr.push_str(&line),
        }
    }

    fn give_up(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        panic!("waited in vain for {what}; stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
    }
}

#[cfg(any(target_os = "linux", windows))]
impl Running {
    /// Waits until one of the scripts prints this line.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, line: &str) {
        self.wait_until(line, |found| matches!(found, Line::Out(found) if found.trim_end() == line));
    }

    /// Waits until stderr has a line with this text.
    #[track_caller]
    pub(crate) fn wait_for_message(&mut self, text: &str) {
        self.wait_until(text, |found| matches!(found, Line::Err(found) if found.contains(text)));
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, found: impl Fn(&Line) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                self.give_up(what);
            };
            let there = found(&line);
            self.take(line);
            if there {
                return;
            }
        }
    }

    /// Writes a line to the stdin of the script.
    pub(crate) fn tell(&mut self, line: &str) {
        self.type_keys(&format!("{line}\n"));
    }

    pub(crate) fn type_keys(&mut self, keys: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).and_then(|()| stdin.flush()).unwrap();
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it at once, whatever it is doing, and closes its stdin, on which commands may be waiting.
    #[cfg(windows)]
    pub(crate) fn kill(mut self) -> Output {
        self.child.kill().unwrap();
        self.stdin = None;
        self.end()
    }
}

#[cfg(target_os = "linux")]
impl Running {
    /// Stops it where it is: until it is continued, none of its threads runs. False when it had ended before.
    pub(crate) fn stop(&mut self) -> bool {
        if self.has_ended() {
            return false;
        }
        self.signal(rustix::process::Signal::STOP);
        let threads = format!("/proc/{}/task", self.child.id());
        // A line of /proc: number, name in brackets, state.
        let is_stopped = |thread: std::fs::DirEntry| {
            let told = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            told.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        while !self.has_ended() {
            if std::fs::read_dir(&threads).is_ok_and(|threads| threads.flatten().all(is_stopped)) {
                return true;
            }
            thread::yield_now();
        }
        false
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// What Ctrl-C does in a terminal.
    pub(crate) fn signal_group(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process_group(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(target_os = "linux")]
fn start_of_command(program: &Path, project: &Project, signals: Signals) -> Command {
    let mut command = project.caller.command("env".as_ref());
    command.arg(match signals {
        Signals::Default => "--default-signal=HUP,INT,TERM",
        Signals::IgnoreTerminal => "--ignore-signal=HUP,INT",
    });
    command.arg(program).stdout(Stdio::piped());
    command
}

#[cfg(not(target_os = "linux"))]
fn start_of_command(program: &Path, _project: &Project, _signals: Signals) -> Command {
    let mut command = Command::new(program);
    command.stdout(Stdio::piped());
    command
}

/// Nothing that the person who runs the tests has set reaches the program.
fn clean(command: &mut Command) {
    if cfg!(unix) {
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    } else {
        for name in ["GONTO_DEBUG", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
    }
}

fn forward(stream: impl std::io::Read, send: impl Fn(String) -> bool) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        if !send(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
        line.clear();
    }
}

#[cfg(unix)]
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap()
}

#[cfg(not(unix))]
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap()
}
