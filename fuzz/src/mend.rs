//! Puts right what every writer puts right: fixups and checksums. An edit of the bytes before that is an edit of the meaning.

use crc::{Crc, Table};
use gonto_image::ReadAt;

use crate::sparse::{Disk, Image, Piece};

/// The image as it would lie on a disk.
pub fn mend(mut image: Image) -> Disk {
    for piece in image.pieces.iter_mut().filter(|piece| !piece.as_it_is) {
        match piece.bytes.first_chunk::<4>() {
            Some(b"FILE" | b"INDX" | b"RSTR" | b"RCRD") => apply_fixups(&mut piece.bytes),
            Some(b"cone") => add_up(&mut piece.bytes, 512, 64),
            Some(b"cxsp") => add_up(&mut piece.bytes, 1024, 36),
            _ => {}
        }
    }
    // These cover bytes of other pieces, which the first round may have changed, and the second one of GPT covers the first.
    for (signature, sum) in
        [(&b"EFI PART"[..], gpt_entries as Sum), (b"EFI PART", gpt_header), (b"head", vhdx_header)]
            .into_iter()
            .chain([(&b"regi"[..], vhdx_regions as Sum), (b"loge", vhdx_log_entry)])
    {
        let has = |piece: &Piece| !piece.as_it_is && piece.bytes.starts_with(signature);
        if !image.pieces.iter().any(has) {
            continue;
        }
        let disk = Disk::new(image.clone());
        for piece in image.pieces.iter_mut().filter(|piece| has(piece)) {
            if let Some((at, sum)) = sum(&disk, piece) {
                put(&mut piece.bytes, at, sum);
            }
        }
    }
    Disk::new(image)
}

/// Where a checksum lies in a piece, and what it is.
type Sum = fn(&Disk, &Piece) -> Option<(usize, u32)>;

const STRIDE: usize = 512;

/// Bigger blocks than this are nobody's; a count beyond it is an edit that is left to be found out.
const MOST_STRIDES: usize = 128;

fn apply_fixups(block: &mut Vec<u8>) {
    let Some(&[offset_low, offset_high, count_low, count_high]) = block.get(4..8) else { return };
    let offset = usize::from(u16::from_le_bytes([offset_low, offset_high]));
    let count = usize::from(u16::from_le_bytes([count_low, count_high]));
    let strides = count.saturating_sub(1);
    if offset < 8 || offset + count * 2 > STRIDE - 2 || strides > MOST_STRIDES {
        return;
    }
    block.resize(block.len().max(strides * STRIDE), 0);
    for stride in 0..strides {
        let end = (stride + 1) * STRIDE - 2;
        block.copy_within(end..end + 2, offset + 2 + stride * 2);
        block.copy_within(offset..offset + 2, end);
    }
}

/// The other way: a block of an image becomes the bytes that it means.
pub fn undo_fixups(block: &mut [u8]) {
    let field = |at: usize| usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
    if block.len() < 8 {
        return;
    }
    let (offset, strides) = (field(4), field(6).saturating_sub(1));
    if offset + 2 + strides * 2 > STRIDE - 2 || strides * STRIDE > block.len() {
        return;
    }
    for stride in 0..strides {
        let kept = offset + 2 + stride * 2;
        block.copy_within(kept..kept + 2, (stride + 1) * STRIDE - 2);
        block[kept..kept + 2].fill(0);
    }
}

/// The checksum of VHD: the one's complement of the sum of all bytes.
fn add_up(bytes: &mut Vec<u8>, length: usize, at: usize) {
    bytes.resize(bytes.len().max(length), 0);
    bytes[at..at + 4].fill(0);
    let sum: u32 = bytes[..length].iter().map(|byte| u32::from(*byte)).sum();
    bytes[at..at + 4].copy_from_slice(&(!sum).to_be_bytes());
}

/// CRC-32 of the table of entries, which lies where the header says.
fn gpt_entries(disk: &Disk, header: &Piece) -> Option<(usize, u32)> {
    let own_sector = u64_at(&header.bytes, 24).filter(|sector| *sector != 0)?;
    let sector_size = header.at / own_sector;
    let table = u64_at(&header.bytes, 72)?.checked_mul(sector_size)?;
    let size = u64::from(u32_at(&header.bytes, 80)?) * u64::from(u32_at(&header.bytes, 84)?);
    Some((88, CRC32.checksum(&read(disk, table, size)?)))
}

fn gpt_header(_: &Disk, header: &Piece) -> Option<(usize, u32)> {
    let mut bytes = header.bytes.get(..u32_at(&header.bytes, 12)? as usize)?.to_vec();
    bytes.get_mut(16..20)?.fill(0);
    Some((16, CRC32.checksum(&bytes)))
}

fn vhdx_header(disk: &Disk, piece: &Piece) -> Option<(usize, u32)> {
    vhdx_structure(disk, piece, 4096)
}

fn vhdx_regions(disk: &Disk, piece: &Piece) -> Option<(usize, u32)> {
    vhdx_structure(disk, piece, 64 << 10)
}

fn vhdx_log_entry(disk: &Disk, piece: &Piece) -> Option<(usize, u32)> {
    vhdx_structure(disk, piece, u64::from(u32_at(&piece.bytes, 8)?))
}

/// Signature, checksum, then whatever: CRC-32C with its own field taken as zero.
fn vhdx_structure(disk: &Disk, piece: &Piece, length: u64) -> Option<(usize, u32)> {
    let mut bytes = read(disk, piece.at, length)?;
    bytes.get_mut(4..8)?.fill(0);
    Some((4, CRC32C.checksum(&bytes)))
}

/// A megabyte is enough for whatever is sound; a checksum over more would cost the fuzzer its speed.
fn read(disk: &Disk, at: u64, length: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).ok().filter(|length| *length <= 1 << 20)?];
    disk.read_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn put(bytes: &mut Vec<u8>, at: usize, value: u32) {
    bytes.resize(bytes.len().max(at + 4), 0);
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Of GPT, and of VHDX.
static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&crc::CRC_32_ISO_HDLC);
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&crc::CRC_32_ISCSI);
