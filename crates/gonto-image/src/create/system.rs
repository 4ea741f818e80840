//! The files that NTFS itself consists of, written when everything else is there.

use std::collections::BTreeMap;
use std::io;

use super::disk::{NewContainer, disk_size, too_big};
use super::files::{push_name, write_index};
use super::plan::{ALIGNMENT, FIRST_RECORD, Plan, RECORDS_AT_ONCE, RootEntry, shape};
use super::volume::Volume;
use crate::ntfs::attribute::kind;
use crate::ntfs::runs::Extent;
use crate::ntfs::upcase::{self, UPCASE};
use crate::ntfs::write::attribute::{Attribute, Stream};
use crate::ntfs::write::boot::{BOOT_SIZE, SECTOR};
use crate::ntfs::write::file_name::{self, Facts, dos};
use crate::ntfs::write::index::{Entries, Index, Order};
use crate::ntfs::write::record::{self, File, IN_EXTEND, ROOM, VIEW_INDEX};
use crate::ntfs::write::security::{self, Descriptors};
use crate::ntfs::write::{RECORD_SIZE, reparse, tables};
use crate::ntfs::{
    BITMAP_RECORD, LOG_FILE_RECORD, Lcn, ROOT_RECORD, Reference, SECURE_RECORD, UPCASE_RECORD, VOLUME_RECORD,
};
use crate::partition::gpt::{self, PARTITION_START, ROOM_BEHIND};

/// A file that NTFS itself consists of.
pub(super) struct SystemFile {
    pub(super) record: u64,
    name: &'static str,
}

/// Those in the root, which is one of them.
pub(super) const ROOT_FILES: [SystemFile; 12] = [
    SystemFile { record: MFT, name: "$MFT" },
    SystemFile { record: MIRROR, name: "$MFTMirr" },
    SystemFile { record: LOG_FILE_RECORD, name: "$LogFile" },
    SystemFile { record: VOLUME_RECORD, name: "$Volume" },
    SystemFile { record: DEFINITIONS, name: "$AttrDef" },
    SystemFile { record: ROOT_RECORD, name: "." },
    SystemFile { record: BITMAP_RECORD, name: "$Bitmap" },
    SystemFile { record: BOOT, name: "$Boot" },
    SystemFile { record: BAD_CLUSTERS, name: "$BadClus" },
    SystemFile { record: SECURE_RECORD, name: "$Secure" },
    SystemFile { record: UPCASE_RECORD, name: "$UpCase" },
    SystemFile { record: EXTEND, name: "$Extend" },
];

const MFT: u64 = 0;
const MIRROR: u64 = 1;
const DEFINITIONS: u64 = 4;
const BOOT: u64 = 7;
const BAD_CLUSTERS: u64 = 8;
const EXTEND: u64 = 11;
/// Up to here records are in use, though the last ones have no name.
const FIRST_UNUSED: u64 = 16;
const QUOTA: u64 = 24;
const OBJECT_ID: u64 = 25;
const REPARSE: u64 = 26;
const FIRST_FREE: u64 = 27;

/// The name of a file in the root, by its record.
pub(super) fn name(record: u64) -> Vec<u16> {
    let file = ROOT_FILES.iter().find(|file| file.record == record);
    file.map_or_else(Vec::new, |file| file.name.encode_utf16().collect())
}

/// Windows keeps this much of a volume's end free, or a part of it: a differencing child of the image, into which a build writes,
/// is as big as the image.
pub(super) const LEAST_FREE: u64 = 64 << 20;
const FREE_PART: u64 = 20;

/// The log that Windows makes a part of the volume, within these bounds.
const LOG_PART: u64 = 512;
const SMALLEST_LOG: u64 = 2 << 20;
const BIGGEST_LOG: u64 = 64 << 20;
/// An empty log: Windows fills it with restart pages when it mounts the volume.
const EMPTY_LOG: u8 = 0xff;

/// How many records `$MFTMirr` repeats; whole clusters of them.
const MIRRORED: u64 = 4;

/// What the volume is to be like.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'l> {
    pub(super) container: NewContainer,
    pub(super) label: &'l str,
    /// Free space beside the usual one, in bytes.
    pub(super) more_free: u64,
}

/// What the rest of the disk has to know of the volume.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    /// Of the whole disk, in bytes.
    pub(super) disk_size: u64,
    /// Bytes of the disk.
    pub(super) partition_end: u64,
    /// Of the volume, in sectors.
    pub(super) sectors: u64,
    /// In bytes.
    pub(super) free: u64,
    pub(super) mft: Lcn,
    pub(super) mirror: Lcn,
}

/// `$Extend\$Reparse`: which files are reparse points, sorted by their tags.
pub(super) fn write_reparse_points(
    volume: &mut Volume,
    plan: &Plan<'_>,
    mut links: Vec<(u32, Reference)>,
) -> io::Result<()> {
    links.sort_by_key(|(tag, file)| (*tag, file.record));
    let mut entries = Entries::default();
    for (tag, file) in links {
        entries.push_value(&reparse::key(tag, file), &[]);
    }
    let shape = shape(&Index::lengths(&entries), ROOM / 2);
    let index = write_index(volume, &entries, &shape, Order::NUMBERS, "$R", None)?;
    write_in_extend(volume, plan, REPARSE, "$Reparse", index)
}

/// Writes everything that NTFS itself consists of, but for the boot sectors. `first_block` is where the blocks of the root go.
pub(super) fn write(
    volume: &mut Volume,
    plan: &Plan<'_>,
    first_block: Lcn,
    wanted: &Wanted<'_>,
) -> io::Result<Finished> {
    let upcase = volume.store(&UPCASE.to_bytes())?;
    let definitions = volume.store(&tables::attribute_definitions())?;
    let descriptors = Descriptors::new();
    let descriptor_stream = volume.store(&descriptors.stream)?;
    // The first records are written together, when the others are written.
    volume.flush_records()?;

    let mft = place_extensions(volume, plan)?;
    let mirror = volume.room_for((MIRRORED * RECORD_SIZE as u64).max(volume.cluster_size));
    let log = write_log(volume)?;
    let (bitmap, finished) = write_bitmap(volume, wanted)?;
    let finished = Finished { mft: start(&mft.data), mirror: start(&mirror), ..finished };

    let clusters = finished.sectors * SECTOR / volume.cluster_size;
    let boot = Stream {
        runs: vec![Extent { lcn: Some(Lcn(0)), length: BOOT_SIZE.div_ceil(volume.cluster_size) }],
        allocated: BOOT_SIZE.next_multiple_of(volume.cluster_size),
        size: BOOT_SIZE,
        valid: BOOT_SIZE,
        sparse: None,
    };
    let bad = Stream {
        runs: vec![Extent { lcn: None, length: clusters }],
        allocated: clusters * volume.cluster_size,
        size: clusters * volume.cluster_size,
        valid: 0,
        sparse: None,
    };
    let data = |stream: &Stream| Content {
        size: Some((stream.allocated, stream.size)),
        attributes: Attribute::non_resident(kind::DATA, "", stream),
    };
    let empty = || Attribute::resident(kind::DATA, "", &[]);

    let mut first = data(&mft.data);
    first.attributes.extend(Attribute::non_resident(kind::BITMAP, "", &mft.bitmap));
    let label = vec![
        Attribute::resident(kind::VOLUME_NAME, "", &utf16(wanted.label)),
        Attribute::resident(kind::VOLUME_INFORMATION, "", &VOLUME_INFORMATION),
        empty(),
    ];
    let mut bad_clusters = Attribute::non_resident(kind::DATA, "$Bad", &bad);
    bad_clusters.push(empty());
    let mut upcase = data(&upcase);
    upcase.attributes.push(Attribute::resident(kind::DATA, "$Info", &upcase_info()));
    let secure = secure(volume, &descriptors, &descriptor_stream)?;
    let mut contents = BTreeMap::from([
        (MFT, first),
        (MIRROR, data(&mirror)),
        (LOG_FILE_RECORD, data(&log)),
        (VOLUME_RECORD, Content::without_size(label)),
        (DEFINITIONS, data(&definitions)),
        (BITMAP_RECORD, data(&bitmap)),
        (BOOT, data(&boot)),
        (BAD_CLUSTERS, Content::without_size(bad_clusters)),
        (SECURE_RECORD, Content::without_size(secure)),
        (UPCASE_RECORD, upcase),
        (EXTEND, Content::without_size(extend(volume, plan)?)),
    ]);
    // The root has its turn when the sizes of all its entries are known.
    let root = root(volume, plan, first_block, &contents)?;
    contents.insert(ROOT_RECORD, Content::without_size(root));
    write_records(volume, plan, contents, start(&mirror))?;
    Ok(finished)
}

/// What a file of NTFS consists of beside its name.
struct Content {
    /// What its name tells: allocated, and size.
    size: Option<(u64, u64)>,
    attributes: Vec<Attribute>,
}

impl Content {
    fn without_size(attributes: Vec<Attribute>) -> Self {
        Self { size: None, attributes }
    }
}

fn start(stream: &Stream) -> Lcn {
    stream.runs.first().and_then(|run| run.lcn).unwrap_or(Lcn(0))
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// NTFS 3.1, not dirty.
const VOLUME_INFORMATION: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0];

/// Size, checksum of the table, and the version of Windows it is from: Windows 10.
fn upcase_info() -> Vec<u8> {
    let mut info = vec![0; 32];
    info[0] = 32;
    info[8..16].copy_from_slice(&upcase::CHECKSUM.to_le_bytes());
    info[16] = 10;
    info
}

struct MftStreams {
    data: Stream,
    bitmap: Stream,
}

/// Writes the extension records and the bitmap of `$MFT`.
fn place_extensions(volume: &mut Volume, plan: &Plan<'_>) -> io::Result<MftStreams> {
    let (start, extensions) = volume.mft();
    let clusters = |records: u64| (records * RECORD_SIZE as u64).div_ceil(volume.cluster_size);
    let mut runs = vec![Extent { lcn: Some(start), length: clusters(plan.records) }];
    let mut records = volume.take_extensions();
    let total = plan.records + extensions.next_multiple_of(RECORDS_AT_ONCE);
    for number in plan.records + extensions..total {
        records.extend(record::unused(number).as_slice());
    }
    if !records.is_empty() {
        runs.extend(volume.store(&records)?.runs);
    }
    let used = FIRST_RECORD - 1 + plan.tree.inodes.len() as u64;
    let mut bitmap = vec![0; usize::try_from(total / 8).unwrap_or(0)];
    for range in
        [0..FIRST_UNUSED, QUOTA..FIRST_FREE, FIRST_RECORD..used, plan.records..plan.records + extensions]
    {
        set_bits(&mut bitmap, range);
    }
    for number in used..plan.records {
        volume.write_record(number, &record::unused(number))?;
    }
    volume.flush_records()?;
    let size = total * RECORD_SIZE as u64;
    let allocated = runs.iter().map(|run| run.length).sum::<u64>() * volume.cluster_size;
    let data = Stream { runs, allocated, size, valid: size, sparse: None };
    Ok(MftStreams { data, bitmap: volume.store(&bitmap)? })
}

fn write_log(volume: &mut Volume) -> io::Result<Stream> {
    let size = volume.clusters() * volume.cluster_size / LOG_PART;
    let log = volume.room_for(size.clamp(SMALLEST_LOG, BIGGEST_LOG).next_multiple_of(ALIGNMENT));
    volume.fill(&log, &vec![EMPTY_LOG; usize::try_from(log.size).unwrap_or(0)])?;
    Ok(log)
}

/// Decides how big the volume is, and writes which of its clusters are in use.
fn write_bitmap(volume: &mut Volume, wanted: &Wanted<'_>) -> io::Result<(Stream, Finished)> {
    let cluster_size = volume.cluster_size;
    let (mut in_bitmap, mut needed) = (0, 1);
    let mut finished =
        Finished { disk_size: 0, partition_end: 0, sectors: 0, free: 0, mft: Lcn(0), mirror: Lcn(0) };
    let mut clusters = 0;
    // A bigger bitmap may make the volume bigger, and that the bitmap; by less each time.
    while in_bitmap < needed {
        in_bitmap = needed;
        let used = (volume.clusters() + in_bitmap) * cluster_size;
        let free = (used / FREE_PART).max(LEAST_FREE).saturating_add(wanted.more_free);
        let backup_boot = SECTOR;
        let end = PARTITION_START.saturating_add(used).saturating_add(free).saturating_add(backup_boot);
        let end = end.checked_next_multiple_of(gpt::ALIGNMENT);
        let end = end.ok_or_else(|| too_big(wanted.container))?;
        finished.disk_size = disk_size(wanted.container, end.saturating_add(ROOM_BEHIND))
            .ok_or_else(|| too_big(wanted.container))?;
        finished.partition_end = (finished.disk_size - ROOM_BEHIND) / gpt::ALIGNMENT * gpt::ALIGNMENT;
        finished.sectors = (finished.partition_end - PARTITION_START - backup_boot) / SECTOR;
        clusters = finished.sectors * SECTOR / cluster_size;
        finished.free = clusters * cluster_size - used;
        needed = bitmap_size(clusters).div_ceil(cluster_size);
    }
    let size = bitmap_size(clusters);
    let stream = volume.room_for(in_bitmap * cluster_size);
    let stream = Stream { size, valid: size, ..stream };
    // What is free is zero, and not even held in memory: there may be terabytes of it.
    let mut used = vec![0; byte_of(volume.clusters()) + 1];
    set_bits(&mut used, 0..volume.clusters());
    for gap in &volume.gaps {
        gap.clone().for_each(|cluster| used[byte_of(cluster)] &= !(1 << (cluster % 8)));
    }
    volume.fill(&stream, &used)?;
    // There are no clusters behind the last one that could be taken.
    let last = clusters / 8;
    let mut end = vec![0; usize::try_from(size - last).unwrap_or(0)];
    set_bits(&mut end, clusters % 8..(size - last) * 8);
    volume.fill_at(&stream, last, &end)?;
    Ok((stream, finished))
}

fn bitmap_size(clusters: u64) -> u64 {
    clusters.div_ceil(8).next_multiple_of(8)
}

fn byte_of(bit: u64) -> usize {
    usize::try_from(bit / 8).unwrap_or(usize::MAX)
}

fn set_bits(bitmap: &mut [u8], mut range: std::ops::Range<u64>) {
    while range.start < range.end && !(range.start.is_multiple_of(8) && range.end - range.start >= 8) {
        bitmap[byte_of(range.start)] |= 1 << (range.start % 8);
        range.start += 1;
    }
    let whole = (range.end - range.start) / 8;
    bitmap[byte_of(range.start)..][..usize::try_from(whole).unwrap_or(0)].fill(0xff);
    for bit in range.start + whole * 8..range.end {
        bitmap[byte_of(bit)] |= 1 << (bit % 8);
    }
}

/// `$Secure`: descriptors, and where they are found by hash and by id.
fn secure(volume: &mut Volume, descriptors: &Descriptors, stream: &Stream) -> io::Result<Vec<Attribute>> {
    let mut attributes = Attribute::non_resident(kind::DATA, "$SDS", stream);
    let indexes =
        [(&descriptors.by_hash, Order::SECURITY_HASH, "$SDH"), (&descriptors.by_id, Order::NUMBER, "$SII")];
    for (entries, order, name) in indexes {
        let shape = shape(&Index::lengths(entries), ROOM / 3);
        attributes.extend(write_index(volume, entries, &shape, order, name, None)?);
    }
    Ok(attributes)
}

/// `$Extend` and what lies in it; `$Reparse` is written already.
fn extend(volume: &mut Volume, plan: &Plan<'_>) -> io::Result<Vec<Attribute>> {
    write_quota(volume, plan)?;
    let nothing = Entries::default();
    let objects = write_index(volume, &nothing, &shape(&[], ROOM), Order::NUMBERS, "$O", None)?;
    write_in_extend(volume, plan, OBJECT_ID, "$ObjId", objects)?;
    let mut entries = Entries::default();
    for (record, name) in [(OBJECT_ID, "$ObjId"), (QUOTA, "$Quota"), (REPARSE, "$Reparse")] {
        let key = file_name::key(&facts_in_extend(plan), reference(EXTEND), &units(name));
        entries.push_name(Reference { record, sequence: 1 }, &key);
    }
    let shape = shape(&Index::lengths(&entries), ROOM);
    write_index(volume, &entries, &shape, Order::NAMES, "$I30", None)
}

/// The quota of whoever owns files, without a limit, as Windows keeps it on every volume.
fn write_quota(volume: &mut Volume, plan: &Plan<'_>) -> io::Result<()> {
    const DEFAULTS: u32 = 1;
    const FIRST_OWNER: u32 = 0x100;
    const VERSION: u32 = 2;
    const DEFAULT_LIMITS: u32 = 1;
    let mut control = Vec::new();
    control.extend(VERSION.to_le_bytes());
    control.extend(DEFAULT_LIMITS.to_le_bytes());
    control.extend(0u64.to_le_bytes());
    control.extend(plan.inode(0).modified.to_le_bytes());
    control.extend([u64::MAX.to_le_bytes(); 2].as_flattened());
    control.extend(0u64.to_le_bytes());
    let (mut owners, mut quotas) = (Entries::default(), Entries::default());
    owners.push_value(security::ADMINISTRATORS, &FIRST_OWNER.to_le_bytes());
    quotas.push_value(&DEFAULTS.to_le_bytes(), &control);
    quotas.push_value(&FIRST_OWNER.to_le_bytes(), &[&control, security::ADMINISTRATORS].concat());
    let mut attributes = Vec::new();
    for (entries, order, name) in [(&owners, Order::SID, "$O"), (&quotas, Order::NUMBER, "$Q")] {
        let shape = shape(&Index::lengths(entries), ROOM / 2);
        attributes.extend(write_index(volume, entries, &shape, order, name, None)?);
    }
    write_in_extend(volume, plan, QUOTA, "$Quota", attributes)
}

fn facts_in_extend(plan: &Plan<'_>) -> Facts {
    let attributes = dos::HIDDEN | dos::SYSTEM | dos::VIEW_INDEX;
    Facts {
        time: plan.inode(0).modified,
        attributes,
        security: security::id::SYSTEM_WRITABLE,
        ..Facts::default()
    }
}

/// Writes the record of a file in `$Extend`, which consists of indexes.
fn write_in_extend(
    volume: &mut Volume,
    plan: &Plan<'_>,
    record: u64,
    name: &str,
    mut attributes: Vec<Attribute>,
) -> io::Result<()> {
    let facts = facts_in_extend(plan);
    attributes.push(facts.standard_information());
    attributes.push(file_name::attribute(&file_name::key(&facts, reference(EXTEND), &units(name))));
    let reference = Reference { record, sequence: 1 };
    volume.write_file(File { reference, flags: VIEW_INDEX | IN_EXTEND, links: 1, attributes })
}

fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// How a file of NTFS is called by others: its sequence number is that of its record, and 1 for the first.
fn reference(record: u64) -> Reference {
    Reference { record, sequence: u16::try_from(record.max(1)).unwrap_or(1) }
}

/// The index of the root.
fn root(
    volume: &mut Volume,
    plan: &Plan<'_>,
    first_block: Lcn,
    contents: &BTreeMap<u64, Content>,
) -> io::Result<Vec<Attribute>> {
    let mut entries = Entries::default();
    for entry in plan.root_entries() {
        match entry {
            RootEntry::Name(position) => push_name(volume, plan, &mut entries, position),
            RootEntry::System(record) => {
                let size = contents.get(&record).and_then(|content| content.size);
                entries.push_name(reference(record), &key(plan, record, size));
            }
        }
    }
    let mut place = first_block;
    write_index(volume, &entries, &plan.shape(0), Order::NAMES, "$I30", Some(&mut place))
}

/// What is told of a file of NTFS; the root is one of them, and what the folder is besides.
fn facts(plan: &Plan<'_>, record: u64, size: Option<(u64, u64)>) -> Facts {
    let (allocated, size) = size.unwrap_or((0, 0));
    let root = plan.facts(0, None);
    if record == ROOT_RECORD {
        return Facts { attributes: root.attributes | dos::HIDDEN | dos::SYSTEM, ..root };
    }
    let view = if record == SECURE_RECORD { dos::VIEW_INDEX } else { 0 };
    let writable = matches!(record, VOLUME_RECORD | SECURE_RECORD | EXTEND);
    Facts {
        time: root.time,
        attributes: dos::HIDDEN | dos::SYSTEM | view,
        is_directory: record == EXTEND,
        allocated,
        size,
        tag: 0,
        security: if writable { security::id::SYSTEM_WRITABLE } else { security::id::SYSTEM },
    }
}

fn key(plan: &Plan<'_>, record: u64, size: Option<(u64, u64)>) -> Vec<u8> {
    file_name::system_key(&facts(plan, record, size), reference(ROOT_RECORD), &name(record))
}

/// Writes the records before those of files, and the mirror of the first.
fn write_records(
    volume: &mut Volume,
    plan: &Plan<'_>,
    mut contents: BTreeMap<u64, Content>,
    mirror: Lcn,
) -> io::Result<()> {
    let mirrored = MIRRORED.max(volume.cluster_size / RECORD_SIZE as u64);
    let mut copies = Vec::new();
    for number in (0..FIRST_RECORD).filter(|number| !(QUOTA..FIRST_FREE).contains(number)) {
        let record = match contents.remove(&number) {
            Some(content) => system_record(plan, number, content),
            None if number < FIRST_UNUSED => nameless(plan, number),
            None => record::unused(number),
        };
        if number < mirrored {
            copies.extend(record.as_slice());
        }
        volume.write_record(number, &record)?;
    }
    volume.flush_records()?;
    volume.tell(&copies);
    volume.write(&copies, mirror)
}

fn system_record(plan: &Plan<'_>, number: u64, content: Content) -> record::Record {
    let facts = facts(plan, number, content.size);
    let mut attributes = content.attributes;
    attributes.push(facts.standard_information());
    attributes.push(file_name::attribute(&key(plan, number, content.size)));
    if number == ROOT_RECORD {
        attributes.extend(plan.linux(0).attributes());
    }
    let flags = match number {
        SECURE_RECORD => VIEW_INDEX,
        ROOT_RECORD | EXTEND => File::DIRECTORY,
        _ => 0,
    };
    File { reference: reference(number), flags, links: 1, attributes }.into_record()
}

/// Records that are kept for later versions of NTFS.
fn nameless(plan: &Plan<'_>, number: u64) -> record::Record {
    let facts = Facts {
        time: plan.inode(0).modified,
        attributes: dos::HIDDEN | dos::SYSTEM,
        security: security::id::SYSTEM_WRITABLE,
        ..Facts::default()
    };
    let attributes = vec![facts.standard_information(), Attribute::resident(kind::DATA, "", &[])];
    File { reference: reference(number), flags: 0, links: 0, attributes }.into_record()
}
