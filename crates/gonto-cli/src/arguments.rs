//! The command line.

mod create;
mod image;

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use gonto::{Backend, Layer};

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

/// How images are mounted. It goes before what the configuration says.
#[derive(Args, Debug)]
pub(crate) struct How {
    /// Mount the images this way or not at all; auto takes the fastest that works. Overrides the configuration
    #[arg(long, value_name = "BACKEND", value_parser = backend())]
    pub(crate) backend: Option<Backend>,

    #[command(flatten)]
    pub(crate) layer: LayerArguments,
}

fn backend() -> impl TypedValueParser<Value = Backend> {
    PossibleValuesParser::new(Backend::ALL.map(Backend::as_str)).try_map(|name| name.parse::<Backend>())
}

/// They go before `gonto.layer` and `gonto.layer_limit` of the configuration.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LayerArguments {
    /// Keep what is written to images on the file system of the cache or in memory, or let nothing be written
    #[arg(long, value_name = "PLACE")]
    layer: Option<Place>,

    /// Let no more than this be written to an image, such as 512MiB or 8G; it is kept in memory
    #[arg(long, value_name = "SIZE", value_parser = size)]
    layer_limit: Option<NonZeroU64>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Cache,
    Memory,
    None,
}

impl LayerArguments {
    /// What is left of the configuration's layer.
    pub(crate) fn over(self, configured: Layer) -> Result<Layer, clap::Error> {
        match (self.layer, self.layer_limit) {
            (Some(Place::Cache), Some(_)) => Err(Arguments::command().error(
                ErrorKind::ArgumentConflict,
                "--layer-limit needs --layer memory: the file system of the cache keeps no limit",
            )),
            (Some(Place::None), Some(_)) => Err(Arguments::command().error(
                ErrorKind::ArgumentConflict,
                "--layer-limit needs --layer memory: with --layer none, nothing is written that could be limited",
            )),
            (_, limit @ Some(_)) => Ok(Layer::Memory { limit }),
            (Some(Place::Cache), None) => Ok(Layer::Cache),
            (Some(Place::Memory), None) => Ok(Layer::Memory { limit: configured.limit() }),
            (Some(Place::None), None) => Ok(Layer::None),
            (None, None) => Ok(configured),
        }
    }
}

fn size(text: &str) -> Result<NonZeroU64, &'static str> {
    gonto::config::parse_size(text).ok_or("write a size such as 512MiB or 8G")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_layer_of_the_command_line_goes_first() {
        let limited = |bytes| Layer::Memory { limit: NonZeroU64::new(bytes) };
        let over = |layer, limit, configured| {
            LayerArguments { layer, layer_limit: NonZeroU64::new(limit) }.over(configured).ok()
        };
        assert_eq!(over(None, 0, limited(5)), Some(limited(5)));
        assert_eq!(over(Some(Place::Memory), 0, limited(5)), Some(limited(5)));
        assert_eq!(over(Some(Place::Memory), 0, Layer::Cache), Some(limited(0)));
        assert_eq!(over(Some(Place::Cache), 0, limited(5)), Some(Layer::Cache));
        assert_eq!(over(None, 7, limited(5)), Some(limited(7)));
        assert_eq!(over(None, 7, Layer::Cache), Some(limited(7)));
        assert_eq!(over(Some(Place::Memory), 7, limited(5)), Some(limited(7)));
        assert_eq!(over(Some(Place::Cache), 7, limited(5)), None);
        assert_eq!(over(Some(Place::None), 0, limited(5)), Some(Layer::None));
        assert_eq!(over(Some(Place::None), 7, Layer::Cache), None);
        assert_eq!(over(None, 0, Layer::None), Some(Layer::None));
        assert_eq!(over(None, 7, Layer::None), Some(limited(7)));
        assert_eq!(over(Some(Place::Memory), 0, Layer::None), Some(limited(0)));
    }
}
