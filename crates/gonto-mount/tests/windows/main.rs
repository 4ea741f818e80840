//! Sessions on Windows: lines that cmd gets as they are, processes that end with the run, and the console.
//!
//! What runs besides cmd is this program itself, in one of its [roles](role).
#![cfg(windows)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here is a failing test")]

mod console;
mod processes;
mod pseudo_console;
mod support;

use std::path::Path;
use std::{env, fs, process, thread};

use gonto_mount::{Command, Interrupt};

use support::{environment, exclusively, session};

/// The variable that makes this program play something else than a test, and what it is about.
const ROLE: &str = "GONTO_TEST_ROLE";
const ABOUT: &str = "GONTO_TEST_ABOUT";

/// Not a test: what the other tests start.
#[test]
fn role() {
    let Ok(role) = env::var(ROLE) else { return };
    let about = env::var(ABOUT).unwrap_or_default();
    match role.as_str() {
        "exit" => process::exit(about.parse::<u32>().unwrap().cast_signed()),
        // Each argument behind `--` on a line.
        "arguments" => {
            let arguments: String =
                env::args().skip_while(|word| word != "--").skip(1).map(|word| word + "\n").collect();
            fs::write(about, arguments).unwrap();
        }
        "environment" => {
            let variables = env::vars_os().map(|(name, value)| {
                format!("{}={}\n", name.into_string().unwrap(), value.into_string().unwrap())
            });
            fs::write(about, variables.collect::<String>()).unwrap();
        }
        // Holds a file that nobody else can open meanwhile, for ever.
        "hold" => {
            let _held = exclusively(Path::new(&about)).unwrap();
            fs::write(format!("{about}.held"), "").unwrap();
            loop {
                thread::park();
            }
        }
        // A gonto that runs one line.
        "session" => {
            let folder = env::current_dir().unwrap();
            let session = session(&folder, &Interrupt::new().unwrap());
            let command = Command::shell(&about, environment("", ""), &folder);
            let status = session.run(&command).unwrap();
            drop(session);
            process::exit(status.code().unwrap());
        }
        "console" => fs::write("said", console::at_the_console(&about)).unwrap(),
        role => panic!("there is no role {role}"),
    }
    process::exit(0);
}
