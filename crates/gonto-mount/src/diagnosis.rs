//! Which roads work here, and what would make the others work.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use gonto_image::{NewContainer, NewImage};

use crate::{Backend, Error, Image, MountPoint};

/// What [`diagnose`](crate::diagnose) has found out. All of it was tried, by this user, at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The roads of a [`Session`](crate::Session), the fastest first.
    pub run: Vec<RoadCheck>,
    /// The roads of [`Mounts`](crate::Mounts), in the same order.
    pub mount: Vec<RoadCheck>,
    /// What the roads are made of.
    pub ingredients: Vec<Ingredient>,
}

/// A road, and whether an image got through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoadCheck {
    /// The road; never [`Backend::Auto`].
    pub backend: Backend,
    /// Whether it works.
    pub outcome: Outcome,
}

/// Something that a road may need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ingredient {
    /// What it is, in few words.
    pub name: &'static str,
    /// Whether it works.
    pub outcome: Outcome,
}

/// Whether something works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It does.
    Works {
        /// What is not as one may expect, each a clause.
        but: Vec<String>,
    },
    /// It does not.
    Fails {
        /// Why.
        why: String,
        /// What to do about it.
        remedy: String,
    },
}

impl Outcome {
    /// Whether it works at all.
    #[must_use]
    pub fn works(&self) -> bool {
        matches!(self, Self::Works { .. })
    }
}

impl Diagnosis {
    /// Whether a run can mount images, in place of unpacking them.
    #[must_use]
    pub fn can_mount(&self) -> bool {
        self.run.iter().any(|road| road.backend != Backend::Extract && road.outcome.works())
    }
}

impl Ingredient {
    /// What came out when it was tried.
    pub(crate) fn tried<E: ToString>(
        name: &'static str,
        tried: Result<(), E>,
        remedy: impl FnOnce() -> String,
    ) -> Self {
        let outcome = match tried {
            Ok(()) => Outcome::Works { but: Vec::new() },
            Err(why) => Outcome::Fails { why: why.to_string(), remedy: remedy() },
        };
        Self { name, outcome }
    }
}

/// The content of the file in the image of a trial.
pub(crate) const PROOF: &str = "arrived\n";

/// An image with one file, `proof`, in `folder`; made when it is first needed.
pub(crate) fn trial_image(folder: &Path) -> Result<Image, Error> {
    let (content, file) = (folder.join("content"), folder.join("trial.vhd"));
    if !file.exists() {
        let failed = |source| Error::State { path: file.clone(), source };
        fs::create_dir_all(&content).map_err(failed)?;
        fs::write(content.join("proof"), PROOF).map_err(failed)?;
        let wanted = NewImage::new(NewContainer::DynamicVhd, "gonto doctor");
        let output = File::options().read(true).write(true).create_new(true).open(&file).map_err(failed)?;
        gonto_image::create(&content, output, &wanted, &|_| ControlFlow::Continue(()))
            .map_err(|error| failed(io::Error::other(error)))?;
    }
    Ok(Image { file, mount_point: MountPoint::Automatic })
}

/// Whether the file of that image can be read where it is shown.
pub(crate) fn read_proof(image: &Image, shown: &Path) -> Result<(), Error> {
    match fs::read_to_string(shown.join("proof")) {
        Ok(text) if text == PROOF => Ok(()),
        Ok(_) => Err(unreadable(image, shown, io::ErrorKind::InvalidData.into())),
        Err(error) => Err(unreadable(image, shown, error)),
    }
}

/// The image has arrived, and what is in it has not.
pub(crate) fn unreadable(image: &Image, shown: &Path, source: io::Error) -> Error {
    let source = io::Error::new(source.kind(), format!("it is mounted, but cannot be read: {source}"));
    Error::Mount { image: image.file.clone(), path: shown.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_is_not_mounting() {
        let works = || Outcome::Works { but: vec![] };
        let fails = || Outcome::Fails { why: String::new(), remedy: String::new() };
        let diagnosis = |erofs, fuse, extract| {
            let roads = [(Backend::Erofs, erofs), (Backend::Fuse, fuse), (Backend::Extract, extract)];
            let run = roads.map(|(backend, outcome)| RoadCheck { backend, outcome }).to_vec();
            Diagnosis { mount: run.clone(), run, ingredients: vec![] }
        };
        assert!(diagnosis(fails(), works(), works()).can_mount());
        assert!(diagnosis(works(), fails(), fails()).can_mount());
        assert!(!diagnosis(fails(), fails(), works()).can_mount());
    }
}
