//! The real registry, below `HKEY_CURRENT_USER\Software`, with real processes.

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, process, thread};

use gonto_mount::{Backend, Interrupt, Layer, Notices, Options};
use windows_registry::{CURRENT_USER, Type};

use super::folder::Folder;
use super::{Registry, Values};
use crate::Error;
use crate::config::{Config, RegistryData, RegistryRoot, RegistryType, RegistryValue, Search};
use crate::target::{ScriptType, Target};

/// A key of the test's own and a state folder.
struct Place {
    state: tempfile::TempDir,
    /// Below HKEY_CURRENT_USER.
    key: String,
    told: Arc<Mutex<Vec<String>>>,
}

impl Place {
    fn new(test: &str) -> Self {
        let key = format!(r"Software\gonto-test-{}-{test}", process::id());
        Self { state: tempfile::tempdir().unwrap(), key, told: Arc::default() }
    }

    fn registry(&self) -> Registry {
        let told = self.told.clone();
        registry(self.state.path(), Notices::new(move |notice| told.lock().unwrap().push(notice.to_string())))
    }

    /// What the user was told since the last time.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// A value in the test's key.
    fn text(&self, name: &str, data: &str) -> RegistryValue {
        text(&self.key, name, data)
    }

    fn integer(&self, name: &str, kind: RegistryType, data: u64) -> RegistryValue {
        RegistryValue { kind, data: RegistryData::Integer(data), ..self.text(name, "") }
    }

    /// Somebody else sets a value.
    fn set(&self, name: &str, kind: u32, bytes: &[u8]) {
        let key = CURRENT_USER.create(&self.key).unwrap();
        // As system::write does it, for the same reasons.
        let guarded = [bytes, &[0xff; 2]].concat();
        key.set_bytes(name, Type::Other(kind), &guarded[..bytes.len()]).unwrap();
        assert_eq!(self.get(name), Some((kind, bytes.to_vec())), "{name}");
    }

    fn get(&self, name: &str) -> Option<(u32, Vec<u8>)> {
        let value = CURRENT_USER.open(&self.key).ok()?.get_value(name).ok()?;
        Some((value.ty().into(), value.to_vec()))
    }

    fn get_text(&self, name: &str) -> Option<String> {
        CURRENT_USER.open(&self.key).ok()?.get_string(name).ok()
    }

    fn exists(&self, below: &str) -> bool {
        CURRENT_USER.open(format!(r"{}\{below}", self.key)).is_ok()
    }

    fn journal(&self) -> PathBuf {
        self.state.path().join("registry").join("journal.json")
    }

    /// Nothing is left that gonto would have to put back, and no file of a run.
    fn assert_clean(&self) {
        let folder = fs::read_dir(self.state.path().join("registry")).unwrap();
        let left: Vec<_> = folder.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = CURRENT_USER.remove_tree(&self.key);
    }
}

fn registry(state: &Path, notices: Notices) -> Registry {
    Registry::new(&Options {
        state_dir: state.to_owned(),
        cache_dir: state.join("cache"),
        backend: Backend::Auto,
        layer: Layer::Cache,
        notices,
        interrupt: Interrupt::new().unwrap(),
    })
}

fn text(key: &str, name: &str, data: &str) -> RegistryValue {
    RegistryValue {
        root: RegistryRoot::CurrentUser,
        path: key.to_owned(),
        name: name.to_owned(),
        kind: RegistryType::Sz,
        data: RegistryData::String(data.to_owned()),
    }
}

fn fill_in(text: &str) -> OsString {
    text.replace("{{mount_point}}", r"U:\").into()
}

fn write(registry: &Registry, values: &[RegistryValue]) -> Values {
    let mut written = registry.values(None);
    written.write(values, fill_in).unwrap();
    written
}

/// What another program sees.
fn reg_query(key: &str) -> String {
    let output = Command::new("reg").args(["query", &format!(r"HKCU\{key}")]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_type_is_written_for_all_to_see_and_goes_afterwards() {
    let place = Place::new("types");
    let strings = |name, kind, data: &str| RegistryValue { kind, ..place.text(name, data) };
    let values = [
        place.text("", "default"),
        place.text("sz", "{{mount_point}}bin"),
        strings("expand", RegistryType::ExpandSz, r"%TEMP%\{{mount_point}}"),
        strings("multi", RegistryType::MultiSz, "{{mount_point}}\nzwei ä\n"),
        place.integer("dword", RegistryType::Dword, 1),
        place.integer("little", RegistryType::DwordLittleEndian, 0xffff_fffe),
        place.integer("big", RegistryType::DwordBigEndian, 2),
        place.integer("qword", RegistryType::Qword, 3),
        place.integer("quadlittle", RegistryType::QwordLittleEndian, u64::MAX - 1),
        text(&format!(r"{}\\deep\er\", place.key), "sz", "below"),
    ];
    let written = write(&place.registry(), &values);
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let expected: [(&str, u32, Vec<u8>); 9] = [
        ("", 1, wide("default\0")),
        ("sz", 1, wide("U:\\bin\0")),
        ("expand", 2, wide("%TEMP%\\U:\\\0")),
        ("multi", 7, wide("U:\\\0zwei ä\0\0")),
        ("dword", 4, vec![1, 0, 0, 0]),
        ("little", 4, vec![0xfe, 0xff, 0xff, 0xff]),
        ("big", 5, vec![0, 0, 0, 2]),
        ("qword", 11, vec![3, 0, 0, 0, 0, 0, 0, 0]),
        ("quadlittle", 11, vec![0xfe, 255, 255, 255, 255, 255, 255, 255]),
    ];
    for (name, kind, bytes) in expected {
        assert_eq!(place.get(name), Some((kind, bytes)), "{name}");
    }
    let seen = reg_query(&place.key);
    assert!(seen.lines().any(|line| line.split_whitespace().eq(["sz", "REG_SZ", r"U:\bin"])), "{seen}");
    assert!(reg_query(&format!(r"{}\deep\er", place.key)).contains("below"));
    written.restore().unwrap();
    assert!(!place.exists(""), "gonto has made the key, so it goes");
    assert!(!reg_query(&place.key).contains("REG_SZ"));
    place.assert_clean();
    assert_eq!(place.told(), [""; 0]);
}

#[test]
fn a_mount_point_that_is_not_unicode_is_written_as_it_is() {
    let place = Place::new("surrogate");
    let mut written = place.registry().values(None);
    let mount_point = OsString::from_wide(&[0x55, 0xd800, 0x5c]);
    written.write(&[place.text("x", "{{mount_point}}")], |_| mount_point.clone()).unwrap();
    assert_eq!(place.get("x"), Some((1, b"U\0\0\xd8\\\0\0\0".to_vec())));
    written.restore().unwrap();
    place.assert_clean();
}

#[test]
fn whatever_was_there_before_comes_back_bit_for_bit() {
    let place = Place::new("before");
    let before: [(&str, u32, &[u8]); 9] = [
        ("none", 0, b""),
        ("none with bytes", 0, b"\x00\x01"),
        ("not ended", 1, b"a\0b\0"),
        ("odd", 2, b"a\0b"),
        ("two ends", 1, b"a\0\0\0\0\0"),
        ("binary", 3, &[0, 1, 2, 254, 255]),
        ("short", 4, &[7]),
        ("resources", 8, &[9; 5000]),
        ("unknown", 0x1234_5678, b"odd"),
    ];
    for (name, kind, bytes) in before {
        place.set(name, kind, bytes);
    }
    let mut values: Vec<_> =
        before.iter().map(|(name, ..)| place.text(&name.to_uppercase(), "mine")).collect();
    values.push(place.text("new", "mine"));
    let written = write(&place.registry(), &values);
    for (name, ..) in before {
        assert_eq!(place.get_text(name).as_deref(), Some("mine"), "{name}");
    }
    // The drop does it too.
    drop(written);
    for (name, kind, bytes) in before {
        assert_eq!(place.get(name), Some((kind, bytes.to_vec())), "{name}");
    }
    assert_eq!(place.get("new"), None);
    place.assert_clean();
}

#[test]
fn the_later_run_wins_and_the_last_one_out_puts_back() {
    let place = Place::new("two");
    place.set("x", 4, &[1, 0, 0, 0]);
    let value = |data: &str| [place.text("x", data), text(&format!(r"{}\made", place.key), "y", data)];
    let first = write(&place.registry(), &value("first"));
    let second = write(&place.registry(), &value("second"));
    let told = place.told();
    let name = format!("the value \"x\" of HKEY_CURRENT_USER\\{}", place.key);
    assert_eq!(
        told[0],
        format!("{name} was set to something else by another run, and is now what this target wants")
    );
    assert_eq!(told.len(), 2);
    let same = write(&place.registry(), &value("second"));
    assert_eq!(place.told(), [""; 0]);
    first.restore().unwrap();
    assert_eq!(place.get_text("x").as_deref(), Some("second"));
    same.restore().unwrap();
    let third = write(&place.registry(), &value("third"));
    place.told();
    third.restore().unwrap();
    assert_eq!(place.get_text("x").as_deref(), Some("second"), "the second one still needs it");
    assert!(place.exists("made"));
    second.restore().unwrap();
    assert_eq!(place.get("x"), Some((4, vec![1, 0, 0, 0])));
    assert!(!place.exists("made") && place.exists(""));
    assert_eq!(place.told(), [""; 0]);
    place.assert_clean();
}

#[test]
fn a_key_that_somebody_else_uses_stays() {
    let place = Place::new("shared");
    let below = |path: &str, name: &str| text(&format!(r"{}\{path}", place.key), name, "mine");
    let written = write(&place.registry(), &[below(r"a\value", "x"), below(r"b\key", "x"), below("c", "x")]);
    let others = CURRENT_USER.create(format!(r"{}\a\value", place.key)).unwrap();
    others.set_u32("other", 1).unwrap();
    CURRENT_USER.create(format!(r"{}\b\key\other", place.key)).unwrap();
    written.restore().unwrap();
    assert_eq!(others.get_u32("other").unwrap(), 1);
    others.get_type("x").unwrap_err();
    assert!(place.exists(r"b\key\other") && !place.exists("c"));
    place.assert_clean();
}

#[test]
fn what_a_script_changes_is_put_back_and_told() {
    let place = Place::new("changed");
    place.set("x", 4, &[1, 0, 0, 0]);
    place.set("removed", 4, &[2, 0, 0, 0]);
    let written = write(&place.registry(), &[place.text("x", "mine"), place.text("removed", "mine")]);
    place.set("x", 3, b"theirs");
    CURRENT_USER.options().write().open(&place.key).unwrap().remove_value("removed").unwrap();
    written.restore().unwrap();
    assert_eq!(place.get("x"), Some((4, vec![1, 0, 0, 0])));
    assert_eq!(place.get("removed"), Some((4, vec![2, 0, 0, 0])));
    let told = place.told();
    assert!(
        told.iter().all(|told| told.contains("was changed by somebody else while gonto had set it")),
        "{told:?}"
    );
    assert_eq!(told.len(), 2);
    // A key with all that is in it.
    let written = write(&place.registry(), &[place.text("x", "mine"), place.text("new", "mine")]);
    CURRENT_USER.remove_tree(&place.key).unwrap();
    written.restore().unwrap();
    assert_eq!(place.get("x"), Some((4, vec![1, 0, 0, 0])));
    assert_eq!(place.get("new"), None);
    place.assert_clean();
}

#[test]
fn what_cannot_be_written_takes_the_rest_along() {
    let place = Place::new("failing");
    let mut written = place.registry().values(None);
    written.write(&[place.text("x", "mine")], fill_in).unwrap();
    // A name of a key has at most 255 characters.
    let long = text(&format!(r"{}\{}", place.key, "k".repeat(300)), "y", "mine");
    let error = written.write(&[place.text("z", "mine"), long], fill_in).unwrap_err();
    let Error::RegistryNotWritten(source) = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("kkk"), "{source}");
    drop(written);
    assert!(!place.exists(""));
    place.assert_clean();
    // What is wrong by itself is noticed before anything is written.
    let mut written = place.registry().values(None);
    let dyn_data = RegistryValue { root: RegistryRoot::DynData, ..place.text("y", "mine") };
    written.write(&[place.text("x", "mine"), dyn_data], fill_in).unwrap_err();
    assert!(!place.exists("") && !place.journal().exists());
}

#[test]
fn a_permanent_mount_keeps_its_values_until_umount() {
    let place = Place::new("kept");
    place.set("x", 4, &[1, 0, 0, 0]);
    let registry = place.registry();
    let (build, project) = (("build", Path::new(r"C:\one")), Path::new(r"C:\two"));
    let mount = |data: &str| {
        let mut values = registry.values(Some(build));
        values.write(&[place.text("x", data), place.text("new", data)], fill_in).unwrap();
        values.keep().unwrap();
    };
    mount("kept");
    assert_eq!(place.get_text("x").as_deref(), Some("kept"));
    let journal = fs::read(place.journal()).unwrap();
    mount("kept");
    registry.tidy_up();
    registry.release("build", project).unwrap();
    registry.release("other", build.1).unwrap();
    assert!(fs::read(place.journal()).unwrap() == journal, "nobody has changed anything");

    // A run of the same time, and a failing mount that wants something else.
    let run = write(&registry, &[place.text("x", "run")]);
    run.restore().unwrap();
    let mut failing = registry.values(Some(build));
    failing.write(&[place.text("x", "other"), place.text("more", "other")], fill_in).unwrap();
    assert_eq!(place.get_text("x").as_deref(), Some("other"));
    drop(failing);
    assert_eq!(place.get_text("x").as_deref(), Some("kept"));
    assert_eq!(place.get("more"), None);

    mount("changed");
    assert_eq!(place.get_text("new").as_deref(), Some("changed"));
    registry.release(build.0, build.1).unwrap();
    assert_eq!(place.get("x"), Some((4, vec![1, 0, 0, 0])));
    assert_eq!(place.get("new"), None);
    place.assert_clean();
    registry.release(build.0, build.1).unwrap();
}

#[test]
fn what_a_killed_run_has_written_is_put_back_by_the_next() {
    let place = Place::new("killed");
    place.set("x", 4, &[1, 0, 0, 0]);
    let mut holder = Holder::new(&place, HOLD).start();
    holder.wait_until_written();
    assert!(reg_query(&place.key).contains("child"));
    let registry = place.registry();
    registry.tidy_up();
    assert_eq!(place.get_text("x").as_deref(), Some("child"), "it lives");
    let second = write(&registry, &[place.text("x", "second")]);
    holder.kill();
    assert_eq!(place.get_text("x").as_deref(), Some("second"));
    registry.tidy_up();
    assert_eq!(place.get_text("x").as_deref(), Some("second"), "that one lives");
    second.restore().unwrap();
    assert_eq!(place.get("x"), Some((4, vec![1, 0, 0, 0])));

    let mut holder = Holder::new(&place, HOLD).start();
    holder.wait_until_written();
    holder.kill();
    assert!(place.exists("made"));
    place.told();
    registry.tidy_up();
    assert_eq!(place.get("x"), Some((4, vec![1, 0, 0, 0])));
    assert!(!place.exists("made"));
    let told = place.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told[1],
        format!(
            "a killed gonto had left the value \"x\" of HKEY_CURRENT_USER\\{} changed; it is put back",
            place.key
        )
    );
    // The dead one's lock goes with the next run.
    drop(write(&registry, &[place.text("x", "next")]));
    place.assert_clean();
}

#[test]
fn a_run_may_be_killed_at_any_moment() {
    let place = Place::new("moments");
    place.set("x", 3, b"before");
    for delay in 0..12 {
        let mut holder = Holder::new(&place, AGAIN_AND_AGAIN).start();
        holder.wait_until_written();
        // When exactly does not matter: every moment must be right.
        thread::sleep(Duration::from_millis(delay * 3));
        holder.kill();
        place.registry().tidy_up();
        assert_eq!(place.get("x"), Some((3, b"before".to_vec())));
        assert!(!place.exists("made"));
        assert!(!place.journal().exists());
    }
}

#[test]
fn a_run_of_another_target_puts_back_what_a_killed_one_has_left() {
    let place = Place::new("target");
    place.set("x", 3, b"before");
    for task in [RUN, UMOUNT] {
        let mut holder = Holder::new(&place, HOLD).start();
        holder.wait_until_written();
        holder.kill();
        assert_eq!(place.get_text("x").as_deref(), Some("child"));
        assert!(Holder::new(&place, task).start().child.wait().unwrap().success());
        assert_eq!(place.get("x"), Some((3, b"before".to_vec())), "{task}");
    }
}

#[test]
fn one_that_cannot_be_put_back_stays_in_the_journal() {
    let place = Place::new("stays");
    place.set("good", 1, b"c\0\0\0");
    let long = format!(r"{}\\{}", place.key, "k".repeat(300)).replace(r"\\", r"\").replace('\\', r"\\");
    let key = place.key.replace('\\', r"\\");
    let set = r#""uses": [{"holder": {"run": "run-gone.lock"}, "data": {"type": 1, "hex": "63000000"}}]"#;
    let before = r#""before": {"data": {"type": 1, "hex": "62000000"}}"#;
    let value = |path: &str, name: &str| {
        format!(r#"{{"root": "HKEY_CURRENT_USER", "path": "{path}", "name": "{name}", {before}, {set}}}"#)
    };
    let values = [value(&key, "good"), value(&long, "bad")].join(",");
    drop(Folder::new(place.state.path()).lock(|_| Ok(())).unwrap());
    fs::write(place.journal(), format!(r#"{{"format": 1, "values": [{values}], "keys": []}}"#)).unwrap();
    let registry = place.registry();
    registry.tidy_up();
    assert_eq!(place.get("good"), Some((1, b"b\0\0\0".to_vec())));
    let told = place.told().join("\n");
    assert!(told.contains("the value \"bad\"") && told.contains("is not put back"), "{told}");
    let journal = fs::read_to_string(place.journal()).unwrap();
    assert!(journal.contains("\"bad\"") && !journal.contains("\"good\""), "{journal}");
    // It is tried again, and hinders nobody.
    let written = write(&registry, &[place.text("good", "mine")]);
    registry.tidy_up();
    assert!(place.told().join("\n").contains("the value \"bad\""));
    written.restore().unwrap();
    assert_eq!(place.get("good"), Some((1, b"b\0\0\0".to_vec())));
}

#[test]
fn a_damaged_journal_stops_writing_and_is_left_alone() {
    let place = Place::new("damaged");
    drop(Folder::new(place.state.path()).lock(|_| Ok(())).unwrap());
    fs::write(place.journal(), "{").unwrap();
    let registry = place.registry();
    registry.tidy_up();
    let told = place.told().join("\n");
    assert!(told.contains("journal.json") && told.contains("is damaged"), "{told}");
    let mut values = registry.values(None);
    let error = values.write(&[place.text("x", "mine")], fill_in).unwrap_err();
    assert!(super::chain(&error).contains("is damaged"), "{error}");
    drop(values);
    registry.release("build", Path::new("project")).unwrap_err();
    assert!(!place.exists(""));
    assert_eq!(fs::read(place.journal()).unwrap(), b"{");
}

const TASK: &str = "GONTO_REGISTRY_TEST_TASK";
const KEY: &str = "GONTO_REGISTRY_TEST_KEY";

/// Writes values and waits to be killed.
const HOLD: &str = "hold";
/// Writes values and puts back what was there before, without end.
const AGAIN_AND_AGAIN: &str = "again and again";
/// Runs a script of a target that sets nothing.
const RUN: &str = "run";
/// Unmounts such a target.
const UMOUNT: &str = "umount";

/// A process that does a task: this test binary again, running the one test at the end of this file.
struct Holder {
    command: Command,
    written: PathBuf,
}

struct Started {
    child: Child,
    written: PathBuf,
}

impl Holder {
    fn new(place: &Place, task: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "registry::tests::does_its_task_when_told_to", "--test-threads=1"]);
        command.env(TASK, task).env(KEY, &place.key).env(crate::state::VARIABLE, place.state.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let written = place.state.path().join("written");
        let _ = fs::remove_file(&written);
        Self { command, written }
    }

    fn start(mut self) -> Started {
        Started { child: self.command.spawn().unwrap(), written: self.written }
    }
}

impl Started {
    fn wait_until_written(&mut self) {
        while !self.written.exists() {
            assert_eq!(self.child.try_wait().unwrap(), None, "it ended before it wrote");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does nothing, except in a process that a [`Holder`] has started.
#[test]
fn does_its_task_when_told_to() {
    let (Ok(task), Ok(key)) = (env::var(TASK), env::var(KEY)) else { return };
    let state = crate::state::folder().unwrap();
    let registry = registry(&state, Notices::new(drop));
    let values = [text(&key, "x", "child"), text(&format!(r"{key}\made\below"), "y", "child")];
    match &*task {
        HOLD => {
            let _written = write(&registry, &values);
            fs::write(state.join("written"), "").unwrap();
            // Until the end of the test, should it not kill.
            let _ = std::io::read_to_string(std::io::stdin());
        }
        AGAIN_AND_AGAIN => loop {
            let written = write(&registry, &values);
            fs::write(state.join("written"), "").unwrap();
            written.restore().unwrap();
        },
        _ => {
            let file = state.join("gonto.yaml");
            let targets = "targets: {build: {script: exit 0}}";
            fs::write(&file, format!("gonto: {{cache_dir: cache, repository: repository}}\n{targets}"))
                .unwrap();
            let config = Config::load(&Search::new(&state).only(file)).unwrap().config;
            let mut target = Target::new("build", &config).unwrap();
            match &*task {
                RUN => target.run_script(ScriptType::Script).unwrap(),
                _ => drop(target.umount_images().unwrap()),
            }
        }
    }
}
