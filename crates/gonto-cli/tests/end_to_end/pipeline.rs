//! What `run` does, in which order, with which environment and exit status.

use std::fs;
use std::process::Command;

use crate::support::{Behaviour, Caller, Project, Server, callers, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi}";

#[test]
fn the_steps_come_in_their_order() {
    for caller in Caller::all() {
        let project = Project::of(
            caller,
            &format!(
                r#"
build:
  requires: [{TOOL}]
  before_script: |
    echo "before: image $(test -e ../cache/tool/tool_v1.0_multi.vhd && echo cached || echo missing)" >>log
  script: |
    echo "script: image $(test -e ../cache/tool/tool_v1.0_multi.vhd && echo cached || echo missing)" >>log
    echo "script: $(ls ROOT/state/mnt/tool_v1.0_multi | tr '\n' ' ')" >>log
  after_script: |
    echo "after: $(ls ROOT/state/mnt/tool_v1.0_multi 2>/dev/null | tr '\n' ' ')" >>log
"#
            ),
        );
        let output = project.gonto(&["run", "build"]).run().ends_with(0).prints("");
        let log = "before: image missing\nscript: image cached\nscript: bin compiler library \nafter: \n";
        assert_eq!(project.read("project/log"), log, "{caller:?}");
        let heads = [
            "before_script",
            "missing",
            "downloaded",
            "mounted",
            "running script",
            "unmounting",
            "after_script",
        ];
        let mut rest = output.stderr.as_str();
        for head in heads {
            rest = rest
                .split_once(head)
                .unwrap_or_else(|| panic!("{caller:?}: no {head} in {}", output.stderr))
                .1;
        }
        project
            .gonto(&["run", "build"])
            .run()
            .ends_with(0)
            .mentions("     cached tool/tool_v1.0_multi.vhd\n");
        project.assert_clean();
    }
}

#[test]
fn a_vhdx_shows_what_the_same_disk_shows_in_a_vhd() {
    for caller in callers() {
        let project = Project::of(caller, "");
        let listing = |format: &str| {
            let tool = format!(
                "{{name: tool, version: '1.0', platform: multi, format: {format}, env: {{TOOL: '{{{{mount_point}}}}'}}}}"
            );
            let script = "cd $TOOL && find . -type f | sort | xargs sha256sum";
            project.configure(
                &format!("build: {{requires: [\"TOOL\"], script: '{script}'}}").replace("\"TOOL\"", &tool),
            );
            project.gonto(&["run", "build"]).run().ends_with(0).stdout
        };
        let expected = listing("vhd");
        assert!(expected.contains("bin/pebble"), "{expected}");
        for subformat in ["dynamic", "fixed"] {
            let _ = fs::remove_dir_all(project.path("cache"));
            let made = Command::new("qemu-img")
                .args(["convert", "-O", "vhdx", "-o", &format!("subformat={subformat}"), "--image-opts"])
                .arg(format!(
                    "driver=vpc,force_size_calc=current_size,file.filename={}",
                    project.path("repository/tool/tool_v1.0_multi.vhd").display()
                ))
                .arg(project.path("repository/tool/tool_v1.0_multi.vhdx"))
                .status();
            if !made.is_ok_and(|status| status.success()) {
                skipped("no qemu-img, which makes the VHDX");
                return;
            }
            project.give_away();
            assert_eq!(listing("vhdx"), expected, "{caller:?}: {subformat}");
            project.assert_clean();
        }
    }
}

#[test]
fn all_that_a_run_says_goes_to_stderr() {
    let project = Project::of(
        Caller::Current,
        &format!(
            "build: {{requires: [{TOOL}], script: \"echo out\\necho err >&2\", after_script: echo after}}"
        ),
    );
    project.gonto(&["pull", "build"]).run().ends_with(0).prints("");
    project.gonto(&["run", "build"]).run().ends_with(0).prints("out\nafter\n").says(
        "     cached tool/tool_v1.0_multi.vhd
    mounted tool/tool_v1.0_multi.vhd at ROOT/state/mnt/tool_v1.0_multi/
    running script
$ echo out
$ echo err >&2
err
 unmounting the images
    running after_script
$ echo after
",
    );
}

#[test]
fn variables_of_images_go_before_those_of_the_target_and_those_before_the_callers() {
    let show = "printf '%s|' \"$P\" \"$T\" \"$A\" \"$B\" \"$TWO\" \"$RAW\"; echo";
    for caller in callers() {
        let project = Project::of(
            caller,
            &format!(
                r#"
build:
  env: {{T: target, A: target, B: target, RAW: "{{{{mount_point}}}}"}}
  requires:
    - {{name: tool, version: '1.0', platform: multi, env: {{A: first, B: first, TWO: "{{{{mount_point}}}}bin:{{{{mount_point}}}}lib"}}}}
    - {{name: tool, version: '2.0', platform: multi, env: {{B: "second {{{{mount_point}}}}"}}}}
  before_script: |
    {show}
  script: |
    {show}
  after_script: |
    {show}
"#
            ),
        );
        project.publish(
            "tool",
            "2.0",
            &fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap(),
        );
        let run = project
            .gonto(&["run", "build"])
            .env("P", "process")
            .env("T", "process")
            .env("A", "process")
            .run();
        let with_images = "process|target|first|second ROOT/state/mnt/tool_v2.0_multi/|\
            ROOT/state/mnt/tool_v1.0_multi/bin:ROOT/state/mnt/tool_v1.0_multi/lib|{{mount_point}}|\n";
        let expected =
            format!("process|target|target|target||{{{{mount_point}}}}|\n{with_images}{with_images}");
        run.ends_with(0).prints(&expected);
        project.assert_clean();
    }
}

#[test]
fn each_line_is_a_command_of_its_own() {
    let project = Project::new(
        "build:
  script: |

    cd /
      pwd
    \t
    X=1; echo \"[$X]\"
    echo \"[$X]\"   \n    echo 'a  b' \\
    echo '#'
",
    );
    let output = project.gonto(&["run", "build"]).run().ends_with(0);
    output.prints("ROOT/project\n[1]\n[]\na  b \\\n#\n");
}

#[test]
fn a_script_reads_the_callers_stdin() {
    for caller in callers() {
        let read = "IFS= read -r line; echo \"[$line]\"";
        let targets = format!(
            "build: {{requires: [{TOOL}], before_script: '{read}', script: '{read}', after_script: cat}}"
        );
        let project = Project::of(caller, &targets);
        let output = project.gonto(&["run", "build"]).stdin("one\ntwo\nthree\nfour").run().ends_with(0);
        output.prints("[one]\n[two]\nthree\nfour");
        project.assert_clean();
    }
}

#[test]
fn what_a_script_prints_is_not_touched() {
    let project = Project::of(
        Caller::Current,
        &format!(r#"build: {{requires: [{TOOL}], script: "printf 'no newline\\033[31m\\r'"}}"#),
    );
    project.gonto(&["run", "build"]).run().ends_with(0).prints("no newline\u{1b}[31m\r");
}

#[test]
fn the_first_failing_line_ends_the_run_with_its_status() {
    // Script, exit status, what is said.
    let cases = [
        ("exit 7", 7, "ended with status 7"),
        ("exit 1", 1, "ended with status 1"),
        ("exit 255", 255, "ended with status 255"),
        ("/no/such/program", 127, "ended with status 127"),
        ("./file", 126, "ended with status 126"),
        ("kill -KILL $$", 137, "was ended by signal 9"),
        ("kill -SEGV $$", 139, "was ended by signal 11"),
        ("kill -TERM $$", 143, "was ended by signal 15"),
        ("kill -PIPE $$", 141, "was ended by signal 13"),
    ];
    for caller in callers() {
        for (line, status, said) in cases {
            let project = Project::of(
                caller,
                &format!(
                    "build:
  requires: [{TOOL}]
  script: |
    echo one
    {line}
    echo three
  after_script: echo after
",
                ),
            );
            project.write("project/file", "no program");
            project.give_away();
            let output = project.gonto(&["run", "build"]).run().ends_with(status).prints("one\n");
            output
                .mentions(&format!("error: script failed: \"{line}\" {said}\n"))
                .mentions("unmounting the images");
            project.assert_clean();
        }
    }
}

#[test]
fn a_failing_before_script_ends_the_run_before_anything_is_fetched() {
    let project = Project::of(
        Caller::Current,
        &format!(
            "build: {{requires: [{TOOL}], before_script: exit 4, script: echo script, after_script: echo after}}"
        ),
    );
    project
        .gonto(&["run", "build"])
        .run()
        .ends_with(4)
        .prints("")
        .mentions("before_script failed: \"exit 4\"");
    assert!(!project.path("cache").exists());
}

#[test]
fn a_failing_after_script_fails_the_run() {
    let project = Project::of(
        Caller::Current,
        &format!("build: {{requires: [{TOOL}], script: echo script, after_script: exit 5}}"),
    );
    project.gonto(&["run", "build"]).run().ends_with(5).prints("script\n");
    project.assert_clean();
}

#[test]
fn an_image_that_the_repository_lacks_ends_the_run_before_the_script() {
    for caller in callers() {
        let project = Project::of(
            caller,
            &format!(
                "build:
  requires: [{TOOL}, {{name: other, version: '1.0', platform: multi}}]
  before_script: echo before
  script: echo script
"
            ),
        );
        let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("before\n");
        output
            .mentions("error: cannot fetch other/other_v1.0_multi.vhd\n")
            .mentions("other_v1.0_multi.vhd: check the name");
        assert!(project.cached("tool", "1.0").is_file());
        assert!(!project.cached("other", "1.0").exists());
        project.assert_clean();
    }
}

#[test]
fn images_come_from_a_web_server() {
    for caller in callers() {
        let project = Project::of(caller, "");
        let server = Server::start(&project.path("repository"), Behaviour::Good);
        let line = "ls ROOT/state/mnt/tool_v1.0_multi/bin";
        project.configure_with(&server.url(), &format!("build: {{requires: [{TOOL}], script: '{line}'}}"));
        project.gonto(&["run", "build"]).run().ends_with(0).prints("pebble\n");
        let images = ["repository/tool/tool_v1.0_multi.vhd", "cache/tool/tool_v1.0_multi.vhd"];
        let [published, cached] = images.map(|image| fs::read(project.path(image)).unwrap());
        assert!(published == cached);
        project.assert_clean();
    }
}

#[test]
fn pull_downloads_and_runs_nothing() {
    let project = Project::of(
        Caller::Current,
        &format!(
            "build: {{requires: [{TOOL}], before_script: echo before, script: echo script, after_script: echo after}}"
        ),
    );
    project.gonto(&["pull", "build"]).run().ends_with(0).prints("");
    assert!(project.cached("tool", "1.0").is_file());
    project
        .gonto(&["pull", "build"])
        .run()
        .ends_with(0)
        .prints("")
        .says("     cached tool/tool_v1.0_multi.vhd\n");
    assert!(!project.path("state").exists(), "nothing is mounted, so nothing is recorded");
}

#[test]
fn a_target_without_images_needs_neither_cache_nor_repository() {
    let project = Project::new("build: {script: echo script}");
    fs::remove_dir(project.path("repository")).unwrap();
    let output = project.gonto(&["run", "build"]).run().ends_with(0).prints("script\n");
    output.says("    running script\n$ echo script\n");
    assert!(!project.path("cache").exists());
}

#[test]
fn registry_values_are_skipped_with_one_notice() {
    let project = Project::of(
        Caller::Current,
        "build:
  requires:
    - {name: tool, version: '1.0', platform: multi, reg: [{root: HKEY_CURRENT_USER, name: a, data: b}]}
    - {name: tool, version: '2.0', platform: multi, reg: [{root: HKEY_CURRENT_USER, name: a, data: b}]}
  script: echo script
",
    );
    project.publish("tool", "2.0", &fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap());
    let output = project.gonto(&["run", "build"]).run().ends_with(0).prints("script\n");
    assert_eq!(output.stderr.matches("registry values are skipped").count(), 1, "{}", output.stderr);
}
