//! `gonto doctor` says what works here, what to do about the rest, and leaves nothing behind.

use std::fs;
use std::path::Path;

use crate::support::{Caller, Output, Project, callers};

/// What stands in a section about a thing.
#[track_caller]
fn said<'a>(output: &'a Output, section: &str, thing: &str) -> &'a str {
    let mut lines = output.stdout.lines().skip_while(|line| *line != format!("{section}:")).skip(1);
    let mut section = lines.by_ref().take_while(|line| line.starts_with("  "));
    let line = section.find_map(|line| line.strip_prefix(&format!("  {thing} ")));
    line.unwrap_or_else(|| panic!("{thing} is missing in:\n{}", output.stdout)).trim()
}

const RUN: &str = "roads of gonto run";
const MOUNT: &str = "roads of gonto mount";
const NEEDS: &str = "what they need";

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn the_roads_that_work_are_those_that_runs_take() {
    // What a caller has chosen makes no difference.
    let mut callers = Caller::all();
    callers.retain(|caller| !matches!(caller, Caller::RootByFuse | Caller::RootUnpacking));
    callers.extend(Some(Caller::RootWithoutFuse).filter(|caller| caller.is_possible()));
    for caller in callers {
        let project = Project::of(caller, "build: {script: x}");
        let output = project.gonto(&["doctor"]).run().says("");
        for roads in [RUN, MOUNT] {
            let erofs = said(&output, roads, "erofs");
            assert_eq!(erofs.starts_with("does not work: "), !caller.is_root(), "{caller:?}: {erofs}");
        }
        assert_eq!(said(&output, RUN, "extract").split(',').next(), Some("works"), "{}", output.stdout);
        assert_eq!(said(&output, MOUNT, "extract").split(',').next(), Some("works"), "{}", output.stdout);
        let closed = match caller {
            Caller::Current | Caller::RootByFuse | Caller::RootUnpacking | Caller::Ordinary => {
                assert_eq!(said(&output, RUN, "fuse"), "works");
                assert_eq!(said(&output, NEEDS, "FUSE in a namespace"), "works");
                None
            }
            Caller::OrdinaryInChroot => {
                let shared = "works, but all processes see it, because user namespaces are not allowed here";
                let limited = said(&output, RUN, "fuse");
                assert!(limited.contains(shared) || limited.starts_with("works, but "), "{limited}");
                None
            }
            Caller::RootWithoutFuse | Caller::OrdinaryWithoutFuse => Some("/dev/fuse"),
            Caller::WithoutNamespaces => Some("namespaces"),
        };
        if let Some(ingredient) = closed {
            let remedy = said(&output, NEEDS, ingredient).split(". Remedy: ").nth(1).unwrap();
            let road = said(&output, RUN, "fuse");
            assert!(road.starts_with("does not work: ") && road.ends_with(remedy), "{road}");
        }
        // Root needs no FUSE to mount.
        let status = i32::from(closed.is_some() && !caller.is_root());
        let output = output.ends_with(status);
        assert_eq!(said(&output, NEEDS, "cache folder"), "works");
        for folder in ["state", "cache"] {
            assert!(!project.path(folder).exists(), "{caller:?}: {folder} is left");
        }
        project.assert_nothing_runs();
    }
}

#[test]
fn what_was_there_before_stays_as_it_was() {
    for caller in callers() {
        let project = Project::of(caller, "build: {script: x}");
        fs::create_dir(project.path("cache")).unwrap();
        project.write("state/kept", "");
        project.give_away();
        project.gonto(&["doctor"]).run().ends_with(0);
        assert!(is_empty(&project.path("cache")));
        assert_eq!(fs::read_dir(project.path("state")).unwrap().count(), 1);
    }
}

#[test]
fn a_configuration_is_used_but_not_needed() {
    let project = Project::new("build: {script: x}");
    fs::remove_file(project.path("project/gonto.yaml")).unwrap();
    let warning = "warning: no configuration can be used, so the state folder stands for the cache\n";
    project.gonto(&["doctor"]).run().ends_with(0).says(warning);
    // One that was named is meant.
    project.gonto(&["doctor", "--config", "none.yaml"]).run().ends_with(1).prints("").mentions("none.yaml");
    project.write("project/gonto.yaml", "gonto: 1");
    project.gonto(&["doctor"]).run().ends_with(0).mentions("`gonto` must be a mapping").mentions(warning);
}

/// As a company has it beside the program: outside of any project, there are no targets.
#[test]
fn the_cache_of_a_configuration_without_targets_is_tried() {
    let project = Project::new("build: {script: x}");
    fs::remove_file(project.path("project/gonto.yaml")).unwrap();
    project.write("home/gonto.yaml", "gonto: {cache_dir: ../cache, repository: ../repository}");
    project.gonto(&["doctor"]).run().ends_with(0).says("");
    project.write("cache", "a file");
    for arguments in [&["doctor"][..], &["doctor", "--config", "../home/gonto.yaml"]] {
        let output = project.gonto(arguments).run().ends_with(1).says("");
        assert!(said(&output, NEEDS, "cache folder").starts_with("does not work: "), "{}", output.stdout);
    }
    project.gonto(&["list"]).run().ends_with(1).mentions("`targets` is missing");
    // Those that are there have to be right.
    project.write("project/gonto.yaml", "targets: {build: {scripts: x}}");
    project
        .gonto(&["doctor"])
        .run()
        .mentions("unknown key `scripts`")
        .mentions("no configuration can be used");
}

#[test]
fn a_cache_that_cannot_be_used_closes_every_road() {
    let project = Project::new("build: {script: x}");
    project.write("cache", "a file");
    let output = project.gonto(&["doctor"]).run().ends_with(1);
    for road in ["erofs", "fuse", "extract"] {
        let road = said(&output, RUN, road);
        assert!(road.starts_with("does not work: the cache folder cannot be used: "), "{road}");
        assert!(road.ends_with("choose another folder: cache_dir in the configuration"), "{road}");
    }
    assert_eq!(said(&output, NEEDS, "state folder"), "works");
}

#[test]
fn what_a_killed_doctor_has_left_is_removed_by_the_next_one() {
    for caller in callers() {
        let project = Project::of(caller, "build: {script: x}");
        for delay in 0..8 {
            let mut running = project.gonto(&["doctor"]).start();
            std::thread::sleep(std::time::Duration::from_millis(40 * delay));
            if !running.has_ended() {
                running.signal(rustix::process::Signal::KILL);
            }
            running.end();
        }
        project.gonto(&["doctor"]).run().ends_with(0);
        let left = fs::read_dir(project.path("cache/.gonto")).into_iter().flatten().count();
        assert_eq!(left, 0, "{caller:?}");
        project.assert_nothing_runs();
    }
}
