//! CRC-32 with the two polynomials that disks use. Both are reflected: the lowest bit of a byte comes first.

/// The CRC of GPT: polynomial 0x04C11DB7, as in Ethernet and zip.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !ETHERNET.update(u32::MAX, bytes)
}

/// The CRC of VHDX: polynomial 0x1EDC6F41, Castagnoli's, of bytes that come in pieces.
pub(crate) struct Crc32c(u32);

impl Crc32c {
    pub(crate) fn new() -> Self {
        Self(u32::MAX)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0 = CASTAGNOLI.update(self.0, bytes);
    }

    pub(crate) fn finish(self) -> u32 {
        !self.0
    }
}

static ETHERNET: Tables = Tables::new(0xEDB8_8320);
static CASTAGNOLI: Tables = Tables::new(0x82F6_3B78);

/// What each byte does to the checksum, by how many bytes come after it in a step of eight. A log of VHDX may have gigabytes,
/// so that one byte at a time would be slow.
struct Tables([[u32; 256]; 8]);

impl Tables {
    const fn new(polynomial: u32) -> Self {
        let mut tables = [[0; 256]; 8];
        let mut byte: u32 = 0;
        while byte < 256 {
            let mut crc = byte;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ polynomial } else { crc >> 1 };
                bit += 1;
            }
            tables[0][byte as usize] = crc;
            byte += 1;
        }
        let mut after = 1;
        while after < 8 {
            let mut byte = 0;
            while byte < 256 {
                let crc = tables[after - 1][byte];
                tables[after][byte] = (crc >> 8) ^ tables[0][(crc & 0xff) as usize];
                byte += 1;
            }
            after += 1;
        }
        Self(tables)
    }

    fn update(&self, mut crc: u32, bytes: &[u8]) -> u32 {
        let (steps, rest) = bytes.as_chunks::<8>();
        for step in steps {
            let mixed = u64::from_le_bytes(*step) ^ u64::from(crc);
            let after = |byte: usize| self.0[7 - byte][usize::from(mixed.to_le_bytes()[byte])];
            crc = (0..8).fold(0, |crc, byte| crc ^ after(byte));
        }
        for byte in rest {
            crc = (crc >> 8) ^ self.0[0][usize::from(crc.to_le_bytes()[0] ^ byte)];
        }
        crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
        let mut castagnoli = Crc32c::new();
        castagnoli.update(b"12345");
        castagnoli.update(b"6789");
        assert_eq!(castagnoli.finish(), 0xE306_9283);
        // RFC 3720, appendix B.4.
        let mut zeroes = Crc32c::new();
        zeroes.update(&[0; 32]);
        assert_eq!(zeroes.finish(), 0x8A91_36AA);
    }
}
