//! Bytes become disk images.
//!
//! A gigantic toolchain is one file, made on Windows: a virtual disk, on it a partition, in it NTFS. This crate opens
//! such a file and answers what a file system is asked: which names a directory holds, what a file is, which bytes it
//! contains. It also makes such files: of folders ([`create()`]), and differencing children, by which Windows attaches an image
//! that stays as it is ([`create_child()`]). An image that exists it never writes to.
//!
//! ```no_run
//! use std::{fs::File, sync::Arc};
//! use gonto_image::{FileTree, ImageFile};
//!
//! let image = ImageFile::new(File::open("foobar_v1.2.3_win64.vhd")?)?;
//! let tree = FileTree::open(Arc::new(image))?;
//! for (name, id) in tree.entries(tree.root()).iter() {
//!     let node = tree.node(id);
//!     # let _ = (name, node.size);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The life of a read
//! Each layer turns one [`ReadAt`] into another, so that none of them knows what lies below it:
//! ```text
//! ImageFile          bytes of the image file                       source
//!   └─ virtual disk  VHD or VHDX with parents, or the file itself  container, vhd, vhdx, parent
//!        └─ volume   one partition of GPT or MBR, or all of it     partition, filesystem
//!             └─ NTFS  clusters -> runs -> files                   ntfs
//!                  └─ FileTree  nodes, names, content              tree
//! ```
//! [`FileTree::open`] does all the reading of metadata at once: one parallel scan of `$MFT`, then the indexes of the
//! directories in the order of the disk. What comes out is a compact table that is never changed again; afterwards
//! only content is read, positionally, from any number of threads, without a lock. Compressed content is decoded as it is
//! read, a unit of 4 to 64 KiB at a time; what a read leaves of a unit is kept for the next one, in a cache of 4 MiB.
//!
//! # Errors
//! An image is input from elsewhere, and is treated as hostile. What can be reached from the root directory is either
//! shown rightly or refused: a record that lies makes [`FileTree::open`] fail with an [`Error`] that names the place,
//! what was expected and what was found. With [`Damage::Show`] the rest is shown, and [`FileTree::damage`] tells what is
//! missing. What cannot be reached is not looked at. What is sound but cannot be read (an encrypted file) is listed, gives an
//! I/O error when it is read, and is told once in [`FileTree::notes`]; compressed data that lie are found when they are read.
//! Errors are fine; panics, endless loops and tables that outgrow the image are bugs: every table here is bounded by
//! the bytes that the image really holds, and what could make it otherwise stands as a limit beside its check.
//!
//! # Parts
//! | module | holds | follows |
//! | --- | --- | --- |
//! | [`source`](ReadAt) | the one trait for reading, the image file | |
//! | [`container`](VirtualDisk) | which container it is | |
//! | [`layer`](Layer) | what an image file tells of itself | |
//! | `parent` | chains of differencing images | |
//! | `vhd` | footer, dynamic header, block table, sector bitmaps, locators | Virtual Hard Disk Image Format Specification 1.0 |
//! | `vhdx` | headers, log, regions, metadata, block table, sector bitmaps, locators | \[MS-VHDX\] |
//! | [`options`](Options) | how an image is opened, who finds parents | |
//! | [`partition`] | GPT and MBR | UEFI 2.10, section 5 |
//! | [`filesystem`](Volume) | which volume, which file system is on it | |
//! | `ntfs` | records, attributes, runs, indexes, compressed units and chunks | NTFS 3.1 on-disk layout; \[MS-FSCC\] for reparse points and EAs |
//! | [`compression`] | LZNT1, XPRESS-Huffman, LZX | \[MS-XCA\], \[MS-PATCH\] |
//! | [`tree`](FileTree) | the file tree, links, named streams, extent maps, notes | |
//! | [`index`] | the tree as an EROFS file system that points into the image files | Linux, fs/erofs/erofs_fs.h |
//! | [`verify`](verify()) | whether everything in a volume agrees | |
//! | [`create`](create()) | a folder becomes a volume, a disk, an image file | |
//! | [`child`](create_child()) | a differencing child with another identity | |
//! | `changes` | the sectors that a child holds | |
//! | `identity` | what has to be unique in a new image | RFC 9562 |
//!
//! # What is absent
//! No path of the host but the folder that an image is made of, no network, no clock, no environment, no logging, no async, no
//! unsafe code.
#![forbid(unsafe_code)]

mod changes;
mod child;
pub mod compression;
mod container;
mod crc;
mod create;
mod error;
mod filesystem;
mod guid;
mod identity;
pub mod index;
mod irregularity;
mod layer;
mod ntfs;
mod options;
mod parallel;
mod parent;
pub mod partition;
mod sector_bitmap;
mod source;
mod tree;
mod verify;
mod vhd;
mod vhdx;

pub use child::{Child, ChildError, LONGEST_PARENT_PATH, NewChild, ParentPath, ParentPaths, create_child};
pub use container::{Container, VirtualDisk};
pub use create::{
    CreateError, Created, Event, LONGEST_LABEL, NewContainer, NewImage, Offender, Problem, contains, create,
};
pub use error::Error;
pub use filesystem::Volume;
pub use guid::Guid;
pub use irregularity::Irregularity;
pub use layer::{Blocks, Creator, Layer};
pub use ntfs::reparse::SpecialFile;
pub use options::{Damage, NoParents, Options, Parent, ParentHint, Parents};
pub use parallel::map_in_order_with;
pub use source::{Extent, ImageFile, Place, ReadAt};
pub use tree::{
    Damaged, Entries, FileTree, Format, Kind, NamedStream, Node, NodeId, Note, Owner, Reason, Timestamp,
    Unreadable,
};
pub use verify::{Finding, Severity, Verification, verify};
