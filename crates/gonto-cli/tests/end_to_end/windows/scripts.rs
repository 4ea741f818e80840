//! Lines of scripts and cmd, which runs them.

use super::TOOL;
use crate::support::{Gonto, Project, is_wine, skipped};

fn run<'a>(project: &'a Project, target: &str) -> Gonto<'a> {
    project.gonto(&["run", target])
}

#[test]
fn scripts_run_in_order_and_each_line_is_a_cmd_of_its_own() {
    let project = Project::new(
        "one:
  before_script: |
    cd ..
    set MINE=1
    cd
  script: |

    echo [%MINE%]
      echo stripped
  after_script: echo after",
    );
    let output = run(&project, "one").run().ends_with(0);
    let folder = r"ROOT\project";
    output.prints(&format!("{folder}\n[]\nstripped\nafter\n").replace("[]", "[%MINE%]")).says(
        "    running before_script
$ cd ..
$ set MINE=1
$ cd
    running script
$ echo [%MINE%]
$ echo stripped
    running after_script
$ echo after
",
    );
}

#[test]
fn a_line_reaches_cmd_as_it_is_written() {
    let lines = [
        (r#"echo "a b""#, "\"a b\"\n"),
        (r#"echo "a & b" & echo c"#, "\"a & b\" \nc\n"),
        (r#"echo a&& echo b"#, "a\nb\n"),
        (r#"exit 1 || echo no"#, ""),
        (r#"echo a ^& b ^| c"#, "a & b | c\n"),
        (r#"echo %VALUE% "%VALUE%""#, "value of two \"value of two\"\n"),
        (r#"echo "a b"> "out file.txt""#, ""),
        (r#"type "out file.txt" && del "out file.txt""#, "\"a b\"\n"),
        (r#"echo needle in hay| find "needle""#, "needle in hay\n"),
        (r"echo back\slash\", "back\\slash\\\n"),
        (r#"if "a"=="a" (echo same) else (echo other)"#, "same\n"),
        (r#"for %i in (1 2) do @echo %i"#, "1\n2\n"),
    ];
    let mut targets = String::new();
    for (number, (line, _)) in lines.iter().enumerate() {
        let number = char::from(b'a' + u8::try_from(number).unwrap());
        let line = line.replace('\'', "''");
        targets += &format!("line-{number}: {{env: {{VALUE: value of two}}, script: '{line}'}}\n");
    }
    let project = Project::new(&targets);
    for (number, (line, expected)) in lines.iter().enumerate() {
        let number = char::from(b'a' + u8::try_from(number).unwrap());
        let output = run(&project, &format!("line-{number}")).run();
        assert_eq!(output.stdout, *expected, "{line}\n{}", output.stderr);
    }
}

#[test]
fn the_status_of_the_line_that_fails_is_that_of_the_run() {
    let project = Project::new(
        "one: {script: \"exit 1\\necho later\", after_script: echo after}
seven: {script: \"echo first\\nexit 7\\necho later\", after_script: echo after}
most: {script: 'exit 255'}
before: {before_script: 'exit 3', script: echo later}
after: {script: echo first, after_script: 'exit 4'}
missing: {script: no-such-program}",
    );
    for (target, status, stdout) in [
        ("one", 1, ""),
        ("seven", 7, "first\n"),
        ("most", 255, ""),
        ("before", 3, ""),
        ("after", 4, "first\n"),
    ] {
        let output = run(&project, target).run().ends_with(status).prints(stdout);
        assert!(output.stderr.ends_with(&format!("\" ended with status {status}\n")), "{}", output.stderr);
    }
    let missing = run(&project, "missing").run();
    assert_ne!(missing.status, 0);
    missing.mentions("error: script failed: \"no-such-program\" ended with status ");
}

#[test]
fn a_batch_file_gets_its_arguments_and_its_status_is_that_of_the_line() {
    let project = Project::new(
        "one: {script: \"tools\\\\my-tool.bat \\\"a b\\\" c\\necho later\"}
quoted: {script: '\"tools\\my-tool.bat\" \"a b\" \"c\"'}
called: {script: 'call tools\\my-tool.bat x y'}",
    );
    project.write("project/tools/my-tool.bat", "@echo off\r\necho [%~1] [%2]\r\nexit /b 3\r\n");
    for (target, stdout) in [("one", "[a b] [c]\n"), ("quoted", "[a b] [\"c\"]\n")] {
        run(&project, target).run().ends_with(3).prints(stdout);
    }
    let called = run(&project, "called").run().prints("[x] [y]\n");
    if is_wine() {
        skipped("the cmd of Wine makes every status of a called batch file 1");
        called.ends_with(1);
    } else {
        called.ends_with(3);
    }
}

#[test]
fn what_is_typed_reaches_the_script() {
    let project = Project::new("one: {script: 'set /p answer=&& call echo got %^answer%'}");
    run(&project, "one").stdin("yes\n").run().ends_with(0).prints("got yes\n");
}

#[test]
fn names_of_variables_are_the_same_in_upper_and_lower_case() {
    let project = Project::with_tool(&format!(
        "one:
  requires:
    - {{{TOOL}, env: {{Shared: 'image', TOOL: '{{{{mount_point}}}}bin;{{{{mount_point}}}}'}}}}
  env: {{SHARED: target, path: 'ROOT\\project\\tools;C:\\windows\\system32', Own: target}}
  before_script: echo %shared%
  script: |
    echo %SHARED% %OWN%
    echo %TOOL%
    set own
    my-tool
  after_script: echo %shared%"
    ));
    project.write("project/tools/my-tool.bat", "@echo found by PATH");
    let output = run(&project, "one").env("PATH", r"C:\nowhere").env("oWN", "outside").run().ends_with(0);
    let shown = output.stdout.lines().nth(2).unwrap();
    let (bin, root) = shown.split_once(';').unwrap();
    assert!(root.ends_with('\\') && bin == format!("{root}bin"), "{shown}");
    let shown = shown.to_owned();
    output.prints(&format!("target\nimage target\n{shown}\nOwn=target\nfound by PATH\nimage\n"));
    project.assert_clean();
}
