//! `gonto image`: results on stdout, problems on stderr.

mod info;
mod listing;
mod time;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use gonto::Interrupt;
use gonto::image::extract::Extracted;
use gonto::image::info::Info;
use gonto::image::manifest::{Manifest, Table, write_links};
use gonto::image::verify::{self, Verified};
use gonto::image::{Error, Image, Options, Place, Progress, Watch};
use indicatif::HumanBytes;
use serde::Serialize;

use crate::arguments::{ImageCommand, ImageFile};
use crate::commands::{self, Failure};
use crate::output;

pub(crate) fn execute(command: ImageCommand) -> Result<(), Failure> {
    match command {
        ImageCommand::Info { image, json } => info(&image, json),
        ImageCommand::Verify { image, json } => verify(&image, json),
        ImageCommand::Ls { image, path, long, recursive, streams, json } => {
            let image = open(&image)?;
            let place = image.find(path.as_encoded_bytes(), false)?;
            let style = listing::Style { long, recursive, streams, json };
            print(|out| Ok(tell(&listing::print(&image, &place, style, out)?)))
        }
        ImageCommand::Cat { image, path } => {
            let image = open(&image)?;
            let place = image.find(path.as_encoded_bytes(), true)?;
            Ok(image.cat(&place, &mut io::stdout().lock())?)
        }
        ImageCommand::Extract { image, destination, paths, force, json } => {
            let image = open(&image)?;
            let mut places = Vec::new();
            for path in &paths {
                places.push(image.find(path.as_encoded_bytes(), false)?);
            }
            if places.is_empty() {
                places.push(image.find(b"", false)?);
            }
            extract(&image, &places, &destination, force, json)
        }
        ImageCommand::Manifest { image, path, streams, links } => {
            let image = open(&image)?;
            let place = image.find(path.as_encoded_bytes(), !links)?;
            if links {
                return print(|out| {
                    write_links(&image, &place, out).map_err(Error::Output)?;
                    Ok(Told::Nothing)
                });
            }
            manifest(&image, &place, if streams { Table::Streams } else { Table::Files })
        }
    }
}

fn info(image: &ImageFile, json: bool) -> Result<(), Failure> {
    let info = Info::read(&image.file, &options(image))?;
    print(|out| {
        if json {
            print_json(&info, out)?;
        } else {
            info::print(&info, out).map_err(Error::Output)?;
        }
        Ok(Told::Nothing)
    })?;
    match info.no_volume {
        Some(why) => Err(Failure::Image(Error::Read { image: image.file.clone(), source: Box::new(why) })),
        None => Ok(()),
    }
}

fn verify(image: &ImageFile, json: bool) -> Result<(), Failure> {
    let verified = verify::verify(&image.file, &options(image))?;
    print(|out| {
        if json {
            print_json(&verified, out)?;
        } else {
            print_findings(&verified, out).map_err(Error::Output)?;
        }
        Ok(if verified.errors == 0 { Told::Nothing } else { Told::Problems })
    })
}

fn print_findings(verified: &Verified, out: &mut dyn Write) -> io::Result<()> {
    for finding in &verified.findings {
        let severity = if finding.is_error { "error" } else { "warning" };
        let problem = finding.problem.replace(char::is_control, "\u{fffd}");
        writeln!(out, "{severity}: {}: {problem}", finding.place)?;
    }
    let Verified { errors, warnings, files, folders, .. } = verified;
    writeln!(out, "{errors} errors, {warnings} warnings in {files} files and {folders} folders")
}

fn open(image: &ImageFile) -> Result<Image, Failure> {
    let image = Image::open(&image.file, &options(image))?;
    if let Some(cut) = image.cut() {
        output::warning(cut);
    }
    Ok(image)
}

fn options(image: &ImageFile) -> Options {
    Options {
        partition: image.partition,
        ignore_checksums: image.ignore_checksums,
        absolute_parents: image.absolute_parents,
    }
}

/// Prints one JSON object as the result of a command.
pub(crate) fn report(value: &impl Serialize) -> Result<(), Failure> {
    print(|out| {
        print_json(value, out)?;
        Ok(Told::Nothing)
    })
}

fn print_json(value: &impl Serialize, out: &mut dyn Write) -> Result<(), Error> {
    serde_json::to_writer_pretty(&mut *out, value)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(out))
        .map_err(Error::Output)
}

fn extract(
    image: &Image,
    places: &[Place],
    destination: &Path,
    force: bool,
    json: bool,
) -> Result<(), Failure> {
    let interrupt = commands::interrupt(Interrupt::new().map_err(Failure::Output)?);
    let bar = output::bar(0, "extracting");
    let progress = |Progress { done, total }| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let watch = Watch { interrupt: &interrupt, progress: &progress };
    let extracted = image.extract(places, destination, force, &watch);
    bar.finish_and_clear();
    let extracted = extracted?;
    let Extracted { files, folders, bytes, .. } = extracted;
    for folder in &extracted.former_files {
        output::warning(&format!(
            "an extraction that was killed had replaced files: as they were before, they are in {}; remove that folder when you \
             do not need them",
            folder.display()
        ));
    }
    if !json {
        let size = HumanBytes(bytes);
        let what = format!("{files} files and {folders} folders, {size}, into {}", destination.display());
        output::step("extracted", &what);
    }
    print(|out| {
        if json {
            print_json(&extracted, out)?;
        }
        Ok(tell(&extracted.problems))
    })
}

fn manifest(image: &Image, place: &Place, table: Table) -> Result<(), Failure> {
    let interrupt = Interrupt::new().map_err(Failure::Output)?;
    let bar = output::bar(0, "reading");
    let progress = |Progress { done, total }| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let manifest = Manifest::new(image, place, table, &Watch { interrupt: &interrupt, progress: &progress });
    bar.finish_and_clear();
    let manifest = manifest?;
    print(|out| {
        manifest.write(out).map_err(Error::Output)?;
        Ok(tell(manifest.problems()))
    })
}

/// Writes results to stdout. A reader that has seen enough and closed the pipe is no failure.
fn print(write: impl FnOnce(&mut dyn Write) -> Result<Told, Error>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = write(&mut out);
    match written.and_then(|told| out.flush().map(|()| told).map_err(Error::Output)) {
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error.into()),
        Ok(Told::Nothing) => Ok(()),
        Ok(Told::Problems) => Err(Failure::Told),
    }
}

/// Whether there was something that makes the exit status 1.
enum Told {
    Nothing,
    Problems,
}

fn tell(problems: &[Error]) -> Told {
    for problem in problems {
        output::image_error(problem);
    }
    if problems.is_empty() { Told::Nothing } else { Told::Problems }
}
