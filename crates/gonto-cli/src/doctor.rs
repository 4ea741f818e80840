//! `gonto doctor`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

use gonto::Interrupt;
use gonto::config::Settings;
use gonto::doctor::{self, Diagnosis, Outcome};

use crate::commands::{self, Failure};
use crate::output;

/// How wide names are shown.
const NAME_WIDTH: usize = 24;

pub(crate) fn execute(file: Option<PathBuf>) -> Result<(), Failure> {
    let named = file.is_some();
    let settings = match Settings::load(&commands::search(file)?) {
        Ok((settings, warnings)) => {
            commands::warn(&warnings);
            Some(settings)
        }
        Err(error) if !named => {
            if error.diagnostics().iter().any(|diagnostic| diagnostic.place.is_some()) {
                output::rendered(&error.render(output::color()));
            }
            output::warning("no configuration can be used, so the state folder stands for the cache");
            None
        }
        Err(error) => return Err(Failure::Configuration(error)),
    };
    // An interrupted trial takes back what it has mounted.
    let interrupt = commands::interrupt(Interrupt::new().map_err(Failure::Output)?);
    let diagnosis = doctor::diagnose(settings.as_ref(), &interrupt)?;
    if let Some(signal) = interrupt.signal() {
        return Err(gonto::Error::Interrupted { signal }.into());
    }
    match io::stdout().lock().write_all(text(&diagnosis).as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(Failure::Output(error)),
        _ => {}
    }
    if diagnosis.can_mount() { Ok(()) } else { Err(Failure::Told) }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    for (title, roads) in [("roads of gonto run", &diagnosis.run), ("roads of gonto mount", &diagnosis.mount)]
    {
        section(&mut text, title, roads.iter().map(|road| (road.backend.as_str(), &road.outcome)));
    }
    let ingredients = diagnosis.ingredients.iter();
    section(
        &mut text,
        "what they need",
        ingredients.map(|ingredient| (ingredient.name, &ingredient.outcome)),
    );
    text
}

/// A title, and a line for each thing.
fn section<'a>(text: &mut String, title: &str, things: impl Iterator<Item = (&'a str, &'a Outcome)>) {
    let mut things = things.peekable();
    if things.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "{title}:");
    for (name, outcome) in things {
        let said = match outcome {
            Outcome::Works { but } if but.is_empty() => "works".to_owned(),
            Outcome::Works { but } => format!("works, but {}", but.join("; ")),
            Outcome::Fails { why, remedy } => format!("does not work: {why}. Remedy: {remedy}"),
        };
        // Names of folders are in there, and may hold what steers a terminal.
        let _ = writeln!(text, "  {name:NAME_WIDTH$}{}", said.replace(char::is_control, "\u{fffd}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_a_line() {
        let works = Outcome::Works { but: vec![] };
        let limited = Outcome::Works { but: vec!["slowly".to_owned(), "loudly".to_owned()] };
        let fails = Outcome::Fails { why: "no\nroom".to_owned(), remedy: "make some".to_owned() };
        let mut text = String::new();
        let things = [("one", &works), ("two", &limited), ("three", &fails)];
        section(&mut text, "things", things.into_iter());
        section(&mut text, "nothing", std::iter::empty());
        let expected = "things:
  one                     works
  two                     works, but slowly; loudly
  three                   does not work: no\u{fffd}room. Remedy: make some
";
        assert_eq!(text, expected);
    }
}
