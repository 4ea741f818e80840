//! The units of compressed content that were decoded last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps what was decoded for a part of a unit, because the next read is likely to want the rest: a program that reads a file
/// 4 KiB at a time would otherwise have each unit of 64 KiB decoded sixteen times.
///
/// It holds at most 4 MiB (8 MiB if units are as big as they can be), however many files are read. The shards keep threads that
/// read different files out of each other's way; nothing is decoded or copied under a lock.
pub(crate) struct UnitCache {
    shards: [Mutex<Vec<Kept>>; SHARDS],
    /// Counts the uses: the oldest one goes first.
    clock: AtomicU64,
}

/// Which unit of which content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// A number for the content that nothing else of the volume has.
    pub(crate) content: u64,
    pub(crate) unit: u64,
}

struct Kept {
    key: Key,
    bytes: Arc<[u8]>,
    used: u64,
}

const SHARDS: usize = 8;

/// In bytes. One unit is always kept, even if it is bigger.
const MOST_IN_SHARD: usize = 512 << 10;

impl UnitCache {
    pub(crate) fn new() -> Self {
        Self { shards: Default::default(), clock: AtomicU64::new(0) }
    }

    /// The unit `key`, whose decoded size is `size`: kept, or else decoded now.
    ///
    /// # Errors
    /// What `decode` says; nothing is kept then.
    pub(crate) fn get<E>(
        &self,
        key: Key,
        size: usize,
        decode: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Arc<[u8]>, E> {
        // Units that follow each other go to different shards.
        let shard = (key.content ^ key.unit) % SHARDS as u64;
        let shard = &self.shards[usize::try_from(shard).unwrap_or(0)];
        let used = self.clock.fetch_add(1, Ordering::Relaxed);
        {
            let mut kept = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(kept) = kept.iter_mut().find(|kept| kept.key == key) {
                kept.used = used;
                return Ok(kept.bytes.clone());
            }
        }
        let mut bytes = vec![0; size];
        decode(&mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        let mut kept = shard.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if !kept.iter().any(|kept| kept.key == key) {
            make_room(&mut kept, size);
            kept.push(Kept { key, bytes: bytes.clone(), used });
        }
        Ok(bytes)
    }
}

fn make_room(kept: &mut Vec<Kept>, size: usize) {
    while kept.iter().map(|kept| kept.bytes.len()).sum::<usize>() + size > MOST_IN_SHARD {
        let oldest = kept.iter().enumerate().min_by_key(|(_, kept)| kept.used);
        let Some((oldest, _)) = oldest else { return };
        kept.swap_remove(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the unit had to be decoded.
    fn decoded(cache: &UnitCache, content: u64, unit: u64, size: usize) -> bool {
        let mut decoded = false;
        let fill = |bytes: &mut [u8]| {
            decoded = true;
            bytes.fill(unit.to_le_bytes()[0]);
            Ok::<(), ()>(())
        };
        let bytes = cache.get(Key { content, unit }, size, fill).unwrap();
        assert!(bytes.len() == size && bytes.iter().all(|byte| *byte == unit.to_le_bytes()[0]));
        decoded
    }

    #[test]
    fn what_was_used_last_is_kept() {
        let cache = UnitCache::new();
        let size = 64 << 10;
        // Units of one shard: it keeps eight of them.
        for unit in 0..8 {
            assert!(decoded(&cache, 7, unit * 8, size));
        }
        for unit in 0..8 {
            assert!(!decoded(&cache, 7, unit * 8, size));
        }
        assert!(!decoded(&cache, 7, 0, size));
        assert!(decoded(&cache, 7, 64, size));
        assert!(!decoded(&cache, 7, 0, size), "used again just now");
        assert!(decoded(&cache, 7, 8, size), "the oldest");
        assert!(decoded(&cache, 8, 0, size), "other content");
    }

    #[test]
    fn memory_is_bounded() {
        let cache = UnitCache::new();
        for unit in 0..1000 {
            decoded(&cache, unit % 3, unit, 1000 + usize::try_from(unit).unwrap() * 50);
            decoded(&cache, 3 + unit, unit, 1 << 20);
        }
        for shard in &cache.shards {
            let kept = shard.lock().unwrap();
            let total: usize = kept.iter().map(|kept| kept.bytes.len()).sum();
            assert!(kept.len() == 1 || total <= MOST_IN_SHARD, "{total}");
            assert!(total <= 1 << 20);
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_not_kept() {
        let cache = UnitCache::new();
        let key = Key { content: 1, unit: 1 };
        assert_eq!(cache.get(key, 10, |_| Err("damaged")).map(|_| ()), Err("damaged"));
        assert!(decoded(&cache, 1, 1, 10));
    }
}
