//! Starts a process in a job.

use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::path::Path;

use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle};
use windows_sys::Win32::System::Threading::{
    CREATE_UNICODE_ENVIRONMENT, CreateProcessW, DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT,
    GetCurrentProcess, InitializeProcThreadAttributeList, PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
    PROC_THREAD_ATTRIBUTE_JOB_LIST, PROCESS_INFORMATION, STARTF_USESTDHANDLES, STARTUPINFOEXW,
    UpdateProcThreadAttribute,
};

/// What a process is started with. Texts are ended by a NUL.
pub(super) struct Start<'a> {
    /// The program's file, an absolute path: nothing is searched.
    pub(super) program: &'a Path,
    /// The command line, which Windows may change.
    pub(super) line: Vec<u16>,
    /// The environment block.
    pub(super) environment: &'a [u16],
    /// The folder in which it runs.
    pub(super) directory: &'a Path,
    /// The job in which it is from its first instruction.
    pub(super) job: BorrowedHandle<'a>,
}

impl Start<'_> {
    /// Starts it with this process's standard handles, and no other handle. One that is missing here is missing there.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn spawn(mut self) -> io::Result<OwnedHandle> {
        let program = with_nul(self.program)?;
        let directory = with_nul(self.directory)?;
        let [input, output, errors] = standard_handles()?;
        let inherited: Vec<BorrowedHandle<'_>> =
            [&input, &output, &errors].into_iter().flatten().map(OwnedHandle::as_handle).collect();
        let job = [self.job];
        let mut attributes = Attributes::new()?;
        attributes.set(PROC_THREAD_ATTRIBUTE_JOB_LIST, &job)?;
        if !inherited.is_empty() {
            attributes.set(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &inherited)?;
        }

        let mut startup = STARTUPINFOEXW::default();
        startup.StartupInfo.cb = u32::try_from(size_of::<STARTUPINFOEXW>()).map_err(io::Error::other)?;
        startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
        startup.StartupInfo.hStdInput = raw(input.as_ref());
        startup.StartupInfo.hStdOutput = raw(output.as_ref());
        startup.StartupInfo.hStdError = raw(errors.as_ref());
        startup.lpAttributeList = attributes.as_mut_ptr();
        let mut process = PROCESS_INFORMATION::default();
        // SAFETY: all texts end with a NUL (the environment block with two), the command line may be written to, the
        // structures have the sizes that they tell, and the handles in the attributes stay open until this returns.
        let started = unsafe {
            CreateProcessW(
                program.as_ptr(),
                self.line.as_mut_ptr(),
                std::ptr::null(),
                std::ptr::null(),
                i32::from(!inherited.is_empty()),
                CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT,
                self.environment.as_ptr().cast::<c_void>(),
                directory.as_ptr(),
                &raw const startup.StartupInfo,
                &raw mut process,
            )
        };
        if started == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: two new handles, which nobody else has.
        let (process, thread) = unsafe {
            (OwnedHandle::from_raw_handle(process.hProcess), OwnedHandle::from_raw_handle(process.hThread))
        };
        drop(thread);
        Ok(process)
    }
}

/// Copies of the standard handles that a child can inherit, in the order input, output, errors; none for one that is
/// missing or has been closed.
fn standard_handles() -> io::Result<[Option<OwnedHandle>; 3]> {
    Ok([
        inheritable(io::stdin().as_raw_handle())?,
        inheritable(io::stdout().as_raw_handle())?,
        inheritable(io::stderr().as_raw_handle())?,
    ])
}

fn inheritable(handle: RawHandle) -> io::Result<Option<OwnedHandle>> {
    if handle.is_null() {
        return Ok(None);
    }
    let mut copy: RawHandle = std::ptr::null_mut();
    // SAFETY: the system checks the handle; the copy is written to a variable of ours.
    let copied = unsafe {
        let this = GetCurrentProcess();
        DuplicateHandle(this, handle, this, &raw mut copy, 0, 1, DUPLICATE_SAME_ACCESS)
    };
    if copied == 0 {
        let error = io::Error::last_os_error();
        // Somebody has closed it: so it is missing.
        return if error.raw_os_error() == Some(ERROR_INVALID_HANDLE) { Ok(None) } else { Err(error) };
    }
    // SAFETY: a new handle, which nobody else has.
    Ok(Some(unsafe { OwnedHandle::from_raw_handle(copy) }))
}

/// ERROR_INVALID_HANDLE as `io::Error` has it.
const ERROR_INVALID_HANDLE: i32 = 6;

fn raw(handle: Option<&OwnedHandle>) -> RawHandle {
    handle.map_or(std::ptr::null_mut(), AsRawHandle::as_raw_handle)
}

fn with_nul(path: &Path) -> io::Result<Vec<u16>> {
    let mut wide: Vec<u16> = path.as_os_str().encode_wide().collect();
    if wide.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a NUL character in a path"));
    }
    wide.push(0);
    Ok(wide)
}

/// What CreateProcessW takes beside its parameters: here lists of handles, which have to live as long.
struct Attributes<'a> {
    /// What the system makes of the memory is its secret; usize has the alignment of all that it may be.
    list: Vec<usize>,
    handles: PhantomData<&'a [BorrowedHandle<'a>]>,
}

impl<'a> Attributes<'a> {
    /// How many there may be.
    const COUNT: u32 = 2;

    fn new() -> io::Result<Self> {
        let mut size = 0;
        // SAFETY: without a list only the size is written, to a variable of ours. It tells so by failing.
        unsafe { InitializeProcThreadAttributeList(std::ptr::null_mut(), Self::COUNT, 0, &raw mut size) };
        let mut list = vec![0usize; size.div_ceil(size_of::<usize>())];
        // SAFETY: the list has the size that was asked for.
        match unsafe {
            InitializeProcThreadAttributeList(list.as_mut_ptr().cast(), Self::COUNT, 0, &raw mut size)
        } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(Self { list, handles: PhantomData }),
        }
    }

    fn set(&mut self, attribute: u32, handles: &'a [BorrowedHandle<'a>]) -> io::Result<()> {
        let attribute = usize::try_from(attribute).map_err(io::Error::other)?;
        // SAFETY: the list is initialised. It keeps the address of the handles, which live as long as it does;
        // BorrowedHandle has the layout of HANDLE.
        let done = unsafe {
            UpdateProcThreadAttribute(
                self.as_mut_ptr(),
                0,
                attribute,
                handles.as_ptr().cast(),
                size_of_val(handles),
                std::ptr::null_mut(),
                std::ptr::null(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn as_mut_ptr(&mut self) -> *mut c_void {
        self.list.as_mut_ptr().cast()
    }
}

impl Drop for Attributes<'_> {
    fn drop(&mut self) {
        // SAFETY: the list is initialised, and not used after this.
        unsafe { DeleteProcThreadAttributeList(self.as_mut_ptr()) };
    }
}
