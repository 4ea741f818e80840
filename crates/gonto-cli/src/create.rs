//! `gonto create`.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use gonto::Interrupt;
use gonto::create::{self, Error, Made, Options, Progress, Watch};
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use serde::Serialize;

use crate::arguments::CreateArguments;
use crate::commands::{self, Failure};
use crate::{image, output};

pub(crate) fn execute(arguments: &CreateArguments) -> Result<(), Failure> {
    let CreateArguments { folder, image: file, json, .. } = arguments;
    let options = Options {
        label: arguments.label.clone(),
        overprovisioning: arguments.overprovisioning,
        dynamic: arguments.dynamic,
        exclude: arguments.exclude.clone(),
        order: arguments.order.clone(),
        portable: arguments.portable,
        keep_links: arguments.keep_links,
        owners: arguments.owners,
        newest: create::source_date_epoch()?,
        sha256: arguments.sha256,
    };
    let interrupt = commands::interrupt(Interrupt::new().map_err(Failure::Output)?);
    let start = Instant::now();
    let name = file.display().to_string();
    let shown = Shown::new(&name);
    let progress = |progress| shown.show(progress);
    let made = create::create(folder, file, &options, &Watch { interrupt: &interrupt, progress: &progress });
    shown.clear();
    let made = made.inspect_err(|error| {
        if let Error::Offenders(offenders) = error {
            for offender in offenders {
                output::step("refused", &one_line(&offender.to_string()));
            }
        }
    })?;
    for (path, name) in &made.created.renamed {
        output::step("renamed", &one_line(&format!("{} to {name}", path.display())));
    }
    let time = start.elapsed();
    if !json {
        tell(&name, &made, time);
        return Ok(());
    }
    let report = Report::new(&name, &made, time);
    image::report(&report)
}

/// A name must not look like another message.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// The summary for people.
fn tell(image: &str, made: &Made, time: Duration) {
    let Made { created, size, sha256, .. } = made;
    let count = |number: u64, one: &str| {
        let plural = if number == 1 { "" } else { "s" };
        format!("{} {one}{plural}", HumanCount(number))
    };
    let rate = u128::from(created.stored) * 1000 / time.as_millis().max(1);
    let rate = HumanBytes(u64::try_from(rate).unwrap_or(u64::MAX));
    output::step("created", &format!("{image}, {} in {:.1} s", HumanBytes(*size), time.as_secs_f64()));
    let what = [count(created.files, "file"), count(created.folders, "folder"), count(created.links, "link")];
    output::step("holds", &format!("{}; {}, {}/s", what.join(", "), HumanBytes(created.content), rate));
    let overhead = created.overhead();
    let clusters = created.cluster;
    output::step(
        "disk",
        &format!(
            "{} free, {} of NTFS itself, clusters of {clusters} bytes",
            HumanBytes(created.free),
            HumanBytes(overhead)
        ),
    );
    if let Some(sha256) = sha256 {
        output::step("sha256", sha256);
    }
}

/// The summary for programs.
#[derive(Serialize)]
struct Report<'r> {
    image: &'r str,
    /// Of the file, its holes included.
    size: u64,
    files: u64,
    folders: u64,
    links: u64,
    /// Of all files, in bytes.
    content: u64,
    /// Of the disk, in bytes.
    disk: u64,
    free: u64,
    /// How much of it is not in holes.
    stored: u64,
    /// What is neither stored content nor free.
    overhead: u64,
    cluster: u64,
    seconds: f64,
    sha256: Option<&'r str>,
    renamed: Vec<Renamed<'r>>,
}

#[derive(Serialize)]
struct Renamed<'r> {
    path: String,
    name: &'r str,
}

impl<'r> Report<'r> {
    fn new(image: &'r str, made: &'r Made, time: Duration) -> Self {
        let created = &made.created;
        let renamed = created.renamed.iter();
        Self {
            image,
            size: made.size,
            files: created.files,
            folders: created.folders,
            links: created.links,
            content: created.content,
            stored: created.stored,
            disk: created.disk,
            free: created.free,
            overhead: created.overhead(),
            cluster: created.cluster,
            seconds: time.as_secs_f64(),
            sha256: made.sha256.as_deref(),
            renamed: renamed.map(|(path, name)| Renamed { path: path.display().to_string(), name }).collect(),
        }
    }
}

/// A bar where somebody watches, a line now and then elsewhere.
struct Shown {
    bar: ProgressBar,
    what: String,
    is_watched: bool,
    /// When a line was printed last.
    told: Mutex<Instant>,
}

/// In a log nobody wants more.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

impl Shown {
    fn new(what: &str) -> Self {
        Self {
            bar: output::bar(0, "looking"),
            what: what.to_owned(),
            is_watched: stderr().is_terminal(),
            told: Mutex::new(Instant::now()),
        }
    }

    fn show(&self, progress: Progress) {
        if self.is_watched {
            self.bar(progress);
        } else {
            match progress {
                Progress::Writing { done, total } => self.line("writing", done, total),
                Progress::Hashing { done, total } => self.line("hashing", done, total),
                Progress::Looking(_) | Progress::Syncing => {}
            }
        }
    }

    fn bar(&self, progress: Progress) {
        match progress {
            Progress::Looking(names) => self.bar.set_message(format!("looking, {} names", HumanCount(names))),
            Progress::Writing { done, total } | Progress::Hashing { done, total } => {
                let what = if matches!(progress, Progress::Hashing { .. }) { "hashing" } else { "writing" };
                self.bar.set_message(what);
                self.bar.set_length(total);
                self.bar.set_position(done);
            }
            Progress::Syncing => self.bar.set_message("syncing"),
        }
    }

    fn line(&self, verb: &str, done: u64, total: u64) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.elapsed() >= BETWEEN_LINES {
            let percent = (u128::from(done) * 100).checked_div(total.into()).unwrap_or(100);
            output::step(verb, &format!("{}, {percent} % of {}", self.what, HumanBytes(total)));
            *told = Instant::now();
        }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
