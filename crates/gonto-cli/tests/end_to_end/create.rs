//! `gonto create`: a folder becomes an image. These work on every system.

#[cfg(target_os = "linux")]
mod linux;

use std::fs;
use std::time::{Duration, SystemTime};

use crate::support::Project;

/// A project whose folder `in` holds a few files.
fn project() -> Project {
    let project = Project::new("one: {script: x}");
    project.write("project/in/readme.txt", "hello\n");
    project.write("project/in/bin/tool.dat", (0..300_000u32).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
    project.write("project/in/empty", "");
    date(&project, "in");
    project
}

/// Gives everything in a folder the same time.
fn date(project: &Project, folder: &str) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_600_000_000_123_456_700);
    let mut folders = vec![project.path("project").join(folder)];
    let mut all = folders.clone();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            all.push(entry.path());
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    for path in all.iter().rev().filter(|path| !path.is_symlink()) {
        set_modified(path, time);
    }
}

#[cfg(unix)]
fn set_modified(path: &std::path::Path, time: SystemTime) {
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Folders are files too, but have to be opened as such.
#[cfg(windows)]
fn set_modified(path: &std::path::Path, time: SystemTime) {
    use std::os::windows::fs::OpenOptionsExt;
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    const FILE_WRITE_ATTRIBUTES: u32 = 0x100;
    let mut options = fs::File::options();
    options.access_mode(FILE_WRITE_ATTRIBUTES).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
    options.open(path).unwrap().set_modified(time).unwrap();
}

const MANIFEST: &str = "\
bin/tool.dat\t300000\t3c65ea93424a9c362fec0e3a69ea36031e8a358441479dd665cc6110eabe7b08\t1600000000123456700
empty\t0\te3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\t1600000000123456700
readme.txt\t6\t5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\t1600000000123456700
";

#[test]
fn what_is_in_the_folder_is_in_the_image_whatever_its_format() {
    let project = project();
    for (image, more, container) in [
        ("fixed.vhd", &[][..], "fixed VHD"),
        ("dynamic.vhd", &["--dynamic"], "dynamic VHD"),
        ("image.VHDX", &[], "VHDX"),
    ] {
        let created = project.gonto(&[&["create", "in", image], more].concat()).run().ends_with(0).prints("");
        created.mentions(&format!("created {image}, ")).mentions("holds 3 files, 1 folder, 0 links; ");
        project.gonto(&["image", "manifest", image]).run().ends_with(0).prints(MANIFEST).says("");
        let verified = project.gonto(&["image", "verify", image]).run().ends_with(0);
        assert!(verified.stdout.starts_with("0 errors, 0 warnings in "), "{}", verified.stdout);
        let info = project.gonto(&["image", "info", image]).run().ends_with(0).says("").stdout;
        for part in [container, "Gonto 0.4", "NTFS 3.1", "\"Gonto image\"", "3 files, 2 folders"] {
            assert!(info.contains(part), "{part:?} is missing in:\n{info}");
        }
    }
}

#[test]
fn the_label_and_free_space_are_as_asked_for() {
    let project = project();
    project.gonto(&["create", "in", "small.vhdx"]).run().ends_with(0);
    project.gonto(&["create", "-p", "0.5", "--label", "JDK 21 ä", "in", "big.vhdx"]).run().ends_with(0);
    let info = |image: &str| -> serde_json::Value {
        serde_json::from_str(&project.gonto(&["image", "info", "--json", image]).run().stdout).unwrap()
    };
    let (small, big) = (info("small.vhdx"), info("big.vhdx"));
    assert_eq!(big["volume"]["label"], "JDK 21 ä");
    let size = |info: &serde_json::Value| info["disk_size"].as_u64().unwrap();
    let more = size(&big) - size(&small);
    assert!((512 << 20..514 << 20).contains(&more), "{more} bytes more");
    let too_long = "x".repeat(33);
    let refused = project.gonto(&["create", "-l", &too_long, "in", "x.vhd"]).run().ends_with(1);
    refused.mentions("is longer than 32 characters (UTF-16 units), or holds control characters");
}

#[test]
fn a_json_object_tells_what_was_made() {
    let project = project();
    let output =
        project.gonto(&["create", "--json", "--sha256", "in", "image.vhd"]).run().ends_with(0).says("");
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let size = fs::metadata(project.path("project/image.vhd")).unwrap().len();
    for (field, value) in [
        ("size", size),
        ("files", 3),
        ("folders", 1),
        ("links", 0),
        ("content", 300_006),
        ("stored", 300_006),
        ("disk", size - 512),
    ] {
        assert_eq!(report[field], value, "{field}");
    }
    let number = |field: &str| report[field].as_u64().unwrap();
    assert_eq!(number("disk"), number("free") + number("stored") + number("overhead"));
    assert_eq!(report["image"], "image.vhd");
    let digest = fs::read_to_string(project.path("project/image.vhd.sha256")).unwrap();
    assert_eq!(digest, format!("{}  image.vhd\n", report["sha256"].as_str().unwrap()));
}

#[test]
fn the_same_folder_makes_the_same_bytes() {
    let project = project();
    project.write("project/elsewhere/deep/in/empty", "");
    project.write("project/elsewhere/deep/in/readme.txt", "hello\n");
    fs::create_dir(project.path("project/elsewhere/deep/in/bin")).unwrap();
    let [from, to] =
        ["in", "elsewhere/deep/in"].map(|folder| project.path("project").join(folder).join("bin/tool.dat"));
    fs::copy(from, to).unwrap();
    date(&project, "elsewhere");
    for ending in ["vhd", "vhdx"] {
        let [one, other] = [format!("one.{ending}"), format!("other.{ending}")];
        project.gonto(&["create", "in", &one]).run().ends_with(0);
        project.gonto(&["create", "elsewhere/deep/in", &other]).run().ends_with(0);
        let bytes = |image: &str| fs::read(project.path("project").join(image)).unwrap();
        assert!(bytes(&one) == bytes(&other), "{ending}");
    }
}

#[test]
fn source_date_epoch_is_the_latest_time() {
    let project = project();
    project.gonto(&["create", "in", "image.vhd"]).env("SOURCE_DATE_EPOCH", "1500000000").run().ends_with(0);
    let manifest = project.gonto(&["image", "manifest", "image.vhd"]).run().stdout;
    assert!(manifest.lines().all(|line| line.ends_with("\t1500000000000000000")), "{manifest}");
    let refused =
        project.gonto(&["create", "in", "x.vhd"]).env("SOURCE_DATE_EPOCH", "yesterday").run().ends_with(1);
    refused.says("error: SOURCE_DATE_EPOCH is \"yesterday\": it has to be a number of seconds since 1970\n");
}

#[test]
fn what_is_excluded_is_not_in_the_image() {
    let project = project();
    project.write("project/in/src/a.o", "object");
    project.write("project/in/src/a.c", "source");
    project.write("project/in/bin/deep/b.o", "object");
    let create =
        ["create", "--exclude", "*.o", "--exclude", "/bin/tool.dat", "--exclude", "deep/", "in", "image.vhd"];
    project.gonto(&create).run().ends_with(0);
    let listed = project.gonto(&["image", "ls", "-R", "image.vhd"]).run().ends_with(0);
    listed.prints("bin/\nempty\nreadme.txt\nsrc/\nsrc/a.c\n");
    let refused = project.gonto(&["create", "--exclude", "[", "in", "x.vhd"]).run().ends_with(1);
    refused.mentions("error: the pattern \"[\" of --exclude cannot be understood\n");
}

/// The order of content decides the bytes of the image, not what is in it.
#[test]
fn content_comes_in_the_order_that_is_given() {
    let project = project();
    let places = |image: &str| {
        let bytes = fs::read(project.path("project").join(image)).unwrap();
        let find = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part).unwrap();
        [find(&[b'a'; 5000]), find(&[b'b'; 5000])]
    };
    project.write("project/in/a", [b'a'; 5000]);
    project.write("project/in/b", [b'b'; 5000]);
    project.write("project/order.txt", "not/there\n\n./b\na\n");
    project.gonto(&["create", "in", "usual.vhd"]).run().ends_with(0);
    project.gonto(&["create", "--order", "order.txt", "in", "ordered.vhd"]).run().ends_with(0);
    let ([a, b], [later, earlier]) = (places("usual.vhd"), places("ordered.vhd"));
    assert!(a < b && earlier < later, "{a} {b}, {earlier} {later}");
    let manifest = |image: &str| project.gonto(&["image", "manifest", image]).run().stdout;
    assert_eq!(manifest("usual.vhd"), manifest("ordered.vhd"));
    let refused = project.gonto(&["create", "--order", "nothing.txt", "in", "x.vhd"]).run().ends_with(1);
    refused.mentions("error: cannot read the order in nothing.txt\n");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_written_for_what_cannot_be() {
    let project = project();
    project.write("project/there.vhd", "mine");
    project.write("project/digest.vhd.sha256", "mine");
    for (arguments, message) in [
        (&["in", "there.vhd"][..], "error: there.vhd is there already: remove it, or choose another name\n"),
        (
            &["--sha256", "in", "digest.vhd"],
            "error: digest.vhd.sha256 is there already: remove it, or choose another name\n",
        ),
        (
            &["nothing", "x.vhd"],
            "error: cannot make an image of nothing\n  caused by: there is no folder nothing\n",
        ),
        (
            &["in/empty", "x.vhd"],
            "error: cannot make an image of in/empty\n  caused by: in/empty is not a folder\n",
        ),
        (&["in", "missing/x.vhd"], "error: there is no folder missing: make it first\n"),
        (
            &["in", "x.iso"],
            "error: x.iso does not say which format it is to have: its name has to end with .vhd or .vhdx\n",
        ),
        (
            &["in", "in/bin/x.vhd"],
            "error: in/bin/x.vhd lies in in, which would be read while it is written: choose another folder for the image\n",
        ),
    ] {
        let output = project.gonto(&[&["create"], arguments].concat()).run().ends_with(1).prints("");
        output.says(message);
    }
    assert_eq!(fs::read(project.path("project/there.vhd")).unwrap(), b"mine");
    let mut left: Vec<_> =
        fs::read_dir(project.path("project")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["digest.vhd.sha256", "gonto.yaml", "in", "there.vhd"]);
}

#[test]
fn wrong_usage_ends_with_2() {
    let project = project();
    for arguments in [
        &["create"][..],
        &["create", "in"],
        &["create", "in", "x.vhd", "more"],
        &["create", "-p", "much", "in", "x.vhd"],
        &["create", "-p", "-1", "in", "x.vhd"],
        &["create", "--dynamic=yes", "in", "x.vhd"],
    ] {
        project.gonto(arguments).run().ends_with(2).prints("");
        assert!(!project.path("project/x.vhd").exists(), "{arguments:?}");
    }
}

/// It works in a folder without a configuration, and with one that is wrong.
#[test]
fn no_configuration_is_read() {
    let project = project();
    project.write("project/gonto.yaml", "nonsense: [");
    project.gonto(&["create", "in", "image.vhd"]).run().ends_with(0);
}
