//! What an image is: its files, its partitions, its volume.
//!
//! The structs are what `gonto image info --json` prints, field by field. Sizes and places are in bytes; fields that do not
//! apply are null. Fields may be added in later versions, and none changes its meaning.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;

use gonto_image::partition::{DiskId, Partition, Role, Scheme, Table};
use gonto_image::{FileTree, Kind, Layer, ReadAt, VirtualDisk, Volume};
use serde::Serialize;

use super::{Error, Options};

/// What can be said of an image. Where it has no volume that can be read, or its parent is missing, the rest is told, and
/// `error` says why.
#[derive(Debug, Serialize)]
pub struct Info {
    /// The image file first, then its parent, and the parent's parent. The image file alone where one of them cannot be read.
    pub layers: Vec<LayerInfo>,
    /// Size of the disk that a guest would see.
    pub disk_size: u64,
    /// `GPT`, `MBR`, or null where the disk is one volume, or empty, or where its table cannot be read.
    pub table: Option<&'static str>,
    /// Identity of the disk, as its table says.
    pub disk_id: Option<String>,
    /// The partitions, in the order of the table.
    pub partitions: Vec<PartitionInfo>,
    /// The volume that is shown.
    pub volume: Option<VolumeInfo>,
    /// What is not as it should be, though the image can be read: sentences.
    pub notes: Vec<String>,
    /// Why there is no volume: the reason, and what caused it.
    pub error: Option<String>,
    /// The same as an error.
    #[serde(skip)]
    pub no_volume: Option<gonto_image::Error>,
}

/// One image file.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LayerInfo {
    /// Its path, or the name by which it was found.
    pub file: String,
    /// `fixed VHD`, `dynamic VHD`, `differencing VHD`, the same with `VHDX`, or `raw disk`.
    pub container: String,
    /// Size of the file.
    pub file_size: u64,
    /// Its identity.
    pub id: Option<String>,
    /// The identity of its parent.
    pub parent_id: Option<String>,
    /// The program that made it.
    pub creator: Option<String>,
    /// Version of that program, as in `10.0`.
    pub creator_version: Option<String>,
    /// The system that it ran on.
    pub creator_host: Option<String>,
    /// When it was made: nanoseconds since 1970 UTC.
    pub created: Option<i128>,
    /// Bytes of a sector: 512 or 4096.
    pub sector_size: Option<u32>,
    /// Bytes of a block of a dynamic or differencing image.
    pub block_size: Option<u64>,
    /// How many blocks the disk has.
    pub blocks: Option<u64>,
    /// How many of them are in this file.
    pub blocks_present: Option<u64>,
}

/// One partition.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PartitionInfo {
    /// Its number, as `--partition` takes it.
    pub number: u32,
    /// First byte on the disk.
    pub start: u64,
    /// Its size.
    pub size: u64,
    /// Its type, in words.
    pub kind: String,
    /// Whether it holds the volume that is shown.
    pub is_volume: bool,
    /// Its name; often empty.
    pub name: String,
    /// Its identity in a GPT.
    pub id: Option<String>,
    /// The attributes of its entry in a GPT; for an MBR 4, the bit for booting, if it is the active one.
    pub attributes: u64,
}

/// The volume.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VolumeInfo {
    /// Number of its partition; null when it is the whole disk.
    pub partition: Option<u32>,
    /// `NTFS`.
    pub file_system: &'static str,
    /// Version of the file system, as in `3.1`.
    pub version: String,
    /// Its label; often empty.
    pub label: String,
    /// Its serial number: 16 hexadecimal digits.
    pub serial: String,
    /// Its size.
    pub size: u64,
    /// Bytes of a sector.
    pub sector_size: u64,
    /// Bytes of a cluster.
    pub cluster_size: u64,
    /// Bytes of a file record.
    pub record_size: u64,
    /// Regular files; those with several names once.
    pub files: u64,
    /// Folders, the root included.
    pub folders: u64,
    /// Symbolic links and junctions.
    pub links: u64,
    /// Named streams.
    pub streams: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Names and folders that are damaged.
    pub damaged: u64,
}

impl Info {
    /// Looks at an image.
    ///
    /// # Errors
    /// [`Error::Open`], and [`Error::Read`] when not even the container can be read.
    pub fn read(file: &Path, options: &Options) -> Result<Self, Error> {
        let (image, options) = super::open_file(file, options)?;
        let disk = match VirtualDisk::open(image.clone(), &options) {
            Ok(disk) => disk,
            Err(error) => return Self::without_parent(file, image, &options, error),
        };
        let mut info = Self::new(disk.layers(), file);
        match Volume::find(&disk, &options) {
            Ok(volume) => info.add_volume(&volume, &options),
            Err(error) => {
                info.add_table_alone(&disk, &options);
                info.add_error(error);
            }
        }
        Ok(info)
    }

    /// What an image tells of itself that cannot be opened: it is sound, though its chain of parents is not.
    fn without_parent(
        file: &Path,
        image: Arc<dyn ReadAt>,
        options: &gonto_image::Options,
        error: gonto_image::Error,
    ) -> Result<Self, Error> {
        match Layer::of(image, options) {
            Ok(layer) => {
                let mut info = Self::new(&[layer], file);
                info.add_error(error);
                Ok(info)
            }
            Err(_) => Err(Error::Read { image: file.to_owned(), source: Box::new(error) }),
        }
    }

    /// What image files tell, the image itself first.
    fn new(layers: &[Layer], file: &Path) -> Self {
        let notes = layers.iter().flat_map(|layer| &layer.irregularities);
        Self {
            layers: layers.iter().map(|layer| LayerInfo::of(layer, file)).collect(),
            disk_size: layers.first().map_or(0, |layer| layer.disk_size),
            table: None,
            disk_id: None,
            partitions: Vec::new(),
            volume: None,
            notes: notes.map(ToString::to_string).collect(),
            error: None,
            no_volume: None,
        }
    }

    fn add_volume(&mut self, volume: &Volume, options: &gonto_image::Options) {
        self.notes.extend(volume.irregularities().map(ToString::to_string));
        let number = volume.partition().map(|partition| partition.number);
        self.add_table(volume.table(), number);
        match FileTree::read(volume, options) {
            Ok(tree) => {
                self.notes.extend(tree.notes().iter().map(ToString::to_string));
                let more = tree.note_count().saturating_sub(tree.notes().len() as u64);
                if more > 0 {
                    self.notes.push(format!("and {more} more of this kind"));
                }
                self.volume = Some(VolumeInfo::of(&tree, number));
            }
            Err(error) => self.add_error(error),
        }
    }

    fn add_error(&mut self, error: gonto_image::Error) {
        self.error = Some(with_causes(&error));
        self.no_volume = Some(error);
    }

    /// Where there is no volume, the partitions are told all the same.
    fn add_table_alone(&mut self, disk: &VirtualDisk, options: &gonto_image::Options) {
        // What is wrong with the table is the error that is told already.
        if let Ok(table) = gonto_image::partition::table(disk, options) {
            self.notes.extend(table.irregularities().iter().map(ToString::to_string));
            self.add_table(&table, None);
        }
    }

    fn add_table(&mut self, table: &Table, volume: Option<u32>) {
        self.table = match table.scheme() {
            Scheme::None => None,
            _ => Some(table.name()),
        };
        self.disk_id = table.id().map(|id| match id {
            DiskId::Guid(guid) => guid.to_string(),
            DiskId::Signature(signature) => format!("{signature:08x}"),
        });
        let is_volume = |partition: &Partition| Some(partition.number) == volume;
        self.partitions = table
            .partitions()
            .iter()
            .map(|partition| PartitionInfo::of(partition, is_volume(partition)))
            .collect();
    }
}

impl LayerInfo {
    fn of(layer: &Layer, file: &Path) -> Self {
        let creator = layer.creator.as_ref();
        Self {
            file: if layer.name.is_empty() { file.display().to_string() } else { layer.name.clone() },
            container: layer.container.to_string(),
            file_size: layer.file_size,
            id: layer.id.map(|id| id.to_string()),
            parent_id: layer.parent_id.map(|id| id.to_string()),
            creator: creator.map(ToString::to_string),
            creator_version: creator
                .and_then(|creator| creator.version)
                .map(|(major, minor)| format!("{major}.{minor}")),
            creator_host: creator.and_then(|creator| creator.host).map(str::to_owned),
            created: layer.created.map(gonto_image::Timestamp::unix_nanos),
            sector_size: layer.sector_size,
            block_size: layer.blocks.map(|blocks| blocks.size),
            blocks: layer.blocks.map(|blocks| blocks.total),
            blocks_present: layer.blocks.map(|blocks| blocks.present),
        }
    }
}

impl PartitionInfo {
    fn of(partition: &Partition, is_volume: bool) -> Self {
        let Partition { number, start, size, attributes, .. } = *partition;
        let role = match partition.role {
            Role::DynamicDisk => ", part of a dynamic disk",
            _ => "",
        };
        Self {
            number,
            start,
            size,
            kind: format!("{}{role}", partition.kind),
            is_volume,
            name: partition.name.clone(),
            id: partition.id.map(|id| id.to_string()),
            attributes,
        }
    }
}

impl VolumeInfo {
    fn of(tree: &FileTree, partition: Option<u32>) -> Self {
        let gonto_image::Format {
            version: (major, minor),
            sector_size,
            cluster_size,
            record_size,
            size,
            serial,
        } = tree.format();
        let mut info = Self {
            partition,
            file_system: "NTFS",
            version: format!("{major}.{minor}"),
            label: tree.label().to_owned(),
            serial: format!("{serial:016x}"),
            size,
            sector_size,
            cluster_size,
            record_size,
            files: 0,
            folders: 0,
            links: 0,
            streams: 0,
            bytes: 0,
            damaged: tree.damage_count(),
        };
        for id in (0..).map(gonto_image::NodeId).take(tree.len()) {
            let node = tree.node(id);
            info.streams += tree.streams(id).len() as u64;
            match node.kind {
                Kind::Directory => info.folders += 1,
                Kind::Symlink => info.links += 1,
                Kind::File => {
                    info.files += 1;
                    info.bytes = info.bytes.saturating_add(node.size);
                }
            }
        }
        info
    }
}

/// The error and what caused it, in one line.
fn with_causes(error: &gonto_image::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
