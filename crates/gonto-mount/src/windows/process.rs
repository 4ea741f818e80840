//! The processes of a run.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use crate::{Command, Interrupt};

/// How long the end of a command may go unnoticed.
const TICK: Duration = Duration::from_millis(20);

/// Every process that a run starts, with all that those start.
#[derive(Debug)]
pub(super) struct Processes {
    interrupt: Interrupt,
}

impl Processes {
    /// None yet.
    ///
    /// # Errors
    /// None yet.
    #[expect(clippy::unnecessary_wraps, reason = "a job will be made here")]
    pub(super) fn new(interrupt: Interrupt) -> io::Result<Self> {
        Ok(Self { interrupt })
    }

    /// Executes a command and waits for its end. Raising the interrupt ends it.
    ///
    /// # Errors
    /// When it cannot be executed at all.
    pub(super) fn run(&self, command: &Command) -> io::Result<ExitStatus> {
        let [program, arguments @ ..] = command.arguments() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let child = std::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(command.environment().iter().map(|(name, value)| (name, value)))
            .current_dir(command.directory())
            .spawn()?;
        self.wait(child)
    }

    fn wait(&self, mut child: Child) -> io::Result<ExitStatus> {
        // The child has missed what was typed before.
        let early = self.interrupt.times() > 0;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            // What was typed has reached the command as well, which may be cleaning up.
            let patience = u32::from(self.interrupt.was_typed() && !early);
            let raised = self.interrupt.times();
            if raised > patience {
                child.kill()?;
                return child.wait();
            }
            self.interrupt.waker().wait(raised, TICK);
        }
    }
}
