//! Every road shows the same files: names, content in whatever way it is read, modes, links and times.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::chains::child_of;
use crate::support::reader::{self, UNREADABLE};
use crate::support::{Caller, Project, callers_by_roads, fixture};

/// Sizes around everything that is rounded to somewhere: sectors, clusters, pages, blocks of containers.
const SIZES: [usize; 17] = [
    0, 1, 100, 511, 512, 513, 700, 1023, 1025, 4095, 4096, 4097, 65_535, 70_001, 1_048_575, 1_048_577,
    2_500_003,
];

/// Everybody who reads images in another way.
pub(crate) fn readers() -> Vec<Caller> {
    let mut readers = Caller::all();
    readers.retain(|caller| !matches!(caller, Caller::WithoutNamespaces | Caller::OrdinaryInChroot));
    readers
}

/// The backend that has to work for a caller.
pub(crate) fn backend(caller: Caller) -> &'static str {
    match caller {
        Caller::Current if caller.is_root() => "erofs",
        Caller::RootUnpacking | Caller::OrdinaryWithoutFuse => "extract",
        _ => "fuse",
    }
}

/// What is in an image of the cache, by the road of the caller. Its file, or its folder, lies there already.
fn seen(project: &Project, requirement: &str) -> BTreeMap<String, String> {
    project.configure(&format!(
        "build:\n  requires: [{{{requirement}, env: {{T: '{{{{mount_point}}}}'}}}}]\n  script: |\n    {}\n",
        reader::line("T", "seen")
    ));
    project.give_away();
    let road = backend(project.caller);
    project.gonto(&["run", "build", "--backend", road]).run().ends_with(0).prints("");
    project.assert_clean();
    reader::found(project, "seen")
}

/// Content that is nowhere the same, with a hole in what is big.
fn bytes(size: usize) -> Vec<u8> {
    let mut state = size as u64;
    let mut bytes: Vec<u8> = (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8 | 1
        })
        .collect();
    if size > 1 << 20 {
        bytes[300_000..900_000].fill(0);
    }
    bytes
}

fn make_folder(folder: &Path) {
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    for size in SIZES {
        let path = folder.join(format!("{size}.bin"));
        fs::write(&path, bytes(size)).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::new(1_234_567_890 + size as u64, 123_456_700)).unwrap();
    }
    fs::hard_link(folder.join("70001.bin"), folder.join("deep/second name")).unwrap();
    symlink("er/../../4096.bin", folder.join("deep/link")).unwrap();
    for (mode, name) in [(0o755, "program"), (0o440, "read-only"), (0o600, "private")] {
        let path = folder.join("deep/er").join(name);
        fs::write(&path, name).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // More names than fit into a block, or into the inode: in the root folder and below.
    for number in 0..400 {
        let name = format!("one of many {number}");
        fs::write(folder.join("deep").join(&name), format!("{number}")).unwrap();
        if number < 200 {
            fs::write(folder.join(&name), format!("{number}")).unwrap();
        }
    }
    fs::set_permissions(folder.join("deep/er"), fs::Permissions::from_mode(0o750)).unwrap();
    for (number, path) in ["deep/er", "deep"].into_iter().enumerate() {
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000 + number as u64);
        fs::File::open(folder.join(path)).unwrap().set_modified(time).unwrap();
    }
}

/// One of each thing that NTFS can hold, but for a name that is too long for EROFS: that has its own test with the indexes.
fn everything() -> Vec<u8> {
    let mut image = fixture();
    let begin: Vec<u8> = "€".repeat(10).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut shortened = 0;
    for at in 2..image.len() - begin.len() {
        // The length stands before the name space, and that before the name.
        if image[at - 2] == 100 && image[at..at + begin.len()] == begin {
            image[at - 2] = 3;
            shortened += 1;
        }
    }
    assert!(shortened >= 2);
    image
}

#[test]
fn every_road_shows_the_same() {
    let mut first: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    let made = Project::new("build: {script: x}");
    make_folder(&made.path("folder"));
    let images = ["vhd", "vhdx", "dynamic"].map(|container| {
        let image = made.path(&format!("{container}.{}", if container == "vhdx" { "vhdx" } else { "vhd" }));
        let (folder, image_text) = (made.path("folder"), image.display().to_string());
        let mut arguments = vec!["create", folder.to_str().unwrap(), &image_text];
        if container == "dynamic" {
            arguments.push("--dynamic");
        }
        made.gonto(&arguments).run().ends_with(0);
        image
    });
    for caller in readers() {
        let project = Project::of(caller, "");
        let cache = |name: &str, extension: &str| {
            let path = project.path(&format!("cache/{name}/{name}_v1.0_multi.{extension}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        let requirement =
            |name: &str, more: &str| format!("name: {name}, version: '1.0', platform: multi{more}");
        fs::write(cache("everything", "vhd"), everything()).unwrap();
        let parent = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
        fs::write(cache("child", "vhd"), child_of(&parent)).unwrap();
        fs::write(project.path("cache/child/tool_v1.0_multi.vhd"), &parent).unwrap();
        for (name, image) in [("fixed", &images[0]), ("vhdx", &images[1]), ("dynamic", &images[2])] {
            fs::hard_link(image, cache(name, image.extension().unwrap().to_str().unwrap())).unwrap();
        }
        for name in ["everything", "child", "fixed", "dynamic", "vhdx"] {
            // Where files are unpacked to, and then synced, makes no difference to what they are unpacked from.
            if backend(caller) == "extract" && matches!(name, "dynamic" | "vhdx") {
                continue;
            }
            let format = if name == "vhdx" { ", format: vhdx" } else { "" };
            let seen = seen(&project, &requirement(name, format));
            let first = first.entry(name).or_insert_with(|| seen.clone());
            // Unpacking leaves out what cannot be read, and a link that leads nowhere.
            let can_be_read = |found: &BTreeMap<String, String>| -> BTreeMap<String, String> {
                let all = found.iter().filter(|(_, what)| reader::hash(what) != Some(UNREADABLE));
                let all = all.filter(|(path, _)| *path != "links/nothing");
                all.map(|(path, what)| (path.clone(), what.clone())).collect()
            };
            assert_same(&can_be_read(&seen), &can_be_read(first), &format!("{caller:?}: {name}"));
            if matches!(name, "fixed" | "dynamic" | "vhdx") {
                let hashes = |found: &str| reader::hash(found).map(str::to_owned);
                for size in SIZES {
                    let expected = reader::hash_of(&bytes(size));
                    assert_eq!(hashes(&seen[&format!("{size}.bin")]), Some(expected), "{caller:?}: {size}");
                }
                assert!(seen["deep/er/private"].starts_with("file 600 "), "{}", seen["deep/er/private"]);
                assert!(seen["deep/second name"].contains(" 2 70001.bin "), "{}", seen["deep/second name"]);
                let deep = "folder 755 1000000001.000000000";
                assert_eq!((&*seen["deep"], seen.len()), (deep, SIZES.len() + 400 + 200 + 7));
            }
        }
    }
}

#[track_caller]
pub(crate) fn assert_same(seen: &BTreeMap<String, String>, expected: &BTreeMap<String, String>, what: &str) {
    for (path, expected) in expected {
        assert_eq!(seen.get(path), Some(expected), "{what}: {path}");
    }
    for path in seen.keys() {
        assert!(expected.contains_key(path), "{what}: what is {path}?");
    }
}

/// The kernel tells nobody when a file is read, so it is told when the image is mounted.
#[test]
fn what_cannot_be_read_is_an_error_and_told_once() {
    for caller in readers() {
        let project = Project::of(
            caller,
            "build:
  requires: [{name: everything, version: '1', platform: multi, env: {E: '{{mount_point}}'}}]
  script: |
    for i in 1 2 3; do cat ${E}unknown-tag.bin 2>/dev/null && echo read; done; cat ${E}resident.txt
",
        );
        project.publish("everything", "1", &everything());
        let backend = backend(caller);
        let output =
            project.gonto(&["run", "build", "--backend", backend]).run().ends_with(0).prints("hello\n");
        assert_eq!(
            output.stderr.matches("warning: unknown-tag.bin: ").count(),
            1,
            "{caller:?}: {}",
            output.stderr
        );
        project.assert_clean();
    }
    for caller in callers_by_roads().into_iter().filter(|caller| caller.is_root()) {
        let requirement = "{name: everything, version: '1', platform: multi}";
        let project = Project::of(caller, &format!("build: {{requires: [{requirement}], script: x}}"));
        project.publish("everything", "1", &everything());
        for backend in ["erofs", "fuse", "extract"] {
            let output = project.gonto(&["mount", "build", "--backend", backend]).run().ends_with(0);
            assert_eq!(output.stderr.matches("unknown-tag.bin: ").count(), 1, "{backend}: {}", output.stderr);
            let file = project.path("state/mnt/everything_v1_multi/unknown-tag.bin");
            assert!(fs::read(file).is_err());
            project.gonto(&["umount", "build"]).run().ends_with(0);
            project.assert_clean();
        }
    }
}
