//! Trees that nobody thought of.

use std::fs::{self, File};
use std::io::Write;

use gonto_image::NewImage;
use proptest::prelude::*;

use crate::making::{CONTAINERS, Source, usual};
use crate::support::distinct;

/// Something in a folder; which one is a number modulo the folders that are there.
#[derive(Clone, Debug)]
enum Thing {
    Folder(String),
    File(String, Vec<(usize, bool)>),
    /// Another name of a file, or of a link in the folder of that.
    HardLink(String, usize),
    /// To something that is there, to nothing, or to itself.
    SoftLink(String, usize),
    /// Of something that is there.
    Mode(u32, usize),
}

fn name() -> impl Strategy<Value = String> + Clone {
    let letters = prop::sample::select(vec!["a", "B", "é", "日", "😀", ".", " ", "x", "~", "1"]);
    let short = prop::collection::vec(letters, 0..40).prop_map(|letters| letters.concat());
    let long = (240usize..250).prop_map(|length| "n".repeat(length));
    (prop_oneof![10 => short, 1 => long], 0u32..1_000_000)
        .prop_map(|(letters, number)| format!("{letters}{number}"))
        .prop_filter("no host has longer ones", |name| name.len() <= 255)
}

fn thing(name: impl Strategy<Value = String> + Clone) -> impl Strategy<Value = Thing> {
    // Parts of noise and of zeros, of sizes around those that matter.
    let sizes = [0, 1, 300, 690, 710, 4096, 65_536, 65_537, 200_000];
    let part = (prop::sample::select(sizes.to_vec()), 0usize..3, any::<bool>());
    let part = part.prop_map(|(size, more, is_noise)| (size + more, is_noise));
    let parts = prop::collection::vec(part, 0..4);
    prop_oneof![
        2 => name.clone().prop_map(Thing::Folder),
        8 => (name.clone(), parts).prop_map(|(name, parts)| Thing::File(name, parts)),
        1 => (name.clone(), any::<usize>()).prop_map(|(name, old)| Thing::HardLink(name, old)),
        2 => (name, any::<usize>()).prop_map(|(name, target)| Thing::SoftLink(name, target)),
        1 => (0u32..=0o777, any::<usize>()).prop_map(|(mode, what)| Thing::Mode(mode, what)),
    ]
}

fn things(name: impl Strategy<Value = String> + Clone) -> impl Strategy<Value = Vec<(usize, Thing)>> {
    prop::collection::vec((any::<usize>(), thing(name)), 0..60)
}

/// The size of one more file: what the ends of clusters may take, and so how big clusters are, depends on it.
fn biggest() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0, 1 << 20, 4 << 20, 16 << 20])
}

fn build(source: &Source, things: &[(usize, Thing)], biggest: u64) {
    if biggest > 0 {
        let mut file = File::create(source.at("biggest")).unwrap();
        file.write_all(&distinct(biggest, 300_000)).unwrap();
        file.set_len(biggest).unwrap();
    }
    // Paths, with slashes; the root is empty.
    let mut folders = vec![String::new()];
    let (mut files, mut links) = (Vec::new(), Vec::new());
    for (seed, (folder, thing)) in things.iter().enumerate() {
        let folder = &folders[folder % folders.len()];
        let within = |folder: &str, name: &str| format!("{folder}/{name}").trim_start_matches('/').to_owned();
        // Something may be there already.
        let free = |path: String| {
            // No host has much longer paths.
            let free = path.len() < 2000 && fs::symlink_metadata(source.path().join(&path)).is_err();
            free.then_some(path)
        };
        match thing {
            Thing::Folder(name) => {
                let Some(path) = free(within(folder, name)) else { continue };
                fs::create_dir(source.path().join(&path)).unwrap();
                folders.push(path);
            }
            Thing::File(name, parts) => {
                let Some(path) = free(within(folder, name)) else { continue };
                let part = |(size, is_noise): &(usize, bool)| {
                    if *is_noise { distinct(seed as u64, *size) } else { vec![0; *size] }
                };
                let content = parts.iter().flat_map(part).collect::<Vec<u8>>();
                fs::write(source.path().join(&path), content).unwrap();
                files.push(path);
            }
            Thing::HardLink(name, old) => {
                let Some(old) = files.iter().chain(&links).nth(old % (files.len() + links.len()).max(1))
                else {
                    continue;
                };
                let folder_of_old = old.rsplit_once('/').map_or("", |(folder, _)| folder);
                let folder = if links.contains(old) { folder_of_old } else { folder };
                let Some(path) = free(within(folder, name)) else { continue };
                fs::hard_link(source.path().join(old), source.path().join(path)).unwrap();
            }
            Thing::SoftLink(name, target) => {
                let Some(path) = free(within(folder, name)) else { continue };
                let there: Vec<&String> = folders[1..].iter().chain(&files).chain(&links).collect();
                let target = match there.get(target % (there.len() + 2)) {
                    Some(target) => format!("{}{target}", "../".repeat(path.matches('/').count())),
                    None if target % 2 == 0 => "nothing/here".into(),
                    None => name.clone(),
                };
                if system::soft_link(&target, &source.path().join(&path)) {
                    links.push(path);
                }
            }
            Thing::Mode(mode, what) => {
                let what = folders.iter().chain(&files).nth(what % (folders.len() + files.len())).unwrap();
                system::set_mode(&source.path().join(what), *mode);
            }
        }
    }
}

#[cfg(unix)]
mod system {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    pub(super) fn soft_link(target: &str, at: &Path) -> bool {
        symlink(target, at).unwrap();
        true
    }

    /// The owner can still read it, and change what is in a folder.
    pub(super) fn set_mode(path: &Path, mode: u32) {
        let owner = if path.is_dir() { 0o700 } else { 0o400 };
        fs::set_permissions(path, Permissions::from_mode(mode | owner)).unwrap();
    }
}

/// Windows lets administrators alone make links, and has no modes.
#[cfg(not(unix))]
mod system {
    use std::path::Path;

    pub(super) fn soft_link(_: &str, _: &Path) -> bool {
        false
    }

    pub(super) fn set_mode(_: &Path, _: u32) {}
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn any_tree_is_found_again(things in things(name()), biggest in biggest(), container in 0usize..3) {
        let source = Source::new();
        build(&source, &things, biggest);
        source.round_trip(&NewImage { container: CONTAINERS[container], ..usual() });
    }
}

/// Names that Windows cannot have, or not beside each other, and those that they could be changed to.
#[cfg(unix)]
fn foreign_name() -> impl Strategy<Value = String> + Clone {
    let names = [
        "README",
        "Readme",
        "readme",
        "readme~2",
        "a:b",
        "a%3Ab",
        "A%3aB",
        "aux",
        "AUX.txt",
        "au%78.txt",
        "com1.a.b",
        "end.",
        "end ",
        "end%2E",
        "...",
        " ",
        "$MFT",
        "$mft",
        "$Extend",
        r"back\slash",
        "<",
        "*?\"|>",
        "\u{1}",
        "é",
        "É",
        "ſ",
        "S",
        "日本語:",
        "biggest",
        "BIGGEST",
    ];
    let names = prop::sample::select(names.to_vec()).prop_map(str::to_owned);
    let last = prop::sample::select(vec!["", ".", ":", "n", "N", ".txt"]);
    let long = (250usize..=255, last).prop_map(|(length, last)| "n".repeat(length - last.len()) + last);
    prop_oneof![4 => names, 2 => name(), 1 => long]
}

#[cfg(unix)]
proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn any_tree_is_found_again_with_names_that_windows_can_have(
        things in things(foreign_name()),
        biggest in biggest(),
        container in 0usize..3,
    ) {
        let source = Source::new();
        build(&source, &things, biggest);
        source.round_trip(&NewImage { portable: true, container: CONTAINERS[container], ..usual() });
    }
}
