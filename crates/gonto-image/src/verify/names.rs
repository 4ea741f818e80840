//! Names: each is written in the file and in the index of its folder, and both have to agree.

use std::collections::HashSet;

use super::finding::Findings;
use super::indexes::Indexed;
use super::lists::missing;
use super::survey::{Name, Survey};
use crate::ntfs::{FIRST_FREE_RECORD, ROOT_RECORD};

pub(super) fn verify(survey: &Survey, indexed: Indexed, findings: &mut Findings) {
    let Indexed { mut names, damaged } = indexed;
    names.sort_unstable();
    let sound = |record: u64| survey.base(record).is_some_and(|base| !base.broken);
    for name in missing(&names, &survey.names) {
        // That the record is free, or used for another file, was told by whoever read the index.
        if sound(name.file) {
            findings.error(
                name.folder,
                format_args!("an entry of its index leads to record {}, which has no such name", name.file),
            );
        }
    }
    for name in missing(&survey.names, &names) {
        if sound(name.file) && !damaged.contains(&name.folder) {
            let folder = name.folder;
            findings.error(
                name.file,
                match survey.base(folder) {
                    Some(base) if base.directory => {
                        format!("its name is not in the index of its folder, record {folder}")
                    }
                    _ => format!("its name says that it lies in record {folder}, which is no directory"),
                },
            );
        }
    }
    tell_link_counts(survey, findings);
    tell_second_names(survey, &names, findings);
    tell_unreached(survey, &names, findings);
}

/// The header of a record counts the names, those for MS-DOS included.
fn tell_link_counts(survey: &Survey, findings: &mut Findings) {
    let mut files: Vec<(u64, bool)> = survey.names.iter().map(|name| (name.file, name.dos_only)).collect();
    files.sort_unstable();
    let mut names = files.chunk_by(|a, b| a.0 == b.0).peekable();
    for base in &survey.bases {
        while names.next_if(|names| names[0].0 < base.record).is_some() {}
        let own = names.next_if(|names| names[0].0 == base.record).unwrap_or_default();
        let with_dos = own.len();
        let without = own.iter().filter(|(_, dos_only)| !dos_only).count();
        let counted = usize::from(base.hard_links);
        if !base.broken && counted != with_dos && counted != without {
            findings
                .error(base.record, format_args!("its header counts {counted} names, but it has {with_dos}"));
        }
    }
}

fn tell_second_names(survey: &Survey, names: &[Name], findings: &mut Findings) {
    let mut folders: Vec<u64> = names
        .iter()
        .filter(|name| !name.dos_only && survey.base(name.file).is_some_and(|base| base.directory))
        .map(|name| name.file)
        .collect();
    folders.sort_unstable();
    for same in folders.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
        findings.error(same[0], format_args!("a directory that {} names lead to", same.len()));
    }
}

/// Goes from the root through all indexes.
fn tell_unreached(survey: &Survey, names: &[Name], findings: &mut Findings) {
    let mut reached = HashSet::from([ROOT_RECORD]);
    let mut folders = vec![ROOT_RECORD];
    while let Some(folder) = folders.pop() {
        let first = names.partition_point(|name| name.folder < folder);
        for name in names[first..].iter().take_while(|name| name.folder == folder) {
            if reached.insert(name.file) {
                folders.push(name.file);
            }
        }
    }
    let lost: Vec<u64> = survey
        .bases
        .iter()
        .map(|base| base.record)
        .filter(|record| *record >= FIRST_FREE_RECORD && !reached.contains(record))
        .collect();
    if let Some(first) = lost.first() {
        findings.warning(
            None,
            format_args!(
                "{} that no path leads to, the first in record {first}",
                counted(lost.len() as u64, "file")
            ),
        );
    }
}

/// A number with what it counts.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
