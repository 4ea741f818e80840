//! The registry itself.

use std::io;
use std::ops::Deref;

use windows_registry::{
    CLASSES_ROOT, CURRENT_CONFIG, CURRENT_USER, Key as Handle, LOCAL_MACHINE, OpenOptions, Type, USERS,
};

use super::data::Data;
use super::place::{Key, Place};
use crate::config::RegistryRoot;

/// Asks for rights to a key.
type How = for<'a> fn(&'a mut OpenOptions<'static>) -> &'a mut OpenOptions<'static>;

/// A key that is open. Roots always are, and must not be closed.
enum Opened {
    Root(&'static Handle),
    Key(Handle),
}

impl Deref for Opened {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        match self {
            Self::Root(handle) => handle,
            Self::Key(handle) => handle,
        }
    }
}

/// What is there; none when there is no such value.
///
/// # Errors
/// What the system says.
pub(super) fn read(place: &Place) -> io::Result<Option<Data>> {
    let Some(key) = if_there(open(place.key(), OpenOptions::read))? else { return Ok(None) };
    let Some(value) = if_there(system(key.get_value(place.name())))? else { return Ok(None) };
    // The size is asked first, and the bytes then: one that became shorter in between would seem to end with zeroes.
    if system(key.get_value(place.name()))? != value {
        return Err(io::Error::other("another program is changing it at this moment"));
    }
    Ok(Some(Data { kind: value.ty().into(), bytes: value.to_vec() }))
}

/// Sets a value. Keys that are missing are made.
///
/// # Errors
/// What the system says.
pub(super) fn write(place: &Place, data: &Data) -> io::Result<()> {
    let key = open(place.key(), |options| options.write().create())?;
    // The system looks at the unit behind a string that does not end with a NUL, and takes it for part of the string if it is
    // one; and it wants an address that could be one even where there are no bytes.
    let guarded = [&*data.bytes, &[0xff; 2]].concat();
    let bytes = guarded.get(..data.bytes.len()).unwrap_or_default();
    // Known types are given as numbers too: what was there before need not fit its type, and the crate would mind.
    system(key.set_bytes(place.name(), Type::Other(data.kind), bytes))
}

/// Removes a value; that it is not there is fine.
///
/// # Errors
/// What the system says.
pub(super) fn remove(place: &Place) -> io::Result<()> {
    let Some(key) = if_there(open(place.key(), OpenOptions::write))? else { return Ok(()) };
    if_there(system(key.remove_value(place.name()))).map(drop)
}

/// The keys that would have to be made for this one, itself included.
///
/// # Errors
/// What the system says.
pub(super) fn missing(key: &Key) -> io::Result<Vec<Key>> {
    let mut missing = Vec::new();
    for key in key.upwards() {
        if if_there(open(&key, OpenOptions::read))?.is_some() {
            break;
        }
        missing.push(key);
    }
    Ok(missing)
}

/// Removes a key that holds neither values nor keys; others stay, and that it is not there is fine. Never a root.
///
/// # Errors
/// What the system says.
pub(super) fn remove_if_empty(key: &Key) -> io::Result<()> {
    let Some(opened) = if_there(open(key, OpenOptions::read))? else { return Ok(()) };
    let is_empty = system(opened.keys())?.next().is_none() && system(opened.values())?.next().is_none();
    drop(opened);
    if key.is_root() || !is_empty {
        return Ok(());
    }
    // This would take what lies below too, but there is nothing.
    if_there(system(root(key.root())?.remove_tree(key.path()))).map(drop)
}

fn open(key: &Key, how: How) -> io::Result<Opened> {
    let root = root(key.root())?;
    if key.is_root() {
        return Ok(Opened::Root(root));
    }
    system(how(&mut root.options()).open(key.path())).map(Opened::Key)
}

fn root(root: RegistryRoot) -> io::Result<&'static Handle> {
    match root {
        RegistryRoot::ClassesRoot => Ok(CLASSES_ROOT),
        RegistryRoot::CurrentConfig => Ok(CURRENT_CONFIG),
        RegistryRoot::CurrentUser => Ok(CURRENT_USER),
        RegistryRoot::LocalMachine => Ok(LOCAL_MACHINE),
        RegistryRoot::Users => Ok(USERS),
        RegistryRoot::DynData | RegistryRoot::PerformanceData => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// The crate has the numbers of Windows (winerror.h) as HRESULTs; as such, Rust would not know what they mean.
fn system<T>(result: windows_registry::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.code().0 {
        code if (code >> 16) & 0x1fff == FACILITY_WIN32 => io::Error::from_raw_os_error(code & 0xffff),
        code => io::Error::from_raw_os_error(code),
    })
}

const FACILITY_WIN32: i32 = 7;
