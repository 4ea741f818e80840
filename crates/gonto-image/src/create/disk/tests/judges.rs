use std::process::{Command, Stdio};

use super::*;

/// What a program prints; `None`, with a word about it, where it is not installed.
fn printed(program: &str, arguments: &[&str], image: &Path) -> Option<Vec<u8>> {
    match Command::new(program).args(arguments).arg(image).stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("skipped: {program} is not installed");
            None
        }
        output => {
            let output = output.unwrap();
            let told = [&output.stdout[..output.stdout.len().min(1000)], &output.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(output.status.success(), "{program} {arguments:?} {image:?}: {told}");
            Some(output.stdout)
        }
    }
}

fn text(program: &str, arguments: &[&str], image: &Path) -> Option<String> {
    Some(String::from_utf8(printed(program, arguments, image)?).unwrap())
}

/// The name by which qemu-img and 7z know a container.
fn format(container: NewContainer) -> (&'static str, &'static str) {
    match container {
        NewContainer::FixedVhd | NewContainer::DynamicVhd => ("vpc", "-tvhd"),
        NewContainer::Vhdx => ("vhdx", "-tvhdx"),
    }
}

#[test]
fn everybody_reads_the_same_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    for container in ALL {
        let path = scratch.path().join(format!("{container:?}"));
        write(&path, container, &pieces());
        let expected = content(open(&path).disk().as_ref());
        let (qemu, seven_zip) = format(container);
        let raw = scratch.path().join("raw");
        let arguments = ["convert", "-f", qemu, "-O", "raw", path.to_str().unwrap()];
        if printed("qemu-img", &arguments, &raw).is_some() {
            assert!(fs::read(&raw).unwrap() == expected, "{container:?}: qemu-img reads another disk");
        }
        if let Some(found) = printed("7z", &["e", seven_zip, "-so"], &path) {
            assert!(found == expected, "{container:?}: 7z reads another disk");
        }
    }
}

#[test]
fn partition_tables_are_sound() {
    let scratch = tempfile::tempdir().unwrap();
    for container in ALL {
        let path = scratch.path().join(format!("{container:?}"));
        write(&path, container, &pieces());
        let raw = scratch.path().join("raw");
        fs::write(&raw, content(open(&path).disk().as_ref())).unwrap();
        if let Some(verdict) = text("sgdisk", &["-v"], &raw) {
            assert!(verdict.trim_start().starts_with("No problems found."), "{container:?}: {verdict}");
        }
        if let Some(verdict) = text("sfdisk", &["--verify"], &raw) {
            assert!(verdict.contains("No errors detected."), "{container:?}: {verdict}");
        }
    }
}

#[test]
fn a_vhdx_is_consistent() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("image");
    write(&path, NewContainer::Vhdx, &pieces());
    if let Some(verdict) = text("qemu-img", &["check", "-f", "vhdx"], &path) {
        assert!(verdict.contains("No errors were found"), "{verdict}");
    }
}

/// QEMU takes the disk of a VHD for as big as its geometry says, because it does not know who made it.
#[test]
fn everybody_finds_the_same_size() {
    let scratch = tempfile::tempdir().unwrap();
    for container in ALL {
        let (qemu, seven_zip) = format(container);
        let sizes = sizes().map(|needed| disk_size(container, needed).unwrap());
        for size in sizes.filter(|size| fits(container, *size)) {
            let path = scratch.path().join("image");
            let disk = DiskWriter::new(create(&path), container, size).unwrap();
            disk.finish(size, &identity(), 0).unwrap();
            if let Some(info) = text("qemu-img", &["info", "--output=json", "-f", qemu], &path) {
                assert!(info.contains(&format!("\"virtual-size\": {size},")), "{container:?} {size}: {info}");
            }
            if let Some(list) = text("7z", &["l", "-slt", seven_zip], &path) {
                let list = list.replace('\r', "");
                assert!(list.contains(&format!("\nSize = {size}\n")), "{container:?} {size}: {list}");
            }
            if qemu == "vpc"
                && let Some(info) = text("vhdiinfo", &[], &path)
            {
                assert!(info.contains(&format!("({size} bytes)")), "{container:?} {size}: {info}");
            }
            fs::remove_file(&path).unwrap();
        }
    }
}
