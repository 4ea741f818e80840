//! Drive letters under Wine: it lets gonto define them, and shows no files there. What it does show is what a link in its own
//! folder of drives leads to, so that the tests make one that leads where gonto's letter does.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Project;

/// A letter that leads to a folder, and that gonto knows nothing of.
pub(crate) struct Link {
    /// As other systems see it.
    link: String,
}

impl Link {
    /// Only under Wine.
    pub(crate) fn new(letter: char, folder: &Path) -> Self {
        // Such as /home/me/.wine/dosdevices/c:/
        let drive_c = unix_path(Path::new("C:\\"));
        let drives = drive_c.strip_suffix("c:/").unwrap();
        let link = format!("{drives}{}:", letter.to_ascii_lowercase());
        unix(&["/bin/ln", "-sfn", &unix_path(folder), &link]);
        Self { link }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        unix(&["/bin/rm", "-f", &self.link]);
    }
}

/// A letter that no other test uses, which is where gonto shows an image.
pub(crate) struct Drive {
    _link: Option<Link>,
}

impl Drive {
    /// Has the target, whose only image is `name`, be shown at its letter. On Windows that needs nothing; Wine has to know the
    /// folder to which the image is unpacked, so that it is unpacked here.
    pub(crate) fn new(letter: char, project: &Project, target: &str, name: &str) -> Self {
        if !is_wine() {
            return Self { _link: None };
        }
        // It fails there because of the letter, and keeps the copy.
        project.gonto(&["run", target]).run();
        let copies = project.copies(name);
        let [copy] = &copies[..] else { panic!("one copy is expected: {copies:?}") };
        Self { _link: Some(Link::new(letter, copy)) }
    }
}

/// A program that only Wine has.
const WINEPATH: &str = r"C:\windows\system32\winepath.exe";

pub(crate) fn is_wine() -> bool {
    Path::new(WINEPATH).exists()
}

fn unix_path(path: &Path) -> String {
    let output = Command::new(WINEPATH).arg("-u").arg(path).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Runs a program of the system under Wine.
fn unix(arguments: &[&str]) {
    let mut command = Command::new("cmd");
    command.args(["/c", "start", "/wait", "/unix"]).args(arguments);
    assert!(command.stdin(Stdio::null()).status().unwrap().success(), "{arguments:?}");
}
