//! What can be said of a name without reading its content.

use gonto_image::{Kind, Node, NodeId};
use serde::{Serialize, Serializer};

use super::content::{Stream, streams};
use super::path::Place;
use super::walk::Step;
use super::{Error, Image};

/// One name of a volume.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// The name in the folder that is listed, or the whole path: WTF-8, with slashes. In JSON what is no Unicode is
    /// replaced by U+FFFD.
    #[serde(serialize_with = "lossy")]
    pub path: Vec<u8>,
    /// What it is.
    pub kind: ListedKind,
    /// In bytes: of the content, of the link's target, 0 for a folder.
    pub size: u64,
    /// How many names lead to it; 1 for a folder.
    pub links: u32,
    /// Permission bits, at most 0o777.
    pub mode: u32,
    /// When the content was changed: nanoseconds since 1970 UTC.
    pub modified: i128,
    /// When anything about it was changed.
    pub changed: i128,
    /// When it was read.
    pub accessed: i128,
    /// When it was made.
    pub created: i128,
    /// Where a link points.
    #[serde(serialize_with = "lossy_option", skip_serializing_if = "Option::is_none")]
    pub target: Option<Vec<u8>>,
    /// The named streams, if they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
}

/// What a name leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListedKind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link or a junction.
    Link,
}

/// What is listed.
#[derive(Clone, Copy, Default, Debug)]
pub struct ListOptions {
    /// Everything below, by whole paths, in place of the names in the folder.
    pub recursive: bool,
    /// The named streams too.
    pub streams: bool,
}

impl Image {
    /// Lists what is in a folder, or a single file. `each` gets them one by one, sorted by the bytes of names or paths, and
    /// may end the work by an error.
    ///
    /// Returns what is not listed, or not as it was: [`Error::TooDeep`], [`Error::Damaged`], [`Error::LeftOut`].
    ///
    /// # Errors
    /// What `each` says.
    pub fn list(
        &self,
        place: &Place,
        options: ListOptions,
        mut each: impl FnMut(&Listed) -> Result<(), Error>,
    ) -> Result<Vec<Error>, Error> {
        let tree = self.tree();
        let listed = |path: &[u8], node| self.listed(path, node, options.streams);
        let mut problems = Vec::new();
        if tree.node(place.node).kind != Kind::Directory {
            each(&listed(&place.path, place.node))?;
        } else if options.recursive {
            let mut walk = self.walk(place);
            while let Some(step) = walk.next() {
                match step {
                    Step::Name(node) if node != place.node => each(&listed(walk.path(), node))?,
                    Step::TooDeep(_) => problems.push(Error::too_deep(walk.path())),
                    _ => {}
                }
            }
        } else {
            for (name, node) in tree.entries(place.node).iter() {
                each(&listed(name, node))?;
            }
        }
        problems.extend(self.damage_below(place, options.recursive, &problems));
        Ok(problems)
    }

    fn listed(&self, path: &[u8], id: NodeId, with_streams: bool) -> Listed {
        let tree = self.tree();
        let Node { kind, size, links, mode, modified, changed, accessed, created, .. } = *tree.node(id);
        Listed {
            path: path.to_vec(),
            kind: match kind {
                Kind::Directory => ListedKind::Folder,
                Kind::File => ListedKind::File,
                Kind::Symlink => ListedKind::Link,
            },
            size,
            links,
            mode,
            modified: modified.unix_nanos(),
            changed: changed.unix_nanos(),
            accessed: accessed.unix_nanos(),
            created: created.unix_nanos(),
            target: (kind == Kind::Symlink).then(|| tree.link_target(id).to_vec()),
            streams: if with_streams { streams(tree, id) } else { Vec::new() },
        }
    }
}

pub(super) fn lossy<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
fn lossy_option<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    lossy(bytes.as_deref().unwrap_or_default(), serializer)
}
