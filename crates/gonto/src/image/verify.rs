//! Whether the structure of an image holds together.

use std::path::Path;

use gonto_image::{Severity, Volume};
use serde::Serialize;

use super::{Error, Opened, Options};

/// What a verification has found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verified {
    /// What was found, in the order in which it was met. At most a thousand errors and a thousand warnings of the volume are
    /// listed; the numbers below are exact.
    pub findings: Vec<Finding>,
    /// Structures that contradict each other.
    pub errors: u64,
    /// What is not as it should be, though nothing that is shown is affected.
    pub warnings: u64,
    /// Files that were verified, those that NTFS itself is made of included.
    pub files: u64,
    /// Folders that were verified.
    pub folders: u64,
}

/// One thing that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Whether it is an error; a warning otherwise.
    pub is_error: bool,
    /// `container`, `partition table` or `volume`.
    pub place: &'static str,
    /// What was expected, what was found, and where: a sentence.
    pub problem: String,
}

/// Verifies the container, the partition table and the volume of an image. The content of files is not read.
///
/// # Errors
/// [`Error::Open`], and [`Error::Read`] when there is so little of the image that nothing can be said about the rest.
pub fn verify(file: &Path, options: &Options) -> Result<Verified, Error> {
    let Opened { disk, options } = super::open(file, options)?;
    let read = |source| Error::Read { image: file.to_owned(), source: Box::new(source) };
    let volume = Volume::find(&disk, &options).map_err(read)?;
    let verification = gonto_image::verify(&volume).map_err(read)?;
    let warning = |place| move |problem: String| Finding { is_error: false, place, problem };
    let container = disk.irregularities().map(ToString::to_string).map(warning("container"));
    let table = volume.irregularities().map(ToString::to_string).map(warning("partition table"));
    let cut = super::cut(&volume).map(|problem| Finding { is_error: true, place: "container", problem });
    let cut_errors = u64::from(cut.is_some());
    let mut findings: Vec<Finding> = cut.into_iter().chain(container).chain(table).collect();
    let more = findings.len() as u64 - cut_errors;
    findings.extend(verification.findings().iter().map(|finding| Finding {
        is_error: finding.severity == Severity::Error,
        place: "volume",
        problem: finding.to_string(),
    }));
    Ok(Verified {
        findings,
        errors: verification.errors().saturating_add(cut_errors),
        warnings: verification.warnings().saturating_add(more),
        files: verification.files(),
        folders: verification.directories(),
    })
}
