//! Images that Windows made, from a web server to the script: every file equals what independent readers found in it.
//!
//! The folder is named by `GONTO_CORPUS`; its README says what the files are.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::chains::seal;
use crate::content;
use crate::support::reader;
use crate::support::{Behaviour, Caller, Project, Server, skipped};

/// Fixed and dynamic VHDs with an MBR and NTFS.
const IMAGES: [&str; 4] =
    ["dfvfs/ntfs-fixed.vhd", "dfvfs/ntfs-dynamic.vhd", "dfvfs/ntfs-parent.vhd", "dfimagetools/ntfs.vhd"];

/// All with one NTFS volume, in every container and with none, which becomes a fixed VHD here. `dissect/ntfs-cloud.raw` has a file whose
/// content is elsewhere. The third is what a child calls its parent.
const VOLUMES: [(&str, &str, &str); 25] = [
    ("dfvfs/ntfs-fixed.vhd", "", ""),
    ("dfvfs/ntfs-dynamic.vhd", "", ""),
    ("dfvfs/ntfs-parent.vhd", "", ""),
    ("dfvfs/ntfs-differential.vhd", "dfvfs/ntfs-parent.vhd", "ntfs-parent.vhd"),
    ("dfvfs/ntfs-fixed.vhdx", "", ""),
    ("dfvfs/ntfs-dynamic.vhdx", "", ""),
    ("dfvfs/ntfs-parent.vhdx", "", ""),
    ("dfvfs/ntfs-differential.vhdx", "dfvfs/ntfs-parent.vhdx", "ntfs-parent.vhdx"),
    ("dfvfs/ntfs.raw", "", ""),
    ("dfvfs/windows_volume.raw", "", ""),
    ("dfimagetools/ntfs.vhd", "", ""),
    ("dissect/fixed.vhd", "", ""),
    ("dissect/dynamic.vhdx", "", ""),
    ("dissect/ntfs-cloud.raw", "", ""),
    ("msuhanov/ntfs-ptrn.raw", "", ""),
    ("msuhanov/ntfs-lastaccess.raw", "", ""),
    ("dfir_ntfs/ntfs3.raw", "", ""),
    ("dfir_ntfs/ntfs3_attrlist.raw", "", ""),
    ("dfir_ntfs/ntfs_index.raw", "", ""),
    ("velociraptor/partition_image.raw", "", ""),
    ("colinfinck/testfs1.raw", "", ""),
    ("syzkaller/ntfs3_4.raw", "", ""),
    ("syzkaller/ntfs3_8.raw", "", ""),
    ("syzkaller/ntfs_0.raw", "", ""),
    ("syzkaller/ntfs_2.raw", "", ""),
];

/// The content that is not in its image.
const ELSEWHERE: &str = "OneDrive/created-online.txt";

#[test]
fn every_road_shows_the_same_of_every_image() {
    let Some(corpus) = corpus() else { return };
    let all = Project::new("build: {script: x}");
    for (image, ..) in VOLUMES {
        unpack(&corpus, image, &all.path(&image.replace('/', "-")));
    }
    let mut first: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for caller in content::readers() {
        let project = Project::of(caller, "");
        let (mut requirements, mut lines) = (String::new(), String::new());
        for (number, (image, parent, parents_name)) in VOLUMES.into_iter().enumerate() {
            let format = if image.ends_with("x") { "vhdx" } else { "vhd" };
            requirements += &format!(
                "\n    - {{name: v{number}, version: '1', platform: multi, format: {format}, env: {{V{number}: '{{{{mount_point}}}}'}}}}"
            );
            lines += &format!("    {}\n", reader::line(&format!("V{number}"), &format!("seen-{number}")));
            let folder = project.path(&format!("cache/v{number}"));
            fs::create_dir_all(&folder).unwrap();
            let put = |image: &str, name: &str| {
                fs::hard_link(all.path(&image.replace('/', "-")), folder.join(name)).unwrap();
            };
            put(image, &format!("v{number}_v1_multi.{format}"));
            if !parent.is_empty() {
                put(parent, parents_name);
            }
        }
        project.configure(&format!("build:\n  requires:{requirements}\n  script: |\n{lines}"));
        project.give_away();
        project.gonto(&["run", "build", "--backend", content::backend(caller)]).run().ends_with(0).prints("");
        project.assert_clean();
        for (number, (image, ..)) in VOLUMES.into_iter().enumerate() {
            let seen = reader::found(&project, &format!("seen-{number}"));
            let readable = |found: &BTreeMap<String, String>| -> BTreeMap<String, String> {
                let all = found.iter().filter(|(_, what)| reader::hash(what) != Some(reader::UNREADABLE));
                all.map(|(path, what)| (path.clone(), what.clone())).collect()
            };
            let what = format!("{caller:?}: {image}");
            let first = first.entry(image).or_insert_with(|| readable(&seen));
            content::assert_same(&readable(&seen), first, &what);
            let mut manifest = manifest(&corpus, image);
            manifest.retain(|path, _| path != ELSEWHERE);
            for (path, hash) in &manifest {
                let path = path.as_bytes().escape_ascii().to_string();
                let found = seen.get(&path).and_then(|found| reader::hash(found));
                assert_eq!(found, Some(&**hash), "{what}: {path}");
            }
            let files = readable(&seen).values().filter(|found| reader::hash(found).is_some()).count();
            assert_eq!(files, manifest.len(), "{what}");
        }
    }
}

#[test]
fn scripts_see_what_windows_wrote() {
    let Some(corpus) = corpus() else { return };
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

fn corpus() -> Option<PathBuf> {
    let corpus = std::env::var_os("GONTO_CORPUS").map(PathBuf::from);
    if corpus.is_none() {
        skipped("no corpus (GONTO_CORPUS is not set)");
    }
    corpus
}

/// SHA-256 by path.
fn manifest(corpus: &Path, image: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(corpus.join(format!("{image}.manifest.tsv"))).unwrap();
    let fields = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    fields.map(|fields| (fields[0].replace("\\\\", "\\"), fields[2].to_owned())).collect()
}

fn decoder(corpus: &Path, image: &str) -> impl Read {
    let stored = fs::File::open(corpus.join(format!("{image}.zst"))).unwrap();
    let mut decoder = zstd::Decoder::new(stored).unwrap();
    decoder.window_log_max(27).unwrap();
    decoder
}

/// Writes an image, as a VHD if it is the bytes of a disk. What is zero takes no room.
fn unpack(corpus: &Path, image: &str, to: &Path) {
    let (mut decoder, file) = (decoder(corpus, image), fs::File::create_new(to).unwrap());
    let (mut buffer, mut size) = (vec![0; 1 << 20], 0);
    loop {
        let read = decoder.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        for (number, piece) in buffer[..read].chunks(4096).enumerate() {
            if piece.iter().any(|byte| *byte != 0) {
                file.write_all_at(piece, size + number as u64 * 4096).unwrap();
            }
        }
        size += read as u64;
    }
    file.set_len(size).unwrap();
    if image.ends_with(".raw") {
        file.write_all_at(&footer(size), size).unwrap();
    }
}

/// What makes the bytes of a disk a fixed VHD.
fn footer(size: u64) -> Vec<u8> {
    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[8..16].copy_from_slice(&[0, 0, 0, 2, 0, 1, 0, 0]);
    footer[16..24].fill(0xff);
    footer[40..48].copy_from_slice(&size.to_be_bytes());
    footer[48..56].copy_from_slice(&size.to_be_bytes());
    footer[60..64].copy_from_slice(&2u32.to_be_bytes());
    seal(&mut footer, 64);
    footer
}

struct Image {
    stored_as: String,
    content: Vec<u8>,
    /// SHA-256 by path.
    manifest: BTreeMap<String, String>,
}

impl Image {
    fn load(corpus: &Path, image: &str) -> Self {
        let mut content = Vec::new();
        decoder(corpus, image).read_to_end(&mut content).unwrap();
        let manifest = manifest(corpus, image);
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
