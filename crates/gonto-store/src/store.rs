//! The public face of the crate: from an image that is missing to one that is cached.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::cache::{Cache, ImageLock};
use crate::repository::Repository;
use crate::transfer::{self, TICK};
use crate::{Error, ImagePath};

/// A cache folder, and the repository that fills it.
#[derive(Clone, Debug)]
pub struct Store {
    cache: Cache,
    repository: Repository,
    timeouts: Timeouts,
}

impl Store {
    /// A store that keeps images in `cache_dir` and gets them from `repository`.
    ///
    /// `repository` is a URL (`http://`, `https://` or `file://`) or the path of a folder; the slash at its end may be
    /// left out. A user and a password in a URL are sent as HTTP basic authentication to that server (not to where it
    /// redirects) and shown nowhere. Nothing is read, written or connected to yet.
    ///
    /// # Errors
    /// [`Error::InvalidRepository`] when `repository` cannot be understood.
    pub fn new(cache_dir: PathBuf, repository: &str) -> Result<Store, Error> {
        let repository = Repository::parse(repository)?;
        Ok(Store { cache: Cache::new(cache_dir), repository, timeouts: Timeouts::default() })
    }

    /// The same store with other time limits for web servers.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Store {
        Store { timeouts, ..self }
    }

    /// Where the cache keeps `image`: `<cache_dir>/<name>/<name>_v<version>_<platform>.<format>`. It need not be there.
    pub fn path(&self, image: &ImagePath) -> PathBuf {
        self.cache.path(image)
    }

    /// Whether `image` is cached, which is to say that its file exists.
    ///
    /// An image that cannot be looked at (an unreadable folder, say) counts as missing; [`fetch`](Store::fetch) then
    /// tells why.
    pub fn contains(&self, image: &ImagePath) -> bool {
        self.cache.contains(image).unwrap_or(false)
    }

    /// Makes sure that `image` is cached, and returns its path.
    ///
    /// A missing image is downloaded. When another process or thread is downloading it already, this call waits and
    /// then finds it. `events` is called at least every 100 ms or so, also while a server is silent (a callback that
    /// takes long itself delays nothing but the next call; only on Windows a virus scanner that holds the whole file can make it
    /// wait up to ten seconds); when it returns [`ControlFlow::Break`], the download ends,
    /// its partial file is removed and the cache is as before.
    ///
    /// # Errors
    /// Every variant of [`Error`] but [`Error::InvalidRepository`]. After an error nothing is left under the image's
    /// final name.
    pub fn fetch(
        &self,
        image: &ImagePath,
        events: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<PathBuf, Error> {
        let path = self.cache.path(image);
        // The common case needs no lock and no right to write: an image under its final name never changes.
        if self.cache.contains(image)? {
            return Ok(path);
        }
        self.cache.check_name(image)?;
        let lock = self.lock(image, events)?;
        if self.cache.contains(image)? {
            tracing::debug!(%image, "was downloaded by somebody else meanwhile");
            return Ok(path);
        }
        self.cache.remove_stale_partials(&lock);
        let (partial, file) = self.cache.create_partial(&lock)?;
        tracing::debug!(%image, from = %self.repository.location(image), "downloading");
        transfer::run(self.repository.request(image, self.timeouts)?, image, file, events)?;
        self.cache.publish(partial, &lock)?;
        Ok(path)
    }

    /// Takes the image's lock. It asks again and again instead of blocking, so that the wait can be cancelled.
    fn lock(
        &self,
        image: &ImagePath,
        events: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<ImageLock, Error> {
        loop {
            if let Some(lock) = self.cache.try_lock(image)? {
                return Ok(lock);
            }
            if events(Event::Waiting).is_break() {
                return Err(Error::Cancelled { image: image.clone() });
            }
            thread::sleep(TICK);
        }
    }
}

/// What [`Store::fetch`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another gonto is downloading the image; this one waits for it.
    Waiting,
    /// The image is being downloaded. Sent at the beginning, about ten times a second, and at the end.
    Progress {
        /// Bytes received so far.
        received: u64,
        /// Bytes that the image has, or 0 as long as (or because) the repository has not told.
        total: u64,
    },
}

/// How long a web server may let us wait. Folders have no limit: their waits can be cancelled, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For finding the server's address, and again for connecting to it (proxy and TLS included). 30 seconds by
    /// default.
    pub connect: Duration,
    /// For the server's answer after the request, and between two pieces of the image. 60 seconds by default: a
    /// repository behind a slow object store may take long to find a large object.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { connect: Duration::from_secs(30), stall: Duration::from_secs(60) }
    }
}
