//! The journal as JSON.
//!
//! ```json
//! { "format": 1,
//!   "values": [ { "root": "HKEY_CURRENT_USER", "path": "Software\\Example", "name": "Path",
//!                 "before": "absent",
//!                 "uses": [ { "holder": { "run": "run-Ab3dEf.lock" }, "data": { "type": 1, "hex": "5500…" } } ] } ],
//!   "keys": [ { "root": "HKEY_CURRENT_USER", "path": "Software\\Example" } ] }
//! ```
//!
//! Nothing in it is optional, and nothing else may be in it: whatever was lost or damaged is noticed, and not taken for a value
//! that was not there.

use serde::{Deserialize, Serialize};

use super::RegistryError;
use super::data::Data;
use super::journal::{Holder, Journal, Record, Use};
use super::place::{Key, Place};
use crate::config::RegistryRoot;

/// Grows when the meaning of anything changes.
const FORMAT: u32 = 1;

/// How the names of the files begin and end that runs hold locks on.
pub(super) const RUN: (&str, &str) = ("run-", ".lock");

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    values: Vec<StoredRecord>,
    keys: Vec<StoredKey>,
}

/// What every format begins with.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRecord {
    root: String,
    path: String,
    name: String,
    before: StoredBefore,
    uses: Vec<StoredUse>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    root: String,
    path: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredBefore {
    Absent,
    Data(StoredData),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredUse {
    holder: StoredHolder,
    data: StoredData,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum StoredHolder {
    Run(String),
    Target { name: String, project: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredData {
    /// The number of the type.
    #[serde(rename = "type")]
    kind: u32,
    /// The bytes, two digits each.
    hex: String,
}

/// The journal as text.
///
/// # Errors
/// None that is known: it holds only strings and numbers.
pub(super) fn to_json(journal: &Journal) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec_pretty(&Stored {
        format: FORMAT,
        values: journal.records.iter().map(StoredRecord::from).collect(),
        keys: journal.keys.iter().map(StoredKey::from).collect(),
    })
}

/// The journal in a text.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn from_json(text: &[u8]) -> Result<Journal, String> {
    let head: Head = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if head.format != FORMAT {
        return Err(format!("it is of another version of gonto, in format {} and not {FORMAT}", head.format));
    }
    let stored: Stored = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mut journal = Journal::default();
    for record in stored.values {
        let record = record.meaning()?;
        if journal.knows(&record.place) {
            return Err(format!("it tells twice of {}", record.place));
        }
        journal.records.push(record);
    }
    for StoredKey { root, path } in stored.keys {
        let key = key(&root, &path)?;
        if key.is_root() {
            return Err(format!("gonto cannot have made {root}"));
        }
        journal.keys.push(key);
    }
    Ok(journal)
}

fn key(root: &str, path: &str) -> Result<Key, String> {
    let root = RegistryRoot::ALL.iter().find(|known| known.as_str() == root);
    let key = Key::new(*root.ok_or("it names an unknown root")?, path);
    // The same rules as for values.
    place(key.clone(), "").map(|_| key)
}

fn place(key: Key, name: &str) -> Result<Place, String> {
    Place::new(key, name).map_err(|error: RegistryError| error.to_string())
}

impl StoredRecord {
    fn meaning(self) -> Result<Record, String> {
        let place = place(key(&self.root, &self.path)?, &self.name)?;
        let before = match self.before {
            StoredBefore::Absent => None,
            StoredBefore::Data(data) => Some(data.meaning()?),
        };
        let uses: Result<_, String> = self.uses.into_iter().map(StoredUse::meaning).collect();
        Ok(Record { place, before, uses: uses? })
    }
}

impl From<&Record> for StoredRecord {
    fn from(record: &Record) -> Self {
        let StoredKey { root, path } = record.place.key().into();
        Self {
            root,
            path,
            name: record.place.name().to_owned(),
            before: record
                .before
                .as_ref()
                .map_or(StoredBefore::Absent, |data| StoredBefore::Data(data.into())),
            uses: record.uses.iter().map(StoredUse::from).collect(),
        }
    }
}

impl From<&Key> for StoredKey {
    fn from(key: &Key) -> Self {
        Self { root: key.root().as_str().to_owned(), path: key.path() }
    }
}

impl StoredUse {
    fn meaning(self) -> Result<Use, String> {
        let holder = match self.holder {
            // A name with a folder in it would lead out of the state folder.
            StoredHolder::Run(lock) if !is_name_of_run(&lock) => {
                return Err(format!("{lock:?} is no file of a run"));
            }
            StoredHolder::Run(lock) => Holder::Run { lock },
            StoredHolder::Target { name, project } => Holder::Target { name, project },
        };
        Ok(Use { holder, data: self.data.meaning()? })
    }
}

impl From<&Use> for StoredUse {
    fn from(it: &Use) -> Self {
        let holder = match it.holder.clone() {
            Holder::Run { lock } => StoredHolder::Run(lock),
            Holder::Target { name, project } => StoredHolder::Target { name, project },
        };
        Self { holder, data: (&it.data).into() }
    }
}

/// Whether a file of this name belongs to a run.
pub(super) fn is_name_of_run(name: &str) -> bool {
    let (prefix, suffix) = RUN;
    let middle = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
    middle.is_some_and(|middle| middle.chars().all(|character| character.is_ascii_alphanumeric()))
}

impl StoredData {
    fn meaning(self) -> Result<Data, String> {
        let digits: Option<Vec<u8>> = self.hex.chars().map(digit).collect();
        let digits = digits.filter(|digits| digits.len().is_multiple_of(2));
        let digits = digits.ok_or("the hex of a value is not made of pairs of hexadecimal digits")?;
        let bytes = digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect();
        Ok(Data { kind: self.kind, bytes })
    }
}

fn digit(character: char) -> Option<u8> {
    character.to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl From<&Data> for StoredData {
    fn from(data: &Data) -> Self {
        let digits = data.bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        let hex = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        Self { kind: data.kind, hex }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn journal() -> Journal {
        let mut journal = Journal::default();
        let place = |name| Place::new(Key::new(RegistryRoot::CurrentUser, r"Software\Ä"), name).unwrap();
        let odd = Data { kind: 0xffff_ff01, bytes: (0..=255).collect() };
        journal.add(&place("odd"), Some(odd.clone()), place("").key().upwards().collect());
        journal.add(&place(""), None, Vec::new());
        journal.set(&place("odd"), &Holder::Run { lock: "run-Ab1.lock".into() }, &odd);
        let keeper = Holder::target("build", Path::new("p\"roject"));
        journal.set(&place("odd"), &keeper, &Data { kind: 0, bytes: Vec::new() });
        journal
    }

    #[test]
    fn any_journal_comes_back() {
        let text = to_json(&journal()).unwrap();
        assert_eq!(from_json(&text).unwrap(), journal(), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn a_damaged_journal_is_refused_and_told_why() {
        let text = String::from_utf8(to_json(&journal()).unwrap()).unwrap();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} in {text}");
            from_json(text.replacen(from, to, 1).as_bytes()).unwrap_err()
        };
        assert!(refused("run-Ab1", "run-../../x").contains("no file of a run"));
        assert!(refused("run-Ab1", r"run-..\\x").contains("no file of a run"));
        assert_eq!(
            refused("\"format\": 1", "\"format\": 2"),
            "it is of another version of gonto, in format 2 and not 1"
        );
        assert!(refused("HKEY_CURRENT_USER", "HKEY_DYN_DATA").contains("HKEY_DYN_DATA"));
        assert_eq!(refused("HKEY_CURRENT_USER", "HKCU"), "it names an unknown root");
        assert!(refused("\"hex\": \"00", "\"hex\": \"0").contains("pairs of hexadecimal digits"));
        assert!(refused("\"hex\": \"00", "\"hex\": \"0g").contains("pairs of hexadecimal digits"));
        assert!(refused("\"before\": \"absent\",", "").contains("missing field `before`"));
        assert!(
            refused("\"name\": \"\"", "\"name\": \"ODD\"").contains("it tells twice of the value \"ODD\"")
        );
        assert!(refused("\"name\": \"\"", "\"name\": \"a\\u0000b\"").contains("NUL"));
        assert!(
            refused("\"path\": \"Software\"", "\"path\": \"\\\\\"")
                .contains("cannot have made HKEY_CURRENT_USER")
        );
        assert!(refused("\"keys\"", "\"more\": 1, \"keys\"").contains("unknown field"));
    }

    #[test]
    fn no_damage_is_a_panic() {
        let text = to_json(&journal()).unwrap();
        for length in 0..text.len() {
            from_json(&text[..length]).unwrap_err();
        }
        for place in 0..text.len() {
            let mut damaged = text.clone();
            damaged[place] ^= 1 << (place % 8);
            let _ = from_json(&damaged);
        }
    }
}
