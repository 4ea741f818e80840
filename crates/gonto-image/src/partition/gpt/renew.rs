//! The table of a child: other GUIDs, everything else as it is.

use std::mem::offset_of;
use std::ops::Range;

use super::{Copy, Entry, HEADER_SIZE, Header, Place, backups, load};
use crate::changes::Changes;
use crate::crc::crc32;
use crate::error::{Error, Mismatch};
use crate::guid::Guid;
use crate::identity::Identity;
use crate::options::Options;
use crate::partition::Partition;
use crate::source::ReadAt;

/// The new GUID of a partition.
pub(in crate::partition) fn partition_id(identity: &Identity, number: u32) -> Guid {
    identity.guid(&format!("partition {number}"))
}

/// Changes the GUIDs in every copy of the table that holds, which the backup need not do; gives the new one of the disk.
pub(in crate::partition) fn renew(
    disk: &dyn ReadAt,
    sector_size: u32,
    volume: &Partition,
    options: &Options,
    identity: &Identity,
    changes: &mut Changes<'_>,
) -> Result<Guid, Error> {
    let sector = u64::from(sector_size);
    let guid = identity.guid("partition table");
    // A table that lies about where it is must not make the child another volume.
    let mut taken = Vec::new();
    take(&mut taken, volume.start..volume.start.saturating_add(volume.size), sector)?;
    for (at, copy) in copies(disk, sector, options)? {
        for place in [at..at + sector, copy.array.offset..copy.array.offset + copy.array.length as u64] {
            take(&mut taken, place, at)?;
        }
        renew_copy(copy, at, guid, identity, changes)?;
    }
    Ok(guid)
}

/// The copies that hold, with the places of their headers.
fn copies(disk: &dyn ReadAt, sector: u64, options: &Options) -> Result<Vec<(u64, Copy)>, Error> {
    let primary = Place { at: sector, sector, check: true };
    let mut copies = Vec::new();
    for at in std::iter::once(sector).chain(backups(disk, sector)?) {
        if let Ok(copy) = load(disk, &Place { at, ..primary })? {
            copies.push((at, copy));
        }
    }
    if copies.is_empty()
        && options.ignore_checksums
        && let Ok(copy) = load(disk, &Place { check: false, ..primary })?
    {
        copies.push((sector, copy));
    }
    Ok(copies)
}

fn take(taken: &mut Vec<Range<u64>>, place: Range<u64>, header: u64) -> Result<(), Error> {
    let overlap = |other: &&Range<u64>| other.start < place.end && place.start < other.end;
    if let Some(other) = taken.iter().find(overlap) {
        let field = offset_of!(Header, partition_entry_lba);
        let expected = format!(
            "headers and entries that lie apart from each other and from the partition, bytes {} to {}",
            other.start, other.end
        );
        let found = format!("bytes {} to {}", place.start, place.end);
        return Err(Mismatch::new(field, expected, found).in_partition_table("GPT", header));
    }
    taken.push(place);
    Ok(())
}

/// `at` is where the header lies.
fn renew_copy(
    copy: Copy,
    at: u64,
    guid: Guid,
    identity: &Identity,
    changes: &mut Changes<'_>,
) -> Result<(), Error> {
    let Copy { bytes: mut header, header: Header { header_size, .. }, array, mut entries } = copy;
    let unused = Guid::default().to_bytes();
    for ((number, entry), place) in
        (1..).zip(entries.chunks_exact_mut(array.entry_size)).zip((array.offset..).step_by(array.entry_size))
    {
        if !entry.starts_with(&unused) {
            let own = offset_of!(Entry, unique_partition_guid);
            let id = partition_id(identity, number).to_bytes();
            entry[own..own + id.len()].copy_from_slice(&id);
            changes.put(&id, place + own as u64)?;
        }
    }
    let crc_at = offset_of!(Header, header_crc32);
    for (field, value) in [
        (crc_at, &[0; 4][..]),
        (offset_of!(Header, disk_guid), &guid.to_bytes()),
        (offset_of!(Header, partition_entry_array_crc32), &crc32(&entries).to_le_bytes()),
    ] {
        header[field..field + value.len()].copy_from_slice(value);
    }
    // It was found to be inside the sector.
    let size = (header_size.get() as usize).min(header.len());
    let crc = crc32(&header[..size]);
    header[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    changes.put(&header[..HEADER_SIZE], at)
}
