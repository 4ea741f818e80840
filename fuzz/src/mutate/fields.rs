//! Where the fields of a structure are, as far as the structure can still be followed.

/// An integer in a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    at: usize,
    /// In bytes: 1, 2, 4 or 8.
    pub(super) width: usize,
    big_endian: bool,
}

impl Field {
    /// Its value; behind the end of a piece there are zeros.
    pub(super) fn get(self, bytes: &[u8]) -> u64 {
        let mut value = [0; 8];
        for (place, byte) in value.iter_mut().zip(bytes.iter().skip(self.at).take(self.width)) {
            *place = *byte;
        }
        if self.big_endian {
            u64::from_be_bytes(value) >> (64 - self.width * 8)
        } else {
            u64::from_le_bytes(value)
        }
    }

    pub(super) fn set(self, bytes: &mut Vec<u8>, value: u64) {
        let end = self.at + self.width;
        bytes.resize(bytes.len().max(end), 0);
        if self.big_endian {
            bytes[self.at..end].copy_from_slice(&value.to_be_bytes()[8 - self.width..]);
        } else {
            bytes[self.at..end].copy_from_slice(&value.to_le_bytes()[..self.width]);
        }
    }
}

/// The fields of a piece, by its signature; none where it has no structure that is known.
pub(super) fn of(bytes: &[u8]) -> Vec<Field> {
    let mut found = Finder { bytes, fields: Vec::new() };
    match bytes.get(..4) {
        Some(b"FILE") => found.record(),
        Some(b"INDX") => found.index_block(),
        Some(b"cone") => found.big(0, "44448444488444881"),
        Some(b"cxsp") => {
            found.big(0, "448844448844");
            (0..8).for_each(|locator| found.big(576 + locator * 24, "44448"));
        }
        Some(b"EFI ") => found.little(0, "844448888888444"),
        Some(b"head") => found.little(0, "4488888882248"),
        Some(b"regi") => {
            found.little(8, "44");
            found.repeat(16, 32, "88844");
        }
        Some(b"meta") => {
            found.little(8, "22");
            found.repeat(32, 32, "884444");
        }
        Some(b"loge") => {
            found.little(0, "444484488888");
            found.repeat(64, 32, "4488888");
        }
        Some(b"desc" | b"zero") => found.repeat(0, 32, "4488888"),
        _ if bytes.get(3..7) == Some(b"NTFS") => {
            found.little(11, "2121221222444");
            found.little(40, "888111111118");
        }
        _ if bytes.get(510..512) == Some(&[0x55, 0xaa]) => {
            (0..4).for_each(|entry| found.little(446 + entry * 16, "1111111144"));
        }
        // A block table of VHD or VHDX, a partition entry, runs: nobody says so, but these are words.
        _ => {
            found.repeat(0, 8, "8");
            found.repeat(0, 4, "4");
            (0..bytes.len() / 4).for_each(|word| found.big(word * 4, "4"));
        }
    }
    found.fields
}

struct Finder<'b> {
    bytes: &'b [u8],
    fields: Vec<Field>,
}

/// More fields than this do not make a piece any better known.
const MOST_FIELDS: usize = 2000;

impl Finder<'_> {
    /// Adds fields that follow each other, each digit a width.
    fn add(&mut self, mut at: usize, widths: &str, big_endian: bool) {
        for width in widths.bytes().map(|digit| usize::from(digit - b'0')) {
            if at >= self.bytes.len() || self.fields.len() >= MOST_FIELDS {
                return;
            }
            self.fields.push(Field { at, width, big_endian });
            at += width;
        }
    }

    fn little(&mut self, at: usize, widths: &str) {
        self.add(at, widths, false);
    }

    fn big(&mut self, at: usize, widths: &str) {
        self.add(at, widths, true);
    }

    fn repeat(&mut self, from: usize, stride: usize, widths: &str) {
        (from..self.bytes.len()).step_by(stride).for_each(|at| self.little(at, widths));
    }

    fn value(&self, at: usize, width: usize) -> usize {
        usize::try_from(Field { at, width, big_endian: false }.get(self.bytes)).unwrap_or(usize::MAX)
    }

    fn record(&mut self) {
        self.little(4, "228222244422224");
        let mut at = self.value(0x14, 2);
        while at + 16 <= self.bytes.len() {
            self.little(at, "4411222");
            let (kind, length) = (self.value(at, 4), self.value(at + 4, 4));
            if kind == 0xffff_ffff || length < 16 {
                return;
            }
            if self.value(at + 8, 1) == 0 {
                self.little(at + 16, "4211");
                self.value_of(kind, at + self.value(at + 20, 2), at + length);
            } else {
                self.little(at + 16, "882248888");
                let pairs = at + self.value(at + 32, 2);
                let end = (at + length).min(self.bytes.len());
                (pairs..end).for_each(|byte| self.little(byte, "1"));
            }
            at += length;
        }
    }

    /// Values of attributes that lie in the record.
    fn value_of(&mut self, kind: usize, at: usize, end: usize) {
        match kind {
            0x10 => self.little(at, "88884444448888"),
            0x20 => {
                let mut entry = at;
                while entry + 26 <= end.min(self.bytes.len()) {
                    self.little(entry, "421188822");
                    entry += self.value(entry + 4, 2).max(8);
                }
            }
            0x30 => self.little(at, "4228888884411222"),
            0x70 => self.little(at, "8112"),
            0x90 => {
                self.little(at, "44411114444");
                self.entries(at + 16);
            }
            0xc0 => self.little(at, "4222222448888"),
            _ => (at..end.min(self.bytes.len())).step_by(4).for_each(|word| self.little(word, "4")),
        }
    }

    fn index_block(&mut self) {
        self.little(4, "2288");
        self.entries(24);
    }

    /// An index node: where its entries begin is counted from its header.
    fn entries(&mut self, header: usize) {
        self.little(header, "44444");
        let mut at = header.saturating_add(self.value(header, 4));
        while at.saturating_add(16) <= self.bytes.len() {
            self.little(at, "4222222");
            self.little(at + 16, "4228888884411222");
            let length = self.value(at + 8, 2);
            if length < 16 {
                return;
            }
            self.little(at + length - 8, "8");
            at += length;
        }
    }
}
