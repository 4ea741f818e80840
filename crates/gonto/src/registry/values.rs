//! Windows: values are written for a mount, and put back after it.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use gonto_mount::{Interrupt, Notice, Notices, Options};

use super::data::Data;
use super::folder::{Folder, Locked, Run};
use super::journal::{Change, Holder, Journal};
use super::place::Place;
use super::system;
use super::{RegistryError, chain};
use crate::Error;
use crate::config::RegistryValue;

/// Waits for another gonto that are shorter than this are not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long putting back waits for others. What is not put back then, the next gonto puts back.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// The registry, as far as gonto has changed it.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    folder: Folder,
    notices: Notices,
    interrupt: Interrupt,
}

/// Values that are written together. Their drop puts back what was there before, as far as that works; the next gonto does the
/// rest.
#[derive(Debug)]
pub(crate) struct Values {
    registry: Registry,
    keeper: Option<Holder>,
    /// Set when something is written.
    run: Option<Run>,
}

impl Registry {
    /// The registry with its journal in the state folder. Nothing is read or made yet.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            folder: Folder::new(&options.state_dir),
            notices: options.notices.clone(),
            interrupt: options.interrupt.clone(),
        }
    }

    /// Puts back what killed ones have left changed. What does not work is told: it is not the fault of whoever comes next.
    pub(crate) fn tidy_up(&self) {
        // An interrupted run ends with what is to be said about that.
        if let Err(error) = self.try_tidy_up()
            && self.interrupt.signal().is_none()
        {
            self.tell(chain(&error));
        }
    }

    fn try_tidy_up(&self) -> Result<(), RegistryError> {
        if !self.folder.has_journal() {
            return Ok(());
        }
        let locked = self.lock()?;
        let old = locked.read()?;
        let mut journal = old.clone();
        let mut changes = journal.pending();
        changes.extend(journal.release(|holder| !locked.lives(holder)));
        let (put_back, _) = self.carry_out(&mut journal, changes);
        if journal != old {
            locked.write(&journal)?;
        }
        for value in put_back {
            self.tell(format!("a killed gonto had left {value} changed; it is put back"));
        }
        Ok(())
    }

    /// Values to be written. With a `keeper`, a target and its project, they can be kept until
    /// [`release`](Self::release); those that it has already stay as they are.
    pub(crate) fn values(&self, keeper: Option<(&str, &Path)>) -> Values {
        let keeper = keeper.map(|(target, project)| Holder::target(target, project));
        Values { registry: self.clone(), keeper, run: None }
    }

    /// Puts back what was there before values were kept for a target. What killed ones have left is put back too.
    ///
    /// # Errors
    /// [`Error::RegistryNotRestored`].
    pub(crate) fn release(&self, target: &str, project: &Path) -> Result<(), Error> {
        let keeper = Holder::target(target, project);
        let released = self.try_tidy_up().and_then(|()| self.try_release(&keeper));
        released.map_err(Error::RegistryNotRestored)
    }

    fn try_release(&self, keeper: &Holder) -> Result<(), RegistryError> {
        if !self.folder.has_journal() {
            return Ok(());
        }
        self.end(&self.lock()?, keeper)
    }

    /// Puts back what was there before this holder came.
    fn end(&self, locked: &Locked<'_>, holder: &Holder) -> Result<(), RegistryError> {
        let old = locked.read()?;
        let mut journal = old.clone();
        let changes = journal.release(|it| it == holder);
        let (_, left) = self.carry_out(&mut journal, changes);
        if journal != old {
            locked.write(&journal)?;
        }
        if left.is_empty() { Ok(()) } else { Err(RegistryError::Left { values: left }) }
    }

    /// Does what the journal wants; one that fails does not stop the others, and stays in the journal. Returns the names of what
    /// was changed and of what failed, which is told.
    fn carry_out(&self, journal: &mut Journal, changes: Vec<Change>) -> (Vec<String>, Vec<String>) {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for change in changes {
            let value = change.place.to_string();
            match self.put(&change) {
                Ok(changed) => {
                    journal.done(&change.place);
                    done.extend(changed.then_some(value));
                }
                Err(error) => {
                    let error = RegistryError::of(&change.place, "set", error);
                    self.tell(format!("{value} is not put back: {}", chain(&error)));
                    failed.push(value);
                }
            }
        }
        for key in journal.unused_keys() {
            // What holds a key that could not be removed is not empty, and gets another chance with it.
            if journal.has_key_below(&key) {
                continue;
            }
            match system::remove_if_empty(&key) {
                Ok(()) => journal.forget_key(&key),
                Err(error) => {
                    self.tell(format!("the key {key}, which gonto has made, cannot be removed: {error}"));
                }
            }
        }
        (done, failed)
    }

    /// Whether something had to be changed.
    fn put(&self, change: &Change) -> io::Result<bool> {
        let found = system::read(&change.place)?;
        // Nothing that is right is touched: without the rights to write it, it was never changed.
        if found == change.to {
            return Ok(false);
        }
        match &change.to {
            Some(data) => system::write(&change.place, data)?,
            None => system::remove(&change.place)?,
        }
        if change.from.is_some() && found != change.from {
            self.tell(format!(
                "{} was changed by somebody else while gonto had set it; that change is gone now",
                change.place
            ));
        }
        Ok(true)
    }

    /// Locks the journal. Others hold it for moments.
    fn lock(&self) -> Result<Locked<'_>, RegistryError> {
        let mut told = false;
        self.folder.lock(|waited| {
            if waited >= PATIENCE && !std::mem::replace(&mut told, true) {
                self.notices.send(Notice::Waiting { activity: "changes registry values" });
            }
            self.interrupt.signal().map_or(Ok(()), |_| Err(io::ErrorKind::Interrupted.into()))
        })
    }

    /// Locks the journal although the run is interrupted.
    fn lock_to_clean_up(&self) -> Result<Locked<'_>, RegistryError> {
        self.folder
            .lock(|waited| if waited < CLEAN_UP { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) })
    }

    fn tell(&self, message: String) {
        self.notices.send(Notice::Registry { message });
    }
}

impl Values {
    /// Writes the values of one image. `fill_in` replaces the placeholders in text. Several with one name: the last counts.
    ///
    /// # Errors
    /// [`Error::RegistryNotWritten`]; the drop puts back what was written.
    pub(crate) fn write(
        &mut self,
        values: &[RegistryValue],
        fill_in: impl Fn(&str) -> OsString,
    ) -> Result<(), Error> {
        if values.is_empty() {
            return Ok(());
        }
        self.try_write(values, &fill_in).map_err(Error::RegistryNotWritten)
    }

    fn try_write(
        &mut self,
        values: &[RegistryValue],
        fill_in: &impl Fn(&str) -> OsString,
    ) -> Result<(), RegistryError> {
        // All of them are looked at before anything is changed.
        let wanted: Result<Vec<(Place, Data)>, RegistryError> = values
            .iter()
            .map(|value| {
                let place = Place::of(value)?;
                let data = Data::of(value, &place, fill_in)?;
                Ok((place, data))
            })
            .collect();
        let locked = self.registry.lock()?;
        let mut journal = locked.read()?;
        let mut ours = self.run.as_ref().map(Run::holder);
        let (mut writes, mut notices) = (Vec::new(), Vec::new());
        for (place, data) in wanted? {
            let is_set =
                |holder: &Option<Holder>| holder.as_ref().and_then(|it| journal.wish(&place, it)).cloned();
            if is_set(&ours).is_none() && is_set(&self.keeper).as_ref() == Some(&data) {
                continue;
            }
            let holder = match &mut ours {
                Some(holder) => holder.clone(),
                none => none.insert(self.run.insert(locked.new_run()?).holder()).clone(),
            };
            if !journal.knows(&place) {
                let before =
                    system::read(&place).map_err(|error| RegistryError::of(&place, "read", error))?;
                let missing =
                    system::missing(place.key()).map_err(|error| RegistryError::of(&place, "read", error))?;
                journal.add(&place, before, missing);
            }
            let other = journal.set(&place, &holder, &data);
            notices.extend(other.filter(|other| self.keeper.as_ref() != Some(other)).map(|other| {
                format!("{place} was set to something else by {other}, and is now what this target wants")
            }));
            writes.push((place, data));
        }
        if writes.is_empty() {
            return Ok(());
        }
        locked.write(&journal)?;
        for (place, data) in writes {
            system::write(&place, &data).map_err(|error| RegistryError::of(&place, "set", error))?;
            tracing::debug!(%place, kind = data.kind, "set");
        }
        for message in notices {
            self.registry.tell(message);
        }
        Ok(())
    }

    /// Keeps the values for the keeper.
    ///
    /// # Errors
    /// [`Error::RegistryNotWritten`] when that cannot be noted; then what was there before is put back.
    pub(crate) fn keep(mut self) -> Result<(), Error> {
        self.try_keep().map_err(Error::RegistryNotWritten)
    }

    fn try_keep(&mut self) -> Result<(), RegistryError> {
        let (Some(run), Some(keeper)) = (&self.run, &self.keeper) else { return Ok(()) };
        let locked = self.registry.lock()?;
        let mut journal = locked.read()?;
        journal.hand_over(&run.holder(), keeper);
        locked.write(&journal)?;
        if let Some(run) = self.run.take() {
            run.end();
        }
        Ok(())
    }

    /// Puts back what was there before.
    ///
    /// # Errors
    /// [`Error::RegistryNotRestored`].
    pub(crate) fn restore(mut self) -> Result<(), Error> {
        self.end().map_err(Error::RegistryNotRestored)
    }

    fn end(&mut self) -> Result<(), RegistryError> {
        let Some(run) = self.run.take() else { return Ok(()) };
        let locked = self.registry.lock_to_clean_up()?;
        let ended = self.registry.end(&locked, &run.holder());
        // A journal that could not be written names this run, which is dead then.
        run.end();
        ended
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            self.registry.tell(chain(&error));
        }
    }
}
