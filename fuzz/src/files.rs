//! The image files of one input: the image itself, and the parents that a differencing one asks for.

use std::io;
use std::sync::Arc;

use gonto_image::{NoParents, Options, Parent, ParentHint, Parents, ReadAt};

use crate::mend::mend;
use crate::sparse::Image;

/// The image first, then its parent, and so on. Whatever a child calls its parent, it is the next one.
#[derive(Clone)]
pub struct Files(pub Vec<Arc<dyn ReadAt>>);

impl Files {
    /// The files of an input, with checksums and fixups put right; `None` when it is too short to be one.
    pub fn of(input: &[u8]) -> Option<Self> {
        let layers = Image::decode(input)?.into_layers();
        Some(Self(layers.into_iter().map(|layer| Arc::new(mend(layer)) as Arc<dyn ReadAt>).collect()))
    }

    /// The image itself.
    pub fn image(&self) -> Arc<dyn ReadAt> {
        self.0[0].clone()
    }

    /// The default options, with the other files as parents.
    pub fn options(&self) -> Options {
        Options { parents: self.parents_of(0), ..Options::default() }
    }

    fn parents_of(&self, child: usize) -> Arc<dyn Parents> {
        if child + 1 < self.0.len() {
            Arc::new(Next { files: self.clone(), child })
        } else {
            Arc::new(NoParents)
        }
    }
}

struct Next {
    files: Files,
    child: usize,
}

impl Parents for Next {
    fn find(&self, _hint: &ParentHint) -> io::Result<Option<Parent>> {
        let parent = self.child + 1;
        Ok(Some(Parent {
            name: format!("parent {parent}"),
            image: self.files.0[parent].clone(),
            modified: None,
            parents: self.files.parents_of(parent),
        }))
    }
}
