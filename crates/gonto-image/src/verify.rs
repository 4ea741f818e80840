//! Verifying: does the structure of a volume hold together?
//!
//! A mount looks at what a path leads to, and at no more. This looks at everything that NTFS writes down twice or in more
//! than one way, as `chkdsk` does without repairing anything:
//! ```text
//! records    every record, its attributes and runs             survey
//!   ├─ lists     records that continue others                  lists
//!   ├─ clusters  who owns which cluster, against $Bitmap       clusters
//!   └─ indexes   every directory, against the records' names   indexes, names
//! copies     boot sector, $MFTMirr; $UpCase, log, flags        system
//! ```
//! A finding is made once, where it is met first: what follows from it alone, such as clusters that seem to have no owner
//! because a record cannot be read, is not told again. Everything grows with the records and runs that the image really holds, never with what it claims.

use crate::error::Error;
use crate::filesystem::Volume;
use crate::ntfs::boot::Boot;
use crate::ntfs::mft::Mft;
use crate::ntfs::scan::Inodes;

mod clusters;
mod finding;
mod indexes;
mod lists;
mod names;
mod paths;
mod survey;
mod system;

pub use finding::{Finding, Severity, Verification};

use finding::Findings;
use survey::Survey;

/// Verifies the structure of an NTFS volume. The content of files is not read.
///
/// # Errors
/// When there is so little of the volume that nothing can be said about the rest: no boot sector, no `$MFT`. Everything else is a
/// [`Finding`].
pub fn verify(volume: &Volume) -> Result<Verification, Error> {
    let bytes = volume.bytes();
    let mft = Mft::open(bytes.clone()).map_err(|error| Boot::why_cut(bytes.as_ref(), error))?;
    let mut findings = Findings::default();
    system::boot_sectors(&mft, &mut findings);
    let bitmap = system::mft_bitmap(&mft, &mut findings);
    let mut survey = Survey::new(&mft, bitmap.as_deref());
    findings.append(std::mem::take(&mut survey.findings));
    let inodes = Inodes::scan(&mft);
    survey.tell_unreadable(&mft, &inodes, &mut findings);
    lists::verify(&mft, &mut survey, &mut findings);
    let upcase = system::upcase(&mft, &inodes, &mut findings);
    let indexed = indexes::verify(&mft, &inodes, &survey, upcase.as_deref(), &mut findings);
    names::verify(&survey, indexed, &mut findings);
    clusters::verify(&mft, &inodes, &mut survey, &mut findings);
    system::verify(&mft, &inodes, &survey, &mut findings);
    paths::add(&mft, &mut findings);
    let (files, directories) = survey.counts();
    Ok(findings.into_verification(files, directories))
}
