//! A gonto that has the tests' own virtdisk.dll beside it, in place of the one of Windows. It writes down the calls, and plays along; see
//! `tests/virtdisk/virtdisk.c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::{Gonto, Project, skipped};

/// Names the library, which `ci/windows` builds.
const LIBRARY: &str = "GONTO_TEST_VIRTDISK";

/// What the images hold.
const FILE: (&str, &str) = ("bin/proof.txt", "arrived");

/// Much longer than anything takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How images are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    FixedVhd,
    DynamicVhd,
    Vhdx,
}

impl Format {
    pub(crate) fn ending(self) -> &'static str {
        if self == Self::Vhdx { "vhdx" } else { "vhd" }
    }

    fn option(self) -> &'static [&'static str] {
        if self == Self::DynamicVhd { &["--dynamic"] } else { &[] }
    }
}

/// A project with the image `tool` 1.0 in its cache, and a folder `windows` for what the library remembers: calls, disks and letters.
pub(crate) struct VirtualDisks {
    pub(crate) project: Project,
    pub(crate) format: Format,
    volume_at: String,
}

impl VirtualDisks {
    /// The targets find the requirement as `TOOL`. None where the library is missing, which is told.
    pub(crate) fn new(format: Format, targets: &str) -> Option<Self> {
        let Some(library) = std::env::var_os(LIBRARY) else {
            skipped(&format!("{LIBRARY} does not name the virtdisk.dll of the tests; ci/windows test does"));
            return None;
        };
        let tool = format!(
            "{{name: tool, version: '1.0', platform: multi, format: {}, env: {{T: '{{{{mount_point}}}}'}}}}",
            format.ending()
        );
        let mut project = Project::new(&targets.replace("TOOL", &tool));
        fs::create_dir(project.path("windows")).unwrap();
        project.program = program(&project.program, library.as_ref());
        let disks = Self { project, format, volume_at: String::new() };
        let image = disks.image();
        fs::create_dir_all(image.parent().unwrap()).unwrap();
        make(format, &image);
        Some(Self { volume_at: disks.partition_of(&image), ..disks })
    }

    /// The image in the cache.
    pub(crate) fn image(&self) -> PathBuf {
        self.project.path(&format!("cache\\tool\\tool_v1.0_multi.{}", self.format.ending()))
    }

    /// Puts an image of another format under the same name.
    pub(crate) fn replace_image(&self, format: Format) {
        make(format, &self.image());
    }

    /// Where its volume begins, as another program than the tested one would read it.
    fn partition_of(&self, image: &Path) -> String {
        let info = self.project.gonto(&["image", "info", "--json", &image.to_string_lossy()]);
        let info = info.env("VIRTDISK_FOLDER", &self.folder()).run().ends_with(0).stdout;
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        let volume =
            info["partitions"].as_array().unwrap().iter().find(|partition| partition["is_volume"] == true);
        volume.unwrap()["start"].to_string()
    }

    fn folder(&self) -> String {
        self.project.path("windows").to_string_lossy().trim_start_matches(r"\\?\").to_owned()
    }

    pub(crate) fn gonto(&self, arguments: &[&str]) -> Gonto<'_> {
        let gonto = self.project.gonto(arguments).env("VIRTDISK_FOLDER", &self.folder());
        gonto.env("VIRTDISK_VOLUME_AT", &self.volume_at)
    }

    /// The calls since the last time, of all processes, in their order. `ROOT` stands for the folder of the project, and `CHILD` for the
    /// one child that they are about.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = self.calls_by_process();
        calls.into_iter().map(|(_, call)| call).collect()
    }

    /// The same, with the numbers of the processes.
    pub(crate) fn calls_by_process(&self) -> Vec<(u32, String)> {
        let file = self.project.path("windows/calls");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(&file);
        let calls = text.lines().map(|line| {
            let (process, call) = line.split_once(' ').unwrap();
            (process.parse().unwrap(), self.shorten(call))
        });
        calls.collect()
    }

    /// Waits until a process has called this function.
    #[track_caller]
    pub(crate) fn wait_for_call(&self, function: &str) {
        let deadline = Instant::now() + PATIENCE;
        let wanted = format!(" {function}(");
        while !fs::read_to_string(self.project.path("windows/calls")).unwrap_or_default().contains(&wanted) {
            assert!(Instant::now() < deadline, "waited in vain for {function}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn shorten(&self, call: &str) -> String {
        let root = self.project.root.to_string_lossy();
        let call = call.replace(&*root, "ROOT").replace(root.trim_start_matches(r"\\?\"), "ROOT");
        let child = r"ROOT\cache\.gonto\layers\tool_v1.0_multi-";
        match call.split_once(child) {
            Some((before, rest)) => match rest.split_once(&format!(".{}", self.format.ending())) {
                Some((_, after)) => format!("{before}CHILD{after}"),
                None => call,
            },
            None => call,
        }
    }

    /// The children that there are.
    pub(crate) fn children(&self) -> Vec<PathBuf> {
        let layers = fs::read_dir(self.project.path("cache/.gonto/layers")).into_iter().flatten();
        layers.map(|entry| entry.unwrap().path()).collect()
    }

    /// The letters that lead to volumes.
    pub(crate) fn letters(&self) -> Vec<String> {
        self.remembered("letter-").into_iter().map(|(name, _)| name).collect()
    }

    /// As a restart of Windows leaves it: no disk and no letter of one, and the files as they are.
    pub(crate) fn restart(&self) {
        for (name, _) in self.remembered("disk-") {
            fs::write(self.project.path("windows").join(name), "").unwrap();
        }
        for letter in self.letters() {
            fs::remove_file(self.project.path("windows").join(letter)).unwrap();
        }
    }

    fn remembered(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.project.path("windows")).unwrap().map(|entry| entry.unwrap());
        let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
        let wanted = named.filter(|(name, _)| name.starts_with(prefix));
        wanted.map(|(name, path)| (name, fs::read(path).unwrap())).collect()
    }

    /// Nothing is left: no child, no entry, no letter, and no disk that stays.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.children(), [] as [PathBuf; 0]);
        let entries = fs::read_dir(self.project.path("state/register")).unwrap();
        let entries: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(entries, ["lock"], "in the register");
        assert_eq!(self.letters(), [""; 0]);
        // Each begins with whether it stays.
        let permanent = self
            .remembered("disk-")
            .into_iter()
            .filter(|(_, record)| record.first().is_some_and(|stays| *stays != 0));
        assert_eq!(permanent.map(|(name, _)| name).collect::<Vec<_>>(), [""; 0]);
    }
}

/// A copy of the program beside the library. All tests have the same one: as long as one runs it, it cannot be removed.
fn program(original: &Path, library: &Path) -> PathBuf {
    static READY: Mutex<()> = Mutex::new(());
    let _one_at_a_time = READY.lock();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("virtdisk");
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join("gonto.exe");
    for (original, copy) in [(original, &program), (library, &folder.join("virtdisk.dll"))] {
        let version = |file: &Path| file.metadata().and_then(|it| Ok((it.len(), it.modified()?))).ok();
        if version(original) != version(copy) {
            fs::copy(original, copy).unwrap();
        }
    }
    program.canonicalize().unwrap()
}

/// Makes the image, with the program as it is.
fn make(format: Format, image: &Path) {
    static DYNAMIC: OnceLock<Vec<u8>> = OnceLock::new();
    static VHDX: OnceLock<Vec<u8>> = OnceLock::new();
    let new = |image: &Path| {
        let project = Project::new("one: {script: x}");
        project.write(&format!("content/{}", FILE.0), FILE.1);
        let image = image.to_string_lossy();
        let arguments = [&["create"], format.option(), &["../content", &*image]].concat();
        project.gonto(&arguments).run().ends_with(0);
    };
    let kept = match format {
        // So large that it is not worth keeping.
        Format::FixedVhd => return new(image),
        Format::DynamicVhd => &DYNAMIC,
        Format::Vhdx => &VHDX,
    };
    let content = kept.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join(format!("image.{}", format.ending()));
        new(&image);
        fs::read(image).unwrap()
    });
    fs::write(image, content).unwrap();
}
