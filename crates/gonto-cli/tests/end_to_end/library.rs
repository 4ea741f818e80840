//! The library as programs other than `gonto` use it. What it does depends on the environment of its process, so this test
//! program starts itself again, as such a program.

use std::env;
use std::path::Path;
use std::process::Command;

use gonto::config::{Config, Search};
use gonto::target::{ScriptType, Surroundings, Target};

use crate::support::{Caller, Project, is_root, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi}";
const FOLDER: &str = "state/mnt/tool_v1.0_multi";

/// Names the folder of the project, in the process that is the other program.
const ROOT: &str = "GONTO_TEST_LIBRARY";

#[test]
fn unmounting_takes_away_what_the_same_target_has_mounted() {
    if let Some(root) = env::var_os(ROOT) {
        return other_program(Path::new(&root));
    }
    if !is_root() && !Path::new("/usr/bin/fusermount3").exists() {
        skipped("an ordinary user needs fusermount3 to mount for all processes");
        return;
    }
    let project = Project::of(
        Caller::Current,
        &format!("build: {{requires: [{TOOL}], script: 'test -d ROOT/{FOLDER}/bin'}}"),
    );
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "library::unmounting_takes_away_what_the_same_target_has_mounted", "--nocapture"])
        .env(ROOT, &project.root)
        .env("GONTO_STATE_DIR", project.path("state"))
        .current_dir(project.path("project"))
        .output()
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "stdout:\n{stdout}\nstderr:\n{stderr}");
    project.assert_clean();
}

fn other_program(root: &Path) {
    let project = root.join("project");
    let config = Config::load(&Search::new(&project).only("gonto.yaml")).unwrap().config;
    let target = || Target::with_surroundings("build", &config, Surroundings::current().unwrap()).unwrap();
    let folder = root.join(FOLDER);
    let is_mounted = || folder.join("bin").is_dir();

    let mut permanent = target();
    permanent.download_missing_images(|_, _, _, _| ()).unwrap();
    permanent.mount_images(true).unwrap();
    permanent.run_script(ScriptType::Script).unwrap();
    assert!(is_mounted());
    assert_eq!(permanent.umount_images().unwrap(), [folder.as_path()], "mounted by this target");
    assert!(!is_mounted());

    target().mount_images(true).unwrap();
    let mut for_scripts = target();
    for_scripts.mount_images(false).unwrap();
    for_scripts.run_script(ScriptType::Script).unwrap();
    for _ in 0..2 {
        assert!(for_scripts.umount_images().unwrap().is_empty());
        assert!(is_mounted(), "a run leaves permanent mounts alone");
    }
    drop(for_scripts);
    let mut without_mounts = target();
    without_mounts.run_script(ScriptType::Script).unwrap();
    assert_eq!(
        without_mounts.umount_images().unwrap(),
        [folder.as_path()],
        "mounted by another one of that name"
    );

    let mut both = target();
    both.mount_images(true).unwrap();
    both.mount_images(false).unwrap();
    assert_eq!(both.umount_images().unwrap(), [folder.as_path()]);
    assert!(!is_mounted());
}
