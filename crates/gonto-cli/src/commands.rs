//! From arguments to the library and back.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gonto::config::{Config, ConfigError, Diagnostic, Loaded, Search};
use gonto::target::{Surroundings, Target};
use gonto::{Interrupt, Notices, run};

use crate::arguments::{Arguments, Command, How, TargetCommand};
use crate::create;
use crate::doctor;
use crate::image;
use crate::output::{self, Progress};
use crate::signals;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Configuration(ConfigError),
    Library(Box<gonto::Error>),
    /// The folder of `-C`.
    Directory(PathBuf, io::Error),
    Image(gonto::image::Error),
    Create(gonto::create::Error),
    /// Arguments that contradict each other.
    Usage(clap::Error),
    /// Results cannot be written.
    Output(io::Error),
    /// Everything has been told already.
    Told,
}

impl Failure {
    pub(crate) fn print(&self) {
        match self {
            Self::Configuration(error) => output::rendered(&error.render(output::color())),
            Self::Library(error) => output::error(error),
            Self::Directory(folder, source) => {
                output::failure(&format!("cannot change to the folder {}", folder.display()), source);
            }
            Self::Image(error) => output::image_error(error),
            Self::Create(error) => output::image_error(error),
            // Nobody is left to tell when stderr does not work.
            Self::Usage(error) => drop(error.print()),
            Self::Told => {}
            Self::Output(source) => output::failure("cannot write the results", source),
        }
    }

    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Library(error) => error.exit_code(),
            Self::Image(error) => error.exit_code(),
            Self::Create(error) => error.exit_code(),
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}

impl From<gonto::Error> for Failure {
    fn from(error: gonto::Error) -> Self {
        Self::Library(Box::new(error))
    }
}

impl From<gonto::image::Error> for Failure {
    fn from(error: gonto::image::Error) -> Self {
        Self::Image(error)
    }
}

impl From<gonto::create::Error> for Failure {
    fn from(error: gonto::create::Error) -> Self {
        Self::Create(error)
    }
}

pub(crate) fn execute(arguments: Arguments) -> Result<(), Failure> {
    if let Some(folder) = arguments.directory {
        env::set_current_dir(&folder).map_err(|source| Failure::Directory(folder, source))?;
    }
    let command = match arguments.command {
        Command::Image(command) => return image::execute(command),
        Command::Create(arguments) => return create::execute(&arguments),
        Command::Doctor => return doctor::execute(arguments.config),
        Command::Target(command) => command,
    };
    let mut loaded = load(arguments.config)?;
    match command {
        TargetCommand::List => list(&loaded.config),
        TargetCommand::Run { target, how } => {
            take(how, &mut loaded.config)?;
            let mut target = choose(&target, &loaded)?;
            Ok(run::run(&mut target, &mut Progress::new().receiver())?)
        }
        TargetCommand::Pull { target } => {
            Ok(run::pull(&choose(&target, &loaded)?, &mut Progress::new().receiver())?)
        }
        TargetCommand::Mount { target, how } => {
            take(how, &mut loaded.config)?;
            let mut target = choose(&target, &loaded)?;
            Ok(run::mount(&mut target, &mut Progress::new().receiver())?)
        }
        TargetCommand::Umount { target } => umount(&mut choose(&target, &loaded)?),
    }
}

/// What the command line says goes before the configuration.
fn take(how: How, config: &mut Config) -> Result<(), Failure> {
    if let Some(backend) = how.backend {
        config.gonto.backend = backend;
    }
    config.gonto.layer = how.layer.over(config.gonto.layer).map_err(Failure::Usage)?;
    Ok(())
}

fn load(file: Option<PathBuf>) -> Result<Loaded, Failure> {
    let loaded = Config::load(&search(file)?).map_err(Failure::Configuration)?;
    // The repository stays out of the log: it may hold a password.
    let cache_dir = loaded.config.gonto.cache_dir.display();
    tracing::debug!(files = ?loaded.files, %cache_dir, "the configuration is read");
    warn(&loaded.warnings);
    Ok(loaded)
}

/// Where the configuration is looked for; `file` is the only one if it is given.
pub(crate) fn search(file: Option<PathBuf>) -> Result<Search, Failure> {
    let directory = env::current_dir().map_err(|source| Failure::Directory(".".into(), source))?;
    let mut search = Search::new(directory);
    if let Some(file) = file {
        search = search.only(file);
    }
    tracing::debug!(?search, "looking for the configuration");
    Ok(search)
}

/// Tells what is odd in a configuration.
pub(crate) fn warn(warnings: &[Diagnostic]) {
    for warning in warnings {
        output::rendered(&warning.render(output::color()));
    }
}

/// Prints the names, one a line. A reader that has seen enough and closed the pipe is no failure.
fn list(config: &Config) -> Result<(), Failure> {
    let names: String = config.targets.keys().map(|name| format!("{name}\n")).collect();
    match io::stdout().lock().write_all(names.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

fn choose(name: &str, loaded: &Loaded) -> Result<Target, Failure> {
    let mut surroundings = Surroundings::current()?;
    if let Some(project) = loaded.files.last().and_then(|file| file.parent()).map(Path::to_owned) {
        // The same project by another way, such as a link, has to be the same.
        surroundings.project =
            dunce::canonicalize(&project).or_else(|_| std::path::absolute(&project)).unwrap_or(project);
    }
    surroundings.notices = Notices::new(|notice| output::warning(&notice.to_string()));
    surroundings.interrupt = interrupt(surroundings.interrupt);
    Ok(Target::with_surroundings(name, &loaded.config, surroundings)?)
}

/// Signals raise it from now on.
pub(crate) fn interrupt(interrupt: Interrupt) -> Interrupt {
    if let Err(error) = signals::forward(interrupt.clone()) {
        output::warning(&format!("Ctrl-C will end gonto at once: {error}"));
    }
    interrupt
}

fn umount(target: &mut Target) -> Result<(), Failure> {
    let folders = run::umount(target, &mut Progress::new().receiver())?;
    for folder in &folders {
        output::step("unmounted", &folder.display().to_string());
    }
    if folders.is_empty() {
        output::step("unmount", &format!("nothing is mounted for {}", target.name()));
    }
    Ok(())
}
