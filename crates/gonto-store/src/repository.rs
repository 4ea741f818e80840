//! Where images come from. A repository answers one question: the bytes of this image, and how many they are.
//!
//! The seam for what is to come: a repository makes a [`Request`], which knows how to be interrupted; opening it gives a
//! [`Content`], which knows its length and is moved to a file piece by piece. Nothing outside this module knows which
//! kind of repository it talks to.

mod address;
mod folder;
mod proxy;
mod web;

use std::time::Duration;

use crate::partial::PartialFile;
use crate::store::Timeouts;
use crate::{Error, ImagePath};

use folder::{Folder, FolderContent, FolderRequest};
use web::{Web, WebContent, WebInterrupter, WebRequest};

/// A place that holds images under the repository's layout.
#[derive(Clone, Debug)]
pub(crate) enum Repository {
    Web(Web),
    Folder(Folder),
}

impl Repository {
    /// The URL or path of `image`, for messages. It never holds a password.
    pub(crate) fn location(&self, image: &ImagePath) -> String {
        match self {
            Repository::Web(web) => web.location(image),
            Repository::Folder(folder) => folder.location(image),
        }
    }

    /// Prepares to ask for `image`, without blocking.
    pub(crate) fn request(&self, image: &ImagePath, timeouts: Timeouts) -> Result<Request, Error> {
        match self {
            Repository::Web(web) => web.request(image, timeouts).map(Request::Web),
            Repository::Folder(folder) => Ok(Request::Folder(folder.request(image))),
        }
    }
}

/// A question that is ready to be asked.
pub(crate) enum Request {
    Web(WebRequest),
    Folder(FolderRequest),
}

impl Request {
    pub(crate) fn location(&self) -> &str {
        match self {
            Request::Web(request) => request.location(),
            Request::Folder(request) => request.location(),
        }
    }

    /// How long [`open`](Request::open) may take at most; `None` when there is no reason to give up.
    pub(crate) fn answer_limit(&self) -> Option<Duration> {
        match self {
            Request::Web(request) => Some(request.answer_limit()),
            Request::Folder(_) => None,
        }
    }

    pub(crate) fn interrupter(&self) -> Interrupter {
        match self {
            Request::Web(request) => Interrupter(Some(request.interrupter())),
            Request::Folder(_) => Interrupter(None),
        }
    }

    /// Asks. Blocks until the repository has answered.
    pub(crate) fn open(self) -> Result<Content, Error> {
        match self {
            Request::Web(request) => request.open().map(Content::Web),
            Request::Folder(request) => request.open().map(Content::Folder),
        }
    }
}

/// Ends the waiting of another thread in [`Request::open`] or [`Content::append_to`], where that is possible.
pub(crate) struct Interrupter(Option<WebInterrupter>);

impl Interrupter {
    pub(crate) fn interrupt(&mut self) {
        if let Some(interrupter) = self.0.take() {
            interrupter.interrupt();
        }
    }
}

/// The bytes of an image, to be read once from front to back.
pub(crate) enum Content {
    Web(WebContent),
    Folder(FolderContent),
}

impl Content {
    /// How many bytes there are, when the repository knows it beforehand.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Content::Web(content) => content.length(),
            Content::Folder(content) => Some(content.length()),
        }
    }

    /// Moves the next piece to the end of `file` and returns its length in bytes, 0 at the end of the content. Pieces
    /// are small enough to be moved in much less than a second. `received` is how many bytes came before.
    pub(crate) fn append_to(&mut self, file: &mut PartialFile, received: u64) -> Result<u64, Error> {
        match self {
            Content::Web(content) => content.append_to(file, received),
            Content::Folder(content) => content.append_to(file),
        }
    }
}
