//! Which of the two headers counts, and what it says.

use std::cmp::Ordering;

use zerocopy::FromBytes;

use super::copies::{Copy, sound};
use super::format::{HEADER_PLACES, HEADER_SECTION, HEADER_SIGNATURE, Header, MIB};
use crate::error::{Error, Mismatch};
use crate::guid::Guid;
use crate::irregularity::Irregularity;
use crate::options::Options;
use crate::source::ReadAt;

/// What the current header says ([MS-VHDX] 2.2.2).
pub(super) struct Current {
    /// New whenever what a guest sees has changed: children know their parent by it.
    pub(super) data_write_guid: Guid,
    pub(super) log: LogPlace,
}

/// Where the log is, and which of its entries count.
#[derive(Clone, Copy)]
pub(super) struct LogPlace {
    /// `None` when the log is empty.
    pub(super) guid: Option<Guid>,
    /// Byte offset in the file.
    pub(super) offset: u64,
    /// In bytes.
    pub(super) length: u64,
}

/// Finds the current header: the valid one, and if both are, the one with the higher sequence number.
pub(super) fn find(
    image: &dyn ReadAt,
    options: &Options,
    irregularities: &mut Vec<Irregularity>,
) -> Result<Current, Error> {
    let file_size = image.size();
    if file_size < HEADER_SECTION {
        let expected = format!("headers and region tables in the first {HEADER_SECTION} bytes");
        let found = format!("the end of the file after {file_size} bytes: it is cut short");
        return Err(Mismatch::new(0, expected, found).in_vhdx("header section", file_size));
    }
    let [first, second] = HEADER_PLACES;
    let size = size_of::<Header>();
    let first = Copy::read(image, "the VHDX's first header", first, size, HEADER_SIGNATURE)?;
    let second = Copy::read(image, "the VHDX's second header", second, size, HEADER_SIGNATURE)?;
    let copies = sound([first, second], options, irregularities)?;
    let copy = newest(&copies)?;
    let header = header(copy)?;
    if header.version.get() != 1 || header.log_version.get() != 0 {
        let (version, log) = (header.version.get(), header.log_version.get());
        let what = format!("version {version} of VHDX with version {log} of its log");
        return Err(Error::Unsupported { what: what.into(), yet: false, remedy: "convert the image to VHD" });
    }
    let log = log_place(&header, file_size).map_err(|mismatch| copy.wrong(mismatch))?;
    Ok(Current { data_write_guid: header.data_write_guid, log })
}

fn header(copy: &Copy) -> Result<Header, Error> {
    Header::read_from_bytes(&copy.bytes)
        .map_err(|_| copy.wrong(Mismatch::new(0, "a header of 4096 bytes", copy.bytes.len())))
}

/// The copy with the highest sequence number.
fn newest(copies: &[Copy]) -> Result<&Copy, Error> {
    let [first, second] = copies else {
        return copies
            .first()
            .ok_or_else(|| Mismatch::new(0, "a header", "none").in_vhdx("header section", 0));
    };
    let numbers = [header(first)?, header(second)?].map(|header| header.sequence_number.get());
    match numbers[0].cmp(&numbers[1]) {
        Ordering::Greater => Ok(first),
        Ordering::Less => Ok(second),
        // Disk2vhd writes both alike.
        Ordering::Equal if first.bytes == second.bytes => Ok(first),
        Ordering::Equal => {
            let at = std::mem::offset_of!(Header, sequence_number);
            let expected = "another sequence number than that of the first header, which is not the same";
            Err(second.wrong(Mismatch::new(at, expected, numbers[1])))
        }
    }
}

/// Windows makes logs of 1 MiB. What a log writes is kept in memory, by place, at twice the size of its descriptors.
const LONGEST_LOG: u64 = 64 * MIB;

fn log_place(header: &Header, file_size: u64) -> Result<LogPlace, Mismatch> {
    let guid = Some(header.log_guid).filter(|guid| !guid.is_nil());
    let (offset, length) = (header.log_offset.get(), u64::from(header.log_length.get()));
    let fits = offset.checked_add(length).is_some_and(|end| end <= file_size);
    let is_whole = length > 0 && offset.is_multiple_of(MIB) && length.is_multiple_of(MIB);
    let has_place = fits && is_whole && offset >= HEADER_SECTION && length <= LONGEST_LOG;
    if guid.is_some() && !has_place {
        let at = std::mem::offset_of!(Header, log_offset);
        let expected = format!("a log of 1 to 64 whole MiB inside the file of {file_size} bytes");
        return Err(Mismatch::new(at, expected, format!("{length} bytes from byte {offset:#x} on")));
    }
    Ok(LogPlace { guid, offset, length })
}

/// Whether the image has sound headers where a VHDX has them, whatever its first bytes are. Nobody else writes such.
pub(super) fn is_at_its_place(image: &dyn ReadAt) -> Result<bool, Error> {
    if image.size() < HEADER_SECTION {
        return Ok(false);
    }
    for offset in HEADER_PLACES {
        let copy = Copy::read(image, "the VHDX's header", offset, size_of::<Header>(), HEADER_SIGNATURE)?;
        if copy.is_sound() {
            return Ok(true);
        }
    }
    Ok(false)
}
