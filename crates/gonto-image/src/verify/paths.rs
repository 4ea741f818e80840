//! Paths for findings, which only know the number of a record.

use std::collections::HashMap;

use super::finding::Findings;
use crate::ntfs::attribute::{Content, each, kind};
use crate::ntfs::index::entry::FileName;
use crate::ntfs::mft::Mft;
use crate::ntfs::record::Record;
use crate::ntfs::{ROOT_RECORD, name};

/// Folders that lie in each other without an end are cut off here; Windows makes none so deep.
const DEEPEST: usize = 1000;

/// Gives each finding the path of its file, as the records tell it: an index may be what is damaged.
pub(super) fn add(mft: &Mft, findings: &mut Findings) {
    let mut names = HashMap::new();
    for finding in &mut findings.kept {
        let mut parts = Vec::new();
        let mut at = finding.record.unwrap_or(ROOT_RECORD);
        while at != ROOT_RECORD && parts.len() < DEEPEST {
            let found = names.entry(at).or_insert_with(|| folder_and_name(mft, at));
            let Some((folder, name)) = found else { break };
            parts.push(name.clone());
            at = *folder;
        }
        parts.reverse();
        finding.path = parts.join("/");
    }
}

/// The first name of a file that is not for MS-DOS only, and the record of the folder that it lies in.
fn folder_and_name(mft: &Mft, number: u64) -> Option<(u64, String)> {
    let mut raw = vec![0; mft.geometry.record_size];
    mft.read_raw(number, &mut raw).ok()?;
    let record = Record::open(&mut raw, number).ok()?;
    let mut found = None;
    // A record that lies further on may still tell its name.
    let _ = each(&record, |attribute| {
        if let (kind::FILE_NAME, Content::Resident(value)) = (attribute.kind, &attribute.content)
            && let Ok(key) = FileName::parse(value)
            && (found.is_none() || !key.is_dos_only())
        {
            let text = String::from_utf8_lossy(&name::to_wtf8(key.utf16)).into_owned();
            found.get_or_insert((key.parent.record, text));
        }
        Ok(())
    });
    found
}
