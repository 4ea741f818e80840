//! Where bytes come from.

use std::fs::File;
use std::io;
use std::sync::Arc;

#[cfg(unix)]
use unix as sys;
#[cfg(windows)]
use windows as sys;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

/// Something of a fixed size that can be read at any position, by any number of threads at once.
///
/// There is no cursor and no short read: a layer above never has to loop, and never has to wonder whether it has seen
/// the end.
pub trait ReadAt: Send + Sync {
    /// Fills all of `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when `offset + buf.len()` lies behind [`size`](Self::size); `buf` may then hold
    /// anything. Any other error comes from below.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Size in bytes.
    fn size(&self) -> u64;

    /// How many bytes from `offset` on are known to be zero without reading them: a hole of the container. What is not
    /// known counts as 0.
    ///
    /// It lets a small file that claims a huge disk be opened without walking through its emptiness.
    fn zeroes_from(&self, offset: u64) -> u64 {
        let _ = offset;
        0
    }
}

/// An image file of the host.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    size: u64,
}

impl ImageFile {
    /// Takes an open file. Its size is looked up once, here: cached images never change.
    ///
    /// # Errors
    /// What the system says when it is asked for the size.
    pub fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl ReadAt for ImageFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        sys::read_exact_at(&self.file, buf, offset)
    }

    fn size(&self) -> u64 {
        self.size
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| end_of_source())?;
        let end = start.checked_add(buf.len()).ok_or_else(end_of_source)?;
        buf.copy_from_slice(self.get(start..end).ok_or_else(end_of_source)?);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_at(buf, offset)
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}

/// A part of another source, such as one partition of a disk.
pub(crate) struct Window {
    whole: Arc<dyn ReadAt>,
    start: u64,
    size: u64,
}

impl Window {
    /// The `size` bytes of `whole` from `start` on; `None` when they are not all inside it.
    pub(crate) fn new(whole: Arc<dyn ReadAt>, start: u64, size: u64) -> Option<Self> {
        let end = start.checked_add(size)?;
        (end <= whole.size()).then_some(Self { whole, start, size })
    }
}

impl ReadAt for Window {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_inside(buf, offset, self.size)?;
        self.whole.read_at(buf, self.start + offset)
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn zeroes_from(&self, offset: u64) -> u64 {
        let rest = self.size.saturating_sub(offset);
        if rest == 0 { 0 } else { self.whole.zeroes_from(self.start + offset).min(rest) }
    }
}

/// Fails unless all of `buf` at `offset` lies inside a source of `size` bytes.
pub(crate) fn check_inside(buf: &[u8], offset: u64, size: u64) -> io::Result<()> {
    match offset.checked_add(buf.len() as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(end_of_source()),
    }
}

fn end_of_source() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the place lies behind the end of the image")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(result: io::Result<()>) -> Option<io::ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn a_window_shows_its_part_and_nothing_else() {
        let whole: Arc<dyn ReadAt> = Arc::new((0..100).collect::<Vec<u8>>());
        let window = Window::new(whole.clone(), 10, 5).unwrap();
        let mut buf = [0; 5];
        window.read_at(&mut buf, 0).unwrap();
        assert_eq!(buf, [10, 11, 12, 13, 14]);
        assert_eq!(kind(window.read_at(&mut buf, 1)), Some(io::ErrorKind::UnexpectedEof));
        assert_eq!(kind(window.read_at(&mut [], 6)), Some(io::ErrorKind::UnexpectedEof));
        assert_eq!(kind(window.read_at(&mut buf, u64::MAX)), Some(io::ErrorKind::UnexpectedEof));
        assert!(Window::new(whole.clone(), 96, 5).is_none());
        assert!(Window::new(whole, u64::MAX, 5).is_none());
    }

    #[test]
    fn an_image_file_is_read_at_any_place_and_never_short() {
        let file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut &file, b"0123456789").unwrap();
        let image = ImageFile::new(file).unwrap();
        assert_eq!(image.size(), 10);
        let mut buf = [0; 4];
        image.read_at(&mut buf, 6).unwrap();
        assert_eq!(&buf, b"6789");
        assert_eq!(kind(image.read_at(&mut buf, 7)), Some(io::ErrorKind::UnexpectedEof));
    }
}
