//! A console without a window.

use std::ffi::c_void;
use std::io::{self, PipeWriter, Read};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::{env, ptr, thread};

use windows_sys::Win32::System::Console::{COORD, ClosePseudoConsole, CreatePseudoConsole, HPCON};
use windows_sys::Win32::System::Threading::{
    CREATE_UNICODE_ENVIRONMENT, CreateProcessW, EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess,
    InitializeProcThreadAttributeList, PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE, PROCESS_INFORMATION,
    STARTF_USESTDHANDLES, STARTUPINFOEXW, UpdateProcThreadAttribute, WaitForSingleObject,
};

use crate::support::environment;

/// This program at a console of its own.
pub(crate) struct AtConsole {
    console: Option<HPCON>,
    /// Nobody types, but somebody might.
    _keys: PipeWriter,
    process: OwnedHandle,
}

impl AtConsole {
    /// Starts this program as `console`, about `what`, in `folder`.
    pub(crate) fn start(what: &str, folder: &Path) -> io::Result<Self> {
        let (input, keys) = io::pipe()?;
        let (mut shown, output) = io::pipe()?;
        let mut console: HPCON = 0;
        // SAFETY: two open handles, which the console copies, and a variable of ours.
        let result = unsafe {
            let size = COORD { X: 80, Y: 25 };
            CreatePseudoConsole(size, input.as_raw_handle(), output.as_raw_handle(), 0, &raw mut console)
        };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        drop((input, output));
        // A console that nobody looks at stops.
        thread::spawn(move || shown.read_to_end(&mut Vec::new()));
        let process = start(console, what, folder)?;
        Ok(Self { console: Some(console), _keys: keys, process })
    }

    /// Closes the window, as it were.
    pub(crate) fn close(&mut self) {
        if let Some(console) = self.console.take() {
            // SAFETY: it is open, and not used after this.
            unsafe { ClosePseudoConsole(console) };
        }
    }

    /// Waits for the end, and returns the exit status.
    pub(crate) fn wait(&self) -> u32 {
        let mut status = 0;
        // SAFETY: an open handle, and a variable of ours. A minute is enough for anything.
        unsafe {
            assert_eq!(WaitForSingleObject(self.process.as_raw_handle(), 60_000), 0, "it does not end");
            assert_ne!(GetExitCodeProcess(self.process.as_raw_handle(), &raw mut status), 0);
        }
        status
    }
}

impl Drop for AtConsole {
    fn drop(&mut self) {
        self.close();
    }
}

fn start(console: HPCON, what: &str, folder: &Path) -> io::Result<OwnedHandle> {
    let wide = |text: &std::ffi::OsStr| text.encode_wide().chain([0]).collect::<Vec<u16>>();
    let program = wide(env::current_exe()?.as_os_str());
    let mut line = wide("this --exact role --nocapture".as_ref());
    let mut block: Vec<u16> = Vec::new();
    let mut variables = environment("console", what);
    variables.sort_by_key(|(name, _)| name.to_ascii_uppercase());
    for (name, value) in variables {
        block.extend(name.encode_wide().chain([u16::from(b'=')]).chain(value.encode_wide()).chain([0]));
    }
    block.push(0);
    let folder = wide(folder.as_os_str());
    let mut list = [0usize; 64];
    let mut size = size_of_val(&list);
    let mut startup = STARTUPINFOEXW::default();
    startup.StartupInfo.cb = u32::try_from(size_of::<STARTUPINFOEXW>()).unwrap();
    // Without any: a session has to do without them as well.
    startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    startup.lpAttributeList = list.as_mut_ptr().cast();
    let mut process = PROCESS_INFORMATION::default();
    // SAFETY: the list is large enough, which the system checks; texts end with a NUL, the block with two; the value of the
    // attribute is the console itself, as the documentation has it.
    unsafe {
        let attributes = startup.lpAttributeList;
        let kind = PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE as usize;
        let value = console as *const c_void;
        if InitializeProcThreadAttributeList(attributes, 1, 0, &raw mut size) == 0
            || UpdateProcThreadAttribute(
                attributes,
                0,
                kind,
                value,
                size_of::<HPCON>(),
                ptr::null_mut(),
                ptr::null(),
            ) == 0
            || CreateProcessW(
                program.as_ptr(),
                line.as_mut_ptr(),
                ptr::null(),
                ptr::null(),
                0,
                CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT,
                block.as_ptr().cast(),
                folder.as_ptr(),
                &raw const startup.StartupInfo,
                &raw mut process,
            ) == 0
        {
            return Err(io::Error::last_os_error());
        }
        drop(OwnedHandle::from_raw_handle(process.hThread));
        Ok(OwnedHandle::from_raw_handle(process.hProcess))
    }
}
