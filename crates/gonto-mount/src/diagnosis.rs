//! Which roads work here, and what would make the others work.

use crate::Backend;

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
