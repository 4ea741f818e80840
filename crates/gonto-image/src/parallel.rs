//! Work that is split over the processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More threads than this do not make the reading of one disk faster.
const MOST_THREADS: usize = 8;

/// Does `work` for every number below `count` and returns the results in that order.
///
/// Numbers are handed out in ascending order, so that a disk whose work items are sorted by place is read forwards.
pub(crate) fn map_in_order<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    map_in_order_with(count, || (), |(), number| work(number))
}

/// The same with something that each thread makes once and uses for all of its work, such as a buffer.
pub fn map_in_order_with<S, T: Send>(
    count: usize,
    make: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    on_threads(processors.min(MOST_THREADS), count, make, work)
}

/// The same for work that waits for a disk more than it computes: a disk answers several questions at once, however few
/// processors there are.
pub(crate) fn map_waiting<S, T: Send>(
    count: usize,
    make: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    on_threads(MOST_THREADS, count, make, work)
}

fn on_threads<S, T: Send>(
    threads: usize,
    count: usize,
    make: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    let threads = threads.min(count);
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let mut own = make();
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, work(&mut own, number)));
        }
    };
    let mut done = thread::scope(|scope| {
        // Where the system gives no more threads, those that there are (this one at least) do all the work.
        let others: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, take_turns).ok())
            .collect();
        let mut done = take_turns();
        for other in others {
            match other.join() {
                Ok(part) => done.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::{map_in_order, map_in_order_with};

    #[test]
    fn results_come_in_the_order_of_the_numbers() {
        for count in [0, 1, 2, 1000] {
            assert_eq!(map_in_order(count, |n| n * 3), (0..count).map(|n| n * 3).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_a_thread_made_is_kept_for_all_of_its_work() {
        let counts = map_in_order_with(
            1000,
            || 0,
            |done, _| {
                *done += 1;
                *done
            },
        );
        assert!(counts.iter().filter(|count| **count == 1).count() <= super::MOST_THREADS);
    }
}
