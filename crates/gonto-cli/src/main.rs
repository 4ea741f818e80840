//! The program `gonto`: arguments in; output and an exit status out. What it does is decided in the library.
//!
//! stdout carries results only, everything else goes to stderr. Exit status: that of the failing script command for
//! `run`; 128 + N after signal N; 2 for wrong usage; 1 for every other failure.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod create;
mod doctor;
mod image;
mod output;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    output::start_log();
    match commands::execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit_code())
        }
    }
}
