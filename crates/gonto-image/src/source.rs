//! Where bytes come from.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;

#[cfg(unix)]
use unix as sys;
#[cfg(windows)]
use windows as sys;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub(crate) use sys::{read_exact_at, write_all_at};

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

    /// Where the bytes from `offset` on come from, up to where that changes: the extent map of this source, one range at a
    /// time. Ranges that follow each other may be of the same kind. Nothing is read. Behind the end the length is 0.
    ///
    /// A source that holds its bytes itself, such as an image file, says that they lie where they are; this is the default.
    /// Layers above translate what those below say. That way a reader of the image file can be told where a file's data
    /// lies, and a small file that claims a huge disk can be opened without walking through its emptiness.
    fn extent(&self, offset: u64) -> Extent {
        Extent { length: self.size().saturating_sub(offset), place: Place::Image { layer: 0, offset } }
    }
}

/// A range of a source, and where its bytes come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// In bytes, from the offset that was asked for.
    pub length: u64,
    /// Where they come from. An offset in it is that of the first byte.
    pub place: Place,
}

/// Where bytes come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// They lie in an image file as they are.
    Image {
        /// Which file of a chain of differencing disks: 0 is the child, 1 its parent, and so on.
        layer: u32,
        /// Byte offset in that file.
        offset: u64,
    },
    /// They are zero, and lie nowhere.
    Zero,
    /// They are made when they are read: decompressed, or put together from several places.
    Derived,
}

impl Extent {
    /// The same range, but no longer than `limit` bytes.
    pub(crate) fn at_most(self, limit: u64) -> Self {
        Self { length: self.length.min(limit), ..self }
    }

    /// How many bytes are known to be zero without reading them.
    pub(crate) fn zeroes(self) -> u64 {
        if self.place == Place::Zero { self.length } else { 0 }
    }
}

/// An image file of the host.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    size: u64,
}

impl ImageFile {
    /// Takes an open file or disk of the host. Its size is looked up once, here: cached images never change.
    ///
    /// # Errors
    /// [`io::ErrorKind::IsADirectory`], or what the system says when it is asked for the size.
    pub fn new(mut file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // A disk has no length, but an end.
        let size = if metadata.is_file() { metadata.len() } else { file.seek(SeekFrom::End(0))? };
        Ok(Self { file, size })
    }

    /// The file, for those who read it in other ways as well.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for ImageFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        read_exact_at(&self.file, buf, offset)
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

    fn extent(&self, offset: u64) -> Extent {
        match self.size.checked_sub(offset) {
            None | Some(0) => Extent { length: 0, place: Place::Zero },
            Some(rest) => self.whole.extent(self.start + offset).at_most(rest),
        }
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
