//! What gonto asks of Windows to attach an image, in which order, and what it does about the answers. A library of the tests' own stands in for
//! virtdisk.dll and for volumes: nothing here says that Windows answers like that.

use std::fs;
use std::path::Path;

use crate::support::{Format, Link, VirtualDisks, is_wine, skipped};

/// Prints where the image is.
const RUN: &str = "build: {requires: [TOOL], script: 'echo %T%'}";

/// Waits for a line on stdin, with the image mounted.
const WAIT: &str = r#"build: {requires: [TOOL], script: "echo ready& set /p x=\necho %T%"}"#;

/// As on the command line: no other road is taken.
const BY_VIRTDISK: [&str; 4] = ["run", "build", "--backend", "virtdisk"];

/// What opens a child in order to attach it.
fn open(format: Format) -> &'static str {
    match format {
        Format::Vhdx => "OpenVirtualDisk(VHDX, CHILD, NONE, flags 0, version 2 GetInfoOnly 0 ReadOnly 0)",
        _ => "OpenVirtualDisk(VHD, CHILD, ATTACH_RW|DETACH|GET_INFO, flags 0, version 1 RWDepth 1)",
    }
}

/// What opens a child in order to detach it.
fn open_attached(format: Format) -> &'static str {
    match format {
        Format::Vhdx => "OpenVirtualDisk(VHDX, CHILD, DETACH, flags 0, default)",
        _ => "OpenVirtualDisk(VHD, CHILD, DETACH, flags 0, default)",
    }
}

const ATTACH: &str = "AttachVirtualDisk(CHILD, NO_DRIVE_LETTER flags 0, provider 0, no security, at once)";
const ATTACH_PERMANENTLY: &str =
    "AttachVirtualDisk(CHILD, NO_DRIVE_LETTER PERMANENT_LIFETIME flags 0, provider 0, no security, at once)";
const PATH: &str = "GetVirtualDiskPhysicalPath(CHILD)";
const DETACH: &str = "DetachVirtualDisk(CHILD, flags 0, provider 0)";
const CLOSE: &str = "CloseHandle(CHILD)";
const REMOVE: &str = "DeleteFileW(CHILD)";

/// The call that gives a letter to the volume on a disk.
fn show(letter: &str, disk: u32) -> String {
    format!("SetVolumeMountPointW({letter}, disk {disk})")
}

/// The call that takes a letter away.
fn free(letter: &str) -> String {
    format!("DeleteVolumeMountPointW({letter})")
}

/// The letter that a run has printed.
fn letter(stdout: &str) -> &str {
    let letter = stdout.lines().last().unwrap();
    assert!(matches!(letter.as_bytes(), [b'D'..=b'Z', b':', b'\\']), "{stdout}");
    letter
}

#[test]
fn our_calls_of_a_run_attach_a_child_show_it_and_take_it_away_in_reverse() {
    for format in [Format::DynamicVhd, Format::FixedVhd, Format::Vhdx] {
        let Some(disks) = VirtualDisks::new(format, RUN) else { return };
        // A volume takes a while to appear, and others are there before it.
        let output = disks.gonto(&BY_VIRTDISK).env("VIRTDISK_POLLS", "3").run().ends_with(0);
        let letter = letter(&output.stdout);
        let expected = [open(format), ATTACH, PATH, &show(letter, 1), &free(letter), DETACH, CLOSE, REMOVE];
        assert_eq!(disks.calls(), expected, "{format:?}");
        assert!(!output.stderr.contains("warning"), "{}", output.stderr);
        disks.assert_clean();
        // Another run begins with another child.
        disks.gonto(&BY_VIRTDISK).run().ends_with(0);
        assert_eq!(disks.calls()[..2], expected[..2]);
        disks.assert_clean();
    }
}

#[test]
fn what_a_script_sees_is_at_the_letter_that_our_calls_give_to_the_volume() {
    let run = r"build: {requires: [{name: tool, version: '1.0', platform: multi, mount_point: 'Q:\', env: {T: '{{mount_point}}'}}], script: 'type %T%bin\proof.txt'}";
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, run) else { return };
    let shown = disks.project.path("shown");
    let image = disks.image();
    disks.gonto(&["image", "extract", &image.to_string_lossy(), &shown.to_string_lossy()]).run().ends_with(0);
    if !is_wine() {
        skipped("only Wine gives a drive letter to a folder that the program does not know of");
        return;
    }
    let _link = Link::new('Q', &shown);
    disks.gonto(&BY_VIRTDISK).run().ends_with(0).prints("arrived");
    let calls = disks.calls();
    assert!(calls.contains(&show(r"Q:\", 1)) && calls.contains(&free(r"Q:\")), "{calls:#?}");
    disks.assert_clean();
}

/// Nothing but a run's own child is written to, and no two disks have the same identity: Windows would keep the second one offline.
#[test]
fn two_runs_at_once_attach_two_children_and_our_calls_leave_the_image_alone() {
    for format in [Format::DynamicVhd, Format::Vhdx] {
        let Some(disks) = VirtualDisks::new(format, WAIT) else { return };
        let image = disks.image();
        let before = (fs::read(&image).unwrap(), image.metadata().unwrap().modified().unwrap());
        let info = |file: &Path| {
            let arguments = ["image", "info", "--json", "--absolute-parents", &file.to_string_lossy()];
            let text = disks.gonto(&arguments).run().ends_with(0).stdout;
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let of_image = info(&image);
        let mut runs = [(); 2].map(|()| disks.gonto(&BY_VIRTDISK).start());
        for run in &mut runs {
            run.wait_for("ready");
        }
        let children = disks.children();
        assert_eq!(children.len(), 2);
        let children: Vec<_> = children.iter().map(|child| info(child)).collect();
        for child in &children {
            let [layer, parent] = child["layers"].as_array().unwrap().as_slice() else { panic!("{child}") };
            assert!(layer["container"].as_str().unwrap().starts_with("differencing"), "{child}");
            assert_eq!(layer["parent_id"], parent["id"]);
            // The path leads to it as people write paths.
            let name = format!(r"\tool\tool_v1.0_multi.{}", format.ending());
            let file = parent["file"].as_str().unwrap();
            assert!(file.ends_with(&name) && !file.starts_with(r"\\?\"), "{file}");
            assert_eq!(fs::canonicalize(file).unwrap(), fs::canonicalize(&image).unwrap());
            assert_eq!(child["volume"]["serial"], of_image["volume"]["serial"]);
            assert_ne!(child["disk_id"], of_image["disk_id"]);
            assert_ne!(layer["id"], parent["id"]);
        }
        assert_ne!(children[0]["disk_id"], children[1]["disk_id"]);
        assert_ne!(children[0]["layers"][0]["id"], children[1]["layers"][0]["id"]);
        let letters = runs.map(|mut run| {
            run.tell("go");
            letter(&run.end().ends_with(0).stdout).to_owned()
        });
        assert_ne!(letters[0], letters[1]);
        // Windows remembers every identity that it has seen, so they are used again.
        let mut run = disks.gonto(&BY_VIRTDISK).start();
        run.wait_for("ready");
        let again = info(&disks.children()[0]);
        assert!(children.iter().any(|child| child["disk_id"] == again["disk_id"]), "{again}");
        run.tell("go");
        run.end().ends_with(0);
        assert!(before == (fs::read(&image).unwrap(), image.metadata().unwrap().modified().unwrap()));
        disks.assert_clean();
    }
}

#[test]
fn our_calls_of_mount_and_umount_are_those_of_two_processes() {
    for format in [Format::DynamicVhd, Format::Vhdx] {
        let Some(disks) = VirtualDisks::new(format, RUN) else { return };
        let output = disks.gonto(&["mount", "build", "--backend", "virtdisk"]).run().ends_with(0);
        let letter = disks.letters()[0].replace("letter-", "") + r":\";
        output.mentions(&format!(" at {letter}\n"));
        let expected = [open(format), ATTACH_PERMANENTLY, PATH, &show(&letter, 1), CLOSE];
        assert_eq!(disks.calls(), expected);
        assert_eq!(disks.children().len(), 1);

        // Who wants it as well joins, and asks Windows for nothing.
        disks.gonto(&["mount", "build"]).run().ends_with(0).mentions(" is mounted tool");
        assert_eq!(disks.calls(), [""; 0]);

        disks.gonto(&["umount", "build"]).run().ends_with(0).mentions(&format!("  unmounted {letter}\n"));
        let expected = [&free(&letter), open_attached(format), DETACH, CLOSE, REMOVE];
        assert_eq!(disks.calls(), expected);
        disks.assert_clean();
    }
}

/// Repositories do not look into what they serve.
#[test]
fn our_calls_name_the_format_that_an_image_has_whatever_its_name_says() {
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
    disks.replace_image(Format::Vhdx);
    disks.gonto(&["mount", "build", "--backend", "virtdisk"]).run().ends_with(0);
    disks.gonto(&["umount", "build"]).run().ends_with(0);
    let calls = disks.calls();
    assert!(calls[0].starts_with("OpenVirtualDisk(VHDX, "), "{calls:#?}");
    assert!(calls[6].starts_with("OpenVirtualDisk(VHDX, "), "{calls:#?}");
    disks.assert_clean();
}

/// Windows detaches the disk of a run that dies. What it does not do is left to the next start.
#[test]
fn our_calls_after_a_killed_run_remove_its_child() {
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, &format!("{WAIT}\nlook: {{script: echo look}}"))
    else {
        return;
    };
    let mut run = disks.gonto(&BY_VIRTDISK).start();
    run.wait_for("ready");
    run.kill();
    assert_eq!(disks.children().len(), 1);
    disks.calls();
    disks.gonto(&["umount", "build"]).run().ends_with(0).mentions("removed what a killed gonto had left at ");
    let detach = format!("{DETACH} = 21");
    assert_eq!(disks.calls(), [open_attached(disks.format), &detach, CLOSE, REMOVE]);
    disks.assert_clean();
}

/// At this moment the disk stays, whatever becomes of gonto, and nobody knows its volume.
#[test]
fn our_calls_after_a_killed_mount_detach_its_disk() {
    for format in [Format::DynamicVhd, Format::Vhdx] {
        let Some(disks) = VirtualDisks::new(format, RUN) else { return };
        let mount = disks.gonto(&["mount", "build", "--backend", "virtdisk"]);
        let mount = mount.env("VIRTDISK_POLLS", "1000000").start();
        disks.wait_for_call("GetVirtualDiskPhysicalPath");
        mount.kill();
        disks.calls();
        disks.gonto(&BY_VIRTDISK).run().ends_with(0).mentions("removed what a killed gonto had left at ");
        let calls = disks.calls();
        assert_eq!(calls[..4], [open_attached(format), DETACH, CLOSE, REMOVE]);
        assert_eq!(calls[4..6], [open(format), ATTACH]);
        disks.assert_clean();
    }
}

#[test]
fn our_calls_after_a_restart_remove_the_child_of_a_mount() {
    for command in ["mount", "umount"] {
        let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
        disks.gonto(&["mount", "build", "--backend", "virtdisk"]).run().ends_with(0);
        disks.restart();
        disks.calls();
        let output = disks.gonto(&[command, "build"]).run().ends_with(0);
        output.mentions("removed what a killed gonto had left at ");
        assert_eq!(disks.calls()[1..4], [&format!("{DETACH} = 21"), CLOSE, REMOVE]);
        disks.gonto(&["umount", "build"]).run().ends_with(0);
        disks.assert_clean();
    }
}

/// The documentation says that the disk has no path before the system has found it; its device and its volume come later.
#[test]
fn our_calls_ask_again_for_what_the_system_has_not_found_yet() {
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
    for (function, error) in
        [("GetVirtualDiskPhysicalPath", 55), ("DeviceIoControl", 21), ("GetVolumePathNamesForVolumeNameW", 2)]
    {
        let gonto = disks.gonto(&["run", "build", "--backend", "virtdisk"]);
        gonto.env("VIRTDISK_FAIL", &format!("{function}:1={error}")).run().ends_with(0);
        let asked = disks.calls().iter().filter(|call| call.starts_with(PATH)).count();
        assert_eq!(asked, if function == "GetVirtualDiskPhysicalPath" { 2 } else { 1 }, "{function}");
        disks.assert_clean();
    }
}

/// Somebody else was faster; nothing is unpacked then, to be shown over what they have there.
#[test]
fn a_letter_that_is_taken_between_our_calls_gives_way_to_another() {
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
    let gonto = disks.gonto(&["run", "build"]);
    let output = gonto.env("VIRTDISK_FAIL", "SetVolumeMountPointW:1=145").run().ends_with(0);
    let tried: Vec<String> =
        disks.calls().into_iter().filter(|call| call.starts_with("SetVolumeMountPointW(")).collect();
    assert_eq!(tried.len(), 2, "{tried:#?}");
    assert!(
        tried[1].contains(letter(&output.stdout)) && !tried[0].contains(letter(&output.stdout)),
        "{tried:#?}"
    );
    assert!(!output.stderr.contains("unpacking"), "{}", output.stderr);
    disks.assert_clean();
}

/// The errors that Windows documents for these calls, and a word of what the user is told about each.
const ERRORS: [(&str, &str); 20] = [
    ("OpenVirtualDisk:1=5", "run gonto from an elevated prompt"),
    ("OpenVirtualDisk:1=32", "another program has "),
    ("OpenVirtualDisk:1=50", "set cache_dir to a folder on a local disk"),
    ("OpenVirtualDisk:1=87", "(os error 87)"),
    ("OpenVirtualDisk:1=618", "neither compressed, encrypted nor sparse"),
    ("OpenVirtualDisk:1=665", "neither compressed, encrypted nor sparse"),
    ("OpenVirtualDisk:1=6002", "neither compressed, encrypted nor sparse"),
    ("OpenVirtualDisk:1=0xC03A000D", "cannot open the image "),
    ("OpenVirtualDisk:1=0xC03A000E", "was replaced in this moment: try again"),
    ("OpenVirtualDisk:1=0xC03A0014", "lacks the driver for virtual disks"),
    ("OpenVirtualDisk:1=0xC03A001A", "neither compressed, encrypted nor sparse"),
    ("AttachVirtualDisk:1=5", "run gonto from an elevated prompt"),
    ("AttachVirtualDisk:1=32", "another program has "),
    ("AttachVirtualDisk:1=1314", "run gonto from an elevated prompt"),
    ("AttachVirtualDisk:1=0xC03A001A", "neither compressed, encrypted nor sparse"),
    ("GetVirtualDiskPhysicalPath:1=6", "(os error 6)"),
    ("DeviceIoControl:1=1117", "(os error 1117)"),
    ("FindFirstVolumeW:1=1", "(os error 1)"),
    ("SetVolumeMountPointW:1=5", "run gonto from an elevated prompt"),
    ("GetVolumePathNamesForVolumeNameW:1=1117", "(os error 1117)"),
];

#[test]
fn every_error_of_our_calls_is_told_with_a_remedy_and_leaves_nothing() {
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
    for (error, told) in ERRORS {
        for command in ["run", "mount"] {
            let gonto = disks.gonto(&[command, "build", "--backend", "virtdisk"]);
            let output = gonto.env("VIRTDISK_FAIL", error).run().ends_with(1).prints("");
            let output =
                output.mentions("the backend virtdisk does not work here: gonto doctor tells").mentions(told);
            assert!(!output.stderr.contains("unpacking"), "{error}:\n{}", output.stderr);
            let calls = disks.calls();
            assert!(!calls.iter().any(|call| call.contains("handles are left open")), "{error}: {calls:#?}");
            // What was attached is detached before its file is removed.
            let attached = calls.iter().any(|call| call.starts_with("Attach") && !call.contains(") = "));
            assert_eq!(calls.contains(&DETACH.to_owned()), attached, "{error}: {calls:#?}");
            assert_eq!(calls.last().unwrap(), REMOVE, "{error}: {calls:#?}");
            disks.assert_clean();
        }
    }
}

/// The usual case: somebody who is no administrator.
#[test]
fn without_the_right_to_attach_auto_unpacks_and_says_why() {
    for error in ["AttachVirtualDisk:1=1314", "OpenVirtualDisk:1=5", "SetVolumeMountPointW:1=5"] {
        let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
        let run = disks.gonto(&["run", "build"]).env("VIRTDISK_FAIL", error).env("VIRTDISK_CLOCK", "50");
        let output = run.run().ends_with(0).mentions("warning: unpacking ");
        output.mentions("into the cache, because ").mentions("run gonto from an elevated prompt");
        disks.assert_clean();
    }
}

/// What cannot be had is said, or refused before anything is asked of Windows.
#[test]
fn a_layer_in_memory_becomes_one_on_the_disk_and_a_limit_an_error_before_our_calls() {
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
    let run = |more: &[&str]| disks.gonto(&[&BY_VIRTDISK, more].concat()).run();
    let output = run(&["--layer", "memory"]).ends_with(0);
    output.mentions("is kept on the disk, because Windows has no layers in memory");
    assert_eq!(disks.calls()[..2], [open(disks.format), ATTACH]);
    run(&["--layer-limit", "1G"]).ends_with(1).prints("").mentions("cannot be limited");
    assert_eq!(disks.calls(), [""; 0]);
    disks.assert_clean();
}

/// The clock of the program runs faster here, so that its thirty seconds are soon over.
#[test]
fn a_volume_that_does_not_appear_after_our_calls_is_told_with_a_remedy() {
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
    let cases = [
        ("VIRTDISK_POLLS", "1000000", "gonto image verify tells whether it holds one"),
        ("VIRTDISK_OFFLINE", "1", "diskpart, then san policy=OnlineAll"),
    ];
    for (variable, value, remedy) in cases {
        for command in ["run", "mount"] {
            let gonto = disks.gonto(&[command, "build", "--backend", "virtdisk"]);
            let output =
                gonto.env(variable, value).env("VIRTDISK_CLOCK", "100").run().ends_with(1).prints("");
            output.mentions("the volume of tool/tool_v1.0_multi.vhd is not ready").mentions(remedy);
            let attach = if command == "run" { ATTACH } else { ATTACH_PERMANENTLY };
            assert_eq!(disks.calls(), [open(disks.format), attach, PATH, DETACH, CLOSE, REMOVE]);
            disks.assert_clean();
        }
    }
}

#[test]
fn a_letter_that_does_not_appear_after_our_calls_is_taken_back() {
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
    let run = disks.gonto(&BY_VIRTDISK).env("VIRTDISK_SILENT", "1").env("VIRTDISK_CLOCK", "100");
    run.run().ends_with(1).prints("").mentions("Windows does not show the letter");
    let calls = disks.calls();
    assert!(
        calls[3].starts_with("SetVolumeMountPointW(") && calls[4].starts_with("DeleteVolumeMountPointW(")
    );
    assert_eq!(calls[5..], [DETACH, CLOSE, REMOVE]);
    disks.assert_clean();
}

/// The disk goes with its handle all the same.
#[test]
fn a_run_whose_detaching_fails_ends_well_because_our_calls_close_the_disk() {
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
    disks.gonto(&BY_VIRTDISK).env("VIRTDISK_FAIL", "DetachVirtualDisk:*=170").run().ends_with(0);
    assert_eq!(disks.calls()[5..], [&format!("{DETACH} = 170"), CLOSE, REMOVE]);
    disks.assert_clean();
}

#[test]
fn what_our_calls_cannot_take_away_is_an_error_and_the_next_start_tidies_up() {
    let remedy = "run gonto from an elevated prompt";
    for (error, told) in [
        ("DeleteVolumeMountPointW:1=5", remedy),
        ("DetachVirtualDisk:*=1314", remedy),
        ("DetachVirtualDisk:*=170", "(os error 170)"),
        ("OpenVirtualDisk:*=5", remedy),
        ("OpenVirtualDisk:*=32", "(os error 32)"),
    ] {
        let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
        disks.gonto(&["mount", "build", "--backend", "virtdisk"]).run().ends_with(0);
        let umount = disks.gonto(&["umount", "build"]).env("VIRTDISK_FAIL", error);
        umount.env("VIRTDISK_CLOCK", "50").run().ends_with(1).mentions("cannot unmount ").mentions(told);
        let output = disks.gonto(&["umount", "build"]).run().ends_with(0);
        output.mentions("removed what a killed gonto had left at ");
        disks.assert_clean();
    }
    let Some(disks) = VirtualDisks::new(Format::DynamicVhd, RUN) else { return };
    let run = disks.gonto(&BY_VIRTDISK).env("VIRTDISK_FAIL", "DeleteVolumeMountPointW:1=5");
    run.run().ends_with(1).mentions("cannot unmount ");
    disks.gonto(&BY_VIRTDISK).run().ends_with(0);
    disks.assert_clean();
}
