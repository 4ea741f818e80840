//! How much memory one input may take.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Does `work` with at most `bytes` more in use at a time. An allocation beyond that ends the process, and the fuzzer keeps the
/// input.
pub fn at_most<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    ALLOCATOR.set_limit(ALLOCATOR.allocated() + bytes).expect("the limit lies above what is in use");
    let result = work();
    ALLOCATOR.set_limit(usize::MAX).expect("no limit lies above everything");
    result
}
