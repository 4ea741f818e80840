//! What NTFS keeps for itself: copies of what matters most, tables, flags.

use std::collections::HashSet;

use super::finding::Findings;
use super::names::counted;
use super::survey::{Survey, problem};
use crate::error::{Error, Mismatch};
use crate::ntfs::attribute::{each, kind};
use crate::ntfs::boot::Boot;
use crate::ntfs::gathering::Gathering;
use crate::ntfs::log_file::LogState;
use crate::ntfs::mft::Mft;
use crate::ntfs::record::Record;
use crate::ntfs::scan::Inodes;
use crate::ntfs::stream::Stream;
use crate::ntfs::volume_record::VolumeRecord;
use crate::ntfs::{LOG_FILE_RECORD, SECURE_RECORD, UPCASE_RECORD, VOLUME_RECORD, attribute_list, field};

/// Which records of `$MFT` are in use, a bit each.
pub(super) fn mft_bitmap(mft: &Mft, findings: &mut Findings) -> Option<Vec<u8>> {
    let stream = match attribute_of(mft, 0, kind::BITMAP, &[]) {
        Ok(Some(stream)) => stream,
        Ok(None) => {
            findings.error(0, "$MFT has no $BITMAP that tells which records are in use");
            return None;
        }
        Err(error) => {
            findings.error(0, problem(&error));
            return None;
        }
    };
    let needed = mft.records().div_ceil(8);
    if stream.size() < needed {
        let found = stream.size();
        findings.error(0, format_args!("expected {needed} bytes in the bitmap of $MFT, found {found}"));
    }
    let mut bitmap = vec![0; usize::try_from(needed.min(stream.size())).unwrap_or(0)];
    match stream.read_at(mft.volume.as_ref(), &mft.geometry, &mut bitmap, 0) {
        Ok(()) => Some(bitmap),
        Err(error) => {
            findings.error(0, format_args!("the bitmap of $MFT cannot be read: {error}"));
            None
        }
    }
}

/// `$UpCase`: how names are compared; `None` where it cannot be told.
pub(super) fn upcase(mft: &Mft, inodes: &Inodes, findings: &mut Findings) -> Option<Vec<u16>> {
    let data = inodes.find_any(mft, UPCASE_RECORD).ok().and_then(|index| inodes.all()[index].data.as_ref());
    let Some(data) = data else {
        findings.error(UPCASE_RECORD, "there is no $UpCase to compare names by");
        return None;
    };
    let mut bytes = vec![0; UPCASE_SIZE];
    if data.stream.size() != UPCASE_SIZE as u64 {
        let found = data.stream.size();
        findings.error(UPCASE_RECORD, format_args!("expected {UPCASE_SIZE} bytes in $UpCase, found {found}"));
        return None;
    }
    if let Err(error) = data.stream.read_at(mft.volume.as_ref(), &mft.geometry, &mut bytes, 0) {
        findings.error(UPCASE_RECORD, format_args!("$UpCase cannot be read: {error}"));
        return None;
    }
    let table: Vec<u16> = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    let wrong = (0..128u8).find(|ascii| table[usize::from(*ascii)] != u16::from(ascii.to_ascii_uppercase()));
    if let Some(ascii) = wrong {
        let (upper, found) = (ascii.to_ascii_uppercase(), table[usize::from(ascii)]);
        findings.error(
            UPCASE_RECORD,
            format_args!(
                "expected U+{upper:04X} as upper case of U+{ascii:04X} in $UpCase, found U+{found:04X}"
            ),
        );
        return None;
    }
    Some(table)
}

/// One UTF-16 unit for each UTF-16 unit.
const UPCASE_SIZE: usize = 2 << 16;

/// Looks at everything that is of no directory and no file.
pub(super) fn verify(mft: &Mft, inodes: &Inodes, survey: &Survey, findings: &mut Findings) {
    mirror(mft, findings);
    volume_record(mft, findings);
    log_file(mft, inodes, findings);
    security(mft, survey, findings);
}

/// Holds the boot sector against its backup. If it lies about sizes, everything else may seem wrong.
pub(super) fn boot_sectors(mft: &Mft, findings: &mut Findings) {
    let geometry = &mft.geometry;
    let volume = mft.volume.as_ref();
    if mft.copies.boot {
        let why = Boot::first(volume).err();
        let why = why.map_or_else(|| "it leads to no $MFT".into(), |error| error.to_string());
        findings.error(None, format_args!("the boot sector is damaged, and its backup was used: {why}"));
        return;
    }
    let (there, size) = (volume.size(), geometry.size);
    // A sector of 256 bytes holds less.
    let sector = usize::try_from(geometry.sector_size).unwrap_or(512).min(512);
    let ends_with_the_volume = there < size.saturating_add(sector as u64);
    if !ends_with_the_volume {
        let mut sectors = [vec![0; sector], vec![0; sector]];
        for (sector, at) in sectors.iter_mut().zip([0, size]) {
            if let Err(error) = volume.read_at(sector, at) {
                findings.error(None, format_args!("the boot sector at byte {at:#x} cannot be read: {error}"));
                return;
            }
        }
        if sectors[0] == sectors[1] {
            return;
        }
    }
    match Boot::backup(volume).map(|backup| backup.contradicts(geometry)) {
        Some(None) => {}
        Some(Some((what, backup, first))) => findings
            .error(None, format_args!("the boot sector says {first} {what}, and its backup says {backup}")),
        None if size > there => findings.error(
            None,
            format_args!("expected {size} bytes, as the boot sector says, found {there} in the partition"),
        ),
        // An image of the volume alone may end where the volume ends.
        None if ends_with_the_volume => {}
        None => {
            findings.warning(None, format_args!("there is no backup of the boot sector at byte {size:#x}"));
        }
    }
}

/// How many records `$MFTMirr` repeats.
const MIRRORED: u64 = 4;

fn mirror(mft: &Mft, findings: &mut Findings) {
    for number in 0..MIRRORED {
        let Some(at) = mft.mirror_place(number) else {
            findings.error(1, "the boot sector says that $MFTMirr lies outside the volume");
            return;
        };
        let size = mft.geometry.record_size;
        let (mut first, mut copy) = (vec![0; size], vec![0; size]);
        let read = mft.read_raw(number, &mut first).is_ok() && mft.volume.read_at(&mut copy, at).is_ok();
        let opened = |raw: &mut Vec<u8>| match Record::open(raw, number) {
            Ok(record) => Some(record.bytes[record.first_attribute..].to_vec()),
            Err(_) => None,
        };
        match (opened(&mut first), opened(&mut copy)) {
            _ if !read => {
                findings.error(1, format_args!("record {number} or its copy in $MFTMirr cannot be read"));
            }
            // The survey, or whoever had to use the copy, has told it.
            (None, Some(_)) if number != 0 => {}
            (None, Some(_)) => findings.error(0, "damaged, and its copy in $MFTMirr was used"),
            (_, None) => findings.error(
                1,
                format_args!(
                    "the copy of record {number} in $MFTMirr, at byte {at:#x} of the volume, is damaged"
                ),
            ),
            (Some(first), Some(copy)) if first != copy => findings.error(
                1,
                format_args!(
                    "the copy of record {number} in $MFTMirr, at byte {at:#x} of the volume, differs from it"
                ),
            ),
            (Some(_), Some(_)) => {}
        }
    }
}

fn volume_record(mft: &Mft, findings: &mut Findings) {
    match VolumeRecord::read(mft) {
        Ok(volume) => {
            if volume.dirty {
                findings.warning(
                    VOLUME_RECORD,
                    "marked as dirty: Windows would check the volume before it uses it",
                );
            }
            if !matches!(volume.version, (1, 1..) | (3, 0..=1)) {
                let (major, minor) = volume.version;
                findings.warning(
                    VOLUME_RECORD,
                    format_args!("expected NTFS 1.2, 3.0 or 3.1, found {major}.{minor}"),
                );
            }
        }
        Err(error) => findings.error(VOLUME_RECORD, problem(&error)),
    }
}

fn log_file(mft: &Mft, inodes: &Inodes, findings: &mut Findings) {
    let log = inodes.find_any(mft, LOG_FILE_RECORD).ok().and_then(|index| inodes.all()[index].data.as_ref());
    let Some(log) = log else {
        findings.error(LOG_FILE_RECORD, "there is no $LogFile");
        return;
    };
    match LogState::read(mft.volume.as_ref(), &mft.geometry, &log.stream) {
        LogState::Clean | LogState::Empty => {}
        LogState::InUse => findings.warning(
            LOG_FILE_RECORD,
            "the volume was in use when it was copied or taken away: the last changes may be in the log only",
        ),
        LogState::Unknown => findings.warning(LOG_FILE_RECORD, "no restart page can be found in the log"),
    }
}

/// `$SDS` in UTF-16.
const SDS: [u8; 8] = *b"$\0S\0D\0S\0";

/// The longest `$SDS` that is read. Windows keeps each security descriptor once, so that few volumes have a megabyte of them.
const LONGEST_SDS: u64 = 64 << 20;

/// Descriptors come in blocks of this size; each second block repeats the one before it.
const SDS_BLOCK: usize = 256 << 10;

/// Hash, id, offset, length.
const SDS_HEADER_SIZE: usize = 20;

/// Whether there is a security descriptor for each id that files have.
fn security(mft: &Mft, survey: &Survey, findings: &mut Findings) {
    let used = survey.bases.iter().filter(|base| base.security != 0);
    if used.clone().next().is_none() {
        return;
    }
    let stream = match attribute_of(mft, SECURE_RECORD, kind::DATA, &SDS) {
        Ok(Some(stream)) if stream.size() <= LONGEST_SDS => stream,
        Ok(Some(_)) => return,
        Ok(None) => {
            findings.error(SECURE_RECORD, "files have security descriptors, but $Secure has no $SDS");
            return;
        }
        // The survey has told what is wrong with the record.
        Err(_) => return,
    };
    let mut descriptors = vec![0; usize::try_from(stream.size()).unwrap_or(0)];
    if let Err(error) = stream.read_at(mft.volume.as_ref(), &mft.geometry, &mut descriptors, 0) {
        findings.error(SECURE_RECORD, format_args!("$SDS cannot be read: {error}"));
        return;
    }
    let ids = security_ids(&descriptors);
    let without: Vec<_> = used.filter(|base| !ids.contains(&base.security)).collect();
    if let Some(first) = without.first() {
        let files = counted(without.len() as u64, "file");
        findings.warning(
            SECURE_RECORD,
            format_args!(
                "{files} with a security descriptor that is not there, the first is record {} with number {}",
                first.record, first.security
            ),
        );
    }
}

fn security_ids(descriptors: &[u8]) -> HashSet<u32> {
    let mut ids = HashSet::new();
    for block in descriptors.chunks(SDS_BLOCK).step_by(2) {
        let mut at = 0;
        while let (Some(id), Some(length)) = (field::u32(block, at + 4), field::u32(block, at + 16)) {
            let length = length as usize;
            if length < SDS_HEADER_SIZE {
                break;
            }
            ids.insert(id);
            at = at.saturating_add(length).next_multiple_of(16);
        }
    }
    ids
}

/// One attribute of a file, from all the records that hold it.
fn attribute_of(mft: &Mft, number: u64, kind: u32, name: &[u8]) -> Result<Option<Stream>, Error> {
    let (mut list, mut gathered) = (Gathering::default(), Gathering::default());
    let mut raw = vec![0; mft.geometry.record_size];
    read_record(mft, number, &mut raw)?;
    let mut gather = |raw: &mut [u8], number: u64, list: &mut Gathering| {
        let mut gather = |raw: &mut [u8]| {
            each(&Record::open(raw, number)?, |attribute| {
                if attribute.kind == kind::ATTRIBUTE_LIST {
                    list.add(&attribute, &mft.geometry)?;
                } else if attribute.kind == kind && attribute.name == name {
                    gathered.add(&attribute, &mft.geometry)?;
                }
                Ok(())
            })
        };
        gather(raw).map_err(|mismatch: Mismatch| mismatch.in_record(number, mft.place(number)))
    };
    gather(&mut raw, number, &mut list)?;
    let place = |mismatch: Mismatch| mismatch.in_record(number, mft.place(number));
    if let Some(list) = list.finish(&mft.geometry).map_err(place)? {
        let list = mft.read_small(&list.stream, attribute_list::LONGEST, number)?;
        for extension in attribute_list::extension_records(&list, number).map_err(place)? {
            mft.read_raw(extension.record, &mut raw)?;
            gather(&mut raw, extension.record, &mut Gathering::default())?;
        }
    }
    Ok(gathered.finish(&mft.geometry).map_err(place)?.map(|data| data.stream))
}

/// The raw bytes of a record; of that of `$MFT` from where it was found.
fn read_record(mft: &Mft, number: u64, raw: &mut [u8]) -> Result<(), Error> {
    match mft.mirror_place(number).filter(|_| number == 0 && mft.copies.mft) {
        Some(offset) => mft.volume.read_at(raw, offset).map_err(|source| {
            let length = mft.geometry.record_size;
            Error::Read { what: "$MFTMirr", offset, length, source }
        }),
        None => mft.read_raw(number, raw),
    }
}
