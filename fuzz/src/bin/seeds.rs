//! Makes inputs for the fuzz targets out of real images: `seeds FOLDER IMAGE…` writes `FOLDER/TARGET/IMAGE` for each
//! target that takes sparse images, and for the target `index` the index of the image.
//!
//! An image is opened, and what was read and is not zero is what it needs. Records that are free stay out; what is left out of a
//! *small* one, piece by piece, as long as the same files are found, is not needed either.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use gonto_fuzz::codec;
use gonto_fuzz::files::Files;
use gonto_fuzz::mend::undo_fixups;
use gonto_fuzz::numbers::Numbers;
use gonto_fuzz::sparse::{Image, Piece};
use gonto_image::{
    FileTree, ImageFile, Kind, NewContainer, NewImage, NodeId, Parent, ParentHint, Parents, ReadAt,
    VirtualDisk, Volume, index, partition,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: seeds FOLDER IMAGE…")?;
    write_codec_seeds(Path::new(&folder))?;
    let index_folder = Path::new(&folder).join("index");
    fs::create_dir_all(&index_folder)?;
    write_index_seed(&index_folder)?;
    let mut too_big = 0;
    for path in arguments {
        let path = Path::new(&path);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = chain(path)?;
        match index_of(&files)? {
            Some(index) if index.len() <= BIGGEST_SEED => fs::write(index_folder.join(&name), index)?,
            Some(_) => too_big += 1,
            None => {}
        }
        for (target, seed) in seeds(&files) {
            let input = seed.encode();
            if input.len() > BIGGEST_SEED {
                too_big += 1;
                continue;
            }
            let folder = Path::new(&folder).join(target);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(&name), &input)?;
        }
    }
    if too_big > 0 {
        eprintln!("{too_big} inputs of more than {BIGGEST_SEED} bytes were left out");
    }
    Ok(())
}

/// The index of an image; `None` where it has none.
fn index_of(files: &Files) -> io::Result<Option<Vec<u8>>> {
    let path = std::env::temp_dir().join(format!("gonto-seed-{}", std::process::id()));
    let Ok(tree) = FileTree::open_with(files.image(), &files.options()) else { return Ok(None) };
    let output = File::options().read(true).write(true).create_new(true).open(&path)?;
    let written = index::write(&tree, &files.0, &output, |_| b"a stamp".to_vec(), &|| Ok(()));
    let index = fs::read(&path);
    fs::remove_file(&path)?;
    written.ok().map(|_| index).transpose()
}

/// The index of a small image that has something of everything: the fixtures have none, or a large one.
fn write_index_seed(folder: &Path) -> Result<(), Box<dyn Error>> {
    let scratch = std::env::temp_dir().join(format!("gonto-seed-image-{}", std::process::id()));
    let (content, image) = (scratch.join("content"), scratch.join("image.vhd"));
    fs::create_dir_all(content.join("folder/below"))?;
    for number in 0..60 {
        fs::write(content.join(format!("folder/a file with a long name {number}")), vec![b'x'; number * 40])?;
    }
    fs::write(content.join("large"), vec![1; 3 << 20])?;
    let sparse = File::create(content.join("sparse"))?;
    sparse.set_len(40 << 20)?;
    fs::hard_link(content.join("large"), content.join("folder/below/large"))?;
    let wanted = NewImage::new(NewContainer::DynamicVhd, "seed");
    let output = File::options().read(true).write(true).create_new(true).open(&image)?;
    gonto_image::create(&content, output, &wanted, &|_| ControlFlow::Continue(()))?;
    let index = index_of(&chain(&image)?)?.ok_or("the small image has no index")?;
    fs::write(folder.join("small"), index)?;
    Ok(fs::remove_dir_all(scratch)?)
}

/// A text that repeats itself near and far, compressed, and as it is.
fn write_codec_seeds(folder: &Path) -> io::Result<()> {
    let mut numbers = Numbers(1);
    let mut data = Vec::new();
    while data.len() < 3000 {
        match numbers.below(4) {
            0 => data.extend(b"\xe8\x10\x00\x00\x00 a call"),
            1 => data.extend(numbers.any().to_le_bytes()),
            2 => data.extend(vec![b'-'; numbers.below(600)]),
            _ => data.extend_from_within(numbers.below(data.len())..),
        }
    }
    data.truncate(4500);
    let codecs: [(&str, codec::Compress); 3] =
        [("lznt1", codec::compress_lznt1), ("xpress", codec::compress_xpress), ("lzx", codec::compress_lzx)];
    for (target, compress) in codecs {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for number in 0..24 {
            let size = data.len() >> (number % 4);
            let header = |what: u8, number: usize| [what, number as u8, (number >> 8) as u8, 0].to_vec();
            let compressed = [header(0, size), compress(&data[..size], number as u32)].concat();
            fs::write(folder.join(format!("compressed-{number}")), compressed)?;
            fs::write(folder.join(format!("plain-{number}")), [&header(1, number), &data[..size]].concat())?;
        }
    }
    Ok(())
}

/// Bigger inputs make a fuzzer slow.
const BIGGEST_SEED: usize = 128 << 10;

const SECTOR: u64 = 512;

/// An image and those that it is differencing to, which lie beside it.
fn chain(path: &Path) -> Result<Files, Box<dyn Error>> {
    let open =
        |path: &Path| -> io::Result<Arc<dyn ReadAt>> { Ok(Arc::new(ImageFile::new(File::open(path)?)?)) };
    let mut files = vec![open(path)?];
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    loop {
        let asked = Arc::new(Asked::default());
        let mut options = Files(files.clone()).options();
        // Whoever asks for one more than there are is at the end of the chain.
        if files.len() == 1 {
            options.parents = asked.clone();
        }
        if files.len() > 4 || VirtualDisk::open(files[0].clone(), &options).is_ok() {
            return Ok(Files(files));
        }
        let names = asked.0.lock().expect("nothing panicked while it was held").clone();
        match names.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
            Some(parent) => files.push(open(&parent)?),
            None => return Ok(Files(files)),
        }
    }
}

/// Remembers the names of the parents that it is asked for.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

impl Parents for Asked {
    fn find(&self, hint: &ParentHint) -> io::Result<Option<Parent>> {
        let (ParentHint::Relative(path) | ParentHint::Absolute(path) | ParentHint::Name(path)) = hint else {
            return Ok(None);
        };
        let name = path.rsplit(['\\', '/']).next().unwrap_or_default();
        self.0.lock().expect("nothing panicked while it was held").push(name.to_owned());
        Ok(None)
    }
}

/// What each target gets of an image; nothing where the image is none of its kind.
fn seeds(files: &Files) -> Vec<(&'static str, Image)> {
    let options = files.options();
    let mut found = Vec::new();
    let container = |files: &Files| {
        let Ok(disk) = VirtualDisk::open(files.image(), &files.options()) else { return };
        let _ = disk.disk().read_at(&mut [0; 512], 0);
        let _ = disk.disk().read_at(&mut [0; 512], disk.disk().size() / 2);
    };
    let mut start = [0; 8];
    let is_vhdx = files.image().read_at(&mut start, 0).is_ok() && start == *b"vhdxfile";
    found.push((if is_vhdx { "vhdx" } else { "vhd" }, needed(files, container)));
    if let Ok(disk) = VirtualDisk::open(files.image(), &options) {
        let table = |files: &Files| {
            let options = files.options();
            let Ok(disk) = VirtualDisk::open(files.image(), &options) else { return };
            let _ = partition::table(&disk, &options);
            let _ = Volume::find(&disk, &options);
        };
        found.push(("partitions", needed(&Files(vec![disk.disk().clone()]), table)));
        if let Ok(volume) = Volume::find(&disk, &options) {
            let seed = needed(&Files(vec![volume.bytes().clone()]), |files| drop(listing(files)));
            found.push(("ntfs", reduced(&seed)));
            found.push(("verify", seed));
            found.push(("tree", reduced(&needed(files, |files| drop(listing(files))))));
        }
    }
    found
}

/// Path, size and the beginning of the content of one file.
type Listed = (Vec<u8>, u64, Vec<u8>);

/// What a volume shows; `None` where it is refused.
fn listing(files: &Files) -> Option<Vec<Listed>> {
    let tree = FileTree::open_with(files.image(), &files.options()).ok()?;
    let mut listing = Vec::new();
    let mut folders = vec![(Vec::new(), tree.root())];
    while let Some((path, folder)) = folders.pop() {
        for (name, id) in tree.entries(folder).iter() {
            let path = [&path[..], b"/", name].concat();
            if tree.node(id).kind == Kind::Directory {
                folders.push((path.clone(), id));
            }
            listing.push((path, tree.node(id).size, beginning(&tree, id)));
        }
    }
    listing.sort();
    Some(listing)
}

fn beginning(tree: &FileTree, id: NodeId) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let count = tree.read_at(id, &mut bytes, 0).unwrap_or(0);
    bytes.truncate(count);
    bytes
}

/// What `work` reads of the files.
fn needed(files: &Files, work: impl FnOnce(&Files)) -> Image {
    let watch =
        |image: &Arc<dyn ReadAt>| Arc::new(Watched { image: image.clone(), sectors: Mutex::default() });
    let watched: Vec<Arc<Watched>> = files.0.iter().map(watch).collect();
    work(&Files(watched.iter().map(|file| file.clone() as Arc<dyn ReadAt>).collect()));
    Image::from_layers(watched.iter().map(|file| file.pieces()).collect())
}

/// The structure, or just the sector, that begins at `at`, as it means itself; empty when it is zero or free.
fn piece(image: &dyn ReadAt, at: u64) -> Piece {
    let mut bytes = vec![0; 4096.min(usize::try_from(image.size() - at).unwrap_or(4096))];
    if image.read_at(&mut bytes, at).is_err() {
        bytes.clear();
    }
    let length = match bytes.first_chunk::<4>() {
        Some(b"FILE" | b"INDX" | b"RSTR" | b"RCRD") => {
            let strides = usize::from(u16::from_le_bytes([bytes[6], bytes[7]])).saturating_sub(1);
            strides * 512
        }
        Some(b"cxsp") => 1024,
        Some(b"head" | b"loge" | b"regi" | b"meta") => 4096,
        _ => 512,
    };
    bytes.truncate(length.max(512));
    match bytes.first_chunk::<4>() {
        // Free records, and what a list of attributes reads behind its end.
        Some(b"FILE") if bytes[0x16] & 1 == 0 => bytes.clear(),
        Some(b"FILE" | b"INDX" | b"RSTR" | b"RCRD") => undo_fixups(&mut bytes),
        _ => {}
    }
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    Piece { at, as_it_is: false, bytes }
}

/// An image without what does not change its listing.
fn reduced(image: &Image) -> Image {
    let shown = |image: &Image| Files::of(&image.encode()).and_then(|files| listing(&files));
    let expected = shown(image);
    let mut image = image.clone();
    if expected.is_none() {
        return image;
    }
    let mut step = 16;
    while step > 0 {
        let mut at = 0;
        while at < image.pieces.len() {
            let mut without = image.clone();
            without.pieces.drain(at..(at + step).min(image.pieces.len()));
            if shown(&without) == expected {
                image = without;
            } else {
                at += step;
            }
        }
        step /= 4;
    }
    image
}

/// Remembers which sectors were read.
struct Watched {
    image: Arc<dyn ReadAt>,
    sectors: Mutex<BTreeSet<u64>>,
}

impl Watched {
    fn pieces(&self) -> Image {
        let sectors = self.sectors.lock().expect("nothing panicked while it was held").clone();
        let mut pieces: Vec<Piece> = Vec::new();
        let mut covered = 0;
        for sector in sectors {
            let at = sector * SECTOR;
            if at < covered {
                continue;
            }
            let piece = piece(self.image.as_ref(), at);
            covered = at + piece.bytes.len().max(512) as u64;
            if !piece.bytes.is_empty() {
                pieces.push(piece);
            }
        }
        Image { size: self.image.size(), pieces }
    }
}

impl ReadAt for Watched {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.image.read_at(buf, offset)?;
        let mut sectors = self.sectors.lock().expect("nothing panicked while it was held");
        let first = offset / SECTOR;
        let read = (offset + buf.len() as u64).div_ceil(SECTOR);
        // Zero sectors are none.
        sectors.extend((first..read).filter(|sector| {
            let start = usize::try_from((sector * SECTOR).saturating_sub(offset)).unwrap_or(usize::MAX);
            let end = usize::try_from((sector + 1) * SECTOR - offset).unwrap_or(usize::MAX).min(buf.len());
            buf[start.min(end)..end].iter().any(|byte| *byte != 0)
        }));
        Ok(())
    }

    fn size(&self) -> u64 {
        self.image.size()
    }

    fn extent(&self, offset: u64) -> gonto_image::Extent {
        self.image.extent(offset)
    }
}
