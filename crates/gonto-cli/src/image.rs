//! `gonto image`: results on stdout, problems on stderr.

mod listing;
mod time;

use std::io::{self, BufWriter, Write};

use gonto::Interrupt;
use gonto::image::manifest::{Manifest, Table, write_links};
use gonto::image::{Error, Image, Options, Place, Progress, Watch};

use crate::arguments::{ImageCommand, ImageFile};
use crate::commands::Failure;
use crate::output;

pub(crate) fn execute(command: ImageCommand) -> Result<(), Failure> {
    match command {
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

fn open(image: &ImageFile) -> Result<Image, Failure> {
    let options = Options {
        partition: image.partition,
        ignore_checksums: image.ignore_checksums,
        absolute_parents: image.absolute_parents,
    };
    Ok(Image::open(&image.file, &options)?)
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
