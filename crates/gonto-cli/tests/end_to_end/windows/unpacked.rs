//! Images with all that Windows can have, and with what it cannot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Project, fixture_with};

const ODD: &str = "name: odd, version: '1', platform: multi, env: {ODD: '{{mount_point}}'}";

/// A folder with long paths, foreign letters and a file of some MB, an image of it in the repository, and a target.
fn project() -> Project {
    let project = Project::new("");
    let deep = "a folder whose name has forty characters/".repeat(8);
    for path in
        ["readme.txt", "Größe/日本/😀.txt", "empty", "a b & c/100% ^!.txt", &format!("{deep}deep.txt")]
    {
        project.write(&format!("project/in/{path}"), format!("content of {path}"));
    }
    project.write("project/in/empty", "");
    let bytes: Vec<u8> = (0..3_000_001_u32)
        .flat_map(|n| (n / 4).wrapping_mul(2_654_435_761).to_le_bytes())
        .step_by(4)
        .collect();
    project.write("project/in/bin/large.dat", bytes);
    fs::create_dir_all(project.path("project/in/nothing/in here")).unwrap();
    fs::create_dir_all(project.path("repository/odd")).unwrap();
    let image = r"..\repository\odd\odd_v1_multi.vhd";
    project.gonto(&["create", "--dynamic", "in", image]).run().ends_with(0);
    project.configure(&format!(
        "one: {{requires: [{{{ODD}}}], script: 'type \"%ODD%readme.txt\" \"%ODD%a b & c\\100% ^!.txt\"'}}"
    ));
    project
}

/// Every path in a folder, with the content of files.
fn all(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let is_folder = entry.file_type().unwrap().is_dir();
            let content = (!is_folder).then(|| fs::read(entry.path()).unwrap());
            all.insert(entry.path().strip_prefix(root).unwrap().to_owned(), content);
            if is_folder {
                folders.push(entry.path());
            }
        }
    }
    all
}

#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (all(one), all(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (path, content) in one {
        assert!(other[&path] == content, "{} differs", path.display());
    }
}

#[test]
fn long_paths_and_foreign_letters_come_through() {
    let project = project();
    let source = project.path("project").join("in");
    let run = || project.gonto(&["run", "--backend", "extract", "one"]).run().ends_with(0);
    run();
    let copies = project.copies("odd");
    let [copy] = &copies[..] else { panic!("one copy is expected: {copies:?}") };
    assert_same(&source, copy);
    // What is changed below a long path is put right as well.
    let deep: PathBuf = ["a folder whose name has forty characters"; 8].iter().collect();
    fs::write(copy.join(&deep).join("deep.txt"), "changed").unwrap();
    fs::write(copy.join(&deep).join("new.txt"), "new").unwrap();
    fs::remove_dir_all(copy.join("Größe")).unwrap();
    run();
    assert_same(&source, copy);
    project.assert_clean();

    let image = r"..\repository\odd\odd_v1_multi.vhd";
    project.gonto(&["image", "extract", image, "out"]).run().ends_with(0);
    assert_same(&source, &project.path("project").join("out"));
    project.gonto(&["image", "verify", image]).run().ends_with(0);
}

#[test]
fn what_windows_cannot_have_is_left_out_of_a_run_and_told() {
    let project = Project::new(&format!(
        "one: {{requires: [{{{ODD}}}], script: 'type \"%ODD%many\\Entry-012\" & if exist \"%ODD%hard-1\" echo there'}}"
    ));
    project.publish("odd", "1", &fixture_with(&[("Entry-010", "CON"), ("Entry-011", "a:b")]));
    let output = project.gonto(&["run", "--backend", "extract", "one"]).run().ends_with(0);
    assert!(output.stdout.ends_with("there\n"), "{}", output.stdout);
    output
        .mentions(r"warning: many\CON: Windows keeps the name for a device; the file is left out (in ")
        .mentions(r"warning: many\a:b: the name has a character that Windows does not allow; the file is left out (in ");
    project.assert_clean();
}
