//! What gonto has changed in the registry, for whom, and what was there before.
//!
//! A value that several have set holds what the last of them wants. When that one goes, it gets what the one before wants;
//! when all have gone, what was there before the first came.

use std::fmt;
use std::path::Path;

use super::data::Data;
use super::place::{Key, Place};

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Journal {
    /// In the order in which they were first set.
    pub(super) records: Vec<Record>,
    /// Keys that were missing and have been made.
    pub(super) keys: Vec<Key>,
}

/// One value that has been set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) place: Place,
    /// What was there before; none when there was no such value.
    pub(super) before: Option<Data>,
    /// In the order in which they have set it. When there is none, what was there before could not be put back yet.
    pub(super) uses: Vec<Use>,
}

/// What somebody wants a value to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Use {
    pub(super) holder: Holder,
    pub(super) data: Data,
}

/// Who wants values to be set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// A run, or a `gonto mount` that is not done yet: as long as it lives.
    Run {
        /// The name of the file on which it holds a lock.
        lock: String,
    },
    /// A target that is mounted permanently: until `gonto umount`.
    Target { name: String, project: String },
}

impl Holder {
    pub(super) fn target(name: &str, project: &Path) -> Self {
        // No path of Windows begins with a quotation mark, so one that has to be escaped is no other one.
        let project = project.to_str().map_or_else(|| format!("{project:?}"), str::to_owned);
        Self::Target { name: name.to_owned(), project }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { .. } => f.write_str("another run"),
            Self::Target { name, project } => write!(f, "the mounted target {name} of {project}"),
        }
    }
}

/// What has to be done to the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) place: Place,
    /// What gonto has set it to; none when that is not known any more.
    pub(super) from: Option<Data>,
    /// What it has to hold; none when there must be no such value.
    pub(super) to: Option<Data>,
}

impl Journal {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.keys.is_empty()
    }

    fn record(&self, place: &Place) -> Option<&Record> {
        self.records.iter().find(|record| record.place == *place)
    }

    /// Whether it is known what was there before gonto.
    pub(super) fn knows(&self, place: &Place) -> bool {
        self.record(place).is_some()
    }

    /// What this holder wants the value to be, if anything.
    pub(super) fn wish(&self, place: &Place, holder: &Holder) -> Option<&Data> {
        self.record(place)?.uses.iter().find(|it| it.holder == *holder).map(|it| &it.data)
    }

    /// Notes what is there before gonto, and which keys gonto is about to make. What is known already counts.
    pub(super) fn add(&mut self, place: &Place, before: Option<Data>, missing: Vec<Key>) {
        if !self.knows(place) {
            self.records.push(Record { place: place.clone(), before, uses: Vec::new() });
        }
        for key in missing {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
    }

    /// Notes that a holder is about to set a value that was added. Returns the one who has set it to something else, if
    /// that is somebody else.
    pub(super) fn set(&mut self, place: &Place, holder: &Holder, data: &Data) -> Option<Holder> {
        let record = self.records.iter_mut().find(|record| record.place == *place)?;
        let last = record.uses.last().filter(|last| last.holder != *holder && last.data != *data);
        let other = last.map(|last| last.holder.clone());
        record.uses.retain(|it| it.holder != *holder);
        record.uses.push(Use { holder: holder.clone(), data: data.clone() });
        other
    }

    /// Everything that `run` has set is from now on for `keeper`.
    pub(super) fn hand_over(&mut self, run: &Holder, keeper: &Holder) {
        for record in &mut self.records {
            if record.uses.iter().any(|it| it.holder == *run) {
                record.uses.retain(|it| it.holder != *keeper);
                for it in record.uses.iter_mut().filter(|it| it.holder == *run) {
                    it.holder = keeper.clone();
                }
            }
        }
    }

    /// Forgets what those who have gone wanted. Returns what that changes, last set first, since one value may have two
    /// places (`HKEY_CLASSES_ROOT` shows parts of other roots).
    pub(super) fn release(&mut self, mut has_gone: impl FnMut(&Holder) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        for record in self.records.iter_mut().rev() {
            let last = record.uses.last().cloned();
            record.uses.retain(|it| !has_gone(&it.holder));
            if record.uses.last() != last.as_ref() {
                changes.push(record.change(last));
            }
        }
        changes
    }

    /// What could not be put back before.
    pub(super) fn pending(&self) -> Vec<Change> {
        let pending = self.records.iter().rev().filter(|record| record.uses.is_empty());
        pending.map(|record| record.change(None)).collect()
    }

    /// The value is again what it was before, so nothing of it has to be known any more if nobody uses it.
    pub(super) fn done(&mut self, place: &Place) {
        self.records.retain(|record| record.place != *place || !record.uses.is_empty());
    }

    /// Keys that gonto has made and in which it has nothing to put back any more, the deepest first.
    pub(super) fn unused_keys(&self) -> Vec<Key> {
        let is_used = |key: &Key| self.records.iter().any(|record| key.holds(record.place.key()));
        let mut keys: Vec<Key> = self.keys.iter().filter(|key| !is_used(key)).cloned().collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.depth()));
        keys
    }

    /// Whether a key that gonto has made lies below this one.
    pub(super) fn has_key_below(&self, key: &Key) -> bool {
        self.keys.iter().any(|other| other != key && key.holds(other))
    }

    /// The key has gone, or has become somebody else's.
    pub(super) fn forget_key(&mut self, key: &Key) {
        self.keys.retain(|other| other != key);
    }
}

impl Record {
    fn change(&self, last: Option<Use>) -> Change {
        let to = self.uses.last().map(|it| it.data.clone()).or_else(|| self.before.clone());
        Change { place: self.place.clone(), from: last.map(|it| it.data), to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RegistryRoot;

    fn key(path: &str) -> Key {
        Key::new(RegistryRoot::CurrentUser, path)
    }

    fn place(path: &str, name: &str) -> Place {
        Place::new(key(path), name).unwrap()
    }

    fn run(number: u32) -> Holder {
        Holder::Run { lock: format!("run-{number}.lock") }
    }

    fn data(text: &str) -> Data {
        Data { kind: 1, bytes: text.as_bytes().to_vec() }
    }

    /// A journal in which `before` was at `a\x`, and these have set it one after another.
    fn set_by(holders: &[(&Holder, &str)]) -> Journal {
        let mut journal = Journal::default();
        journal.add(&place("a", "x"), Some(data("before")), Vec::new());
        for (holder, text) in holders {
            journal.set(&place("a", "x"), holder, &data(text));
        }
        journal
    }

    fn change(from: &str, to: &str) -> Vec<Change> {
        vec![Change { place: place("a", "x"), from: Some(data(from)), to: Some(data(to)) }]
    }

    #[test]
    fn the_last_one_out_puts_back_what_the_first_one_found() {
        let mut journal = set_by(&[(&run(1), "one"), (&run(2), "two")]);
        // What the second one finds is not what was there before.
        journal.add(&place("A", "X"), Some(data("one")), Vec::new());
        assert_eq!(journal.release(|it| *it == run(1)), [], "what the second wants is there");
        assert_eq!(journal.release(|it| *it == run(2)), change("two", "before"));
        journal.done(&place("a", "x"));
        assert!(journal.is_empty());
    }

    #[test]
    fn when_the_last_one_goes_the_one_before_gets_its_value_again() {
        let mut journal = set_by(&[(&run(1), "one"), (&run(2), "two"), (&run(3), "three")]);
        assert_eq!(journal.release(|it| *it == run(3)), change("three", "two"));
        journal.done(&place("a", "x"));
        assert!(journal.knows(&place("a", "x")), "somebody uses it");
        assert_eq!(journal.release(|it| *it == run(1) || *it == run(2)), change("two", "before"));
    }

    #[test]
    fn who_sets_another_value_is_told_whose_it_was() {
        let mut journal = set_by(&[(&run(1), "one")]);
        let mut set = |holder: &Holder, text| journal.set(&place("a", "X"), holder, &data(text));
        assert_eq!(set(&run(2), "one"), None, "the same value");
        assert_eq!(set(&run(3), "three"), Some(run(2)));
        assert_eq!(set(&run(3), "more"), None, "its own value");
        assert_eq!(set(&run(1), "again"), Some(run(3)));
        assert_eq!(
            journal.release(|it| *it == run(1)),
            change("again", "more"),
            "who sets again is the last"
        );
    }

    #[test]
    fn a_mount_keeps_what_it_has_set() {
        let keeper = Holder::target("build", Path::new("project"));
        let mut journal = set_by(&[(&keeper, "old"), (&run(1), "other"), (&run(2), "new")]);
        journal.hand_over(&run(2), &keeper);
        assert_eq!(journal.wish(&place("a", "x"), &keeper), Some(&data("new")));
        assert_eq!(journal.release(|it| *it == run(2)), []);
        assert_eq!(journal.release(|it| *it == keeper), change("new", "other"));
        assert_eq!(journal.release(|it| *it == run(1)), change("other", "before"));
    }

    #[test]
    fn what_could_not_be_put_back_stays() {
        let mut journal = set_by(&[(&run(1), "one")]);
        assert_eq!(journal.pending(), []);
        assert_eq!(journal.release(|_| true).len(), 1);
        let pending = Change { place: place("a", "x"), from: None, to: Some(data("before")) };
        assert_eq!(journal.pending(), [pending]);
        assert_eq!(journal.release(|_| true), [], "it is not told twice");
        // Who comes now still finds what was there before the first.
        journal.add(&place("a", "x"), Some(data("one")), Vec::new());
        journal.set(&place("a", "x"), &run(2), &data("two"));
        assert_eq!(journal.release(|_| true), change("two", "before"));
    }

    #[test]
    fn values_are_put_back_last_set_first() {
        let mut journal = Journal::default();
        for name in ["x", "y", "z"] {
            journal.add(&place("a", name), None, Vec::new());
            journal.set(&place("a", name), &run(1), &data(name));
        }
        let names: Vec<_> = journal.release(|_| true).iter().map(|it| it.place.name().to_owned()).collect();
        assert_eq!(names, ["z", "y", "x"]);
    }

    #[test]
    fn keys_go_when_nothing_is_to_be_put_back_in_them() {
        let mut journal = Journal::default();
        journal.add(&place(r"a\b", "x"), None, key(r"a\b").upwards().collect());
        journal.set(&place(r"a\b", "x"), &run(1), &data("one"));
        journal.add(&place(r"A\B\c", "y"), None, vec![key(r"A\B\c")]);
        journal.set(&place(r"A\B\c", "y"), &run(2), &data("two"));
        journal.add(&place("a", "z"), None, vec![key("A")]);
        assert_eq!(journal.keys.len(), 3, "a key is made once");
        journal.done(&place("a", "z"));
        journal.release(|it| *it == run(1));
        journal.done(&place(r"a\b", "x"));
        assert_eq!(journal.unused_keys(), [], "the other run's key lies below");
        journal.release(|it| *it == run(2));
        assert_eq!(journal.unused_keys(), [], "its value is not back yet");
        journal.done(&place(r"a\b\c", "y"));
        assert_eq!(journal.unused_keys(), [key(r"a\b\c"), key(r"a\b"), key("a")]);
        assert!(journal.has_key_below(&key("a")));
        journal.forget_key(&key(r"a\b"));
        journal.forget_key(&key(r"a\b\c"));
        assert!(!journal.has_key_below(&key("a")));
    }

    #[test]
    fn a_project_is_known_by_its_path() {
        let holder = |project: &str| Holder::target("build", Path::new(project));
        assert_eq!(holder(r"C:\a"), holder(r"C:\a"));
        assert_ne!(holder(r"C:\a"), holder(r"C:\b"));
        assert_eq!(holder(r"C:\a").to_string(), r"the mounted target build of C:\a");
    }
}
