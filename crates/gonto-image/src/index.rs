//! The index: the metadata of a file tree as an EROFS file system, whose files point into the image files.
//!
//! NTFS is made for writing. To mount it one has to read all of `$MFT` and all directories; EROFS, the kernel's file system for
//! what never changes, is read where it lies. So the tree of an image is written once as EROFS *without* its data: the content of
//! a file is a table of chunks, and each chunk names a device and a block in it. The devices are the image files themselves.
//! Every later mount starts from the index: the kernel takes it as it is, or [`Index`] answers what a FUSE server is asked.
//!
//! ```text
//! byte 0    1024          1152            64-byte units                                  blocks       behind all blocks
//! ┌─────────┬─────────────┬───────────────┬────────────┬───────────┬────────────────────┬────────────┬───────┐
//! │ header  │ super block │ device slots  │ root │ files, links │ directories │ names    │ own data   │ stamp │
//! └─────────┴─────────────┴───────────────┴────────────┴───────────┴────────────────────┴────────────┴───────┘
//!  ours      EROFS                                                   blocks of dirents
//! ```
//! - **Order.** Directories follow each other depth first, and their files in the same order, in each directory as their content
//!   lies in the image: whoever walks through the tree reads the index forwards, and who sorts by inode number (as tar does) the
//!   image too. Files have smaller numbers than directories, so that tar reads those of a folder before it goes deeper.
//! - **Chunks.** A contiguous file is one chunk, however big. Else the size of its chunks is the one that costs the fewest bytes, for
//!   the table and for what has to be copied.
//! - **Own data** is what cannot be pointed at: decompressed files, what lies in records of NTFS and is too big for the inode, and
//!   chunks that are partly something else: the end of valid data, the border of two blocks of a container.
//! - **Tails.** What lies behind the end of a file in its last block is seen by whoever maps the file into memory, and compilers
//!   count on zeros there. Where it is something else in the image, the chunk is copied.
//! - **Blocks** are as big as the alignment of the data allows: 512 to 4096 bytes.
//! - **What is not there**: owners (all are root), extended attributes, times other than that of modification.
//!
//! The same tree and stamp make the same bytes. The format is the one of Linux 6.4 and later (fs/erofs/erofs_fs.h).

mod format;
mod read;
mod write;

pub use read::{At, Entry, Index, Inode, Invalid, Nid};
pub use write::{IndexError, Unindexed, Written, write};

/// The version of what this crate writes. An index of another version has to be made anew.
pub const VERSION: u32 = 1;
