//! Lines, and the processes that they start.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, process, thread};

use gonto_mount::{Command, Error, Reach};

use crate::support::{
    CONTROL_C_EXIT, Run, environment, exclusively, this, under_wine, wait_for, while_running,
};
use crate::{ABOUT, ROLE};

#[test]
fn cmd_gets_a_line_as_it_is() {
    let run = Run::new();
    for (line, printed) in [
        ("echo a \"b  c\" d>out", "a \"b  c\" d"),
        ("\"cmd\" /c \"echo quoted\">out", "quoted"),
        ("echo a ^& b ^| c ^^ d>out", "a & b | c ^ d"),
        ("echo one>out&& echo two>>out", "one\r\ntwo"),
        ("echo x|more>out", "x"),
        ("echo %GONTO_TEST_ROLE%>out", "x y"),
        ("echo %GONTO_TEST_NONE%>out", "%GONTO_TEST_NONE%"),
        ("echo !GONTO_TEST_ROLE!>out", "!GONTO_TEST_ROLE!"),
        ("echo a\\>out", "a\\"),
        ("echo \"a\\\">out", "\"a\\\""),
        ("echo a>\"out\"", "a"),
    ] {
        drop(fs::remove_file(run.path("out")));
        assert_eq!(run.line_as(line, "x y", ""), 0, "{line}");
        assert_eq!(run.out().trim_end(), printed, "{line}");
    }
}

#[test]
fn a_program_gets_the_arguments_of_the_line() {
    let run = Run::new();
    let line = this(r#"-- "a b" "c\\" d\ x^&y 漢ü😀 "100%" "" "e\"f""#);
    assert_eq!(run.line_as(&line, "arguments", "out"), 0);
    assert_eq!(run.out(), "a b\nc\\\nd\\\nx&y\n漢ü😀\n100%\n\ne\"f\n");
}

#[test]
fn a_batch_file_runs_by_its_path() {
    let run = Run::new();
    let folder = run.path("with a space & more");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("some.bat");
    fs::write(&file, "@echo off\r\n>out echo %~1\r\nexit /b 7\r\n").unwrap();
    assert_eq!(run.line(&format!("\"{}\" \"an argument\"", file.display())), 7);
    assert_eq!(run.out(), "an argument\r\n");
}

#[test]
fn the_exit_status_is_that_of_the_line() {
    let run = Run::new();
    for code in [0, 1, 255, 259, -1] {
        assert_eq!(run.line(&format!("exit {code}")), code);
    }
    for code in ["0", "1", "255", "256", "259", "3221225477", "4294967295"] {
        if code == "259" && under_wine() {
            eprintln!("skipped: Wine's cmd takes a program that ended with 259 for one that still runs");
            continue;
        }
        let status: u32 = code.parse().unwrap();
        assert_eq!(run.line_as(&this(""), "exit", code), status.cast_signed());
    }
}

#[test]
fn the_environment_is_exactly_the_one_that_was_given() {
    let run = Run::new();
    // What programs need to start at all.
    let mut given = environment("environment", "out");
    given.retain(|(name, _)| {
        ["SYSTEMROOT", ROLE, ABOUT].contains(&name.to_string_lossy().to_uppercase().as_str())
    });
    let system = given.clone();
    for (name, value) in [
        ("Gonto_Path", "old"),
        ("gonto_ünder", "small"),
        ("=Q:", "Q:\\here"),
        ("GONTO_PATH", "a=b;%c% \"d\""),
        ("GONTO_ÜNDER", "漢"),
        ("gonto_empty", ""),
    ] {
        given.push((name.into(), value.into()));
    }
    let command = Command::shell(&this(""), given, run.folder.path());
    assert!(run.session.run(&command).unwrap().success());
    let out = run.out();
    let ours: Vec<&str> = out.lines().filter(|line| line.to_lowercase().contains("gonto_")).collect();
    for wanted in ["GONTO_PATH=a=b;%c% \"d\"", "GONTO_ÜNDER=漢"] {
        let name = wanted.split('=').next().unwrap().to_lowercase();
        let found: Vec<_> = ours.iter().filter(|line| line.to_lowercase().starts_with(&name)).collect();
        assert_eq!(found, [&wanted], "{out}");
    }
    assert!(out.contains("=Q:=Q:\\here\n"), "{out}");
    // Nothing but that, and what cmd (or Wine) adds.
    let added = ["COMSPEC", "PATH", "PATHEXT", "PROMPT", "WINDIR", "SYSTEMDRIVE"];
    for line in out.lines().filter(|line| !line.to_lowercase().contains("gonto_") && !line.starts_with('=')) {
        let name = line.split('=').next().unwrap().to_uppercase();
        let known = system.iter().any(|(known, _)| known.to_string_lossy().to_uppercase() == name);
        assert!(known || added.contains(&name.as_str()) || name.starts_with("WINE"), "{line}");
    }
}

#[test]
fn no_other_cmd_is_run_than_that_of_the_system() {
    let run = Run::new();
    fs::copy(env::current_exe().unwrap(), run.path("cmd.exe")).unwrap();
    let mut given = environment("exit", "99");
    given.retain(|(name, _)| !["PATH", "COMSPEC"].contains(&name.to_string_lossy().to_uppercase().as_str()));
    given.push(("PATH".into(), run.folder.path().into()));
    given.push(("ComSpec".into(), run.path("cmd.exe").into()));
    let command = Command::shell("exit 5", given, run.folder.path());
    assert_eq!(run.session.run(&command).unwrap().code(), Some(5));
}

#[test]
fn a_line_runs_in_the_folder_even_by_its_long_name() {
    let run = Run::new();
    let folder = run.path("über 漢");
    fs::create_dir(&folder).unwrap();
    let long = folder.canonicalize().unwrap();
    assert!(long.to_str().unwrap().starts_with(r"\\?\"), "{}", long.display());
    for folder in [&folder, &long] {
        let command = Command::shell("echo here>out", environment("", ""), folder);
        assert!(run.session.run(&command).unwrap().success());
        fs::remove_file(folder.join("out")).unwrap();
    }
}

#[test]
fn what_cannot_run_says_why() {
    let run = Run::new();
    let program = "cmd.exe".to_owned();
    for folder in [r"\\server\share\x", r"\\?\UNC\server\share", r"\\.\C:\"] {
        let (named, why) = run.failure("exit 0", Path::new(folder));
        assert_eq!(named, program);
        assert!(
            why.starts_with(&format!("cmd cannot run in the folder {folder}, which has no drive")),
            "{why}"
        );
        assert!(why.contains("net use"), "{why}");
    }
    fs::write(run.path("file"), "").unwrap();
    for folder in [run.path("gone"), run.path("file")] {
        let why = format!("cannot change to the folder {}", folder.display());
        assert_eq!(run.failure("exit 0", &folder), (program.clone(), why));
    }
    let (_, why) = run.failure(&format!("rem {}", "x".repeat(8192)), run.folder.path());
    assert!(why.contains("too long for cmd") && why.contains(".bat"), "{why}");
    let mut given = environment("", "");
    given.push(("GONTO_TEST".into(), "a\0b".into()));
    match run.session.run(&Command::shell("exit 0", given, run.folder.path())) {
        Err(Error::Execute { source, .. }) => {
            assert_eq!(source.to_string(), "a NUL character in the environment variable \"GONTO_TEST\"");
        }
        other => panic!("{other:?}"),
    }
}

/// This program as a gonto that runs `line`.
fn gonto(line: &str, folder: &Path) -> process::Command {
    let mut gonto = process::Command::new(env::current_exe().unwrap());
    gonto.args(["--exact", "role", "--nocapture"]).env(ROLE, "session").env(ABOUT, line).current_dir(folder);
    gonto
}

#[test]
fn a_line_has_the_standard_streams_of_gonto() {
    let folder = tempfile::tempdir().unwrap();
    let mut gonto = gonto("echo from out& echo from errors>&2& more& exit 6", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    gonto.stdin.take().unwrap().write_all(b"from in\r\n").unwrap();
    let output = gonto.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace('\r', "");
    let out = text(output.stdout);
    assert_eq!(output.status.code(), Some(6), "{out}");
    assert!(out.contains("from out\nfrom in\n") || out.contains("from out \nfrom in\n"), "{out:?}");
    assert_eq!(text(output.stderr).trim_end(), "from errors");
}

#[test]
fn files_and_nothing_are_streams_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let out = File::create(folder.path().join("streams")).unwrap();
    let status = gonto("echo one& echo two>&2& more& exit 4", folder.path())
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(4));
    let out = fs::read_to_string(folder.path().join("streams")).unwrap();
    assert!(out.contains("one") && out.contains("two"), "{out:?}");
}

/// Handles that a child must not have: a reader of a pipe waits until the last writer is gone.
#[test]
fn a_line_inherits_no_other_handle() {
    use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
    let run = Run::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let handle = std::os::windows::io::AsRawHandle::as_raw_handle(&writer);
    // SAFETY: the handle is open; it becomes one that a child may inherit.
    assert_ne!(unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) }, 0);
    let held = run.path("held");
    assert_eq!(run.line_as(&format!("start /b \"\" {}", this("")), "hold", held.to_str().unwrap()), 0);
    wait_for(&run.path("held.held"));
    drop(writer);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(exclusively(&held).is_err(), "what the line has started runs still");
}

#[test]
fn what_a_line_leaves_running_ends_with_the_session() {
    let run = Run::new();
    let held = run.path("held");
    assert_eq!(run.line_as(&format!("start /b \"\" {}", this("")), "hold", held.to_str().unwrap()), 0);
    wait_for(&run.path("held.held"));
    // It goes on meanwhile.
    assert_eq!(run.line("exit 3"), 3);
    assert!(exclusively(&held).is_err());
    let Run { folder, session, .. } = run;
    drop(session);
    drop(exclusively(&held).unwrap());
    folder.close().unwrap();
}

#[test]
fn nothing_outlives_a_killed_gonto() {
    let folder = tempfile::tempdir().unwrap();
    let held = folder.path().join("held");
    let line = format!("set {ROLE}=hold&& set {ABOUT}={}&& {}", held.display(), this(""));
    for line in [line.clone(), format!("start /b \"\" cmd /c \"{line}\"& more")] {
        let mut gonto = gonto(&line, folder.path()).stdin(Stdio::piped()).spawn().unwrap();
        wait_for(&folder.path().join("held.held"));
        assert!(exclusively(&held).is_err());
        gonto.kill().unwrap();
        gonto.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while exclusively(&held).is_err() {
            assert!(Instant::now() < deadline, "it runs on: {line}");
            thread::sleep(Duration::from_millis(5));
        }
        fs::remove_file(folder.path().join("held.held")).unwrap();
    }
}

#[test]
fn an_interrupt_that_only_gonto_knows_ends_a_line_at_once() {
    let run = Run::new();
    let start = Instant::now();
    assert_eq!(while_running(&run, || run.interrupt.raise(15, Reach::Gonto)), CONTROL_C_EXIT);
    assert!(start.elapsed() < Duration::from_secs(9));
    drop(exclusively(&run.path("held")).unwrap());
    // And every later one.
    for _ in 0..3 {
        let held = run.path("later");
        assert_eq!(run.line_as(&this(""), "hold", held.to_str().unwrap()), CONTROL_C_EXIT);
    }
}

#[test]
fn a_second_interrupt_does_not_wait() {
    let run = Run::new();
    let start = Instant::now();
    let twice = || {
        run.interrupt.raise(2, Reach::Terminal);
        run.interrupt.raise(2, Reach::Terminal);
    };
    assert_eq!(while_running(&run, twice), CONTROL_C_EXIT);
    assert!(start.elapsed() < Duration::from_secs(9));
}

#[test]
fn a_line_that_knows_of_the_interrupt_may_clean_up() {
    let run = Run::new();
    let code = thread::scope(|scope| {
        let line = "echo x>started& for /l %i in (0,0,1) do @if exist go exit 90";
        let line = scope.spawn(|| run.line(line));
        wait_for(&run.path("started"));
        run.interrupt.raise(2, Reach::Terminal);
        fs::write(run.path("go"), "").unwrap();
        line.join().unwrap()
    });
    assert_eq!(code, 90);
}
