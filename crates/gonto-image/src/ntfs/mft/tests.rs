//! Real, heavily fragmented tables: a few records of volumes with hundreds of gigabytes, at their places.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::super::attribute::Sizes;
use super::super::inode::Inode;
use super::super::runs::Extent;
use super::*;

/// A huge volume of which a few pieces are known; the rest is zero.
struct Pieces {
    size: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl ReadAt for Pieces {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        buf.fill(0);
        for (at, piece) in &self.pieces {
            let end = at + piece.len() as u64;
            let (from, to) = (offset.max(*at), (offset + buf.len() as u64).min(end));
            if from < to {
                let place = |at: u64, base: u64| usize::try_from(at - base).unwrap();
                buf[place(from, offset)..place(to, offset)]
                    .copy_from_slice(&piece[place(from, *at)..place(to, *at)]);
            }
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// The files of a folder are called after their place: `0xc0000000.bin`.
fn pieces(folder: &Path) -> Pieces {
    let mut pieces = BTreeMap::new();
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if let Some(place) = name.strip_prefix("0x") {
            pieces.insert(u64::from_str_radix(place, 16).unwrap(), std::fs::read(&file).unwrap());
        }
    }
    Pieces { size: 1 << 40, pieces }
}

fn fragments(name: &str) -> Option<PathBuf> {
    let Some(corpus) = std::env::var_os("GONTO_CORPUS") else {
        eprintln!("skipped: no corpus (GONTO_CORPUS is not set)");
        return None;
    };
    Some(PathBuf::from(corpus).join("vectors/go-ntfs-fragments").join(name))
}

/// `… FileOffset A -> DiskOffset B (Length C,  Cluster 4096) …`, all of them in clusters.
fn golden(text: &str) -> Vec<(u64, u64, u64)> {
    let number = |line: &str, label: &str| -> Option<u64> {
        line.split(label).nth(1)?.split([' ', ',']).next()?.parse().ok()
    };
    let lines = text.lines().filter(|line| line.contains("Cluster 4096"));
    lines
        .filter_map(|line| {
            Some((number(line, "FileOffset ")?, number(line, "DiskOffset ")?, number(line, "(Length ")?))
        })
        .collect()
}

#[test]
fn a_table_whose_runs_need_several_records_is_put_together() {
    let Some(folder) = fragments("highly_fragmented_mft") else { return };
    let mft = Mft::open(Arc::new(pieces(&folder))).unwrap();
    assert_eq!(mft.records(), 7_203_717_120 / 1024);
    let expected = golden(&std::fs::read_to_string(folder.join("fixtures/runs.golden")).unwrap());
    assert!(expected.len() > 50, "only {} runs in the golden file", expected.len());
    for (vcn, lcn, length) in expected {
        let found = mft.runs.from(Vcn(vcn)).unwrap();
        assert_eq!((found.lcn, found.length), (Some(Lcn(lcn)), length), "from VCN {vcn} on");
        assert_eq!(mft.place(vcn * 4 + 1), lcn * 4096 + 1024);
    }
}

#[test]
fn a_table_whose_later_records_are_missing_is_refused() {
    let Some(folder) = fragments("highly_fragmented_mft") else { return };
    let mut volume = pieces(&folder);
    volume.pieces.remove(&0xc000_3c00);
    let Err(error) = Mft::open(Arc::new(volume)) else { panic!("opened") };
    assert!(error.to_string().contains("NTFS record 15 is damaged at byte 0xc0003c00"), "{error}");
}

/// The file in a record of a volume of which little is known.
fn inode(volume: &str, record: u64) -> Option<Inode> {
    let mft = Mft::open(Arc::new(pieces(&fragments(volume)?))).unwrap();
    let mut raw = vec![0; mft.geometry.record_size];
    mft.read_raw(record, &mut raw).unwrap();
    Some(Inode::read(&mft, record, &mut raw).unwrap())
}

#[test]
fn a_file_that_was_hardly_written_keeps_its_size() {
    let Some(inode) = inode("large_file_small_init", 46) else { return };
    let Some(Stream::Mapped(mapped)) = inode.data.map(|data| data.stream) else { panic!("resident") };
    assert_eq!(mapped.sizes, Sizes { data: 1 << 20, valid: 4096 });
    assert_eq!(mapped.runs.from(Vcn(0)).unwrap(), Extent { lcn: Some(Lcn(69787)), length: 256 });
}

#[test]
fn a_file_whose_attributes_lie_in_several_records_is_put_together() {
    let Some(inode) = inode("usn_with_two_vcns", 68310) else { return };
    assert_eq!((inode.sequence, inode.is_directory()), (2, false));
    let size = |name: &[u8]| {
        let stream = inode.streams.iter().find(|stream| *stream.name == *name).unwrap();
        stream.data.as_ref().map(|data| data.stream.size()).ok()
    };
    assert_eq!((size(b"$Max"), size(b"$J")), (Some(32), Some(6_352_113_880)));
}
