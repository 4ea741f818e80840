//! `$Volume`: the label of a volume, and whether it was left in order.

use super::attribute::{Content, each, kind};
use super::mft::Mft;
use super::record::Record;
use super::{VOLUME_RECORD, field, name};
use crate::error::{Error, Mismatch};

/// What `$Volume` says.
#[derive(Default, Debug)]
pub(crate) struct VolumeRecord {
    pub(crate) label: String,
    /// Windows would check the volume before it uses it.
    pub(crate) dirty: bool,
    /// 3.1 since Windows XP, 3.0 for Windows 2000, 1.2 for Windows NT 4.
    pub(crate) version: (u8, u8),
    /// Whether it is the copy in `$MFTMirr` that said so.
    pub(crate) from_mirror: bool,
}

const DIRTY: u16 = 1;

impl VolumeRecord {
    /// Reads the record of `$Volume`, or, where that is damaged, the copy in `$MFTMirr`.
    ///
    /// # Errors
    /// [`Error::Record`] or [`Error::Read`]: what is wrong with the first one.
    pub(crate) fn read(mft: &Mft) -> Result<Self, Error> {
        if mft.records() <= VOLUME_RECORD {
            let expected = "a $MFT that holds $Volume and the root directory";
            let found = format!("one of {} records", mft.records());
            return Err(Mismatch::new(0, expected, found).in_record(0, mft.place(0)));
        }
        let mut raw = vec![0; mft.geometry.record_size];
        let first = mft.read_raw(VOLUME_RECORD, &mut raw).and_then(|()| {
            let place = mft.place(VOLUME_RECORD);
            Self::parse(&mut raw).map_err(|mismatch| mismatch.in_record(VOLUME_RECORD, place))
        });
        first.or_else(|error| Self::read_mirror(mft).ok_or(error))
    }

    fn read_mirror(mft: &Mft) -> Option<Self> {
        let mut raw = vec![0; mft.geometry.record_size];
        mft.volume.read_at(&mut raw, mft.mirror_place(VOLUME_RECORD)?).ok()?;
        Some(Self { from_mirror: true, ..Self::parse(&mut raw).ok()? })
    }

    fn parse(raw: &mut [u8]) -> Result<Self, Mismatch> {
        let mut volume = Self::default();
        each(&Record::open(raw, VOLUME_RECORD)?, |attribute| {
            match (attribute.kind, attribute.content) {
                (kind::VOLUME_NAME, Content::Resident(utf16)) => {
                    volume.label = String::from_utf8_lossy(&name::to_wtf8(utf16)).into_owned();
                }
                (kind::VOLUME_INFORMATION, Content::Resident(value)) => {
                    if let Some([major, minor]) = value.get(8..10) {
                        volume.version = (*major, *minor);
                    }
                    volume.dirty = field::u16(value, 10).is_some_and(|flags| flags & DIRTY != 0);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(volume)
    }
}
