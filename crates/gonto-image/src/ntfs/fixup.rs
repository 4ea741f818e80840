//! Fixups: how NTFS notices that a record was not written whole.
//!
//! The last two bytes of every 512-byte stride of a record or index block are replaced by one number on the disk; the
//! bytes themselves are kept in the update sequence array, behind that number.

use super::field;
use crate::error::Mismatch;

/// The stride is 512 bytes on every disk, whatever its sector size.
const STRIDE: usize = 512;

/// Checks the signature and every stride of `block`, and puts the replaced bytes back.
///
/// # Errors
/// [`Mismatch`] when the block has another signature, when its array does not fit, or when a stride was torn.
pub(crate) fn undo(block: &mut [u8], signature: [u8; 4]) -> Result<(), Mismatch> {
    if !block.starts_with(&signature) {
        let found = block.get(..4).unwrap_or_default().escape_ascii();
        let expected = format!("the signature \"{}\"", signature.escape_ascii());
        return Err(Mismatch::new(0, expected, format!("\"{found}\"")));
    }
    let offset = usize::from(field::u16(block, 4).unwrap_or(0));
    let count = usize::from(field::u16(block, 6).unwrap_or(0));
    let strides = block.len() / STRIDE;
    if count != strides + 1 {
        let expected = format!("{} fixups for {} bytes", strides + 1, block.len());
        return Err(Mismatch::new(6, expected, count));
    }
    // The array must end before the last bytes of the first stride, or it would be changed while it is read.
    if offset < 8 || !offset.is_multiple_of(2) || offset + count * 2 > STRIDE.min(block.len()) - 2 {
        return Err(Mismatch::new(4, "fixups inside the first 510 bytes", format!("fixups at {offset:#x}")));
    }
    let number = [block[offset], block[offset + 1]];
    for stride in 0..strides {
        let end = (stride + 1) * STRIDE - 2;
        let kept = offset + 2 + stride * 2;
        if block[end..end + 2] != number {
            let found = format!("{:02x?}: the write was torn", &block[end..end + 2]);
            return Err(Mismatch::new(end, format!("the fixup {number:02x?}"), found));
        }
        block.copy_within(kept..kept + 2, end);
    }
    Ok(())
}

/// Protects `block`, whose header says where the array lies: the opposite of [`undo`]. `number` is what every stride ends with.
pub(crate) fn apply(block: &mut [u8], number: u16) {
    let offset = usize::from(field::u16(block, 4).unwrap_or(0));
    let number = number.to_le_bytes();
    block[offset..offset + 2].copy_from_slice(&number);
    for stride in 0..block.len() / STRIDE {
        let end = (stride + 1) * STRIDE - 2;
        let kept = offset + 2 + stride * 2;
        block.copy_within(end..end + 2, kept);
        block[end..end + 2].copy_from_slice(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_applied_can_be_undone() {
        let mut original = vec![0; 2 * STRIDE];
        original[..8].copy_from_slice(b"FILE\x30\0\x03\0");
        original[510..512].copy_from_slice(b"ab");
        original[1022..].copy_from_slice(b"cd");
        let mut block = original.clone();
        apply(&mut block, 1);
        assert_eq!([&block[510..512], &block[1022..]], [[1, 0]; 2]);
        assert_eq!(block[0x30..0x36], *b"\x01\0abcd");
        undo(&mut block, *b"FILE").unwrap();
        assert_eq!([&block[..0x30], &block[0x36..]], [&original[..0x30], &original[0x36..]]);
    }

    fn block(strides: usize) -> Vec<u8> {
        let mut block = vec![0; strides * STRIDE];
        block[..4].copy_from_slice(b"FILE");
        block[4] = 0x30;
        block[6..8].copy_from_slice(&u16::try_from(strides + 1).unwrap().to_le_bytes());
        block[0x30..0x32].copy_from_slice(&[7, 9]);
        for stride in 0..strides {
            block[0x32 + stride * 2] = 0xa0 + u8::try_from(stride).unwrap();
            block[(stride + 1) * STRIDE - 2..][..2].copy_from_slice(&[7, 9]);
        }
        block
    }

    #[test]
    fn replaced_bytes_come_back() {
        let mut block = block(8);
        undo(&mut block, *b"FILE").unwrap();
        for stride in 0..8 {
            assert_eq!(block[(stride + 1) * STRIDE - 2..][..2], [0xa0 + u8::try_from(stride).unwrap(), 0]);
        }
    }

    #[test]
    fn torn_writes_and_impossible_arrays_are_refused() {
        let at = |edit: fn(&mut Vec<u8>)| {
            let mut block = block(2);
            edit(&mut block);
            undo(&mut block, *b"FILE").unwrap_err().at
        };
        assert_eq!(at(|b| b[0] = b'B'), 0);
        assert_eq!(at(|b| b[1022] = 8), 1022);
        assert_eq!(at(|b| b[6] = 2), 6);
        assert_eq!(at(|b| b[4] = 0), 4);
        assert_eq!(at(|b| b[4..6].copy_from_slice(&[0xfe, 1])), 4);
        assert_eq!(at(|b| b[4..6].copy_from_slice(&[0xff, 0xff])), 4);
        assert_eq!(undo(&mut [], *b"FILE").unwrap_err().at, 0);
        assert_eq!(undo(&mut b"FILE".to_vec(), *b"FILE").unwrap_err().at, 6);
    }
}
