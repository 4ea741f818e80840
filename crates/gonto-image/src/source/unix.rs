//! Positional reading with `pread`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(super) fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buf, offset)
}
