//! Which road an image takes from its file to a folder.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The road that images take. A road that was asked for by name is taken or fails; it never becomes another one.
///
/// ```
/// use gonto_mount::Backend;
/// assert_eq!("fuse".parse::<Backend>()?, Backend::Fuse);
/// assert_eq!(Backend::default().to_string(), "auto");
/// # Ok::<(), gonto_mount::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Backend {
    /// The fastest one that works here.
    #[default]
    Auto,
    /// The kernel reads the image itself, by an index in the format of EROFS.
    Erofs,
    /// gonto serves the files of the image to the kernel.
    Fuse,
    /// Windows attaches a child of the image as a disk.
    Virtdisk,
    /// The files are unpacked into the cache.
    Extract,
}

/// One road of this system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Road {
    #[cfg(not(windows))]
    Erofs,
    #[cfg(not(windows))]
    Fuse,
    #[cfg(windows)]
    Virtdisk,
    Extract,
}

impl Road {
    /// The roads of this system, the fastest first.
    #[cfg(not(windows))]
    const ALL: &[Self] = &[Self::Erofs, Self::Fuse, Self::Extract];
    #[cfg(windows)]
    const ALL: &[Self] = &[Self::Virtdisk, Self::Extract];

    fn backend(self) -> Backend {
        match self {
            #[cfg(not(windows))]
            Self::Erofs => Backend::Erofs,
            #[cfg(not(windows))]
            Self::Fuse => Backend::Fuse,
            #[cfg(windows)]
            Self::Virtdisk => Backend::Virtdisk,
            Self::Extract => Backend::Extract,
        }
    }
}

impl Backend {
    /// Every backend of every system, in the order in which messages list them. One configuration serves all systems.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Erofs, Self::Fuse, Self::Virtdisk, Self::Extract];

    /// Those that this system has, the fastest first.
    pub fn here() -> impl Iterator<Item = Self> {
        Road::ALL.iter().map(|road| road.backend())
    }

    /// The spelling in configurations and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Erofs => "erofs",
            Self::Fuse => "fuse",
            Self::Virtdisk => "virtdisk",
            Self::Extract => "extract",
        }
    }

    /// Takes the first road that works. `take` is told why the one before is closed, or that this one was asked for.
    ///
    /// # Errors
    /// What closed the last road; what has nothing to do with roads (a mount point that is taken, say) at once;
    /// [`Error::NotOnThisSystem`].
    pub(crate) fn first_that_works<T>(
        self,
        mut take: impl FnMut(Road, &str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let roads = Road::ALL.iter().copied().filter(|road| self == Self::Auto || road.backend() == self);
        let roads: Vec<Road> = roads.collect();
        let Some((&first, others)) = roads.split_first() else {
            return Err(Error::NotOnThisSystem { backend: self });
        };
        let mut road = first;
        let mut outcome = take(road, &format!("the backend {self} was chosen"));
        for &next in others {
            let Err(error) = &outcome else { break };
            let Some(reason) = error.closes_a_road() else { break };
            tracing::debug!(?road, reason, ?next, "a road is closed; the next one is tried");
            road = next;
            outcome = take(road, &reason);
        }
        outcome.map_err(|error| match self {
            Self::Auto => error,
            _ if error.closes_a_road().is_none() => error,
            backend => Error::Backend { backend, source: Box::new(error) },
        })
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Backend {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|backend| backend.as_str() == text);
        found.ok_or_else(|| Error::UnknownBackend { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn closed(why: &str) -> Error {
        Error::Mount { image: "/i.vhd".into(), path: "/p".into(), source: io::Error::other(why.to_owned()) }
    }

    #[test]
    fn every_name_is_read_as_it_is_written() {
        for backend in Backend::ALL {
            assert_eq!(backend.to_string().parse::<Backend>().unwrap(), backend);
        }
        for wrong in ["", "FUSE", "Auto", "fuse ", "unpack"] {
            let error = wrong.parse::<Backend>().unwrap_err();
            assert!(error.to_string().ends_with("use auto, erofs, fuse, virtdisk or extract"), "{error}");
        }
    }

    #[test]
    fn every_system_unpacks_and_has_no_roads_of_others() {
        let here: Vec<Backend> = Backend::here().collect();
        assert_eq!(here.last(), Some(&Backend::Extract));
        let elsewhere = if cfg!(windows) { Backend::Erofs } else { Backend::Virtdisk };
        assert!(!here.contains(&elsewhere));
        let outcome: Result<(), _> = elsewhere.first_that_works(|road, _| panic!("{road:?} was taken"));
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains(elsewhere.as_str()) && text.contains("or extract"), "{text}");
    }

    #[cfg(not(windows))]
    #[test]
    fn auto_goes_on_to_the_next_road_and_tells_it_why() {
        let mut tried = Vec::new();
        let outcome = Backend::Auto.first_that_works(|road, reason| {
            tried.push((road, reason.to_owned()));
            if road == Road::Extract { Ok("unpacked") } else { Err(closed(&format!("{road:?} is closed"))) }
        });
        assert_eq!(outcome.unwrap(), "unpacked");
        let roads: Vec<_> = tried.iter().map(|(road, _)| *road).collect();
        assert_eq!(roads, [Road::Erofs, Road::Fuse, Road::Extract]);
        assert_eq!((&*tried[1].1, &*tried[2].1), ("Erofs is closed", "Fuse is closed"));
    }

    #[cfg(not(windows))]
    #[test]
    fn auto_stops_at_the_first_road_that_works() {
        let mut tried = 0;
        let outcome = Backend::Auto.first_that_works(|road, _| {
            tried += 1;
            if road == Road::Fuse { Ok(road) } else { Err(closed("closed")) }
        });
        assert_eq!((outcome.unwrap(), tried), (Road::Fuse, 2));
    }

    #[test]
    fn a_road_that_was_asked_for_is_the_only_one() {
        for wanted in Road::ALL.iter().copied() {
            let backend = wanted.backend();
            let mut tried = Vec::new();
            let outcome: Result<(), _> = backend.first_that_works(|road, _| {
                tried.push(road);
                Err(closed("closed"))
            });
            assert_eq!(tried, [wanted]);
            let error = outcome.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(backend.as_str()) && text.contains("gonto doctor"), "{text}");
            assert!(matches!(error, Error::Backend { source, .. } if matches!(*source, Error::Mount { .. })));
        }
    }

    /// Another road would fail for the same reason, or hide it.
    #[test]
    fn what_is_no_matter_of_roads_ends_it_at_once() {
        for backend in Backend::here().chain([Backend::Auto]) {
            let mut tried = 0;
            let outcome: Result<(), _> = backend.first_that_works(|_, _| {
                tried += 1;
                Err(Error::MountPointNotAFolder { path: "/p".into() })
            });
            assert!(matches!(outcome, Err(Error::MountPointNotAFolder { .. })));
            assert_eq!(tried, 1);
        }
    }
}
