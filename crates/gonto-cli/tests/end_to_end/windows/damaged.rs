//! Images that are no images.

use std::fs;

use super::TOOL;
use crate::support::Project;

/// Replaces the image in the repository by what `change` makes of it, and runs a target with it.
#[track_caller]
fn fails(change: impl FnOnce(&mut Vec<u8>)) {
    let project = Project::with_tool(&format!("one: {{requires: [{{{TOOL}}}], script: echo never}}"));
    let mut image = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
    change(&mut image);
    project.publish("tool", "1.0", &image);
    for command in ["run", "mount"] {
        let failed = project.gonto(&[command, "one"]).run().ends_with(1).prints("");
        let failed = failed
            .mentions("error: the volume of tool/tool_v1.0_multi.vhd is not ready\n  caused by: cannot read the image ")
            .mentions("tool_v1.0_multi.vhd (remove it to have it fetched again)\n  caused by: ");
        assert!(!failed.stderr.contains("unpacking"), "{}", failed.stderr);
        project.assert_clean();
    }
    assert!(fs::read(project.cached("tool", "1.0")).unwrap() == image, "what is damaged stays as it is");
}

#[test]
fn a_truncated_image_is_an_error_that_names_it_and_the_remedy() {
    fails(|image| image.truncate(image.len() / 8));
}

#[test]
fn an_image_that_is_something_else_is_an_error_that_names_it_and_the_remedy() {
    fails(|image| *image = b"<html>Not here</html>".repeat(1000));
}

#[test]
fn an_image_whose_volume_is_overwritten_is_an_error_that_names_it_and_the_remedy() {
    fails(|image| {
        // All but the structures of the container at both ends.
        let end = image.len() - 4096;
        image[4096..end].fill(0xa5);
    });
}
