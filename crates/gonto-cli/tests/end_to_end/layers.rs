//! The layer that takes what is written to an image: whether there is one, where it lies, what fits into it, and what is told of it in
//! the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;

use crate::support::{Caller, Output, Project, callers, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi, env: {T: '{{mount_point}}'}}";
const PLACE: &str = "ROOT/state/mnt/tool_v1.0_multi/";

/// Those who have mounts of their own in a run.
fn namespaced() -> Vec<Caller> {
    let mut callers = Caller::all();
    callers.retain(|caller| !matches!(caller, Caller::WithoutNamespaces | Caller::OrdinaryInChroot));
    callers
}

/// A target `build` whose script is these lines.
fn project(caller: Caller, settings: &str, script: &str) -> Project {
    let lines: String = script.lines().map(|line| format!("    {}\n", line.trim())).collect();
    let project = Project::of(caller, &format!("build:\n  requires: [{TOOL}]\n  script: |\n{lines}"));
    configure(&project, settings);
    project
}

/// Adds lines to the section `gonto`.
fn configure(project: &Project, settings: &str) {
    let text = project.read("project/gonto.yaml");
    project.write("project/gonto.yaml", text.replace("targets:", &format!("{settings}targets:")));
    project.give_away();
}

/// The lines that are about layers.
fn told(output: &Output) -> Vec<&str> {
    let is_told = |line: &&str| {
        ["wrote ", "deleted ", "warning: "].iter().any(|head| line.trim_start().starts_with(head))
            && !line.contains("unpacking")
    };
    output.stderr.lines().filter(is_told).map(str::trim_start).collect()
}

/// How many layers lie in the cache, while a script runs.
fn layers(project: &Project) -> usize {
    fs::read_dir(project.path("cache/.gonto/layers")).map_or(0, Iterator::count)
}

#[test]
fn what_a_run_has_written_is_told() {
    let cases = [
        ("ls $T", vec![]),
        ("mkdir ${T}folder; mkfifo ${T}pipe", vec![]),
        ("head -c 3000 /dev/zero >${T}new", vec!["wrote 1 file, 2.93 KiB to PLACE (thrown away)"]),
        (
            "mkdir ${T}a && echo one >${T}a/b && ln ${T}a/b ${T}c && ln -s / ${T}root && ln -s nowhere ${T}link",
            vec!["wrote 3 files, 4 B to PLACE (thrown away)"],
        ),
        // What was there is copied as a whole when a part of it changes, and so is the folder above it.
        (
            "truncate -s 100 ${T}library/text.peb; rm ${T}library/fixed.peb; rm -r ${T}compiler",
            vec!["wrote 1 file, 100 B to PLACE, deleted 2 (thrown away)"],
        ),
        ("rm -r ${T}compiler; echo x >${T}new; rm ${T}new", vec!["deleted 1 in PLACE (thrown away)"]),
        // Also when the script fails.
        ("echo x >${T}new; false", vec!["wrote 1 file, 2 B to PLACE (thrown away)"]),
    ];
    for caller in namespaced() {
        for layer in ["", "  layer: memory\n"] {
            let project = project(caller, layer, "true");
            for (script, expected) in &cases {
                project.configure(&format!("build: {{requires: [{TOOL}], script: '{script}'}}"));
                configure(&project, layer);
                let output = project.gonto(&["run", "build"]).run();
                assert_eq!(output.status, i32::from(script.ends_with("false")), "{}", output.stderr);
                let expected: Vec<_> = expected.iter().map(|line| line.replace("PLACE", PLACE)).collect();
                assert_eq!(told(&output), expected, "{caller:?}: {script}");
                project.assert_clean();
            }
        }
    }
}

/// What a build has closed to its user cannot be looked into without opening it.
#[test]
fn what_cannot_be_counted_is_told_as_well() {
    for caller in namespaced() {
        let project =
            project(caller, "", "mkdir ${T}closed; echo x | tee ${T}new >${T}closed/new; chmod 0 ${T}closed");
        let output = project.gonto(&["run", "build"]).run().ends_with(0);
        let expected = if caller.is_root() { "wrote 2 files, 4 B" } else { "wrote at least 1 file, 2 B" };
        assert_eq!(told(&output), [format!("{expected} to {PLACE} (thrown away)")], "{caller:?}");
        project.assert_clean();
    }
}

#[test]
fn each_image_has_a_layer_of_its_own() {
    for caller in namespaced() {
        let project = Project::of(caller, "");
        project.publish(
            "tool",
            "2.0",
            &fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap(),
        );
        let requires = ["1.0", "2.0"]
            .map(|version| TOOL.replace("1.0", version).replace("T:", &format!("T{}:", &version[..1])));
        project.configure(&format!(
            "build:\n  requires: [{}]\n  script: |\n    head -c 700000 /dev/zero >${{T1}}new\n    head -c 700000 /dev/zero >${{T2}}new\n",
            requires.join(", ")
        ));
        project.give_away();
        let output = project.gonto(&["run", "--layer-limit", "1M", "build"]).run().ends_with(0);
        let two = PLACE.replace("1.0", "2.0");
        let line = |place: &str| format!("wrote 1 file, 683.59 KiB to {place} (thrown away)");
        assert_eq!(told(&output), [line(PLACE), line(&two)], "{caller:?}");
        project.assert_clean();
    }
}

#[test]
fn a_layer_lies_where_the_command_line_or_else_the_configuration_wants_it() {
    // In the configuration, on the command line, and whether the disk takes it.
    let cases: [(&str, &[&str], bool); 10] = [
        ("", &[], true),
        ("  layer: cache\n", &[], true),
        ("  layer: memory\n", &[], false),
        ("  layer_limit: 8M\n", &[], false),
        ("  layer: cache\n", &["--layer", "memory"], false),
        ("  layer: cache\n", &["--layer-limit", "8M"], false),
        ("  layer: memory\n", &["--layer=cache"], true),
        ("  layer_limit: 8M\n", &["--layer=cache"], true),
        ("  layer: none\n", &["--layer=cache"], true),
        ("  layer: none\n", &["--layer-limit=8M"], false),
    ];
    for caller in namespaced() {
        for (settings, arguments, on_disk) in cases {
            let project = project(caller, settings, "echo x >${T}new; echo ready; read x; cat ${T}new");
            let mut run = project.gonto(&[&["run", "build"], arguments].concat()).start();
            run.wait_for("ready");
            assert_eq!(layers(&project), usize::from(on_disk), "{caller:?}: {settings}{arguments:?}");
            run.tell("go");
            let output = run.end().ends_with(0).prints("ready\nx\n");
            assert_eq!(told(&output).len(), 1, "{}", output.stderr);
            project.assert_clean();
        }
    }
}

#[test]
fn the_limit_of_the_command_line_goes_before_that_of_the_configuration() {
    for caller in namespaced() {
        let project = project(caller, "  layer_limit: 1M\n", "head -c 1500000 /dev/zero >${T}new");
        project.gonto(&["run", "build", "--layer-limit", "2M"]).run().ends_with(0);
        project.gonto(&["run", "build", "--layer", "memory"]).run().ends_with(1);
        project.gonto(&["run", "build", "--layer", "cache"]).run().ends_with(0);
        project.assert_clean();
    }
}

#[test]
fn the_end_of_a_run_tells_that_its_layer_was_full() {
    let remedies = [
        ("head -c 3M /dev/zero >${T}new", "wrote 1 file, 1.00 MiB to"),
        // Without content, names take room as well.
        (
            "mkdir ${T}d; i=0; while mkdir ${T}d/$i; do i=$((i + 1)); done 2>&1 | grep -o \"No space.*\" >&2; false",
            "",
        ),
    ];
    for caller in namespaced() {
        for (script, wrote) in remedies {
            let project = Project::of(
                caller,
                &format!(
                    "build: {{requires: [{TOOL}], script: '{script}', after_script: echo after}}\nlook: {{requires: [{TOOL}], script: ls $T}}"
                ),
            );
            let output =
                project.gonto(&["run", "build", "--layer-limit", "1MiB"]).run().ends_with(1).prints("");
            let warning = format!(
                "warning: no room was left for what is written to {PLACE}, because its limit is used up: raise layer_limit \
                 (--layer-limit) above 1.00 MiB"
            );
            let lines = told(&output);
            assert_eq!(lines.last(), Some(&&*warning), "{caller:?}: {}", output.stderr);
            assert_eq!(lines.len(), 1 + usize::from(!wrote.is_empty()), "{}", output.stderr);
            output.mentions("No space left on device").mentions(wrote).mentions("error: script failed: ");
            project.assert_clean();
            project.gonto(&["run", "look"]).run().ends_with(0).prints("bin\ncompiler\nlibrary\n");
        }
    }
}

#[test]
fn nothing_is_left_of_a_layer_in_memory_or_of_none_after_kill_9() {
    for caller in namespaced() {
        for (settings, script) in [("layer_limit: 8M", "echo x >${T}new"), ("layer: none", "ls $T")] {
            let script = format!("{script}; echo ready; read x");
            let project = project(caller, &format!("  {settings}\n"), &script);
            let mut run = project.gonto(&["run", "build"]).start();
            run.wait_for("ready");
            run.signal(Signal::KILL);
            run.end().ends_with(137);
            project.assert_nothing_runs();
            project.gonto(&["umount", "build"]).run().ends_with(0);
            project.assert_clean();
        }
    }
}

#[test]
fn root_mounts_a_layer_in_memory_for_everybody() {
    let Some(project) = for_everybody(Caller::Current, "  layer: memory\n  layer_limit: 1M\n") else {
        return;
    };
    let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
    let folder = project.path("state/mnt/tool_v1.0_multi");
    for _ in 0..2 {
        project.gonto(&["mount", "build"]).run().ends_with(0).mentions("    mounted tool");
        fs::write(folder.join("small"), [1; 1000]).unwrap();
        let error = fs::write(folder.join("large"), vec![1; 2 << 20]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(fs::read(folder.join("small")).unwrap(), [1; 1000]);
        // It stays as it is, and who wants another limit is told.
        project.gonto(&["mount", "build"]).run().ends_with(0).mentions(" is mounted tool");
        project
            .gonto(&["mount", "build", "--layer", "cache"])
            .run()
            .ends_with(0)
            .mentions(" is mounted tool");
        project
            .gonto(&["mount", "build", "--layer-limit", "2M"])
            .run()
            .ends_with(1)
            .mentions("cannot be limited, because it is mounted already, with another limit or none");
        project.gonto(&["umount", "build"]).run().ends_with(0).mentions("unmounted");
        project.assert_clean();
    }
    assert!(fs::read(project.cached("tool", "1.0")).unwrap() == image, "the image has changed");
}

#[test]
fn a_mount_in_memory_goes_with_its_dead_server() {
    let Some(project) = for_everybody(Caller::Current, "  layer: memory\n") else { return };
    // Only FUSE has a server.
    project.gonto(&["mount", "build", "--backend", "fuse"]).run().ends_with(0);
    fs::write(project.path("state/mnt/tool_v1.0_multi/new"), "x").unwrap();
    assert_eq!(layers(&project), 1);
    let servers = project.processes("gonto");
    assert!(!servers.is_empty(), "no server runs");
    for server in servers {
        rustix::process::kill_process(server, Signal::KILL).unwrap();
    }
    // The next gonto finds it dead.
    while !project.processes("gonto").is_empty() {
        std::thread::yield_now();
    }
    project.gonto(&["umount", "build"]).run().ends_with(0);
    project.assert_clean();
}

#[test]
fn gonto_that_is_killed_while_it_mounts_in_memory_or_without_a_layer_leaves_nothing() {
    let roads =
        [("memory", "erofs"), ("memory", "fuse"), ("none", "erofs"), ("none", "fuse"), ("none", "extract")];
    let Some(project) = for_everybody(Caller::Current, "") else { return };
    project.gonto(&["pull", "build"]).run().ends_with(0);
    for (layer, road) in roads {
        for delay in (0..12).step_by(2) {
            let run = project.gonto(&["mount", "build", "--backend", road, "--layer", layer]).start();
            std::thread::sleep(std::time::Duration::from_millis(delay));
            run.signal(Signal::KILL);
            run.end();
            // Whether it was faster than the signal or not.
            project.gonto(&["umount", "build"]).run().ends_with(0);
            project.assert_clean();
        }
    }
}

/// Every way to an image: who takes it, and the arguments for that.
fn ways() -> Vec<(Caller, &'static [&'static str])> {
    let ways = |caller: Caller| -> &'static [&'static [&'static str]] {
        match caller {
            Caller::Current if caller.is_root() => {
                &[&["--backend=erofs"], &["--backend=fuse"], &["--backend=extract"]]
            }
            Caller::Current | Caller::Ordinary => &[&["--backend=fuse"], &["--backend=extract"]],
            // Root by roads that it has here already.
            Caller::RootByFuse | Caller::RootUnpacking => &[],
            _ => &[&[]],
        }
    };
    Caller::all().into_iter().flat_map(|caller| ways(caller).iter().map(move |way| (caller, *way))).collect()
}

/// A line of a script: reads the image at `$T`, and tries each kind of write. What works is printed, what does not is in the file
/// `said`.
const READ_AND_WRITE: &str = "tail -n 1 ${T}library/fixed.peb | wc -l; here=$PWD; cd $T; ls; \
    for write in 'echo x >new' 'echo x >>bin/pebble' 'mkdir folder' 'rm -f bin/pebble' 'mv bin moved' 'ln -s x link'; \
    do sh -c \"$write\" 2>>$here/said && echo $write; done; true";

/// What it prints when nothing can be written.
const READ: &str = "1\nbin\ncompiler\nlibrary\n";

/// That each write was refused, for this reason.
#[track_caller]
fn assert_refused(project: &Project, reason: &str) {
    let said = project.read("project/said");
    assert_eq!(said.lines().count(), 6, "{said}");
    assert!(said.lines().all(|line| line.ends_with(reason)), "{:?}: {said}", project.caller);
    fs::remove_file(project.path("project/said")).unwrap();
}

const READ_ONLY: &str = "Read-only file system";

/// The files of an image that is unpacked and not mounted are protected by their modes.
fn protection(caller: Caller, way: &[&str], mounted: bool) -> &'static str {
    let unpacked = way == ["--backend=extract"];
    let in_place = caller == Caller::WithoutNamespaces || (!mounted && unpacked && !caller.is_root());
    if in_place { "Permission denied" } else { READ_ONLY }
}

#[test]
fn without_a_layer_an_image_is_read_and_nothing_is_written() {
    for (caller, way) in ways() {
        let script = format!(
            "{READ_AND_WRITE}
             grep \" ${{T%/}} \" /proc/self/mountinfo | cut -d' ' -f6 >options
             ! grep upperdir=ROOT /proc/self/mountinfo"
        );
        let project = project(caller, "  layer: none\n", &script.replace("ROOT", "$ROOT"));
        let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
        for _ in 0..2 {
            let root = project.root.to_string_lossy();
            let output = project.gonto(&[&["run", "build"], way].concat()).env("ROOT", &root).run();
            let output = output.ends_with(0).prints(READ);
            let options = project.read("project/options");
            if namespaced().contains(&caller) {
                assert_eq!(told(&output), [""; 0], "{caller:?} {way:?}");
                assert!(options.starts_with("ro,nosuid,nodev"), "{caller:?} {way:?}: {options}");
                assert!(!project.path("cache/.gonto/layers").exists());
            } else {
                assert!(!output.stderr.contains("read-only"), "{}", output.stderr);
            }
            assert_refused(&project, protection(caller, way, true));
            project.assert_clean();
        }
        assert!(fs::read(project.cached("tool", "1.0")).unwrap() == image, "the image has changed");
    }
}

#[test]
fn modes_and_links_are_those_of_the_image_without_a_layer() {
    let made = Project::new("build: {script: x}");
    let modes = [("program", 0o755), ("private", 0o640), ("read-only", 0o444)];
    for (name, mode) in modes {
        made.write(&format!("project/folder/{name}"), name);
        fs::set_permissions(made.path("project/folder").join(name), fs::Permissions::from_mode(mode))
            .unwrap();
    }
    std::os::unix::fs::symlink("private", made.path("project/folder/link")).unwrap();
    made.gonto(&["create", "folder", "image.vhd"]).run().ends_with(0);
    let image = fs::read(made.path("project/image.vhd")).unwrap();
    for (caller, way) in ways().into_iter().filter(|(caller, _)| namespaced().contains(caller)) {
        let project =
            project(caller, "  layer: none\n", "stat -c %a ${T}[pr]*; readlink ${T}link; cat ${T}link");
        project.publish("tool", "1.0", &image);
        let output = project.gonto(&[&["run", "build"], way].concat()).run();
        output.ends_with(0).prints("640\n755\n444\nprivate\nprivate");
        project.assert_clean();
    }
}

#[test]
fn what_is_mounted_for_everybody_without_a_layer_is_read_only() {
    for (caller, way) in ways() {
        // Each call of the program has mounts of its own then.
        if matches!(caller, Caller::OrdinaryInChroot | Caller::OrdinaryWithoutFuse) {
            continue;
        }
        if caller == Caller::Ordinary && !Path::new("/usr/bin/fusermount3").exists() {
            skipped("an ordinary user needs fusermount3 to mount for all processes");
            continue;
        }
        let project = Project::of(
            caller,
            &format!(
                "build: {{requires: [{TOOL}], script: 'true'}}\nlook:\n  env: {{T: ROOT/state/mnt/tool_v1.0_multi/}}\n  script: |\n    {READ_AND_WRITE}\n"
            ),
        );
        let mount = |layer| project.gonto(&[&["mount", "build", "--layer", layer], way].concat()).run();
        for _ in 0..2 {
            let output = mount("none").ends_with(0).mentions("    mounted tool");
            assert_eq!(told(&output), [""; 0], "{caller:?} {way:?}");
            for _ in 0..2 {
                project.gonto(&["run", "look"]).run().ends_with(0).prints(READ);
                assert_refused(&project, protection(caller, way, false));
            }
            let output = mount("none").ends_with(0).mentions(" is mounted tool");
            assert_eq!(told(&output), [""; 0], "{caller:?} {way:?}");
            // Who wants to write is told.
            let why = "it is mounted already, without a layer for writes (unmount it first)";
            for layer in ["cache", "memory"] {
                let output = mount(layer).ends_with(0).mentions(" is mounted tool");
                let warning = format!("warning: {} is read-only, because {why}", PLACE.trim_end_matches('/'));
                assert_eq!(told(&output), [&*warning], "{caller:?} {way:?}");
            }
            project.gonto(&["umount", "build"]).run().ends_with(0).mentions("unmounted");
            project.assert_clean();
        }
    }
}

#[test]
fn who_wants_no_layer_and_joins_one_is_told() {
    let Some(project) = for_everybody(Caller::Current, "") else { return };
    for layer in ["cache", "memory"] {
        project.gonto(&["mount", "build", "--layer", layer]).run().ends_with(0);
        let output = project.gonto(&["mount", "build", "--layer", "none"]).run().ends_with(0);
        let why = "it is mounted already, with a layer for writes (unmount it first)";
        let warning = format!("warning: {} can be written, because {why}", PLACE.trim_end_matches('/'));
        assert_eq!(told(&output), [&*warning]);
        project.gonto(&["umount", "build"]).run().ends_with(0);
        project.assert_clean();
    }
}

/// Without a layer, the image itself lies where others may mount as well.
#[test]
fn a_gonto_with_a_state_of_its_own_does_not_unmount_what_another_one_has_mounted_below() {
    for backend in ["erofs", "fuse", "extract"] {
        let Some(project) = for_everybody(Caller::Current, "  layer: none\n") else { return };
        let point = TOOL.replace("multi", "multi, mount_point: ROOT/home/point");
        project.configure(&format!("build: {{requires: [{point}], script: 'true'}}"));
        configure(&project, &format!("  layer: none\n  backend: {backend}\n"));
        let other = project.path("other").to_string_lossy().into_owned();
        let gonto = |command| project.gonto(&[command, "build"]);
        gonto("mount").run().ends_with(0);
        gonto("mount").env("GONTO_STATE_DIR", &other).run().ends_with(0).mentions("    mounted tool");
        gonto("umount").run().ends_with(1).mentions("something else is mounted above it");
        assert!(project.path("home/point/bin/pebble").is_file());
        gonto("umount").env("GONTO_STATE_DIR", &other).run().ends_with(0);
        assert!(project.path("home/point/bin/pebble").is_file(), "{backend}");
        gonto("umount").run().ends_with(0).mentions("unmounted");
        assert!(!project.path("home/point").exists());
        project.assert_clean();
    }
}

/// In many containers. A copy is better than files that all runs share.
#[test]
fn root_who_may_not_mount_writes_to_a_copy_and_is_told() {
    let Some(project) = for_everybody(Caller::Current, "  layer: none\n") else { return };
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", env!("CARGO_BIN_EXE_gonto")]);
    command.args(["mount", "build"]).current_dir(project.path("project")).env_clear();
    command.env("HOME", project.path("home")).env("GONTO_STATE_DIR", project.path("state"));
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let why = "can be written, because its files are unpacked for root, and cannot be mounted read-only: ";
    assert!(stderr.contains(why), "{stderr}");
    let folder = project.path("state/mnt/tool_v1.0_multi");
    fs::write(folder.join("new"), "x").unwrap();
    project.gonto(&["umount", "build"]).run().ends_with(0).mentions("unmounted");
    project.assert_clean();
    project.gonto(&["mount", "build", "--backend", "extract"]).run().ends_with(0);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "what was written is still there");
    project.gonto(&["umount", "build"]).run().ends_with(0);
    project.assert_clean();
}

/// What an administrator has forbidden for the cache stays forbidden, and is no reason to fail.
#[test]
fn unpacked_files_are_read_where_nothing_may_be_executed() {
    if !Caller::OrdinaryWithoutFuse.is_possible() {
        return;
    }
    let project =
        project(Caller::OrdinaryWithoutFuse, "  layer: none\n", "ls $T; ! ${T}bin/pebble 2>/dev/null");
    fs::create_dir(project.path("cache")).unwrap();
    let script = "mount -t tmpfs -o noexec,noatime,mode=777 tmpfs ../cache; \
                  exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \"$0\" run build --backend extract";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-ec", script, env!("CARGO_BIN_EXE_gonto")]);
    command.current_dir(project.path("project")).env("HOME", project.path("home"));
    let output = command.env("GONTO_STATE_DIR", project.path("state")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "bin\ncompiler\nlibrary\n");
    assert!(!stderr.contains("read-only"), "{stderr}");
    project.assert_nothing_runs();
}

#[test]
fn an_image_inside_another_one_without_a_layer_needs_a_folder_there() {
    for caller in namespaced() {
        for (folder, status) in [("library", 0), ("missing/deep", 1)] {
            let project = Project::of(
                caller,
                &format!(
                    "build:\n  requires:\n    - {{name: tool, version: '1.0', platform: multi, mount_point: ROOT/home/outer}}\n    - {{name: tool, version: '2.0', platform: multi, mount_point: ROOT/home/outer/{folder}}}\n  script: ls ROOT/home/outer/{folder}\n"
                ),
            );
            let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
            project.publish("tool", "2.0", &image);
            let output = project.gonto(&["run", "build", "--layer", "none"]).run().ends_with(status);
            if status == 0 {
                output.prints("bin\ncompiler\nlibrary\n");
            } else {
                output
                    .prints("")
                    .mentions("the mount point ROOT/home/outer/missing cannot be made: create the folder, or")
                    .mentions(READ_ONLY);
            }
            assert!(!project.path("home/outer").exists());
            project.assert_clean();
        }
    }
}

/// A limit is kept or refused, and never forgotten.
#[test]
fn where_no_limit_can_be_kept_one_is_an_error() {
    for caller in Caller::all().into_iter().filter(|caller| !caller.is_root()) {
        let project = project(caller, "  layer_limit: 1M\n", "echo x >${T}new");
        let output = project.gonto(&["mount", "build"]).run().ends_with(1);
        output
            .mentions("cannot be limited, because ")
            .mentions("an ordinary user cannot mount a tmpfs that all processes see")
            .mentions("leave layer_limit (--layer-limit) out");
        project.assert_clean();
        if !namespaced().contains(&caller) {
            project.gonto(&["run", "build"]).run().ends_with(1).mentions("cannot be limited, because ");
            project.assert_clean();
        }
    }
}

/// Without a limit, what cannot be in memory is on the disk.
#[test]
fn where_memory_cannot_be_had_that_is_told() {
    let Some(project) = for_everybody(Caller::Ordinary, "  layer: memory\n") else { return };
    if !Path::new("/usr/bin/fuse-overlayfs").exists() {
        skipped("fuse-overlayfs is not installed");
        return;
    }
    project
        .gonto(&["mount", "build"])
        .run()
        .ends_with(0)
        .mentions("is kept on the disk, because fuse-overlayfs");
    project.gonto(&["umount", "build"]).run().ends_with(0);
    project.assert_clean();
}

fn for_everybody(caller: Caller, settings: &str) -> Option<Project> {
    let possible = callers().contains(&caller) && (caller != Caller::Current || caller.is_root());
    if !possible {
        skipped("nobody is here who can mount for all processes in this way");
        return None;
    }
    Some(project(caller, settings, "true"))
}

#[test]
fn a_layer_that_contradicts_itself_is_refused() {
    for layer in ["cache", "none"] {
        let project = project(Caller::Current, &format!("  layer: {layer}\n  layer_limit: 8G\n"), "true");
        project
            .gonto(&["run", "build"])
            .run()
            .ends_with(1)
            .mentions("error: `gonto.layer_limit` needs a layer in memory")
            .mentions("write `layer: memory`, or remove one of the two");
    }
    let project = Project::new("build: {script: 'true'}");
    for (arguments, message) in [
        (["--layer=cache", "--layer-limit=8G"], "--layer-limit needs --layer memory"),
        (["--layer=memory", "--layer-limit=8 GB"], "write a size such as 512MiB or 8G"),
        (["--layer=none", "--layer-limit=8G"], "--layer-limit needs --layer memory"),
        (["--layer=disk", "--layer-limit=8G"], "possible values: cache, memory, none"),
    ] {
        project
            .gonto(&[&["run", "build"], &arguments[..]].concat())
            .run()
            .ends_with(2)
            .prints("")
            .mentions(message);
    }
}
