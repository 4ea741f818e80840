//! The arguments of `gonto image`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// No configuration is read for these.
#[derive(Subcommand, Debug)]
pub(crate) enum ImageCommand {
    /// Tell what an image is: its container and parents, its partitions, its volume
    ///
    /// Where there is no volume that can be read, the rest is told, and the exit status is 1.
    Info {
        #[command(flatten)]
        image: ImageFile,

        /// Print a JSON object; the README tells its fields
        #[arg(long)]
        json: bool,
    },
    /// List the names in a folder of the volume
    ///
    /// One name a line, sorted by their bytes, folders with a slash behind them. On a terminal, control characters are
    /// written as \xNN; into a pipe or file, names go as they are.
    Ls {
        #[command(flatten)]
        image: ImageFile,

        /// A folder or file in the volume, with / or \; the root folder if left out
        #[arg(default_value = "", hide_default_value = true)]
        path: OsString,

        /// Mode, links, size, time of modification (UTC) and the targets of links as well
        #[arg(short, long)]
        long: bool,

        /// All below, one whole path a line
        #[arg(short = 'R', long)]
        recursive: bool,

        /// Named streams too, as name:stream
        #[arg(long)]
        streams: bool,

        /// Print a JSON array with everything that is known of each name
        #[arg(long, conflicts_with = "long")]
        json: bool,
    },
    /// Print the content of a file
    Cat {
        #[command(flatten)]
        image: ImageFile,

        /// A file in the volume, with / or \; name:stream for a named stream. Upper and lower case are the same unless both
        /// are there
        path: OsString,
    },
    /// Write files to a folder
    ///
    /// Files have the paths that they have in the volume, and keep times, modes, links, hard links and holes. Named streams,
    /// owners and attributes of Windows are not kept. Nothing is written outside of the folder, and nothing appears in it
    /// before all of it is there. What cannot be read or have its name on this system is told and left out, and the exit
    /// status is 1.
    Extract {
        #[command(flatten)]
        image: ImageFile,

        /// The folder; it is made if it is missing
        #[arg(value_name = "DEST")]
        destination: PathBuf,

        /// Folders and files in the volume; all of it if left out
        #[arg(value_name = "PATH")]
        paths: Vec<OsString>,

        /// Replace files that are there already
        #[arg(long)]
        force: bool,

        /// Print a JSON object with the numbers of files, folders and bytes
        #[arg(long)]
        json: bool,
    },
    /// Print path, size, SHA-256 and time of every file
    ///
    /// A line holds path, size in bytes, SHA-256 and time of modification in nanoseconds since 1970, separated by tabs.
    /// In paths, a backslash is written as \\, a tab as \t, a line feed as \n. Lines are sorted by the bytes of the paths.
    /// What cannot be read has no line; it is told on stderr, and the exit status is 1.
    Manifest {
        #[command(flatten)]
        image: ImageFile,

        /// A folder or file in the volume; all of it if left out
        #[arg(default_value = "", hide_default_value = true)]
        path: OsString,

        /// Named streams in place of files: path:stream, size, SHA-256
        #[arg(long)]
        streams: bool,

        /// Links and other reparse points in place of files: path; tag and target as Windows has it, or None
        #[arg(long, conflicts_with = "streams")]
        links: bool,
    },
    /// Verify the structure: every record, index, run and bitmap of the volume, and the copies of headers
    ///
    /// Prints a line for each finding, and a last one with their numbers. The exit status is 0 when there is no error. The
    /// content of files is not read; `manifest` does that.
    Verify {
        #[command(flatten)]
        image: ImageFile,

        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Which image, and how it is opened.
#[derive(Args, Debug)]
pub(crate) struct ImageFile {
    /// A VHD, a VHDX or the bytes of a disk; recognised by its content
    #[arg(value_name = "IMAGE")]
    pub(crate) file: PathBuf,

    /// Take the volume in this partition, and not the first one with NTFS
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<u32>,

    /// Read the image even if a checksum in its headers is wrong
    #[arg(long)]
    pub(crate) ignore_checksums: bool,

    /// Look for the parents of a differencing disk at absolute paths too, and not only beside it and at relative ones
    #[arg(long)]
    pub(crate) absolute_parents: bool,
}
