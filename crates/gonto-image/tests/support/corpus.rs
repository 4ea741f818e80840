//! The corpus: images that other software made. The folder is named by `GONTO_CORPUS`.

#![allow(clippy::print_stderr, reason = "a test that cannot run says so")]

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gonto_image::{Options, Parent, ParentHint, Parents, ReadAt, VirtualDisk};

use super::SparseMemory;

/// One line of `index.tsv`.
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) stored_as: String,
    pub(crate) format: String,
    pub(crate) disk_size: u64,
    pub(crate) disk_hash: String,
    pub(crate) partition_table: String,
    pub(crate) filesystem: String,
}

pub(crate) fn corpus() -> Option<(PathBuf, Vec<Listed>)> {
    let Some(folder) = std::env::var_os("GONTO_CORPUS").map(PathBuf::from) else {
        eprintln!("skipped: no corpus (GONTO_CORPUS is not set)");
        return None;
    };
    let index = fs::read_to_string(folder.join("index.tsv")).unwrap();
    let listed = index.lines().skip(1).map(|line| {
        let field: Vec<String> = line.split('\t').map(String::from).collect();
        Listed {
            name: field[0].clone(),
            stored_as: field[1].clone(),
            format: field[4].clone(),
            disk_size: field[5].parse().unwrap(),
            disk_hash: field[6].clone(),
            partition_table: field[7].clone(),
            filesystem: field[8].clone(),
        }
    });
    Some((folder.clone(), listed.collect()))
}

pub(crate) fn load(folder: &Path, image: &Listed) -> Arc<dyn ReadAt> {
    unpacked(&folder.join(&image.stored_as))
}

pub(crate) fn unpacked(file: &Path) -> Arc<dyn ReadAt> {
    let file = BufReader::new(File::open(file).unwrap());
    let mut decoder = zstd::Decoder::with_buffer(file).unwrap();
    decoder.window_log_max(27).unwrap();
    Arc::new(SparseMemory::from_reader(decoder).unwrap())
}

pub(crate) fn is_ours(image: &Listed) -> bool {
    matches!(image.format.as_str(), "vpc" | "vhdx" | "raw") && image.stored_as.ends_with(".zst")
}

/// Finds images of the corpus by the last component of their names.
struct CorpusParents {
    folder: PathBuf,
}

impl Parents for CorpusParents {
    fn find(&self, hint: &ParentHint) -> io::Result<Option<Parent>> {
        let (ParentHint::Relative(path) | ParentHint::Absolute(path) | ParentHint::Name(path)) = hint else {
            return Ok(None);
        };
        let name = path.rsplit(['\\', '/']).next().unwrap();
        let file = self.folder.join(format!("{name}.zst"));
        if !file.exists() {
            return Ok(None);
        }
        let parents = Arc::new(Self { folder: self.folder.clone() });
        Ok(Some(Parent { name: name.into(), image: unpacked(&file), modified: None, parents }))
    }
}

/// Options with which the parents of an image are found.
pub(crate) fn beside(folder: &Path, image: &Listed) -> Options {
    let folder = folder.join(&image.stored_as).parent().unwrap().to_owned();
    Options { parents: Arc::new(CorpusParents { folder }), ..Options::default() }
}

/// The image files that a tree is read from: the image itself first, then its parents, which lie beside it.
pub(crate) fn layers(image: Arc<dyn ReadAt>, options: &Options, stored_as: &Path) -> Vec<Arc<dyn ReadAt>> {
    let disk = VirtualDisk::open(image.clone(), options).unwrap();
    let parent = |name: &str| unpacked(&stored_as.with_file_name(format!("{name}.zst")));
    [image].into_iter().chain(disk.layers()[1..].iter().map(|layer| parent(&layer.name))).collect()
}
