//! Trees that nobody thought of.

use std::fs;

use gonto_image::{NewContainer, NewImage};
use proptest::prelude::*;

use crate::making::{CONTAINERS, Source, noise, usual};

/// Something in a folder; which one is a number modulo the folders that are there.
#[derive(Clone, Debug)]
enum Thing {
    Folder(String),
    File(String, Vec<(usize, bool)>),
    HardLink(String, usize),
}

fn name() -> impl Strategy<Value = String> {
    let letters = prop::sample::select(vec!["a", "B", "é", "日", "😀", ".", " ", "x", "~", "1"]);
    (prop::collection::vec(letters, 0..40), 0u32..1_000_000)
        .prop_map(|(letters, number)| format!("{}{number}", letters.concat()))
        .prop_filter("no host has longer ones", |name| name.len() <= 255)
}

fn thing() -> impl Strategy<Value = Thing> {
    // Parts of noise and of zeros, of sizes around those that matter.
    let sizes = [0, 1, 300, 690, 710, 4096, 65_536, 65_537, 200_000];
    let part = (prop::sample::select(sizes.to_vec()), 0usize..3, any::<bool>());
    let part = part.prop_map(|(size, more, is_noise)| (size + more, is_noise));
    prop_oneof![
        2 => name().prop_map(Thing::Folder),
        8 => (name(), prop::collection::vec(part, 0..4)).prop_map(|(name, parts)| Thing::File(name, parts)),
        1 => (name(), any::<usize>()).prop_map(|(name, file)| Thing::HardLink(name, file)),
    ]
}

fn build(source: &Source, things: &[(usize, Thing)]) {
    let mut folders = vec![source.path().to_path_buf()];
    let mut files = Vec::new();
    for (seed, (folder, thing)) in things.iter().enumerate() {
        let at = |name: &String| folders[folder % folders.len()].join(name);
        match thing {
            Thing::Folder(name) => {
                if fs::create_dir(at(name)).is_ok() {
                    folders.push(at(name));
                }
            }
            Thing::File(name, parts) => {
                let part = |(size, is_noise): &(usize, bool)| {
                    if *is_noise { noise(seed as u64, *size) } else { vec![0; *size] }
                };
                if !at(name).exists() {
                    fs::write(at(name), parts.iter().flat_map(part).collect::<Vec<u8>>()).unwrap();
                    files.push(at(name));
                }
            }
            Thing::HardLink(name, file) => {
                if !files.is_empty() {
                    let _ = fs::hard_link(&files[file % files.len()], at(name));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn any_tree_is_found_again(
        things in prop::collection::vec((any::<usize>(), thing()), 0..60),
        container in 0usize..3,
    ) {
        let source = Source::new();
        build(&source, &things);
        let container: NewContainer = CONTAINERS[container];
        source.round_trip(&NewImage { container, ..usual() });
    }
}
