//! How an image is opened: which partition, which checksums, which parents.

use std::fs;

use super::everything;
use crate::chains::child_of;
use crate::support::{Project, example, is_root, skipped};

#[test]
fn another_partition_can_be_chosen() {
    let project = everything();
    let ls = |more: &[&str]| project.gonto(&[&["image", "ls"], more].concat()).run();
    let first = ls(&["everything.vhd"]).ends_with(0).stdout;
    ls(&["everything.vhd", "--partition", "2"]).ends_with(0).prints(&first).says("");
    let reserved = ls(&["everything.vhd", "--partition", "1"]).ends_with(1).prints("");
    reserved.mentions("partition 1 (Microsoft reserved, 32768 bytes) holds no file system");
    for command in [&["ls"][..], &["manifest"], &["verify"], &["info"], &["cat", "x"], &["extract", "out"]] {
        let arguments =
            [&["image", command[0], "everything.vhd", "--partition", "7"], &command[1..]].concat();
        let output = project.gonto(&arguments).run().ends_with(1);
        output.mentions("caused by: there is no partition 7: the disk has partition 1 (Microsoft reserved");
    }
    assert!(!project.path("project/out").exists());
    project.gonto(&["image", "ls", "everything.vhd", "--partition", "x"]).run().ends_with(2);
}

#[test]
fn a_wrong_checksum_is_an_error_that_can_be_overridden() {
    let project = everything();
    let mut image = fs::read(project.path("project/everything.vhd")).unwrap();
    // The last byte that a dynamic header's checksum covers.
    image[512 + 1023] ^= 1;
    fs::write(project.path("project/everything.vhd"), image).unwrap();
    let cat = ["image", "cat", "everything.vhd", "resident.txt"];
    let output = project.gonto(&cat).run().ends_with(1).prints("");
    output
        .mentions("error: cannot read the image everything.vhd\n  caused by: the checksum of the VHD's dynamic header")
        .mentions("read it all the same with --ignore-checksums\n");
    let overridden = [&cat[..], &["--ignore-checksums"]].concat();
    project.gonto(&overridden).run().ends_with(0).prints("hello\n").says("");
    let info = project.gonto(&["image", "info", "--ignore-checksums", "everything.vhd"]).run().ends_with(0);
    assert!(
        info.stdout.contains("note           the checksum of the VHD's dynamic header"),
        "{}",
        info.stdout
    );
}

/// A project with a child of the example's image, which names the file `tool_v1.0_multi.vhd` beside it. There is none.
fn family() -> Project {
    let project = Project::new(super::EMPTY);
    let parent = fs::read(example().join("repository/pebble/pebble_v1.0_multi.vhd")).unwrap();
    fs::write(project.path("project/child.vhd"), child_of(&parent)).unwrap();
    project
}

#[test]
fn a_child_without_its_parent_tells_what_it_knows() {
    let project = family();
    let output = project.gonto(&["image", "info", "child.vhd"]).run().ends_with(1);
    for told in [
        "image          child.vhd\n  container    differencing VHD, ",
        "\n  identity     ",
        "\n  parent       ",
    ] {
        assert!(output.stdout.contains(told), "{told:?} is missing in:\n{}", output.stdout);
    }
    let disk = output.stdout.lines().find(|line| line.starts_with("disk ")).unwrap();
    assert!(disk.ends_with(" bytes)"), "{disk}");
    output
        .mentions(
            "error: cannot read the image child.vhd\n  caused by: the image is differencing, and its parent",
        )
        .mentions("(none there); put the parent beside the image, under the name that it had\n");

    let output = project.gonto(&["image", "info", "--json", "child.vhd"]).run().ends_with(1);
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(json["layers"].as_array().unwrap().len(), 1);
    assert!(json["layers"][0]["parent_id"].is_string() && json["disk_size"].as_u64().unwrap() > 0, "{json}");
    assert!(json["error"].as_str().unwrap().contains("its parent"), "{json}");
    assert!(json["volume"].is_null() && json["partitions"].as_array().unwrap().is_empty(), "{json}");
}

#[test]
fn a_child_with_its_parent_tells_of_both() {
    let project = family();
    let parent = example().join("repository/pebble/pebble_v1.0_multi.vhd");
    fs::copy(parent, project.path("project/tool_v1.0_multi.vhd")).unwrap();
    let output = project.gonto(&["image", "info", "--json", "child.vhd"]).run().ends_with(0).says("");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(json["layers"][0]["parent_id"], json["layers"][1]["id"]);
    assert_eq!(json["layers"][0]["container"], "differencing VHD");
    let cat = project.gonto(&["image", "cat", "child.vhd", "library/fixed.peb"]).run().ends_with(0);
    assert!(cat.stdout.contains("with three floating-point un-"), "{}", cat.stdout);
}

/// Only a system whose paths are like those in the image follows them, and only when it is told to.
#[test]
fn absolute_parents_are_looked_for_where_that_is_wanted() {
    let project = family();
    let parent = example().join("repository/pebble/pebble_v1.0_multi.vhd");
    fs::create_dir(project.path("project/elsewhere")).unwrap();
    let moved = project.path("project/elsewhere/moved.vhd");
    fs::copy(parent, &moved).unwrap();
    let mut child = fs::read(project.path("project/child.vhd")).unwrap();
    crate::chains::add_locator(&mut child, *b"MacX", format!("file://{}", moved.display()).as_bytes());
    fs::write(project.path("project/child.vhd"), child).unwrap();
    let cat = ["image", "cat", "child.vhd", "library/fixed.peb"];
    project.gonto(&cat).run().ends_with(1).prints("").mentions("put the parent beside the image");
    let found = project.gonto(&[&cat[..], &["--absolute-parents"]].concat()).run().ends_with(0).says("");
    assert!(found.stdout.contains("with three floating-point un-"));
}

#[test]
fn a_block_device_is_an_image_too() {
    if !is_root() {
        skipped("only root can make a loop device");
        return;
    }
    let project = everything();
    let raw = raw_disk(&project);
    let made =
        std::process::Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(&raw).output();
    let Some(device) = made.ok().filter(|made| made.status.success()) else {
        skipped("losetup cannot make a loop device");
        return;
    };
    let device = String::from_utf8(device.stdout).unwrap().trim().to_owned();
    let manifest = |image: &str| project.gonto(&["image", "manifest", image]).run();
    let (of_device, of_file) = (manifest(&device), manifest("everything.vhd"));
    let detached = std::process::Command::new("losetup").args(["--detach", &device]).status();
    assert!(detached.unwrap().success());
    assert_eq!(of_device.stdout, of_file.stdout);
    assert!(of_device.stdout.lines().count() > 300);
}

/// Without its footer, a fixed VHD passes for the bytes of a disk.
#[test]
fn an_image_that_was_cut_is_told_first_and_once() {
    let project = everything();
    let disk = fs::read(raw_disk(&project)).unwrap();
    let lost = 1_500_000;
    fs::write(project.path("project/cut.vhd"), &disk[..disk.len() - lost]).unwrap();
    let cut = "the image is cut short: the last ";
    for arguments in [
        &["ls", "cut.vhd"][..],
        &["cat", "cut.vhd", "resident.txt"],
        &["manifest", "cut.vhd"],
        &["extract", "cut.vhd", "out"],
    ] {
        let output = project.gonto(&[&["image"], arguments].concat()).run();
        assert!(output.stderr.starts_with(&format!("warning: {cut}")), "{arguments:?}: {}", output.stderr);
        assert_eq!(output.stderr.matches("cut short").count(), 1, "{arguments:?}: {}", output.stderr);
    }
    let output = project.gonto(&["image", "verify", "cut.vhd"]).run().ends_with(1);
    assert!(output.stdout.starts_with(&format!("error: container: {cut}")), "{}", output.stdout);
    assert_eq!(output.stdout.matches("cut short").count(), 1, "{}", output.stdout);

    let project = Project::new("one: {requires: [{name: tool, version: '1', platform: multi}], script: x}");
    project.publish("tool", "1", &disk[..disk.len() - lost]);
    let output = project.gonto(&["run", "one"]).run().ends_with(1);
    output.mentions("found neither: the file is cut short, ").mentions(" bytes of its volume are missing");
}

/// The disk of the fixture, which is a dynamic VHD, block by block.
fn raw_disk(project: &Project) -> std::path::PathBuf {
    let image = fs::read(project.path("project/everything.vhd")).unwrap();
    let number = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().unwrap()) as usize;
    let (table, blocks, block_size) = (number(512 + 20), number(512 + 28), number(512 + 32));
    let size = number(52);
    let mut disk = vec![0; blocks * block_size];
    for block in 0..blocks {
        let sector = number(table + block * 4);
        if sector != u32::MAX as usize {
            // Behind a bitmap of one sector.
            let data = (sector + 1) * 512;
            let piece = &image[data..image.len().min(data + block_size)];
            disk[block * block_size..][..piece.len()].copy_from_slice(piece);
        }
    }
    disk.truncate(size);
    let path = project.path("project/disk.raw");
    fs::write(&path, disk).unwrap();
    path
}
