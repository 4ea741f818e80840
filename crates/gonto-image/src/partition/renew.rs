//! The same partitions on a disk with another identity, for a child of the disk.
//!
//! Windows takes a disk offline whose GUID or signature another one has that is there already, and partitions of a GPT have
//! identities of their own. Nothing else is changed: what is damaged stays so, and is read as it is on the parent.

use super::{DiskId, Partition, Scheme, Table, gpt, mbr};
use crate::changes::Changes;
use crate::error::Error;
use crate::guid::Guid;
use crate::identity::Identity;
use crate::options::Options;
use crate::source::ReadAt;

/// The new identities.
pub(crate) struct Renewed {
    pub(crate) disk_id: DiskId,
    /// That of the volume's partition, if it has one.
    pub(crate) partition_id: Option<Guid>,
}

/// Changes the identities of a disk and of all its partitions; `None` where there is no table. `volume` is the partition whose
/// content has to stay.
pub(crate) fn renew(
    disk: &dyn ReadAt,
    table: &Table,
    volume: &Partition,
    options: &Options,
    identity: &Identity,
    changes: &mut Changes<'_>,
) -> Result<Option<Renewed>, Error> {
    let mbr = mbr::read(disk)?;
    let mut signature = None;
    // Where both describe partitions, Windows goes by the MBR.
    if let Some(mbr) = mbr.filter(|mbr| table.scheme == Scheme::Mbr || mbr.is_hybrid()) {
        signature = Some(mbr.renew(volume, identity, changes)?);
    }
    Ok(match (table.scheme, signature) {
        (Scheme::Gpt, _) => {
            let guid = gpt::renew(disk, table.sector_size, volume, options, identity, changes)?;
            let partition_id = Some(gpt::partition_id(identity, volume.number));
            Some(Renewed { disk_id: DiskId::Guid(guid), partition_id })
        }
        (Scheme::Mbr, Some(signature)) => {
            Some(Renewed { disk_id: DiskId::Signature(signature), partition_id: None })
        }
        (Scheme::Mbr | Scheme::None, _) => None,
    })
}
