//! The program `gonto`: arguments in; output and an exit status out. What it does is decided in the library.
//!
//! stdout carries results only, everything else goes to stderr. Exit status: that of the failing script command for
//! `run`; 128 + N after signal N (on Windows 0xC000013A); 2 for wrong usage; 1 for every other failure.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod create;
mod doctor;
mod image;
mod output;
mod signals;

use std::process;

use clap::Parser;

use arguments::Arguments;

fn main() {
    let arguments = Arguments::parse();
    output::start_log();
    if let Err(failure) = commands::execute(arguments) {
        failure.print();
        // An ExitCode has room for a byte only, and Windows for four.
        process::exit(failure.exit_code());
    }
}
