//! The whole way of a target, as the program goes it.

use std::ops::ControlFlow;
use std::path::PathBuf;

use gonto_mount::Written;

use crate::Error;
use crate::target::{Download, ImageDefinition, Mounted, ScriptType, Target};

/// What is going on. The program shows these to its user.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A required image, and whether it is in the cache.
    Required {
        /// The image.
        image: &'a ImageDefinition,
        /// It need not be downloaded.
        cached: bool,
    },
    /// An image is being downloaded.
    Download(&'a Download),
    /// An image has appeared.
    Mounted(&'a Mounted),
    /// The images set registry values, and this system has no registry.
    RegistrySkipped,
    /// A script begins.
    Script(ScriptType),
    /// A line of the script begins.
    Line(&'a str),
    /// What `script` has written to an image, or that there is no room for more. It is about to be thrown away.
    Wrote {
        /// The image.
        mounted: &'a Mounted,
        /// How much it is.
        written: &'a Written,
    },
    /// The images are about to be unmounted.
    Unmounting,
    /// Images could not be unmounted, and something else is what ends the run.
    UnmountFailed(&'a Error),
}

/// Runs a target: `before_script`; check, download and mount of the images; `script`; unmount, whether or not it
/// succeeded; `after_script`, only when it did.
///
/// # Errors
/// The first failure. Its [`exit_code`](Error::exit_code) is the exit status of the run.
pub fn run(target: &mut Target, events: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
    script(target, ScriptType::BeforeScript, events)?;
    pull(target, events)?;
    mount_images(target, false, events)?;
    let outcome = script(target, ScriptType::Script, events);
    for (mounted, written) in target.written() {
        if written.full || written.partial || written.files > 0 || written.deleted > 0 {
            events(Event::Wrote { mounted, written: &written });
        }
    }
    if target.list_required_images().next().is_some() {
        events(Event::Unmounting);
    }
    let unmounted = target.umount_images();
    let outcome = outcome.and_then(|()| script(target, ScriptType::AfterScript, events));
    match unmounted {
        Ok(_) => outcome,
        Err(error) => Err(first_failure(target, outcome, error, events)),
    }
}

/// Downloads what is missing.
///
/// # Errors
/// [`Error::Download`] for the first image that cannot be fetched; [`Error::Interrupted`].
pub fn pull(target: &Target, events: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
    let missing: Vec<ImageDefinition> = target.list_missing_images()?.collect();
    for image in target.list_required_images() {
        let cached = !missing.contains(&image);
        events(Event::Required { image: &image, cached });
    }
    target.download(|download| {
        events(Event::Download(&download));
        ControlFlow::Continue(())
    })
}

/// Downloads what is missing and mounts the images until [`umount`].
///
/// # Errors
/// As for [`Target::mount_images`].
pub fn mount(target: &mut Target, events: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
    pull(target, events)?;
    mount_images(target, true, events)
}

/// Unmounts what [`mount`] has mounted for the target, and returns the folders.
///
/// # Errors
/// As for [`Target::umount_images`].
pub fn umount(target: &mut Target, events: &mut dyn FnMut(Event<'_>)) -> Result<Vec<PathBuf>, Error> {
    target.umount_images().map_err(|error| first_failure(target, Ok(()), error, events))
}

/// What a run ends with when images could not be unmounted: a failure or an interrupt before that goes first, and then
/// `unmount` is told by an event.
fn first_failure(
    target: &Target,
    outcome: Result<(), Error>,
    unmount: Error,
    events: &mut dyn FnMut(Event<'_>),
) -> Error {
    match outcome.and_then(|()| target.check_interrupt()) {
        Ok(()) => unmount,
        Err(first) => {
            if !matches!(unmount, Error::Interrupted { .. }) {
                events(Event::UnmountFailed(&unmount));
            }
            first
        }
    }
}

fn mount_images(
    target: &mut Target,
    permanent: bool,
    events: &mut dyn FnMut(Event<'_>),
) -> Result<(), Error> {
    target.mount(permanent, |mounted| events(Event::Mounted(mounted)))?;
    if !cfg!(windows) && target.list_required_images().any(|image| !image.reg.is_empty()) {
        events(Event::RegistrySkipped);
    }
    Ok(())
}

fn script(
    target: &mut Target,
    script_type: ScriptType,
    events: &mut dyn FnMut(Event<'_>),
) -> Result<(), Error> {
    if !target.has_script(script_type) {
        return Ok(());
    }
    events(Event::Script(script_type));
    target.run_script_lines(script_type, |line| events(Event::Line(line)))
}
