//! Clusters: what files claim against each other, and against `$Bitmap`.

use super::finding::Findings;
use super::names::counted;
use super::survey::{Claim, Survey};
use crate::ntfs::mft::Mft;
use crate::ntfs::scan::Inodes;
use crate::ntfs::stream::Stream;
use crate::ntfs::{BITMAP_RECORD, Vcn};

/// How much of `$Bitmap` is compared at a time.
const CHUNK: u64 = 256 << 10;

/// How much of it is read at all: Windows makes no volume of more than 2^32 clusters. The limit keeps a bitmap whose runs all name
/// the same clusters from being read for ever.
const MOST_READ: u64 = 1 << 32 >> 3;

/// Compares all claims, which are sorted on the way.
pub(super) fn verify(mft: &Mft, inodes: &Inodes, survey: &mut Survey, findings: &mut Findings) {
    survey.claims.sort_unstable();
    let owned = without_overlaps(&survey.claims, findings);
    let bitmap = inodes.find_any(mft, BITMAP_RECORD).ok().and_then(|index| inodes.all()[index].data.as_ref());
    let Some(bitmap) = bitmap else {
        findings.error(BITMAP_RECORD, "there is no $Bitmap to hold the clusters of files against");
        return;
    };
    let clusters = mft.geometry.clusters;
    if bitmap.stream.size().saturating_mul(8) < clusters {
        let problem = format!(
            "expected a bit for each of {clusters} clusters, found {} bytes in $Bitmap",
            bitmap.stream.size()
        );
        findings.error(BITMAP_RECORD, problem);
    }
    let all_owners_known = survey.bases.iter().all(|base| !base.broken);
    let mut comparison = Comparison { mft, bitmap: &bitmap.stream, owned: &owned, lost: 0, first_lost: 0 };
    comparison.run(findings);
    if all_owners_known && comparison.lost > 0 {
        let (lost, first) = (counted(comparison.lost, "cluster"), comparison.first_lost);
        findings.warning(
            None,
            format_args!("{lost} that $Bitmap calls used, but no file owns, the first is {first}"),
        );
    }
}

/// Clusters with one owner, sorted and apart from each other. Tells of those that have two.
fn without_overlaps(claims: &[Claim], findings: &mut Findings) -> Vec<Claim> {
    let mut owned: Vec<Claim> = Vec::with_capacity(claims.len());
    for claim in claims {
        match owned.last_mut() {
            Some(last) if claim.start < last.end => {
                let shared = counted(claim.end.min(last.end) - claim.start, "cluster");
                let other = last.record;
                findings.error(
                    claim.record,
                    format_args!("{shared} from cluster {} on belong to record {other} as well", claim.start),
                );
                let rest = Claim { start: last.end, ..*claim };
                if rest.start < rest.end {
                    owned.push(rest);
                }
            }
            _ => owned.push(*claim),
        }
    }
    owned
}

/// The way through `$Bitmap`.
struct Comparison<'c> {
    mft: &'c Mft,
    bitmap: &'c Stream,
    owned: &'c [Claim],
    /// Clusters that are in use and have no owner.
    lost: u64,
    first_lost: u64,
}

impl Comparison<'_> {
    fn run(&mut self, findings: &mut Findings) {
        let geometry = &self.mft.geometry;
        // There may be any number of clusters behind the end of the image. Who claims them was told.
        let there = self.mft.volume.size().div_ceil(geometry.cluster_size).min(geometry.clusters);
        let size = self.bitmap.size().min(there.div_ceil(8));
        let (mut at, mut read) = (0, 0);
        let mut buf = Vec::new();
        let mut expected = Vec::new();
        while at < size {
            let zeroes = self.zeroes(at).min(size - at);
            if zeroes > 0 {
                self.tell_all_missing(at * 8, (at + zeroes) * 8, findings);
                at += zeroes;
                continue;
            }
            if read >= MOST_READ {
                findings.warning(
                    BITMAP_RECORD,
                    format_args!(
                        "more clusters than Windows counts: $Bitmap was not compared from byte {at:#x} on"
                    ),
                );
                return;
            }
            let length = CHUNK.min(size - at);
            buf.resize(usize::try_from(length).unwrap_or(0), 0);
            let volume = self.mft.volume.as_ref();
            if let Err(error) = self.bitmap.read_at(volume, &self.mft.geometry, &mut buf, at) {
                findings
                    .error(BITMAP_RECORD, format_args!("$Bitmap cannot be read at byte {at:#x}: {error}"));
                return;
            }
            self.expect(at * 8, buf.len(), &mut expected);
            if buf != expected {
                self.compare(at * 8, &buf, &expected, findings);
            }
            at += length;
            read += length;
        }
    }

    /// How many bytes of the bitmap from `at` on are known to be zero without reading them.
    fn zeroes(&self, at: u64) -> u64 {
        let Stream::Mapped(mapped) = self.bitmap else { return 0 };
        let geometry = &self.mft.geometry;
        let inside = at % geometry.cluster_size;
        let Some(extent) = mapped.runs.from(Vcn(at / geometry.cluster_size)) else { return 0 };
        let rest = extent.length.saturating_mul(geometry.cluster_size).saturating_sub(inside);
        match extent.lcn {
            None => rest,
            Some(lcn) => self.mft.volume.extent(geometry.offset(lcn) + inside).zeroes().min(rest),
        }
    }

    /// The owners of some clusters.
    fn owners(&self, start: u64, end: u64) -> &[Claim] {
        let first = self.owned.partition_point(|claim| claim.end <= start);
        let count = self.owned[first..].partition_point(|claim| claim.start < end);
        &self.owned[first..first + count]
    }

    /// The bits that should be set from cluster `start` on.
    fn expect(&self, start: u64, bytes: usize, expected: &mut Vec<u8>) {
        expected.clear();
        expected.resize(bytes, 0);
        let end = start + bytes as u64 * 8;
        for claim in self.owners(start, end) {
            let mut bit = usize::try_from(claim.start.max(start) - start).unwrap_or(0);
            let last = usize::try_from(claim.end.min(end) - start).unwrap_or(0);
            while bit < last {
                if bit.is_multiple_of(8) && last - bit >= 8 {
                    let whole = (last - bit) / 8;
                    expected[bit / 8..bit / 8 + whole].fill(0xff);
                    bit += whole * 8;
                } else {
                    expected[bit / 8] |= 1 << (bit % 8);
                    bit += 1;
                }
            }
        }
    }

    fn compare(&mut self, start: u64, found: &[u8], expected: &[u8], findings: &mut Findings) {
        for (byte, (found, expected)) in (0..).zip(found.iter().zip(expected)) {
            let mut lost = found & !expected;
            let first = start + byte * 8;
            // The bits behind the last cluster are set, so that nobody takes these clusters.
            if let Some(left @ 0..8) = self.mft.geometry.clusters.checked_sub(first) {
                lost &= !(0xff << left);
            }
            if lost != 0 && self.lost == 0 {
                self.first_lost = first + u64::from(lost.trailing_zeros());
            }
            self.lost += u64::from(lost.count_ones());
        }
        let end = start + found.len() as u64 * 8;
        for claim in self.owners(start, end) {
            // The clusters from here on that should not be free, up to the last one that was looked at.
            let mut missing = None;
            for cluster in claim.start.max(start)..claim.end.min(end) {
                let bit = usize::try_from(cluster - start).unwrap_or(0);
                if found[bit / 8] >> (bit % 8) & 1 == 0 {
                    missing.get_or_insert(cluster);
                } else if let Some(first) = missing.take() {
                    tell_missing(claim.record, first, cluster, findings);
                }
            }
            if let Some(first) = missing {
                tell_missing(claim.record, first, claim.end.min(end), findings);
            }
        }
    }

    /// Tells of all owners of some clusters, which are free in `$Bitmap`.
    fn tell_all_missing(&self, start: u64, end: u64, findings: &mut Findings) {
        for claim in self.owners(start, end) {
            tell_missing(claim.record, claim.start.max(start), claim.end.min(end), findings);
        }
    }
}

fn tell_missing(record: u64, first: u64, end: u64, findings: &mut Findings) {
    let clusters = counted(end - first, "cluster");
    findings
        .error(record, format_args!("{clusters} from cluster {first} on are its own, but free in $Bitmap"));
}
