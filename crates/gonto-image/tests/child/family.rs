//! Parents, their children, and what both hold.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gonto_image::partition::{DiskId, Scheme};
use gonto_image::{
    Child, ChildError, Container, FileTree, Guid, ImageFile, NewChild, NewContainer, NewImage, Options,
    Parent, ParentHint, ParentPath, ParentPaths, Parents, Place, ReadAt, VirtualDisk, Volume, create,
    create_child,
};
use tempfile::TempDir;

use crate::support::{distinct, paths, sha256};

pub(crate) const CONTAINERS: [NewContainer; 3] =
    [NewContainer::FixedVhd, NewContainer::DynamicVhd, NewContainer::Vhdx];

pub(crate) const ABSOLUTE: &str = r"C:\Zwischenspeicher für Bäume\größe\parent";
pub(crate) const RELATIVE: &str = r"..\..\größe\parent";

/// An image file, and its way to its parents.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) bytes: Arc<dyn ReadAt>,
    pub(crate) options: Options,
}

impl Image {
    pub(crate) fn new(bytes: Arc<dyn ReadAt>) -> Self {
        Self { bytes, options: Options::default() }
    }

    pub(crate) fn at(path: &Path) -> Self {
        Self::new(Arc::new(ImageFile::new(File::open(path).unwrap()).unwrap()))
    }

    pub(crate) fn disk(&self) -> VirtualDisk {
        VirtualDisk::open(self.bytes.clone(), &self.options).unwrap()
    }

    pub(crate) fn volume(&self) -> Volume {
        Volume::find(&self.disk(), &self.options).unwrap()
    }

    pub(crate) fn tree(&self) -> FileTree {
        FileTree::open_with(self.bytes.clone(), &self.options).unwrap()
    }

    /// A child of it in a file of its own.
    pub(crate) fn child(&self, seed: u8) -> Born {
        self.try_child(&wanted(seed)).unwrap()
    }

    pub(crate) fn try_child(&self, wanted: &NewChild<'_>) -> Result<Born, ChildError> {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("child");
        let output = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let child = create_child(self.bytes.clone(), &self.options, wanted, &output)?;
        assert_eq!(output.metadata().unwrap().len(), child.file_size);
        let parents = Arc::new(Only(self.clone()));
        let bytes = Image::at(&path).bytes;
        let image = Self { bytes, options: Options { parents, ..self.options.clone() } };
        Ok(Born { _scratch: scratch, path, child, image })
    }

    /// Why it can have no child.
    pub(crate) fn refusal(&self) -> String {
        self.try_child(&wanted(1)).map(|born| born.child).unwrap_err().to_string()
    }
}

/// A child, and what was told of it.
pub(crate) struct Born {
    _scratch: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) child: Child,
    pub(crate) image: Image,
}

pub(crate) fn wanted(seed: u8) -> NewChild<'static> {
    let paths = ParentPaths {
        absolute: ParentPath::absolute(ABSOLUTE).unwrap(),
        relative: Some(ParentPath::relative(RELATIVE).unwrap()),
    };
    NewChild { paths, parent_modified: None, seed: [seed; 32] }
}

/// Finds one parent, by the whole paths that it was given.
struct Only(Image);

impl Parents for Only {
    fn find(&self, hint: &ParentHint) -> io::Result<Option<Parent>> {
        let Image { bytes, options } = &self.0;
        let is_it = match hint {
            ParentHint::Relative(path) => path == RELATIVE,
            ParentHint::Absolute(path) => path == ABSOLUTE,
            _ => false,
        };
        let (image, parents) = (bytes.clone(), options.parents.clone());
        Ok(is_it.then(|| Parent { name: "parent".into(), image, modified: None, parents }))
    }
}

/// A folder with a few files, as an image.
pub(crate) fn created(container: NewContainer, more_free: u64) -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("folder");
    for size in [0, 100, 5000, 3_000_000] {
        fs::create_dir_all(folder.join(format!("of {size}"))).unwrap();
        fs::write(folder.join(format!("of {size}/file")), distinct(size as u64, size)).unwrap();
    }
    let path = scratch.path().join("parent");
    let output = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let wanted = NewImage { more_free, ..NewImage::new(container, "parent") };
    create(&folder, output, &wanted, &|_| ControlFlow::Continue(())).unwrap();
    (scratch, path)
}

/// Makes a child, and fails unless it is its parent with other identities and nothing else. `expected` are the numbers of the
/// sectors that it holds.
#[track_caller]
pub(crate) fn assert_child(parent: &Image, expected: &[u64]) -> Born {
    let born = parent.child(7);
    let (ours, theirs) = (born.image.disk(), parent.disk());
    let layer = &ours.layers()[0];
    assert_eq!(layer.container, born.child.container);
    assert_eq!(layer.irregularities, []);
    assert_eq!((layer.disk_size, layer.sector_size), (theirs.disk().size(), theirs.sector_size()));
    assert_eq!(layer.physical_sector_size, theirs.layers()[0].physical_sector_size);
    assert_eq!(layer.parent_id, theirs.layers()[0].id);
    assert_ne!(layer.id, theirs.layers()[0].id);
    assert_eq!(&ours.layers()[1..], named("parent", &theirs));
    let own = own_sectors(&ours);
    assert_eq!(own.iter().copied().collect::<Vec<_>>(), expected);
    assert_same_but(&ours, &theirs, &own);
    assert_identities(parent, &born);
    assert_eq!(told(&born.image.tree()), told(&parent.tree()));
    born
}

fn named(name: &str, disk: &VirtualDisk) -> Vec<gonto_image::Layer> {
    let mut layers = disk.layers().to_vec();
    layers[0].name = name.into();
    layers
}

/// The sectors that are in the child's own file.
fn own_sectors(disk: &VirtualDisk) -> BTreeSet<u64> {
    let sector = u64::from(disk.sector_size().unwrap());
    let (mut own, mut at) = (BTreeSet::new(), 0);
    while at < disk.disk().size() {
        let extent = disk.disk().extent(at);
        if matches!(extent.place, Place::Image { layer: 0, .. }) {
            own.extend(at / sector..(at + extent.length) / sector);
        }
        at += extent.length;
    }
    own
}

/// All bytes of two disks are the same, but for the `own` sectors, each of which differs.
#[track_caller]
fn assert_same_but(ours: &VirtualDisk, theirs: &VirtualDisk, own: &BTreeSet<u64>) {
    let sector = u64::from(ours.sector_size().unwrap());
    let (ours, theirs) = (ours.disk(), theirs.disk());
    let mut at = 0;
    while at < ours.size() {
        let (our, their) = (ours.extent(at), theirs.extent(at));
        let length = our.length.min(their.length).min(1 << 20);
        if our.place != Place::Zero || their.place != Place::Zero {
            let read = |disk: &Arc<dyn ReadAt>| {
                let mut bytes = vec![0x55; usize::try_from(length).unwrap()];
                disk.read_at(&mut bytes, at).unwrap();
                bytes
            };
            let is_own = own.contains(&(at / sector));
            assert_eq!(read(ours) != read(theirs), is_own, "{length} bytes at {at}");
            assert!(!is_own || length >= sector);
        }
        at += if own.contains(&(at / sector)) { sector.min(length) } else { length };
    }
}

/// The tables are the same but for the identities, and what was told is in the child.
#[track_caller]
fn assert_identities(parent: &Image, born: &Born) {
    let (ours, theirs) = (born.image.volume(), parent.volume());
    let child = &born.child;
    assert_eq!(ours.table().scheme(), child.scheme);
    assert_eq!(ours.table().id(), Some(child.disk_id));
    assert_ne!(ours.table().id(), theirs.table().id());
    assert_eq!(ours.partition(), Some(&child.partition));
    assert_eq!(ours.irregularities().collect::<Vec<_>>(), theirs.irregularities().collect::<Vec<_>>());
    assert_eq!(ours.table().partitions().len(), theirs.table().partitions().len());
    for (our, their) in ours.table().partitions().iter().zip(theirs.table().partitions()) {
        if child.scheme == Scheme::Gpt {
            assert_ne!(our.id, their.id);
        }
        let mut without = our.clone();
        without.id = their.id;
        assert_eq!(&without, their);
    }
}

/// Everything in a tree.
pub(crate) fn told(tree: &FileTree) -> Vec<String> {
    let line = |(path, id)| {
        let node = tree.node(id);
        // A file that cannot be read is the same as another one.
        let content = sha256(tree, id).unwrap_or_else(|error| error.to_string());
        format!("{path} {:?} {} {:?} {content}", node.kind, node.size, node.modified)
    };
    paths(tree).into_iter().map(line).collect()
}

/// All identities that the child of an image has.
pub(crate) fn identities(image: &Image) -> Vec<String> {
    let (disk, volume) = (image.disk(), image.volume());
    let layer = &disk.layers()[0];
    let mut ids: Vec<Guid> = layer.id.into_iter().chain(layer.disk_id).collect();
    ids.extend(volume.table().partitions().iter().filter_map(|partition| partition.id));
    let mut told: Vec<String> = ids.iter().map(ToString::to_string).collect();
    told.extend(volume.table().id().as_ref().map(DiskId::to_string));
    told
}

/// A disk of less than a gigabyte.
pub(crate) fn flattened(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(disk.size()).unwrap()];
    disk.read_at(&mut bytes, 0).unwrap();
    bytes
}

pub(crate) fn is_vhdx(container: Container) -> bool {
    matches!(container, Container::FixedVhdx | Container::DynamicVhdx | Container::DifferencingVhdx)
}

/// A fixed VHD with these bytes as its disk, and a geometry that no rule would give it.
pub(crate) fn fixed_vhd(mut disk: Vec<u8>) -> Vec<u8> {
    let mut footer = vec![0; 512];
    for (at, field) in [
        (0, &b"conectix"[..]),
        (8, &[0, 0, 0, 2, 0, 1, 0, 0]),
        (16, &[0xff; 8]),
        (24, &[0x27, 0x15, 0xab, 0x13]),
        (48, &(disk.len() as u64).to_be_bytes()),
        (56, &[0x01, 0x23, 0x07, 0x1f, 0, 0, 0, 2]),
        (68, &[0x5a; 16]),
    ] {
        footer[at..at + field.len()].copy_from_slice(field);
    }
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    disk.extend(footer);
    disk
}

/// Lists a partition, in bytes, in the MBR of a disk.
pub(crate) fn put_mbr_entry(disk: &mut [u8], number: usize, kind: u8, start: u64, size: u64) {
    let at = 446 + number * 16;
    disk[at + 4] = kind;
    disk[at + 8..at + 12].copy_from_slice(&u32::try_from(start / 512).unwrap().to_le_bytes());
    disk[at + 12..at + 16].copy_from_slice(&u32::try_from(size / 512).unwrap().to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
}
