//! The layer that takes what is written to an image: where it lies, what fits into it, and what is told of it in the end.

use std::fs;
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
    let cases: [(&str, &[&str], bool); 8] = [
        ("", &[], true),
        ("  layer: cache\n", &[], true),
        ("  layer: memory\n", &[], false),
        ("  layer_limit: 8M\n", &[], false),
        ("  layer: cache\n", &["--layer", "memory"], false),
        ("  layer: cache\n", &["--layer-limit", "8M"], false),
        ("  layer: memory\n", &["--layer=cache"], true),
        ("  layer_limit: 8M\n", &["--layer=cache"], true),
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
fn nothing_is_left_of_a_layer_in_memory_after_kill_9() {
    for caller in namespaced() {
        let project = project(caller, "  layer_limit: 8M\n", "echo x >${T}new; echo ready; read x");
        let mut run = project.gonto(&["run", "build"]).start();
        run.wait_for("ready");
        run.signal(Signal::KILL);
        run.end().ends_with(137);
        project.assert_nothing_runs();
        project.gonto(&["umount", "build"]).run().ends_with(0);
        project.assert_clean();
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
fn gonto_that_is_killed_while_it_mounts_in_memory_leaves_nothing() {
    let Some(project) = for_everybody(Caller::Current, "  layer: memory\n") else { return };
    project.gonto(&["pull", "build"]).run().ends_with(0);
    for delay in 0..12 {
        let road = if delay % 2 == 0 { "erofs" } else { "fuse" };
        let run = project.gonto(&["mount", "build", "--backend", road]).start();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        run.signal(Signal::KILL);
        run.end();
        // Whether it was faster than the signal or not.
        project.gonto(&["umount", "build"]).run().ends_with(0);
        project.assert_clean();
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
    let project = project(Caller::Current, "  layer: cache\n  layer_limit: 8G\n", "true");
    project
        .gonto(&["run", "build"])
        .run()
        .ends_with(1)
        .mentions("error: `gonto.layer_limit` needs a layer in memory")
        .mentions("write `layer: memory`, or remove one of the two");
    project.configure("build: {script: 'true'}");
    for (arguments, message) in [
        (["--layer=cache", "--layer-limit=8G"], "--layer-limit needs --layer memory"),
        (["--layer=memory", "--layer-limit=8 GB"], "write a size such as 512MiB or 8G"),
        (["--layer=disk", "--layer-limit=8G"], "possible values: cache, memory"),
    ] {
        project
            .gonto(&[&["run", "build"], &arguments[..]].concat())
            .run()
            .ends_with(2)
            .prints("")
            .mentions(message);
    }
}
