//! Images that other software made: the program's tables equal those that other readers made of them, byte for byte.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{EMPTY, corpus};
use crate::support::Project;

/// Content that is not in the image. Its line in the manifest cannot be met.
const ELSEWHERE: &str = "OneDrive/created-online.txt\t";

#[test]
fn files_streams_and_links_agree() {
    let Some(corpus) = corpus() else { return };
    for image in images(&corpus) {
        let project = unpacked(&corpus, &image);
        let table = |suffix: &str| fs::read_to_string(corpus.join(format!("{image}.{suffix}.tsv")));
        let manifest =
            |options: &[&str]| project.gonto(&[&["image", "manifest", &image], options].concat()).run();

        let expected = table("manifest").unwrap();
        let is_elsewhere = |line: &&str| line.starts_with(ELSEWHERE);
        let there: String = expected.split_inclusive('\n').filter(|line| !is_elsewhere(line)).collect();
        let output = manifest(&[]);
        assert_eq!(output.stdout, there, "{image}:\n{}", output.stderr);
        if there == expected {
            output.ends_with(0).says("");
        } else {
            output.ends_with(1).mentions("created-online.txt").mentions("cloud");
        }

        let expected = table("streams").unwrap_or_default();
        manifest(&["--streams"]).ends_with(0).prints(&expected).says("");

        let expected = table("links").unwrap_or_default();
        // An emulation of links by one program, for which Windows shows a file.
        let is_link = |line: &&str| !line.contains("\tntfs-3g-only ");
        let expected: String = expected.split_inclusive('\n').filter(is_link).collect();
        manifest(&["--links"]).ends_with(0).prints(&expected).says("");
    }
}

/// The images with a manifest.
fn images(corpus: &Path) -> Vec<String> {
    let index = fs::read_to_string(corpus.join("index.tsv")).unwrap();
    let names = index.lines().skip(1).filter_map(|line| line.split('\t').next());
    let has_manifest = |name: &&str| corpus.join(format!("{name}.manifest.tsv")).exists();
    names.filter(has_manifest).map(str::to_owned).collect()
}

/// A project whose folder holds an image, and its parent if it has one, under their names in the corpus.
fn unpacked(corpus: &Path, image: &str) -> Project {
    let project = Project::new(EMPTY);
    for image in [image, &image.replace("differential", "parent")] {
        let path = project.path("project").join(image);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        unpack(&corpus.join(format!("{image}.zst")), path);
    }
    project
}

/// Zeroes become holes: some images are a gigabyte of them.
fn unpack(stored: &Path, path: PathBuf) {
    use std::io::{Read, Seek, SeekFrom, Write};

    let mut decoder = zstd::Decoder::new(File::open(stored).unwrap()).unwrap();
    decoder.window_log_max(27).unwrap();
    let mut file = File::create(path).unwrap();
    let (mut size, mut piece, zeroes) = (0, Vec::new(), [0; 64 << 10]);
    loop {
        piece.clear();
        let count = decoder.by_ref().take(zeroes.len() as u64).read_to_end(&mut piece).unwrap();
        if piece[..] != zeroes[..count] {
            file.seek(SeekFrom::Start(size)).unwrap();
            file.write_all(&piece).unwrap();
        }
        if count == 0 {
            break;
        }
        size += count as u64;
    }
    file.set_len(size).unwrap();
}
