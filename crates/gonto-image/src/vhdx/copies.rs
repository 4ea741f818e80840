//! Structures of which a VHDX has two copies: headers and region tables. Each begins with a signature and a CRC-32C of all
//! of it, this field taken as zero ([MS-VHDX] 2.2).

use super::read;
use crate::crc::Crc32c;
use crate::error::{Error, Mismatch, WrongChecksum};
use crate::irregularity::Irregularity;
use crate::options::Options;
use crate::source::ReadAt;

/// One of the copies.
pub(super) struct Copy {
    /// What it is, as `the VHDX's first header`.
    name: &'static str,
    /// Byte offset in the file.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    flaw: Option<Flaw>,
}

enum Flaw {
    Signature(Mismatch),
    Checksum(WrongChecksum),
}

const CHECKSUM_AT: usize = 4;

impl Copy {
    pub(super) fn read(
        file: &dyn ReadAt,
        name: &'static str,
        offset: u64,
        size: usize,
        signature: [u8; 4],
    ) -> Result<Self, Error> {
        let mut bytes = vec![0; size];
        read(file, name, &mut bytes, offset)?;
        let flaw = check(&bytes, signature).err();
        Ok(Self { name, offset, bytes, flaw })
    }

    pub(super) fn is_sound(&self) -> bool {
        self.flaw.is_none()
    }

    /// An error about it.
    pub(super) fn wrong(&self, mismatch: Mismatch) -> Error {
        mismatch.in_vhdx(self.what().strip_prefix("VHDX's ").unwrap_or(self.name), self.offset)
    }

    fn what(&self) -> &'static str {
        self.name.strip_prefix("the ").unwrap_or(self.name)
    }

    /// The error when there is no sound copy.
    fn refusal(&self) -> Error {
        match &self.flaw {
            Some(Flaw::Checksum(wrong)) => wrong.in_the(self.what(), self.offset),
            Some(Flaw::Signature(mismatch)) => {
                let Mismatch { at, expected, found } = mismatch;
                self.wrong(Mismatch::new(*at, expected.clone(), found))
            }
            None => self.wrong(Mismatch::new(0, "another copy", "this one")),
        }
    }

    fn used_other(&self) -> Irregularity {
        let problem = match &self.flaw {
            Some(Flaw::Signature(Mismatch { expected, found, .. })) => {
                format!("expected {expected}, found {found}")
            }
            _ => "its checksum is wrong".to_owned(),
        };
        Irregularity::CopyUsed { what: self.what(), offset: self.offset, problem }
    }
}

/// Of two copies those that can be relied on: one at least.
pub(super) fn sound(
    copies: [Copy; 2],
    options: &Options,
    irregularities: &mut Vec<Irregularity>,
) -> Result<Vec<Copy>, Error> {
    let (sound, damaged): (Vec<_>, Vec<_>) = copies.into_iter().partition(|copy| copy.flaw.is_none());
    if !sound.is_empty() {
        irregularities.extend(damaged.iter().map(Copy::used_other));
        return Ok(sound);
    }
    let (recognised, unknown): (Vec<_>, Vec<_>) =
        damaged.into_iter().partition(|copy| matches!(copy.flaw, Some(Flaw::Checksum(_))));
    if !recognised.is_empty() && options.ignore_checksums {
        let wrong = |copy: &Copy| Irregularity::WrongChecksum { what: copy.what(), offset: copy.offset };
        irregularities.extend(recognised.iter().map(wrong));
        return Ok(recognised);
    }
    // One that can still be recognised says more.
    match recognised.first().or(unknown.first()) {
        Some(copy) => Err(copy.refusal()),
        None => Ok(Vec::new()),
    }
}

fn check(bytes: &[u8], signature: [u8; 4]) -> Result<(), Flaw> {
    let (found, rest) = bytes.split_at(CHECKSUM_AT);
    if found != signature {
        let expected = format!("the signature \"{}\"", signature.escape_ascii());
        let found = format!("\"{}\"", found.escape_ascii());
        return Err(Flaw::Signature(Mismatch::new(0, expected, found)));
    }
    let (stored, rest) = rest.split_at(4);
    let expected = checksum(found, rest);
    let found = u32::from_le_bytes([stored[0], stored[1], stored[2], stored[3]]);
    if expected == found {
        return Ok(());
    }
    Err(Flaw::Checksum(WrongChecksum { at: CHECKSUM_AT, expected, found }))
}

fn checksum(signature: &[u8], behind: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    for part in [signature, &[0; 4], behind] {
        crc.update(part);
    }
    crc.finish()
}

/// Gives a copy that is going to be written its checksum.
pub(super) fn seal(bytes: &mut [u8]) {
    let (signature, rest) = bytes.split_at_mut(CHECKSUM_AT);
    let (own, behind) = rest.split_at_mut(4);
    own.copy_from_slice(&checksum(signature, behind).to_le_bytes());
}
