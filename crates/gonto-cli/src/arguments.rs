//! The command line.

mod create;
mod image;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use gonto::Backend;

pub(crate) use create::CreateArguments;
pub(crate) use image::{ImageCommand, ImageFile};

/// The dependency manager for toolchains too big to install.
///
/// A target of the configuration names the disk images that it needs. gonto downloads them once, mounts them, runs the
/// target's scripts and unmounts them. The configuration is gonto.yaml (or gonto.yml, .gonto.yaml, .gonto.yml) in the
/// folder of the program, the home folder and the current folder, merged in this order.
#[derive(Parser, Debug)]
#[command(name = "gonto", version, disable_version_flag = true, max_term_width = 100)]
#[command(
    after_help = "Environment: GONTO_DEBUG=1 shows what gonto does; GONTO_STATE_DIR moves the folder where mounts \
                        are recorded; NO_COLOR switches colours off."
)]
pub(crate) struct Arguments {
    /// Work in this folder, as if gonto had been started there
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,

    /// Read this configuration file and no other
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print name and version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: (),

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    #[command(flatten)]
    Target(TargetCommand),
    Create(CreateArguments),
    /// Tell how images can be mounted here, and what would make other ways work
    Doctor,
    /// Look into a disk image without mounting it
    #[command(subcommand)]
    Image(ImageCommand),
}

/// What can be done with the targets of the configuration.
#[derive(Subcommand, Debug)]
pub(crate) enum TargetCommand {
    /// Print the names of the targets
    List,
    /// Run the scripts of a target with its images mounted
    Run {
        /// The target
        target: String,
        #[command(flatten)]
        how: How,
    },
    /// Download the missing images of a target
    Pull {
        /// The target
        target: String,
    },
    /// Download and mount the images of a target until `umount`
    Mount {
        /// The target
        target: String,
        #[command(flatten)]
        how: How,
    },
    /// Unmount what `mount` has mounted for a target
    Umount {
        /// The target
        target: String,
    },
}

/// How images are mounted.
#[derive(Args, Debug)]
pub(crate) struct How {
    /// Mount the images this way or not at all; auto takes the fastest that works. Overrides the configuration
    #[arg(long, value_name = "BACKEND", value_parser = backend())]
    pub(crate) backend: Option<Backend>,
}

fn backend() -> impl TypedValueParser<Value = Backend> {
    PossibleValuesParser::new(Backend::ALL.map(Backend::as_str)).try_map(|name| name.parse::<Backend>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
