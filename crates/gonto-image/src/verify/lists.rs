//! Files with several records: what their attribute lists say against what there is.

use super::finding::Findings;
use super::survey::{Listed, StreamPiece, Survey};
use crate::ntfs::mft::Mft;

pub(super) fn verify(mft: &Mft, survey: &mut Survey, findings: &mut Findings) {
    for (record, base) in &survey.extensions {
        match survey.base(base.record) {
            Some(file) if base.sequence == 0 || file.sequence == base.sequence || file.broken => {}
            Some(file) => findings.warning(
                *record,
                format_args!(
                    "continues {base}, which has sequence number {} by now: the record is lost",
                    file.sequence
                ),
            ),
            None => findings.warning(
                *record,
                format_args!("continues record {}, which is no file: the record is lost", base.record),
            ),
        }
    }
    let mut pieces = std::mem::take(&mut survey.pieces);
    pieces.sort_unstable();
    for stream in pieces.chunk_by(|a, b| (a.base, a.kind, a.name) == (b.base, b.kind, b.name)) {
        tell_gaps(stream, findings);
    }
    let mut listed = std::mem::take(&mut survey.listed);
    let mut present = std::mem::take(&mut survey.present);
    // Attributes of records that are lost are in no list, and were told already.
    let lives = |base: u64| survey.base(base).is_some_and(|base| !base.broken);
    listed.retain(|attribute| lives(attribute.base));
    present.retain(|attribute| lives(attribute.base) && continues(survey, attribute));
    listed.sort_unstable();
    present.sort_unstable();
    for attribute in missing(&listed, &present) {
        let Listed { base, record, kind, .. } = *attribute;
        let place = mft.place(record);
        findings.error(
            base,
            format_args!(
                "its attribute list names an attribute of type {kind:#x} in record {record} (byte {place:#x} of \
                 the volume), which is not there"
            ),
        );
    }
    for attribute in missing(&present, &listed) {
        let Listed { base, record, kind, .. } = *attribute;
        findings.error(
            base,
            format_args!("an attribute of type {kind:#x} in record {record} is not in its attribute list"),
        );
    }
}

/// Whether an attribute lies in a record that really belongs to the present use of its base.
fn continues(survey: &Survey, attribute: &Listed) -> bool {
    if attribute.record == attribute.base {
        return true;
    }
    let place = survey.extensions.binary_search_by_key(&attribute.record, |(record, _)| *record);
    place.is_ok_and(|place| {
        let (_, base) = survey.extensions[place];
        survey.base(base.record).is_some_and(|file| base.sequence == 0 || file.sequence == base.sequence)
    })
}

fn tell_gaps(stream: &[StreamPiece], findings: &mut Findings) {
    let mut next = 0;
    for piece in stream {
        if piece.lowest != next {
            findings.error(
                piece.base,
                format_args!(
                    "expected a piece of the attribute of type {:#x} from VCN {next} on, found one from VCN {} on",
                    piece.kind, piece.lowest
                ),
            );
            return;
        }
        next = piece.end;
    }
    let Some(first) = stream.first().filter(|first| first.allocated != next) else { return };
    findings.error(
        first.base,
        format_args!(
            "expected {next} clusters, as its runs hold, as allocated size of the attribute of type {:#x}, found {}",
            first.kind, first.allocated
        ),
    );
}

/// What is in the first of two sorted lists, but not in the second. What is in it several times is looked for as often.
pub(super) fn missing<'l, T: Ord>(these: &'l [T], those: &[T]) -> Vec<&'l T> {
    let mut those = those.iter().peekable();
    let mut missing = Vec::new();
    for this in these {
        while those.next_if(|that| *that < this).is_some() {}
        if those.next_if(|that| *that == this).is_none() {
            missing.push(this);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_is_missing_is_found_once_for_each_time() {
        assert_eq!(missing(&[1, 2, 2, 3, 5], &[0, 2, 3, 4]), [&1, &2, &5]);
        assert_eq!(missing(&[1, 2], &[1, 2, 3]), Vec::<&i32>::new());
        assert_eq!(missing(&[1], &[]), [&1]);
    }
}
