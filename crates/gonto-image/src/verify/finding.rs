//! What a verification finds.

use std::fmt;

/// What [`verify`](super::verify) has found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    findings: Vec<Finding>,
    errors: u64,
    warnings: u64,
    files: u64,
    directories: u64,
}

impl Verification {
    /// What was found, in the order in which it was met: the first thousand errors and the first thousand warnings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many errors there are, those that were not kept included.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// How many warnings there are, those that were not kept included.
    #[must_use]
    pub fn warnings(&self) -> u64 {
        self.warnings
    }

    /// Whether there is no error. There may be warnings.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.errors == 0
    }

    /// How many files were verified, those that NTFS itself is made of included.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files
    }

    /// How many directories were verified.
    #[must_use]
    pub fn directories(&self) -> u64 {
        self.directories
    }
}

/// One thing that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Number of the record in `$MFT` that it is about; `None` for the volume as a whole.
    pub record: Option<u64>,
    /// Path of that file, as far as it could be told: with slashes, empty for the root directory and the volume as a whole.
    pub path: String,
    /// A sentence without a full stop: what was expected, what was found, and where.
    pub problem: String,
}

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Nothing that is shown is affected: space that is lost, a copy that is missing.
    Warning,
    /// Structures contradict each other.
    Error,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.record, self.path.as_str()) {
            (None, _) => write!(f, "the volume: {}", self.problem),
            (Some(record), "") => write!(f, "record {record}: {}", self.problem),
            (Some(record), path) => write!(f, "record {record} ({path}): {}", self.problem),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Of each severity. A volume with more of them is not repaired one by one.
const MOST_KEPT: u64 = 1000;

/// Findings as they come.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) kept: Vec<Finding>,
    errors: u64,
    warnings: u64,
}

impl Findings {
    pub(super) fn error(&mut self, record: impl Into<Option<u64>>, problem: impl fmt::Display) {
        self.add(Severity::Error, record.into(), problem);
    }

    pub(super) fn warning(&mut self, record: impl Into<Option<u64>>, problem: impl fmt::Display) {
        self.add(Severity::Warning, record.into(), problem);
    }

    fn add(&mut self, severity: Severity, record: Option<u64>, problem: impl fmt::Display) {
        if self.count(severity) {
            let problem = problem.to_string();
            self.kept.push(Finding { severity, record, path: String::new(), problem });
        }
    }

    /// Counts one more, and tells whether it is to be kept.
    fn count(&mut self, severity: Severity) -> bool {
        let count = match severity {
            Severity::Warning => &mut self.warnings,
            Severity::Error => &mut self.errors,
        };
        *count += 1;
        *count <= MOST_KEPT
    }

    /// Adds those that were found elsewhere.
    pub(super) fn append(&mut self, other: Self) {
        let (errors, warnings) = (self.errors + other.errors, self.warnings + other.warnings);
        for finding in other.kept {
            if self.count(finding.severity) {
                self.kept.push(finding);
            }
        }
        (self.errors, self.warnings) = (errors, warnings);
    }

    pub(super) fn into_verification(self, files: u64, directories: u64) -> Verification {
        let Self { kept, errors, warnings } = self;
        Verification { findings: kept, errors, warnings, files, directories }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_where_findings_are_not_kept() {
        let mut all = Findings::default();
        for part in 0..3 {
            let mut findings = Findings::default();
            for number in 0..700 {
                findings.error(number, part);
            }
            findings.warning(None, "w");
            all.append(findings);
        }
        let verification = all.into_verification(0, 0);
        assert_eq!((verification.errors(), verification.warnings()), (2100, 3));
        assert_eq!(verification.findings().len(), 1003);
        assert!(!verification.is_sound());
    }
}
