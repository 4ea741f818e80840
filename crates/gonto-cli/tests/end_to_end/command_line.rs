//! Arguments, what is printed where, and the exit status. These work on every system.

use std::path::Path;

use crate::support::Project;

const ONE: &str = "one: {script: 'exit 0'}";

#[test]
fn list_prints_names_in_the_order_of_the_merged_files_and_nothing_else() {
    let project = Project::new("zebra: {script: x}\nAnt: {script: x}\nbee-2: {script: x}\n");
    project.write("home/gonto.yaml", "targets: {bee-2: {script: y}, first: {script: y}}");
    project.write("project/.gonto.yaml", "targets: {last: {script: z}, Ant: {script: z}}");
    // A key keeps the place that it got first, as in Python's dictionaries.
    project.gonto(&["list"]).run().ends_with(0).prints("bee-2\nfirst\nzebra\nAnt\nlast\n").says("");
}

#[test]
fn list_without_targets_prints_nothing() {
    let project = Project::new("");
    project.write("project/gonto.yaml", "gonto: {cache_dir: c, repository: r}\ntargets: {}\n");
    project.gonto(&["list"]).run().ends_with(0).prints("").says("");
}

#[test]
fn the_version_has_the_name_of_the_program() {
    let project = Project::new(ONE);
    let version = concat!("gonto ", env!("CARGO_PKG_VERSION"), "\n");
    for option in ["-v", "--version"] {
        project.gonto(&[option]).run().ends_with(0).prints(version).says("");
    }
}

#[test]
fn help_is_a_result() {
    let project = Project::new(ONE);
    for option in ["-h", "--help"] {
        let output = project.gonto(&[option]).run().ends_with(0).says("");
        for word in [
            "list",
            "run",
            "pull",
            "mount",
            "umount",
            "doctor",
            "--directory",
            "--config",
            "GONTO_DEBUG",
            "NO_COLOR",
        ] {
            assert!(output.stdout.contains(word), "{option}: {word} is missing in:\n{}", output.stdout);
        }
    }
}

#[test]
fn wrong_usage_ends_with_2_and_prints_nothing() {
    let project = Project::new(ONE);
    let cases: [&[&str]; 13] = [
        &[],
        &["frobnicate"],
        &["run"],
        &["pull"],
        &["mount"],
        &["umount"],
        &["run", "one", "two"],
        &["list", "one"],
        &["list", "--nope"],
        &["list", "--config"],
        &["list", "-C"],
        &["pull", "one", "--backend", "auto"],
        &["doctor", "one"],
    ];
    for arguments in cases {
        let output = project.gonto(arguments).run().ends_with(2).prints("");
        assert!(output.stderr.contains("--help"), "{arguments:?}:\n{}", output.stderr);
    }
}

#[test]
fn an_unknown_target_is_an_error_that_suggests_one() {
    let project = Project::new("build: {script: x}\ntest: {script: x}\n");
    for command in ["run", "pull", "mount", "umount"] {
        project
            .gonto(&[command, "buidl"])
            .run()
            .ends_with(1)
            .prints("")
            .says("error: the target \"buidl\" does not exist: did you mean \"build\"?\n");
    }
    let far = "error: the target \"deploy\" does not exist: there are build, test\n";
    project.gonto(&["run", "deploy"]).run().ends_with(1).prints("").says(far);
}

#[test]
fn another_directory_is_as_if_started_there() {
    let project = Project::new(ONE);
    project
        .write("elsewhere/gonto.yaml", "gonto: {cache_dir: c, repository: r}\ntargets: {two: {script: x}}");
    for arguments in [["-C", "../elsewhere", "list"], ["list", "--directory", "../elsewhere"]] {
        project.gonto(&arguments).run().ends_with(0).prints("two\n").says("");
    }
    let missing = project.gonto(&["-C", "../nowhere", "list"]).run().ends_with(1).prints("");
    let start = format!("error: cannot change to the folder {}\n", Path::new("../nowhere").display());
    assert!(missing.stderr.starts_with(&start), "{}", missing.stderr);
    assert!(missing.stderr.contains("caused by: "), "{}", missing.stderr);
}

#[test]
fn a_named_configuration_is_the_only_one_and_is_meant_from_the_other_directory() {
    let project = Project::new(ONE);
    project.write("home/gonto.yaml", "targets: {of-home: {script: x}}");
    let config = "gonto: {cache_dir: c, repository: r}\ntargets: {named: {script: x}}";
    project.write("elsewhere/special.yaml", config);
    for arguments in [
        &["--config", "../elsewhere/special.yaml", "list"][..],
        &["-C", "../elsewhere", "--config", "special.yaml", "list"],
        &["list", "--config", "special.yaml", "-C", "../elsewhere"],
    ] {
        project.gonto(arguments).run().ends_with(0).prints("named\n").says("");
    }
    let missing = project.gonto(&["list", "--config", "special.yaml"]).run().ends_with(1).prints("");
    assert!(missing.stderr.contains("special.yaml"), "{}", missing.stderr);
}

#[test]
fn no_configuration_is_a_warning_and_an_error_that_shows_one() {
    let project = Project::new(ONE);
    std::fs::remove_file(project.path("project/gonto.yaml")).unwrap();
    let output = project.gonto(&["list"]).run().ends_with(1).prints("");
    assert!(output.stderr.starts_with("warning: no configuration file was found\n"), "{}", output.stderr);
    output.mentions("error: `gonto` and `targets` are missing").mentions("write a file gonto.yaml");
}

#[test]
fn all_errors_of_a_configuration_are_told_at_once_with_their_places() {
    let project = Project::new("");
    project.write(
        "project/gonto.yaml",
        "gonto:
  cache_dir: c
  repositroy: r
targets:
  build:
    requires:
      - name: tool
        version: 36
        mount_point: opt/tool
  9th:
    script: x
",
    );
    let output = project.gonto(&["list"]).run().ends_with(1).prints("");
    for (place, remedy) in [
        ("gonto.yaml:3:3", "did you mean `repository`?"),
        ("gonto.yaml:8:18", "write \"36\" in quotes"),
        ("gonto.yaml:9:22", "write a drive letter such as 'U:\\', an absolute path"),
        ("gonto.yaml:5:3", "add `script: COMMAND`"),
        ("gonto.yaml:10:3", "begin the name with a letter"),
    ] {
        assert!(output.stderr.contains(place), "{place} is missing in:\n{}", output.stderr);
        assert!(output.stderr.contains(remedy), "{remedy} is missing in:\n{}", output.stderr);
    }
}

#[test]
fn colours_are_for_who_wants_them() {
    let project = Project::new(ONE);
    let unknown = ["run", "two"];
    let plain = project.gonto(&unknown).run().stderr;
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let coloured = project.gonto(&unknown).env("CLICOLOR_FORCE", "1").run().stderr;
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    let refused = project.gonto(&unknown).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").run().stderr;
    assert_eq!(refused, plain);

    // The same for errors in the configuration, which another part of the program renders.
    project.write("project/gonto.yaml", "gonto: 1");
    let plain = project.gonto(&["list"]).run().stderr;
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let coloured = project.gonto(&["list"]).env("CLICOLOR_FORCE", "1").run().stderr;
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    let refused = project.gonto(&["list"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").run().stderr;
    assert_eq!(refused, plain);
}

#[cfg(target_os = "linux")]
mod on_unix {
    use super::{ONE, Project};

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        let project = Project::new(ONE);
        for arguments in ["list", "--help", "--version"] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            project.gonto(&[arguments]).stdout(writer).run().ends_with(0).says("");
        }
    }

    #[test]
    fn results_that_cannot_be_written_are_a_failure() {
        let project = Project::new(ONE);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        project
            .gonto(&["list"])
            .stdout(full)
            .run()
            .ends_with(1)
            .mentions("error: cannot write the results\n");
    }

    #[test]
    fn a_terminal_gets_colours_unless_told_otherwise() {
        if !std::path::Path::new("/usr/bin/script").exists() {
            crate::support::skipped("no terminal without script(1)");
            return;
        }
        let project = Project::new(ONE);
        let colours = |name: &str, value: &str| {
            let call = project.gonto(&["run", "two"]).env(name, value).at_a_terminal();
            call.run().ends_with(1).stdout.contains("\u{1b}[")
        };
        assert!(colours("TERM", "xterm"));
        assert!(!colours("TERM", "dumb"));
        assert!(!colours("NO_COLOR", "1"));
    }

    #[test]
    fn debug_logs_go_to_stderr() {
        let project = Project::new("one: {script: echo result}");
        let debugging =
            project.gonto(&["run", "one"]).env("GONTO_DEBUG", "1").run().ends_with(0).prints("result\n");
        assert!(debugging.stderr.contains("DEBUG"), "{}", debugging.stderr);
        let quiet =
            project.gonto(&["run", "one"]).env("GONTO_DEBUG", "").run().ends_with(0).prints("result\n");
        quiet.says("    running script\n$ echo result\n");
    }

    #[test]
    fn nobody_who_listens_on_stderr_is_no_failure() {
        let project = Project::new("one: {script: 'echo result; exit 3'}");
        let line = format!("exec {} run one 2>&-", env!("CARGO_BIN_EXE_gonto"));
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &line]).current_dir(project.path("project"));
        let output = command.env("GONTO_STATE_DIR", project.path("state")).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"result\n".as_slice()));
    }
}

#[cfg(windows)]
mod on_windows {
    use super::Project;

    /// A line that ends with a number that no byte holds.
    #[test]
    fn run_ends_with_all_bits_of_the_status() {
        for status in [3, 259, -1, -1_073_741_819] {
            let project = Project::new(&format!("one: {{script: exit {status}}}"));
            project.gonto(&["run", "one"]).run().ends_with(status);
        }
    }

    #[test]
    fn variables_are_told_apart_as_windows_does() {
        let project = Project::new(
            "one: {env: {gonto_name: ours, GONTO_other: first, gonto_Other: last}, script: 'echo %GONTO_NAME% %gonto_other%'}",
        );
        project.gonto(&["run", "one"]).env("GONTO_Name", "theirs").run().ends_with(0).prints("ours last\n");
    }
}
