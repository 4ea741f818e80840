//! Other software finds in an image what the folder holds, and nothing to complain about.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use gonto_image::{NewContainer, NewImage};
use tempfile::TempDir;

use crate::making::{CONTAINERS, Image, Source, assert_same_but_modes, in_folder, usual};
use crate::support::ntfs3g::Mounted;
use crate::support::{disk, distinct, findings, partitions};

/// Something of everything that all of them can read.
fn everything() -> Source {
    let source = Source::new();
    for size in [0, 1, 600, 680, 700, 720, 740, 4096, 65_537, 1_100_000] {
        source.write(format!("sizes/{size}"), distinct(size as u64, size));
        source.write(format!("sizes/{size}, private"), distinct(size as u64, size));
        let private = Permissions::from_mode(0o640);
        fs::set_permissions(source.at(format!("sizes/{size}, private")), private).unwrap();
    }
    for name in ["ä", "日本語", "😀", "ſ", "+,;=[]", &"n".repeat(255)] {
        source.write(format!("names/{name}/{name}"), name);
    }
    for count in [1, 7, 8, 41, 42, 43, 2000] {
        source.folder(format!("folders/{count}"));
        for number in 0..count {
            source.write(format!("folders/{count}/{number:04}"), "");
        }
    }
    source.folder("empty");
    source.write(
        "sparse",
        [distinct(1, 100), vec![0; 2_000_000], distinct(2, 100), vec![0; 1_000_000]].concat(),
    );
    source.write("zero", vec![0; 1 << 20]);
    // Runs that do not fit into one record.
    let parts = (0..500).flat_map(|number| [distinct(number, 100), vec![0; (128 << 10) - 100]]);
    source.write("alternating", parts.collect::<Vec<_>>().concat());
    for content in [100, 5000] {
        source.write(format!("links/{content}"), distinct(3, content));
        for number in 0..40 {
            fs::hard_link(
                source.at(format!("links/{content}")),
                source.at(format!("links/{content} {number}")),
            )
            .unwrap();
        }
    }
    for (link, target) in [("to file", "sparse"), ("to folder", "names"), ("names/up", "../sizes/1")] {
        symlink(target, source.at(link)).unwrap();
    }
    source.write(format!("{}bottom", "deep/".repeat(60)), "bottom");
    source
}

/// A partition in a file of its own, as tools for file systems want it.
struct Partition {
    scratch: TempDir,
}

impl Partition {
    fn of(image: &Image) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let disk = disk(image.bytes());
        let partition = partitions(&disk)[0].clone();
        let file = File::create(scratch.path().join("partition")).unwrap();
        file.set_len(partition.size).unwrap();
        let mut buf = vec![0; 1 << 20];
        for at in (0..partition.size).step_by(buf.len()) {
            disk.read_at(&mut buf, partition.start + at).unwrap();
            if buf.iter().any(|byte| *byte != 0) {
                std::os::unix::fs::FileExt::write_all_at(&file, &buf, at).unwrap();
            }
        }
        Self { scratch }
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("partition")
    }

    fn mount(&self, options: &str) -> Option<Mounted> {
        Mounted::new(&self.path(), &self.scratch.path().join("mounted"), options)
    }

    #[track_caller]
    fn assert_sound(&self) {
        let bytes = gonto_image::ImageFile::new(File::open(self.path()).unwrap()).unwrap();
        assert_eq!(findings(std::sync::Arc::new(bytes)), Vec::<String>::new());
        assert_eq!(output("ntfsfix", &["-n", self.path().to_str().unwrap()]).map(|told| told.0), Some(true));
    }
}

/// Whether a program succeeds, and what it says; `None` where it is not installed.
fn output(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn ntfs_3g_shows_the_folder_and_writes_to_it() {
    let source = everything();
    let partition = Partition::of(&source.image(&usual()));
    let Some(mounted) = partition.mount("ro") else { return };
    assert_same_but_modes(&in_folder(mounted.folder()), &in_folder(source.path()));
    drop(mounted);

    let Some(mounted) = partition.mount("rw") else { return };
    let root = mounted.folder();
    for number in 0..300 {
        let folder = ["", "new", "folders/43", "folders/2000", "empty"][number % 5];
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::write(root.join(folder).join(format!("new {number}")), distinct(1, number * 100)).unwrap();
    }
    for number in (0..2000).step_by(3) {
        fs::remove_file(root.join(format!("folders/2000/{number:04}"))).unwrap();
    }
    fs::remove_dir_all(root.join("names")).unwrap();
    for (number, path) in ["sizes/680", "sizes/4096", "sparse", "links/100", "alternating"].iter().enumerate()
    {
        fs::rename(root.join(path), root.join(format!("empty/renamed with a long name {number}"))).unwrap();
    }
    for path in ["sizes/700", "sizes/65537", "zero", "links/5000"] {
        let grown = [fs::read(root.join(path)).unwrap(), distinct(9, 300_000)].concat();
        fs::write(root.join(path), grown).unwrap();
    }
    let written = in_folder(root);
    drop(mounted);
    let Some(mounted) = partition.mount("ro") else { return };
    assert_same_but_modes(&in_folder(mounted.folder()), &written);
    drop(mounted);
    partition.assert_sound();
}

#[test]
fn tools_for_ntfs_find_nothing_to_complain_about() {
    let image = everything().image(&NewImage { label: "Ünïcode", ..usual() });
    let partition = Partition::of(&image);
    let path = partition.path();
    let path = path.to_str().unwrap();
    let Some((fine, told)) = output("ntfsfix", &["-n", path]) else {
        eprintln!("skipped: ntfsfix is not installed");
        return;
    };
    assert!(fine && !told.to_lowercase().contains("fail"), "{told}");
    let (fine, told) = output("ntfsinfo", &["-m", path]).unwrap();
    assert!(fine && told.contains("Volume Name: Ünïcode"), "{told}");
    // The files of NTFS itself, and some others.
    for record in (0..12).chain(24..27).chain(64..164) {
        let (fine, told) = output("ntfsinfo", &["-v", "-i", &record.to_string(), path]).unwrap();
        assert!(fine && told.contains("End of inode reached"), "{record}: {told}");
        assert!(!told.contains("ERROR"), "{record}: {told}");
    }
}

/// It checks records, indexes, names and clusters, as we do, but nobody of us has written it.
#[test]
fn another_checker_finds_nothing() {
    let sources = [Source::new(), everything()];
    for image in sources.iter().map(|source| source.image(&usual())) {
        let mut partition = fs_ntfs::block_io::PathIo::open_ro(&Partition::of(&image).path()).unwrap();
        let report = fs_ntfs::fsck::check_io(&mut partition).unwrap();
        assert_eq!(report.findings, []);
        assert!(!report.dirty && report.records_scanned >= 19 && report.clusters_scanned > 0, "{report:?}");
    }
}

/// 7-Zip unpacks a partition, and what lies in a container as well.
#[test]
fn seven_zip_unpacks_the_folder() {
    let source = everything();
    for link in ["to file", "to folder", "names/up"] {
        // It does not write links that lead upwards.
        fs::remove_file(source.at(link)).unwrap();
    }
    let expected = in_folder(source.path());
    let images = CONTAINERS.map(|container| source.image(&NewImage { container, ..usual() }));
    let partition = Partition::of(&images[0]);
    let images = images.iter().map(|image| image.path().to_owned());
    for file in images.chain([partition.path()]) {
        let unpacked = tempfile::tempdir().unwrap();
        let unpacked = unpacked.path();
        let arguments = ["x", "-y", &format!("-o{}", unpacked.display()), file.to_str().unwrap()];
        let Some((fine, told)) = output("7z", &arguments) else {
            eprintln!("skipped: 7z is not installed");
            return;
        };
        assert!(fine, "{told}");
        // What NTFS itself consists of.
        fs::remove_dir_all(unpacked.join("[SYSTEM]")).unwrap();
        // The root is a folder of the host.
        assert_same_but_modes(&in_folder(unpacked)[1..], &expected[1..]);
    }
}

/// libfsntfs: every name once, sizes and times.
#[test]
fn libfsntfs_lists_every_name_with_its_size_and_time() {
    let source = everything();
    // It takes characters beyond the first 65,536 for others.
    fs::remove_dir_all(source.at("names/😀")).unwrap();
    let image = source.image(&NewImage { label: "Ünïcode", ..usual() });
    // Where clusters are smaller than blocks of indexes, it finds but a part of the names, in volumes of mkntfs too.
    assert_eq!(image.created.cluster, 4096);
    let partition = Partition::of(&image);
    let body = partition.scratch.path().join("body");
    let path = partition.path();
    let path = path.to_str().unwrap();
    let Some((fine, told)) = output("fsntfsinfo", &["-B", body.to_str().unwrap(), "-H", path]) else {
        eprintln!("skipped: fsntfsinfo is not installed");
        return;
    };
    assert!(fine, "{told}");
    let mut names = 0;
    for line in fs::read_to_string(body).unwrap().lines() {
        // Hash, path, record, mode, owner, group, size, four times.
        let fields: Vec<&str> = line.split('|').collect();
        let name = fields[1].replace(r"\\", "/");
        let name = name.trim_start_matches('/');
        if name.starts_with('$') || name.ends_with(" ($FILE_NAME)") {
            continue;
        }
        names += 1;
        let expected = fs::symlink_metadata(source.at(name)).unwrap();
        if expected.is_file() {
            assert_eq!(fields[6], expected.len().to_string(), "{name}");
        }
        let kind = if expected.is_dir() || name == "to folder" { "d/d" } else { "r/r" };
        assert!(fields[3].starts_with(kind), "{line}");
        for time in &fields[7..11] {
            let (seconds, nanos) = time.split_once('.').unwrap();
            assert_eq!(seconds.parse(), Ok(expected.mtime()), "{name}");
            // It rounds as numbers with 53 bits do.
            let nanos: i64 = nanos.parse().unwrap();
            assert!((nanos - expected.mtime_nsec()).abs() < 500, "{name}");
        }
    }
    // The root is a name of its own.
    assert_eq!(names, in_folder(source.path()).len());
    let (fine, told) = output("fsntfsinfo", &[path]).unwrap();
    assert!(fine, "{told}");
    for line in [": Ünïcode\n", ": 3.1\n", ": 512\n", ": 4096\n", ": 1024\n"] {
        assert!(told.contains(line), "{told}");
    }
}

/// The Sleuth Kit: every name once, and content as it is.
#[test]
fn the_sleuth_kit_lists_every_name_and_reads_content() {
    let source = everything();
    let partition = Partition::of(&source.image(&usual()));
    let path = partition.path();
    let path = path.to_str().unwrap();
    let Some((fine, told)) = output("fls", &["-r", "-p", path]) else {
        eprintln!("skipped: fls is not installed");
        return;
    };
    assert!(fine, "{told}");
    let mut names = 0;
    for (kind, rest) in told.lines().filter_map(|line| line.split_once(' ')) {
        let (inode, name) = rest.split_once(":\t").unwrap();
        assert!(!rest.starts_with('*'), "deleted: {rest}");
        if name.starts_with('$') || name == "." {
            continue;
        }
        names += 1;
        if kind == "r/r" && !source.at(name).is_symlink() && names % 7 == 0 {
            let found = Command::new("icat").args([path, inode]).output().unwrap().stdout;
            assert!(found == fs::read(source.at(name)).unwrap(), "{name}");
        }
    }
    assert_eq!(names, in_folder(source.path()).len() - 1);
}

#[test]
fn qemu_and_sgdisk_find_nothing_to_complain_about() {
    let source = everything();
    for container in CONTAINERS {
        let image = source.image(&NewImage { container, ..usual() });
        let format = if container == NewContainer::Vhdx { "vhdx" } else { "vpc" };
        let scratch = tempfile::tempdir().unwrap();
        let raw = scratch.path().join("disk.raw");
        let arguments = ["convert", "-f", format, "-O", "raw", image.path().to_str().unwrap()];
        let Some((fine, told)) = output("qemu-img", &[&arguments[..], &[raw.to_str().unwrap()]].concat())
        else {
            eprintln!("skipped: qemu-img is not installed");
            return;
        };
        assert!(fine, "{told}");
        assert!(same_bytes(&raw, &image), "{container:?}");
        if container == NewContainer::Vhdx {
            let (fine, told) =
                output("qemu-img", &["check", "-f", format, image.path().to_str().unwrap()]).unwrap();
            assert!(fine && told.contains("No errors"), "{told}");
        }
        let Some((fine, told)) = output("sgdisk", &["-v", raw.to_str().unwrap()]) else {
            eprintln!("skipped: sgdisk is not installed");
            return;
        };
        assert!(fine && told.contains("No problems found"), "{told}");
    }
}

/// Whether a file holds the bytes of an image's disk.
fn same_bytes(raw: &Path, image: &Image) -> bool {
    let disk = disk(image.bytes());
    let mut raw = File::open(raw).unwrap();
    let (mut theirs, mut ours) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while at < disk.size() {
        let length = ours.len().min(usize::try_from(disk.size() - at).unwrap());
        raw.read_exact(&mut theirs[..length]).unwrap();
        disk.read_at(&mut ours[..length], at).unwrap();
        if theirs[..length] != ours[..length] {
            return false;
        }
        at += length as u64;
    }
    raw.read(&mut theirs).unwrap() == 0
}
