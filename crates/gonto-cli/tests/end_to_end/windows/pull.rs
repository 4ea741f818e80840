//! Images come over HTTP.

use std::fs;

use super::TOOL;
use crate::support::{Behaviour, Project, Server};

fn project_and_image() -> (Project, Vec<u8>) {
    let project = Project::with_tool("");
    let image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
    (project, image)
}

fn serve(project: &Project, behaviour: Behaviour) -> Server {
    let server = Server::start(&project.path("repository"), behaviour);
    project.configure_with(&server.url(), &format!("one: {{requires: [{{{TOOL}}}], script: x}}"));
    server
}

#[test]
fn an_image_is_fetched_once_and_its_progress_is_told() {
    let (project, image) = project_and_image();
    let _server = serve(&project, Behaviour::Good);
    let pulled = project.gonto(&["pull", "one"]).run().ends_with(0).prints("");
    assert!(fs::read(project.cached("tool", "1.0")).unwrap() == image);
    let told: Vec<&str> = pulled.stderr.lines().collect();
    let [missing, begin, between @ .., end] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*missing, "    missing tool/tool_v1.0_multi.vhd");
    assert_eq!(*begin, "downloading tool/tool_v1.0_multi.vhd (1/1)");
    for line in between {
        assert!(line.starts_with(begin) && line.ends_with("0 %"), "{told:?}");
    }
    assert_eq!(*end, " downloaded tool/tool_v1.0_multi.vhd (1/1), 6.00 MiB");
    project.gonto(&["pull", "one"]).run().ends_with(0).says("     cached tool/tool_v1.0_multi.vhd\n");
}

#[test]
fn an_image_that_the_server_has_not_is_an_error_that_names_it() {
    let (project, _) = project_and_image();
    let _server = serve(&project, Behaviour::Good);
    fs::remove_dir_all(project.path("repository/tool")).unwrap();
    let failed = project.gonto(&["run", "one"]).run().ends_with(1).prints("");
    failed
        .mentions("error: cannot fetch tool/tool_v1.0_multi.vhd\n  caused by: ")
        .mentions("the repository has no http://127.0.0.1:");
    assert_eq!(project.names("cache/tool"), [""; 0]);
    assert_eq!(project.names("cache/.gonto/partial"), [""; 0]);
}

/// What has arrived may stay for the next download, under a name that is no image's.
#[test]
fn a_download_that_is_killed_leaves_no_image_and_the_next_one_works() {
    let (project, image) = project_and_image();
    let stalling = serve(&project, Behaviour::StallMidBody);
    let pull = project.gonto(&["pull", "one"]).start();
    stalling.wait_until_stalled();
    pull.kill();
    assert!(!project.cached("tool", "1.0").exists());
    let _server = serve(&project, Behaviour::Good);
    project.gonto(&["pull", "one"]).run().ends_with(0).mentions("    missing tool/tool_v1.0_multi.vhd\n");
    assert!(fs::read(project.cached("tool", "1.0")).unwrap() == image);
    assert_eq!(project.names("cache/.gonto/partial"), [""; 0]);
}

#[test]
fn a_server_that_hangs_up_is_an_error_and_leaves_no_image() {
    let (project, _) = project_and_image();
    let _server = serve(&project, Behaviour::CloseMidBody);
    let failed = project.gonto(&["pull", "one"]).run().ends_with(1);
    failed.mentions("error: cannot fetch tool/tool_v1.0_multi.vhd\n  caused by: ");
    assert!(!project.cached("tool", "1.0").exists());
}
