//! What only Linux has: modes, links, hard links and names that Windows cannot have; signals.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::{date, project};
use crate::support::{Project, is_root, skipped};

/// Everything that a folder may hold, in places that decide where it is put.
fn fill(project: &Project) {
    let folder = project.path("project/in");
    let mode = |path: &str, mode: u32| {
        fs::set_permissions(folder.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    project.write("project/in/bin/run.sh", "#!/bin/sh\necho it runs\n");
    mode("bin/run.sh", 0o755);
    mode("readme.txt", 0o640);
    project.write("project/in/Grüße/日本 \u{1f600}.txt", "names");
    fs::hard_link(folder.join("readme.txt"), folder.join("bin/hard")).unwrap();
    symlink("../readme.txt", folder.join("bin/up")).unwrap();
    symlink("bin", folder.join("to-folder")).unwrap();
    symlink("nothing/here", folder.join("dangling")).unwrap();
    for number in 0..200 {
        project.write(&format!("project/in/many/file-{number:03}"), vec![7u8; number * 37]);
    }
    let sparse = fs::File::create(folder.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 600 << 20).unwrap();
    mode("many", 0o700);
    date(project, "in");
}

/// What `diff -r` does not compare.
fn facts(folder: &Path) -> Vec<String> {
    let find = Command::new("find")
        .arg(".")
        .args(["-printf", "%p %y %m %T@ %n %l\\n"])
        .current_dir(folder)
        .output()
        .unwrap();
    let mut lines: Vec<_> = String::from_utf8(find.stdout).unwrap().lines().map(str::to_owned).collect();
    // The folder itself, the links of folders and the modes of links are the file system's business.
    lines.retain(|line| !line.starts_with(". "));
    for line in &mut lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let kind = fields.iter().position(|field| ["d", "f", "l"].contains(field)).unwrap();
        let (name, rest) = (fields[..kind].join(" "), &fields[kind..]);
        *line = match rest[0] {
            "d" => format!("{name} d {} {}", rest[1], rest[2]),
            "l" => format!("{name} l {}", rest[4]),
            _ => format!("{name} {}", rest.join(" ")),
        };
    }
    lines.sort();
    lines
}

#[test]
fn what_comes_out_is_what_went_in() {
    let project = project();
    fill(&project);
    project.gonto(&["create", "in", "image.vhd"]).run().ends_with(0);
    assert!(
        fs::metadata(project.path("project/image.vhd")).unwrap().len() < 100 << 20,
        "1 GiB of holes is nothing"
    );
    project.gonto(&["image", "extract", "image.vhd", "out"]).run().ends_with(0);
    let [before, after] = ["project/in", "project/out"].map(|folder| project.path(folder));
    let differences =
        Command::new("diff").args(["-r", "--no-dereference"]).arg(&before).arg(&after).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&differences.stdout), "");
    let (before, after) = (facts(&before), facts(&after));
    assert_eq!(before.len(), 213);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
}

/// The whole way: made, published, mounted and run.
#[test]
fn a_program_in_a_new_image_runs() {
    let project = project();
    fill(&project);
    fs::create_dir_all(project.path("repository/tool")).unwrap();
    let image = "../repository/tool/tool_v2.0_linux64.vhdx";
    project.gonto(&["create", "--sha256", "in", image]).run().ends_with(0);
    project.configure(
        "build: {requires: [{name: tool, version: '2.0', platform: linux64, format: vhdx, env: {T: '{{mount_point}}'}}], \
         script: '\"${T}bin/run.sh\" && cat \"${T}to-folder/up\"'}",
    );
    project.gonto(&["run", "build"]).run().ends_with(0).prints("it runs\nhello\n");
}

#[test]
fn all_that_windows_could_not_read_is_told_and_no_image_is_made() {
    let project = project();
    for name in ["aux.h", "a:b", "Readme.TXT", "dot.", "bin/x?y"] {
        project.write(&format!("project/in/{name}"), name);
    }
    symlink("/usr/bin/env", project.path("project/in/absolute")).unwrap();
    symlink("../../elsewhere", project.path("project/in/bin/outside")).unwrap();
    let output = project.gonto(&["create", "in", "image.vhd"]).run().ends_with(1).prints("");
    output.says(
        "    refused a:b: the name holds ':', which Windows does not allow
    refused absolute: the link leads out of the folder, to /usr/bin/env
    refused aux.h: the name is reserved for a device of Windows
    refused bin/outside: the link leads out of the folder, to ../../elsewhere
    refused bin/x?y: the name holds '?', which Windows does not allow
    refused dot.: the name ends with a dot or a space, which Windows drops
    refused readme.txt: the name differs from Readme.TXT by upper and lower case only
error: 7 things in the folder cannot be in an image for Windows: leave out what is not needed (--exclude), or have names \
         changed (--portable), or keep links that only Linux can follow (--keep-links)
",
    );
    assert!(!project.path("project/image.vhd").exists());

    let mut output =
        project.gonto(&["create", "--portable", "--keep-links", "in", "image.vhd"]).run().ends_with(0);
    for renamed in ["a:b to a%3Ab\n", "aux.h to ", "dot. to dot%2E\n", "bin/x?y to x%3Fy\n"] {
        output = output.mentions(&format!("renamed {renamed}"));
    }
    project.gonto(&["image", "extract", "image.vhd", "out"]).run().ends_with(0);
    assert_eq!(fs::read_link(project.path("project/out/absolute")).unwrap(), Path::new("/usr/bin/env"));
    assert_eq!(project.read("project/out/a%3Ab"), "a:b");
    let verified = project.gonto(&["image", "verify", "image.vhd"]).run().ends_with(0);
    assert!(verified.stdout.starts_with("0 errors, 0 warnings"), "{}", verified.stdout);
}

/// A folder that takes long: every megabyte of a file without content is looked at.
fn endless() -> Project {
    let project = project();
    fs::File::create(project.path("project/in/huge")).unwrap().set_len(8 << 40).unwrap();
    project
}

/// The names in the project's folder.
fn left(project: &Project) -> Vec<String> {
    let entries = fs::read_dir(project.path("project")).unwrap();
    let mut left: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    left
}

#[test]
fn an_end_half_way_leaves_nothing() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::KILL, 128 + 9)] {
        let project = endless();
        let mut create = project.gonto(&["create", "in", "image.vhdx"]).env("GONTO_DEBUG", "1").start();
        create.wait_for_message("the folder is known");
        create.signal(signal);
        let output = create.end().ends_with(status).prints("");
        if signal != Signal::KILL {
            output.mentions("error: interrupted");
        }
        assert_eq!(left(&project), ["gonto.yaml", "in"]);
        project.gonto(&["create", "--exclude", "huge", "in", "image.vhdx"]).run().ends_with(0);
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    if !is_root() {
        skipped("only root can mount a small file system");
        return;
    }
    let project = project();
    project.write(
        "project/in/random",
        (0..4_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<u8>>(),
    );
    let small = project.path("project/small");
    fs::create_dir(&small).unwrap();
    rustix::mount::mount("tmpfs", &small, "tmpfs", rustix::mount::MountFlags::empty(), Some(c"size=4m"))
        .unwrap();
    let output = project.gonto(&["create", "in", "small/image.vhd"]).run();
    let left = fs::read_dir(&small).unwrap().count();
    rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
    output.ends_with(1).mentions(
        "error: cannot write small/image.vhd: there is not enough space; choose a folder on a larger disk, or a dynamic image\n",
    );
    assert_eq!(left, 0);
}

#[test]
fn what_cannot_be_read_is_told_by_name() {
    if is_root() {
        skipped("root can read everything");
        return;
    }
    let project = project();
    fs::set_permissions(project.path("project/in/bin/tool.dat"), fs::Permissions::from_mode(0o000)).unwrap();
    let output = project.gonto(&["create", "in", "image.vhd"]).run().ends_with(1);
    output.mentions("cannot read in/bin/tool.dat\n");
    assert_eq!(left(&project), ["gonto.yaml", "in"]);
}
