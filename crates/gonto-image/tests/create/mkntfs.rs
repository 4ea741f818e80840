//! An image of an empty folder is what mkntfs makes of a partition of the same size, field by field. Where it is not, a table tells
//! why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use gonto_image::{NewContainer, NewImage};

use crate::making::{Image, Source, usual};
use crate::support::{disk, ntfs3g, partitions, sha256_of};

/// Records, what differs there, what we write, and why. What Windows 10 writes was seen on volumes that it had formatted.
const DIFFERENCES: &[(&[usize], &[&str], &str, &str)] = &[
    (
        &[0],
        &["$DATA size", "$DATA valid", "$DATA allocated", "$FILE_NAME size", "$FILE_NAME allocated"],
        "131072",
        "records come by 64, and those below 64 are left to NTFS",
    ),
    (&[0], &["$BITMAP size", "$BITMAP valid"], "16", "a bit for each of the 128 records"),
    (
        &[3, 4, 5, 7, 12, 13, 14, 15],
        &["$STANDARD_INFORMATION size"],
        "72",
        "mkntfs writes some as NTFS 1.2 does, without an id of a descriptor",
    ),
    (
        &[3, 4, 5, 7, 12, 13, 14, 15],
        &["$SECURITY_DESCRIPTOR"],
        ABSENT,
        "it is in $Secure, as for all other files",
    ),
    (
        &[0, 1, 2, 6, 8, 9, 10, 11, 24, 25, 26],
        &["owner"],
        SYSTEM,
        "Windows 10: the descriptors 0x100 and 0x101 in $Secure have this owner",
    ),
    (&[5], &["$STANDARD_INFORMATION attributes"], "6", "Windows 10: the root is not to be archived"),
    (&[5], &["access"], "3 1f01ff 010100000000000100000000", "everybody may do everything in an image"),
    (&[5], &["owner", "group"], ADMINISTRATORS, "as all that lies in it"),
    (
        &[9],
        &["$DATA $SDS size", "$DATA $SDS valid"],
        "262612",
        "there are descriptors for files and folders too",
    ),
    (&[9], &["$INDEX_ROOT $SII entries"], "256, 257, 258, 259", "the same"),
    (&[9], &["$INDEX_ROOT $SDH entries"], "256, 257, 258, 259", "the same"),
    (&[10], &["$DATA $Info value"], UPCASE_INFO, "the version of Windows that the table is from"),
    (&[16, 17, 18, 19, 20, 21, 22, 23], &["sequence"], "1", "not in use; Windows 10 leaves zeros there"),
    (
        &[16, 17, 18, 19, 20, 21, 22, 23],
        &[
            "$STANDARD_INFORMATION",
            "$STANDARD_INFORMATION size",
            "$STANDARD_INFORMATION attributes",
            "$STANDARD_INFORMATION flags",
        ],
        ABSENT,
        "not in use",
    ),
    (
        &[24, 25, 26],
        &["$STANDARD_INFORMATION attributes", "$FILE_NAME attributes"],
        "20000006",
        "Windows 10: not to be archived",
    ),
    (&[24, 25, 26], &["$FILE_NAME namespace"], "0", "Windows 10: they have no short names"),
];

const ABSENT: &str = "-";
/// S-1-5-18.
const SYSTEM: &str = "010100000000000512000000";
/// S-1-5-32-544.
const ADMINISTRATORS: &str = "01020000000000052000000020020000";
const UPCASE_INFO: &str = "20000000000000000c691b6b777edcda0a000000000000000000000000000000";

#[test]
fn an_empty_volume_is_what_mkntfs_makes() {
    for more_free in [0, 100 << 20] {
        let wanted = NewImage { container: NewContainer::FixedVhd, label: "label", more_free, ..usual() };
        let source = Source::new();
        // Other permissions would be kept in extended attributes.
        fs::set_permissions(source.path(), Permissions::from_mode(0o755)).unwrap();
        let image = source.image(&wanted);
        let ours = partition(&image);
        let cluster = image.created.cluster.to_string();
        let Some(theirs) = ntfs3g::Volume::format(
            ours.len() as u64,
            &["-s", "512", "-c", &cluster, "-p", "2048", "-H", "255", "-S", "63", "-L", "label"],
        ) else {
            return;
        };
        let theirs = facts(&fs::read(theirs.path()).unwrap());
        let ours = facts(&ours);
        assert!(ours.len() > 300 && theirs.len() > 300, "{} and {} facts", ours.len(), theirs.len());

        let of = |facts: &Facts, what: &What| facts.get(what).map_or(ABSENT, String::as_str).to_owned();
        let all: BTreeSet<&What> = ours.keys().chain(theirs.keys()).collect();
        let different = all.into_iter().filter(|what| ours.get(*what) != theirs.get(*what));
        let mut found: Vec<(&What, String, String)> =
            different.map(|what| (what, of(&ours, what), of(&theirs, what))).collect();
        for (records, whats, value, why) in DIFFERENCES {
            for (record, what) in
                records.iter().flat_map(|record| whats.iter().map(move |what| (record, what)))
            {
                let known = (format!("record {record:02}"), (*what).to_owned());
                let at = found.iter().position(|(what, ours, _)| (*what, &**ours) == (&known, *value));
                let at = at.unwrap_or_else(|| panic!("no such difference: {known:?} {value} ({why})"));
                found.remove(at);
            }
        }
        assert!(found.is_empty(), "what, ours, theirs: {found:#?}");
    }
}

/// A part of the volume, and a field of it.
type What = (String, String);
type Facts = BTreeMap<What, String>;

/// The bytes of the only partition.
fn partition(image: &Image) -> Vec<u8> {
    let disk = disk(image.bytes());
    let partition = partitions(&disk)[0].clone();
    let mut bytes = vec![0; usize::try_from(partition.size).unwrap()];
    disk.read_at(&mut bytes, partition.start).unwrap();
    bytes
}

/// A little-endian number.
fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    let mut all = [0; 8];
    all[..size].copy_from_slice(&bytes[at..at + size]);
    usize::try_from(u64::from_le_bytes(all)).unwrap()
}

fn text(utf16: &[u8]) -> String {
    let units: Vec<u16> = utf16.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    String::from_utf16(&units).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes the fixups out of a record or a block.
fn without_fixups(bytes: &[u8]) -> Vec<u8> {
    let mut fixed = bytes.to_vec();
    let (array, count) = (number(bytes, 4, 2), number(bytes, 6, 2));
    for stride in 1..count {
        assert_eq!(fixed[stride * 512 - 2..stride * 512], bytes[array..array + 2]);
        let original = array + stride * 2;
        fixed[stride * 512 - 2..stride * 512].copy_from_slice(&bytes[original..original + 2]);
    }
    fixed
}

/// All that is to be compared.
fn facts(volume: &[u8]) -> Facts {
    let mut facts = boot(volume);
    let cluster = number(volume, 11, 2) * number(volume, 13, 1);
    let start = number(volume, 48, 8) * cluster;
    let record = |number: usize| without_fixups(&volume[start + number * 1024..][..1024]);
    let records: Vec<Record> = (0..27).map(|number| Record::new(&record(number))).collect();
    let descriptors = descriptors(&records[9].attribute("$DATA $SDS").unwrap().content(volume, cluster));
    for (number, record) in records.iter().enumerate() {
        let mut add = |what: &str, value: String| {
            let what = (format!("record {number:02}"), what.to_owned());
            assert!(facts.insert(what.clone(), value).is_none(), "{what:?} twice");
        };
        record.tell(volume, cluster, &descriptors, &mut add);
        match number {
            1 => {
                let mirror = record.attribute("$DATA").unwrap().content(volume, cluster);
                add("repeats", (mirror == volume[start..start + mirror.len()]).to_string());
            }
            2 | 4 | 10 => {
                let content = record.attribute("$DATA").unwrap().content(volume, cluster);
                add("content", sha256_of(&content).unwrap());
            }
            6 => {
                let bitmap = record.attribute("$DATA").unwrap().content(volume, cluster);
                let used = |cluster: usize| bitmap[cluster / 8] & 1 << (cluster % 8) != 0;
                let clusters = crate::mkntfs::number(volume, 40, 8) * 512 / cluster;
                add("behind the end", (clusters..bitmap.len() * 8).all(used).to_string());
            }
            _ => {}
        }
    }
    facts
}

/// The boot sector, apart from what depends on the volume and from its code.
fn boot(volume: &[u8]) -> Facts {
    let fields = [
        ("jump", 0, 3),
        ("OEM ID", 3, 8),
        ("bytes in a sector", 11, 2),
        ("sectors in a cluster", 13, 1),
        ("unused by NTFS", 14, 7),
        ("media", 21, 3),
        ("sectors in a track", 24, 2),
        ("heads", 26, 2),
        ("hidden sectors", 28, 4),
        ("unused", 32, 8),
        ("sectors", 40, 8),
        ("clusters in a record", 64, 4),
        ("clusters in an index block", 68, 4),
        ("checksum", 80, 4),
        ("signature", 510, 2),
    ];
    let fields = fields.map(|(what, at, size)| (what, hex(&volume[at..at + size])));
    let last = volume.len() - 512;
    let repeated = ("repeated at the end", (volume[..512] == volume[last..]).to_string());
    fields.into_iter().chain([repeated]).map(|(what, value)| (("boot".into(), what.into()), value)).collect()
}

struct Record {
    in_use: bool,
    header: Vec<(&'static str, usize)>,
    attributes: Vec<Attribute>,
}

struct Attribute {
    /// Type and name.
    name: String,
    flags: usize,
    place: Place,
}

enum Place {
    Record { indexed: bool, value: Vec<u8> },
    Clusters { sizes: [usize; 3], runs: Vec<(Option<usize>, usize)> },
}

impl Record {
    fn new(bytes: &[u8]) -> Self {
        assert_eq!(&bytes[..4], b"FILE");
        let mut attributes = Vec::new();
        let mut at = number(bytes, 20, 2);
        let mut last = 0;
        while number(bytes, at, 4) != 0xffff_ffff {
            let (kind, length) = (number(bytes, at, 4), number(bytes, at + 4, 4));
            assert!(kind >= last, "attributes are sorted by their types");
            last = kind;
            attributes.push(Attribute::new(kind, &bytes[at..at + length]));
            at += length;
        }
        assert_eq!(number(bytes, 24, 4), at + 8, "bytes in use");
        let header = [
            ("sequence", 16, 2),
            ("links", 18, 2),
            ("first attribute", 20, 2),
            ("flags", 22, 2),
            ("allocated", 28, 4),
            ("base record", 32, 8),
        ];
        let header = header.map(|(what, at, size)| (what, number(bytes, at, size))).to_vec();
        Self { in_use: bytes[22] & 1 != 0, header, attributes }
    }

    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    fn tell(
        &self,
        volume: &[u8],
        cluster: usize,
        descriptors: &BTreeMap<usize, Descriptor>,
        add: &mut impl FnMut(&str, String),
    ) {
        for (what, value) in &self.header {
            add(what, value.to_string());
        }
        for attribute in &self.attributes {
            attribute.tell(volume, cluster, add);
        }
        let descriptor = match self.attribute("$SECURITY_DESCRIPTOR") {
            Some(own) => Descriptor::new(&own.content(volume, cluster)),
            None if self.in_use => {
                let information = self.attribute("$STANDARD_INFORMATION").unwrap().content(volume, cluster);
                descriptors[&number(&information, 52, 4)].clone()
            }
            None => return,
        };
        add("owner", descriptor.owner);
        add("group", descriptor.group);
        add("access", descriptor.access.join(", "));
    }
}

impl Attribute {
    fn new(kind: usize, bytes: &[u8]) -> Self {
        let kind = match kind {
            0x10 => "$STANDARD_INFORMATION",
            0x30 => "$FILE_NAME",
            0x50 => "$SECURITY_DESCRIPTOR",
            0x60 => "$VOLUME_NAME",
            0x70 => "$VOLUME_INFORMATION",
            0x80 => "$DATA",
            0x90 => "$INDEX_ROOT",
            0xa0 => "$INDEX_ALLOCATION",
            0xb0 => "$BITMAP",
            _ => panic!("attribute of type {kind:#x}"),
        };
        let name = text(&bytes[number(bytes, 10, 2)..][..number(bytes, 9, 1) * 2]);
        let place = if bytes[8] == 0 {
            let value = bytes[number(bytes, 20, 2)..][..number(bytes, 16, 4)].to_vec();
            Place::Record { indexed: bytes[22] != 0, value }
        } else {
            let sizes = [40, 48, 56].map(|at| number(bytes, at, 8));
            Place::Clusters { sizes, runs: runs(&bytes[number(bytes, 32, 2)..]) }
        };
        Self { name: format!("{kind} {name}").trim_end().to_owned(), flags: number(bytes, 12, 2), place }
    }

    fn content(&self, volume: &[u8], cluster: usize) -> Vec<u8> {
        match &self.place {
            Place::Record { value, .. } => value.clone(),
            Place::Clusters { sizes: [_, size, _], runs } => {
                let clusters = runs.iter().map(|(lcn, length)| (lcn.unwrap() * cluster, length * cluster));
                let mut content: Vec<u8> =
                    clusters.flat_map(|(at, length)| volume[at..at + length].to_vec()).collect();
                content.truncate(*size);
                content
            }
        }
    }

    fn tell(&self, volume: &[u8], cluster: usize, add: &mut impl FnMut(&str, String)) {
        let mut add = |what: &str, value: String| add(format!("{} {what}", self.name).trim_end(), value);
        if self.name == "$SECURITY_DESCRIPTOR" {
            // Its content is compared wherever it lies.
            return add("", "is here".into());
        }
        add("flags", self.flags.to_string());
        match &self.place {
            Place::Record { indexed, value } => {
                add("", format!("is in the record{}", if *indexed { ", and in an index" } else { "" }));
                self.tell_value(value, &mut add);
            }
            Place::Clusters { sizes: [allocated, size, valid], runs } => {
                let holes = runs.iter().any(|(lcn, _)| lcn.is_none());
                add("", format!("is in clusters{}", if holes { ", and in holes" } else { "" }));
                for (what, value) in [("allocated", allocated), ("size", size), ("valid", valid)] {
                    add(what, value.to_string());
                }
                if self.name == "$INDEX_ALLOCATION $I30" {
                    let block = without_fixups(&self.content(volume, cluster));
                    assert_eq!((&block[..4], number(&block, 16, 8)), (&b"INDX"[..], 0));
                    add("entries", entries("$I30", &block[24..]));
                }
            }
        }
    }

    /// What is in a value, without times.
    fn tell_value(&self, value: &[u8], add: &mut impl FnMut(&str, String)) {
        let mut hexadecimal =
            |what: &str, at: usize, size: usize| add(what, format!("{:x}", number(value, at, size)));
        match self.name.split_once(' ').unwrap_or((&self.name, "")) {
            ("$STANDARD_INFORMATION", _) => {
                hexadecimal("attributes", 32, 4);
                add("size", value.len().to_string());
            }
            ("$FILE_NAME", _) => {
                hexadecimal("parent", 0, 8);
                hexadecimal("attributes", 56, 4);
                hexadecimal("tag", 60, 4);
                hexadecimal("namespace", 65, 1);
                add("allocated", number(value, 40, 8).to_string());
                add("size", number(value, 48, 8).to_string());
                add("name", text(&value[66..]));
            }
            ("$INDEX_ROOT", name) => {
                hexadecimal("type", 0, 4);
                hexadecimal("collation rule", 4, 4);
                hexadecimal("block size", 8, 4);
                hexadecimal("clusters in a block", 12, 1);
                hexadecimal("node flags", 28, 1);
                add("entries", entries(name, &value[16..]));
            }
            _ => add("value", hex(value)),
        }
    }
}

/// Pairs of where a run begins, unless it is a hole, and its length.
fn runs(mut bytes: &[u8]) -> Vec<(Option<usize>, usize)> {
    let mut runs = Vec::new();
    let mut lcn = 0;
    while bytes[0] != 0 {
        let (length_size, lcn_size) = (usize::from(bytes[0] & 15), usize::from(bytes[0] >> 4));
        let length = number(bytes, 1, length_size);
        // Distances have signs.
        let mut distance = [if bytes[length_size + lcn_size] & 0x80 == 0 { 0 } else { 0xff }; 8];
        distance[..lcn_size].copy_from_slice(&bytes[1 + length_size..][..lcn_size]);
        lcn += i64::from_le_bytes(distance);
        runs.push(((lcn_size > 0).then(|| usize::try_from(lcn).unwrap()), length));
        bytes = &bytes[1 + length_size + lcn_size..];
    }
    runs
}

/// The entries of a node of an index, in their order; descriptors are told by their ids alone.
fn entries(index: &str, node: &[u8]) -> String {
    let mut told = Vec::new();
    let mut rest = &node[number(node, 0, 4)..number(node, 4, 4)];
    while number(rest, 12, 2) & 2 == 0 {
        let entry = &rest[..number(rest, 8, 2)];
        let key = &entry[16..16 + number(entry, 10, 2)];
        let value = &entry[number(entry, 0, 2)..];
        told.push(match index {
            "$I30" => format!("{} is {:x}", text(&key[66..]), number(entry, 0, 8)),
            "$SII" => number(key, 0, 4).to_string(),
            "$SDH" => number(key, 4, 4).to_string(),
            // The time of the last change is not compared.
            "$Q" => format!("{}: {} {}", hex(key), hex(&value[..16]), hex(&value[24..number(entry, 2, 2)])),
            _ => format!("{}: {}", hex(key), hex(&value[..number(entry, 2, 2)])),
        });
        rest = &rest[entry.len()..];
    }
    told.join(", ")
}

/// A security descriptor.
#[derive(Clone)]
struct Descriptor {
    owner: String,
    group: String,
    /// Flags, rights, and who has them.
    access: Vec<String>,
}

impl Descriptor {
    fn new(bytes: &[u8]) -> Self {
        let sid = |at: usize| hex(&bytes[at..at + 8 + number(bytes, at + 1, 1) * 4]);
        let list = &bytes[number(bytes, 16, 4)..];
        let mut access = Vec::new();
        let mut at = 8;
        for _ in 0..number(list, 4, 2) {
            let entry = &list[at..at + number(list, at + 2, 2)];
            assert_eq!(entry[0], 0, "allows something");
            access.push(format!("{:x} {:x} {}", entry[1], number(entry, 4, 4), hex(&entry[8..])));
            at += entry.len();
        }
        Self { owner: sid(number(bytes, 4, 4)), group: sid(number(bytes, 8, 4)), access }
    }
}

/// The descriptors in `$SDS`, by their ids.
fn descriptors(stream: &[u8]) -> BTreeMap<usize, Descriptor> {
    const REPEATED_AT: usize = 256 << 10;
    let mut descriptors = BTreeMap::new();
    let mut at = 0_usize;
    while number(stream, at, 4) != 0 {
        let (id, place, length) =
            (number(stream, at + 4, 4), number(stream, at + 8, 8), number(stream, at + 16, 4));
        assert_eq!((place, &stream[at..at + length]), (at, &stream[REPEATED_AT + at..][..length]));
        descriptors.insert(id, Descriptor::new(&stream[at + 20..at + length]));
        at = (at + length).next_multiple_of(16);
    }
    descriptors
}
