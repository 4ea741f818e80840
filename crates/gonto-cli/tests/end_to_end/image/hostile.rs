//! Names that no tool of Windows would write: nothing that is printed or written is led astray by them.

use std::fs;

use super::EMPTY;
use crate::support::{Project, fixture_with};

/// Names of the folder `many`, and what they become.
const NAMES: [(&str, &str); 9] = [
    ("Entry-010", ".."),
    ("Entry-011", "a/b"),
    ("Entry-012", "../../pwn"),
    ("Entry-013", "C:evil.sh"),
    ("Entry-014", "\x1b[31mred!"),
    ("Entry-015", "new\nline!"),
    ("Entry-016", "back\\slas"),
    ("Entry-017", "nul\0name!"),
    ("Entry-018", "."),
];

/// What is told of those that no Linux system can have.
const LEFT_OUT: [&str; 5] = [
    "error: many/. is left out\n  caused by: no Linux system can have such a name\n",
    "error: many/.. is left out\n",
    "error: many/..\u{fffd}..\u{fffd}pwn is left out\n",
    "error: many/a\u{fffd}b is left out\n",
    "error: many/nul\u{fffd}name! is left out\n",
];

fn hostile() -> Project {
    let project = Project::new(EMPTY);
    fs::write(project.path("project/hostile.vhd"), fixture_with(&NAMES)).unwrap();
    project
}

#[test]
fn lists_tell_what_they_leave_out() {
    let project = hostile();
    for arguments in
        [&["ls", "hostile.vhd", "many"][..], &["ls", "-R", "hostile.vhd"], &["manifest", "hostile.vhd"]]
    {
        let output = project.gonto(&[&["image"], arguments].concat()).run().ends_with(1);
        LEFT_OUT.iter().fold(output, |output, told| output.mentions(told));
    }
    // They do not lie in the folder that is asked for.
    project.gonto(&["image", "ls", "hostile.vhd", "links"]).run().ends_with(0).says("");
    project.gonto(&["image", "ls", "hostile.vhd"]).run().ends_with(0).says("");
}

#[test]
fn names_go_as_they_are_into_files_and_escaped_to_terminals_and_manifests() {
    let project = hostile();
    let list = ["image", "ls", "hostile.vhd", "many"];
    let piped = project.gonto(&list).run().stdout;
    for name in ["\u{1b}[31mred!", "new\nline!", "back\\slas", "C:evil.sh"] {
        assert!(piped.contains(&format!("{name}\n")), "{name:?}");
    }
    let shown = project.gonto(&list).at_a_terminal().run().stdout;
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    assert!(shown.contains(r"\x1b[31mred!") && shown.contains(r"new\x0aline!"), "{shown:?}");

    let manifest = project.gonto(&["image", "manifest", "hostile.vhd", "many"]).run().stdout;
    assert!(manifest.lines().all(|line| line.split('\t').count() == 4), "{manifest}");
    assert!(manifest.contains("many/new\\nline!\t") && manifest.contains(r"many/back\\slas"), "{manifest}");

    let json = project.gonto(&["image", "ls", "--json", "hostile.vhd", "many"]).run().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json.as_array().unwrap().iter().any(|entry| entry["path"] == "new\nline!"));
}

#[test]
fn nothing_is_extracted_outside_of_the_folder() {
    let project = hostile();
    let output = project.gonto(&["image", "extract", "hostile.vhd", "deep/out", "many"]).run().ends_with(1);
    LEFT_OUT.iter().fold(output, |output, told| output.mentions(told));
    let names = |path: &str| {
        let mut names: Vec<_> = fs::read_dir(project.path("project").join(path))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("deep"), ["out"]);
    assert_eq!(names("deep/out"), ["many"]);
    let many = names("deep/out/many");
    // 300 and a hard link, less five.
    assert_eq!(many.len(), 296);
    for name in ["C:evil.sh", "\u{1b}[31mred!", "new\nline!", "back\\slas"] {
        assert!(many.iter().any(|found| found == name), "{name:?}");
    }
    // A backslash is a part of the name where there is such a name.
    project.gonto(&["image", "cat", "hostile.vhd", r"many/back\slas"]).run().ends_with(0).prints("16");
}
