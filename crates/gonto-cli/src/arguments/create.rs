//! The arguments of `gonto create`.

use std::path::PathBuf;

use clap::Args;
use gonto::create::DEFAULT_LABEL;

/// Make an image of a folder
///
/// The format is that of the name: .vhd (fixed, or --dynamic) or .vhdx. The image is as big as what is in it, with 64 MiB or 5 % of
/// free space, whichever is more. The same folder always makes the same bytes; SOURCE_DATE_EPOCH limits the times in it. No rights are
/// needed. What Windows could not read is told, all of it, and no image is made, unless --portable or --keep-links allow it.
#[derive(Args, Debug)]
pub(crate) struct CreateArguments {
    /// The folder; what lies in it will lie in the root of the volume
    #[arg(value_name = "INPUT_FOLDER")]
    pub(crate) folder: PathBuf,

    /// The image; nothing may have this name yet
    #[arg(value_name = "OUTPUT_IMAGE")]
    pub(crate) image: PathBuf,

    /// More free space, in GiB
    #[arg(short = 'p', long, value_name = "GiB", default_value = "0", hide_default_value = true, value_parser = gibibytes)]
    pub(crate) overprovisioning: u64,

    /// The name of the volume, of at most 32 characters
    #[arg(short, long, default_value = DEFAULT_LABEL)]
    pub(crate) label: String,

    /// Leave out of a VHD what is zero; a VHDX always does
    #[arg(long)]
    pub(crate) dynamic: bool,

    /// Leave out what matches: a name in any folder, or a path from the folder on when it holds a slash; a slash at the end
    /// means folders only
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,

    /// Put the content of the files named in FILE first, one path a line, as a build reads them
    #[arg(long, value_name = "FILE")]
    pub(crate) order: Option<PathBuf>,

    /// Change names that Windows cannot have, and tell them
    #[arg(long)]
    pub(crate) portable: bool,

    /// Keep links that lead out of the folder; only Linux can follow them
    #[arg(long)]
    pub(crate) keep_links: bool,

    /// Keep who owns what, for WSL
    #[arg(long)]
    pub(crate) owners: bool,

    /// Write the SHA-256 of the image beside it, into OUTPUT_IMAGE.sha256
    #[arg(long)]
    pub(crate) sha256: bool,

    /// Print a JSON object about the image; the README tells its fields
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads a number of GiB, which may have a fraction, as bytes.
fn gibibytes(text: &str) -> Result<u64, String> {
    const WRONG: &str = "a number of GiB is needed, such as 2 or 0.5";
    /// More than the biggest disk of any format.
    const MOST: u64 = 1 << 20;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(WRONG.into());
    }
    let whole: u64 = whole.parse().ok().filter(|whole| *whole <= MOST).ok_or(WRONG)?;
    let parts: u64 = fraction.parse().map_err(|_| WRONG)?;
    let in_all = 10u64.pow(u32::try_from(fraction.len()).unwrap_or(0));
    Ok((whole << 30) + (parts << 30) / in_all)
}

#[cfg(test)]
mod tests {
    use super::gibibytes;

    #[test]
    fn numbers_of_gib_are_bytes() {
        assert_eq!(gibibytes("2"), Ok(2 << 30));
        assert_eq!(gibibytes("0.5"), Ok(512 << 20));
        assert_eq!(gibibytes("1.25"), Ok(1280 << 20));
        for wrong in ["", ".", "-1", "1.", ".5", "1e3", "2 GiB", "99999999999999999999", "0.1234567890"] {
            assert!(gibibytes(wrong).is_err(), "{wrong:?}");
        }
    }
}
