//! How one inode is shown: what kind of node it is, and where its content comes from.

use super::content::Content;
use super::node::{Kind, Node, Timestamp};
use super::note::Reason;
use crate::ntfs::extended_attributes::Wsl;
use crate::ntfs::gathering::{Data, Encoding, NamedData};
use crate::ntfs::inode::{Inode, Standard};
use crate::ntfs::overlay::{self, Algorithm, Overlaid};
use crate::ntfs::reparse::{Overlay, Reparse, ReparsePoint, SpecialFile};
use crate::ntfs::stream::{Mapped, Stream};

/// Bits of `$STANDARD_INFORMATION`'s attributes (\[MS-FSCC\] 2.6): offline, recall on open, recall on data access. With
/// any of them the content of a cloud file lies elsewhere.
const CONTENT_ELSEWHERE: u32 = 0x0000_1000 | 0x0004_0000 | 0x0040_0000;

const PERMISSIONS: u32 = 0o777;
const DEFAULT_MODE: u32 = 0o755;

/// How an inode is shown.
pub(super) struct Seen {
    pub(super) node: Node,
    pub(super) content: Content,
    pub(super) reparse: Option<ReparsePoint>,
    pub(super) streams: Box<[NamedData]>,
    pub(super) wsl: Wsl,
    /// What is missing.
    pub(super) incomplete: Option<Reason>,
}

impl Seen {
    /// Moves the content out of the inode: it is not needed there any more. If it is a directory, it becomes
    /// `directory` of the tree.
    pub(super) fn new(inode: &mut Inode, directory: u32) -> Self {
        let is_directory = inode.is_directory();
        let reparse = inode.reparse.take().map(|reparse| *reparse);
        let streams = std::mem::take(&mut inode.streams);
        let (kind, size, content, incomplete) = match &reparse {
            Some(ReparsePoint { meaning: Reparse::Link(_) | Reparse::LinuxLink(_), .. }) => {
                (Kind::Symlink, 0, Content::Link(Box::default()), None)
            }
            other if is_directory => {
                (Kind::Directory, 0, Content::Directory(directory), hidden_directory(other.as_ref()))
            }
            other => {
                let (size, content, unreadable) = file(inode, other.as_ref(), &streams);
                // Windows shows whatever bytes such a file has.
                let special = inode.wsl.mode.and_then(SpecialFile::from_mode).map(Reason::Special);
                (Kind::File, size, content, unreadable.or(special))
            }
        };
        let mode = inode.wsl.mode.map_or(DEFAULT_MODE, |mode| mode & PERMISSIONS);
        let node = node(kind, size, mode, &inode.standard);
        Self { node, content, reparse, streams, wsl: inode.wsl, incomplete }
    }

    /// What stands for a file that is damaged.
    pub(super) fn damaged_node() -> Node {
        node(Kind::File, 0, DEFAULT_MODE, &Standard::default())
    }
}

fn hidden_directory(reparse: Option<&ReparsePoint>) -> Option<Reason> {
    let ReparsePoint { tag, meaning } = reparse?;
    match meaning {
        Reparse::Dedup => Some(Reason::Dedup),
        Reparse::Overlay(_) | Reparse::Special(_) | Reparse::Other => Some(Reason::ReparsedDirectory(*tag)),
        Reparse::Cloud | Reparse::Link(_) | Reparse::LinuxLink(_) => None,
    }
}

/// The size of a file, where its content is, and why it is not what Windows would show.
fn file(
    inode: &mut Inode,
    reparse: Option<&ReparsePoint>,
    streams: &[NamedData],
) -> (u64, Content, Option<Reason>) {
    let data = inode.data.take();
    let size = data.as_ref().map_or(0, |data| data.stream.size());
    let content = match reparse.map(|reparse| (reparse.tag, &reparse.meaning)) {
        Some((_, Reparse::Overlay(Overlay::File(algorithm)))) => overlaid(*algorithm, size, streams),
        Some((_, Reparse::Overlay(Overlay::Wim))) => Content::Unreadable(Reason::WimBacked),
        Some((_, Reparse::Overlay(Overlay::Unknown))) => Content::Unreadable(Reason::UnknownOverlay),
        Some((_, Reparse::Special(special))) => Content::Unreadable(Reason::Special(*special)),
        Some((_, Reparse::Dedup)) => Content::Unreadable(Reason::Dedup),
        Some((tag, Reparse::Other)) => Content::Unreadable(Reason::ReparsedFile(tag)),
        Some((_, Reparse::Cloud)) if inode.standard.attributes & CONTENT_ELSEWHERE != 0 => {
            Content::Unreadable(Reason::CloudPlaceholder)
        }
        Some((_, Reparse::Cloud | Reparse::Link(_) | Reparse::LinuxLink(_))) | None => own_content(data),
    };
    match content {
        // Whatever it is, no byte of it is missing: a pipe of WSL, the alias of a program of the Store.
        Content::Unreadable(reason) if size == 0 => (0, Content::Inline(Box::default()), Some(reason)),
        Content::Unreadable(reason) => (size, content, Some(reason)),
        content => (size, content, None),
    }
}

/// What lies in the file itself. Nothing is missing from an empty one, however it is encoded.
fn own_content(data: Option<Data>) -> Content {
    let Some(data) = data.filter(|data| data.stream.size() > 0) else {
        return Content::Inline(Box::default());
    };
    match (data.encoding, data.stream) {
        (Encoding::Encrypted, _) => Content::Unreadable(Reason::Encrypted),
        (Encoding::Lznt1 { .. }, stream @ Stream::Mapped(_)) => {
            Content::Compressed(Box::new(Data { stream, encoding: data.encoding }))
        }
        (_, Stream::Resident(bytes)) => Content::Inline(bytes),
        (_, Stream::Mapped(Mapped { runs, sizes })) => Content::Mapped { runs, valid: sizes.valid },
    }
}

/// What the Windows Overlay Filter makes of one of the streams.
fn overlaid(algorithm: Algorithm, size: u64, streams: &[NamedData]) -> Content {
    if size == 0 {
        return Content::Inline(Box::default());
    }
    let stream = streams.iter().find(|stream| *stream.name == *overlay::STREAM);
    match stream.map(|stream| &stream.data) {
        Some(Err(why)) => Content::Damaged(why.clone()),
        Some(Ok(data)) => match Overlaid::new(algorithm, size, data.clone()) {
            Some(overlaid) => Content::Overlaid(Box::new(overlaid)),
            None => Content::Unreadable(Reason::BrokenOverlay),
        },
        None => Content::Unreadable(Reason::BrokenOverlay),
    }
}

fn node(kind: Kind, size: u64, mode: u32, standard: &Standard) -> Node {
    Node {
        kind,
        size,
        links: 1,
        mode,
        modified: Timestamp::from_filetime(standard.modified),
        changed: Timestamp::from_filetime(standard.changed),
        accessed: Timestamp::from_filetime(standard.accessed),
        created: Timestamp::from_filetime(standard.created),
    }
}
