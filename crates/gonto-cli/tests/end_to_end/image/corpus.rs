//! Images that other software made: the program's tables equal those that other readers made of them, byte for byte.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::Digest;

use super::{EMPTY, corpus};
use crate::support::{Project, skipped};

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

/// What is extracted has the paths, sizes, hashes and times of the manifest.
#[test]
fn what_is_extracted_agrees() {
    let Some(corpus) = corpus() else { return };
    for image in images(&corpus) {
        let project = unpacked(&corpus, &image);
        project.gonto(&["image", "extract", &image, "out", "--json"]).run();
        let expected = fs::read_to_string(corpus.join(format!("{image}.manifest.tsv"))).unwrap();
        let out = project.path("project/out");
        for line in expected.lines().filter(|line| !line.starts_with(ELSEWHERE)) {
            let fields: Vec<&str> = line.split('\t').collect();
            let path = out.join(unescaped(fields[0]));
            let metadata = path.symlink_metadata().unwrap_or_else(|error| panic!("{image}: {line}: {error}"));
            let modified = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
            assert_eq!(
                (metadata.len().to_string(), modified.to_string()),
                (fields[1].into(), fields[3].into()),
                "{line}"
            );
            let digest = sha2::Sha256::digest(fs::read(&path).unwrap());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, fields[2], "{image}: {line}");
        }
        let files = count_files(&out);
        assert_eq!(files, expected.lines().filter(|line| !line.starts_with(ELSEWHERE)).count(), "{image}");
    }
}

/// Regular files, each hard link counted.
fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => count_files(&entry.path()),
            kind => usize::from(kind.is_file()),
        })
        .sum()
}

fn unescaped(path: &str) -> String {
    path.replace("\\\\", "\0").replace("\\t", "\t").replace("\\n", "\n").replace('\0', "\\")
}

/// Numbers, places and sizes are those that sfdisk tells.
#[test]
fn partitions_agree() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    for image in indexed(&corpus) {
        let Ok(parts) = fs::read_to_string(corpus.join(format!("{image}.parts.tsv"))) else { continue };
        if !corpus.join(format!("{image}.zst")).exists() {
            continue;
        }
        let project = unpacked(&corpus, &image);
        let info = project.gonto(&["image", "info", "--json", "--ignore-checksums", &image]).run().stdout;
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        let sector: u64 =
            parts.split("sectorsize=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let number = |field: &str| field.parse::<u64>().unwrap();
        let mut theirs: Vec<[u64; 3]> = parts
            .lines()
            .skip(2)
            .map(|line| line.split('\t').collect::<Vec<_>>())
            // sfdisk lists the extended partition itself as well.
            .filter(|field| !matches!(field[3], "5" | "f"))
            .map(|field| [number(field[0]), number(field[1]) * sector, number(field[2]) * sector])
            .collect();
        theirs.sort_unstable();
        let ours = info["partitions"].as_array().unwrap().iter();
        let mut ours: Vec<[u64; 3]> = ours
            .map(|partition| ["number", "start", "size"].map(|field| partition[field].as_u64().unwrap()))
            .collect();
        ours.sort_unstable();
        assert_eq!(ours, theirs, "{image}");
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} tables were found");
}

#[test]
fn each_volume_of_a_disk_agrees_when_its_partition_is_chosen() {
    let Some(corpus) = corpus() else { return };
    let stored = corpus.join("dfir_ntfs/vss_3_volstor.tar.gz");
    let project = Project::new(EMPTY);
    let unpacked =
        Command::new("tar").arg("xSzf").arg(&stored).arg("-C").arg(project.path("project")).status();
    if !unpacked.is_ok_and(|status| status.success()) {
        skipped("tar cannot unpack the sparse archive here");
        return;
    }
    let table =
        |number: &str| fs::read_to_string(format!("{}.p{number}.manifest.tsv", stored.display())).unwrap();
    let manifest = ["image", "manifest", "vss_3_volstor.raw"];
    for number in ["1", "2"] {
        let chosen = [&manifest[..], &["--partition", number]].concat();
        project.gonto(&chosen).run().ends_with(0).prints(&table(number)).says("");
    }
    project.gonto(&manifest).run().ends_with(0).prints(&table("1")).says("");
}

/// What lists and manifests tell of named streams is the same.
#[test]
fn streams_are_listed() {
    let Some(corpus) = corpus() else { return };
    let image = "dfimagetools/ntfs.vhd";
    let project = unpacked(&corpus, image);
    let list = project.gonto(&["image", "ls", "-R", "--streams", image]).run().ends_with(0).says("").stdout;
    let streams = fs::read_to_string(corpus.join(format!("{image}.streams.tsv"))).unwrap();
    let path = |line: &str| line.split('\t').next().unwrap().to_owned();
    let mut theirs: Vec<String> = streams.lines().map(path).collect();
    theirs.sort();
    let mut ours: Vec<String> = list.lines().filter(|line| line.contains(':')).map(str::to_owned).collect();
    ours.sort();
    assert!(!theirs.is_empty());
    assert_eq!(ours, theirs);
    let long = project.gonto(&["image", "ls", "-lR", "--streams", image]).run().ends_with(0).stdout;
    for line in streams.lines() {
        let (path, size) = (path(line), line.split('\t').nth(1).unwrap());
        let listed = long.lines().find(|line| line.ends_with(&format!(" {path}"))).unwrap();
        assert_eq!(listed.split_whitespace().take(2).collect::<Vec<_>>(), ["stream", size], "{path}");
    }
}

/// The images with a manifest.
fn images(corpus: &Path) -> Vec<String> {
    let has_manifest = |name: &String| corpus.join(format!("{name}.manifest.tsv")).exists();
    indexed(corpus).into_iter().filter(has_manifest).collect()
}

/// All images.
fn indexed(corpus: &Path) -> Vec<String> {
    let index = fs::read_to_string(corpus.join("index.tsv")).unwrap();
    index.lines().skip(1).filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
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
