//! Images that Windows made, from a web server to the script: every file equals what independent readers found in it.
//!
//! The folder is named by `GONTO_CORPUS`; its README says what the files are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Behaviour, Caller, Project, Server, skipped};

/// Fixed and dynamic VHDs with an MBR and NTFS.
const IMAGES: [&str; 4] =
    ["dfvfs/ntfs-fixed.vhd", "dfvfs/ntfs-dynamic.vhd", "dfvfs/ntfs-parent.vhd", "dfimagetools/ntfs.vhd"];

#[test]
fn scripts_see_what_windows_wrote() {
    let Some(corpus) = std::env::var_os("GONTO_CORPUS").map(PathBuf::from) else {
        skipped("no corpus (GONTO_CORPUS is not set)");
        return;
    };
    let images = IMAGES.map(|image| Image::load(&corpus, image));
    for caller in Caller::all() {
        let mut requirements = String::new();
        let mut lines = String::new();
        for image in &images {
            let (name, number) = (image.name(), image.number());
            requirements +=
                "\n  - {name: NAME, version: '1', platform: multi, env: {F_NUMBER: '{{mount_point}}'}}";
            lines += "    cd \"$F_NUMBER\" && find . -type f -exec sha256sum -z {} + >$OLDPWD/NUMBER 2>>$OLDPWD/errors; true\n";
            for text in [&mut requirements, &mut lines] {
                *text = text.replace("NAME", &name).replace("NUMBER", &number.to_string());
            }
        }
        let project = Project::of(caller, "");
        for image in &images {
            project.publish(&image.name(), "1", &image.content);
        }
        let server = Server::start(&project.path("repository"), Behaviour::Good);
        project.configure_with(
            &server.url(),
            &format!("build:\n  requires:{requirements}\n  script: |\n{lines}"),
        );
        project.gonto(&["run", "build"]).run().ends_with(0).prints("");
        for image in &images {
            let seen = seen(&project.read(&format!("project/{}", image.number())));
            for (path, hash) in &image.manifest {
                assert_eq!(seen.get(path), Some(hash), "{caller:?} {}: {path}", image.stored_as);
            }
            for path in seen.keys() {
                assert!(image.manifest.contains_key(path), "{caller:?} {}: what is {path}?", image.stored_as);
            }
        }
        project.assert_clean();
    }
}

struct Image {
    stored_as: String,
    content: Vec<u8>,
    /// SHA-256 by path.
    manifest: BTreeMap<String, String>,
}

impl Image {
    fn load(corpus: &Path, image: &str) -> Self {
        let stored = fs::File::open(corpus.join(format!("{image}.zst"))).unwrap();
        let mut decoder = zstd::Decoder::new(stored).unwrap();
        decoder.window_log_max(27).unwrap();
        let mut content = Vec::new();
        std::io::copy(&mut decoder, &mut content).unwrap();
        let manifest = fs::read_to_string(corpus.join(format!("{image}.manifest.tsv"))).unwrap();
        let fields = manifest.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let manifest = fields.map(|fields| (fields[0].replace("\\\\", "\\"), fields[2].to_owned())).collect();
        Self { stored_as: image.to_owned(), content, manifest }
    }

    /// A name for the repository.
    fn name(&self) -> String {
        self.stored_as.replace(['/', '.'], "-")
    }

    fn number(&self) -> usize {
        IMAGES.iter().position(|image| *image == self.stored_as).unwrap()
    }
}

/// What `sha256sum -z` prints.
fn seen(text: &str) -> BTreeMap<String, String> {
    let entries = text.split('\0').filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (hash, path) = entry.split_once("  ./").unwrap();
            (path.to_owned(), hash.to_owned())
        })
        .collect()
}
