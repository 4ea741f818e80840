//! What the user reads, all on stderr.

use std::error::Error;
use std::io::{IsTerminal, Write, stderr};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use gonto::run::Event;
use gonto::target::{Download, DownloadEvent};
use gonto::{Layer, Written};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

const STEP: Style = AnsiColor::Green.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// `GONTO_DEBUG` shows what the library tells.
pub(crate) fn start_log() {
    if std::env::var_os("GONTO_DEBUG").is_some_and(|value| !value.is_empty()) {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(stderr)
            .with_ansi(color())
            .init();
    }
}

/// Whether stderr takes colours: a terminal, and neither NO_COLOR nor a dumb one.
pub(crate) fn color() -> bool {
    AutoStream::choice(&stderr()) != anstream::ColorChoice::Never
}

fn line(style: Style, head: &str, text: &str) {
    // Nobody is left to tell when stderr does not work.
    let _ = writeln!(anstream::stderr(), "{style}{head}{style:#}{}", harmless(text));
}

/// Names come from images and servers, and may hold what steers a terminal.
fn harmless(text: &str) -> String {
    text.replace(|character: char| character.is_control() && !matches!(character, '\n' | '\t'), "\u{fffd}")
}

/// Something that is done: a verb and its object.
pub(crate) fn step(verb: &str, object: &str) {
    line(STEP, &format!("{verb:>11}"), &format!(" {object}"));
}

pub(crate) fn warning(text: &str) {
    line(WARNING, "warning", &format!(": {text}"));
}

/// Text that is complete with colours.
pub(crate) fn rendered(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// An error and what caused it, each once.
pub(crate) fn error(error: &gonto::Error) {
    with_causes(ERROR, "error", error);
}

/// The same for something about an image or a folder. Names in an image may hold what steers a terminal, or what would look like another
/// message.
pub(crate) fn image_error(error: &dyn Error) {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    let causes = causes.map(|cause| ("  caused by", cause.to_string()));
    for (head, text) in std::iter::once(("error", error.to_string())).chain(causes) {
        line(ERROR, head, &format!(": {}", text.replace(char::is_control, "\u{fffd}")));
    }
}

fn with_causes(style: Style, head: &str, error: &gonto::Error) {
    line(style, head, &format!(": {error}"));
    causes(style, error.source());
    if let gonto::Error::Unmount { errors } = error {
        for error in errors {
            causes(style, Some(error));
        }
    }
}

pub(crate) fn failure(what: &str, source: &(dyn Error + 'static)) {
    line(ERROR, "error", &format!(": {what}"));
    causes(ERROR, Some(source));
}

fn causes(style: Style, mut source: Option<&(dyn Error + 'static)>) {
    while let Some(error) = source {
        line(style, "  caused by", &format!(": {error}"));
        source = error.source();
    }
}

/// Shows the events of a run: a bar for a download where somebody watches, lines elsewhere.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// Which of the downloads was told last.
    current: usize,
    /// The last tenth of it that was told.
    tenth: u64,
    begun: bool,
    finished: bool,
    waiting: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { bar: None, current: 0, tenth: 0, begun: false, finished: false, waiting: false }
    }

    pub(crate) fn receiver(mut self) -> impl FnMut(Event<'_>) {
        move |event| self.show(&event)
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Required { image, cached: true } => step("cached", &image.path),
            Event::Required { image, cached: false } => step("missing", &image.path),
            Event::Download(download) => self.download(download),
            Event::Mounted(mounted) => {
                let verb = if mounted.already { "is mounted" } else { "mounted" };
                step(verb, &format!("{} at {}", mounted.image.path, mounted.mount_point.display()));
            }
            Event::RegistrySkipped => warning("registry values are skipped: only Windows has a registry"),
            Event::Script(script) => step("running", script.as_str()),
            Event::Line(text) => line(DIM, "$ ", text),
            Event::Wrote { mounted, written } => wrote(&mounted.mount_point.to_string_lossy(), written),
            Event::Unmounting => step("unmounting", "the images"),
            Event::UnmountFailed(error) => with_causes(WARNING, "warning", error),
        }
    }

    fn download(&mut self, download: &Download) {
        let what = format!("{} ({}/{})", download.image.path, download.current, download.count);
        if self.current != download.current {
            *self = Self { current: download.current, ..Self::new() };
        }
        match download.event {
            DownloadEvent::Waiting => {
                if !std::mem::replace(&mut self.waiting, true) {
                    step("waiting", &format!("for another gonto that downloads {what}"));
                }
            }
            DownloadEvent::Progress { received, total } => {
                // The end may be told more than once.
                if self.finished {
                    return;
                }
                self.finished = total > 0 && received == total;
                if stderr().is_terminal() {
                    self.bar(received, total, &what);
                } else {
                    self.lines(received, total, &what);
                }
                if self.finished {
                    step("downloaded", &format!("{what}, {}", HumanBytes(total)));
                }
            }
        }
    }

    fn bar(&mut self, received: u64, total: u64, what: &str) {
        let bar = self.bar.get_or_insert_with(|| bar(total, what));
        bar.set_length(total.max(received));
        bar.set_position(received);
        if self.finished {
            bar.finish_and_clear();
        }
    }

    /// A line at the beginning and at every tenth.
    fn lines(&mut self, received: u64, total: u64, what: &str) {
        if !std::mem::replace(&mut self.begun, true) {
            step("downloading", what);
        }
        let tenth = (u128::from(received) * 10).checked_div(total.into()).unwrap_or(0);
        let tenth = u64::try_from(tenth).unwrap_or(0);
        if tenth > self.tenth && tenth < 10 {
            step("downloading", &format!("{what}, {tenth}0 %"));
            self.tenth = tenth;
        }
    }
}

/// What a run has written to an image, and if there was no room for more what can be done about that.
fn wrote(mount_point: &str, written: &Written) {
    let least = if written.partial { "at least " } else { "" };
    let files = match written.files {
        0 => None,
        1 => Some("1 file".to_owned()),
        files => Some(format!("{} files", HumanCount(files))),
    };
    let deleted = HumanCount(written.deleted);
    let bytes = HumanBytes(written.bytes);
    match files {
        None if written.deleted == 0 && !written.partial => {}
        None => step("deleted", &format!("{least}{deleted} in {mount_point} (thrown away)")),
        Some(files) if written.deleted == 0 => {
            step("wrote", &format!("{least}{files}, {bytes} to {mount_point} (thrown away)"));
        }
        Some(files) => {
            step(
                "wrote",
                &format!("{least}{files}, {bytes} to {mount_point}, deleted {deleted} (thrown away)"),
            );
        }
    }
    if written.full {
        let (what, remedy) = match written.layer {
            // Nothing is written there.
            Layer::None => return,
            Layer::Cache => (
                "the cache's file system",
                "make room there, or keep the writes in memory (--layer memory)".to_owned(),
            ),
            Layer::Memory { limit: None } => (
                "half of the memory",
                "give it more with a layer_limit (--layer-limit), or use the disk (--layer cache)".to_owned(),
            ),
            Layer::Memory { limit: Some(limit) } => {
                ("its limit", format!("raise layer_limit (--layer-limit) above {}", HumanBytes(limit.get())))
            }
        };
        warning(&format!(
            "no room was left for what is written to {mount_point}, because {what} is used up: {remedy}"
        ));
    }
}

/// A bar on stderr that counts bytes. It is only seen on a terminal.
pub(crate) fn bar(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn messages_do_not_steer_the_terminal() {
        assert_eq!(
            harmless("Grüße\tx\n\x1b]0;title\x07\u{9b}1m"),
            "Grüße\tx\n\u{fffd}]0;title\u{fffd}\u{fffd}1m"
        );
    }
}
